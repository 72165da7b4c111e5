"""Sealing a tenant's log, and what still holds when entries have left the database."""

import asyncio
import io
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from audit import store
from audit.anchor import Anchors, Published
from audit.archive import ArchiveUnavailable, NoArchive, SegmentBroken
from audit.checkpoint import Keeper
from audit.cold import segment_store
from audit.cold.folder import FolderArchive
from audit.cold.reader import ArchiveReader
from audit.cold.retention import Retention
from audit.cold.sealing import Sealer, SealingRefused, manifest_notes
from audit.note import origin_of
from audit.pack import write_pack
from audit.pack_choice import PackRefused, Wanted
from audit.proof import EntryDropped, prove_entry, prove_growth
from audit.siem.forwarder import Forwarder
from audit.store import Filters
from audit.tiles import write_tiles
from audit.verify import LogTampered, verify
from audit.watch import Watch
from tests.conftest import unwalled
from tests.unit.audit.cold.conftest import NOW, SIGNER
from tests.unit.audit.conftest import AT, Make

Clock = Callable[[], datetime]


@pytest.fixture
def sealer(pool: Any, folder: FolderArchive, tmp_path: Path) -> Sealer:
    return Sealer(pool, folder, SIGNER, tmp_path / "scratch", Retention(), lambda: NOW, entries=8)


@pytest.fixture
def archive(pool: Any, folder: FolderArchive, tmp_path: Path) -> ArchiveReader:
    async def rows(tenant: str) -> list[segment_store.StoredSegment]:
        async with pool.of(tenant) as connection:
            return await segment_store.segments(connection, tenant)

    return ArchiveReader(rows, folder, SIGNER.verifier, tmp_path / "cache")


@pytest.fixture
async def pruned(filled: Any, sealer: Sealer, pool: Any) -> None:
    """Twenty entries, checkpoints at 5, 12 and 18; two segments of 8 sealed, both pruned."""
    for first in (0, 8):
        assert await sealer.seal("demo") is not None
        async with pool.of("demo") as connection:
            assert await segment_store.prune(connection, "demo", first) == 8


async def test_a_log_is_sealed_piece_by_piece(filled: Any, sealer: Sealer, archive: ArchiveReader) -> None:
    made = [await sealer.seal("demo") for _ in range(3)]
    assert [(one.first, one.last) for one in made if one] == [(0, 7), (8, 15), (16, 17)]
    assert await sealer.seal("demo") is None  # two entries are not signed yet
    assert [(one.first, one.last) for one in await archive.segments("demo")] == [(0, 7), (8, 15), (16, 17)]
    assert len(await archive.bodies("demo", 3, 17)) == 14


async def test_a_day_is_sealed_once_it_is_over(log: Any, keeper: Keeper, make: Any, sealer: Sealer) -> None:
    for at in (AT, AT + timedelta(hours=1), AT + timedelta(days=1), AT + timedelta(days=1, hours=1)):
        await log.append(make(at=at))
    await keeper.seal("demo")
    early = Sealer(**{name: getattr(sealer, name) for name in sealer.__slots__} | {"now": lambda: AT})
    assert await early.seal("demo") is None
    first = await sealer.seal("demo")
    assert first is not None
    assert (first.first, first.last, first.at_last) == (0, 1, AT + timedelta(hours=1))


async def test_a_clock_that_was_years_ahead_holds_nothing_up(
    log: Any, keeper: Keeper, make: Make, sealer: Sealer
) -> None:
    for at in (NOW + timedelta(days=900), NOW - timedelta(days=9)):
        await log.append(make(at=at))
    await keeper.seal("demo")
    made = await sealer.seal("demo")
    assert made is not None
    assert made.count == 2


async def test_a_changed_entry_is_not_sealed(filled: Any, sealer: Sealer, tamper: Any) -> None:
    await tamper(
        "UPDATE audit_entry SET body = convert_to(replace(convert_from(body, 'UTF8'), ':200', ':201'), 'UTF8')"
        " WHERE index = 3"
    )
    with pytest.raises(SealingRefused):
        await sealer.seal("demo")


async def test_an_entry_hashed_again_is_not_sealed(filled: Any, sealer: Sealer, tamper: Any) -> None:
    await tamper(
        "UPDATE audit_entry SET body = convert_to(replace(convert_from(body, 'UTF8'), ':200', ':201'), 'UTF8') WHERE"
        " index = 3",
        "UPDATE audit_entry SET leaf = sha256('\\x00'::bytea || body), status = 201 WHERE index = 3",
    )
    with pytest.raises(SealingRefused, match="not what was signed"):
        await sealer.seal("demo")


class Dying(FolderArchive):
    """Dies after so many files."""

    left = 0

    def put(self, name: str, source: Path, sha256: str, keep_until: datetime) -> str:
        if not self.left:
            raise ArchiveUnavailable("full")
        self.left -= 1
        return super().put(name, source, sha256, keep_until)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
async def test_what_a_kill_left_behind_is_taken_up(filled: Any, sealer: Sealer, tmp_path: Path, after: int) -> None:
    dying = Dying(tmp_path / "archive", lambda: NOW)
    dying.left = after
    broken = Sealer(**{name: getattr(sealer, name) for name in sealer.__slots__} | {"stored": dying})
    if after < 4:
        with pytest.raises(ArchiveUnavailable):
            await broken.seal("demo")
    else:  # the manifest is there, the row is not
        made = await broken.seal("demo")
        assert made is not None
        async with await psycopg.AsyncConnection.connect(unwalled(sealer.pool.conninfo)) as own:  # type: ignore[attr-defined]
            await own.execute("ALTER TABLE audit_segment DISABLE TRIGGER ALL")
            await own.execute("DELETE FROM audit_segment")
            await own.execute("ALTER TABLE audit_segment ENABLE TRIGGER ALL")
    made = await sealer.seal("demo")
    assert made is not None
    assert (made.first, made.last) == (0, 7)
    assert len(sealer.stored.names("demo/")) == 4


async def test_an_archive_that_holds_another_past_is_refused(filled: Any, sealer: Sealer, tmp_path: Path) -> None:
    await sealer.seal("demo")
    second = await sealer.seal("demo")
    assert second is not None
    notes = manifest_notes(sealer.stored, "demo", tmp_path / "scratch")
    other = tmp_path / "archive" / "demo" / "manifest" / "000000000000016-000000000000017.manifest"
    other.write_text(notes[0])
    with pytest.raises(SegmentBroken, match="does not follow"):
        await sealer.seal("demo")


async def test_only_what_is_sealed_can_be_pruned(filled: Any, sealer: Sealer, pool: Any) -> None:
    for first in (0, 8):
        with pytest.raises(psycopg.errors.RaiseException, match="no sealed segment"):
            async with pool.of("demo") as connection:
                await segment_store.prune(connection, "demo", first)
    await sealer.seal("demo")
    async with pool.of("demo") as connection:
        await segment_store.prune(connection, "demo", 0)
    with pytest.raises(psycopg.errors.RaiseException, match="no sealed segment"):
        async with pool.of("demo") as connection:
            await segment_store.prune(connection, "demo", 0)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_entry WHERE index = 17",
        "UPDATE audit_hot SET start = 17",
        "UPDATE audit_hot SET pruning = pg_current_xact_id()",
        "DELETE FROM audit_hot",
        "DELETE FROM audit_segment",
        "UPDATE audit_segment SET last = 9 WHERE first = 0",
        "TRUNCATE audit_segment",
        "INSERT INTO audit_hot (tenant, start, pruning) VALUES ('other', 0, pg_current_xact_id())",
    ],
)
async def test_there_is_no_other_way_to_remove_entries(pruned: None, dsn: str, statement: Any) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            await connection.execute(statement)


async def test_a_log_whose_beginning_is_sealed_verifies(pruned: None, dsn: str, tmp_path: Path) -> None:
    found = await verify(dsn, "demo", SIGNER.verifier, tmp_path)
    assert (found.entries, found.signed, found.hot, found.sealed) == (20, 18, 16, 16)


async def test_a_log_of_which_everything_is_sealed_verifies_and_goes_on(
    filled: Any, sealer: Sealer, keeper: Keeper, pool: Any, dsn: str, tmp_path: Path, make: Make
) -> None:
    await keeper.seal("demo")
    while one := await sealer.seal("demo"):
        async with pool.of("demo") as connection:
            await segment_store.prune(connection, "demo", one.first)
    for size in (20, 21):
        found = await verify(dsn, "demo", SIGNER.verifier, tmp_path)
        assert (found.entries, found.signed, found.hot) == (size, size, 20)
        watch = Watch(pool, SIGNER.verifier, tmp_path, now=lambda: NOW)
        await watch.round()
        await watch.round()
        assert watch.findings("demo") == []
        await filled.append(make())
        await keeper.seal("demo")


async def test_the_keeper_goes_on_signing(pruned: None, keeper: Keeper, dsn: str) -> None:
    signed = await keeper.seal("demo")
    assert signed is not None
    assert signed.size == 20
    assert (await verify(dsn, "demo", SIGNER.verifier)).signed == 20


@pytest.mark.parametrize("index", [16, 17])
async def test_entries_that_remain_are_proved_without_the_archive(pruned: None, pool: Any, index: int) -> None:
    async with pool.of("demo") as connection:
        proof = await prove_entry(connection, "demo", index, SIGNER.verifier)
    assert proof.check(SIGNER.verifier, origin_of("demo")).size == 18


@pytest.mark.parametrize("index", [0, 7, 8, 15])
async def test_sealed_entries_are_proved_from_the_archive(
    pruned: None, pool: Any, archive: ArchiveReader, index: int
) -> None:
    async with pool.of("demo") as connection:
        proof = await prove_entry(connection, "demo", index, SIGNER.verifier, archive)
        assert proof.check(SIGNER.verifier, origin_of("demo")).size == 18
        with pytest.raises(EntryDropped):
            await prove_entry(connection, "demo", index, SIGNER.verifier)


async def test_growth_from_every_checkpoint_is_proved(pruned: None, pool: Any, archive: ArchiveReader) -> None:
    async with pool.of("demo") as connection:
        stored = [one async for one in store.checkpoints(connection, "demo")]
        signed = [SIGNER.verifier.open_checkpoint(one.note, origin_of("demo")) for one in stored]
        for old in signed:
            await prove_growth(connection, "demo", old, signed[-1], archive)
    assert [one.size for one in signed] == [5, 12, 18]


async def test_tiles_are_written_from_the_archive_and_the_database(
    pruned: None, pool: Any, archive: ArchiveReader, tmp_path: Path
) -> None:
    async with pool.of("demo") as connection:
        made = await write_tiles(connection, "demo", SIGNER.verifier, tmp_path / "tiles", archive)
    assert made.checkpoint.size == 18


@pytest.mark.parametrize(
    "statements",
    [
        ["DELETE FROM audit_entry WHERE index = 16"],
        ["UPDATE audit_segment SET note = replace(note, '\"count\":8', '\"count\":7') WHERE first = 8"],
        ["UPDATE audit_segment SET frontier = '' WHERE first = 8"],
        ["DELETE FROM audit_segment"],
        ["DELETE FROM audit_entry WHERE index < 18", "UPDATE audit_hot SET start = 18"],
        ["UPDATE audit_hot SET start = 0"],
    ],
)
async def test_tampering_with_what_stands_for_pruned_entries_is_found(
    pruned: None, tamper: Any, dsn: str, statements: list[str]
) -> None:
    guards = [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in ("audit_hot", "audit_segment")]
    await tamper(*guards, *statements)
    with pytest.raises(LogTampered):
        await verify(dsn, "demo", SIGNER.verifier)


async def counted(dsn: str, at_least: int) -> store.Tripwire:
    """What PostgreSQL counts, once it has counted so much."""
    while True:
        async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
            wire = await store.tripwire(connection)
        if wire.touched >= at_least:
            return wire


async def test_the_watch_tells_pruning_from_tampering(
    filled: Any, sealer: Sealer, pool: Any, dsn: str, tmp_path: Path
) -> None:
    watch = Watch(pool, SIGNER.verifier, tmp_path, now=lambda: NOW)
    await watch.round()
    await sealer.seal("demo")
    async with pool.of("demo") as connection:
        await segment_store.prune(connection, "demo", 0)
    await watch.round()
    assert (await counted(dsn, 8)).unexplained == 0
    await watch.round()
    assert watch.findings("demo") == []
    assert watch.sight("demo").whole_at == NOW


async def test_what_was_pruned_is_counted_at_once_so_that_a_watch_which_begins_then_has_all_of_it(
    filled: Any, sealer: Sealer, keeper: Keeper, pool: Any, dsn: str
) -> None:
    """PostgreSQL would keep a count to itself for seconds, and it would look like rows deleted since."""
    await keeper.seal("demo")
    pruned = 0
    while one := await sealer.seal("demo"):
        async with pool.of("demo") as connection:
            pruned += await segment_store.prune(connection, "demo", one.first)
        async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
            wire = await store.tripwire(connection)
        assert (wire.pruned, wire.unexplained) == (pruned, 0)
    assert pruned == 20


async def test_the_watch_finds_what_is_deleted_after_pruning(
    pruned: None, tamper: Any, pool: Any, dsn: str, tmp_path: Path
) -> None:
    watch = Watch(pool, SIGNER.verifier, tmp_path, now=lambda: NOW)
    await counted(dsn, 16)
    await watch.round()
    assert watch.findings("demo") == []
    await tamper("DELETE FROM audit_entry WHERE index = 17", "ALTER TABLE audit_entry ENABLE TRIGGER ALL",
                 "ALTER TABLE audit_checkpoint ENABLE TRIGGER ALL")  # fmt: skip
    await counted(dsn, 17)
    await watch.round()
    assert any("missing" in one.text for one in watch.findings("demo"))
    assert any("behind the gateway's back" in one.text for one in watch.findings("demo"))


async def test_a_pack_has_sealed_entries_and_those_in_the_database(
    pruned: None, pool: Any, archive: ArchiveReader
) -> None:
    target = io.BytesIO()
    async with pool.of("demo") as connection:
        wanted = Wanted(Filters(actor="u1", since=AT + timedelta(seconds=3)), NOW)
        made = await write_pack(connection, "demo", SIGNER.verifier, wanted, target, archive)
        with pytest.raises(PackRefused, match="in the archive"):
            await write_pack(connection, "demo", SIGNER.verifier, wanted, io.BytesIO())
    assert (made.entries, made.first, made.last, made.waiting) == (15, 3, 17, 2)


async def test_an_anchor_that_has_an_old_checkpoint_is_led_on_through_the_archive(
    pruned: None, pool: Any, archive: ArchiveReader
) -> None:
    class Old:
        name, outside, every_s = "old", True, 0.0
        proof: list[bytes] | None = None

        async def keep(self, published: Published) -> None:
            self.proof = await published.grow(5)

    for given, fault in ((archive, ""), (NoArchive(), "growth from 5 needs the archive: EntryDropped")):
        old = Old()
        anchors = Anchors(pool, SIGNER.verifier, [old], now=lambda: NOW, interval_s=1, archive=given)
        await anchors.round()
        [state] = anchors.states("demo")
        assert (state.fault, state.contradicts, old.proof is None) == (fault, False, bool(fault))


async def test_a_new_way_to_a_siem_begins_where_the_database_does(pruned: None, dsn: str) -> None:
    sink = Kept()
    forwarder = Forwarder(
        dsn, "demo", "soc", sink, lambda view: str(view.index).encode(), clock=lambda: NOW,
        loop_time=asyncio.get_running_loop().time, look_s=0.01,
    )  # fmt: skip
    await forwarder.start()
    while len(sink.lines) < 4:
        await asyncio.sleep(0.01)
    await forwarder.close()
    assert sink.lines == [b"16", b"17", b"18", b"19"]
    assert forwarder.state.missing == 0


class Kept:
    """A sink that takes everything."""

    confirms = True

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def send(self, lines: Sequence[bytes]) -> None:
        self.lines += lines

    async def alive(self) -> bool:
        return True

    async def close(self) -> None:
        pass
