"""Who may ask what of which field: judged by the field, never by its name in the answer."""

import pytest

from policies.decision import FieldRule, FieldView, Form
from policies.graphql.mapping import SCHEMA
from policies.graphql.part import Part
from policies.graphql.rights import problem
from policies.taxonomy import Kind
from tests.unit.policies.graphql.conftest import Ask

ALL = FieldRule(Form.CLEAR, Form.CLEAR, writable=True, searchable=True)
OWN = FieldRule(Form.CLEAR, Form.HIDDEN, searchable=True)
MASK = FieldRule(Form.MASKED, Form.MASKED, searchable=True)
HIDDEN = FieldRule()
EVERYTHING = FieldView("1", {}, {kind.value: ALL for kind in Kind}, sees_everything=True)


def view(rule: FieldRule) -> FieldView:
    return FieldView("1", {}, {kind.value: rule for kind in Kind})


@pytest.mark.parametrize(
    ("text", "hidden", "masked", "clear", "everything"),
    [
        ('people(filter: {idCard: {eq: "1"}}) { totalCount }', "field-not-searchable", None, None, None),
        ("people(filter: {idCard: {is: NULL}}) { totalCount }", "field-not-searchable", None, None, None),
        (
            'people(filter: {idCard: {gt: "1"}}) { totalCount }',
            "field-not-searchable",
            "field-not-searchable",
            "field-not-ordered",
            "field-not-ordered",
        ),
        ("people(orderBy: {idCard: A}) { totalCount }", "field-not-ordered", "field-not-ordered", None, None),
        ("people(orderBy: {intro: A}) { totalCount }", *["field-not-ordered"] * 3, None),
        ("peopleGroupBy(groupBy: [ID_CARD]) { count }", *["field-not-searchable"] * 2, None, None),
        (
            "peopleGroupBy(groupBy: [FIRST_NAME]) { count }",
            *["field-not-searchable"] * 2,
            *["field-not-ordered"] * 2,
        ),
        ("people { x: uniqueEmails }", *["field-not-searchable"] * 2, *["field-not-ordered"] * 2),
        ("people { x: odd }", *["graphql-unmapped"] * 3, None),
        ('people(filter: {odd: {eq: "x"}}) { totalCount }', *["field-not-searchable"] * 3, None),
        ('people(filter: {city: {gt: "x"}}, orderBy: {city: A}) { edges { node { x: city } } }', *[None] * 4),
        ("__schema { x }", *["graphql-introspection"] * 3, None),
    ],
)
def test_the_rights_of_each_role(
    ask: Ask, text: str, hidden: str | None, masked: str | None, clear: str | None, everything: str | None
) -> None:
    asked = ask(f"{{ {text} }}")
    part = asked.parts[0] if asked.parts else Part(0, "", SCHEMA, executed=False)
    found = [problem(one, asked, part, migrated=True) for one in (view(HIDDEN), view(MASK), view(ALL), EVERYTHING)]
    assert [one.reason if one else None for one in found] == [hidden, masked, clear, everything]


def test_order_and_words_tell_more_while_values_stand_in_clear(ask: Ask) -> None:
    asked = ask("{ people(orderBy: {idCard: A}) { totalCount } }")
    assert problem(view(OWN), asked, asked.parts[0], migrated=True) is None
    told = problem(view(OWN), asked, asked.parts[0], migrated=False)
    assert told is not None
    assert told.reason == "field-not-ordered"
    words = ask('{ people(filter: {intro: {like: "%a%"}}) { totalCount } }')
    assert problem(view(ALL), words, words.parts[0], migrated=True) is None
    told = problem(view(ALL), words, words.parts[0], migrated=False)
    assert told is not None
    assert told.reason == "field-not-searchable"
