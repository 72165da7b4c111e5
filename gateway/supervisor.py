"""Starts the embedded PostgreSQL again when it ends while the gateway runs (killed for memory, by hand, by a fault).

One connection that only waits tells at once that the server is gone. It is started again by whichever process of the
folder comes first, with pauses that grow to a minute and are not given up: a full disk may be emptied tomorrow.
Meanwhile everything is refused, because nothing that needs the database answers; nothing is served by what is here.
Each restart is in the log at once, on the health page, and in the trail of every tenant as soon as that can be written.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection
from psycopg import Error as PostgresError
from psycopg_pool import PoolClosed

from audit.beside import together
from audit.entry import AuditEntry
from audit.log import AuditUnavailable
from gateway.collaborators import AuditTrail
from gateway.database import EmbeddedPostgres, Pool

OPERATION, REASON = "database.restart", "database-restarted"
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Before each start in a row; the last one again and again."""
STEADY = timedelta(minutes=5)
"""A server that ran so long is started again at once."""
TELL_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Revivals:
    """How often the server was started again since this process runs, and when last; `lost`: since when it is away."""

    count: int = 0
    last: datetime | None = None
    lost: datetime | None = None


class Supervisor:
    """Watches one embedded server; `run` until cancelled. pauses_s: seconds before each start in a row."""

    def __init__(
        self,
        server: EmbeddedPostgres,
        pool: Pool,
        audit: AuditTrail,
        tenants: Collection[str],
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self.revivals = Revivals()
        self._server, self._pool, self._audit, self._tenants = server, pool, audit, tenants
        self._clock, self._new_id, self._pauses_s = clock, new_id, pauses_s
        self._in_a_row = 0
        self._lost_before: datetime | None = None
        self._untold: asyncio.Queue[int] = asyncio.Queue()

    async def run(self) -> None:
        """Wait for the end of the server and start it again, for ever."""
        await together(self._tell(), self._watch())

    async def _watch(self) -> None:
        while True:
            await self._wait()
            await self._revive()

    async def _wait(self) -> None:
        """Until the connection is lost or cannot be had; the server need not have ended."""
        try:
            async with await AsyncConnection.connect(self._server.admin_dsn, autocommit=True) as connection:
                async for _ in connection.notifies():
                    pass
        except (PostgresError, OSError) as fault:
            log.warning("database-connection-lost", fault=type(fault).__name__)

    async def _revive(self) -> None:
        """Start it, as often as it takes; returns once it answers."""
        now = self._clock()
        if self._lost_before is None or now - self._lost_before > STEADY:
            self._in_a_row = 0
        self._lost_before = self.revivals.lost = now
        tries = 0
        while True:
            pause = self._pauses_s[min(self._in_a_row, len(self._pauses_s) - 1)]
            self._in_a_row += 1
            tries += 1
            await asyncio.sleep(pause)
            try:
                started = await asyncio.to_thread(self._server.revive)
                break
            except Exception as fault:  # whatever it is, nothing works without the server
                # The reason stands in the server's own log, which may repeat what statements held: ours names it only.
                log.error("database-not-started", tries=tries, fault=type(fault).__name__, see=str(self._server.log))
        try:
            await self._pool.check()  # else each of its connections would be found dead by somebody's request
        except (PostgresError, PoolClosed) as fault:
            log.warning("pool-not-checked", fault=type(fault).__name__)
        self.revivals.lost = None
        if started:
            self.revivals.count += 1
            self.revivals.last = self._clock()
            away_s = (self.revivals.last - now).total_seconds()
            log.error("database-restarted", tries=tries, away_s=round(away_s, 1), see=str(self._server.log))
            self._untold.put_nowait(tries)

    async def _tell(self) -> None:
        while True:
            tries = await self._untold.get()
            for tenant in self._tenants:
                await self._append(tenant, tries)

    async def _append(self, tenant: str, tries: int) -> None:
        while True:
            # A new id for each: one that was not acknowledged may be in the trail nonetheless.
            entry = AuditEntry(
                at=self._clock(),
                entity="database",
                fields={"count": tries},
                id=self._new_id(),
                kind="alarm",
                operation=OPERATION,
                reason=REASON,
                tenant=tenant,
            )
            try:
                await self._audit.append(entry)
                return
            except AuditUnavailable:
                await asyncio.sleep(TELL_S)
