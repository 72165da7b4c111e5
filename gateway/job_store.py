"""SQL of durable work: the table of jobs. Every change of state is one statement, so that two processes cannot differ.

Any fault of PostgreSQL becomes StoreUnavailable, without its text.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from gateway.job import Job, Json, Slice, State, Wanted
from kms.connections import EVERY, Connections, Pool

TIMEOUT_S = 30.0


class JobStore:
    """Jobs in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._connections = Connections(pool, timeout_s=TIMEOUT_S)

    async def add(
        self, job: str, kind: str, tenant: str, arguments: Mapping[str, Json], total: int, rate: float | None
    ) -> Job:
        """A new running job, or the one of this id as it is; raises StoreUnavailable."""
        await self._rows(
            "INSERT INTO job (id, kind, tenant, arguments, total, rate) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING *",
            (job, kind, tenant, Jsonb(dict(arguments)), total, rate),
            tenant,
        )
        found = await self.get(job)
        assert found is not None
        return found

    async def get(self, job: str) -> Job | None:
        """One job; raises StoreUnavailable."""
        return _first(await self._rows("SELECT * FROM job WHERE id = %s", (job,)))

    async def of_tenant(self, tenant: str, kinds: Sequence[str], most: int = 1000) -> list[Job]:
        """Jobs of a tenant of these kinds, the newest first; raises StoreUnavailable."""
        return await self._rows(
            "SELECT * FROM job WHERE tenant = %s AND kind = ANY(%s) ORDER BY created_at DESC, id LIMIT %s",
            (tenant, list(kinds), most),
            tenant,
        )

    async def running(self, kinds: Sequence[str]) -> list[Job]:
        """Jobs of these kinds that should be worked on; raises StoreUnavailable."""
        return await self._rows(
            "SELECT * FROM job WHERE state = 'running' AND kind = ANY(%s) ORDER BY created_at",
            (list(kinds),),
        )

    async def ask(self, job: str, wanted: Wanted, rate: float | None = None) -> Job | None:
        """Note what an administrator wants; what is not worked on takes its new state at once.

        A running job sees it before its next slice. rate: the new limit, None keeps the old one. Ended jobs stay.
        """
        return _first(
            await self._rows(
                """
                UPDATE job SET
                    wanted = %(wanted)s,
                    rate = coalesce(%(rate)s, rate),
                    run = run + CASE WHEN %(wanted)s = 'run' AND state IN ('paused', 'stopped') THEN 1 ELSE 0 END,
                    problem = CASE WHEN %(wanted)s = 'run' THEN '' ELSE problem END,
                    state = CASE WHEN %(wanted)s = 'run' THEN 'running'
                                 WHEN %(wanted)s = 'cancel' AND state <> 'running' THEN 'cancelled'
                                 WHEN %(wanted)s = 'pause' AND state = 'stopped' THEN 'paused'
                                 ELSE state END,
                    ended_at = CASE WHEN %(wanted)s = 'cancel' AND state <> 'running' THEN now() ELSE ended_at END,
                    updated_at = now()
                WHERE id = %(job)s AND state NOT IN ('done', 'cancelled')
                RETURNING *
                """,
                {"job": job, "wanted": wanted.value, "rate": rate},
            )
        )

    async def begin(self, job: str, run: int) -> Job | None:
        """The job before a slice of this run, with what was asked for meanwhile taken up; None: no longer ours."""
        return _first(
            await self._rows(
                """
                UPDATE job SET
                    state = CASE wanted WHEN 'pause' THEN 'paused' WHEN 'cancel' THEN 'cancelled' ELSE state END,
                    ended_at = CASE wanted WHEN 'cancel' THEN now() ELSE ended_at END,
                    updated_at = now()
                WHERE id = %s AND run = %s AND state = 'running' RETURNING *
                """,
                (job, run),
            )
        )

    async def save(self, job: Job, made: Slice, seconds: float) -> bool:
        """Keep what a slice left behind; False when another run has taken over or the cursor moved meanwhile."""
        rows = await self._rows(
            """
            UPDATE job SET cursor = %s, done = %s, total = %s, active_s = active_s + %s, problem = '',
                state = CASE WHEN %s THEN 'done' ELSE state END,
                ended_at = CASE WHEN %s THEN now() ELSE ended_at END,
                updated_at = now()
            WHERE id = %s AND run = %s AND state = 'running' AND cursor IS NOT DISTINCT FROM %s
            RETURNING *
            """,
            (
                Jsonb(made.cursor),
                made.done,
                made.total,
                seconds,
                made.finished,
                made.finished,
                job.id,
                job.run,
                Jsonb(job.cursor),
            ),
        )
        return bool(rows)

    async def fail(self, job: str, run: int, problem: str, *, stop: bool) -> None:
        """Note a problem of a run; stop: no run goes on before an administrator has acted."""
        await self._rows(
            "UPDATE job SET problem = %s, state = CASE WHEN %s THEN 'stopped' ELSE state END, updated_at = now()"
            " WHERE id = %s AND run = %s AND state = 'running' RETURNING *",
            (problem, stop, job, run),
        )

    async def next_run(self, job: str, run: int) -> Job | None:
        """Let another workflow take over; None when it has already or the job is not running."""
        return _first(
            await self._rows(
                "UPDATE job SET run = run + 1 WHERE id = %s AND run = %s AND state = 'running' RETURNING *",
                (job, run),
            )
        )

    async def _rows(
        self, statement: LiteralString, values: Sequence[object] | Mapping[str, object], tenant: str = EVERY
    ) -> list[Job]:
        async with self._connections.connection(tenant) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(statement, values)
            return [_job(row) for row in await cursor.fetchall()]


def _first(rows: list[Job]) -> Job | None:
    return rows[0] if rows else None


def _job(row: dict[str, Any]) -> Job:
    return Job(**row | {"state": State(row["state"]), "wanted": Wanted(row["wanted"])})
