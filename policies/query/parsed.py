"""The words of a query that was understood: columns, tests with their operands, uses, and where each of them stands.

Spans are offsets into the text as it came. The same words serve every language, so that rights are judged in one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LONGEST_CHARS = 100_000
"""Longest query any of the hosted CRMs takes (SOQL)."""
MOST_TOKENS = 5_000
MOST_LEVELS = 40


class QueryInvalid(ValueError):  # noqa: N818 - says what is wrong
    """A query that was not understood as a whole; what: a stable word for the audit trail, never text of the query."""

    permanent = True

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Purpose(StrEnum):
    """What a query uses a column for, beside the tests of its filter."""

    SELECT = "select"
    FILTER = "filter"
    SORT = "sort"
    GROUP = "group"
    AGGREGATE = "aggregate"


class Compare(StrEnum):
    """How a test compares; whether it is denied stands beside it."""

    EQUAL = "equal"
    AMONG = "among"
    LIKE = "like"
    RANGE = "range"
    EMPTY = "empty"
    PICKED = "picked"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the query names it: the object of its query with the relations that lead below it, and its path."""

    table: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a column. function: its lower-case name, "" without one; alias: the name the answer gives it."""

    purpose: Purpose
    column: Column
    function: str = ""
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """One value in a query. text: what it means; a pattern (`%`, `_`, escape `\\`) where its test is LIKE.

    start, end: its span, quotation marks included; quoted: whether it is written as a text.
    """

    text: str
    start: int
    end: int
    quoted: bool = True


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of a column. start, end: all of it; operator: start of its operator; written: the column as text.

    denied: whether the operator itself says not (`!=`, `not in`); function: around the column.
    """

    column: Column
    compare: Compare
    operands: tuple[Operand, ...]
    start: int
    end: int
    operator: int
    written: str
    denied: bool = False
    function: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was understood.

    loose: operands that belong to no column that a rule could name; aliases: names that the query gives to objects.
    """

    text: str
    language: str
    tests: tuple[Test, ...] = ()
    uses: tuple[Use, ...] = ()
    loose: tuple[Operand, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Beginning:
    """How stored surrogates begin or end; a comparison in clear leaves these out."""

    text: str
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What one operand becomes: any of these values; in_clear: or what stands there unprotected, without surrogates.

    parts: of a column that the CRM makes of others (a full name) those columns, with the values that each may have;
    then the whole test is asked about them.
    """

    values: Sequence[str]
    in_clear: bool = False
    without: Sequence[Beginning] = ()
    parts: Sequence[tuple[str, Sequence[str]]] = ()


def edited(text: str, edits: Sequence[tuple[int, int, str]]) -> str:
    """The text with stretches replaced; raises ValueError where two of them overlap."""
    parts, at = [], 0
    for start, end, new in sorted(edits):
        if start < at or end < start:
            raise ValueError("two edits overlap")
        parts += [text[at:start], new]
        at = end
    return "".join((*parts, text[at:]))
