"""[audit.archive] and [audit.retention.NAME] of the settings: where sealed segments are kept, and how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from audit.cold.retention import FIVE_YEARS, FIVE_YEARS_DAYS, Retention, RetentionClass
from gateway.toml_tree import SettingInvalid, read_section, setting

ARCHIVE, RETENTION = "audit.archive", "audit.retention"


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """[audit.archive]."""

    to: str = setting("", 'where: "file:///srv/audit" or "s3://bucket/prefix"; empty: nothing is sealed')
    endpoint: str = setting("", "address of the S3 server where it is not that of the region")
    region: str = setting("us-east-1", "region of the bucket")
    access_key_file: Path | None = setting(None, "S3: file with the id of the key to sign in with")
    secret_key_file: Path | None = setting(None, "S3: file with the key itself")
    ca: Path | None = setting(None, "PEM file with the CA of the S3 server when it is not a public one")
    timeout_s: float = setting(30.0, "S3: seconds to wait for an answer", least=1)
    hot_days: float = setting(90.0, "days that sealed entries stay in the database, too", least=0)
    segment_entries: int = setting(250_000, "entries in a segment at most; a busy day has several", least=1_000)
    cache_gb: float = setting(20.0, "disk for segments fetched from S3", least=0.1)
    keep_days: int = setting(FIVE_YEARS_DAYS, "days that entries of no other class are kept", least=1)
    law: str = setting("", "why that long; for people")


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """[audit.retention.NAME]: entries of some kinds or operations that are kept longer or shorter."""

    days: int = setting(..., "days that they are kept", least=1)
    law: str = setting("", "which law says so; for people")
    kinds: tuple[str, ...] = setting((), 'kinds of entries: "sign-in", "alarm"')
    operations: tuple[str, ...] = setting((), 'their operations; "audit.*" are all that begin so')


def read_archive(raw: object, folder: Path) -> ArchiveSettings:
    """The section; raises SettingInvalid."""
    read = read_section(ArchiveSettings, raw, ARCHIVE, folder)
    try:
        place = urlsplit(read.to)
        server = urlsplit(read.endpoint)
    except ValueError:
        raise SettingInvalid(f"{ARCHIVE}.to", "is no address") from None
    if read.to and not _is_file(read.to) and not (place.scheme == "s3" and place.netloc and "@" not in place.netloc):
        raise SettingInvalid(f"{ARCHIVE}.to", "must be written like file:///srv/audit or s3://bucket/prefix")
    if place.scheme == "s3" and (read.access_key_file is None or read.secret_key_file is None):
        raise SettingInvalid(f"{ARCHIVE}.access_key_file", "S3 needs access_key_file and secret_key_file")
    local = server.hostname in ("127.0.0.1", "::1", "localhost")
    fits = server.scheme == "https" or (server.scheme == "http" and local)
    if read.endpoint and (not fits or server.username is not None):
        raise SettingInvalid(f"{ARCHIVE}.endpoint", "must begin with https:// (http:// on this machine only)")
    return read


def read_retention(raw: object, folder: Path) -> Mapping[str, RetentionSettings]:
    """Every [audit.retention.NAME]; raises SettingInvalid."""
    if not isinstance(raw, Mapping) or not all(isinstance(value, Mapping) for value in raw.values()):
        raise SettingInvalid(RETENTION, "write one section for each class, for example [audit.retention.short]")
    found = {name: read_section(RetentionSettings, value, f"{RETENTION}.{name}", folder) for name, value in raw.items()}
    for name, one in found.items():
        if name == FIVE_YEARS:
            raise SettingInvalid(f"{RETENTION}.{name}", f"is what {ARCHIVE}.keep_days is about; use another name")
        if not one.kinds and not one.operations:
            raise SettingInvalid(f"{RETENTION}.{name}", "needs kinds or operations")
    return MappingProxyType(found)


def retention_of(archive: ArchiveSettings, classes: Mapping[str, RetentionSettings]) -> Retention:
    """The rules."""
    return Retention(
        [RetentionClass(name, one.days, one.law, one.kinds, one.operations) for name, one in classes.items()],
        RetentionClass(FIVE_YEARS, archive.keep_days, archive.law),
    )


def _is_file(text: str) -> bool:
    return text.startswith("file:///") and len(text) > len("file:///")
