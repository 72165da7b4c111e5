"""Finds personal values by their shape in any text: the net under what no profile declares.

One google-re2 scan nominates places (linear in the text, whatever it holds); each place is then verified with check
digits, prefixes and numbering plans. E-mail, phone, ID card and bank card are found, in running Chinese too: digits
may touch CJK characters, so boundaries are ASCII only (`\\w` and `\\b` count CJK as word characters).
Surrogates and masks of our own are never found. Escaped text (percent, HTML, JSON) is decoded by the caller first.
Names and addresses have no shape: see privacy.known.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import re2

from policies.taxonomy import Kind
from privacy.email import find_at, is_address
from privacy.number import match_at


@dataclass(frozen=True, slots=True)
class Found:
    """One recognised value; start and end are character offsets, text is the slice as written."""

    start: int
    end: int
    kind: str
    text: str


# Separators that people and CRMs put inside numbers, and invisible characters that copying leaves behind.
_SPACES = "\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\u3000\u00b7"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_FOLD = (
    {ord(c): " " for c in _SPACES}
    | {ord(c): "-" for c in _DASHES}
    | dict.fromkeys(map(ord, _INVISIBLE))
    | {0xFF08: "(", 0xFF09: ")", 0xFF0B: "+", 0xFF0E: ".", 0xFF38: "X", 0xFF58: "x"}
)

AT, PLUS = "@\uff20", "+\uff0b"
SEPARATORS = " ().-" + _SPACES + _DASHES + _INVISIBLE + "\uff08\uff09\uff0e"
_SEPARATOR = "[" + SEPARATORS.replace("-", r"\-") + "]"
_DIGIT = r"\p{Nd}"
# At least 11 digits: the shortest number without a plus sign is a Chinese mobile. With a plus sign 7 (E.164 minimum).
SHAPES = (
    f"[{AT}][0-9A-Za-z\u0080-\U0010ffff]"
    f"|[{PLUS}]{_SEPARATOR}?{_DIGIT}(?:{_SEPARATOR}{{0,3}}{_DIGIT}){{6,}}"
    f"|{_DIGIT}(?:{_SEPARATOR}{{0,3}}{_DIGIT}){{10,}}[Xx\uff38\uff58]?"
)
"""What every recognised value holds, for google-re2; the shape nominates and proves nothing."""
_NOMINATE = re2.compile(SHAPES)
# Where a number may begin inside a run: the first group of every known way of writing has these digits.
_GROUP_START = re.compile(
    r"(?<![0-9])(?:\+|00|0(?=[1-9][0-9])|1(?=[3-9][0-9]|[1-5][0-9]{4}|[ \-][3-9][ \-])|8(?=6)|[2-9](?=[0-9]{3}))"
)


def find(text: str) -> list[Found]:
    """Every recognised value, ordered and non-overlapping; linear in the length of the text."""
    emails: list[Found] = []
    numbers: list[Found] = []
    for start, end in _nominated(text):
        if text[start] in "@\uff20":
            span = find_at(text, start)
            if span is None:
                continue
            begin = max(span[0], emails[-1].end if emails else 0)  # two without anything between them
            if begin < start:
                emails.append(Found(begin, span[1], Kind.EMAIL, text[begin : span[1]]))
        else:
            numbers.extend(_numbers(text, start, end, glued=bool(emails) and emails[-1].end == start))
    if not emails or not numbers:
        return emails or numbers
    taken = iter(emails)
    email: Found | None = next(taken)
    kept = list(emails)
    for number in numbers:
        while email is not None and email.end <= number.start:
            email = next(taken, None)
        if email is None or number.end <= email.start:
            kept.append(number)
    return sorted(kept, key=lambda found: found.start)


def nominated_in(data: bytes) -> list[int]:
    """Byte offsets in UTF-8 at which `find` would look closer: where there is none, it finds nothing."""
    return [match.start() for match in _NOMINATE.finditer(data)]


def whole(text: str) -> Found | None:
    """The value, when the text apart from surrounding white space is exactly one; offsets point into `text`."""
    trimmed = text.strip()
    if not 6 <= len(trimmed) <= 320:
        return None
    start = text.index(trimmed)
    end = start + len(trimmed)
    if is_address(trimmed):
        return Found(start, end, Kind.EMAIL, trimmed)
    found = find(trimmed)
    if len(found) == 1 and found[0].start == 0 and found[0].end == len(trimmed):
        return Found(start, end, found[0].kind, trimmed)
    return None


def _nominated(text: str) -> Iterator[tuple[int, int]]:
    """Character spans worth a closer look. RE2 works on bytes; "replace" keeps one character one character."""
    data = text.encode("utf-8", "replace")
    if len(data) == len(text):
        for match in _NOMINATE.finditer(data):
            yield match.span()
        return
    byte = char = 0
    for match in _NOMINATE.finditer(data):
        first, last = match.span()
        start = char + len(data[byte:first].decode())
        char = start + len(data[first:last].decode())
        byte = last
        yield start, char


def _numbers(text: str, start: int, end: int, *, glued: bool) -> Iterator[Found]:
    """The verified numbers inside one nominated run of digits and separators; glued: an address ends right before."""
    raw = text[start:end]
    run, places = (raw, None) if raw.isascii() else _folded(raw)
    before = "" if glued else text[max(0, start - 80) : start]
    after = text[end : end + 8]
    position = 0
    for group in _GROUP_START.finditer(run):
        if group.start() < position:
            continue
        number = match_at(run, group.start(), before, after)
        if number is None:
            continue
        position = number.end
        if number.kind is None:
            continue
        begin = start + (number.start if places is None else places[number.start])
        finish = start + (number.end if places is None else places[number.end - 1] + 1)
        written = run[number.start : number.end]
        if begin and written.count(")") > written.count("(") and text[begin - 1] in "(\uff08":
            begin -= 1  # (010) 6255 1234
        yield Found(begin, finish, number.kind, text[begin:finish])


def _folded(raw: str) -> tuple[str, list[int] | None]:
    """The run in ASCII, and where each of its characters stands in `raw` when invisible ones were dropped."""
    places = None
    if any(char in raw for char in _INVISIBLE):
        places = [index for index, char in enumerate(raw) if char not in _INVISIBLE]
    folded = raw.translate(_FOLD)
    if not folded.isascii():
        folded = "".join(c if c.isascii() else str(unicodedata.decimal(c, "?"))[0] for c in folded)
    return folded, places
