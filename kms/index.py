"""Blind index terms: what a sealed value is found by when only a part of it is known. Pure; keys are given.

A value leaves keyed, cut HMACs of its beginnings, ends and pieces: beginnings and ends of 2 to 8 signs (so last-4 and
last-6 are ends), pieces of two and three signs, and single signs of scripts that write words with one (Chinese). Each
purpose has a key of its own. Terms are cut to 40 bits: they narrow down, and `matches` decides on the opened value, so
a false hit costs a read and never a wrong answer. A change of these rules is another `VERSION`.
"""

import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kms import normalise
from kms.envelope import FieldKey
from kms.surrogate import BANK_CARD, ID_CARD, PHONE

VERSION = f"1.{normalise.VERSION}"
"""Rules of this module and of `normalise`, in every term."""
PREFIX, SUFFIX, PART = "prefix", "suffix", "part"
PURPOSES = (PREFIX, SUFFIX, PART)
ENDS = range(2, 9)
"""Lengths of beginnings and ends that are indexed, in code points."""
LONGEST = 2000
"""Signs of a value that are indexed; what comes after them is not found by its parts."""
TERM_BYTES = 5  # false hits of a query: values / 2^40
NUMBERS = frozenset({PHONE, ID_CARD, BANK_CARD})

_WIDE = 0x2E80  # CJK radicals: from here on one sign can be a word
_BLANKS = re.compile(r"\s+")
_NUMBER = re.compile(r"[0-9xX+\s\-./()·]*\Z")
_SEPARATORS = re.compile(r"[^0-9x+]")


class SearchTooShort(ValueError):  # noqa: N818 - says what is wrong
    """Nothing in the pattern is long enough to look for; typing more helps."""

    permanent = True


@dataclass(frozen=True)
class Pattern:
    """What is looked for: literal pieces in order, with whatever between them.

    pieces: never empty strings, at least one. starts, ends: the first piece is the beginning, the last one the end of
    the value. gaps: regular expressions before the first piece, between two, after the last; () for anything.
    """

    pieces: tuple[str, ...]
    starts: bool = False
    ends: bool = False
    gaps: tuple[str, ...] = ()

    def in_form(self, pieces: Sequence[str]) -> "Pattern":
        """The same with its pieces spelled otherwise."""
        return Pattern(tuple(pieces), self.starts, self.ends, self.gaps)

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """The same as a regular expression for whole values."""
        gaps = self.gaps or _gaps(len(self.pieces), self.starts, self.ends)
        body = gaps[0] + "".join(re.escape(piece) + gap for piece, gap in zip(self.pieces, gaps[1:], strict=True))
        return re.compile(body, re.DOTALL)


def _gaps(count: int, starts: bool, ends: bool) -> tuple[str, ...]:
    return ("" if starts else ".*", *[".*"] * (count - 1), "" if ends else ".*")


def pattern(how: str, text: str) -> Pattern:
    """The pattern of one comparison. how: "equals", "prefix", "suffix", "contains" or "like" (`%`, `_`, escape `\\`).

    Raises SearchTooShort when nothing but wild cards is in it; ValueError for another comparison.
    """
    if how == "like":
        return _like(text)
    if how not in ("equals", "prefix", "suffix", "contains"):
        raise ValueError(f"no such comparison: {how}")
    if not text.strip():
        raise SearchTooShort("nothing to search for")
    return Pattern((text,), how in ("equals", "prefix"), how in ("equals", "suffix"))


def _like(text: str) -> Pattern:
    pieces: list[str] = []
    gaps = [""]
    at, literal = 0, ""
    while at < len(text):
        sign = text[at]
        if sign == "\\" and at + 1 < len(text):
            literal, at = literal + text[at + 1], at + 2
            continue
        at += 1
        if sign not in "%_":
            literal += sign
            continue
        if literal:
            pieces.append(literal)
            gaps.append("")
            literal = ""
        gaps[-1] += ".*" if sign == "%" else "."
    if literal:
        pieces.append(literal)
        gaps.append("")
    if not "".join(pieces).strip():
        raise SearchTooShort("nothing to search for")
    return Pattern(tuple(pieces), not gaps[0], not gaps[-1], tuple(gaps))


def _folded(text: str) -> str:
    """`normalise.folded` for a piece of a text: blanks at its ends count."""
    once = _BLANKS.sub(" ", unicodedata.normalize("NFKC", text)).casefold()
    return unicodedata.normalize("NFKC", once)


def _compact(text: str) -> str:
    """Digits, `+` and the check sign of an ID card, without separators."""
    return _SEPARATORS.sub("", _folded(text))


def forms(kind: str, clear: str) -> tuple[str, ...]:
    """The spellings under which a value is indexed: folded, and for numbers without separators as well."""
    text = normalise.folded(clear)[:LONGEST]
    if kind not in NUMBERS:
        return (text,)
    return tuple(dict.fromkeys((text, _compact(text))))


def asked_forms(kind: str, wanted: Pattern) -> tuple[Pattern, ...]:
    """The spellings in which a pattern can match; a number of separators only is none."""
    found = [wanted.in_form([_folded(piece) for piece in wanted.pieces])]
    if kind in NUMBERS and all(_NUMBER.match(unicodedata.normalize("NFKC", piece)) for piece in wanted.pieces):
        compact = [_compact(piece) for piece in wanted.pieces]
        if all(compact):
            found.append(wanted.in_form(compact))
    return tuple(found)


def matches(kind: str, wanted: Pattern, clear: str) -> bool:
    """Whether a clear value fits, whatever its case, width, blanks and (numbers) separators are."""
    return any(
        asked.expression.fullmatch(form)
        for asked, form in zip(asked_forms(kind, wanted), _whole_forms(kind, clear), strict=False)
    )


def _whole_forms(kind: str, clear: str) -> tuple[str, ...]:
    text = normalise.folded(clear)
    return (text, _compact(text)) if kind in NUMBERS else (text,)


def _is_wide(text: str) -> bool:
    return any(ord(sign) >= _WIDE for sign in text)


def _grams(text: str, length: int) -> list[str]:
    return [text[at : at + length] for at in range(len(text) - length + 1)]


def written_grams(kind: str, clear: str) -> dict[str, set[str]]:
    """Purpose → the pieces of a value that become its terms."""
    found: dict[str, set[str]] = {purpose: set() for purpose in PURPOSES}
    for text in forms(kind, clear):
        for length in ENDS:
            if length <= len(text):
                found[PREFIX].add(text[:length])
                found[SUFFIX].add(text[-length:])
        if text and _is_wide(text[0]):
            found[PREFIX].add(text[0])
        if text and _is_wide(text[-1]):
            found[SUFFIX].add(text[-1])
        found[PART].update(sign for sign in text if _is_wide(sign))
        found[PART].update(_grams(text, 2))
        found[PART].update(gram for gram in _grams(text, 3) if not _is_wide(gram))
    return found


def asked_grams(wanted: Pattern) -> dict[str, set[str]]:
    """Purpose → the pieces that every value fitting one form of a pattern has; raises SearchTooShort for none."""
    found: dict[str, set[str]] = {}
    last = len(wanted.pieces) - 1
    for number, piece in enumerate(wanted.pieces):
        if number == 0 and wanted.starts:
            head = piece[: ENDS[-1]]
            if len(head) >= ENDS[0] or _is_wide(head):
                found.setdefault(PREFIX, set()).add(head)
        if number == last and wanted.ends:
            tail = piece[-ENDS[-1] :]
            if len(tail) >= ENDS[0] or _is_wide(tail):
                found.setdefault(SUFFIX, set()).add(tail)
        parts = {gram for gram in _grams(piece, 3) if not _is_wide(gram)}
        parts |= {gram for gram in _grams(piece, 2) if _is_wide(gram)}
        parts = parts or set(_grams(piece, 2)) or {sign for sign in piece if _is_wide(sign)}
        if parts:
            found.setdefault(PART, set()).update(parts)
    if not found:
        raise SearchTooShort("what is searched for is too short")
    return found


def term(key: FieldKey, kind: str, purpose: str, gram: str) -> int:
    """HMAC-SHA-256 over version, kind, purpose and piece, each with its length, cut to 40 bits."""
    parts = [b"crmgate index\0"]
    for text in (VERSION, kind, purpose, gram):
        part = text.encode("utf-8", "surrogatepass")
        parts += [len(part).to_bytes(4), part]
    return int.from_bytes(hmac.digest(key.secret, b"".join(parts), "sha256")[:TERM_BYTES])


def terms(key: FieldKey, kind: str, purpose: str, grams: Iterable[str]) -> list[int]:
    """Terms of pieces under one key, in an order that tells nothing."""
    return sorted({term(key, kind, purpose, gram) for gram in grams})


@dataclass(frozen=True, slots=True)
class IndexRow:
    """Terms of one value for one purpose under one key."""

    surrogate: str
    kind: str
    purpose: str
    key: bytes
    terms: tuple[int, ...]


def rows(keys: Mapping[str, FieldKey], kind: str, surrogate: str, clears: Iterable[str]) -> list[IndexRow]:
    """What is stored of a value and its other spellings. keys: purpose → current key."""
    grams: dict[str, set[str]] = {purpose: set() for purpose in PURPOSES}
    for clear in clears:
        for purpose, found in written_grams(kind, clear).items():
            grams[purpose] |= found
    return [
        IndexRow(surrogate, kind, purpose, keys[purpose].id, tuple(terms(keys[purpose], kind, purpose, found)))
        for purpose, found in grams.items()
    ]


Alternative = Mapping[str, Sequence[Sequence[int]]]
"""Purpose → for each live key the terms a value must have; each purpose must be met, under one of its keys."""


def alternatives(
    keys: Mapping[str, Sequence[FieldKey]], kind: str, wanted: Pattern
) -> list[dict[str, list[list[int]]]]:
    """How the store is asked for a pattern, one entry a spelling. keys: purpose → all live keys.

    Raises SearchTooShort when no spelling has a piece that is long enough.
    """
    found: list[dict[str, list[list[int]]]] = []
    short: SearchTooShort | None = None
    for asked in asked_forms(kind, wanted):
        try:
            grams = asked_grams(asked)
        except SearchTooShort as fault:
            short = fault
            continue
        one = {purpose: [terms(key, kind, purpose, some) for key in keys[purpose]] for purpose, some in grams.items()}
        if one not in found:
            found.append(one)
    if not found:
        raise short or SearchTooShort("what is searched for is too short")
    return found
