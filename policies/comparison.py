"""Where a request orders, compares or looks into columns that hold protected values: only profiles know.

What stands in a CRM instead of a value has an order and signs of its own, which mean nothing; while values still stand
in clear, order and parts tell them, sign by sign, to whoever may ask often enough. So both go by rule, never unseen.
Pure functions over the leaves of a request.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from policies.decision import FieldView, Form
from policies.operation import FieldSpec, Where
from policies.selector import matches

ORDER, PART = "order", "part"
_STEPS = 12  # of a lookup: more than any CRM has relations in a row
RANGES = frozenset({"<", "<=", ">", ">=", "gt", "gte", "lt", "lte", "range"})
EMPTY = frozenset({"isnull", "empty"})
"""Comparisons that only ask whether there is a value at all."""

Leaves = Mapping[tuple[str, ...], str]


class By(StrEnum):
    """How a request names a column and what is done with it.

    ORDER: the leaf is a column, with a direction perhaps, or several. CLAUSE: `[column, operator, operand]` under the
    selector; only ranges count, for search answers the rest; with `parts` everything does. LOOKUP:
    `[column__comparison, operand]` under it, as Django writes it. CONDITION: objects with column and comparison at
    places of their own. NAMED: the name of the leaf is `column__comparison`, the leaf the operand. TEXT: the leaf is
    looked for in parts of all the fields listed.
    """

    ORDER = "order"
    CLAUSE = "clause"
    LOOKUP = "lookup"
    CONDITION = "condition"
    NAMED = "named"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ComparisonRule:
    """One place of a request.

    pages: operation ids (fnmatch). columns: name → the fields whose values stand in it; the longest known ending of a
    dotted name counts, and `""` is a box without a column. anyway: columns by which the CRM orders such lists by
    itself. column, comparison, operand: where a CONDITION has them. named: the CRM's own names of comparisons → `gt`
    (any range), `empty`, or another word. split: the sign between several columns of an ORDER. parts: search looks for
    parts in these columns as they were typed.
    """

    pages: tuple[str, ...]
    by: By
    where: Where
    selector: tuple[str, ...]
    columns: Mapping[str, tuple[FieldSpec, ...]]
    anyway: frozenset[str] = frozenset()
    column: tuple[str, ...] = ()
    comparison: tuple[str, ...] = ()
    operand: tuple[str, ...] = ()
    named: Mapping[str, str] | None = None
    parts: bool = False
    split: str = ","


@dataclass(frozen=True, slots=True)
class Compared:
    """One protected column that a request orders by or compares.

    comparison: ORDER, PART, or the CRM's word for it. text: what is looked for, of a box without a column. operand:
    where the leaf or leaves begin that the column is compared with.
    """

    column: str
    comparison: str
    fields: tuple[FieldSpec, ...]
    anyway: bool = False
    text: str = ""
    operand: tuple[str, ...] = ()

    def asks_with(self, path: tuple[str, ...]) -> bool:
        """Whether a leaf is compared with the column for more than whether it is there."""
        length = len(self.operand)
        return length > 0 and self.comparison not in EMPTY and path[:length] == self.operand


def find(rules: Iterable[ComparisonRule], operation_id: str, where: Where, leaves: Leaves) -> Iterator[Compared]:
    """Protected columns that one part of a request orders by or compares."""
    for rule in rules:
        if rule.where is where and any(fnmatchcase(operation_id, page) for page in rule.pages):
            yield from _FINDERS[rule.by](rule, leaves)


def _orders(rule: ComparisonRule, leaves: Leaves) -> Iterator[Compared]:
    for path, text in leaves.items():
        if matches(rule.selector, path):
            for part in text.split(rule.split):
                column = part.strip().lstrip("+-").partition(" ")[0].partition(":")[0]
                fields = _fields(rule, column)
                if fields:
                    yield Compared(column, ORDER, fields, column in rule.anyway)


def _clauses(rule: ComparisonRule, leaves: Leaves) -> Iterator[Compared]:
    inside = (*rule.selector, "**", "1")
    for path, operator in leaves.items():
        if (rule.parts or operator in RANGES) and matches(inside, path):
            column = leaves.get((*path[:-1], "0"), "").partition(":")[0]
            fields = _fields(rule, column)
            operand = leaves.get((*path[:-1], "2"))
            several = (*path[:-1], "2", "0") in leaves
            if fields and (operator in RANGES or operand or several):
                yield Compared(column, operator, fields, text=(operand or "").strip(" %"))


def _lookups(rule: ComparisonRule, leaves: Leaves) -> Iterator[Compared]:
    inside = (*rule.selector, "**", "0")
    for path, text in leaves.items():
        if not matches(inside, path):
            continue
        yield from _lookup(rule, text, (*path[:-1], "1"))


def _named(rule: ComparisonRule, leaves: Leaves) -> Iterator[Compared]:
    for path in leaves:
        if len(path) == 1 and matches(rule.selector, path):
            yield from _lookup(rule, path[0], path)


def _lookup(rule: ComparisonRule, text: str, operand: tuple[str, ...]) -> Iterator[Compared]:
    """The column in a Django lookup, also behind relations (`contacts__phone__startswith`)."""
    steps = text.split("__")
    if len(steps) > _STEPS:
        # Not taken apart, whatever it asks for: it counts as a part of anything.
        yield Compared("", PART, next(iter(rule.columns.values()), ()), operand=operand)
        return
    for start in range(len(steps)):
        for end in range(len(steps), start, -1):
            column = "__".join(steps[start:end])
            fields = rule.columns.get(column)
            if fields:
                yield Compared(column, "__".join(steps[end:]) or "exact", fields, operand=operand)
                return


def _conditions(rule: ComparisonRule, leaves: Leaves) -> Iterator[Compared]:
    inside = (*rule.selector, "**", *rule.column)
    for path, column in leaves.items():
        if matches(inside, path):
            fields = _fields(rule, column)
            if fields:
                whole = path[: -len(rule.column)]
                told = leaves.get((*whole, *rule.comparison), "")
                operand = (*whole, *rule.operand)
                yield Compared(column, (rule.named or {}).get(told, PART), fields, operand=operand)


def _boxes(rule: ComparisonRule, leaves: Leaves) -> Iterator[Compared]:
    for path, text in leaves.items():
        if text.strip() and matches(rule.selector, path):
            yield Compared(path[0], PART, rule.columns[""], text=text.strip())


def sees_clear(view: FieldView, spec: FieldSpec, *, somewhere: bool = False) -> bool:
    """Whether a role sees a field of every record in clear, or of some; a free text with all that may stand in it."""
    kinds = view.by_kind if spec.kind is None else (spec.kind,)
    rules = [view.rule(spec.entity, spec.name, kind) for kind in kinds]
    if somewhere:
        return all(Form.CLEAR in (rule.own, rule.other) for rule in rules)
    return all(rule.own is rule.other is Form.CLEAR for rule in rules)


_FINDERS: Mapping[By, Callable[[ComparisonRule, Leaves], Iterator[Compared]]] = {
    By.ORDER: _orders,
    By.CLAUSE: _clauses,
    By.LOOKUP: _lookups,
    By.CONDITION: _conditions,
    By.NAMED: _named,
    By.TEXT: _boxes,
}


def _fields(rule: ComparisonRule, column: str) -> tuple[FieldSpec, ...]:
    while column:
        found = rule.columns.get(column)
        if found is not None:
            return found
        column = column.partition(".")[2]
    return ()


def compile_comparisons(
    source: Iterable[Mapping[str, Any]], resolve: Callable[[str | None, str, str], FieldSpec | None]
) -> tuple[ComparisonRule, ...]:
    """The rules of a validated profile source; `resolve` looks fields up and notes what does not exist."""

    def specs(names: Iterable[str]) -> tuple[FieldSpec, ...]:
        found = (resolve(name, "", "comparisons") for name in names)
        return tuple(spec for spec in found if spec is not None)

    rules = []
    for entry in source:
        select, columns = entry["select"], entry.get("columns", {})
        rules.append(
            ComparisonRule(
                tuple(entry["pages"]),
                By(entry["by"]),
                Where(entry["where"]),
                (select,) if isinstance(select, str) else tuple(select),
                {name: specs([one] if isinstance(one, str) else one) for name, one in columns.items()}
                or {"": specs(entry.get("fields", ()))},
                frozenset(entry.get("anyway", ())),
                tuple(entry.get("column", ())),
                tuple(entry.get("comparison", ())),
                tuple(entry.get("operand", ())),
                entry.get("named"),
                entry.get("parts", False),
                entry.get("split", ","),
            )
        )
    return tuple(rules)
