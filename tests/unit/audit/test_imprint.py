"""Imprints: the bytes are PostgreSQL's own, whole tiles only, kept in a file that may end anywhere."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from audit import store
from audit.imprint import HEAD, TILE, Imprinter, Imprints, packed
from audit.log import AuditLog


def row(index: int, body: bytes = b"{}") -> store.StoredEntry:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return store.StoredEntry(index, at, "k", "a", "o", "e", "r", "x", 200, "x", body, bytes(32))


async def test_a_row_is_packed_as_the_database_hands_it_out(log: AuditLog, pool: Any, make: Any) -> None:
    early = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    for more in (
        {},
        {"at": early, "record": "", "status": 0},
        {"actor_login": "王芳", "entity": "~", "reason": "a" * 500},
    ):
        await log.append(make(**more))
    async with pool.of("demo") as connection:
        rows = [one async for some in store.entries(connection, "demo") for one in some]
        given = await store.tile_bytes(connection, "demo", 0, 1, TILE)
    assert given == [(0, b"".join(map(packed, rows))), (1, None)]


def test_only_whole_tiles_get_an_imprint() -> None:
    printer = Imprinter()
    printer.at(100)
    for index in range(100, 3 * TILE - 1):
        printer.add(row(index))
    whole = b"".join(packed(row(index)) for index in range(TILE, 2 * TILE))
    assert printer.take() == {1: sha256(whole).digest()}
    printer.at(3 * TILE - 1)
    printer.add(row(3 * TILE - 1))
    assert list(printer.take()) == [2], "a tile goes on where the part before ended"


def test_what_did_not_hold_leaves_no_imprint() -> None:
    printer = Imprinter()
    printer.at(0)
    for index in range(TILE + 10):
        printer.add(row(index))
    printer.drop()
    assert printer.take() == {}
    printer.at(TILE + 10)
    for index in range(TILE + 10, 2 * TILE):
        printer.add(row(index))
    assert printer.take() == {}, "the first part of that tile is not known any more"


def test_a_gap_is_not_passed_over() -> None:
    printer = Imprinter()
    printer.at(0)
    for index in (*range(10), *range(11, TILE + 1)):
        printer.add(row(index))
    assert printer.take() == {}


def test_imprints_outlive_the_process(tmp_path: Path) -> None:
    first = Imprints(tmp_path, "a/b")
    assert first.keep({0: b"\1" * 32, 2: b"\3" * 32}) == []
    again = Imprints(tmp_path, "a/b")
    assert [again.of(tile) for tile in range(4)] == [b"\1" * 32, None, b"\3" * 32, None]
    assert (again.count, again.tiles) == (2, 3)
    assert again.keep({0: b"\1" * 32, 1: b"\2" * 32, 2: b"\4" * 32}) == [2]
    assert again.count == 3
    assert Imprints(tmp_path, "a/b").of(2) == b"\4" * 32


def test_a_file_that_ends_anywhere_or_is_of_another_kind_counts_as_not_read_yet(tmp_path: Path) -> None:
    Imprints(tmp_path, "demo").keep({0: b"\1" * 32, 1: b"\2" * 32})
    path = tmp_path / "demo.imprints"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert (Imprints(tmp_path, "demo").count, Imprints(tmp_path, "demo").of(1)) == (1, None)
    for other in (b"", whole[:5], b"x" * len(HEAD) + whole[len(HEAD) :]):
        path.write_bytes(other)
        assert Imprints(tmp_path, "demo").count == 0
