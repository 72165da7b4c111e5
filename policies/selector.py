"""Selectors over the leaves of a request: which rule says what a leaf is.

A leaf is a string with the path of keys that leads to it (form: the field name; JSON: keys and decimal indexes; a
form field or parameter that holds JSON: its name, then the path inside). `*` stands for one step, `**` for any
number, and a step may be an fnmatch pattern. Everything here is pure and total: hostile paths give "no rule", never
an exception.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from policies.column import ClauseShape
from policies.operation import BodyRule, FieldSpec, Operation, SearchRule, Where
from policies.steps import ONE_OR_NONE, ends_alike, is_pattern, named_last
from policies.steps import matches as matches

LISTS = frozenset({"in", "not in"})
"""Operators whose operand is a list."""


def rule_for(
    rules: Iterable[BodyRule],
    path: Sequence[str],
    siblings: Mapping[str, str] | None = None,
    *,
    text: str = "",
    leaves: Mapping[tuple[str, ...], str] | None = None,
) -> tuple[BodyRule, FieldSpec | None] | None:
    """The first rule that covers a leaf, with the field it names (None: free text, only personal parts are replaced).

    siblings: string values of the same object. text: the leaf's own value, used by rules that go by shape. leaves:
    all leaves, used by rules that go by a header row.
    """
    last = path[-1] if path else ""
    for rule in rules:
        end = rule.selector[-1]
        if end == ONE_OR_NONE and not ends_alike(rule.selector, named_last(path)):
            continue
        if end != last and not is_pattern(end):
            continue  # most rules end in a plain name: this keeps big bodies cheap
        if matches(rule.selector, path):
            return rule, _field_of(rule, path, siblings or {}, text, leaves or {})
    return None


def _field_of(
    rule: BodyRule,
    path: Sequence[str],
    siblings: Mapping[str, str],
    text: str,
    leaves: Mapping[tuple[str, ...], str],
) -> FieldSpec | None:
    if rule.by_sibling is not None:
        named = siblings.get(rule.by_sibling[0])
        if named is not None and named in rule.by_sibling[1]:
            return rule.by_sibling[1][named]
    if rule.by_column is not None:
        header = leaves.get((*rule.by_column[0], path[-1]), "")
        column = header.rpartition("/")[2].partition(":")[0]
        if column not in rule.by_column[1]:
            return rule.field
        found = rule.by_column[1][column]
        if found is not None:
            return found
    if rule.by_shape is not None:
        shape = looks_like(text)
        if shape is not None and shape in rule.by_shape:
            return rule.by_shape[shape]
    return rule.field


def looks_like(text: str) -> str | None:
    """ "email" for a value with one @ and no spaces, "phone" for 5 to 15 digits without letters; else None."""
    text = text.strip()
    if text.count("@") == 1 and not any(sign.isspace() for sign in text) and not text.startswith(("@", "http")):
        return "email"
    digits = sum(sign.isdecimal() for sign in text)
    return "phone" if 5 <= digits <= 15 and not any(sign.isalpha() for sign in text) else None


class Treatment(StrEnum):
    """What is done with one leaf of a request body."""

    LEAVE = "leave"
    FIELD = "field"
    TEXT = "text"
    WHOLE = "whole"


def treatment(
    operation: Operation,
    path: Sequence[str],
    siblings: Mapping[str, str] | None = None,
    *,
    text: str = "",
    leaves: Mapping[tuple[str, ...], str] | None = None,
) -> tuple[Treatment, FieldSpec | None]:
    """How a leaf of this operation's body is treated.

    FIELD: the whole value is of the field's kind. TEXT: free text, its personal parts are replaced (the field says
    whose text it is, None for undeclared text). WHOLE: replaced only if the whole value is recognisably personal.
    LEAVE: never looked into.
    """
    if operation.left_alone:
        return Treatment.LEAVE, None
    found = rule_for(operation.rules, path, siblings, text=text, leaves=leaves)
    if found is not None:
        spec = found[1]
        return (Treatment.TEXT if spec is None or spec.kind is None else Treatment.FIELD), spec
    if any(matches(selector, path) for selector in operation.untouched):
        return Treatment.LEAVE, None
    return Treatment.WHOLE, None


def names_one_place(
    operation: Operation, path: Sequence[str], siblings: Mapping[str, str] | None = None, *, text: str = ""
) -> bool:
    """Whether the rule that covers a leaf names exactly one place, so that the leaf is all that its field holds."""
    found = rule_for(operation.rules, path, siblings, text=text)
    if found is None or (found[0].element and any(step.isdecimal() for step in path)):
        return False
    return not any(is_pattern(step) and step != ONE_OR_NONE for step in found[0].selector)


def operands(
    rule: SearchRule, leaves: Mapping[tuple[str, ...], str]
) -> Iterator[tuple[tuple[str, ...], str, FieldSpec | None]]:
    """Operands that one search rule finds among the string leaves of a request: (leaf path, operator, field).

    A plain rule yields every covered leaf with the operator "=". A domain rule (`columns` given) looks for clauses,
    lists whose items 0 and 1 are column and operator and whose item 2 is the operand or a list of them, anywhere
    under its selector.
    """
    if rule.columns is None:
        for path in leaves:
            if matches(rule.selector, path):
                yield path, "=", rule.field
        return
    inside = (*rule.selector, "**")
    for path in leaves:
        if not matches(inside, path):
            continue
        clause = _clause_of(path, leaves) if rule.clause is None else _object_clause(rule.clause, path, leaves)
        if clause is None:
            continue
        column, operator = clause
        yield path, operator, column_field(rule.columns, column)


def search_operands(
    operation: Operation, where: Where, leaves: Mapping[tuple[str, ...], str]
) -> Iterator[tuple[tuple[str, ...], str, FieldSpec | None, SearchRule]]:
    """Operands of an operation in one part of a request, each leaf once: the last rule that covers it counts.

    Yields (leaf path, operator, field or None when the operand itself decides, the rule).
    """
    found = {}
    for rule in operation.searches:
        if rule.where is where:
            found.update({path: (operator, spec, rule) for path, operator, spec in operands(rule, leaves)})
    for path, (operator, spec, rule) in found.items():
        yield path, operator, spec, rule


def leaves_in(
    operation: Operation,
    where: Where,
    parameters: Mapping[tuple[str, ...], str],
    leaves: Mapping[tuple[str, ...], str],
) -> Mapping[tuple[str, ...], str]:
    """The leaves of one part of a request. parameters: of its query; leaves: of its body."""
    if where is Where.PATH:
        return {(name,): value for name, value in operation.placed} if operation.batch is None else {}
    return parameters if where is Where.QUERY else leaves


def _clause_of(path: tuple[str, ...], leaves: Mapping[tuple[str, ...], str]) -> tuple[str, str] | None:
    """Column and operator of the clause a leaf is the operand of: `[column, operator, operand | [operand, …]]`."""
    # A list first: its third element stands at "2" of the list, as an operand stands at "2" of its clause.
    for cut in (2, 1):
        if len(path) > cut and path[-cut] == "2":
            column = leaves.get((*path[:-cut], "0"))
            operator = leaves.get((*path[:-cut], "1"))
            if column is not None and operator is not None and (cut == 1 or operator in LISTS):
                return column, operator
    return None


def _object_clause(
    shape: ClauseShape, path: tuple[str, ...], leaves: Mapping[tuple[str, ...], str]
) -> tuple[str, str] | None:
    """The same where a clause is an object: `{column, operator, operand | [operand, …]}`."""
    for cut in (1, 2):
        if len(path) > cut and path[-cut] in shape.operands:
            column = leaves.get((*path[:-cut], shape.column))
            if column is not None:
                return column, leaves.get((*path[:-cut], shape.operator), "")
    return None


def column_field(columns: Mapping[str, FieldSpec | None], column: str) -> FieldSpec | None:
    """The field behind a dotted column name: the longest known ending wins (`a.mechanisms.value` → `value`)."""
    name = column
    while True:
        if name in columns:
            return columns[name]
        _, dot, name = name.partition(".")
        if not dot:
            return None
