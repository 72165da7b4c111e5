"""Columns by which a request filters, sorts or groups: a field that somebody may not see must not tell its values so.

A filter takes the right to search by the field, an order or a group takes seeing it clear in every record, because they
show how values compare. A column that the profile does not know may hold anything and is for those who see everything.
(gateway.comparing judges the columns that a profile lists under `comparisons`; here nothing passes that is not listed.)
"""

from collections.abc import Iterator, Mapping

from gateway.exchange import Exchange
from gateway.refusal import FIELD_NOT_ORDERED, FIELD_NOT_SEARCHABLE, SEARCH_WHILE_CLEAR, SEARCH_WHOLE_ONLY, Refusal
from gateway.sight import decided
from policies.column import ColumnRule
from policies.decision import FieldView, Form
from policies.operation import FieldSpec, Operation, StorageForm, Where
from policies.selector import matches

Path = tuple[str, ...]
_CONNECTIVES = frozenset({"&", "|", "!"})  # of domains in prefix form; two of them side by side look like a clause


def require_columns(
    exchange: Exchange, operation: Operation, where: Where, leaves: Mapping[Path, str], *, clear: bool = False
) -> None:
    """Refuse what would be an oracle. clear: whether values may still stand in clear in free text.

    Raises Refusal FIELD_NOT_SEARCHABLE, FIELD_NOT_ORDERED, SEARCH_WHOLE_ONLY, SEARCH_WHILE_CLEAR.
    """
    view = decided(exchange).view
    for rule in operation.columns:
        if rule.where is not where:
            continue
        for path, name, operator in named(rule, leaves):
            if rule.is_open(name):
                continue
            known = rule.known(name)
            if known is None:
                if not view.sees_everything:
                    reason = FIELD_NOT_ORDERED if rule.order else FIELD_NOT_SEARCHABLE
                    raise Refusal(reason, detail="column", fields=(path[-1],))
                continue
            _require(view, rule, rule.columns[known], operator, clear=clear)


def named(rule: ColumnRule, leaves: Mapping[Path, str]) -> Iterator[tuple[Path, str, str]]:
    """(leaf, column, operator) of every column that a request names; the operator is "" where there is none."""
    inside = (*rule.selector, "**") if rule.clauses else rule.selector
    for path, text in leaves.items():
        if not matches(inside, path):
            continue
        operator = ""
        inside_name = rule.in_name(path[-1])
        if inside_name is not None:
            yield path, *inside_name
            continue
        if rule.clauses:
            found = leaves.get((*path[:-1], "1")) if path[-1:] == ("0",) else None
            if found is None:
                continue
            operator = found
        elif rule.operator:
            operator = leaves.get((*path[:-1], rule.operator), "")
        for name in rule.names(text):
            if name not in _CONNECTIVES:
                yield path, name, operator


def _require(view: FieldView, rule: ColumnRule, spec: FieldSpec | None, operator: str, *, clear: bool) -> None:
    if spec is None or spec.kind is None:
        # Free text holds values of any kind.
        if rule.order and not view.sees_everything:
            raise Refusal(FIELD_NOT_ORDERED, detail="order")
        if clear and not view.sees_everything and operator not in rule.presence:
            raise Refusal(SEARCH_WHILE_CLEAR, detail="text")
        return
    if rule.order:
        right = view.rule(spec.entity, spec.name, spec.kind)
        if right.own is not Form.CLEAR or right.other is not Form.CLEAR or spec.form is not StorageForm.SURROGATE:
            raise Refusal(FIELD_NOT_ORDERED, detail="order", fields=(spec.name,))
        return
    if not view.rule(spec.entity, spec.name, spec.kind).searchable:
        raise Refusal(FIELD_NOT_SEARCHABLE, detail=spec.kind, fields=(spec.name,))
    if rule.whole and operator not in rule.whole and operator not in rule.presence:
        raise Refusal(SEARCH_WHOLE_ONLY, fields=(spec.name,))
