"""The watch finds what is done to the trail while the gateway runs: the short form of `make audit-drill`."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoint import Keeper, newest_path
from audit.log import AuditLog
from audit.watch import Watch, findings_path
from audit.watch_sight import Sight
from gateway.database import EmbeddedPostgres
from tests.conftest import TEMPLATE
from tests.drills.audit import MANIPULATIONS, SIGNER, Manipulation, Site, attempt
from tests.unit.audit.conftest import AT

ENTRIES = 400


@pytest.fixture
async def site(postgres_dsn: str, postgres: EmbeddedPostgres) -> AsyncIterator[Site]:
    made = Site(postgres_dsn, postgres.dsn, TEMPLATE, ENTRIES)
    with tempfile.TemporaryDirectory() as folder:
        await made.fill(Path(folder))
    yield made
    await made.drop(made.filled)


@pytest.mark.parametrize("one", MANIPULATIONS, ids=lambda one: one.name.replace(" ", "-"))
async def test_it_is_found_with_its_place_and_since_when(site: Site, one: Manipulation, tmp_path: Path) -> None:
    result = await attempt(site, one, tmp_path, interval_s=0.1, slice_entries=200)
    assert result.seconds is not None, result.finding
    assert result.since_holds, result.finding
    lines = findings_path(tmp_path, "demo").read_text(encoding="utf-8").splitlines()
    assert result.finding is not None
    assert result.finding.text in {json.loads(line)["finding"] for line in lines}


class Clock:
    def __init__(self) -> None:
        self.at = AT

    def __call__(self) -> Any:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(pool: Any, tmp_path: Path, clock: Clock) -> Watch:
    return Watch(pool, SIGNER.verifier, tmp_path, now=clock, slice_entries=10)


async def test_a_whole_log_is_read_again_and_again(watch: Watch, filled: AuditLog, clock: Clock) -> None:
    for _ in range(6):
        clock.at += timedelta(seconds=3)
        await watch.round()
    sight = watch.sight("demo")
    assert watch.findings("demo") == []
    assert sight.whole_at is not None
    first = sight.whole_at
    for _ in range(6):
        clock.at += timedelta(seconds=3)
        await watch.round()
    assert sight.whole_at > first


async def test_a_finding_stands_for_a_day_and_until_the_log_is_whole_again(
    watch: Watch, filled: AuditLog, clock: Clock, tamper: Any
) -> None:
    await tamper("UPDATE audit_entry SET actor = 'u2' WHERE index = 4")
    for _ in range(4):
        await watch.round()
    assert [one.span for one in watch.findings("demo") if one.span] == [(4, 4)]
    clock.at += timedelta(days=2)
    for _ in range(4):
        await watch.round()
    assert [one.span for one in watch.findings("demo") if one.span] == [(4, 4)], "still changed"
    await tamper("UPDATE audit_entry SET actor = 'u1' WHERE index = 4")
    await _guards_on(watch)  # `tamper` switches them off
    for _ in range(4):
        await watch.round()
    assert watch.findings("demo") != [], "a new alarm: rows were updated again"
    clock.at += timedelta(days=2)
    for _ in range(4):
        await watch.round()
    assert watch.findings("demo") == []


async def _guards_on(watch: Watch) -> None:
    async with watch._pool.connection() as db:
        await db.execute("ALTER TABLE audit_entry ENABLE TRIGGER audit_entry_append_only")
        await db.execute("ALTER TABLE audit_checkpoint ENABLE TRIGGER audit_checkpoint_append_only")


async def test_triggers_that_are_off_are_an_alarm_by_themselves(watch: Watch, filled: AuditLog, tamper: Any) -> None:
    await watch.round()
    assert watch.findings("demo") == []
    await tamper()
    await watch.round()
    assert [one.text for one in watch.findings("demo")] == ["the triggers that keep the trail append-only are off"]


async def test_each_finding_is_told_once(
    pool: Any, tmp_path: Path, filled: AuditLog, tamper: Any, clock: Clock
) -> None:
    told = []

    async def tell(finding: Any) -> None:
        told.append(finding.text)

    watch = Watch(pool, SIGNER.verifier, tmp_path, now=clock, told=tell)
    await tamper("DELETE FROM audit_entry WHERE index = 4")
    for _ in range(3):
        await watch.round()
    assert len(told) == len(set(told))
    assert "the entry is missing" in told


async def test_a_note_outside_that_is_not_ours_is_found(watch: Watch, filled: AuditLog, tmp_path: Path) -> None:
    newest_path(tmp_path, "demo").write_text("x")
    await watch.round()
    assert [one.text for one in watch.findings("demo")] == ["the note beside the key is not ours"]


async def test_signing_meanwhile_is_no_finding(
    watch: Watch, keeper: Keeper, log: AuditLog, make: Any, filled: AuditLog
) -> None:
    for _ in range(30):
        await log.append(make())
        await keeper.seal("demo")
        await watch.round()
    assert watch.findings("demo") == []


async def test_a_database_that_is_away_is_said_and_the_watch_goes_on(watch: Watch, pool: Any) -> None:
    await pool.close()
    await watch.start()
    async with asyncio.timeout(60):
        while not watch.fault:
            await asyncio.sleep(0.01)
    assert watch.fault == "PoolClosed"
    await watch.close()


def test_when_entries_were_last_whole_is_never_said_too_late() -> None:
    """Whatever is marked, the time said for an entry is not after it was read."""
    sight = Sight()
    sight.saw(0, 1500, AT, None)
    later = AT + timedelta(minutes=1)
    sight.saw(1500, 5000, later, AT)
    assert sight.seen((10, 10)) == AT
    assert sight.seen((1400, 1400)) == AT
    assert sight.seen((2100, 2100)) == later
    assert sight.seen((10, 2100)) == AT
    assert sight.seen((9000, 9000)) is None
    assert sight.seen(None) is None
