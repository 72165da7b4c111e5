"""`$filter` and `$orderby` over records in memory, as OData means them; independent of the gateway's own reader."""

import re
from collections.abc import Callable
from typing import Any

from tests.hosted.rows import Unsupported
from tests.hosted.service import Record

Value = Callable[[Record, str], Any]
Holds = Callable[[Record], bool]

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[0-9A-Za-z_][\w./:-]*|[(),])")
_FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
_COMPARES: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda one, other: one == other,
    "ne": lambda one, other: one != other,
    "gt": lambda one, other: one > other,
    "lt": lambda one, other: one < other,
    "ge": lambda one, other: one >= other,
    "le": lambda one, other: one <= other,
}


def condition(text: str, value: Value) -> Holds:
    """What a filter asks of a record. value: a property of a record, perhaps over navigation properties."""
    words, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unsupported(f"character at {at}")
        words.append(match[1])
        at = match.end()
    reader = _Reader(words, value)
    found = reader.either()
    if reader.words:
        raise Unsupported(f"behind the end: {reader.words[0]}")
    return found


class _Reader:
    """Takes words from the front of a list."""

    def __init__(self, words: list[str], value: Value) -> None:
        self.words = words
        self.value = value

    def take(self, *wanted: str) -> str:
        """The next word, which has to be one of these if any are given."""
        if not self.words or (wanted and self.words[0] not in wanted):
            raise Unsupported(f"expected {' or '.join(wanted)}")
        return self.words.pop(0)

    def comes(self, word: str) -> bool:
        """Whether this is the next word; takes it then."""
        found = self.words[:1] == [word]
        if found:
            self.words.pop(0)
        return found

    def either(self) -> Holds:
        """Conditions joined by or."""
        first = self.both()
        while self.comes("or"):
            left, right = first, self.both()
            first = lambda row, left=left, right=right: left(row) or right(row)  # noqa: E731
        return first

    def both(self) -> Holds:
        """Conditions joined by and."""
        first = self.one()
        while self.comes("and"):
            left, right = first, self.one()
            first = lambda row, left=left, right=right: left(row) and right(row)  # noqa: E731
        return first

    def one(self) -> Holds:
        """One condition."""
        if self.comes("not"):
            inner = self.one()
            return lambda row: not inner(row)
        if self.comes("("):
            inner = self.either()
            self.take(")")
            return inner
        name = self.take()
        if name in _FUNCTIONS:
            self.take("(")
            column = self.take()
            self.take(",")
            part = _literal(self.take())
            self.take(")")
            return lambda row: _FUNCTIONS[name](_folded(self.value(row, column)), _folded(part))
        operator = self.take(*_COMPARES, "in")
        if operator == "in":
            self.take("(")
            members = [_literal(self.take())]
            while self.comes(","):
                members.append(_literal(self.take()))
            self.take(")")
            return lambda row: _folded(self.value(row, name)) in [_folded(one) for one in members]
        given = _literal(self.take())
        if given is None:
            return lambda row: (self.value(row, name) is None) == (operator == "eq")
        return lambda row: _COMPARES[operator](_folded(self.value(row, name)), _folded(given))


def _literal(word: str) -> str | None:
    if word == "null":
        return None
    return word[1:-1].replace("''", "'") if word.startswith("'") else word


def _folded(value: Any) -> str:
    """Dataverse compares texts without case."""
    return str("" if value is None else value).lower()
