"""Which answers of a CRM can be put together: a list or search that takes one value, asked once for each of several.

Data and its compilation only; gateway/merging.py does what it says. Paths are keys of JSON objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]
Scalar = str | int | float | bool | None
MOST_VALUES = 40


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column that rows are ordered by. kind: text (code points), number, time (ISO 8601)."""

    path: Path
    descending: bool = False
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class AskedOrder:
    """Where a request chooses the order itself, and the keys of the columns it may choose.

    place: query parameter or JSON path of the column's name (a list of orders has to have one element); direction:
    where the direction stands, () where a sign before the name says it. descending: what says so ("": saying nothing).
    columns: the name in the request → key of the row.
    """

    place: Path
    direction: Path = ()
    descending: tuple[str, ...] = ("desc", "DESC", "DESCENDING")
    columns: Mapping[str, SortKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paging:
    """How a request asks for a page. body: the parameters are members of a JSON body, not of the query.

    offset: rows to leave out; page: number of the page, the first one is `first`. size: rows of a page, `default` where
    the request does not say, at most `most`. ask: rows that the gateway asks for at once. text: a body holds the offset
    as a text (a cursor that is a number).
    """

    size: str
    default: int
    offset: str = ""
    page: str = ""
    first: int = 1
    most: int = 0
    ask: int = 100
    body: bool = False
    text: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """A member of the answer that counts the rows whose `key` has a value, before `only` takes some out."""

    at: Path
    key: Path
    value: Scalar


@dataclass(frozen=True, slots=True)
class Told:
    """A member that follows from the page: see gateway.merging for the kinds. of: rows of a page, where not asked."""

    at: Path
    kind: str
    of: int = 0


@dataclass(frozen=True, slots=True)
class MergedList:
    """One list of rows in an answer. copies: places of the same list; totals: places of the number of all rows.

    more: where the answer says whether there is another page.
    """

    rows: Path
    id: Path
    copies: tuple[Path, ...] = ()
    totals: tuple[Path, ...] = ()
    more: Path = ()
    tallies: tuple[Tally, ...] = ()
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Only:
    """A parameter of the query that keeps some rows while the tallies count all: the rows are kept here instead."""

    parameter: str
    key: Path
    values: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class MergeRule:
    """What has to be known of a list or search to ask it several times and answer as if it had been asked once.

    untold: members that nobody can tell for all values together; they become null. refused: parameters with which
    answers cannot be merged. empty: statuses of an answer without a body that has no rows. most: values at most.
    operators: those of clauses that may be asked value by value, because what any value finds is what is looked for.
    """

    paging: Paging
    lists: tuple[MergedList, ...]
    sort: tuple[SortKey, ...]
    asked: AskedOrder | None = None
    only: Only | None = None
    untold: tuple[Path, ...] = ()
    refused: frozenset[str] = frozenset()
    empty: frozenset[int] = frozenset()
    links: tuple[Told, ...] = ()
    most: int = MOST_VALUES
    operators: frozenset[str] = frozenset()


def compile_merges(source: Mapping[str, Any]) -> dict[str, MergeRule]:
    """The rules of a validated `merges` member, by name."""
    return {name: _rule(entry) for name, entry in source.items()}


def _rule(entry: Mapping[str, Any]) -> MergeRule:
    only, asked = entry.get("only"), entry.get("asked")
    return MergeRule(
        Paging(**entry["paging"]),
        tuple(_list(one) for one in entry["lists"]),
        tuple(map(_key, entry["sort"])),
        None
        if asked is None
        else AskedOrder(
            tuple(asked["place"]),
            tuple(asked.get("direction", ())),
            tuple(asked.get("descending", ("desc", "DESC", "DESCENDING"))),
            {name: _key(one) for name, one in asked["columns"].items()},
        ),
        None if only is None else Only(only["parameter"], tuple(only["key"]), dict(only["values"])),
        _paths(entry.get("untold", ())),
        frozenset(entry.get("refused", ())),
        frozenset(entry.get("empty", ())),
        tuple(_told(one) for one in entry.get("links", ())),
        entry.get("most", MOST_VALUES),
        frozenset(entry.get("operators", ())),
    )


def _list(entry: Mapping[str, Any]) -> MergedList:
    return MergedList(
        tuple(entry["rows"]),
        tuple(entry["id"]),
        _paths(entry.get("copies", ())),
        _paths(entry.get("totals", ())),
        tuple(entry.get("more", ())),
        tuple(Tally(tuple(one["at"]), tuple(one["key"]), one["value"]) for one in entry.get("tallies", ())),
        tuple(_told(one) for one in entry.get("told", ())),
    )


def _key(entry: Mapping[str, Any]) -> SortKey:
    return SortKey(tuple(entry["key"]), entry.get("descending", False), entry.get("as", "text"))


def _told(entry: Mapping[str, Any]) -> Told:
    return Told(tuple(entry["at"]), entry["is"], entry.get("of", 0))


def _paths(entries: Sequence[Sequence[str]]) -> tuple[Path, ...]:
    return tuple(tuple(one) for one in entries)
