"""The embedded PostgreSQL is killed for real: it is started again, that is told, and nothing stays behind."""

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest
import structlog

from audit.entry import AuditEntry
from audit.log import AuditUnavailable
from gateway import postmaster
from gateway.database import DatabaseUnavailable, EmbeddedPostgres, open_pool
from gateway.supervisor import Supervisor

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PATIENCE_S = 120
LOST = "database-connection-lost"
# As `crmgate serve` does it: the one process that uses the server, and Ctrl-C while that is away.
SERVING = """
import asyncio, datetime, sys
from pathlib import Path
from gateway.database import EmbeddedPostgres, open_pool
from gateway.supervisor import Supervisor

async def serve(server):
    pool = await open_pool(server.dsn)
    supervisor = Supervisor(server, pool, None, [], lambda: datetime.datetime.now(datetime.UTC), str)
    try:
        print("ready", flush=True)
        await supervisor.run()
    finally:
        await pool.close()
        await asyncio.to_thread(server.stop)

server = EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"})
server.start()
asyncio.run(serve(server))
"""


class Trail:
    """Keeps what is appended; cannot be written so many times first."""

    def __init__(self, away: int = 0) -> None:
        self.entries: list[AuditEntry] = []
        self._away = away

    async def append(self, entry: AuditEntry) -> int:
        """The index, or AuditUnavailable."""
        if self._away:
            self._away -= 1
            raise AuditUnavailable("not now")
        self.entries.append(entry)
        return len(self.entries) - 1


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not under pytest's own folder, which the account of the server may not enter."""
    made = Path(tempfile.mkdtemp(prefix="crmgate-test-pg-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own, because it is going to be killed."""
    made = EmbeddedPostgres(folder / "database", {"fsync": "off"})
    try:
        made.start()
        yield made
    finally:
        made.stop()
    assert left(made) == []


def left(server: EmbeddedPostgres) -> list[int]:
    """Processes that work in its data folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == server.data.resolve():
                found.append(int(entry.name))
    return found


def number_of(server: EmbeddedPostgres) -> int:
    number = postmaster.serving(server.data)
    assert number is not None
    return number


def kill(server: EmbeddedPostgres) -> int:
    """SIGKILL of the postmaster alone; returns once it is dead."""
    number = number_of(server)
    gone = os.pidfd_open(number)
    os.kill(number, signal.SIGKILL)
    assert select.select([gone], [], [], PATIENCE_S)[0]
    os.close(gone)
    return number


def answers(server: EmbeddedPostgres) -> bool:
    with psycopg.connect(server.dsn) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watched(server: EmbeddedPostgres, trail: Trail) -> AsyncIterator[Supervisor]:
    numbers = count()
    pool = await open_pool(server.dsn, min_size=2, max_size=2)
    made = Supervisor(server, pool, trail, ["t1", "t2"], lambda: AT, lambda: f"a{next(numbers)}", (0.0, 0.01))
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        ended = (await asyncio.gather(task, return_exceptions=True))[0]
        await pool.close()
    assert isinstance(ended, asyncio.CancelledError)


async def test_a_killed_server_is_started_again_told_and_used_by_the_pool_as_before(server: EmbeddedPostgres) -> None:
    trail = Trail(away=2)
    with structlog.testing.capture_logs() as said:
        async with watched(server, trail) as supervisor:
            for times in (1, 2):
                killed = kill(server)
                await until(lambda times=times: supervisor.revivals.count == times)  # type: ignore[misc]
                assert number_of(server) != killed
                await until(lambda times=times: len(trail.entries) == 2 * times)  # type: ignore[misc]
                async with supervisor._pool.of("t1") as connection:
                    assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    assert (supervisor.revivals.last, supervisor.revivals.lost) == (AT, None)
    assert [(one.tenant, one.kind, one.operation, one.reason) for one in trail.entries[:2]] == [
        (tenant, "alarm", "database.restart", "database-restarted") for tenant in ("t1", "t2")
    ]
    assert len({one.id for one in trail.entries}) == 4
    assert [one["log_level"] for one in said if one["event"] == "database-restarted"] == ["error", "error"]


async def test_one_that_will_not_start_is_tried_again_until_it_does(server: EmbeddedPostgres) -> None:
    settings, trail = server.data / "postgresql.auto.conf", Trail()
    before = settings.read_text()
    settings.write_text(f"{before}nonsense_of_somebody = 1\n")
    with structlog.testing.capture_logs() as said:
        async with watched(server, trail) as supervisor:
            kill(server)
            await until(lambda: sum(one["event"] == "database-not-started" for one in said) >= 2)
            assert supervisor.revivals.lost == AT
            assert trail.entries == []
            settings.write_text(before)
            await until(lambda: len(trail.entries) == 2)
    assert answers(server)
    assert trail.entries[0].fields["count"] >= 3
    assert all("nonsense" not in str(one) for one in said)


async def test_a_connection_that_somebody_ended_starts_nothing(server: EmbeddedPostgres) -> None:
    trail, number = Trail(), number_of(server)
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND usename = 'crmgate_admin' AND backend_type = 'client backend'"
    )
    with psycopg.connect(server.admin_dsn, autocommit=True) as connection, structlog.testing.capture_logs() as said:
        async with watched(server, trail) as supervisor:
            for times in (1, 2):  # the second shows that it went on to wait
                await until(lambda: connection.execute(end).fetchone() == (1,))
                await until(lambda times=times: sum(one["event"] == LOST for one in said) >= times)  # type: ignore[misc]
            await until(lambda: supervisor.revivals.lost is None)
    assert (supervisor.revivals.count, trail.entries, number_of(server)) == (0, [], number)


def test_backends_of_a_killed_postmaster_do_not_stand_in_the_way(server: EmbeddedPostgres) -> None:
    with closing(psycopg.connect(server.dsn, autocommit=True)) as connection:
        orphan = connection.info.backend_pid
        # At work, a backend does not notice that its postmaster is gone.
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000) a")
        kill(server)
        assert orphan in left(server)
        assert server.revive()
        assert orphan not in left(server)
    assert answers(server)


def test_a_lock_file_with_the_number_of_another_program_is_no_server(server: EmbeddedPostgres) -> None:
    text = (server.data / postmaster.LOCK).read_text().split("\n", 1)[1]
    server.stop()
    waiting = [shutil.which("sleep") or "sleep", "infinity"]
    account = server.data.stat().st_uid  # a number of somebody else's would not count for PostgreSQL
    other = subprocess.Popen(waiting, cwd="/", user=account if os.geteuid() == 0 else None)
    try:
        (server.data / postmaster.LOCK).write_text(f"{other.pid}\n{text}")
        server.start()
        assert answers(server)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_dead_postmaster_that_nobody_reaped_is_no_server(server: EmbeddedPostgres) -> None:
    text = (server.data / postmaster.LOCK).read_text().split("\n", 1)[1]
    server.stop()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    (server.data / postmaster.LOCK).write_text(f"{dead.pid}\n{text}")
    assert postmaster.serving(server.data) is None
    server.start()
    assert answers(server)
    dead.wait()


def test_a_server_that_is_there_and_silent_is_left_alone(server: EmbeddedPostgres) -> None:
    number = number_of(server)
    os.kill(number, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseUnavailable):
            server.revive()
    finally:
        os.kill(number, signal.SIGCONT)
    assert not server.revive()
    assert number_of(server) == number


def test_letting_go_of_a_server_that_ended_is_no_fault_and_starts_none(server: EmbeddedPostgres) -> None:
    kill(server)
    server.stop()
    assert not server.revive()
    assert postmaster.serving(server.data) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "group"])
def test_ctrl_c_while_it_is_started_again_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    place = folder / "database"
    server = EmbeddedPostgres(place, {"fsync": "off"})
    script = SERVING
    if number is signal.SIGTERM:
        script = script.replace("async def serve(server):", "async def serve(server):\n    stops()").replace(
            "async def serve",
            "import signal\ndef stops():\n    task = asyncio.current_task()\n"
            "    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)\n\nasync def serve",
            1,
        )
    program = subprocess.Popen(
        [sys.executable, "-c", script, str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    killed = kill(server)
    try:
        while postmaster.serving(server.data) in (None, killed):  # its successor is on the way, or up already
            assert program.poll() is None
        os.killpg(program.pid, number)
        program.wait(PATIENCE_S)
        assert left(server) == []
    finally:
        program.stdout.close()
        program.kill()
