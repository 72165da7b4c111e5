"""Proofs made from the stored log, and the file that carries one to somebody who has nothing but our public key.

A proof needs the roots of some subtrees. Every stored checkpoint keeps the frontier of its tree, so a subtree's root
takes the newest checkpoint inside it and the few entries after that one: milliseconds whatever the size of the log.
Nothing of the database is believed: each proof is checked against the signed root before it is handed out.

The file is c2sp.org/tlog-proof@v1 with the entry's bytes as its extra data. The format does not authenticate extra
data; the bytes are, since their hash is the leaf that the path begins with.
"""

import base64
import contextlib
import re
from dataclasses import dataclass

from audit import store
from audit.archive import Archive, NoArchive
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of, unbase64
from audit.tree import (
    HASH_BYTES,
    PROOF_LIMIT_HASHES,
    Frontier,
    ProofInvalid,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)

HEADER = "c2sp.org/tlog-proof@v1"
EXTENSION = ".tlog-proof"
FILE_LIMIT_BYTES = 2_000_000
_NONE = NoArchive()
_INDEX_LINE = re.compile(r"index (0|[1-9][0-9]{0,18})")


class EntryNotSigned(Exception):  # noqa: N818 - a state
    """There is no such entry, or no checkpoint covers it yet; for a new entry trying again in seconds helps."""

    permanent = False


class StoredLogBroken(Exception):  # noqa: N818 - a verdict
    """What is stored does not lead to the signed root: verify the log."""

    permanent = True


@dataclass(frozen=True, slots=True)
class EntryProof:
    """That `body` is entry `index` of the log that the signed `note` describes. path: lowest hash first."""

    index: int
    body: bytes
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The proof file."""
        lines = [HEADER, f"extra {base64.b64encode(self.body).decode()}", f"index {self.index}"]
        lines += [base64.b64encode(step).decode() for step in self.path]
        return "\n".join([*lines, "", self.note])

    @classmethod
    def from_text(cls, text: str) -> "EntryProof":
        """The proof in a file, nothing of it checked yet. Raises: ProofInvalid when it is no proof file."""
        if len(text) > FILE_LIMIT_BYTES:
            raise ProofInvalid("the file is too long for a proof")
        head, seam, note = text.partition("\n\n")
        lines = head.split("\n")
        if not seam or len(lines) < 3 or lines[0] != HEADER or not lines[1].startswith("extra "):
            raise ProofInvalid(f"not a {HEADER} file with the entry's bytes")
        index = _INDEX_LINE.fullmatch(lines[2])
        if index is None or len(lines) - 3 > PROOF_LIMIT_HASHES:
            raise ProofInvalid("no index, or too many hashes")
        try:
            body = unbase64(lines[1].removeprefix("extra "))
            path = tuple(unbase64(line, HASH_BYTES) for line in lines[3:])
        except NoteInvalid:
            raise ProofInvalid("a line is not base64 of the right length") from None
        return cls(int(index[1]), body, path, note)

    def check(self, verifier: Verifier, origin: str, name: str = "") -> Checkpoint:
        """Check signature and path; the checkpoint that covers the entry. Raises: NoteInvalid, ProofInvalid."""
        checkpoint = verifier.open_checkpoint(self.note, origin, name)
        verify_inclusion(leaf_hash(self.body), self.index, checkpoint.size, self.path, checkpoint.root)
        return checkpoint


class EntryDropped(Exception):  # noqa: N818 - a state
    """Neither in the database nor in the archive at hand: it is sealed elsewhere, or its time is over."""

    permanent = True


async def prove_entry(
    connection: store.Connection, tenant: str, index: int, verifier: Verifier, archive: Archive = _NONE
) -> EntryProof:
    """The checked proof of an entry against the newest checkpoint; best inside one snapshot.

    Raises: EntryNotSigned, EntryDropped, StoredLogBroken, SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    latest = await store.latest_checkpoint(connection, tenant)
    if latest is None or not 0 <= index < latest.size:
        signed = f"0 to {latest.size - 1}" if latest else "none"
        raise EntryNotSigned(f"entry {index} is not signed; signed entries of {tenant}: {signed}")
    body = await store.body(connection, tenant, index)
    if body is None and index < (await store.hot(connection, tenant)).start:
        body = next(iter(await archive.bodies(tenant, index, index + 1)), None)
        if body is None:
            raise EntryDropped(f"entry {index} is not in the database and not in the archive")
    if body is None:
        raise StoredLogBroken(f"entry {index} is missing")
    try:
        ranges = inclusion_ranges(index, latest.size)
        path = [await subtree_root(connection, tenant, *part, archive) for part in ranges]
        proof = EntryProof(index, body, tuple(path), latest.note)
        checkpoint = proof.check(verifier, origin_of(tenant))
    except (NoteInvalid, ProofInvalid) as fault:
        raise StoredLogBroken(f"entry {index} cannot be proved: {fault}") from None
    if checkpoint.size != latest.size:
        raise StoredLogBroken(f"the stored checkpoint at {latest.size} was signed for another size")
    return proof


async def prove_growth(
    connection: store.Connection, tenant: str, old: Checkpoint, new: Checkpoint, archive: Archive = _NONE
) -> list[bytes]:
    """The checked proof that the log of `new` begins with that of `old`; at most 63 hashes.

    Raises: StoredLogBroken, EntryDropped, SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    try:
        ranges = consistency_ranges(old.size, new.size)
        proof = [await subtree_root(connection, tenant, *part, archive) for part in ranges]
        verify_consistency(old.size, old.root, new.size, new.root, proof)
    except (ProofInvalid, IndexError) as fault:
        raise StoredLogBroken(f"growth from {old.size} to {new.size} cannot be proved: {fault}") from None
    return proof


async def subtree_root(
    connection: store.Connection, tenant: str, start: int, end: int, archive: Archive = _NONE
) -> bytes:
    """Root over the entries from `start` up to `end`, a subtree of RFC 6962; unchecked.

    Where entries left the database, the tree of the segment in front of the hot part has what proofs of later entries
    need; proofs about earlier ones read leaf hashes from the archive.
    Raises: StoredLogBroken, EntryDropped, SegmentBroken, ArchiveUnavailable.
    """
    frontier = Frontier()
    hot = await store.hot(connection, tenant)
    sealed = _tree(hot)
    node = sealed.node(start, end)
    if node is not None:
        return node
    # A whole subtree on the right is part of a larger node in the frontier of a tree that ends with it.
    whole = start & -start == end - start
    kept = await store.checkpoint_within(connection, tenant, start, end - 1 if whole else end)
    if kept is not None:
        try:
            frontier = Frontier.from_bytes(kept.size, kept.frontier).beyond(start)
        except ValueError:
            raise StoredLogBroken(f"the stored checkpoint at {kept.size} does not fit its frontier") from None
    if start + frontier.size < hot.start < end:
        with contextlib.suppress(ValueError):  # then the range begins inside a node, and the archive has the leaves
            frontier = sealed.beyond(start)
    while start + frontier.size < end:
        at = start + frontier.size
        if at < hot.start:
            part = await archive.leaves(tenant, at, min(end, hot.start))
        else:
            part = await store.next_leaves(connection, tenant, at, end)
        if not part and at < hot.start:
            raise EntryDropped(f"leaf hashes from entry {at} on are in the archive, which is not at hand")
        if not part:
            raise StoredLogBroken(f"entry {start + frontier.size} is missing")
        frontier.extend(part)
    return frontier.root()


def _tree(hot: store.Hot) -> Frontier:
    try:
        return Frontier.from_bytes(hot.start, hot.frontier)
    except ValueError:
        raise StoredLogBroken(f"the segment before entry {hot.start} does not fit its frontier") from None
