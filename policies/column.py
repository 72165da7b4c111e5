"""Columns that a request names in order to filter, sort or group by them.

A clause without an operand ("is set"), an order and a group tell about values as well, so each name counts. A name that
the profile lists neither as a field nor as `open` may hold anything. Plain values; gateway.columns decides by them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.operation import FieldSpec, Where

_INSIDE = re.compile(r"\(([^()]*)\)")  # of `total:max(email)`: the name in front is one that the answer gets


@dataclass(frozen=True, slots=True)
class ClauseShape:
    """Keys of a filter clause that is a JSON object: its column, its operator, and where operands may stand."""

    column: str
    operator: str
    operands: frozenset[str]


def name_pattern(template: str) -> re.Pattern[str]:
    """`filter[{}]` as a pattern: `{}` is a column, and what may follow in brackets an operator."""
    before, _, after = template.partition("{}")
    return re.compile(rf"{re.escape(before)}(?P<column>[^\[\]]+){re.escape(after)}(?:\[(?P<operator>[^\[\]]*)\])?")


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """Where a request names columns.

    selector: leaves that hold one name, or several between `split`; a sign before it and words behind it ("-name",
    "name desc", "date:month") are no part of it. order: sorts or groups, so whoever asks learns how values compare;
    else filters. columns: name → field, None for free text. open: patterns of names that hold nothing personal.
    whole: operators that compare whole values; presence: those that only ask whether there is one. operator: the
    sibling key of the name that holds the operator; "" where there is none. clauses: the selector covers domains, lists
    of `[column, operator, operand]`. named: the leaf's own name holds the column, and maybe the operator
    (`filter[phone][like]`).
    """

    where: "Where"
    selector: tuple[str, ...]
    columns: "Mapping[str, FieldSpec | None]"
    open: tuple[str, ...] = ()
    order: bool = False
    split: str = ","
    operator: str = ""
    whole: frozenset[str] = frozenset()
    presence: frozenset[str] = frozenset()
    clauses: bool = False
    named: re.Pattern[str] | None = None

    def names(self, text: str) -> Iterator[str]:
        """The bare column names in a leaf."""
        for one in text.split(self.split) if self.order and self.split else (text,):
            words = one.strip().lstrip("+-").split()
            if words:
                inside = _INSIDE.search(one)
                yield inside[1].strip() if inside is not None else words[0].partition(":")[0]

    def in_name(self, name: str) -> tuple[str, str] | None:
        """Column and operator in the name of a leaf; the whole name where it has an odd shape, None without one."""
        if self.named is None:
            return None
        found = self.named.fullmatch(name)
        return (found["column"], found["operator"] or "=") if found is not None else (name, "")

    def is_open(self, name: str) -> bool:
        """Whether a column holds nothing personal."""
        return any(fnmatchcase(name, pattern) for pattern in self.open)

    def known(self, name: str) -> str | None:
        """The key of `columns` that a dotted name means: the longest ending; None for an unknown one."""
        rest = name
        while True:
            if rest in self.columns:
                return rest
            _, dot, rest = rest.partition(".")
            if not dot:
                return None
