"""Conditions on several surrogates in the languages of the CRMs; pure text."""

import json

import pytest

from gateway import narrow
from gateway.narrow import Shape, shapes_of
from kms.surrogate import KINDS, SHAPES, no_match
from policies.taxonomy import Kind

HIDDEN = [Shape("Zq"), Shape("@enc.invalid", ends=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_surrogate_is_told_by_its_shape(kind: str) -> None:
    (shape,) = shapes_of([Kind(kind)], SHAPES)
    surrogate = no_match(kind).lower()
    told = shape.text.lower()
    assert surrogate.endswith(told) if shape.ends else surrogate.startswith(told)


def test_a_condition_of_creme_lists_surrogates() -> None:
    assert narrow.q("name", ["a", "b"], "contains", None, HIDDEN) == {"op": "AND", "val": [["name__in", ["a", "b"]]]}


def test_a_condition_of_creme_for_the_rest_in_clear_leaves_surrogates_out() -> None:
    made = narrow.q("name", ["a"], "prefix", "x", HIDDEN)
    assert made["op"] == "OR"
    assert made["val"][1]["val"] == [
        ["name__istartswith", "x"],
        {"op": "NAND", "val": [["name__istartswith", "Zq"]]},
        {"op": "NAND", "val": [["name__iendswith", "@enc.invalid"]]},
    ]


@pytest.mark.parametrize("given", ["", "  ", narrow.EMPTY_Q])
def test_no_condition_of_the_crm_adds_nothing(given: str) -> None:
    one = narrow.q("name", ["a"], "contains", None, ())
    assert json.loads(narrow.joined(given, [one, one])) == {"op": "AND", "val": [*one["val"], *one["val"]]}


def test_the_crms_own_condition_is_kept_whole() -> None:
    given = {"op": "OR", "val": [["a", 1], {"op": "NAND", "val": [["b", "é"]]}]}
    either = narrow.q("name", ["a"], "contains", "x", ())
    joined = narrow.joined(json.dumps(given), [either])
    assert json.loads(joined) == {"op": "AND", "val": [given, either]}
    assert joined.isascii()  # as Creme writes it


def placed(made: narrow.Clause, *after: str) -> object:
    """The clause as it stands once its parts are written in the places of the old ones."""
    inside = b",".join((made.column, made.operator, made.operand))
    return json.loads(b"[" + inside + b"".join(b"," + json.dumps(one).encode() for one in after) + b"]")


def test_clauses_of_tryton_become_lists() -> None:
    assert placed(narrow.clause("n", "ilike", ["a", "b"])) == ["n", "in", ["a", "b"]]
    assert placed(narrow.clause("n", "not ilike", ["a"])) == ["n", "not in", ["a"]]
    assert placed(narrow.clause("n", "!=", ["a"]), "party.party") == ["n", "not in", ["a"], "party.party"]


def test_clauses_beside_a_list_are_alternatives_and_for_negatives_conditions() -> None:
    others = [["code", "ilike", "1%"], narrow.in_clear("m.value", "ilike", "%1%", HIDDEN)]
    assert placed(narrow.clause("n", "ilike", ["a"], others)) == [
        "OR",
        ["code", "ilike", "1%"],
        [
            "m",
            "where",
            [["value", "ilike", "%1%"], ["value", "not ilike", "Zq%"], ["value", "not ilike", "%@enc.invalid"]],
        ],
        ["n", "in", ["a"]],
    ]
    negative = [narrow.in_clear("n", "not ilike", "%x%", HIDDEN)]
    assert placed(narrow.clause("n", "not ilike", ["a"], negative)) == [
        "AND",
        ["n", "not ilike", "%x%"],
        ["n", "not in", ["a"]],
    ]


def test_elements_of_a_list_multiply() -> None:
    assert json.loads(b"[" + narrow.members(['a"b', "c"]) + b"]") == ['a"b', "c"]
