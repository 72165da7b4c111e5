"""Sealing and pruning as durable work: with kills, and with an archive that is away."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit.archive import ArchiveRefused, ArchiveUnavailable
from audit.checkpoint import Keeper
from audit.cold import segment_store
from audit.cold.folder import FolderArchive
from audit.cold.pruning import Pruner
from audit.cold.retention import Retention
from audit.cold.sealing import Sealer
from audit.entry import AuditEntry
from audit.log import AuditLog
from audit.verify import verify
from gateway.archiving import KIND, ArchiveWork, Archivist
from gateway.durable import Durable
from gateway.job import Json, State
from tests.unit.gateway.archive_worker import NOW, SIGNER

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
async def filled(dsn: str, pool: Any, tmp_path: Path) -> None:
    """Thirty signed entries of months ago."""
    log = AuditLog(dsn)
    await log.start()
    for number in range(30):
        await log.append(
            AuditEntry(
                actor="u1", at=AT + timedelta(seconds=number), entity="contact", id=f"e{number}", kind="decision",
                fields={"shown": {"contact.phone": {str(number): {"masked": 1}}}}, record=str(number), tenant="demo",
            )
        )  # fmt: skip
    await log.close()
    await Keeper(pool, SIGNER, tmp_path, now=lambda: AT).seal("demo")


async def segments_and_start(pool: Any) -> tuple[list[tuple[int, int]], int]:
    async with pool.of("demo") as connection:
        rows = await segment_store.segments(connection, "demo")
        return [(row.first, row.last) for row in rows], await segment_store.hot_start(connection, "demo")


SEALED = [(0, 7), (8, 15), (16, 23), (24, 29)]


def run(dsn: str, folder: Path, left: int) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.unit.gateway.archive_worker", dsn, str(folder), "j1", str(left)]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return ended.returncode, ended.stdout


async def test_sealing_and_pruning_survive_kill_9_at_many_points(
    filled: None, dsn: str, pool: Any, tmp_path: Path
) -> None:
    kills = 0
    for left in (1, 2, 3, 4, 5, 7, 9, 2, 1, 3):
        code, told = await asyncio.to_thread(run, dsn, tmp_path, left)
        kills += code == -9
        if "ended done" in told:
            break
    else:
        code, told = await asyncio.to_thread(run, dsn, tmp_path, 0)
    assert "ended done" in told
    assert kills >= 5
    assert await segments_and_start(pool) == (SEALED, 30)
    stored = FolderArchive(tmp_path / "archive", lambda: NOW)
    assert len(stored.names("demo/")) == 4 * len(SEALED)
    found = await verify(dsn, "demo", SIGNER.verifier)
    assert (found.entries, found.hot, found.sealed) == (30, 30, 30)


class Moody(FolderArchive):
    """A folder that fails as it is told."""

    faults: list[Exception]

    def put(self, name: str, source: Path, sha256: str, keep_until: datetime) -> str:
        if self.faults:
            raise self.faults.pop(0)
        return super().put(name, source, sha256, keep_until)


async def record(tenant: str, operation: str, target: str, more: Mapping[str, Json]) -> None:
    assert tenant == "demo"


def parts(pool: Any, tmp_path: Path, *faults: Exception) -> tuple[Sealer, Pruner]:
    stored = Moody(tmp_path / "archive", lambda: NOW)
    stored.faults = list(faults)
    scratch = tmp_path / "scratch"
    return (
        Sealer(pool, stored, SIGNER, scratch, Retention(), lambda: NOW, entries=8),
        Pruner(pool, stored, SIGNER.verifier, scratch, Retention(), lambda: NOW, hot_days=9999),
    )


async def work(
    dsn: str, pool: Any, sealer: Sealer, pruner: Pruner, wait_s: float = 60.0
) -> tuple[State, str, Archivist]:
    durable = Durable(dsn, pool, poll_s=0.05, first_pause_s=0.01)
    archiving = ArchiveWork(sealer, pruner, record, wait_s)
    durable.register(KIND, archiving.slice)
    archivist = Archivist(sealer, pruner, ["demo"], lambda: NOW)
    await durable.start()
    try:
        job = await archivist.look(durable, "demo")
        assert job is not None
        ended = await durable.wait(job.id, every_s=0.02)
        await archivist.look(durable, "demo")
        return ended.state, ended.problem, archivist
    finally:
        await durable.close()
        await archiving.close()


class Slow(FolderArchive):
    """A folder over a thin line."""

    def put(self, name: str, source: Path, sha256: str, keep_until: datetime) -> str:
        time.sleep(0.2)
        return super().put(name, source, sha256, keep_until)


async def test_a_segment_may_take_longer_than_a_slice(filled: None, dsn: str, pool: Any, tmp_path: Path) -> None:
    sealer, pruner = parts(pool, tmp_path)
    slow = replace(sealer, stored=Slow(tmp_path / "archive", lambda: NOW))
    state, _, _ = await work(dsn, pool, slow, pruner, wait_s=0.01)
    assert state is State.DONE
    assert (await segments_and_start(pool))[0] == SEALED


async def test_what_is_under_way_ends_with_the_process(filled: None, pool: Any, tmp_path: Path) -> None:
    sealer, pruner = parts(pool, tmp_path)
    slow = replace(sealer, stored=Slow(tmp_path / "archive", lambda: NOW))
    archiving = ArchiveWork(slow, pruner, record, 0.01)
    made = await archiving.slice(SimpleNamespace(tenant="demo", done=0))  # type: ignore[arg-type]
    assert not made.finished
    await archiving.close()
    assert (await segments_and_start(pool))[0] == []


async def test_an_archive_that_is_away_is_waited_for_and_nothing_is_lost(
    filled: None, dsn: str, pool: Any, tmp_path: Path
) -> None:
    away = [ArchiveUnavailable("full") for _ in range(4)]
    state, _, archivist = await work(dsn, pool, *parts(pool, tmp_path, *away))
    assert state is State.DONE
    assert await segments_and_start(pool) == (SEALED, 0)
    assert archivist.states["demo"].fault == ""


async def test_an_archive_that_refuses_stops_the_job_and_is_told(
    filled: None, dsn: str, pool: Any, tmp_path: Path
) -> None:
    state, problem, archivist = await work(dsn, pool, *parts(pool, tmp_path, *[ArchiveRefused("no lock")] * 2))
    assert (state, problem) == (State.STOPPED, "archive-refuses")
    assert archivist.states["demo"].fault == "archive-refuses"
    assert (await segments_and_start(pool))[1] == 0


async def test_a_tampered_trail_stops_the_job(
    filled: None, dsn: str, pool: Any, tmp_path: Path, postgres_dsn: str
) -> None:
    async with pool.of("demo") as connection:
        await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_append_only")
        await connection.execute("DELETE FROM audit_entry WHERE index = 4")
    state, problem, _ = await work(dsn, pool, *parts(pool, tmp_path))
    assert (state, problem) == (State.STOPPED, "trail-tampered")


async def test_an_archive_that_cannot_be_reached_at_all_is_told(
    filled: None, dsn: str, pool: Any, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_text("in the way")
    sealer, pruner = parts(pool, tmp_path)
    archivist = Archivist(sealer, pruner, ["demo"], lambda: NOW)
    durable = Durable(dsn, pool)
    assert await archivist.look(durable, "demo") is None
    assert "folder cannot be used" in archivist.states["demo"].fault
