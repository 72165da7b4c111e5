"""The signed description of a segment, and the chain that the descriptions of a log form.

A manifest is a signed note (C2SP) whose text is one line of canonical JSON, signed with the key that signs checkpoints.
It says which entries the files hold, what the files' bytes are, how the Merkle tree stood before and after, and by
which signed checkpoint that is covered. Each names the SHA-256 of the one before.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from audit.archive import SegmentBroken
from audit.note import NoteInvalid, Verifier, origin_of
from audit.tree import HASH_BYTES, Frontier, ProofInvalid, verify_consistency

FORMAT = "crmgate-audit-segment/1"
EVENT_FILE, SIGHT_FILE = "event", "sight"
SOUGHT_FILE = "sought"  # since 2026-11-27; a segment without one may hold anything
_OPTIONS = orjson.OPT_SORT_KEYS
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file of a segment. name: in the store; version: the store's own, "" where it has none."""

    name: str
    bytes: int
    sha256: str
    rows: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class ClassShare:
    """How many entries of a retention class are in a segment, and when the last of them happened."""

    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Manifest:
    """One segment. before, after: the tree in front of `first` and behind `last`; growth: from there to `checkpoint`.

    previous: SHA-256 of the manifest before, "" at the beginning; versions: formats of its entries.
    """

    tenant: str
    first: int
    last: int
    at_first: datetime
    at_last: datetime
    sealed_at: datetime
    files: Mapping[str, SealedFile]
    classes: Mapping[str, ClassShare]
    before: Frontier
    after: Frontier
    checkpoint: str
    growth: tuple[bytes, ...]
    previous: str
    versions: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of entries."""
        return self.last - self.first + 1

    def text(self) -> str:
        """One line of canonical JSON, which is what is signed."""
        told = {
            "after": _hashes(self.after),
            "at_first": _time(self.at_first),
            "at_last": _time(self.at_last),
            "before": _hashes(self.before),
            "checkpoint": self.checkpoint,
            "classes": {
                name: {"count": one.count, "last_at": _time(one.last_at)} for name, one in self.classes.items()
            },
            "count": self.count,
            "files": {
                kind: {
                    "bytes": one.bytes, "name": one.name, "rows": one.rows, "sha256": one.sha256,
                    "version": one.version,
                }
                for kind, one in self.files.items()
            },
            "first": self.first,
            "format": FORMAT,
            "growth": [step.hex() for step in self.growth],
            "last": self.last,
            "previous": self.previous,
            "root": self.after.root().hex(),
            "sealed_at": _time(self.sealed_at),
            "tenant": self.tenant,
            "versions": list(self.versions),
        }  # fmt: skip
        return orjson.dumps(told, option=_OPTIONS).decode() + "\n"


def digest(note: str) -> str:
    """SHA-256 of a manifest's bytes, by which the next one names it."""
    return sha256(note.encode()).hexdigest()


def open_manifest(note: str, tenant: str, verifier: Verifier) -> Manifest:
    """A manifest, its signature, its roots and the checkpoint that covers it checked. Raises: SegmentBroken."""
    try:
        line, bound = _opened(note, origin_of(tenant), verifier)
        told = orjson.loads(line)
        if orjson.dumps(told, option=_OPTIONS).decode() + "\n" != line or told["format"] != FORMAT:
            raise SegmentBroken(f"{tenant}: a manifest is not canonical or of another format")
        found = _read(told)
        covered = verifier.open_checkpoint(found.checkpoint, origin_of(tenant))
        verify_consistency(found.after.size, found.after.root(), covered.size, covered.root, found.growth)
    except (NoteInvalid, ProofInvalid, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise SegmentBroken(f"{tenant}: a manifest is not ours or damaged: {type(fault).__name__}") from None
    kinds_fit = {EVENT_FILE, SIGHT_FILE} == found.files.keys() - {SOUGHT_FILE}
    files_fit = kinds_fit and found.files[EVENT_FILE].rows == found.count
    shares = sum(share.count for share in found.classes.values())
    root_fits = told["root"] == found.after.root().hex() and told["count"] == found.count == shares
    if bound is not None and found.after.size > bound:
        raise SegmentBroken(f"{tenant}: a manifest was signed by the earlier key after it was replaced")
    if found.tenant != tenant or not 0 <= found.first <= found.last or not files_fit or not root_fits:
        raise SegmentBroken(f"{tenant}: the manifest of entries {found.first} to {found.last} contradicts itself")
    return found


def _opened(note: str, origin: str, verifier: Verifier) -> tuple[str, int | None]:
    """The signed text; and up to which size it counts, where a key signed it that was replaced. Raises: NoteInvalid."""
    try:
        return verifier.open(note, origin), None
    except NoteInvalid:
        if verifier.earlier is None:
            raise
        return Verifier(verifier.earlier.public).open(note, origin), verifier.earlier.upto.get(origin)


def check_chain(
    notes: Sequence[str], tenant: str, verifier: Verifier, opened: MutableMapping[str, Manifest] | None = None
) -> list[Manifest]:
    """Every manifest of a log from its beginning, each following the one before.

    opened: manifests of this log that were opened before, by their digest; new ones are added. Raises: SegmentBroken.
    """
    found: list[Manifest] = []
    previous, tree = "", Frontier()
    for note in notes:
        name = digest(note)
        one = (opened or {}).get(name) or open_manifest(note, tenant, verifier)
        if opened is not None:
            opened[name] = one
        if one.first != tree.size or one.previous != previous or one.before.to_bytes() != tree.to_bytes():
            raise SegmentBroken(f"{tenant}: the manifest of entries {one.first} to {one.last} does not follow")
        previous, tree = name, one.after
        found.append(one)
    return found


def _read(told: Mapping[str, Any]) -> Manifest:
    first, last = told["first"], told["last"]
    if not isinstance(first, int) or not isinstance(last, int):
        raise TypeError
    return Manifest(
        tenant=told["tenant"],
        first=first,
        last=last,
        at_first=_read_time(told["at_first"]),
        at_last=_read_time(told["at_last"]),
        sealed_at=_read_time(told["sealed_at"]),
        files={kind: _read_file(one) for kind, one in told["files"].items()},
        classes={
            name: ClassShare(int(one["count"]), _read_time(one["last_at"])) for name, one in told["classes"].items()
        },
        before=Frontier(first, _read_hashes(told["before"])),
        after=Frontier(last + 1, _read_hashes(told["after"])),
        checkpoint=told["checkpoint"],
        growth=tuple(_read_hashes(told["growth"])),
        previous=told["previous"],
        versions=tuple(told["versions"]),
    )


def _read_file(told: Mapping[str, Any]) -> SealedFile:
    if not _HEX.fullmatch(told["sha256"]) or ".." in told["name"]:
        raise ValueError
    return SealedFile(told["name"], int(told["bytes"]), told["sha256"], int(told["rows"]), str(told["version"]))


def _hashes(tree: Frontier) -> list[str]:
    packed = tree.to_bytes()
    return [packed[at : at + HASH_BYTES].hex() for at in range(0, len(packed), HASH_BYTES)]


def _read_hashes(told: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(one) for one in told]


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _read_time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError
    return at
