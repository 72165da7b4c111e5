"""An archive in S3 or what speaks like it, with object lock: nobody, its owner included, deletes before the time.

Every object is written once, in compliance mode with its retain-until time, and read by its version: what somebody
puts on top of it later is another version. The server checks the SHA-256 of what it gets.
"""

import base64
import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from audit.archive import ArchiveRefused, ArchiveUnavailable, SegmentGone
from audit.s3_client import code_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

_LEAST = timedelta(days=1)
_GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion"})
_DENIED = frozenset(
    {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "InvalidBucketState"}
)
_PART_BYTES = 1 << 20


class S3Archive:
    """Objects below a prefix of a bucket. now: aware time."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._now = now

    def check(self) -> None:
        """The bucket must keep versions and have object lock."""
        with _told("the bucket cannot be looked at"):
            versions = self._client.get_bucket_versioning(Bucket=self._bucket)
            try:
                lock = self._client.get_object_lock_configuration(Bucket=self._bucket)["ObjectLockConfiguration"]
            except ClientError as fault:
                if code_of(fault) != "ObjectLockConfigurationNotFoundError":
                    raise
                lock = {}
        if versions.get("Status") != "Enabled" or lock.get("ObjectLockEnabled") != "Enabled":
            raise ArchiveRefused("the bucket has no object lock: make one that was created with it")

    def put(self, name: str, source: Path, sha256: str, keep_until: datetime) -> str:
        """Write an object in compliance mode."""
        until = max(keep_until, self._now() + _LEAST).replace(microsecond=0)
        with _told(f"{name} cannot be written"):
            there = self._head(name, "")
            if there is not None:
                if there["Metadata"].get("sha256") != sha256:
                    raise ArchiveRefused(f"{name} is there with other bytes")
                return self._locked(name, there)
            with source.open("rb") as file:
                made = self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=file,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                    Metadata={"sha256": sha256},
                    ObjectLockMode="COMPLIANCE",
                    ObjectLockRetainUntilDate=until,
                )
            written = self._head(name, made["VersionId"])
        if written is None:
            raise ArchiveUnavailable(f"{name} was written and is not there")
        return self._locked(name, written)

    def fetch(self, name: str, version: str, target: Path) -> None:
        """Bring one version of an object."""
        with _told(f"{name} cannot be read"):
            try:
                if version:
                    got = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, VersionId=version)
                else:
                    got = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as fault:
                if code_of(fault) in _GONE:
                    raise SegmentGone(f"{name} is gone from the archive") from None
                raise
            with contextlib.closing(got["Body"]) as body, target.open("wb") as file:
                for part in body.iter_chunks(_PART_BYTES):
                    file.write(part)

    def local(self, name: str) -> Path | None:
        """Nothing lies on this machine."""
        return None

    def names(self, prefix: str) -> list[str]:
        """What is there."""
        with _told("the bucket cannot be listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def remove(self, name: str, version: str) -> None:
        """Remove a version whose time has come."""
        with _told(f"{name} cannot be removed"):
            there = self._head(name, version)
            if there is None:
                return
            until = there.get("ObjectLockRetainUntilDate")
            if there.get("ObjectLockLegalHoldStatus") == "ON" or (until is not None and until > self._now()):
                raise ArchiveRefused(f"{name} is held or must be kept longer")
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name, VersionId=there["VersionId"])

    def hold(self, name: str, version: str, held: bool) -> None:
        """Legal hold of the bucket itself."""
        with _told(f"the hold on {name} cannot be changed"):
            there = self._head(name, version)
            if there is None:
                if held:
                    raise SegmentGone(f"{name} is gone from the archive")
                return
            self._client.put_object_legal_hold(
                Bucket=self._bucket,
                Key=self._prefix + name,
                VersionId=there["VersionId"],
                LegalHold={"Status": "ON" if held else "OFF"},
            )

    def _head(self, name: str, version: str) -> "HeadObjectOutputTypeDef | None":
        key = self._prefix + name
        try:
            if version:
                return self._client.head_object(Bucket=self._bucket, Key=key, VersionId=version)
            return self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as fault:
            if code_of(fault) in _GONE:
                return None
            raise

    def _locked(self, name: str, there: "HeadObjectOutputTypeDef") -> str:
        """The version, if it is kept as it must be: a store that overlooks the lock is no archive."""
        if there.get("ObjectLockMode") != "COMPLIANCE" or there["ObjectLockRetainUntilDate"] <= self._now():
            raise ArchiveRefused(f"{name} is not locked against removal")
        return there["VersionId"]


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Only codes and names of errors: their texts may hold addresses."""
    try:
        yield
    except ClientError as fault:
        if code_of(fault) in _DENIED:
            raise ArchiveRefused(f"{what}: {code_of(fault)}") from None
        raise ArchiveUnavailable(f"{what}: {code_of(fault)}") from None
    except (BotoCoreError, HTTPClientError, OSError) as fault:
        raise ArchiveUnavailable(f"{what}: {type(fault).__name__}") from None
