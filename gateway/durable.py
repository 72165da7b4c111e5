"""Durable work: jobs that survive a kill, resume where they were, retry with growing pauses, pause and end on request.

A job is a row (gateway.job_store) and, while it runs, one workflow of dbos on the same PostgreSQL. The workflow calls
the job's `Work` slice by slice; each slice starts at the cursor the last one left and is saved before the next. After
SIGKILL the next process to start, or any that runs, takes the workflow over (gateway.workflows says how it knows that
the owner is dead) and repeats at most the slice that was under way. Pausing, cancelling and errors that trying again
cannot cure end the workflow and keep cursor and progress in the row; resuming starts the next one.
Slices run on the event loop of the gateway, so they use the same pools and caches; dbos keeps to a few threads of
its own. Nothing that dbos stores or logs holds more than ids, counts and names of error classes.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

import structlog

from audit.beside import end
from gateway.job import Job, JobUnknown, Json, State, Wanted, Work
from gateway.job_store import JobStore
from gateway.workflows import Told, Workflows
from kms.connections import Pool
from kms.store import StoreUnavailable

SLICES_A_RUN = 200  # then the next workflow goes on, so that no history grows without end
SLICE_S = 120.0  # a slice takes a second or so; after this it counts as hung and is tried again
TRIES_IN_A_ROW = 30
LONGEST_PAUSE_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kind:
    work: Work
    at_once: int


class Leaving(BaseException):
    """This process ends: the workflow stays as it is for the next one. Not an Exception, or dbos would record it."""


class Durable:
    """Durable work of one process; `register` every kind, then `start`; one at a time in a process.

    dsn: the same database as `pool`; poll_s: how often queues are looked into; sweep_s: how often work of dead
    processes is looked for; clock: monotonic seconds.
    """

    def __init__(
        self,
        dsn: str,
        pool: Pool,
        *,
        poll_s: float = 1.0,
        sweep_s: float = 5.0,
        first_pause_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs = JobStore(pool)
        self._clock = clock
        self._first_pause_s = first_pause_s
        self._kinds: dict[str, _Kind] = {}
        self._workflows = Workflows(dsn, self._drive, poll_s=poll_s)
        self._sweep_s = sweep_s
        self._sweeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving = threading.Event()
        self._under_way: set[Future[Told]] = set()

    def register(self, kind: str, work: Work, *, at_once: int = 1) -> None:
        """Say who does the slices of a kind; at_once: jobs of it that one process works on at the same time."""
        if self._loop is not None:
            raise RuntimeError("kinds are registered before the start")
        self._kinds[kind] = _Kind(work, at_once)

    async def start(self) -> None:
        """Begin to work, with what dead processes left first; raises WorkflowsUnavailable, StoreUnavailable."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._workflows.open({kind: one.at_once for kind, one in self._kinds.items()})
            await self._sweep()
        except BaseException:
            await self.close()
            raise
        self._sweeper = asyncio.create_task(self._sweeps(), name="durable work")

    async def close(self) -> None:
        """Leave: slices under way are cancelled and stay to be done again by the next process."""
        self._leaving.set()
        if self._sweeper is not None:
            await end(self._sweeper)
            self._sweeper = None
        for future in list(self._under_way):
            future.cancel()
        await self._workflows.close()
        self._loop = None

    async def begin(
        self,
        job: str,
        kind: str,
        tenant: str,
        arguments: Mapping[str, Json],
        *,
        total: int = 0,
        rate: float | None = None,
    ) -> Job:
        """Start a job; the same id again is the same job, however often it is begun. Raises StoreUnavailable."""
        if kind not in self._kinds:
            raise ValueError(f"nobody does jobs of the kind {kind}")
        begun = await self.jobs.add(job, kind, tenant, arguments, total, rate)
        if begun.state is State.RUNNING:
            await self._workflows.enqueue(begun.kind, begun.id, begun.run)
        return begun

    async def resume(self, job: str, rate: float | None = None) -> Job:
        """Go on with a paused or stopped job; rate: a new limit. Raises JobUnknown, StoreUnavailable."""
        asked = await self.jobs.ask(job, Wanted.RUN, rate)
        if asked is None:
            raise JobUnknown(job)
        if asked.kind in self._kinds:
            await self._workflows.enqueue(asked.kind, asked.id, asked.run)
        return asked

    async def pause(self, job: str) -> Job:
        """Hold a job after the slice under way, in whichever process. Raises JobUnknown, StoreUnavailable."""
        return await ask(self.jobs, job, Wanted.PAUSE)

    async def cancel(self, job: str) -> Job:
        """End a job for good after the slice under way. Raises JobUnknown, StoreUnavailable."""
        return await ask(self.jobs, job, Wanted.CANCEL)

    async def wait(self, job: str, seen: Callable[[Job], None] | None = None, *, every_s: float = 0.25) -> Job:
        """Until a job no longer runs, wherever it runs; `seen` gets it now and then. Raises JobUnknown."""
        while True:
            now = await self.jobs.get(job)
            if now is None:
                raise JobUnknown(job)
            if seen is not None:
                seen(now)
            if now.state is not State.RUNNING:
                return now
            await asyncio.sleep(every_s)

    async def _sweeps(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            try:
                await self._sweep()
            except Exception as fault:
                log.warning("durable-sweep-postponed", fault=type(fault).__name__)

    async def _sweep(self) -> None:
        """Take over what dead processes left, and see that every running job has its workflow."""
        await self._workflows.take_over()
        for job in await self.jobs.running(list(self._kinds)):
            if not await self._workflows.enqueue(job.kind, job.id, job.run):
                # Its workflow ended and could not say so in the row (a fault of ours or of the database).
                following = await self.jobs.next_run(job.id, job.run)
                if following is not None:
                    await self._workflows.enqueue(following.kind, following.id, following.run)

    def _drive(self, job: str, run: int) -> str:
        """The workflow: slices until the job is over, paused or stopped. Runs in a thread of dbos."""
        failures = 0
        for _ in range(SLICES_A_RUN):
            executed: list[bool] = []
            told = self._workflows.step(self._step, job, run, failures, executed)
            if told["end"]:
                return told["end"]
            failures = told["failures"]
            if executed and self._leaving.wait(told["pause_s"]):  # pauses are not repeated when history is
                raise Leaving
        return self._workflows.step(self._hand_over, job, run)["end"]

    def _step(self, job: str, run: int, failures: int, executed: list[bool]) -> Told:
        told = self._on_loop(lambda: self._slice(job, run, failures))
        executed.append(True)
        return told

    def _hand_over(self, job: str, run: int) -> Told:
        return self._on_loop(lambda: self._next(job, run))

    def _on_loop(self, work: Callable[[], Coroutine[Any, Any, Told]]) -> Told:
        """Run on the gateway's loop and wait for it here; raises Leaving when the process ends meanwhile."""
        loop = self._loop
        if loop is None or self._leaving.is_set():
            raise Leaving
        future = asyncio.run_coroutine_threadsafe(work(), loop)
        self._under_way.add(future)
        try:
            if self._leaving.is_set():
                future.cancel()
            return future.result()
        except CancelledError:
            raise Leaving from None
        finally:
            self._under_way.discard(future)

    async def _slice(self, name: str, run: int, failures: int) -> Told:
        """One slice and what becomes of it; never raises, except when it is cancelled."""
        try:
            job = await self.jobs.begin(name, run)
            if job is None:
                return Told(end="superseded", pause_s=0.0, failures=0)
            if job.state is not State.RUNNING:
                return Told(end=job.state.value, pause_s=0.0, failures=0)
            started = self._clock()
            async with asyncio.timeout(SLICE_S):
                made = await self._kinds[job.kind].work(job)
            spent = self._clock() - started
            pause = max(0.0, (made.done - job.done) / job.rate - spent) if job.rate and not made.finished else 0.0
            kept = await self.jobs.save(job, made, spent + pause)
        except Exception as fault:
            return await self._failed(name, run, failures, fault)
        end = State.DONE.value if made.finished else ""
        return Told(end=end, pause_s=pause, failures=0) if kept else Told(end="superseded", pause_s=0.0, failures=0)

    async def _failed(self, name: str, run: int, failures: int, fault: Exception) -> Told:
        problem = getattr(fault, "problem", "") or type(fault).__name__
        stop = bool(getattr(fault, "permanent", False)) or failures + 1 >= TRIES_IN_A_ROW
        log.warning("job-slice-failed", job=name, problem=problem, stopped=stop)
        try:
            await self.jobs.fail(name, run, str(problem), stop=stop)
        except StoreUnavailable:
            stop = False  # nothing was noted, so nothing may end either
        pause = min(LONGEST_PAUSE_S, self._first_pause_s * 2.0 ** min(failures, 10))
        return Told(end=State.STOPPED.value if stop else "", pause_s=pause, failures=failures + 1)

    async def _next(self, name: str, run: int) -> Told:
        while True:
            with contextlib.suppress(StoreUnavailable):
                following = await self.jobs.next_run(name, run)
                if following is not None:
                    await self._workflows.enqueue(following.kind, following.id, following.run)
                return Told(end="handed-over", pause_s=0.0, failures=0)
            await asyncio.sleep(self._first_pause_s)


async def ask(jobs: JobStore, job: str, wanted: Wanted) -> Job:
    """Pause or cancel a job from a process that does no work itself; raises JobUnknown, StoreUnavailable."""
    asked = await jobs.ask(job, wanted)
    if asked is None:
        raise JobUnknown(job)
    return asked
