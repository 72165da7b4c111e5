"""SOQL, COQL and XOQL: every column, how it is used, and every operand; anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.query.parsed import Column, Compare, Purpose, QueryInvalid
from policies.query.select import DIALECTS, parse_select


def comparisons(text: str, language: str = "soql") -> list[tuple[str, str, list[str], bool]]:
    """(column, comparison, operands, denied) of every test."""
    query = parse_select(text, language)
    return [
        (".".join(one.column.names), one.compare.value, [each.text for each in one.operands], one.denied)
        for one in query.tests
    ]


def used(text: str, language: str = "soql") -> list[tuple[str, str, str, str]]:
    """(purpose, column, function, alias) of every use."""
    query = parse_select(text, language)
    return [
        (one.purpose.value, ".".join((*one.column.table, *one.column.names)), one.function, one.alias)
        for one in query.uses
    ]


def test_every_comparison_tells_its_column_and_operands() -> None:
    text = (
        "SELECT Id FROM Contact WHERE (Email = 'a' AND NOT Name LIKE '%b\\'%') OR Phone IN ('1','2')"
        " AND City NOT IN ('x')"
        " AND Fax != null AND CreatedDate > 2024-01-01T00:00:00Z AND Birthdate = LAST_N_DAYS:3 AND CreatedDate = TODAY"
        " AND Tags__c INCLUDES ('a;b') AND Tags__c EXCLUDES ('c') AND Active = TRUE"
    )
    assert comparisons(text) == [
        ("Email", "equal", ["a"], False),
        ("Name", "like", ["%b'%"], False),
        ("Phone", "among", ["1", "2"], False),
        ("City", "among", ["x"], True),
        ("Fax", "empty", [], True),
        ("CreatedDate", "range", ["2024-01-01T00:00:00Z"], False),
        ("Birthdate", "equal", ["LAST_N_DAYS:3"], False),
        ("CreatedDate", "range", [], False),
        ("Tags__c", "picked", ["a;b"], False),
        ("Tags__c", "picked", ["c"], True),
        ("Active", "empty", [], False),
    ]


def test_every_place_of_a_column_is_a_use() -> None:
    text = (
        "SELECT Id, a.Name, Owner.Email, toLabel(Status) s, COUNT(Id) n, MAX(Amount), FIELDS(STANDARD),"
        " (SELECT LastName FROM Contacts ORDER BY Phone) FROM Account AS a WHERE Id IN (SELECT AccountId FROM Lead)"
        " GROUP BY Industry, CALENDAR_YEAR(CreatedDate) HAVING MAX(Email) > 'm'"
        " ORDER BY City DESC NULLS LAST, SUM(X) LIMIT 5 OFFSET 1"
    )
    assert used(text) == [
        ("select", "Account.Id", "", ""),
        ("select", "Account.Name", "", ""),
        ("select", "Account.Owner.Email", "", ""),
        ("select", "Account.Status", "tolabel", "s"),
        ("aggregate", "Account.Id", "count", "n"),
        ("aggregate", "Account.Amount", "max", ""),
        ("select", "Account.Contacts.LastName", "", ""),
        ("sort", "Account.Contacts.Phone", "", ""),
        ("filter", "Lead.AccountId", "", ""),
        ("filter", "Account.Email", "max", ""),
        ("group", "Account.Industry", "", ""),
        ("group", "Account.CreatedDate", "calendar_year", ""),
        ("sort", "Account.City", "", ""),
        ("sort", "Account.X", "sum", ""),
    ]


def test_operands_stand_where_they_say() -> None:
    text = "SELECT Id FROM Contact WHERE Email = 'a\\'b' AND Name LIKE 'c%' AND Phone IN ( 'd' , 'e' )"
    query = parse_select(text, "soql")
    assert [text[one.start : one.end] for test in query.tests for one in test.operands] == [
        "'a\\'b'",
        "'c%'",
        "'d'",
        "'e'",
    ]
    assert [text[test.start : test.end] for test in query.tests] == [
        "Email = 'a\\'b'",
        "Name LIKE 'c%'",
        "Phone IN ( 'd' , 'e' )",
    ]
    assert all(test.written == text[test.start : test.start + len(test.written)] for test in query.tests)


def test_columns_compared_with_one_another_are_both_used() -> None:
    query = parse_select("SELECT Id FROM Contact WHERE Email = Phone", "soql")
    assert [(one.purpose, one.column) for one in query.uses if one.purpose is Purpose.FILTER] == [
        (Purpose.FILTER, Column(("Contact",), ("Phone",)))
    ]
    assert query.tests[0].compare is Compare.OTHER


def test_objects_may_be_called_like_keywords() -> None:
    assert used("SELECT Id FROM Order") == [("select", "Order.Id", "", "")]
    assert used("SELECT Id FROM Group LIMIT 1") == [("select", "Group.Id", "", "")]
    assert parse_select("SELECT COUNT() FROM Contact ALL ROWS", "soql").uses == ()


def test_coql_and_xoql_know_between_is_null_and_not_like() -> None:
    for language in ("coql", "xoql"):
        text = "select a as b from C where ((x between 1 and 2) and y is not null) and z not like '%q' limit 0, 10"
        assert comparisons(text, language) == [
            ("x", "range", ["1", "2"], False),
            ("y", "empty", [], False),
            ("z", "like", ["%q"], True),
        ]
        assert used(text, language) == [("select", "C.a", "", "b")]


def test_aliases_of_objects_are_told() -> None:
    assert parse_select("SELECT Id FROM Contact c", "soql").aliases == ("c",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT Id",
        "SELECT FROM Contact",
        "SELECT Id FROM Contact, Account",
        "SELECT Id FROM Contact JOIN Account ON a = b",
        "SELECT Id FROM Contact UNION SELECT Id FROM Lead",
        "SELECT Id FROM Contact WHERE",
        "SELECT Id FROM Contact WHERE Email",
        "SELECT Id FROM Contact WHERE Email = 'a' 'b'",
        "SELECT Id FROM Contact WHERE Email = ('a')",
        "SELECT Id FROM Contact WHERE Email = 'a' OR",
        "SELECT Id FROM Contact WHERE 'a' = Email",
        "SELECT Id FROM Contact WHERE Email IN ()",
        "SELECT Id FROM Contact WHERE Email IN ('a', Phone)",
        "SELECT Id FROM Contact WHERE Email IN ('a', null)",
        "SELECT Id FROM Contact WHERE UPPER(LOWER(Email)) = 'a'",
        "SELECT Id FROM Contact WHERE EXISTS (SELECT Id FROM Lead)",
        "SELECT Id FROM Contact WHERE Email = (SELECT Email FROM Lead)",
        "SELECT Id FROM Contact WHERE CASE WHEN a = 'b' THEN c END = 'd'",
        "SELECT 'a' FROM Contact",
        "SELECT Id FROM (SELECT Id FROM Contact)",
        "SELECT TYPEOF What WHEN Account THEN Phone END FROM Event",
        "SELECT Id FROM Contact USING SCOPE mine",
        "SELECT Id FROM Contact FOR UPDATE",
        "SELECT Id FROM Contact GROUP BY ROLLUP(Email)'",
        "SELECT Id FROM Contact LIMIT 'a'",
        "SELECT Id FROM Contact LIMIT Phone",
        "WITH a AS (SELECT Id FROM Contact) SELECT Id FROM a",
        "DELETE FROM Contact",
        "SELECT Id INTO x FROM Contact",
        "SELECT Id FROM Contact WHERE Email = 'a'::text",
        "SELECT Id FROM Contact WHERE Email || Phone = 'a'",
        "SELECT Id FROM Contact WHERE Email + 1 = 2",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    for language in DIALECTS:
        with pytest.raises(QueryInvalid):
            parse_select(text, language)


def test_a_language_whose_escapes_nobody_knows_has_none() -> None:
    with pytest.raises(QueryInvalid):
        parse_select("select a from b where c = 'd\\'e'", "xoql")
    assert comparisons("select a from b where c = 'd\\'e'", "coql") == [("c", "equal", ["d'e"], False)]


WORDS = st.sampled_from(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "AND",
        "OR",
        "NOT",
        "IN",
        "LIKE",
        "NULL",
        "GROUP",
        "BY",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "AS",
        "IS",
        "BETWEEN",
        "DISTINCT",
        "NULLS",
        "LAST",
        "INCLUDES",
        "Id",
        "Email",
        "a.Name",
        "COUNT",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<>",
        "<",
        ">=",
        "*",
        "'x'",
        "'y%'",
        "5",
        "2024-01-01",
        "LAST_N_DAYS:2",
        "TODAY",
        "FIELDS",
        "ALL",
        "ROWS",
    ]
)


@given(st.lists(WORDS, max_size=25), st.sampled_from(sorted(DIALECTS)))
def test_whatever_is_asked_is_understood_whole_or_refused(given_words: list[str], language: str) -> None:
    """Never another exception; and what is understood accounts for every literal and every column."""
    text = " ".join(["SELECT", "Id", "FROM", "Contact", "WHERE", *given_words])
    try:
        query = parse_select(text, language)
    except QueryInvalid:
        return
    operands = {one.start for test in query.tests for one in test.operands} | {one.start for one in query.loose}
    quoted = {at for at in range(len(text)) if text.startswith(("'x'", "'y%'"), at)}
    assert quoted <= operands
    columns = [one.column.names[-1] for one in (*query.tests, *query.uses)]
    assert columns.count("Email") == given_words.count("Email")
