"""The health page on the trail: what the watch found, in which entries, since when."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from audit.anchor import AnchorState
from audit.watch_sight import Finding, Sight
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


def anchored(*states: AnchorState) -> Any:
    anchors = SimpleNamespace(states=lambda _: list(states))
    return SimpleNamespace(anchors=anchors, access=SimpleNamespace(clock=lambda: NOW))


def anchor_state(**changes: Any) -> AnchorState:
    plain: dict[str, Any] = {"name": "witness w", "outside": True, "every_s": 300, "size": 18, "at": NOW}
    return AnchorState(**{**plain, **changes})


FOLDER = anchor_state(name="folder", outside=False)


@pytest.mark.parametrize(
    ("states", "state", "said"),
    [
        ((FOLDER, anchor_state()), health.GOOD, "folder: 18; witness w: 18"),
        ((FOLDER,), health.WARNING, "No anchor is outside this machine"),
        ((), health.WARNING, "No anchor is outside this machine"),
        ((anchor_state(fault="it cannot be reached"),), health.GOOD, "18 (it cannot be reached)"),
        (
            (anchor_state(fault="it cannot be reached", at=NOW - timedelta(hours=1)),),
            health.WARNING,
            "no new checkpoint: witness w: 18 (it cannot be reached)",
        ),
        ((anchor_state(fault="down", at=None, size=0),), health.WARNING, "no new checkpoint"),
        ((anchor_state(at=NOW - timedelta(days=9)),), health.GOOD, "witness w: 18"),
        (
            (FOLDER, anchor_state(fault="it has seen 99 entries", contradicts=True)),
            health.BAD,
            "holds what this trail does not lead to",
        ),
    ],
)
async def test_anchors_say_what_they_hold_and_an_alarm_when_they_contradict(
    states: tuple[AnchorState, ...], state: str, said: str
) -> None:
    check = await health._anchors(anchored(*states), "t1")
    assert check.state == state
    assert said in check.fact % check.values


async def test_no_anchors_at_all_is_said() -> None:
    nobody: Any = SimpleNamespace(anchors=None, access=SimpleNamespace(clock=lambda: NOW))
    assert (await health._anchors(nobody, "t1")).state == health.WARNING


async def test_checkpoints_that_wait_for_the_key_server_are_a_warning_of_their_own() -> None:
    async def state(_: str) -> Any:
        return SimpleNamespace(fault="", entries=7, checkpoint=None, signed_at=None)

    waiting: Any = SimpleNamespace(
        trail=SimpleNamespace(state=state),
        checkpoint_fault=lambda: "",
        checkpoint_waiting=lambda: "vault-unreachable",
        access=SimpleNamespace(clock=lambda: NOW),
    )
    check = await health._audit(waiting, "t1")
    assert check.state == health.WARNING
    assert check.fact % check.values == "7 entries; checkpoints wait for the key server (vault-unreachable)."
    waiting.checkpoint_fault = lambda: "a checkpoint at 9 was signed and is gone"
    assert (await health._audit(waiting, "t1")).state == health.BAD
