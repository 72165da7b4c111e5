"""OData options: every column, how it is used, and every operand; anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.query.odata import parse_odata
from policies.query.parsed import MOST_LEVELS, QueryInvalid
from policies.query.rewrite import odata_text

VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


def found(option: str, text: str) -> tuple[list[tuple[str, str, list[str], bool]], list[tuple[str, str, str, str]]]:
    """Tests and uses of one option."""
    query = parse_odata(text, option, ("contacts",))
    tests = [
        ("/".join(one.column.names), one.compare.value, [each.text for each in one.operands], one.denied)
        for one in query.tests
    ]
    uses = [
        (one.purpose.value, "/".join((*one.column.table, *one.column.names)), one.function, one.alias)
        for one in query.uses
    ]
    return tests, uses


def test_a_filter_tells_every_comparison() -> None:
    text = (
        "(emailaddress1 eq 'O''Neil' and not contains(a/b,'x%')) or lastname in ('p','q') and c ne null and n gt 5"
        " and d ge 2024-01-01T00:00:00Z and endswith(e,'z') and g eq 0a000000-0000-4000-8000-000000000001 and f eq true"
    )
    assert found("$filter", text)[0] == [
        ("emailaddress1", "equal", ["O'Neil"], False),
        ("a/b", "like", ["%x\\%%"], False),
        ("lastname", "among", ["p", "q"], False),
        ("c", "empty", [], True),
        ("n", "range", ["5"], False),
        ("d", "range", ["2024-01-01T00:00:00Z"], False),
        ("e", "like", ["%z"], False),
        ("g", "equal", ["0a000000-0000-4000-8000-000000000001"], False),
        ("f", "empty", [], False),
    ]


def test_functions_and_columns_on_both_sides_are_uses() -> None:
    assert found("$filter", "tolower(a) eq 'x' and b eq c")[1] == [
        ("filter", "contacts/a", "tolower", ""),
        ("filter", "contacts/c", "", ""),
        ("filter", "contacts/b", "", ""),
    ]


def test_lists_groups_and_expanded_records_are_uses() -> None:
    assert found("$orderby", "a desc,b/c")[1] == [("sort", "contacts/a", "", ""), ("sort", "contacts/b/c", "", "")]
    assert found("$select", "a,*")[1] == [("select", "contacts/a", "", "")]
    tests, uses = found("$expand", "r($select=x;$filter=y eq 'z';$orderby=w;$top=3;$expand=s($select=t)),u")
    assert tests == [("y", "equal", ["z"], False)]
    assert uses == [
        ("select", "contacts/r", "", ""),
        ("select", "contacts/r/x", "", ""),
        ("sort", "contacts/r/w", "", ""),
        ("select", "contacts/r/s", "", ""),
        ("select", "contacts/r/s/t", "", ""),
        ("select", "contacts/u", "", ""),
    ]
    tests, uses = found("$apply", "filter(a eq 'b')/groupby((c),aggregate($count as n,d with sum as e))")
    assert tests == [("a", "equal", ["b"], False)]
    assert uses == [
        ("group", "contacts/c", "", ""),
        ("select", "contacts", "count", "n"),
        ("aggregate", "contacts/d", "sum", "e"),
    ]


@pytest.mark.parametrize("option", ["$top", "$skiptoken", "$COUNT", "format"])
def test_options_without_columns_pass(option: str) -> None:
    assert found(option, "<cookie pagenumber='2'/>") == ([], [])


@pytest.mark.parametrize("option", ["$search", "$compute", "fetchXml", "savedQuery", "@p1", "", "api-version"])
def test_other_options_are_refused(option: str) -> None:
    with pytest.raises(QueryInvalid):
        parse_odata("x", option, ("contacts",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a eq",
        "a eq 'b",
        "a eq 'b' c",
        "a eq @p1",
        "a eq (b)",
        "'a' eq b",
        "a eq 'b' and",
        "(a eq 'b'",
        "a eq 'b')",
        "not",
        "r/any(x:x/a eq 'b')",
        "a add 1 eq 2",
        "tolower(toupper(a)) eq 'b'",
        "Microsoft.Dynamics.CRM.In(PropertyName='a',PropertyValues=['b'])",
        "contains(a,b)",
        "contains('a',b)",
        "a in ()",
        "a in ('b'",
        "a has 'b'",
        "a eq 'b';$orderby=c",
        'a eq "b"',
        "ä eq 'b'",
        "(" * (MOST_LEVELS + 2) + "a eq 'b'" + ")" * (MOST_LEVELS + 2),
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(QueryInvalid):
        parse_odata(text, "$filter", ("contacts",))


@given(VALUES)
def test_a_value_is_one_operand_and_means_itself_again(value: str) -> None:
    query = parse_odata(f"a eq {odata_text(value)} and b eq 1", "$filter", ("contacts",))
    assert [one.text for test in query.tests for one in test.operands] == [value, "1"]


WORDS = st.sampled_from(
    ["a", "b/c", "eq", "ne", "gt", "in", "and", "or", "not", "(", ")", ",", "'x'", "''", "5", "null", "true",
     "contains", "tolower", "startswith", "desc", "$filter", "=", ";", "*", "groupby", "aggregate", "with", "as",
     "$count", "/"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=20), st.sampled_from(["$filter", "$orderby", "$select", "$expand", "$apply"]))
def test_whatever_is_asked_is_understood_whole_or_refused(words: list[str], option: str) -> None:
    text = " ".join(words)
    try:
        query = parse_odata(text, option, ("contacts",))
    except QueryInvalid:
        return
    operands = {one.start for test in query.tests for one in test.operands} | {one.start for one in query.loose}
    assert {at for at in range(len(text)) if text.startswith("'x'", at)} <= operands
    assert all(text[one.start : one.end] for test in query.tests for one in test.operands)
