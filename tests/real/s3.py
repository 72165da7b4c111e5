"""An S3 service in a process of its own: the simulator of moto, no real S3, with object lock and versions."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from gateway.demo import children

ROOT = Path(__file__).parents[2]
KEY_ID, SECRET = "test-key-id", "test-secret-key"


@dataclass(frozen=True, slots=True)
class S3:
    """A running one. client: with all rights; credentials_file: as the AWS tools write it."""

    address: str
    client: Any
    credentials_file: Path
    child: children.Child

    def make_bucket(self, name: str, *, locked: bool = True) -> None:
        """A bucket, with object lock or without."""
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """Serve until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    port = children.free_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    child = children.start("S3 simulator", words, folder / "s3.log", ROOT)
    file = folder / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    address = f"http://127.0.0.1:{port}"
    try:
        children.wait_for_port(child, port)
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )
        try:
            yield S3(address, client, file, child)
        finally:
            client.close()
    finally:
        child.stop()
