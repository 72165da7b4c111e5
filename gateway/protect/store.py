"""Runs, progress and the sealed credential: the SQL of this package. Nothing here is a value in the clear."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from kms.connections import EVERY, Connections, Pool

TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Run:
    """One walk through a CRM. way: "interface" or "database"; rate: writes a second, 0 for no limit."""

    id: str
    way: str
    state: str
    rate: float
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Proof:
    """A part of a CRM was read whole and held nothing in clear. part: "records", "history"; held: fields; by: login."""

    part: str
    at: datetime
    by: str
    runs: tuple[str, ...]
    held: int


@dataclass(slots=True)
class Row:
    """One record of a run.

    state: found → indexed → placed → done | refused | gone | skipped; undone: restored | differs | gone. fields: name →
    {"field", "before", "after", "parts"}; misfits: name → why; kept: what it held before, sealed, while "placed".
    """

    step: int
    entity: str
    record: str
    state: str = "found"
    fields: dict[str, Any] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)
    kept: bytes | None = field(default=None, repr=False)


class ProtectStore:
    """The tables crm_credential, protect_run, protect_record, protect_proof; every method raises StoreUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool, timeout_s=TIMEOUT_S, bounded=False)

    async def keep_credential(self, tenant: str, blob: bytes) -> None:
        """Store the sealed credential of a tenant, instead of the one before."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "INSERT INTO crm_credential (tenant, blob) VALUES (%s, %s)"
                " ON CONFLICT (tenant) DO UPDATE SET blob = excluded.blob, set_at = now()",
                (tenant, blob),
            )

    async def credential(self, tenant: str) -> bytes | None:
        """The sealed credential, None where there is none."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute("SELECT blob FROM crm_credential WHERE tenant = %s", (tenant,))
            found = await cursor.fetchone()
            return bytes(found[0]) if found else None

    async def begin(self, tenant: str, run: str, way: str, rate: float) -> None:
        """Note a new run; raises StoreUnavailable also when another one is open."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "INSERT INTO protect_run (tenant, id, way, state, rate) VALUES (%s, %s, %s, 'gathering', %s)"
                " ON CONFLICT (tenant, id) DO NOTHING",
                (tenant, run, way, rate),
            )

    async def runs(self, tenant: str) -> list[Run]:
        """All runs, the newest first."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT id, way, state, rate, started_at, ended_at FROM protect_run WHERE tenant = %s"
                " ORDER BY started_at DESC, id",
                (tenant,),
            )
            return [Run(*row) for row in await cursor.fetchall()]

    async def move(self, tenant: str, run: str, state: str, rate: float | None = None) -> None:
        """A run is in another state now."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "UPDATE protect_run SET state = %s, rate = coalesce(%s, rate),"
                " ended_at = CASE WHEN %s IN ('done', 'undone') THEN now() END WHERE tenant = %s AND id = %s",
                (state, rate, state, tenant, run),
            )

    async def found(self, tenant: str, run: str, step: int, entity: str, records: Sequence[str]) -> int:
        """Note records of a run; how many are new."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "INSERT INTO protect_record (tenant, run, step, entity, record, state)"
                " SELECT %s, %s, %s, %s, record, 'found' FROM unnest(%s::text[]) AS given (record)"
                " ON CONFLICT DO NOTHING",
                (tenant, run, step, entity, list(records)),
            )
            return cursor.rowcount

    async def span(self, tenant: str, run: str, entity: str) -> tuple[int, int] | None:
        """The smallest and the greatest id (a number) of a kind of record in a run; None where it has none."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT min(record::bigint), max(record::bigint) FROM protect_record"
                " WHERE tenant = %s AND run = %s AND entity = %s",
                (tenant, run, entity),
            )
            found = await cursor.fetchone()
            return (int(found[0]), int(found[1])) if found and found[0] is not None else None

    @asynccontextmanager
    async def alone(self, tenant: str, run: str) -> AsyncIterator[bool]:
        """Whether no other process is inside for this run; a process that dies leaves by itself."""
        async with self._connections.connection(tenant) as connection:
            key = ("crmgate protect " + run, tenant)
            cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), hashtext(%s))", key)
            got = await cursor.fetchone()
            await connection.commit()
            if not (got and got[0]):
                yield False
                return
            try:
                yield True
            finally:
                await connection.execute("SELECT pg_advisory_unlock(hashtext(%s), hashtext(%s))", key)
                await connection.commit()

    async def todo(self, tenant: str, run: str, states: Sequence[str], most: int = 100) -> list[Row]:
        """The next records in one of these states, in the order of the walk."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT step, entity, record, state, fields, misfits, kept FROM protect_record"
                " WHERE tenant = %s AND run = %s AND state = ANY(%s::text[])"
                " ORDER BY step, length(record), record LIMIT %s",
                (tenant, run, list(states), most),
            )
            return [_row(row) for row in await cursor.fetchall()]

    async def after(
        self, tenant: str, run: str, states: Sequence[str], place: Sequence[Any] | None, most: int
    ) -> list[Row]:
        """Records in these states behind a place (step, record), in the order of the walk."""
        step, record = place or (-1, "")
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT step, entity, record, state, fields, misfits, kept FROM protect_record"
                " WHERE tenant = %s AND run = %s AND state = ANY(%s::text[])"
                " AND (step, length(record), record) > (%s, %s, %s)"
                " ORDER BY step, length(record), record LIMIT %s",
                (tenant, run, list(states), step, len(record), record, most),
            )
            return [_row(row) for row in await cursor.fetchall()]

    async def rows(self, tenant: str, run: str, states: Sequence[str], batch: int = 500) -> AsyncIterator[Row]:
        """All records in these states, in the order of the walk; what changes meanwhile may be missed."""
        place: tuple[int, str] | None = None
        while found := await self.after(tenant, run, states, place, batch):
            for one in found:
                yield one
            place = (found[-1].step, found[-1].record)

    async def tally(self, tenant: str, run: str, states: Sequence[str]) -> tuple[int, int]:
        """(records in these states, all records) of a run."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FILTER (WHERE state = ANY(%s::text[])), count(*) FROM protect_record"
                " WHERE tenant = %s AND run = %s",
                (list(states), tenant, run),
            )
            found = await cursor.fetchone()
            return (int(found[0]), int(found[1])) if found else (0, 0)

    async def reopen(self, tenant: str, run: str) -> None:
        """What an undo could not put back is tried again."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "UPDATE protect_record SET state = 'undoing', misfits = '{}'"
                " WHERE tenant = %s AND run = %s AND state = 'differs'",
                (tenant, run),
            )

    async def keep(self, tenant: str, run: str, rows: Sequence[Row], *, write: bool = False) -> None:
        """Store rows as they are now, all or none; write: the CRM is about to be written, which is counted."""
        if not rows:
            return
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "UPDATE protect_record AS r SET state = g.state, fields = g.fields, misfits = g.misfits, kept = g.kept,"
                " writes = writes + %s, changed_at = now() FROM unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[],"
                " %s::jsonb[], %s::bytea[]) AS g (entity, record, state, fields, misfits, kept)"
                " WHERE r.tenant = %s AND r.run = %s AND r.entity = g.entity AND r.record = g.record",
                (
                    int(write),
                    [row.entity for row in rows],
                    [row.record for row in rows],
                    [row.state for row in rows],
                    [Jsonb(row.fields) for row in rows],
                    [Jsonb(row.misfits) for row in rows],
                    [row.kept for row in rows],
                    tenant,
                    run,
                ),
            )

    async def forget(self, tenant: str, records: Sequence[tuple[str, str]]) -> int:
        """Take away what was kept of these records, (entity, record), in every run; how many rows had something."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "UPDATE protect_record p SET kept = NULL, changed_at = now()"
                " FROM unnest(%s::text[], %s::text[]) AS w (entity, record)"
                " WHERE p.tenant = %s AND p.entity = w.entity AND p.record = w.record AND p.kept IS NOT NULL",
                ([entity for entity, _ in records], [record for _, record in records], tenant),
            )
            return cursor.rowcount

    async def counts(self, tenant: str, run: str) -> Mapping[str, Mapping[str, int]]:
        """Entity → state → records."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT entity, state, count(*) FROM protect_record WHERE tenant = %s AND run = %s"
                " GROUP BY step, entity, state ORDER BY step, state",
                (tenant, run),
            )
            counted: dict[str, dict[str, int]] = {}
            for entity, state, number in await cursor.fetchall():
                counted.setdefault(entity, {})[state] = number
            return counted

    async def misfits(self, tenant: str, run: str) -> list[tuple[str, str, str, int]]:
        """(entity, field, why, how many) of what could not be protected or not be restored."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT entity, key, value, count(*) FROM protect_record, jsonb_each_text(misfits)"
                " WHERE tenant = %s AND run = %s GROUP BY entity, key, value ORDER BY entity, key, value",
                (tenant, run),
            )
            return [(entity, name, why, number) for entity, name, why, number in await cursor.fetchall()]

    async def changed(self, tenant: str, run: str) -> tuple[int, int, int]:
        """(fields, surrogates, most writes to one record) of a run."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT (SELECT count(*) FROM protect_record, jsonb_each(fields) WHERE tenant = %(t)s AND run = %(r)s),"
                " (SELECT coalesce(sum(jsonb_array_length(value -> 'parts')), 0)"
                "  FROM protect_record, jsonb_each(fields) WHERE tenant = %(t)s AND run = %(r)s),"
                " (SELECT coalesce(max(writes), 0) FROM protect_record WHERE tenant = %(t)s AND run = %(r)s)",
                {"t": tenant, "r": run},
            )
            found = await cursor.fetchone()
            return (int(found[0]), int(found[1]), int(found[2])) if found else (0, 0, 0)

    async def prove(self, tenant: str, part: str, by: str, runs: Sequence[str], held: int) -> None:
        """Note that a part of a CRM holds nothing in clear."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "INSERT INTO protect_proof (tenant, part, proved_by, runs, held) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (tenant, part) DO UPDATE SET proved_at = now(), proved_by = excluded.proved_by,"
                " runs = excluded.runs, held = excluded.held",
                (tenant, part, by, list(runs), held),
            )

    async def unprove(self, tenant: str, parts: Sequence[str] = ("records", "history")) -> bool:
        """These parts may hold clear values again; whether that was not so before."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "DELETE FROM protect_proof WHERE tenant = %s AND part = ANY(%s::text[])", (tenant, list(parts))
            )
            return cursor.rowcount > 0

    async def proofs(self) -> Mapping[str, list[Proof]]:
        """Tenant → what was proved."""
        async with self._connections.connection(EVERY) as connection:
            cursor = await connection.execute(
                "SELECT tenant, part, proved_at, proved_by, runs, held FROM protect_proof ORDER BY tenant, part"
            )
            found: dict[str, list[Proof]] = {}
            for tenant, part, at, by, runs, held in await cursor.fetchall():
                found.setdefault(tenant, []).append(Proof(part, at, by, tuple(runs), held))
            return found


def _row(row: Sequence[Any]) -> Row:
    step, entity, record, state, fields, misfits, kept = row
    return Row(step, entity, record, state, fields, misfits, bytes(kept) if kept is not None else None)
