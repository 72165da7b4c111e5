"""Sealing, pruning and dropping as durable work: an hour's look for each CRM, a segment a slice.

A slice may be done again after a kill: what was sealed is found in the archive, what was pruned or dropped is noted in
the transaction that did it. What removes something is in the trail before it happens.
An archive that is away, slow or full makes the job wait and try again; entries stay in the database meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout

from audit.archive import ArchiveRefused, ArchiveUnavailable, SegmentBroken
from audit.beside import end
from audit.cold.hold import Hold
from audit.cold.manifest import Manifest
from audit.cold.pruning import Pruner
from audit.cold.sealing import Sealer
from gateway.durable import Durable
from gateway.job import Job, Json, Slice, State
from gateway.rotation import Record
from kms.store import StoreUnavailable

KIND = "archive"
EVERY_S = 3600.0
WAIT_S = 60.0  # half of what a slice may take
LATE = timedelta(days=2)  # a day is sealed after its end; after two days something is wrong


class ArchiveProblem(Exception):  # noqa: N818 - names what is wrong
    """The archive cannot be used as it is, or the trail is not what was signed; `problem` says which."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class ArchiveAway(Exception):  # noqa: N818 - a state
    """The archive does not answer or is full; tried again."""

    permanent = False
    problem = "archive-away"


class ArchiveWork:
    """Does the slices of jobs of the kind `archive`.

    A large segment over a slow line takes longer than a slice may: it goes on while slices come and go, each of which
    waits `wait_s` for it.
    """

    def __init__(self, sealer: Sealer, pruner: Pruner, record: Record, wait_s: float = WAIT_S) -> None:
        self._sealer = sealer
        self._pruner = pruner
        self._record = record
        self._wait_s = wait_s
        self._under_way: dict[str, asyncio.Task[int]] = {}

    async def close(self) -> None:
        """End what is under way; it is begun anew by the next process."""
        await end(*self._under_way.values())
        self._under_way.clear()

    async def slice(self, job: Job) -> Slice:
        """Seal, prune or drop one segment; see gateway.job.Work."""
        task = self._under_way.get(job.tenant) or asyncio.create_task(self._step(job.tenant))
        self._under_way[job.tenant] = task
        ended, _ = await asyncio.wait({task}, timeout=self._wait_s)
        if not ended:
            return Slice(None, job.done, job.done)
        del self._under_way[job.tenant]
        try:
            did = task.result()
        except ArchiveUnavailable:
            raise ArchiveAway from None
        except ArchiveRefused:
            raise ArchiveProblem("archive-refuses") from None
        except SegmentBroken:
            raise ArchiveProblem("segment-broken") from None
        done = job.done + did
        return Slice(None, done, done, finished=not did)

    async def _step(self, tenant: str) -> int:
        """Entries that were sealed, pruned or dropped; 0 when there is nothing more to do."""
        sealed = await self._sealer.seal(tenant)
        if sealed is not None:
            await self._record(tenant, "audit.seal", place_of(sealed), {"count": sealed.count})
            return sealed.count
        return await prune_next(self._pruner, self._record, tenant) or await self._drop(tenant)

    async def _drop(self, tenant: str) -> int:
        over, hold = await self._pruner.droppable(tenant)
        if over is None or hold is not None:
            return 0
        await drop(self._pruner, self._record, tenant, over)
        return over.count


async def prune_next(pruner: Pruner, record: Record, tenant: str) -> int:
    """Remove the entries of the next sealed segment from the database; how many. Raises: see `Pruner.prune`."""
    sealed = await pruner.prunable(tenant)
    if sealed is None:
        return 0
    await record(tenant, "audit.prune", place_of(sealed), {"count": sealed.count})
    return await pruner.prune(tenant, sealed)


async def drop(pruner: Pruner, record: Record, tenant: str, over: Manifest) -> None:
    """Remove the files of a segment whose time is over. Raises: see `Pruner.drop`."""
    classes: Json = ",".join(sorted(over.classes))
    await record(tenant, "audit.drop", place_of(over), {"count": over.count, "detail": classes})
    await pruner.drop(tenant, over)


def place_of(manifest: Manifest) -> str:
    """How an entry of the trail names a segment."""
    return f"{manifest.first}-{manifest.last}"


@dataclass(slots=True)
class ArchiveState:
    """What the health page shows of a CRM. fault: of the last look, "" when it went well."""

    fault: str = ""
    held: Hold | None = None


class Archivist:
    """Looks every hour whether there is something to seal, prune or drop, and begins the job that does it."""

    def __init__(
        self,
        sealer: Sealer,
        pruner: Pruner,
        tenants: Collection[str],
        clock: Callable[[], datetime],
        every_s: float = EVERY_S,
    ) -> None:
        self.states = {tenant: ArchiveState() for tenant in tenants}
        self._sealer, self._pruner = sealer, pruner
        self._clock = clock
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self, durable: Durable) -> None:
        """Begin; the first look runs at once."""
        self._task = asyncio.create_task(self._run(durable), name="archivist")

    async def close(self) -> None:
        """Stop looking; jobs go on."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def _run(self, durable: Durable) -> None:
        while True:
            for tenant in self.states:
                await self.look(durable, tenant)
            await asyncio.sleep(self._every_s)

    async def look(self, durable: Durable, tenant: str) -> Job | None:
        """Begin a job if there is work and none is under way. What goes wrong is shown on the health page."""
        state = self.states[tenant]
        try:
            last = next(iter(await durable.jobs.of_tenant(tenant, [KIND], 1)), None)
            state.fault = last.problem if last is not None and last.state is not State.DONE else ""
            if last is not None and last.state in (State.RUNNING, State.PAUSED):
                return last
            await asyncio.to_thread(self._sealer.stored.check)
            due = await self._sealer.due(tenant) or await self._pruner.prunable(tenant)
            if due is None:
                over, state.held = await self._pruner.droppable(tenant)
                due = over if state.held is None else None
            if due is None:
                return None
            # Named after the hour, so that it is one job whichever node begins it.
            return await durable.begin(f"{KIND}-{tenant}-{self._clock():%Y%m%d%H}", KIND, tenant, {})
        except (ArchiveUnavailable, ArchiveRefused, SegmentBroken) as fault:
            state.fault = str(fault)
        except (Error, PoolTimeout, PoolClosed, StoreUnavailable, OSError) as fault:
            state.fault = type(fault).__name__
        structlog.get_logger().error("audit.archive-failed", tenant=tenant, fault=state.fault)
        return None
