"""Entries as the two Parquet files of a segment, and back.

`event` is sorted by actor and time, so that "what did he do" skips row groups by their statistics; `sight` by entity,
record, data subject and time, so that "who saw this customer" does. What is looked for in the other file's order, and
ids of exchanges, are found through Bloom filters. Leaf hashes are not kept: they are the hash of `body`, 32 bytes an
entry that no compression makes smaller.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.archive import SegmentBroken
from audit.cold.manifest import ClassShare, Manifest
from audit.cold.sought import check_sought, sought_bytes
from audit.entry import EntryRefused
from audit.event_row import EVENT, SIGHT, Rows
from audit.tree import HASH_BYTES, Frontier, leaf_hash

EVENT_COLUMNS = pa.schema([column for column in EVENT if column.name != "leaf"])
EVENT_ORDER = ("actor", "at", "index")
SIGHT_ORDER = ("entity", "record", "data_subject", "at", "index", "field", "form")
EVENT_GROUP_ROWS = 25_000
SIGHT_GROUP_ROWS = 50_000
ZSTD_LEVEL = 9
_FALSE_POSITIVES = 0.05
_READ_ROWS = 5_000
_ROWS_AT_ONCE = 2_000
# Numbers that grow and texts that hardly repeat do better without a dictionary.
_UNREPEATED = ("index", "at", "exchange", "id", "body")
_DELTA = ("index", "at")

ClassOf = Callable[[Mapping[str, Any]], str]
"""The name of an entry's retention class, from its decoded bytes."""


@dataclass(slots=True)
class Draft:
    """Entries on their way into a segment, added in the order of their index. class_of: see `ClassOf`."""

    class_of: ClassOf
    events: list[pa.RecordBatch] = field(default_factory=list)
    sights: list[pa.RecordBatch] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    at_first: datetime | None = None
    at_last: datetime | None = None
    _counts: Counter[str] = field(default_factory=Counter)
    _latest: dict[str, datetime] = field(default_factory=dict)

    def add(self, entries: Iterable[tuple[int, datetime, bytes]]) -> None:
        """Index, time and bytes of entries. Raises: EntryRefused for bytes that the log could not have written."""
        rows = Rows()
        for index, at, body in entries:
            leaf = leaf_hash(body)
            self._note(at, rows.add(index, at, leaf, body))
            self.leaves.append(leaf)
        events, sights = rows.batches()
        self.events.append(events.select(EVENT_COLUMNS.names))
        self.sights.append(sights)

    def _note(self, at: datetime, content: Mapping[str, Any]) -> None:
        kept = self.class_of(content)
        self.at_first = at if self.at_first is None else min(self.at_first, at)
        self.at_last = at if self.at_last is None else max(self.at_last, at)
        self._counts[kept] += 1
        self._latest[kept] = max(self._latest.get(kept, at), at)
        self.versions.add(int(content["version"]))

    @property
    def classes(self) -> dict[str, ClassShare]:
        """What the manifest says of retention classes."""
        return {name: ClassShare(count, self._latest[name]) for name, count in self._counts.items()}

    def write(self, event_file: Path, sight_file: Path, sought_file: Path | None = None) -> tuple[int, int]:
        """Write the files; numbers of rows of the first two. Raises: OSError."""
        events = pa.Table.from_batches(self.events, EVENT_COLUMNS)
        sights = pa.Table.from_batches(self.sights, SIGHT)
        _write(events, event_file, EVENT_ORDER, EVENT_GROUP_ROWS, ("data_subject", "record", "exchange"))
        _write(sights, sight_file, SIGHT_ORDER, SIGHT_GROUP_ROWS, ("data_subject", "actor"))
        if sought_file is not None:
            sought_file.write_bytes(sought_bytes([events, sights]))
        return events.num_rows, sights.num_rows


def _write(table: pa.Table, path: Path, order: Sequence[str], group_rows: int, looked_up: Sequence[str]) -> None:
    schema = table.schema
    table = table.sort_by([(name, "ascending") for name in order])
    plain = [name for name in schema.names if name in _UNREPEATED]
    distinct = max(1, min(group_rows, table.num_rows))
    pq.write_table(
        table,
        path,
        row_group_size=group_rows,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[name for name in schema.names if name not in plain],
        column_encoding={name: "DELTA_BINARY_PACKED" if name in _DELTA else "PLAIN" for name in plain},
        write_page_index=True,
        write_page_checksum=True,
        sorting_columns=pq.SortingColumn.from_ordering(schema, [(name, "ascending") for name in order]),
        bloom_filter_options={name: {"ndv": distinct, "fpp": _FALSE_POSITIVES} for name in looked_up},
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file. Raises: OSError."""
    seen = sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            seen.update(part)
    return seen.hexdigest()


def read_entries(event_file: Path, first: int, last: int) -> pa.Table:
    """Columns index, at and body of a segment, in the order of the log. Raises: SegmentBroken."""
    try:
        table = pq.read_table(event_file, columns=["index", "at", "body"], memory_map=True).sort_by("index")
        whole = table.column("index").equals(pa.chunked_array([pa.array(range(first, last + 1), pa.int64())]))
    except (OSError, pa.ArrowException) as fault:
        raise SegmentBroken(f"entries {first} to {last} cannot be read: {type(fault).__name__}") from None
    if not whole:
        raise SegmentBroken(f"entries {first} to {last}: an entry is missing or stands there twice")
    return table


def bodies_of(table: pa.Table) -> Iterator[bytes]:
    """The bytes of entries that `read_entries` read."""
    for batch in table.column("body").chunks:
        for at in range(0, len(batch), _READ_ROWS):
            yield from batch.slice(at, _READ_ROWS).to_pylist()


def pick_bodies(event_file: Path, indexes: Collection[int]) -> dict[int, bytes]:
    """Bytes of some entries by index, read from the row groups that hold them alone. Raises: SegmentBroken."""
    wanted, found = pa.array(sorted(indexes), pa.int64()), dict[int, bytes]()
    try:
        with pq.ParquetFile(event_file, memory_map=True) as opened:
            for group in range(opened.num_row_groups):
                here = pc.is_in(opened.read_row_group(group, ["index"])["index"], wanted)
                if pc.any(here).as_py():
                    table = opened.read_row_group(group, ["index", "body"]).filter(here)
                    found |= dict(zip(table["index"].to_pylist(), table["body"].to_pylist(), strict=True))
    except (OSError, pa.ArrowException) as fault:
        raise SegmentBroken(f"{event_file.name} cannot be read: {type(fault).__name__}") from None
    return found


def check_tree(table: pa.Table, before: Frontier, after: Frontier) -> None:
    """Hash every entry again; the tree must grow from `before` to `after`. Raises: SegmentBroken."""
    tree = Frontier.from_bytes(before.size, before.to_bytes())
    tree.extend(map(leaf_hash, bodies_of(table)))
    if tree.size != after.size or tree.to_bytes() != after.to_bytes():
        raise SegmentBroken(f"entries {before.size} to {after.size - 1} do not lead to the signed root")


def check_leaves(packed: bytes, manifest: Manifest) -> None:
    """The leaf hashes that are left of a dropped segment must lead to its signed root. Raises: SegmentBroken."""
    tree = Frontier.from_bytes(manifest.before.size, manifest.before.to_bytes())
    tree.extend(packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES))
    if len(packed) != manifest.count * HASH_BYTES or tree.to_bytes() != manifest.after.to_bytes():
        raise SegmentBroken(f"leaf hashes of entries {manifest.first} to {manifest.last} do not lead to the root")


def check_segment(
    event_file: Path, sight_file: Path, before: Frontier, after: Frontier, sought_file: Path | None = None
) -> None:
    """Everything of a segment: count, order, every leaf hash, every column. Raises: SegmentBroken."""
    table = read_entries(event_file, before.size, after.size - 1)
    check_tree(table, before, after)
    check_columns(table, event_file, sight_file)
    if sought_file is not None:
        check_sought(sought_file, event_file, sight_file)


def check_columns(table: pa.Table, event_file: Path, sight_file: Path) -> None:
    """Every column of both files must be what the hashed bytes say. Raises: SegmentBroken."""
    draft = Draft(lambda _: "")
    try:
        for batch in table.to_batches(_ROWS_AT_ONCE):  # what is Python's of them is gone with each
            draft.add(zip(*(batch.column(name).to_pylist() for name in ("index", "at", "body")), strict=True))
    except EntryRefused as fault:
        raise SegmentBroken(str(fault)) from None
    for batches, schema, path, order in (
        (draft.events, EVENT_COLUMNS, event_file, EVENT_ORDER),
        (draft.sights, SIGHT, sight_file, SIGHT_ORDER),
    ):
        if not _is(path, pa.Table.from_batches(batches, schema), order):
            raise SegmentBroken(f"{path.name}: a column differs from the hashed bytes, or rows are out of order")


def _is(path: Path, expected: pa.Table, order: Sequence[str]) -> bool:
    """Whether a file holds these rows of the log, sorted; one column at a time is in memory.

    Sorting what is sorted already by one number costs a fraction of sorting what is expected by seven columns.
    """
    file = pq.ParquetFile(path)
    if file.schema_arrow.names != expected.schema.names or file.metadata.num_rows != expected.num_rows:
        return False
    # Those of one entry stay as they are: the sort is stable.
    back = pc.sort_indices(file.read(["index"]).column(0))
    fine = pa.array([True] * max(0, expected.num_rows - 1), pa.bool_())
    for name in (*reversed(order), *(name for name in expected.schema.names if name not in order)):
        found = file.read([name]).column(0).cast(expected.schema.field(name).type)
        if not found.take(back).equals(expected.column(name)):
            return False
        if name in order:
            before, after = found.slice(0, len(fine)), found.slice(1)
            fine = pc.or_(pc.less(before, after), pc.and_(pc.equal(before, after), fine))
    return bool(pc.all(fine, min_count=0).as_py())
