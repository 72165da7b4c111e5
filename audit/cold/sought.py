"""What may be in a segment: a small file beside it that says which accounts, records and persons it cannot hold.

Sorted 32-bit hashes of every value of three columns, four bytes each. A value whose hash is not in the file is in no
row of the segment; one whose hash is there may be (by chance once in some twenty thousand segments of 200,000 values).
"""

import mmap
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.archive import SOUGHT, SegmentBroken, Wanted

_HASH_BYTES = 4


def sought_bytes(tables: Sequence[pa.Table]) -> bytes:
    """The file for a segment of these tables, each with the columns of `SOUGHT`."""
    found = {
        _hash(column, value)
        for table in tables
        for column in SOUGHT
        for value in pc.unique(table.column(column)).to_pylist()
    }
    packed = array("I", sorted(found))
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def check_sought(path: Path, event_file: Path, sight_file: Path) -> None:
    """The file must be the one that these two files lead to. Raises: SegmentBroken."""
    tables = [pq.read_table(one, columns=list(SOUGHT)) for one in (event_file, sight_file)]
    if path.read_bytes() != sought_bytes(tables):
        raise SegmentBroken(f"{path.name}: what it says of the segment is not so")


def may_hold(path: Path, wanted: Sequence[Wanted]) -> bool:
    """Whether the segment can hold a row for any of these. Raises: OSError."""
    if not path.stat().st_size or sys.byteorder == "big":  # the file has the order of most machines
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        packed = memoryview(mapped)
        hashes = packed.cast("I")
        try:
            return any(
                all(any(_is_in(hashes, column, value) for value in values) for column, values in one.items())
                for one in wanted
            )
        finally:
            hashes.release()
            packed.release()


def _is_in(hashes: memoryview, column: str, value: str) -> bool:
    wanted = _hash(column, value)
    place = bisect_left(hashes, wanted)
    return place < len(hashes) and hashes[place] == wanted


def _hash(column: str, value: str) -> int:
    return int.from_bytes(sha256(f"{column}\0{value}".encode()).digest()[:_HASH_BYTES], "big")
