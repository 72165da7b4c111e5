"""Entries as Parquet files, and back."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from audit.archive import SegmentBroken
from audit.cold.segment_file import (
    EVENT_COLUMNS,
    EVENT_ORDER,
    SIGHT_ORDER,
    Draft,
    bodies_of,
    check_columns,
    check_tree,
    read_entries,
)
from audit.entry import FORMAT_VERSION, encode
from audit.event_row import SIGHT
from audit.tree import Frontier

Files = tuple[Path, Path]


@pytest.fixture
def draft(make: Any) -> Draft:
    made = Draft(lambda event: "short" if event["actor"] == "u0" else "long")
    entries = [make(actor=f"u{number % 3}") for number in range(30)]
    made.add((100 + place, entry.at, encode(entry)) for place, entry in enumerate(entries))
    return made


@pytest.fixture
def files(draft: Draft, tmp_path: Path) -> Files:
    paths = tmp_path / "e.parquet", tmp_path / "s.parquet"
    assert draft.write(*paths) == (30, 30)
    return paths


def grown(draft: Draft) -> tuple[Frontier, Frontier]:
    before = Frontier()
    before.extend([bytes([number]) * 32 for number in range(100)])
    after = Frontier.from_bytes(before.size, before.to_bytes())
    after.extend(draft.leaves)
    return before, after


def test_every_leaf_comes_back_from_the_bytes_in_the_file(draft: Draft, files: Files) -> None:
    table = read_entries(files[0], 100, 129)
    check_tree(table, *grown(draft))
    check_columns(table, *files)


def test_files_are_sorted_for_look_ups(files: Files) -> None:
    for path, order in zip(files, (EVENT_ORDER, SIGHT_ORDER), strict=True):
        table = pq.read_table(path)
        assert table.equals(table.sort_by([(name, "ascending") for name in order]))
    assert pq.read_schema(files[0]).equals(EVENT_COLUMNS)
    assert pq.read_schema(files[1]).equals(SIGHT)


def test_classes_are_counted(draft: Draft) -> None:
    assert {name: one.count for name, one in draft.classes.items()} == {"short": 10, "long": 20}
    assert draft.versions == {FORMAT_VERSION}


def test_duckdb_reads_the_files_and_knows_what_is_not_in_them(files: Files) -> None:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT actor FROM '{files[1]}' WHERE record = '7'").fetchall()
        probe = connection.execute(
            f"SELECT bool_and(bloom_filter_excludes) FROM parquet_bloom_probe('{files[0]}', 'exchange', 'none')"
        ).fetchone()
    assert found == [("u1",)]
    assert probe == (True,)


def test_a_missing_doubled_or_changed_entry_is_refused(draft: Draft, files: Files) -> None:
    whole = pq.read_table(files[0])
    index = whole.column("index")
    for changed in (whole.filter(pc.not_equal(index, 110)), pa.concat_tables([whole, whole.slice(4, 1)])):
        pq.write_table(changed, files[0])
        with pytest.raises(SegmentBroken):
            read_entries(files[0], 100, 129)
    body = [one.replace(b'"status":200', b'"status":201') for one in whole.column("body").to_pylist()]
    pq.write_table(
        whole.set_column(whole.schema.get_field_index("body"), "body", pa.array(body, pa.binary())), files[0]
    )
    with pytest.raises(SegmentBroken, match="signed root"):
        check_tree(read_entries(files[0], 100, 129), *grown(draft))


def test_a_column_that_differs_from_the_bytes_is_refused(draft: Draft, files: Files) -> None:
    whole = pq.read_table(files[1])
    forms = pa.array(["clear"] * whole.num_rows, pa.string())
    field = whole.schema.field("form")
    pq.write_table(whole.set_column(whole.schema.get_field_index("form"), field, forms), files[1])
    with pytest.raises(SegmentBroken, match="column differs"):
        check_columns(read_entries(files[0], 100, 129), *files)


@pytest.mark.parametrize("kind", [0, 1])
def test_rows_out_of_order_missing_or_doubled_are_refused(files: Files, kind: int) -> None:
    whole = pq.read_table(files[kind])
    table, rows = read_entries(files[0], 100, 129), range(whole.num_rows)
    for order in ([1, 0, *rows[2:]], rows[:-1], [0, *rows]):
        pq.write_table(whole.take(pa.array(order)), files[kind])
        with pytest.raises(SegmentBroken, match="out of order"):
            check_columns(table, *files)
    pq.write_table(whole, files[kind])
    check_columns(table, *files)


def test_a_segment_that_shows_nothing_is_whole(make: Any, tmp_path: Path) -> None:
    draft, paths = Draft(lambda _: ""), (tmp_path / "e.parquet", tmp_path / "s.parquet")
    entry = make(fields={})
    draft.add([(0, entry.at, encode(entry))])
    assert draft.write(*paths) == (1, 0)
    check_columns(read_entries(paths[0], 0, 0), *paths)


def test_what_is_no_parquet_is_refused(files: Files) -> None:
    files[0].write_bytes(b"PAR1 nothing")
    with pytest.raises(SegmentBroken, match="cannot be read"):
        read_entries(files[0], 100, 129)


def test_bytes_come_in_the_order_of_the_log(draft: Draft, files: Files) -> None:
    found = list(bodies_of(read_entries(files[0], 100, 129)))
    assert [one.split(b'"id":"')[1].split(b'"')[0] for one in found] == [f"e{n}".encode() for n in range(30)]
