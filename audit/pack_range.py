"""That a pack leaves nothing of a range out: the leaf hashes of all its entries, and what joins them to the root.

Whoever checks it counts the entries of the range, sees which are shown and which are withheld, and holds a hash of each
withheld one, so that it can be asked for later and cannot be another by then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from audit import store
from audit.archive import Archive
from audit.note import Checkpoint
from audit.pack_check import Broken, check_range
from audit.proof import StoredLogBroken, subtree_root
from audit.tree import HASH_BYTES

RANGE_LIMIT = 5_000_000  # 160 MB of hashes


@dataclass(frozen=True, slots=True)
class RangeProof:
    """Entries `first` to before `end`. leaves: their hashes in a row; outside: roots of what is beside it."""

    first: int
    end: int
    leaves: bytes
    outside: tuple[bytes, ...]


def outside_ranges(first: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of the largest subtrees of RFC 6962 beside a range, from left to right."""
    pending = [(0, size)]
    while pending:
        low, high = pending.pop()
        if high <= first or low >= end:
            yield low, high
        elif not first <= low < high <= end:
            middle = low + (1 << ((high - low - 1).bit_length() - 1))
            pending += [(middle, high), (low, middle)]


async def prove_range(
    connection: store.Connection, tenant: str, first: int, end: int, checkpoint: Checkpoint, archive: Archive
) -> RangeProof:
    """The checked proof; best inside one snapshot. archive: of what is sealed in front of the range.

    Raises: StoredLogBroken, EntryDropped, SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    leaves = bytearray()
    while first + len(leaves) // HASH_BYTES < end:
        part = await store.next_leaves(connection, tenant, first + len(leaves) // HASH_BYTES, end)
        if not part:
            raise StoredLogBroken(f"entry {first + len(leaves) // HASH_BYTES} is missing")
        leaves += b"".join(part)
    beside = outside_ranges(first, end, checkpoint.size)
    outside = [await subtree_root(connection, tenant, *one, archive) for one in beside]
    proof = RangeProof(first, end, bytes(leaves), tuple(outside))
    try:
        check_range(proof.leaves, first, checkpoint.size, outside, checkpoint.root)
    except Broken as fault:
        raise StoredLogBroken(f"entries {first} to {end - 1} cannot be proved: {fault}") from None
    return proof
