"""An anchor in an S3 bucket with object lock: what lies there under compliance retention nobody removes, we included.

One object a checkpoint: PREFIX/TENANT/SIZE.checkpoint, the size with leading zeros so that listing is in order. Who got
hold of our access key can put objects and delete markers there but take nothing away: versions are read, not names, and
of a name its oldest version. The bucket has to have object lock; without it nothing is put there.
"""

import asyncio
import base64
import configparser
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from audit.anchor import AnchorContradicts, AnchorFailed, Published
from audit.note import NOTE_LIMIT_BYTES, NoteInvalid, Verifier
from audit.s3_client import Credentials, Server, code_of, open_client

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef

CONNECT_S, READ_S = 5, 10
SIZE_DIGITS = 19
SUFFIX = ".checkpoint"
MODE: Final = "COMPLIANCE"
_NO_LOCK = "the bucket has no object lock: make one with object lock on, it cannot be added by us"
_TOLD = {
    "ObjectLockConfigurationNotFoundError": _NO_LOCK,
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "access denied: the key lacks a right (see audit/README.md)",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
}


class CredentialsInvalid(Exception):  # noqa: N818 - a state of a file
    """The file holds no access key; the text names no part of it."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where. endpoint: "" for AWS; ca: PEM file for a private CA; retention: how long each checkpoint is locked."""

    name: str
    prefix: str
    credentials_file: Path
    retention: timedelta
    endpoint: str = ""
    region: str = ""
    ca: Path | None = None

    @property
    def server(self) -> Server:
        """The service that has it."""
        return Server(
            self.endpoint, self.region or "us-east-1", self.ca, CONNECT_S, READ_S, attempts=2,
            path_style=bool(self.endpoint),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kept:
    size: int
    key: str
    version: str


class S3Anchor:
    """Puts checkpoints into a locked bucket; the access key is read anew each time, so it can be changed."""

    outside = True

    def __init__(self, bucket: Bucket, verifier: Verifier, *, every_s: float, now: Callable[[], datetime]) -> None:
        self._bucket = bucket
        self._verifier = verifier
        self._now = now
        self._last: dict[str, _Kept] = {}
        self.every_s = every_s

    @property
    def name(self) -> str:
        """Without bucket or address: the health page is read by more people than the auditor."""
        return "s3"

    async def keep(self, published: Published) -> None:
        """Put it under lock and see that it is; what is there must be an earlier state of the same log."""
        try:
            client = await asyncio.to_thread(self._open)
            try:
                await asyncio.to_thread(self._check_lock, client)
                kept = await asyncio.to_thread(self._newest, client, published.tenant)
                if kept is None or not await self._leads_here(client, kept, published):
                    kept = await asyncio.to_thread(self._put, client, published)
                self._last[published.tenant] = kept
            finally:
                client.close()
        except CredentialsInvalid as fault:
            raise AnchorFailed(str(fault)) from None
        except ClientError as fault:
            code = code_of(fault)
            raise AnchorFailed(_TOLD.get(code, f"it refused ({code})")) from None
        except BotoCoreError as fault:
            raise AnchorFailed(f"it cannot be reached ({type(fault).__name__})") from None

    def _open(self) -> "S3Client":
        bucket = self._bucket
        return open_client(bucket.server, read_credentials(bucket.credentials_file))

    def _check_lock(self, client: "S3Client") -> None:
        found = client.get_object_lock_configuration(Bucket=self._bucket.name)
        if found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise AnchorFailed(_NO_LOCK)

    def _newest(self, client: "S3Client", tenant: str) -> _Kept | None:
        """The oldest version of the largest size; whatever was put on top of it or marked as deleted."""
        newest, folder = self._last.get(tenant), self._folder(tenant)
        key_marker, version_marker, more = newest.key if newest is not None else "", "", True
        while more:
            page = self._page(client, folder, key_marker, version_marker)
            for one in page.get("Versions", ()):
                key = one["Key"]
                text = key.removeprefix(folder).removesuffix(SUFFIX)
                if key != f"{folder}{text}{SUFFIX}" or not text.isdecimal() or len(text) != SIZE_DIGITS:
                    continue
                # Of a name, versions come newest first.
                if newest is None or int(text) >= newest.size:
                    newest = _Kept(int(text), key, one["VersionId"])
            more = page.get("IsTruncated", False)
            key_marker, version_marker = page.get("NextKeyMarker", ""), page.get("NextVersionIdMarker", "")
        return newest

    def _page(
        self, client: "S3Client", folder: str, key_marker: str, version_marker: str
    ) -> "ListObjectVersionsOutputTypeDef":
        # An empty marker is none, and one of versions goes with one of keys only.
        ask = partial(client.list_object_versions, Bucket=self._bucket.name, Prefix=folder)
        if version_marker:
            return ask(KeyMarker=key_marker, VersionIdMarker=version_marker)
        return ask(KeyMarker=key_marker) if key_marker else ask()

    async def _leads_here(self, client: "S3Client", kept: _Kept, published: Published) -> bool:
        """Whether it is this very checkpoint; raises AnchorContradicts when the log does not go on from it."""
        text = await asyncio.to_thread(self._read, client, kept)
        try:
            found = self._verifier.open_checkpoint(text, published.checkpoint.origin)
        except NoteInvalid:
            raise AnchorContradicts(f"the checkpoint kept at {kept.size} is not ours") from None
        if found.size != kept.size:
            raise AnchorContradicts(f"what is kept at {kept.size} was signed for another size")
        await published.grow(found.size)
        if found.size == published.checkpoint.size and found.root != published.checkpoint.root:
            raise AnchorContradicts(f"another root was signed at {found.size}")
        return found.size == published.checkpoint.size

    def _read(self, client: "S3Client", kept: _Kept) -> str:
        with client.get_object(Bucket=self._bucket.name, Key=kept.key, VersionId=kept.version)["Body"] as body:
            return body.read(NOTE_LIMIT_BYTES).decode(errors="replace")

    def _put(self, client: "S3Client", published: Published) -> _Kept:
        size, raw, until = published.checkpoint.size, published.note.encode(), self._now() + self._bucket.retention
        key = f"{self._folder(published.tenant)}{size:0{SIZE_DIGITS}d}{SUFFIX}"
        done = client.put_object(
            Bucket=self._bucket.name,
            Key=key,
            Body=raw,
            ContentMD5=base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode(),
            ContentType="text/plain; charset=utf-8",
            ObjectLockMode=MODE,
            ObjectLockRetainUntilDate=until,
        )
        version = done.get("VersionId", "")
        held = client.head_object(Bucket=self._bucket.name, Key=key, VersionId=version)
        end = held.get("ObjectLockRetainUntilDate")
        if held.get("ObjectLockMode") != MODE or end is None or end < until - timedelta(minutes=1):
            raise AnchorFailed("it took the checkpoint but does not hold it under compliance retention")
        return _Kept(size, key, version)

    def _folder(self, tenant: str) -> str:
        prefix = self._bucket.prefix.strip("/")
        return f"{prefix}/{quote(tenant, safe='')}/" if prefix else f"{quote(tenant, safe='')}/"


def read_credentials(path: Path) -> Credentials:
    """The access key in a file as the AWS tools write it, section [default]. Raises: CredentialsInvalid."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser["default"]
        return Credentials(
            section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token", "")
        )
    except OSError as fault:
        raise CredentialsInvalid(f"the file with the access key cannot be read ({fault.strerror})") from None
    except (configparser.Error, KeyError, UnicodeError):
        told = "the file holds no [default] with aws_access_key_id and aws_secret_access_key"
        raise CredentialsInvalid(told) from None
