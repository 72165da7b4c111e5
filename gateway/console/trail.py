"""The reading side of the audit trail for the console: rows in readable form, one entry with its proof, verification.

Every row is decoded from the stored bytes, which are what the proof covers, not from the columns beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from audit import query, store
from audit.catalogue import class_of
from audit.entry import AuditEntry, EntryRefused, decode
from audit.event_class import EventClass
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.proof import StoredLogBroken, prove_entry
from audit.store import Filters, StoredEntry
from audit.tree import ProofInvalid, leaf_hash
from audit.verify import LogTampered, Verified, verify
from gateway.access.store import connection
from kms.connections import Pool

FINE_REASONS = frozenset(
    {"", "allowed", "signed-in", "signed-out", "password-accepted", "invitation-used", "password-changed"}
)


class EntryUnknown(Exception):  # noqa: N818 - an outcome answered with 404
    """There is no entry with this index."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as the console shows it. content: the decoded entry; refused: whether it is a refusal or a failure."""

    index: int
    at: datetime
    content: Mapping[str, Any]
    intact: bool

    @property
    def event(self) -> EventClass:
        """Its line in the catalogue of events."""
        return class_of(self.content)

    @property
    def refused(self) -> bool:
        """Whether something was refused or failed."""
        status = self.content.get("status", 0)
        if self.content.get("kind") in ("decision", "outcome", "refusal"):
            return self.content.get("reason", "") not in FINE_REASONS
        return isinstance(status, int) and status >= 400


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
    """Reads one installation's trail. folder: where the newest note is kept outside the database."""

    def __init__(self, pool: Pool, conninfo: str, verifier: Verifier, folder: Path | None = None) -> None:
        self._pool = pool
        self._conninfo = conninfo
        self._verifier = verifier
        self._folder = folder

    async def recent(self, tenant: str, limit: int, filters: Filters, *, before: int | None = None) -> list[Row]:
        """The newest entries that match, newest first."""
        return [_row(entry) for entry in await query.recent(self._pool, tenant, limit, filters, before=before)]

    async def tagged(
        self, tenant: str, limit: int, filters: Filters, pattern: str, *, before: int | None = None
    ) -> list[Row]:
        """The newest entries whose tag fits among the newest ten thousand, newest first."""
        found = await query.tagged(self._pool, tenant, limit, filters, pattern, before=before, most=query.LIMIT_ENTRIES)
        return [_row(entry) for entry in found.entries]

    async def entry(self, tenant: str, index: int) -> Row:
        """One entry; raises EntryUnknown."""
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
                proof = await prove_entry(db, tenant, index, self._verifier)
                checkpoint = proof.check(self._verifier, origin_of(tenant))
            except (StoredLogBroken, NoteInvalid, ProofInvalid) as fault:
                raise LogTampered(tenant, str(fault), index=index) from fault
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

    async def verify(self, tenant: str) -> Verified:
        """Verify every byte of the trail; raises LogTampered."""
        return await verify(self._conninfo, tenant, self._verifier, self._folder)

    async def _stored(self, tenant: str, index: int) -> StoredEntry:
        found = await query.recent(self._pool, tenant, 1, before=index + 1)
        if not found or found[0].index != index:
            raise EntryUnknown
        return found[0]


_NAMES = tuple(name for name in AuditEntry.__slots__ if name != "fields")


def _row(entry: StoredEntry) -> Row:
    try:
        content, intact = decode(entry.body), leaf_hash(entry.body) == entry.leaf
    except EntryRefused:
        # Somebody changed the bytes: what is left are the columns, shown as what they are.
        named = {"kind": entry.kind, "reason": entry.reason, "status": entry.status, "operation": entry.operation}
        content, intact = {**dict.fromkeys(_NAMES, ""), "fields": {}, **named}, False
    return Row(entry.index, entry.at, content, intact)
