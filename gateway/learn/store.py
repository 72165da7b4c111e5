"""SQL of learning runs and drift; every query names its tenant. No value is ever in what is stored here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from gateway.learn.document import Document
from gateway.learn.evidence import Evidence
from kms.connections import EVERY, Connections, Pool

MOST_DRIFT = 2000  # places of one tenant


class RunUnderWay(Exception):  # noqa: N818 - a state
    """A tenant is watched already."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Run:
    """One learning run. answers: decision → what was chosen."""

    tenant: str
    id: str
    started_at: datetime
    ends_at: datetime
    stopped_at: datetime | None
    document: Document
    answers: Mapping[str, str]

    def on(self, now: datetime) -> bool:
        """Whether it watches."""
        return self.stopped_at is None and now < self.ends_at


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that the profile does not declare. sort: endpoint or field; kind: recognised, "" for endpoints."""

    sort: str
    place: str
    kind: str
    times: int
    first_seen: datetime
    last_seen: datetime


class LearnStore:
    """Learning runs in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool)

    async def start(self, tenant: str, run: str, now: datetime, ends_at: datetime, by: str) -> None:
        """A new run; raises RunUnderWay, StoreUnavailable. Evidence of earlier runs of the tenant goes."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('crmgate learn ' || %s, 0))", (tenant,)
            )
            cursor = await connection.execute(
                "SELECT 1 FROM learn_run WHERE tenant = %s AND stopped_at IS NULL AND ends_at > %s", (tenant, now)
            )
            if await cursor.fetchone() is not None:
                raise RunUnderWay(tenant)
            await connection.execute("DELETE FROM learn_run WHERE tenant = %s", (tenant,))
            await connection.execute(
                "INSERT INTO learn_run (tenant, id, started_at, ends_at, started_by) VALUES (%s, %s, %s, %s, %s)",
                (tenant, run, now, ends_at, by),
            )

    async def stop(self, tenant: str, now: datetime) -> bool:
        """End the watching; whether there was any."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "UPDATE learn_run SET stopped_at = %s WHERE tenant = %s AND stopped_at IS NULL AND ends_at > %s",
                (now, tenant, now),
            )
            return cursor.rowcount > 0

    async def forget(self, tenant: str) -> None:
        """Delete the run of a tenant with all it saw."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute("DELETE FROM learn_run WHERE tenant = %s", (tenant,))

    async def latest(self, tenant: str) -> Run | None:
        """The run of a tenant; raises StoreUnavailable."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT tenant, id, started_at, ends_at, stopped_at, document, answers FROM learn_run"
                " WHERE tenant = %s ORDER BY started_at DESC LIMIT 1",
                (tenant,),
            )
            row = await cursor.fetchone()
            return None if row is None else _run(row)

    async def watching(self, now: datetime) -> dict[str, str]:
        """Tenant → run, of those that watch now; raises StoreUnavailable."""
        async with self._connections.connection(EVERY) as connection:
            cursor = await connection.execute(
                "SELECT tenant, id FROM learn_run WHERE stopped_at IS NULL AND ends_at > %s", (now,)
            )
            return {str(tenant): str(run) for tenant, run in await cursor.fetchall()}

    async def put_document(self, tenant: str, document: Document) -> bool:
        """Keep what a document said; whether there is a run to keep it with."""
        return await self._set(tenant, "UPDATE learn_run SET document = %s WHERE tenant = %s", document.plain())

    async def put_answers(self, tenant: str, answers: Mapping[str, str]) -> bool:
        """Add decisions; whether there is a run."""
        return await self._set(tenant, "UPDATE learn_run SET answers = answers || %s WHERE tenant = %s", dict(answers))

    async def _set(self, tenant: str, statement: str, value: dict[str, Any]) -> bool:
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(statement.encode(), (Jsonb(value), tenant))
            return cursor.rowcount > 0

    async def put_evidence(self, tenant: str, run: str, process: str, evidence: str, now: datetime) -> None:
        """What one process has seen so far, as JSON; nothing is kept of a run that was deleted."""
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                """
                INSERT INTO learn_evidence (tenant, run, process, evidence, noted_at)
                SELECT tenant, id, %s, %s::jsonb, %s FROM learn_run WHERE tenant = %s AND id = %s
                ON CONFLICT (tenant, run, process)
                DO UPDATE SET evidence = EXCLUDED.evidence, noted_at = EXCLUDED.noted_at
                """,
                (process, evidence, now, tenant, run),
            )

    async def evidence(self, tenant: str, run: str) -> Evidence:
        """What all processes have seen; raises StoreUnavailable."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT evidence FROM learn_evidence WHERE tenant = %s AND run = %s ORDER BY process", (tenant, run)
            )
            whole = Evidence()
            for (plain,) in await cursor.fetchall():
                whole.add(Evidence.of(plain))
            return whole

    async def add_drift(self, tenant: str, seen: Mapping[tuple[str, str, str], int], now: datetime) -> None:
        """Count places that no profile declares: (sort, place, kind) → times; new ones up to a limit."""
        keys = list(seen)
        async with self._connections.connection(tenant) as connection:
            await connection.execute(
                """
                INSERT INTO learn_drift (tenant, sort, place, kind, times, first_seen, last_seen)
                SELECT %(tenant)s, sort, place, kind, times, %(now)s, %(now)s
                FROM unnest(%(sorts)s::text[], %(places)s::text[], %(kinds)s::text[], %(times)s::bigint[])
                     AS given (sort, place, kind, times)
                WHERE (SELECT count(*) FROM learn_drift WHERE tenant = %(tenant)s) < %(most)s
                   OR EXISTS (SELECT 1 FROM learn_drift d WHERE d.tenant = %(tenant)s AND d.sort = given.sort
                              AND d.place = given.place AND d.kind = given.kind)
                ON CONFLICT (tenant, sort, place, kind)
                DO UPDATE SET times = learn_drift.times + EXCLUDED.times, last_seen = EXCLUDED.last_seen
                """,
                {
                    "tenant": tenant,
                    "now": now,
                    "most": MOST_DRIFT,
                    "sorts": [key[0] for key in keys],
                    "places": [key[1] for key in keys],
                    "kinds": [key[2] for key in keys],
                    "times": [seen[key] for key in keys],
                },
            )

    async def drift(self, tenant: str) -> Sequence[Drift]:
        """What was noticed, most frequent first."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT sort, place, kind, times, first_seen, last_seen FROM learn_drift WHERE tenant = %s"
                " ORDER BY sort, times DESC, place, kind",
                (tenant,),
            )
            return [Drift(*row) for row in await cursor.fetchall()]

    async def drift_counts(self, tenant: str) -> dict[str, int]:
        """Sort → how many places drifted; raises StoreUnavailable."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute(
                "SELECT sort, count(*) FROM learn_drift WHERE tenant = %s GROUP BY sort", (tenant,)
            )
            return {str(sort): int(count) for sort, count in await cursor.fetchall()}

    async def clear_drift(self, tenant: str) -> int:
        """Forget it; how many places."""
        async with self._connections.connection(tenant) as connection:
            cursor = await connection.execute("DELETE FROM learn_drift WHERE tenant = %s", (tenant,))
            return cursor.rowcount


def _run(row: Sequence[Any]) -> Run:
    tenant, run, started_at, ends_at, stopped_at, document, answers = row
    return Run(tenant, run, started_at, ends_at, stopped_at, Document.of(document) if document else Document(), answers)
