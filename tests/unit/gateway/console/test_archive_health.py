"""The health page on the archive of the trail."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit.checkpoint import Keeper
from audit.cold.folder import FolderArchive
from audit.cold.hold import Hold
from audit.cold.retention import Retention
from audit.cold.sealing import Sealer
from audit.entry import AuditEntry
from audit.log import AuditLog
from gateway.archiving import ArchiveState
from gateway.console.archive_health import read_archive
from tests.unit.gateway.archive_worker import NOW, SIGNER


@pytest.fixture
async def sealed(dsn: str, pool: Any, tmp_path: Path) -> None:
    """Two entries of last week sealed, two of an hour ago not."""
    log = AuditLog(dsn)
    await log.start()
    for number, at in enumerate((NOW - timedelta(days=7),) * 2 + (NOW - timedelta(hours=1),) * 2):
        await log.append(AuditEntry(at=at, fields={}, id=f"e{number}", kind="decision", tenant="demo"))
    await log.close()
    await Keeper(pool, SIGNER, tmp_path, now=lambda: NOW).seal("demo")
    stored = FolderArchive(tmp_path / "archive", lambda: NOW)
    while await Sealer(pool, stored, SIGNER, tmp_path / "scratch", Retention(), lambda: NOW).seal("demo"):
        pass


HOLD = Hold("h1", "court", "wang", NOW)


@pytest.mark.parametrize(
    ("state", "later", "expected", "said"),
    [
        (ArchiveState(), 0, "good", "2 entries sealed, 4 in the database."),
        (ArchiveState(held=HOLD), 0, "good", "hold h1"),
        (ArchiveState("archive-away"), 0, "warning", "archive-away"),
        (ArchiveState("segment-broken"), 0, "bad", "Sealing stopped"),
        (ArchiveState("trail-tampered"), 0, "bad", "Sealing stopped"),
        (ArchiveState("archive-away"), 3, "bad", "wait for more than two days"),
        (ArchiveState(), 3, "bad", "wait for more than two days"),
    ],
)
async def test_what_the_archive_lacks_is_said(
    sealed: None, pool: Any, state: ArchiveState, later: int, expected: str, said: str
) -> None:
    access = SimpleNamespace(clock=lambda: NOW + timedelta(days=later))
    deps: Any = SimpleNamespace(archive={"demo": state}, pool=pool, access=access)
    found, fact, values, advice = await read_archive(deps, "demo")
    assert (found, said in fact % values) == (expected, True)
    assert bool(advice) is (expected != "good")
