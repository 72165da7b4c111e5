"""The health page on the trail: what the watch found, in which entries, since when."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from audit.watch import Finding, Sight
from gateway.console import health

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


def deps(*found: Finding, fault: str = "", **sight: Any) -> Any:
    watch = SimpleNamespace(sight=lambda _: Sight(**sight), findings=lambda _: list(found), fault=fault)
    return SimpleNamespace(trail_watch=watch, access=SimpleNamespace(clock=lambda: NOW))


GUARD = Finding("t1", "the triggers that keep the trail append-only are off", NOW)
ENTRY = Finding("t1", "its bytes do not fit its hash", NOW, NOW - timedelta(seconds=9), (17, 17))
PART = Finding("t1", "the root differs", NOW, None, (10, 12), 13)
GONE = Finding("t1", "it was signed and is gone", NOW, None, None, 13)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((GUARD,), "Somebody went around the guards"),
        ((GUARD, ENTRY), "Entries 17 to 17 were changed, moved or removed between 2026-11-26 11:59:51"),
        ((PART,), "Entries 10 to 12 were changed, moved or removed; found 2026-11-26 12:00:00"),
        ((GONE,), "The checkpoint signed at 13 entries is gone or changed"),
    ],
)
async def test_what_was_found_is_said_with_its_place(found: tuple[Finding, ...], said: str) -> None:
    check = await health._integrity(deps(*found), "t1")
    assert check.state == health.BAD
    assert said in check.fact % check.values
    assert check.advice


async def test_without_a_finding_it_says_how_far_it_has_read() -> None:
    first = await health._integrity(deps(sweep=30), "t1")
    assert (first.state, "30 entries so far" in first.fact % first.values) == (health.GOOD, True)
    whole = await health._integrity(deps(whole_at=NOW - timedelta(seconds=40)), "t1")
    assert (whole.state, "40 seconds ago" in whole.fact % whole.values) == (health.GOOD, True)


async def test_a_watch_that_cannot_read_or_is_missing_is_said() -> None:
    assert (await health._integrity(deps(fault="PoolTimeout"), "t1")).state == health.WARNING
    nobody: Any = SimpleNamespace(trail_watch=None)
    assert (await health._integrity(nobody, "t1")).state == health.WARNING
