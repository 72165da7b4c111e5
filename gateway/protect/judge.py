"""What one field of one record is, and where the personal values in it stand. Pure: no vault, no CRM.

Declared values are taken whole, line by line where an address has room for that; free text gives the parts that
recognisers or known names find. What is ours already stays.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.body.leaf import Leaf
from gateway.treatment import Target, Treatment, is_lines
from kms.scanner import Hit, Scanner
from kms.surrogate import SHAPES, Shapes, no_match
from policies.profile import FieldSpec
from policies.taxonomy import Kind
from privacy import known, recognise, validate

NO_ROOM, MIXED, SPELLING = "no-room", "mixed", "spelling"
_LINE = re.compile("[^\r\n]+")


class State(StrEnum):
    """How a field stands. NOTHING: free text without personal parts."""

    CLEAR = "clear"
    PROTECTED = "protected"
    EMPTY = "empty"
    NOTHING = "nothing"
    UNFIT = "unfit"


@dataclass(slots=True)
class Piece:
    """A part of a text that becomes a surrogate; offsets are characters of the text before."""

    start: int
    end: int
    kind: str
    clear: str = field(repr=False)
    verbatim: bool = False
    surrogate: str = ""


@dataclass(slots=True)
class Judged:
    """One field. why: for UNFIT, a stable id."""

    state: State
    pieces: list[Piece] = field(default_factory=list)
    why: str = ""


def spans(text: str, hits: Iterable[Hit]) -> list[tuple[int, int]]:
    """Character offsets of hits that were found in the UTF-8 of a text."""
    data = text.encode("utf-8", "surrogatepass")
    return [
        (len(data[: hit.start].decode("utf-8", "surrogatepass")), len(data[: hit.end].decode("utf-8", "surrogatepass")))
        for hit in hits
    ]


def own_hits(scanner: Scanner, text: str, ours: Collection[str]) -> list[Hit]:
    """Surrogates in a text that the vault knows."""
    return [hit for hit in scanner.find(text.encode("utf-8", "surrogatepass")) if hit.canonical in ours]


def judge(
    text: str,
    spec: FieldSpec,
    limit: int,
    taken: Sequence[tuple[int, int]],
    names: Mapping[str, str],
    shapes: Shapes = SHAPES,
) -> Judged:
    """What a field is. limit: characters the field takes, 0 for unknown; taken: spans that are surrogates already;
    names: known names and addresses → kind, for free text."""
    if not text.strip():
        return Judged(State.EMPTY)
    room = min((one for one in (spec.max_chars, limit) if one > 0), default=0)
    judged = _value(text, spec, room, taken) if spec.kind is not None else _text(text, taken, names)
    if judged.state is State.CLEAR and room:
        longer = sum(len(no_match(one.kind, shapes)) - (one.end - one.start) for one in judged.pieces)
        if longer > 0 and len(text) + longer > room:
            return Judged(State.UNFIT, why=NO_ROOM)
    return judged


def kind_for(spec: FieldSpec, text: str) -> str:
    """The kind a declared value is stored as: its own, or short text where the value is not one of that kind."""
    kind = str(spec.kind)
    try:
        validate.check(kind, text, 0)
    except validate.ValueRefused:
        return str(Kind.ADDRESS) if kind == Kind.ADDRESS else str(Kind.NAME)
    return kind


def written(text: str, pieces: Iterable[Piece]) -> tuple[str, list[tuple[int, str]]]:
    """The text with its pieces replaced, and where each surrogate begins in it."""
    out: list[str] = []
    places: list[tuple[int, str]] = []
    at = size = 0
    for piece in sorted(pieces, key=lambda one: one.start):
        before = text[at : piece.start]
        places.append((size + len(before), piece.surrogate))
        out += [before, piece.surrogate]
        size += len(before) + len(piece.surrogate)
        at = piece.end
    return "".join(out) + text[at:], places


def restored(text: str, places: Sequence[tuple[int, int, str]]) -> str:
    """A text with (start, end, clear) places replaced, in order."""
    out: list[str] = []
    at = 0
    for start, end, clear in places:
        out += [text[at:start], clear]
        at = end
    return "".join(out) + text[at:]


def _value(text: str, spec: FieldSpec, room: int, taken: Sequence[tuple[int, int]]) -> Judged:
    if is_lines(Target(Leaf(("value",), text), Treatment.VALUE, _roomy(spec, room))):
        return _parts(text, spec, [one.span() for one in _LINE.finditer(text) if one[0].strip()], taken)
    if taken:
        bare = _without(text, taken)
        return Judged(State.UNFIT, why=MIXED) if bare.strip() else Judged(State.PROTECTED)
    return Judged(State.CLEAR, [Piece(0, len(text), kind_for(spec, text), text)])


def _parts(text: str, spec: FieldSpec, parts: list[tuple[int, int]], taken: Sequence[tuple[int, int]]) -> Judged:
    pieces: list[Piece] = []
    for start, end in parts:
        inside = [(max(a, start) - start, min(b, end) - start) for a, b in taken if a < end and b > start]
        if not inside:
            pieces.append(Piece(start, end, kind_for(spec, text[start:end]), text[start:end]))
        elif _without(text[start:end], inside).strip():
            return Judged(State.UNFIT, why=MIXED)
    return Judged(State.CLEAR, pieces) if pieces else Judged(State.PROTECTED)


def _text(text: str, taken: Sequence[tuple[int, int]], names: Mapping[str, str]) -> Judged:
    found = recognise.find(text)
    if not found and (whole := recognise.whole(text)) is not None:
        found = [whole]
    pieces = [
        Piece(one.start, one.end, str(one.kind), one.text, verbatim=True)
        for one in found
        if _apart(one.start, one.end, taken)
    ]
    busy = [*taken, *((piece.start, piece.end) for piece in pieces)]
    if names:
        candidates = [one for one in known.known_candidates(text) if one[2] in names]
        pieces += [
            Piece(start, end, names[part], part)
            for start, end, part in known.choose(candidates)
            if _apart(start, end, busy)
        ]
    if pieces:
        return Judged(State.CLEAR, sorted(pieces, key=lambda piece: piece.start))
    return Judged(State.PROTECTED if taken else State.NOTHING)


def _roomy(spec: FieldSpec, room: int) -> FieldSpec:
    return FieldSpec(spec.entity, spec.name, spec.kind, room)


def _without(text: str, taken: Sequence[tuple[int, int]]) -> str:
    return restored(text, [(start, end, "") for start, end in taken])


def _apart(start: int, end: int, taken: Iterable[tuple[int, int]]) -> bool:
    return all(end <= at or start >= stop for at, stop in taken)
