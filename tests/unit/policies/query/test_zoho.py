"""Zoho's conditions: every column, how it is compared, and every operand; anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.query.parsed import MOST_LEVELS, QueryInvalid
from policies.query.rewrite import zoho_text
from policies.query.zoho import parse_zoho

VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


def comparisons(text: str) -> list[tuple[str, str, list[str], bool]]:
    query = parse_zoho(text, "criteria", ("Contacts",))
    return [
        (".".join(one.column.names), one.compare.value, [each.text for each in one.operands], one.denied)
        for one in query.tests
    ]


def test_conditions_tell_their_columns_and_operands() -> None:
    text = (
        r"((Last_Name:equals:Burns\, \(B\))and(First_Name:starts_with:M%)or((Email:in:a@b.c,d@e.f)and"
        "(Amount:between:1,5)))and(Phone:not_equal:1)and(Fax:equals:null)"
    )
    assert comparisons(text) == [
        ("Last_Name", "equal", ["Burns, (B)"], False),
        ("First_Name", "like", ["M\\%%"], False),
        ("Email", "among", ["a@b.c", "d@e.f"], False),
        ("Amount", "range", ["1", "5"], False),
        ("Phone", "equal", ["1"], True),
        ("Fax", "empty", [], False),
    ]


def test_fields_and_order_are_uses() -> None:
    def used(option: str, text: str) -> list[tuple[str, str]]:
        uses = parse_zoho(text, option, ("Contacts",)).uses
        return [(one.purpose.value, ".".join(one.column.names)) for one in uses]

    assert used("fields", "Email,Account_Name.Phone") == [("select", "Email"), ("select", "Account_Name.Phone")]
    assert used("sort_by", "Email") == [("sort", "Email")]
    assert used("page", "2") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Email:equals:a",
        "(Email:equals:a",
        "(Email:equals:a))",
        "(Email:equals:a)or",
        "(Email:equals:a)xor(Email:equals:b)",
        "(Email:equals:a,b)",
        "(Email:equals:a(b))",
        "(Email:like:a)",
        "(Email)",
        "()",
        "(Email:equals:a\\n)",
        "(E mail:equals:a)",
        "(" * (MOST_LEVELS + 3) + "Email:equals:a" + ")" * (MOST_LEVELS + 3),
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(QueryInvalid):
        parse_zoho(text, "criteria", ("Contacts",))


@pytest.mark.parametrize(("option", "text"), [("filters", "{}"), ("sort_by", "a b"), ("fields", "a,"), ("q", "x")])
def test_other_parameters_are_refused(option: str, text: str) -> None:
    with pytest.raises(QueryInvalid):
        parse_zoho(text, option, ("Contacts",))


@given(VALUES)
def test_a_value_is_one_operand_and_means_itself_again(value: str) -> None:
    for test in ("equals", "in"):
        found = comparisons(f"((A:{test}:{zoho_text(value)})and(B:equals:1))")
        texts = [one for _, _, operands, _ in found for one in operands]
        assert texts == [value, "1"] or (value in ("null", "${EMPTY}") and texts == ["1"])


@given(st.text("(): ,\\aAnd:equalsor'"))
def test_whatever_is_asked_is_understood_or_refused(text: str) -> None:
    try:
        query = parse_zoho(text, "criteria", ("Contacts",))
    except QueryInvalid:
        return
    assert query.tests
