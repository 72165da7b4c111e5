"""The Merkle tree of RFC 6962 section 2.1 over SHA-256: leaf prefix 0x00, node prefix 0x01.

Pure functions over leaf hashes, and `Frontier`, which holds a tree of any size in at most 64 hashes and can only grow.
Verifying functions return nothing or raise `ProofInvalid`: a forgotten return value must never look like a proof.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()  # RFC 6962 2.1: the hash of an empty list is the hash of an empty string
PROOF_LIMIT_HASHES = 63  # C2SP tlog-witness; enough for 2^62 entries


class ProofInvalid(Exception):  # noqa: N818 - a verdict, not a fault
    """The proof does not lead to the expected root."""

    permanent = True


def leaf_hash(body: bytes) -> bytes:
    """Hash of an entry's bytes as a leaf (RFC 6962 2.1)."""
    return sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node (RFC 6962 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Audit path of the leaf at `index`, lowest node first (RFC 6962 2.1.1). Raises: IndexError."""
    return [_subroot(leaves, *part) for part in inclusion_ranges(index, len(leaves))]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Proof that the first `old_size` leaves are a prefix of this tree (RFC 6962 2.1.2). Raises: IndexError."""
    return [_subroot(leaves, *part) for part in consistency_ranges(old_size, len(leaves))]


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Start and end of the subtrees whose roots prove an entry, lowest first (RFC 6962 2.1.1). Raises: IndexError."""
    if not 0 <= index < size:
        raise IndexError(index)
    return _path(index, 0, size)


def consistency_ranges(old_size: int, size: int) -> list[tuple[int, int]]:
    """Start and end of the subtrees whose roots prove growth, in order (RFC 6962 2.1.2). Raises: IndexError."""
    if not 0 <= old_size <= size:
        raise IndexError(old_size)
    if old_size in (0, size):
        return []
    return _subproof(old_size, 0, size, whole=True)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> None:
    """Check an audit path (RFC 9162 2.1.3.2). Raises: ProofInvalid."""
    if not 0 <= index < size:
        raise ProofInvalid("index outside the tree")
    position, last = index, size - 1
    value = leaf
    for step in proof:
        if last == 0:
            raise ProofInvalid("proof too long")
        if position & 1 or position == last:
            value = node_hash(step, value)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            value = node_hash(value, step)
        position >>= 1
        last >>= 1
    if last or value != expected:
        raise ProofInvalid("inclusion not proved")


def verify_consistency(old_size: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `size` extends the one of `old_size` (RFC 9162 2.1.4.2). Raises: ProofInvalid."""
    if not 0 <= old_size <= size:
        raise ProofInvalid("sizes out of order")
    if old_size in (0, size):
        same = old_root == (new_root if old_size else EMPTY_ROOT)
        if proof or not same:
            raise ProofInvalid("consistency not proved")
        return
    steps = list(proof)
    if not old_size & (old_size - 1):
        steps.insert(0, old_root)
    if not steps:
        raise ProofInvalid("proof too short")
    position, last = old_size - 1, size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise ProofInvalid("proof too long")
        if position & 1 or position == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, step)
        position >>= 1
        last >>= 1
    if last or old != old_root or new != new_root:
        raise ProofInvalid("consistency not proved")


class Frontier:
    """A tree reduced to the roots of its full subtrees (a compact range from 0), largest first."""

    __slots__ = ("_nodes", "size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._nodes = list(nodes)
        if size < 0 or len(self._nodes) != size.bit_count() or any(len(node) != HASH_BYTES for node in self._nodes):
            raise ValueError("nodes do not fit the size")

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        size, nodes = self.size, self._nodes
        while size & 1:
            leaf = sha256(b"\x01" + nodes.pop() + leaf).digest()
            size >>= 1
        nodes.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in order."""
        append = self.append
        for leaf in leaves:
            append(leaf)

    def root(self) -> bytes:
        """Root of the tree so far."""
        if not self._nodes:
            return EMPTY_ROOT
        value = self._nodes[-1]
        for node in reversed(self._nodes[:-1]):
            value = node_hash(node, value)
        return value

    def beyond(self, start: int) -> "Frontier":
        """The part from `start` on, itself a tree. Raises: ValueError when no full subtree begins at `start`."""
        at = place = 0
        while at < start and place < len(self._nodes):
            at += 1 << (self.size - at).bit_length() - 1
            place += 1
        if at != start:
            raise ValueError("no subtree begins there")
        return Frontier(self.size - start, self._nodes[place:])

    def node(self, start: int, end: int) -> bytes | None:
        """The root over the leaves from `start` up to `end` where it is one of the nodes."""
        at = 0
        for node in self._nodes:
            width = 1 << (self.size - at).bit_length() - 1
            if (at, at + width) == (start, end):
                return node
            at += width
        return None

    def to_bytes(self) -> bytes:
        """The nodes, to be kept beside the size."""
        return b"".join(self._nodes)

    @classmethod
    def from_bytes(cls, size: int, nodes: bytes) -> "Frontier":
        """What `to_bytes` wrote. Raises: ValueError when it does not fit the size."""
        return cls(size, [nodes[at : at + HASH_BYTES] for at in range(0, len(nodes), HASH_BYTES)])


def _split(width: int) -> int:
    """Largest power of two smaller than `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _subroot(leaves: Sequence[bytes], start: int, end: int) -> bytes:
    frontier = Frontier()
    frontier.extend(leaves[start:end])
    return frontier.root()


def _path(index: int, start: int, end: int) -> list[tuple[int, int]]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(index, start, middle), (middle, end)]
    return [*_path(index, middle, end), (start, middle)]


def _subproof(old: int, start: int, end: int, *, whole: bool) -> list[tuple[int, int]]:
    if old == end:
        return [] if whole else [(start, end)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof(old, start, middle, whole=whole), (middle, end)]
    return [*_subproof(old, middle, end, whole=False), (start, middle)]
