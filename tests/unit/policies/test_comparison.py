"""Where a request orders and compares protected columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.comparison import ORDER, PART, By, Compared, ComparisonRule, compile_comparisons, find, sees_clear
from policies.decision import FieldRule, FieldView, Form
from policies.operation import FieldSpec, Where
from policies.profile import load_profile
from policies.taxonomy import Kind

PHONE = FieldSpec("contact", "phone", Kind.PHONE, 100)
NAME = FieldSpec("contact", "last_name", Kind.NAME, 100)
COLUMNS = {"phone": (PHONE,), "last_name": (NAME,), "address__address": (NAME,)}


def rule(by: By, *selector: str, **more: object) -> ComparisonRule:
    return ComparisonRule(("contact.*",), by, Where.QUERY, selector, COLUMNS, **more)  # type: ignore[arg-type]


def found(one: ComparisonRule, leaves: dict[tuple[str, ...], str], page: str = "contact.list") -> list[Compared]:
    return list(find([one], page, Where.QUERY, leaves))


@pytest.mark.parametrize("text", ["phone", "-phone", "+phone", "phone DESC", "phone:string", "a.b.phone", "id, -phone"])
def test_a_column_is_found_with_any_direction(text: str) -> None:
    told = found(rule(By.ORDER, "sort"), {("sort",): text})
    assert [(one.comparison, one.fields) for one in told] == [(ORDER, (PHONE,))]


def test_columns_that_hold_nothing_protected_and_other_operations_are_free() -> None:
    assert found(rule(By.ORDER, "sort"), {("sort",): "created"}) == []
    assert found(rule(By.ORDER, "sort"), {("other",): "phone"}) == []
    assert found(rule(By.ORDER, "sort"), {("sort",): "phone"}, "product.list") == []


def test_a_column_the_crm_sorts_by_itself_is_told() -> None:
    one = rule(By.ORDER, "sort", anyway=frozenset({"last_name"}))
    assert [told.anyway for told in found(one, {("sort",): "last_name"})] == [True]
    assert [told.anyway for told in found(one, {("sort",): "phone"})] == [False]


def test_of_clauses_only_ranges_count() -> None:
    def clause(operator: str) -> dict[tuple[str, ...], str]:
        return {("d", "0", "0"): "party.phone", ("d", "0", "1"): operator, ("d", "0", "2"): "138"}

    assert [one.comparison for one in found(rule(By.CLAUSE, "d"), clause(">="))] == [">="]
    assert found(rule(By.CLAUSE, "d"), clause("ilike")) == []


def test_every_clause_counts_where_search_looks_for_parts_as_typed() -> None:
    one = rule(By.CLAUSE, "d", parts=True)
    clause = {("d", "0", "0"): "phone", ("d", "0", "1"): "ilike", ("d", "0", "2"): "138%"}
    assert [(told.comparison, told.text) for told in found(one, clause)] == [("ilike", "138")]
    several = {("d", "0", "0"): "phone", ("d", "0", "1"): "in", ("d", "0", "2", "0"): "138"}
    assert [told.comparison for told in found(one, several)] == ["in"]
    assert found(one, {("d", "0", "0"): "phone", ("d", "0", "1"): "="}) == []  # null: whether there is one at all


@pytest.mark.parametrize(
    ("text", "comparison"),
    [
        ("phone__startswith", "startswith"),
        ("phone", "exact"),
        ("phone__gt", "gt"),
        ("address__address__contains", "contains"),
        ("company__contacts__phone__regex", "regex"),
    ],
)
def test_lookups_are_taken_apart(text: str, comparison: str) -> None:
    leaves = {("q", "val", "0", "0"): text, ("q", "val", "0", "1"): "1"}
    assert [one.comparison for one in found(rule(By.LOOKUP, "q"), leaves)] == [comparison]


def test_a_lookup_too_long_to_be_taken_apart_counts_as_one() -> None:
    leaves = {("q", "0"): "__".join(["a"] * 20_000) + "__phone__startswith", ("q", "1"): "138"}
    assert [one.comparison for one in found(rule(By.LOOKUP, "q"), leaves)] == [PART]


def test_conditions_name_column_and_comparison_in_places_of_their_own() -> None:
    one = rule(
        By.CONDITION,
        "*condition",
        column=("field", "name"),
        comparison=("operator", "id"),
        operand=("value",),
        named={"9": "gt"},
    )
    leaves = {("condition", "0", "field", "name"): "phone", ("condition", "0", "operator", "id"): "9"}
    assert [told.comparison for told in found(one, leaves)] == ["gt"]
    leaves[("condition", "0", "operator", "id")] = "5"
    assert [told.comparison for told in found(one, leaves)] == [PART]


def test_a_box_without_a_column_counts_when_something_is_typed() -> None:
    box = ComparisonRule(("*",), By.TEXT, Where.QUERY, ("q",), {"": (PHONE,)})
    assert [told.text for told in found(box, {("q",): " 138 "})] == ["138"]
    assert found(box, {("q",): " "}) == []


def test_rules_of_a_profile_name_fields_that_exist() -> None:
    missed = []

    def resolve(name: str | None, entity: str, place: str) -> FieldSpec | None:
        missed.append((name, entity, place))
        return None

    entry = {"pages": ["*"], "by": "order", "where": "query", "select": "sort", "columns": {"a": ["x.y", "x.z"]}}
    assert compile_comparisons([entry], resolve)[0].columns == {"a": ()}
    assert missed == [("x.y", "", "comparisons"), ("x.z", "", "comparisons")]


def test_a_parameter_may_be_named_after_column_and_comparison() -> None:
    one = rule(By.NAMED, "*")
    assert [told.comparison for told in found(one, {("phone__startswith",): "138"})] == ["startswith"]
    assert found(one, {("created__gt",): "2026"}) == []
    assert found(one, {("q", "phone__gt"): "1"}) == []


def test_columns_may_be_numbers_with_a_sign_of_their_own_between_them() -> None:
    numbered = ComparisonRule(("*",), By.ORDER, Where.QUERY, ("o",), {"3": (PHONE,)}, split=".")
    assert [told.column for told in found(numbered, {("o",): "8.-3"})] == ["3"]
    assert found(numbered, {("o",): "13.-8"}) == []


@pytest.mark.parametrize("name", ["creme", "tryton", "djangocrm"])
def test_every_declared_field_of_a_person_may_be_ordered_by_rule(name: str) -> None:
    """A field that no rule names would be sorted by for anybody."""
    profile = load_profile(name)
    ruled = {spec.name for one in profile.comparisons for specs in one.columns.values() for spec in specs}
    people = {"creme": "contact", "tryton": "party", "djangocrm": "contact"}[name]
    columns = {key[1] for key, spec in profile.field_specs.items() if key[0] == people}
    without_column = {"id_card", "bank_card"}  # columns of imports only; Creme has no such fields
    assert columns - ruled - without_column == set()


@given(
    st.sampled_from(By),
    st.dictionaries(st.lists(st.sampled_from(["q", "0", "1", "2", "field", "name"]), max_size=4).map(tuple), st.text()),
)
def test_hostile_leaves_never_raise(by: By, leaves: dict[tuple[str, ...], str]) -> None:
    one = ComparisonRule(
        ("*",), by, Where.QUERY, ("q",), {**COLUMNS, "": (PHONE,)}, column=("field", "name"), comparison=("1",)
    )
    found(one, leaves)


@pytest.mark.parametrize(
    ("name", "operation", "where", "path"),
    [
        ("hubspot", "contact.search", Where.JSON, ("query",)),
        ("hubspot", "contact.box", Where.QUERY, ("q",)),
        ("zoho", "contact.search", Where.QUERY, ("word",)),
        ("odoo", "partner.find", Where.JSON, ("params", "args", "0")),
        ("odoo", "lead.find", Where.JSON, ("params", "kwargs", "name")),
        ("odoo", "partner.find", Where.JSON, ("name",)),
    ],
)
def test_boxes_of_hosted_crms_look_for_parts(name: str, operation: str, where: Where, path: tuple[str, ...]) -> None:
    profile = load_profile(name)
    (found,) = find(profile.comparisons, operation, where, {path: "138"})
    assert (found.comparison, found.text) == (PART, "138")
    assert found.fields
    assert not list(find(profile.comparisons, "contact.create", where, {path: "138"}))


def test_a_field_is_seen_in_clear_everywhere_or_somewhere() -> None:
    name, text = FieldSpec("person", "name", Kind.NAME, 50), FieldSpec("person", "note", None, 500)
    own = FieldRule(Form.CLEAR, Form.MASKED)
    view = FieldView("1", {}, {Kind.NAME: own, Kind.EMAIL: FieldRule(Form.CLEAR, Form.CLEAR)})
    assert not sees_clear(view, name)
    assert sees_clear(view, name, somewhere=True)
    assert sees_clear(view, FieldSpec("person", "email", Kind.EMAIL, 50))
    assert not sees_clear(view, text)
    assert sees_clear(view, text, somewhere=True)
