"""Old entries that were changed are found without being verified again one by one."""

import asyncio
import errno
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from audit import store
from audit.checkpoint import Keeper
from audit.imprint import HEAD, TILE, Imprints
from audit.log import AuditLog
from audit.quick_sweep import QuickSweep, pause_s, rest
from audit.watch import Watch
from tests.unit.audit.conftest import AT, SIGNER

ENTRIES = 2 * TILE + 100


@pytest.fixture
async def long(log: AuditLog, keeper: Keeper, make: Any) -> None:
    """Two tiles and a part of one, with a checkpoint every hundred entries."""
    for first in range(0, ENTRIES, 100):
        await asyncio.gather(*(log.submit(make()) for _ in range(min(100, ENTRIES - first))))
        await keeper.seal("demo")


def watching(pool: Any, folder: Path) -> Watch:
    return Watch(pool, SIGNER.verifier, folder, now=lambda: AT, slice_entries=200, share=1.0)


@pytest.fixture
async def watch(pool: Any, tmp_path: Path, long: None) -> Watch:
    """One that has read everything."""
    made = watching(pool, tmp_path)
    while made.behind("demo"):
        await made.round()
    await made.sweep()
    assert made.findings("demo") == []
    return made


def told(watch: Watch) -> list[tuple[str, tuple[int, int] | None]]:
    return [(one.text, one.span) for one in watch.findings("demo")]


CHANGES = {
    "a byte": ("UPDATE audit_entry SET body = set_byte(body, 9, 65) WHERE index = 300", (300, 300)),
    "a column": ("UPDATE audit_entry SET actor = 'u2' WHERE index = 300", (300, 300)),
    "a time": ("UPDATE audit_entry SET at = at + interval '1 microsecond' WHERE index = 300", (300, 300)),
    "a row": ("DELETE FROM audit_entry WHERE index = 300", (300, 300)),
    "a tile": ("DELETE FROM audit_entry WHERE index >= 256 AND index < 512", (256, 256)),
    "what fills no tile": ("UPDATE audit_entry SET actor = 'u2' WHERE index = 600", (600, 600)),
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
async def test_a_change_of_an_old_entry_is_found_and_named(watch: Watch, tamper: Any, statement: Any) -> None:
    change, span = statement
    await tamper(change)
    await watch.sweep()
    assert span in [one for _, one in told(watch)]


async def test_a_checkpoint_that_was_there_is_missed(watch: Watch, tamper: Any) -> None:
    await tamper("DELETE FROM audit_checkpoint WHERE size = 100")
    await watch.sweep()
    assert [(one.text, one.checkpoint) for one in watch.findings("demo")] == [
        ("it was signed and is gone from the database", 100)
    ]


async def test_a_change_made_while_nobody_watched_is_found_by_the_imprints_that_were_kept(
    watch: Watch, pool: Any, tmp_path: Path, tamper: Any
) -> None:
    await tamper("UPDATE audit_entry SET actor = 'u2' WHERE index = 4")
    later = watching(pool, tmp_path)
    await later.sweep()
    assert told(later) == [("a column differs from the hashed bytes", (4, 4))]


async def test_a_change_is_verified_once_and_again_after_the_next_one(watch: Watch, tamper: Any) -> None:
    await tamper("UPDATE audit_entry SET actor = 'u2' WHERE index = 4")
    await watch.sweep()
    await watch.sweep()
    assert len(told(watch)) == 1
    await tamper("UPDATE audit_entry SET actor = 'u1' WHERE index = 4", "DELETE FROM audit_entry WHERE index = 3")
    await watch.sweep()
    assert ("the entry is missing", (3, 3)) in told(watch)


async def test_an_imprint_that_is_damaged_is_no_finding_and_is_made_anew(
    watch: Watch, pool: Any, tmp_path: Path
) -> None:
    path = tmp_path / "demo.imprints"
    right = path.read_bytes()
    path.write_bytes(right[: len(HEAD)] + b"?" * 20 + right[len(HEAD) + 20 :])
    later = watching(pool, tmp_path)
    await later.sweep()
    assert told(later) == []
    assert path.read_bytes() == right


async def test_a_database_that_tells_two_stories_is_found(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries read one by one are whole, those in bulk are others."""
    truth = store.tile_bytes

    async def lie(*given: Any) -> Any:
        return [(tile, (rows or b"") + b"x") for tile, rows in await truth(*given)]

    monkeypatch.setattr(store, "tile_bytes", lie)
    await watch.sweep()
    expected = "they are not the entries that were verified before"
    assert told(watch) == [(expected, (0, 255)), (expected, (256, 511))]


async def test_entries_that_no_checkpoint_covers_get_no_imprint(
    log: AuditLog, keeper: Keeper, make: Any, pool: Any, tmp_path: Path
) -> None:
    for _ in range(10):
        await log.append(make())
    await keeper.seal("demo")
    await asyncio.gather(*(log.submit(make()) for _ in range(2 * TILE)))
    watch = watching(pool, tmp_path)
    for _ in range(3):
        await watch.round()
    assert Imprints(tmp_path, "demo").count == 0
    await keeper.seal("demo")
    await watch.round()
    assert Imprints(tmp_path, "demo").count == 2


async def test_imprints_that_cannot_be_written_are_said_and_stop_nothing(
    pool: Any, tmp_path: Path, long: None, monkeypatch: pytest.MonkeyPatch, tamper: Any
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    watch = watching(pool, tmp_path)
    monkeypatch.setattr("audit.imprint.os.pwrite", full)
    while watch.behind("demo"):
        await watch.round()
    assert watch.fault == "OSError"
    await tamper("UPDATE audit_entry SET actor = 'u2' WHERE index = 4")
    await watch.sweep()
    assert ("a column differs from the hashed bytes", (4, 4)) in told(watch)
    monkeypatch.undo()
    for _ in range(8):
        await watch.round()
    assert watch.fault == ""
    assert Imprints(tmp_path, "demo").count == 2, "they are written as soon as that can be done"


async def test_the_sweep_takes_no_more_than_its_share(watch: Watch, pool: Any, tmp_path: Path) -> None:
    """What it rests is three times what it worked."""
    rested: list[float] = []

    async def noted(ended: asyncio.Event, seconds: float) -> bool:
        rested.append(seconds)
        return False

    seen: list[tuple[int, int]] = []

    async def suspect(*_: Any) -> None:
        raise AssertionError

    sweep = QuickSweep(
        pool,
        share=0.25,
        suspect=suspect,
        unchanged=lambda tenant, first, end, at: seen.append((first, end)),
        now=lambda: datetime.now(UTC),
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audit.quick_sweep.rest", noted)
        await sweep.run("demo", Imprints(tmp_path, "demo"), asyncio.Event())
    assert seen == [(0, 2)]
    assert len(rested) == 1
    assert 0 < rested[0] <= 3 * (loop.time() - began)


def test_time_that_others_took_does_not_slow_the_sweep() -> None:
    assert pause_s(1.0, 1.0, 0.25) == 3.0
    assert pause_s(2.0, 1.0, 0.25) == 2.0, "twice as long because of others: the next part begins when it would have"
    assert pause_s(30.0, 1.0, 0.25) == pytest.approx(10.0), "but others get some of the time in any case"
    assert pause_s(1.0, 1.0, 1.0) == 0.0


async def test_resting_ends_with_the_watch() -> None:
    ended = asyncio.Event()
    assert not await rest(ended, 0.0)
    ended.set()
    assert await rest(ended, 1_000_000)
