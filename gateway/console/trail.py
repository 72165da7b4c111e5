"""The reading side of the audit trail for the console: rows in readable form, one entry with its proof, verification.

Every row is decoded from the stored bytes, which are what the proof covers, not from the columns beside them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from psycopg import Error as PostgresError

from audit import query, store
from audit.archive import Archive, ArchiveUnavailable, NoArchive, SegmentBroken
from audit.catalogue import class_of
from audit.entry import AuditEntry, EntryRefused, decode
from audit.event_class import EventClass
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.pack import write_pack
from audit.pack_choice import Packed, PackRefused, Wanted
from audit.proof import EntryDropped, StoredLogBroken, prove_entry
from audit.query import Tagged
from audit.question import is_refused
from audit.sealed import Budget, sealed_entry
from audit.store import Filters, StoredEntry
from audit.tree import ProofInvalid, leaf_hash
from audit.verify import LogTampered, Verified, verify
from gateway.access.store import connection
from gateway.named_people import ERASED, People, pseudonyms_in
from kms.connections import Pool
from kms.store import StoreUnavailable

_NONE = NoArchive()


class EntryUnknown(Exception):  # noqa: N818 - an outcome answered with 404
    """There is no entry with this index."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as the console shows it. content: the decoded entry; people: pseudonym → entity/record, or `ERASED`."""

    index: int
    at: datetime
    content: Mapping[str, Any]
    intact: bool
    people: Mapping[str, str] = field(default_factory=dict)

    @property
    def thing(self) -> str:
        """What it is about, entity/record; as written where the person is not known, `ERASED` of an erased one."""
        entity, written = str(self.content.get("entity", "")), str(self.content.get("record", ""))
        return self.people.get(written, f"{entity}/{written}" if written else entity)

    @property
    def erased(self) -> bool:
        """Whether the person it is about was erased."""
        return self.people.get(str(self.content.get("record", ""))) == ERASED

    @property
    def event(self) -> EventClass:
        """Its line in the catalogue of events."""
        return class_of(self.content)

    @property
    def refused(self) -> bool:
        """Whether something was refused or failed."""
        status = self.content.get("status", 0)
        kind, reason = self.content.get("kind", ""), self.content.get("reason", "")
        return is_refused(kind, reason, status if isinstance(status, int) else 0)


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry is in the signed log: path of hashes from its leaf to the root of a signed checkpoint."""

    leaf: str
    path: tuple[str, ...]
    size: int
    root: str
    note: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class TrailState:
    """What health says about the trail. checkpoint None: nothing is signed yet."""

    entries: int
    checkpoint: Checkpoint | None
    signed_at: datetime | None
    fault: str = ""


class TrailReader:
    """Reads one installation's trail. folder: where the newest note is kept outside the database.

    people: whom pseudonyms mean; without it they are shown as they are. archive: what reads sealed entries.
    """

    def __init__(
        self,
        pool: Pool,
        conninfo: str,
        verifier: Verifier,
        folder: Path | None = None,
        people: People | None = None,
        archive: Archive = _NONE,
    ) -> None:
        self._people = people
        self.archive = archive
        self._pool = pool
        self._conninfo = conninfo
        self._verifier = verifier
        self._folder = folder

    async def recent(self, tenant: str, limit: int, filters: Filters, *, before: int | None = None) -> list[Row]:
        """The newest entries that match, newest first."""
        return [_row(entry) for entry in await query.recent(self._pool, tenant, limit, filters, before=before)]

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        """Every name a record may stand under in the trail; entity "": of any sort.

        Raises KeysUnavailable, StoreUnavailable.
        """
        return [record] if self._people is None else await self._people.names_of(tenant, entity, record)

    async def people_of(self, tenant: str, names: Collection[str]) -> Mapping[str, str]:
        """Pseudonym → entity/record, or `ERASED`; what is no pseudonym is absent."""
        return {} if self._people is None else await self._people.told(tenant, names)

    async def told(self, tenant: str, rows: Sequence[Row]) -> list[Row]:
        """The same rows with the people in them."""
        if self._people is None:
            return list(rows)
        people = await self._people.told(tenant, {name for row in rows for name in pseudonyms_in(row.content)})
        return [
            replace(row, people={name: people[name] for name in pseudonyms_in(row.content) if name in people})
            for row in rows
        ]

    async def listed(
        self, tenant: str, limit: int, filters: Filters, pattern: str, *, before: int | None = None
    ) -> tuple[list[Row], Tagged]:
        """The newest entries whose tag fits, "" for any, among the newest ten thousand; and where to go on.

        Sealed ones as well where `before` says that somebody pages back. Raises: LogTampered, psycopg errors.
        """
        archive = _NONE if before is None else self.archive
        try:
            found = await query.tagged(
                self._pool, tenant, limit, filters, pattern, before=before, most=query.LIMIT_ENTRIES, archive=archive,
                budget=Budget(),
            )  # fmt: skip
        except SegmentBroken as fault:
            raise LogTampered(tenant, str(fault)) from fault
        return [_row(entry) for entry in found.entries], found

    async def entry(self, tenant: str, index: int) -> Row:
        """One entry; raises EntryUnknown, LogTampered, StoreUnavailable."""
        return _row(await self._stored(tenant, index))

    async def proof(self, tenant: str, index: int) -> Proof | None:
        """The entry's inclusion proof, checked before it is shown; None while no checkpoint covers it.

        Raises: EntryUnknown; LogTampered when proof or signature do not hold.
        """
        await self._stored(tenant, index)
        async with connection(self._pool, tenant) as db:
            await store.snapshot(db)
            latest = await store.latest_checkpoint(db, tenant)
            if latest is None or index >= latest.size:
                return None
            try:
                proof = await prove_entry(db, tenant, index, self._verifier, self.archive)
                checkpoint = proof.check(self._verifier, origin_of(tenant))
            except (StoredLogBroken, SegmentBroken, NoteInvalid, ProofInvalid) as fault:
                raise LogTampered(tenant, str(fault), index=index) from fault
            except EntryDropped as fault:
                raise EntryUnknown from fault
            except ArchiveUnavailable as fault:
                raise StoreUnavailable from fault
        hashes = tuple(step.hex() for step in proof.path)
        leaf = leaf_hash(proof.body).hex()
        return Proof(leaf, hashes, checkpoint.size, checkpoint.root.hex(), proof.note, latest.at)

    async def state(self, tenant: str) -> TrailState:
        """Size of the trail and its newest checkpoint."""
        async with connection(self._pool, tenant) as db:
            entries = await store.size(db, tenant)
            latest = await store.latest_checkpoint(db, tenant)
        if latest is None:
            return TrailState(entries, None, None)
        try:
            checkpoint = self._verifier.open_checkpoint(latest.note, origin_of(tenant))
        except NoteInvalid as fault:
            return TrailState(entries, None, latest.at, str(fault))
        return TrailState(entries, checkpoint, latest.at)

    def key(self, tenant: str) -> str:
        """The public key that the auditor checks with, in the one line of C2SP signed-note."""
        return self._verifier.vkey(origin_of(tenant))

    async def pack(self, tenant: str, wanted: Wanted, target: BinaryIO) -> Packed:
        """Write an evidence pack. Raises: PackRefused; LogTampered when a proof does not hold; StoreUnavailable."""
        try:
            async with store.reading(self._conninfo, tenant) as db:
                return await write_pack(db, tenant, self._verifier, wanted, target, self.archive)
        except (StoredLogBroken, SegmentBroken) as fault:
            raise LogTampered(tenant, str(fault)) from fault
        except EntryDropped as fault:
            raise PackRefused(str(fault)) from fault
        except (PostgresError, OSError, ArchiveUnavailable) as fault:
            raise StoreUnavailable from fault

    async def verify(self, tenant: str) -> Verified:
        """Verify every byte of the trail; raises LogTampered."""
        return await verify(self._conninfo, tenant, self._verifier, self._folder)

    async def _stored(self, tenant: str, index: int) -> StoredEntry:
        found = await query.recent(self._pool, tenant, 1, before=index + 1)
        if found and found[0].index == index:
            return found[0]
        try:
            sealed = await self.archive.bodies(tenant, index, index + 1)
            if sealed:
                return sealed_entry(index, sealed[0])
        except SegmentBroken as fault:
            raise LogTampered(tenant, str(fault), index=index) from fault
        except ArchiveUnavailable as fault:
            raise StoreUnavailable from fault
        raise EntryUnknown


_NAMES = tuple(name for name in AuditEntry.__slots__ if name != "fields")


def _row(entry: StoredEntry) -> Row:
    try:
        content, intact = decode(entry.body), leaf_hash(entry.body) == entry.leaf
    except EntryRefused:
        # Somebody changed the bytes: what is left are the columns, shown as what they are.
        named = {"kind": entry.kind, "reason": entry.reason, "status": entry.status, "operation": entry.operation}
        content, intact = {**dict.fromkeys(_NAMES, ""), "fields": {}, **named}, False
    return Row(entry.index, entry.at, content, intact)
