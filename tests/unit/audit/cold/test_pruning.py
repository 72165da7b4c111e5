"""What leaves the database and the archive, and what keeps it."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from audit import store
from audit.archive import ArchiveUnavailable, SegmentBroken
from audit.checkpoint import Keeper
from audit.cold import segment_store
from audit.cold.folder import FolderArchive
from audit.cold.hold import Hold, HoldRefused
from audit.cold.hold_store import add_hold, holds, lift
from audit.cold.pruning import Pruner
from audit.cold.reader import ArchiveReader
from audit.cold.restored_store import forget_restored
from audit.cold.restoring import restore_folder, restore_table
from audit.cold.retention import Retention, RetentionClass
from audit.cold.sealing import Sealer, manifest_notes
from audit.cold.verifying import verify_segments
from audit.note import origin_of
from audit.proof import EntryDropped, prove_entry, prove_growth
from audit.verify import verify
from tests.unit.audit.cold.conftest import NOW, SIGNER
from tests.unit.audit.conftest import AT

YEARS = timedelta(days=5 * 366 + 1)


class Clock:
    at = NOW

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stored(tmp_path: Path, clock: Clock) -> FolderArchive:
    return FolderArchive(tmp_path / "archive", clock)


@pytest.fixture
def sealer(pool: Any, stored: FolderArchive, tmp_path: Path, clock: Clock) -> Sealer:
    return Sealer(pool, stored, SIGNER, tmp_path / "scratch", Retention(), clock, entries=8)


@pytest.fixture
def pruner(pool: Any, stored: FolderArchive, tmp_path: Path, clock: Clock) -> Pruner:
    return Pruner(pool, stored, SIGNER.verifier, tmp_path / "scratch", Retention(), clock, hot_days=90)


@pytest.fixture
def archive(pool: Any, stored: FolderArchive, tmp_path: Path) -> ArchiveReader:
    async def rows(tenant: str) -> list[segment_store.StoredSegment]:
        async with pool.of(tenant) as connection:
            return await segment_store.segments(connection, tenant)

    return ArchiveReader(rows, stored, SIGNER.verifier, tmp_path / "cache")


@pytest.fixture
async def sealed(filled: Any, sealer: Sealer) -> None:
    """Twenty entries, 18 of them signed, in segments 0-7, 8-15 and 16-17."""
    while await sealer.seal("demo"):
        pass


async def prune_all(pruner: Pruner) -> int:
    count = 0
    while one := await pruner.prunable("demo"):
        count += await pruner.prune("demo", one)
    return count


async def drop_all(pruner: Pruner) -> list[int]:
    found = []
    while True:
        over, hold = await pruner.droppable("demo")
        if over is None or hold is not None:
            return found
        await pruner.drop("demo", over)
        found.append(over.first)


async def set_hold(pool: Any, **what: Any) -> Hold:
    hold = Hold("h1", "court order 17", "wang", NOW, **what)
    async with pool.of("demo") as connection:
        await add_hold(connection, "demo", hold)
    return hold


async def test_entries_stay_in_the_database_for_the_hot_days(sealed: None, pruner: Pruner, clock: Clock) -> None:
    clock.at = AT + timedelta(days=90)
    assert await prune_all(pruner) == 0
    clock.at += timedelta(days=1)
    assert await prune_all(pruner) == 18


async def test_what_a_siem_has_not_taken_stays(sealed: None, pruner: Pruner, pool: Any) -> None:
    waiting = replace(pruner, sinks=lambda _tenant: ["soc"])
    assert await prune_all(waiting) == 0
    async with pool.of("demo") as connection:
        await connection.execute("INSERT INTO audit_forward VALUES ('demo', 'soc', 9, now())")
    assert await prune_all(waiting) == 8


async def test_nothing_is_pruned_that_the_archive_does_not_hold(
    sealed: None, pruner: Pruner, stored: FolderArchive, pool: Any
) -> None:
    path = stored.local(stored.names("demo/event/")[0])
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    one = await pruner.prunable("demo")
    assert one is not None
    with pytest.raises(SegmentBroken, match="other bytes"):
        await pruner.prune("demo", one)
    async with pool.of("demo") as connection:
        assert len(await store.bodies(connection, "demo", 0, 20)) == 20


async def test_five_years_later_segments_go_and_proofs_stay(
    sealed: None, pruner: Pruner, clock: Clock, stored: FolderArchive, archive: ArchiveReader, pool: Any,
    keeper: Keeper, dsn: str,
) -> None:  # fmt: skip
    await keeper.seal("demo")
    assert await drop_all(pruner) == []
    clock.at = AT + YEARS
    assert await drop_all(pruner) == []  # what is still in the database is not dropped
    await prune_all(pruner)
    assert await drop_all(pruner) == [0, 8, 16]
    assert stored.names("demo/event/") == stored.names("demo/sight/") == []
    assert len(stored.names("demo/manifest/")) == len(stored.names("demo/leaves/")) == 3
    assert await archive.segments("demo") == []
    assert (await verify(dsn, "demo", SIGNER.verifier)).entries == 20
    async with pool.of("demo") as connection:
        with pytest.raises(EntryDropped):
            await prove_entry(connection, "demo", 3, SIGNER.verifier, archive)
        proof = await prove_entry(connection, "demo", 19, SIGNER.verifier, archive)
        proof.check(SIGNER.verifier, origin_of("demo"))
        signed = [
            SIGNER.verifier.open_checkpoint(one.note, origin_of("demo"))
            async for one in store.checkpoints(connection, "demo")
        ]
        for old in signed:
            await prove_growth(connection, "demo", old, signed[-1], archive)


class Cut(FolderArchive):
    """Is cut off at the removal of so many files."""

    left = 0

    def remove(self, name: str, version: str) -> None:
        if not self.left:
            raise ArchiveUnavailable("cut off")
        self.left -= 1
        super().remove(name, version)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_drop_that_was_cut_off_is_done_again(
    sealed: None, pruner: Pruner, clock: Clock, stored: FolderArchive, tmp_path: Path, archive: ArchiveReader,
    after: int,
) -> None:  # fmt: skip
    clock.at = AT + YEARS
    await prune_all(pruner)
    cut = Cut(tmp_path / "archive", clock)
    cut.left = after
    with pytest.raises(ArchiveUnavailable, match="cut off"):
        await drop_all(replace(pruner, stored=cut))
    assert await drop_all(pruner) == [0, 8, 16]
    assert stored.names("demo/event/") == stored.names("demo/sight/") == stored.names("demo/sought/") == []
    assert len(await archive.leaves("demo", 0, 18)) == 18


async def test_what_was_dropped_stays_dropped(sealed: None, pruner: Pruner, clock: Clock, pool: Any) -> None:
    clock.at = AT + YEARS
    await prune_all(pruner)
    over, _ = await pruner.droppable("demo")
    assert over is not None
    await pruner.drop("demo", over)
    await pruner.drop("demo", over)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with pool.of("demo") as connection:
            await connection.execute("UPDATE audit_segment SET dropped_at = NULL WHERE first = 0")


@pytest.mark.parametrize(
    ("what", "kept"),
    [
        ({}, [0, 8, 16]),
        ({"record": "9"}, [8]),
        ({"entity": "contact", "record": "9"}, [8]),
        ({"entity": "account", "record": "9"}, []),
        ({"actor": "u1", "until": AT + timedelta(seconds=3)}, [0]),
        ({"since": AT + timedelta(seconds=16)}, [16]),
        ({"data_subject": "nobody"}, []),
    ],
)
async def test_what_is_held_stays(
    sealed: None, pruner: Pruner, clock: Clock, pool: Any, archive: ArchiveReader, what: Any, kept: list[int]
) -> None:
    await set_hold(pool, **what)
    clock.at = AT + YEARS
    await prune_all(pruner)
    await drop_all(pruner)
    assert [one.first for one in await archive.segments("demo")] == kept
    over, hold = await pruner.droppable("demo")
    assert (over is not None, hold is not None) == (bool(kept), bool(kept))


async def test_a_hold_is_lifted_by_two(sealed: None, pruner: Pruner, clock: Clock, pool: Any) -> None:
    await set_hold(pool)
    clock.at = AT + YEARS
    await prune_all(pruner)
    async with pool.of("demo") as connection:
        assert (await lift(connection, "demo", "h1", "wang", NOW)).lifted_by is None
        with pytest.raises(HoldRefused, match="somebody else"):
            await lift(connection, "demo", "h1", "wang", NOW)
    assert await drop_all(pruner) == []
    async with pool.of("demo") as connection:
        assert (await lift(connection, "demo", "h1", "li", NOW)).lifted_by == "li"
        assert await holds(connection, "demo") == []
        assert [one.lifted_by for one in await holds(connection, "demo", lifted=True)] == ["li"]
        with pytest.raises(HoldRefused, match="no hold"):
            await lift(connection, "demo", "h1", "li", NOW)
    assert await drop_all(pruner) == [0, 8, 16]


async def test_a_hold_cannot_be_deleted_or_lifted_by_one_in_the_database(pool: Any) -> None:
    await set_hold(pool)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        async with pool.of("demo") as connection:
            await connection.execute("DELETE FROM audit_hold")
    with pytest.raises(psycopg.errors.CheckViolation):
        async with pool.of("demo") as connection:
            await connection.execute("UPDATE audit_hold SET lift_by = 'a', lifted_by = 'a', lifted_at = now()")


@pytest.mark.parametrize("what", [{"reason": " "}, {"entity": "contact"}, {"since": NOW, "until": NOW}])
async def test_a_hold_without_sense_is_refused(pool: Any, what: Any) -> None:
    hold = replace(Hold("h1", "court order", "wang", NOW), **what)
    with pytest.raises(HoldRefused):
        async with pool.of("demo") as connection:
            await add_hold(connection, "demo", hold)


def test_an_entry_of_two_classes_is_kept_for_the_longer() -> None:
    short, long = RetentionClass("short", 10, kinds=("sign-in",)), RetentionClass("long", 20, operations=("audit.*",))
    rules = Retention([short, long])
    assert rules.class_of({"kind": "sign-in", "operation": "x"}) == "short"
    assert rules.class_of({"kind": "sign-in", "operation": "audit.search"}) == "long"
    assert rules.class_of({"kind": "decision", "operation": "auditing"}) == "five-years"


async def test_a_segment_is_kept_for_its_longest_class(filled: Any, sealer: Sealer) -> None:
    made = await sealer.seal("demo")
    assert made is not None
    shorter = Retention((), RetentionClass("five-years", 30))
    assert shorter.keep_until(made.classes) == made.at_last + timedelta(days=30)
    unknown = Retention([RetentionClass("ages", 9999)], RetentionClass("renamed", 30))
    assert unknown.keep_until(made.classes) == made.at_last + timedelta(days=9999)


async def test_a_segment_comes_back_into_a_folder(
    sealed: None, stored: FolderArchive, sealer: Sealer, archive: ArchiveReader, tmp_path: Path
) -> None:
    one = (await archive.manifests("demo"))[1]
    note = manifest_notes(stored, "demo", tmp_path / "scratch")[1]
    restore_folder(stored, one, note, tmp_path / "scratch", tmp_path / "back")
    assert len((tmp_path / "back" / "events.jsonl").read_bytes().splitlines()) == 8
    assert (tmp_path / "back" / "manifest").read_text() == note


async def test_a_segment_comes_back_into_a_table_for_reading(
    sealed: None, stored: FolderArchive, archive: ArchiveReader, tmp_path: Path, pool: Any
) -> None:
    one = (await archive.manifests("demo"))[1]
    async with pool.of("demo") as connection:
        for _ in range(2):
            assert await restore_table(stored, one, tmp_path / "scratch", connection) == 8
        found = await connection.execute(
            "SELECT count(*) FROM audit_restored r JOIN audit_entry e USING (tenant, index, at, kind, actor, operation,"
            " entity, record, reason, status, exchange, body, leaf)"
        )
        assert await found.fetchone() == (8,)
        assert await forget_restored(connection, "demo") == 8


async def test_a_segment_with_a_changed_file_is_not_restored(
    sealed: None, stored: FolderArchive, archive: ArchiveReader, tmp_path: Path
) -> None:
    one = (await archive.manifests("demo"))[0]
    assert [found async for found in verify_segments(stored, [one], tmp_path / "scratch")] == [one]
    path = stored.local(one.files["sight"].name)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"?")
    with pytest.raises(SegmentBroken, match="other bytes"):
        restore_folder(stored, one, "", tmp_path / "scratch", tmp_path / "back")
    assert not (tmp_path / "back").exists()
