"""Selectors: what covers a leaf, what a leaf is, where search operands stand."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.operation import Action, BodyRule, FieldSpec, Operation, SearchRule, Where
from policies.selector import Treatment, column_field, looks_like, matches, operands, search_operands, treatment
from policies.taxonomy import Kind

PHONE = FieldSpec("party", "phone", Kind.PHONE, 100)
EMAIL = FieldSpec("party", "email", Kind.EMAIL, 254)
NOTE = FieldSpec("party", "note", None, 1000)


@pytest.mark.parametrize(
    ("selector", "path", "covered"),
    [
        (("a",), ("a",), True),
        (("a",), ("a", "b"), False),
        (("*",), ("anything",), True),
        (("a", "*"), ("a",), False),
        (("a", "**", "z"), ("a", "z"), True),
        (("a", "**", "z"), ("a", "b", "c", "z"), True),
        (("a", "**", "z"), ("a", "b", "z", "c"), False),
        (("**",), (), True),
        (("**", "a", "**", "a"), ("a", "b", "a"), True),
        (("**", "a", "**", "a"), ("a",), False),
        (("search-*",), ("search-x",), True),
        (("phone_[1m2]*",), ("phone_merged",), True),
        (("phone_[1m2]*",), ("phone_3",), False),
    ],
)
def test_selector_covers_path(selector: tuple[str, ...], path: tuple[str, ...], covered: bool) -> None:
    assert matches(selector, path) is covered


def _slow(selector: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """The definition, spelled out recursively."""
    if not selector:
        return not path
    if selector[0] == "**":
        return any(_slow(selector[1:], path[cut:]) for cut in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], selector[0]) and _slow(selector[1:], path[1:])


_STEP = st.sampled_from(["a", "b", "0", "ab"])


@given(
    st.lists(st.sampled_from(["a", "b", "0", "*", "**", "a*"]), max_size=5).map(tuple),
    st.lists(_STEP, max_size=6).map(tuple),
)
def test_matching_agrees_with_its_definition(selector: tuple[str, ...], path: tuple[str, ...]) -> None:
    assert matches(selector, path) == _slow(selector, path)


@given(st.lists(st.text(max_size=20), max_size=5).map(tuple), st.text(max_size=30))
def test_hostile_leaves_never_raise(path: tuple[str, ...], text: str) -> None:
    rules = (
        BodyRule(("params", "**", "value"), NOTE, ("type", {"phone": PHONE}), None, {"phone": PHONE}),
        BodyRule(("[", "*"), PHONE),
    )
    operation = Operation("x", "x", Action.UPDATE, rules=rules, untouched=(("[!a", "**"),))
    treatment(operation, path, {"type": text}, text=text, leaves={path: text})


def _operation(*rules: BodyRule, left_alone: bool = False) -> Operation:
    return Operation("x", "x", Action.UPDATE, rules=rules, untouched=(("token",), ("user_*",)), left_alone=left_alone)


def test_leaf_without_rule_is_replaced_only_as_a_whole() -> None:
    assert treatment(_operation(), ("x",)) == (Treatment.WHOLE, None)


def test_untouched_leaf_is_left_unless_a_rule_claims_it() -> None:
    assert treatment(_operation(), ("user_1",))[0] is Treatment.LEAVE
    assert treatment(_operation(BodyRule(("user_1",), PHONE)), ("user_1",)) == (Treatment.FIELD, PHONE)


def test_operation_left_alone_looks_into_nothing() -> None:
    rule = BodyRule(("phone",), PHONE)
    assert treatment(_operation(rule, left_alone=True), ("phone",)) == (Treatment.LEAVE, None)


def test_first_rule_wins() -> None:
    operation = _operation(BodyRule(("a", "name"), None), BodyRule(("**", "name"), PHONE))
    assert treatment(operation, ("a", "name")) == (Treatment.TEXT, None)
    assert treatment(operation, ("b", "name")) == (Treatment.FIELD, PHONE)


def test_field_of_free_text_is_text_of_that_field() -> None:
    assert treatment(_operation(BodyRule(("n",), NOTE)), ("n",)) == (Treatment.TEXT, NOTE)


def test_sibling_decides_then_shape_then_default() -> None:
    rule = BodyRule(("value",), NOTE, ("type", {"email": EMAIL}), None, {"phone": PHONE})
    operation = _operation(rule)
    assert treatment(operation, ("value",), {"type": "email"}, text="13800138000")[1] is EMAIL
    assert treatment(operation, ("value",), {"type": "odd"}, text="13800138000")[1] is PHONE
    assert treatment(operation, ("value",), {}, text="wx-zhang")[1] is NOTE


def test_header_row_decides_for_positional_rows() -> None:
    rule = BodyRule(("rows", "*", "*"), None, None, (("head",), {"email": EMAIL, "value": None}), {"phone": PHONE})
    operation = _operation(rule)
    leaves = {("head", "0"): "a/email:lang=fr", ("head", "1"): "value", ("head", "2"): "date"}
    assert treatment(operation, ("rows", "5", "0"), text="x", leaves=leaves)[1] is EMAIL
    assert treatment(operation, ("rows", "5", "1"), text="13800138000", leaves=leaves)[1] is PHONE
    assert treatment(operation, ("rows", "5", "2"), text="20260101", leaves=leaves) == (Treatment.TEXT, None)
    assert treatment(operation, ("rows", "5", "9"), text="x", leaves=leaves) == (Treatment.TEXT, None)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("zw@example.com", "email"),
        ("a b@example.com", None),
        ("@handle", None),
        ("https://u@example.com", None),
        ("010-6552 9988", "phone"),
        ("+8613800138000", "phone"),
        ("1234", None),
        ("110101199003077758", None),
        ("ext 65529988", None),
        ("", None),
    ],
)
def test_shape_of_a_value(text: str, shape: str | None) -> None:
    assert looks_like(text) == shape


def test_longest_known_ending_names_the_column() -> None:
    columns = {"value": PHONE, "party.email": EMAIL, "email": None}
    assert column_field(columns, "contact_mechanisms.value") is PHONE
    assert column_field(columns, "party.email") is EMAIL
    assert column_field(columns, "other.email") is None
    assert column_field(columns, "state") is None


def test_domain_clauses_are_found_at_any_depth_with_lists() -> None:
    rule = SearchRule(Where.JSON, ("params", "0"), None, {"email": EMAIL})
    leaves = {
        ("params", "0", "0"): "OR",
        ("params", "0", "1", "0"): "email",
        ("params", "0", "1", "1"): "=",
        ("params", "0", "1", "2"): "a@example.com",
        ("params", "0", "2", "0", "0"): "party.email",
        ("params", "0", "2", "0", "1"): "in",
        ("params", "0", "2", "0", "2", "0"): "b@example.com",
        ("params", "0", "2", "0", "2", "1"): "c@example.com",
        ("params", "1"): "email",
    }
    found = {path: (operator, spec) for path, operator, spec in operands(rule, leaves)}
    assert found == {
        ("params", "0", "1", "2"): ("=", EMAIL),
        ("params", "0", "2", "0", "2", "0"): ("in", EMAIL),
        ("params", "0", "2", "0", "2", "1"): ("in", EMAIL),
    }


def test_each_operand_is_given_once_by_the_last_rule() -> None:
    special, general = SearchRule(Where.QUERY, ("s-phone",), PHONE), SearchRule(Where.QUERY, ("s-*",))
    form = SearchRule(Where.FORM, ("s-phone",), EMAIL)
    operation = Operation("x", "x", Action.LIST, searches=(form, general, special))
    found = list(search_operands(operation, Where.QUERY, {("s-phone",): "1", ("s-x",): "2", ("z",): "3"}))
    assert [(path, spec, rule) for path, _, spec, rule in found] == [
        (("s-phone",), PHONE, special),
        (("s-x",), None, general),
    ]


@given(st.dictionaries(st.lists(st.text(max_size=3), max_size=5).map(tuple), st.text(max_size=5), max_size=10))
def test_operands_never_raise(leaves: dict[tuple[str, ...], str]) -> None:
    for rule in (
        SearchRule(Where.JSON, ("0",), None, {"a": PHONE}),
        SearchRule(Where.JSON, (), None, {}),
        SearchRule(Where.FORM, ("*",)),
    ):
        assert all(path in leaves for path, _, _ in operands(rule, leaves))


def test_the_third_element_of_a_list_belongs_to_the_lists_clause() -> None:
    """It stands at "2" of its list, as an operand stands at "2" of its clause."""
    rule = SearchRule(Where.JSON, ("params", "0"), columns={"name": None})
    clause = ("params", "0", "0")
    leaves = {(*clause, "0"): "name", (*clause, "1"): "in", **{(*clause, "2", str(n)): f"v{n}" for n in range(4)}}
    found = {path: operator for path, operator, _ in operands(rule, leaves)}
    assert found == {(*clause, "2", str(number)): "in" for number in range(4)}
