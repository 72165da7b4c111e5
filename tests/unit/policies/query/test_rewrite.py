"""Queries asked anew: the operand changes, nothing else does, and no value can become more than a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.query.language import LANGUAGES, parse
from policies.query.parsed import Asked, Beginning, Compare, Query
from policies.query.rewrite import literal, odata_text, rewritten, values_fit, zoho_text

VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
ASKED = {
    "soql": "SELECT Id FROM C WHERE A='one' AND NOT B LIKE 'two%' AND (C__c IN ('three' , 'four') OR D != 'five')",
    "coql": "select Id from C where (A='one' and B not like 'two%') and (C__c in ('three' , 'four') or D != 'five')",
    "xoql": "select Id from C where (A='one' and B not like 'two%') and (C__c in ('three' , 'four') or D != 'five')",
    "odata": "A eq 'one' and not startswith(B,'two') and (C__c in ('three', 'four') or D ne 'five')",
    "zoho": "((A:equals:one)and(B:starts_with:two)and(C__c:in:three,four)or(D:not_equal:five))",
}


def parsed(language: str, text: str) -> Query:
    return parse(language, text, option="criteria" if language == "zoho" else "$filter", table="C")


def all_asked(query: Query, *values: str, in_clear: bool = False) -> dict[tuple[int, int], Asked]:
    """The same answer for every operand."""
    return {
        (number, at): Asked(values, in_clear, [Beginning("Zq"), Beginning("@enc", ends=True)])
        for number, test in enumerate(query.tests)
        for at in range(len(test.operands))
    }


def shape(query: Query) -> list[tuple[str, bool]]:
    """What a query asks about, whatever the values."""
    return [(".".join(one.column.names), one.denied) for one in query.tests]


def operands(query: Query) -> set[str]:
    return {one.text for test in query.tests for one in test.operands}


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_answers_the_query_is_the_same_byte_for_byte(language: str) -> None:
    assert rewritten(parsed(language, ASKED[language]), {}, {}) == ASKED[language]


@pytest.mark.parametrize("language", LANGUAGES)
@given(value=VALUES)
def test_one_value_changes_operands_only_and_is_one_operand(language: str, value: str) -> None:
    if not values_fit(language, [value]):
        return
    query = parsed(language, ASKED[language])
    again = parsed(language, rewritten(query, all_asked(query, value), {}))
    assert operands(again) == {value}
    assert [name for name, _ in shape(again)] == [name for name, _ in shape(query)]


@pytest.mark.parametrize("language", LANGUAGES)
@given(values=st.lists(VALUES, min_size=2, max_size=5, unique=True))
def test_several_values_are_a_list_or_a_chain_and_nothing_more(language: str, values: list[str]) -> None:
    if not values_fit(language, values):
        return
    query = parsed(language, ASKED[language])
    again = parsed(language, rewritten(query, all_asked(query, *values), {}))
    assert operands(again) == set(values)
    assert {name for name, _ in shape(again)} == {name for name, _ in shape(query)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_may_stand_in_clear_is_asked_for_beside_it(language: str) -> None:
    query = parsed(language, ASKED[language])
    again = parsed(language, rewritten(query, all_asked(query, "s1", "s2", in_clear=True), {}))
    texts = operands(again)
    assert {"s1", "s2", "one", "three", "four", "five"} <= texts
    assert "two%" in texts


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_column_made_of_others_is_asked_through_them(language: str) -> None:
    query = parsed(language, ASKED[language])
    number = next(at for at, one in enumerate(query.tests) if one.compare is Compare.LIKE)
    parts = Asked((), False, (), [("Given", ["s1", "s2"]), ("Family", ["s3"])])
    again = parsed(language, rewritten(query, {(number, 0): parts}, {}))
    names = [name for name, _ in shape(again)]
    assert "B" not in names
    assert {"Given", "Family"} <= set(names)
    assert {"s1", "s2", "s3"} <= operands(again)


@pytest.mark.parametrize("language", LANGUAGES)
@given(value=VALUES)
def test_an_operand_of_no_field_is_replaced_in_its_place(language: str, value: str) -> None:
    query = parsed(language, ASKED[language])
    first = query.tests[0].operands[0]
    if not values_fit(language, [value]):
        return
    made = rewritten(query, {}, {first.start: value})
    assert made == ASKED[language][: first.start] + literal(language)(value) + ASKED[language][first.end :]
    assert value in operands(parsed(language, made))


def test_soql_is_written_as_salesforce_reads_it() -> None:
    query = parsed("soql", "SELECT Id FROM C WHERE A!='x' AND c.B LIKE 'y%'")
    assert rewritten(query, {(0, 0): Asked(["p", "q'"])}, {}) == (
        "SELECT Id FROM C WHERE A NOT IN ('p', 'q\\'') AND c.B LIKE 'y%'"
    )
    parts = Asked((), False, (), [("Given", ["s1"]), ("Family", ["s2"])])
    assert rewritten(query, {(1, 0): parts}, {}) == (
        "SELECT Id FROM C WHERE A!='x' AND (c.Given IN ('s1') OR c.Family IN ('s2'))"
    )
    clear = Asked(["s1"], True, [Beginning("Z_")])
    assert rewritten(query, {(1, 0): clear}, {}) == (
        "SELECT Id FROM C WHERE A!='x' AND (c.B IN ('s1') OR (c.B LIKE 'y%' AND (NOT c.B LIKE 'Z\\\\_%')))"
    )


@pytest.mark.parametrize("value", ["null", "${EMPTY}"])
def test_zoho_cannot_be_asked_for_a_value_that_it_takes_for_none(value: str) -> None:
    assert not values_fit("zoho", [value])
    assert values_fit("soql", [value])


def test_control_signs_are_refused_in_every_language() -> None:
    for language in LANGUAGES:
        assert not values_fit(language, ["a\nb"])
    for write in (odata_text, zoho_text):
        with pytest.raises(ValueError, match="control"):
            write("\x00")


def test_a_language_without_escapes_takes_no_value_that_needs_one() -> None:
    assert not values_fit("xoql", ["O'Brien"])
    assert not values_fit("xoql", ["a\\"])
    assert values_fit("xoql", ["Zq2qbc4lowjj4sil"])
