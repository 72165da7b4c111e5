"""A column that somebody may not see is neither filtered, sorted nor grouped by."""

from datetime import UTC, datetime

import pytest

from gateway.columns import require_columns
from gateway.exchange import Exchange, Head
from gateway.refusal import Refusal
from policies.column import ColumnRule
from policies.decision import Decision, FieldRule, FieldView, Form
from policies.operation import Action, FieldSpec, Operation, Where
from policies.taxonomy import Kind

EMAIL = FieldSpec("contact", "email", Kind.EMAIL, 254)
COLUMNS = {"email": EMAIL, "note": None}
HIDDEN = FieldRule()
MASKED = FieldRule(Form.MASKED, Form.MASKED, searchable=True)
OWN = FieldRule(Form.CLEAR, Form.MASKED, searchable=True)
CLEAR = FieldRule(Form.CLEAR, Form.CLEAR, searchable=True)
FILTER = ColumnRule(
    Where.JSON,
    ("f", "*", "name"),
    COLUMNS,
    ("id",),
    operator="op",
    whole=frozenset({"EQ"}),
    presence=frozenset({"SET"}),
)
ORDER = ColumnRule(Where.JSON, ("sort",), COLUMNS, ("id",), order=True)
DOMAIN = ColumnRule(Where.JSON, ("domain",), COLUMNS, ("id",), whole=frozenset({"="}), clauses=True)


def outcome(
    rule: ColumnRule,
    right: FieldRule,
    leaves: dict[tuple[str, ...], str],
    *,
    everything: bool = False,
    clear: bool = False,
) -> str:
    exchange = Exchange("x1", datetime(2026, 3, 1, tzinfo=UTC), Head("POST", "/", "/", "", "h", (), True, None))
    view = FieldView("v1", {("contact", "email"): right}, {}, sees_everything=everything)
    exchange.decision = Decision(True, "allowed", view)
    operation = Operation("contact.search", "contact", Action.SEARCH, columns=(rule,))
    try:
        require_columns(exchange, operation, Where.JSON, leaves, clear=clear)
    except Refusal as refusal:
        return refusal.reason.id
    return "passes"


def clause(name: str, operator: str) -> dict[tuple[str, ...], str]:
    return {("f", "0", "name"): name, ("f", "0", "op"): operator, ("f", "0", "value"): "x"}


@pytest.mark.parametrize(
    ("right", "name", "operator", "expected"),
    [
        (HIDDEN, "email", "EQ", "field-not-searchable"),
        (HIDDEN, "email", "SET", "field-not-searchable"),
        (HIDDEN, "id", "GT", "passes"),
        (HIDDEN, "custom", "SET", "field-not-searchable"),
        (MASKED, "email", "EQ", "passes"),
        (MASKED, "email", "SET", "passes"),
        (MASKED, "email", "GT", "search-whole-only"),
        (MASKED, "owner.email", "GT", "search-whole-only"),
        (CLEAR, "email", "", "search-whole-only"),
    ],
)
def test_filters(right: FieldRule, name: str, operator: str, expected: str) -> None:
    assert outcome(FILTER, right, clause(name, operator)) == expected


@pytest.mark.parametrize(
    ("right", "text", "expected"),
    [
        (MASKED, "id, -email", "field-not-ordered"),
        (OWN, "email desc", "field-not-ordered"),
        (CLEAR, "email desc", "passes"),
        (CLEAR, "note", "field-not-ordered"),
        (CLEAR, "custom", "field-not-ordered"),
        (HIDDEN, "id", "passes"),
        (MASKED, "id:max(email)", "field-not-ordered"),
        (MASKED, "id, total:count_distinct( email )", "field-not-ordered"),
        (CLEAR, "email:month", "passes"),
    ],
)
def test_orders(right: FieldRule, text: str, expected: str) -> None:
    assert outcome(ORDER, right, {("sort",): text}) == expected


def test_who_sees_everything_may_name_any_column() -> None:
    assert outcome(ORDER, CLEAR, {("sort",): "note, custom"}, everything=True) == "passes"
    assert outcome(FILTER, CLEAR, clause("custom", "GT"), everything=True) == "passes"


def test_texts_are_not_searched_for_parts_while_values_may_stand_in_clear() -> None:
    assert outcome(FILTER, CLEAR, clause("note", "LIKE"), clear=True) == "search-while-clear"
    assert outcome(FILTER, CLEAR, clause("note", "EQ"), clear=True) == "search-while-clear"
    assert outcome(FILTER, CLEAR, clause("note", "SET"), clear=True) == "passes"
    assert outcome(FILTER, CLEAR, clause("note", "LIKE")) == "passes"
    assert outcome(FILTER, CLEAR, clause("note", "LIKE"), clear=True, everything=True) == "passes"
    assert outcome(FILTER, MASKED, clause("email", "EQ"), clear=True) == "passes"


def test_domains_in_prefix_form() -> None:
    leaves = {
        ("domain", "0"): "&",
        ("domain", "1"): "|",
        ("domain", "2", "0"): "id",
        ("domain", "2", "1"): ">",
        ("domain", "3", "0"): "email",
        ("domain", "3", "1"): "=",
    }
    assert outcome(DOMAIN, MASKED, leaves) == "passes"
    assert outcome(DOMAIN, HIDDEN, leaves) == "field-not-searchable"


def test_another_part_of_the_request_is_not_looked_at() -> None:
    rule = ColumnRule(Where.QUERY, ("sort",), COLUMNS, (), order=True)
    assert outcome(rule, HIDDEN, {("sort",): "email"}) == "passes"
