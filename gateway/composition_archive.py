"""The objects around the archive of the trail: where it is, who seals, prunes and reads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from audit.archive import Archive, NoArchive
from audit.cold import segment_store
from audit.cold.folder import FolderArchive
from audit.cold.pruning import Pruner
from audit.cold.reader import ArchiveReader
from audit.cold.retention import Retention
from audit.cold.s3 import S3Archive
from audit.cold.sealing import Sealer
from audit.cold.store import ArchiveStore
from audit.note import Verifier
from audit.s3_client import Credentials, Server, open_client
from audit.signing import CheckpointSigner
from audit.store import reading
from gateway.accounts import utc_now
from gateway.archive_config import ArchiveSettings, retention_of
from gateway.archiving import Archivist
from gateway.checkpoint_key import verifier_of
from gateway.database import Pool
from gateway.durable import Durable
from gateway.opening import read_secret
from gateway.settings import Settings

GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True)
class Archiving:
    """Who writes."""

    sealer: Sealer
    pruner: Pruner
    stored: ArchiveStore
    retention: Retention


def store_of(wanted: ArchiveSettings) -> ArchiveStore:
    """The store that the settings name; raises SettingInvalid for files that cannot be read."""
    place = urlsplit(wanted.to)
    if place.scheme == "file":
        return FolderArchive(Path(unquote(place.path)), utc_now)
    assert wanted.access_key_file is not None
    assert wanted.secret_key_file is not None
    key = Credentials(
        read_secret("audit.archive.access_key_file", wanted.access_key_file).decode(),
        read_secret("audit.archive.secret_key_file", wanted.secret_key_file).decode(),
    )
    server = Server(wanted.endpoint, wanted.region, wanted.ca, wanted.timeout_s, wanted.timeout_s, attempts=3)
    prefix = place.path.strip("/")
    return S3Archive(open_client(server, key), place.netloc, f"{prefix}/" if prefix else "", utc_now)


def archive_of(settings: Settings, conninfo: str, verifier: Verifier) -> Archive:
    """What reads sealed entries; NoArchive where nothing is sealed. Raises SettingInvalid."""
    wanted = settings.archive
    if not wanted.to:
        return NoArchive()

    async def rows(tenant: str) -> list[segment_store.StoredSegment]:
        async with reading(conninfo, tenant) as connection:
            return await segment_store.segments(connection, tenant)

    cache = settings.state / "archive" / "cache"
    return ArchiveReader(rows, store_of(wanted), verifier, cache, int(wanted.cache_gb * GIGABYTE))


def archive_at_hand(settings: Settings, conninfo: str) -> Archive:
    """The same for a command; it needs the key only where something is sealed. Raises: KeyFileInvalid."""
    return archive_of(settings, conninfo, verifier_of(settings)) if settings.archive.to else NoArchive()


def archivist_of(settings: Settings, pool: Pool, signer: CheckpointSigner) -> tuple[Archiving | None, Archivist | None]:
    """Who seals, and who looks when; none where nothing is sealed. Raises SettingInvalid, OSError."""
    if not settings.archive.to:
        return None, None
    found = archiving_of(settings, pool, signer)
    assert found is not None
    return found, Archivist(found.sealer, found.pruner, tuple(settings.tenants), utc_now)


@asynccontextmanager
async def kept_sealed(archivist: Archivist | None, durable: Durable) -> AsyncIterator[None]:
    """Somebody looks every hour, while the block runs."""
    if archivist is not None:
        await archivist.start(durable)
    try:
        yield
    finally:
        if archivist is not None:
            await archivist.close()


def archiving_of(settings: Settings, pool: Pool, signer: CheckpointSigner) -> Archiving | None:
    """Who seals and prunes; None where nothing is sealed. Raises SettingInvalid."""
    wanted = settings.archive
    if not wanted.to:
        return None
    stored, retention = store_of(wanted), retention_of(wanted, settings.retention)
    scratch = settings.state / "archive" / "scratch"

    def sinks(tenant: str) -> list[str]:
        return [name for name, one in settings.siem.items() if not one.tenants or tenant in one.tenants]

    return Archiving(
        Sealer(pool, stored, signer, scratch, retention, utc_now, wanted.segment_entries),
        Pruner(pool, stored, signer.verifier, scratch, retention, utc_now, wanted.hot_days, sinks),
        stored,
        retention,
    )
