"""Durable work on a real PostgreSQL, with real kills."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from dbos._utils import GlobalParams

from gateway.database import Pool
from gateway.durable import Durable, ask
from gateway.job import Job, JobUnknown, Slice, State, Wanted, WorkflowsUnavailable
from gateway.workflows import JsonSerializer, StepFailed
from tests.conftest import unwalled

ROOT = Path(__file__).parents[3]
NUMBERS = 60
PATIENCE_S = 120.0
SECRET = "wang.fang@example.com"


@asynccontextmanager
async def durable(dsn: str, pool: Pool, **works: Callable[[Job], Awaitable[Slice]]) -> AsyncIterator[Durable]:
    """Started durable work with these kinds."""
    made = Durable(dsn, pool, poll_s=0.05, sweep_s=0.1, first_pause_s=0.01)
    for kind, work in works.items():
        made.register(kind, work)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def until(met: Callable[[], bool]) -> None:
    """Wait for something that happens in its own time."""
    async with asyncio.timeout(PATIENCE_S):
        while not met():
            await asyncio.sleep(0.01)


class Steps:
    """Counts slices up to `upto`; what stands in `faults` is raised first, one each."""

    def __init__(self, upto: int, faults: tuple[Exception, ...] = ()) -> None:
        self.upto = upto
        self.faults = list(faults)
        self.cursors: list[object] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def slice(self, job: Job) -> Slice:
        """One number each."""
        self.cursors.append(job.cursor)
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        done = int(str(job.cursor or 0)) + 1
        return Slice(done, done, self.upto, finished=done == self.upto)


class Passing(Exception):  # noqa: N818
    """Trying again helps."""

    permanent = False


class Lasting(Exception):  # noqa: N818
    """Trying again does not help."""

    permanent = True
    problem = "keyring-missing"


def worker(dsn: str, job: str, halt: str = "", times: int = -1) -> "subprocess.Popen[str]":
    """A process that counts, and halts at a point of a slice when it has come there so many times."""
    command = [sys.executable, "-m", "tests.unit.gateway.durable_worker", dsn, job, str(NUMBERS), halt, str(times)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def read_until(process: "subprocess.Popen[str]", start: str, times: int = 1) -> None:
    """Read what a worker tells until a line has come so many times."""
    assert process.stdout is not None
    for line in process.stdout:
        times -= line.startswith(start)
        if times == 0:
            return
    raise AssertionError(f"the worker ended with {process.wait()}")


def left(process: "subprocess.Popen[str]") -> int:
    """How a worker ended."""
    assert process.stdout is not None
    process.stdout.close()
    return process.wait()


def ticks(dsn: str) -> tuple[int, int]:
    """How many numbers were written, and how many of them more than once."""
    with psycopg.connect(unwalled(dsn)) as connection:
        row = connection.execute("SELECT count(*), count(*) FILTER (WHERE seen > 1) FROM tick").fetchone()
        assert row is not None
        return row[0], row[1]


def test_a_job_survives_kill_9_and_the_next_process_finishes_it(dsn: str) -> None:
    """A kill repeats at most the slice under way and loses nothing."""
    with psycopg.connect(unwalled(dsn)) as connection:
        connection.execute("CREATE TABLE tick (n int PRIMARY KEY, seen int NOT NULL DEFAULT 1)")
    for at in ("begin", "end"):
        process = worker(dsn, "j1", at, 3)
        read_until(process, at, 3)
        process.kill()
        assert left(process) == -9
        assert 0 < ticks(dsn)[0] < NUMBERS
    process = worker(dsn, "j1")
    read_until(process, "ended done")
    assert left(process) == 0
    written, twice = ticks(dsn)
    assert written == NUMBERS
    assert twice <= 2 * 5  # the slice under way at each of two kills
    with psycopg.connect(unwalled(dsn)) as connection:
        states = connection.execute("SELECT status FROM dbos.workflow_status").fetchall()
    assert states == [("SUCCESS",)]


async def test_work_of_a_living_process_is_not_taken_over_and_that_of_a_killed_one_is(dsn: str, pool: Pool) -> None:
    """Two workers on one job would do things twice; none would leave it lying."""
    async with pool.connection() as connection:
        await connection.execute("CREATE TABLE tick (n int PRIMARY KEY, seen int NOT NULL DEFAULT 1)")
    process = await asyncio.to_thread(worker, dsn, "j1", "begin", 1)
    await asyncio.to_thread(read_until, process, "begin")
    taken: list[Job] = []

    async def finish(job: Job) -> Slice:
        taken.append(job)
        return Slice(NUMBERS, NUMBERS, NUMBERS, finished=True)

    process.send_signal(19)  # SIGSTOP: it lives and does nothing
    async with durable(dsn, pool, count=finish) as mine:
        await asyncio.sleep(0.5)
        assert not taken
        process.kill()
        ended = await asyncio.wait_for(mine.wait("j1"), PATIENCE_S)
    await asyncio.to_thread(left, process)
    assert ended.state is State.DONE
    assert len(taken) == 1


async def test_pausing_keeps_the_cursor_and_resuming_goes_on_from_it(dsn: str, pool: Pool) -> None:
    """Pause, resume, pause by another process: nothing is done again."""
    steps = Steps(6)
    async with durable(dsn, pool, count=steps.slice) as work:
        steps.gate.clear()
        await work.begin("j1", "count", "t", {}, total=6)
        await until(lambda: bool(steps.cursors))
        await work.pause("j1")
        steps.gate.set()
        paused = await asyncio.wait_for(work.wait("j1"), PATIENCE_S)
        assert (paused.state, paused.cursor, paused.done) == (State.PAUSED, 1, 1)
        await ask(work.jobs, "j1", Wanted.PAUSE)  # twice is once
        assert (await work.resume("j1")).state is State.RUNNING
        done = await asyncio.wait_for(work.wait("j1"), PATIENCE_S)
        assert (done.state, done.done) == (State.DONE, 6)
        with pytest.raises(JobUnknown):
            await work.pause("j1")
    assert steps.cursors == [None, 1, 2, 3, 4, 5]


async def test_resuming_before_the_pause_was_seen_is_as_if_nothing_had_happened(dsn: str, pool: Pool) -> None:
    """Otherwise two workflows would run, or none."""
    steps = Steps(3)
    async with durable(dsn, pool, count=steps.slice) as work:
        steps.gate.clear()
        await work.begin("j1", "count", "t", {})
        await until(lambda: bool(steps.cursors))
        await work.pause("j1")
        assert (await work.resume("j1")).run == 1
        steps.gate.set()
        assert (await asyncio.wait_for(work.wait("j1"), PATIENCE_S)).state is State.DONE
    assert steps.cursors == [None, 1, 2]


async def test_a_cancelled_job_ends_for_good(dsn: str, pool: Pool) -> None:
    """Running or paused."""
    steps = Steps(5)
    async with durable(dsn, pool, count=steps.slice) as work:
        steps.gate.clear()
        await work.begin("j1", "count", "t", {})
        await until(lambda: bool(steps.cursors))
        await work.cancel("j1")
        steps.gate.set()
        ended = await asyncio.wait_for(work.wait("j1"), PATIENCE_S)
        assert (ended.state, ended.done) == (State.CANCELLED, 1)
        assert ended.ended_at is not None
        with pytest.raises(JobUnknown):
            await work.resume("j1")
        with pytest.raises(JobUnknown):
            await work.cancel("nothing of that name")


async def test_a_passing_fault_is_tried_again_and_a_lasting_one_stops_the_job(
    dsn: str, pool: Pool, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no text of an exception gets into a table or a log: it may hold a value."""
    caplog.set_level(logging.DEBUG)
    steps = Steps(2, (Passing(SECRET), Passing(SECRET), TimeoutError(SECRET), Lasting(SECRET)))
    async with durable(dsn, pool, count=steps.slice) as work:
        await work.begin("j1", "count", "t", {})
        stopped = await asyncio.wait_for(work.wait("j1"), PATIENCE_S)
        assert (stopped.state, stopped.problem, stopped.done) == (State.STOPPED, "keyring-missing", 0)
        assert len(steps.cursors) == 4
        await work.resume("j1")
        done = await asyncio.wait_for(work.wait("j1"), PATIENCE_S)
        assert (done.state, done.problem) == (State.DONE, "")
    async with pool.connection() as connection:
        for table in ("job", "dbos.workflow_status", "dbos.operation_outputs"):
            rows = await (await connection.execute(f"SELECT t::text FROM {table} t")).fetchall()
            assert rows
            assert SECRET not in str(rows)
    assert SECRET not in caplog.text + "".join(capsys.readouterr())


async def test_closing_leaves_the_slice_under_way_to_the_next_start(dsn: str, pool: Pool) -> None:
    """A stop by signal is no failure of the job."""
    steps = Steps(3)
    async with durable(dsn, pool, count=steps.slice) as work:
        steps.gate.clear()
        await work.begin("j1", "count", "t", {})
        await until(lambda: bool(steps.cursors))
    again = Steps(3)
    async with durable(dsn, pool, count=again.slice) as work:
        done = await asyncio.wait_for(work.wait("j1"), PATIENCE_S)
    assert (done.state, done.problem) == (State.DONE, "")
    assert again.cursors == [None, 1, 2]


async def test_a_job_that_was_noted_but_never_queued_is_found(dsn: str, pool: Pool) -> None:
    """A kill between the row and the queue must not lose the job."""
    steps = Steps(1)
    async with durable(dsn, pool, count=steps.slice) as work:
        await work.jobs.add("j1", "count", "t", {}, 1, None)
        assert (await asyncio.wait_for(work.wait("j1"), PATIENCE_S)).state is State.DONE


async def test_long_jobs_are_handed_from_workflow_to_workflow(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no history grows without end."""
    monkeypatch.setattr("gateway.durable.SLICES_A_RUN", 2)
    steps = Steps(5)
    async with durable(dsn, pool, count=steps.slice) as work:
        await work.begin("j1", "count", "t", {})
        done = await asyncio.wait_for(work.wait("j1"), PATIENCE_S)
    assert (done.state, done.done, done.run) == (State.DONE, 5, 3)
    assert steps.cursors == [None, 1, 2, 3, 4]


async def test_beginning_a_job_twice_is_one_job(dsn: str, pool: Pool) -> None:
    """The id makes it one, also while it runs and after it ended."""
    steps = Steps(2)
    async with durable(dsn, pool, count=steps.slice) as work:
        await asyncio.gather(*(work.begin("j1", "count", "t", {}) for _ in range(4)))
        assert (await asyncio.wait_for(work.wait("j1"), PATIENCE_S)).state is State.DONE
        assert (await work.begin("j1", "count", "t", {})).state is State.DONE
        with pytest.raises(ValueError, match="nobody does"):
            await work.begin("j2", "other", "t", {})
    assert steps.cursors == [None, 1]


async def test_a_rate_limits_what_a_job_does_in_a_second(dsn: str, pool: Pool) -> None:
    """The pause after a slice fills the time its items are worth."""

    async def slice_(job: Job) -> Slice:
        quota = job.quota(100)
        return Slice(job.done + quota, job.done + quota, 60, finished=job.done + quota >= 60)

    async with durable(dsn, pool, count=slice_) as work:
        await work.begin("j1", "count", "t", {}, rate=20.5)
        done = await asyncio.wait_for(work.wait("j1"), 60)
    assert done.done == 60
    assert done.active_s >= 40 / 20.5  # the pause after the last slice is not needed


async def test_it_does_not_start_without_a_database_or_as_a_part_of_somebody_elses_cloud(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so instead of working half."""
    with pytest.raises(WorkflowsUnavailable, match="refuses or does not answer"):
        await Durable("host=/nowhere dbname=none", pool).start()
    monkeypatch.setattr(GlobalParams, "dbos_cloud", True)
    with pytest.raises(WorkflowsUnavailable, match="DBOS__CLOUD"):
        await Durable(dsn, pool).start()


def test_only_json_is_kept_and_of_exceptions_only_the_class() -> None:
    """Pickle would run code from the database; a text may hold a value."""
    serializer = JsonSerializer()
    assert serializer.deserialize(serializer.serialize({"args": ["j1", 1]})) == {"args": ["j1", 1]}
    kept = serializer.serialize(ValueError(SECRET))
    assert SECRET not in kept
    assert isinstance(serializer.deserialize(kept), StepFailed)
    with pytest.raises(TypeError):
        serializer.serialize(object())
