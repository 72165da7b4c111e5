"""Words of the SQL family: what goes in as a value comes out as that value, and nothing else is a word."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.query.parsed import LONGEST_CHARS, MOST_LEVELS, QueryInvalid
from policies.query.words import Sort, meant, quoted, words

VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(VALUES)
@example("' OR '1'='1")
@example("\\")
@example("\\'")
def test_a_value_is_one_literal_and_means_itself_again(value: str) -> None:
    literal = quoted(value)
    (word,) = words(literal)
    assert (word.sort, word.text) == (Sort.TEXT, literal)
    assert meant(literal, like=False) == value


@given(st.text())
def test_words_cover_the_whole_text_or_refuse_it(text: str) -> None:
    try:
        found = words(text)
    except QueryInvalid:
        return
    at = 0
    for word in found:
        assert text[at : word.start].strip(" \t\r\n") == ""
        assert text[word.start : word.end] == word.text
        at = word.end
    assert text[at:].strip(" \t\r\n") == ""


@pytest.mark.parametrize(
    "text", ["a--b", "a /* b */", 'a = "b"', "`a`", "a = :b", "a;b", "a @b", "名", "a = 'b", "1a", "a.", "{a}"]
)
def test_what_is_no_word_refuses_the_query(text: str) -> None:
    with pytest.raises(QueryInvalid):
        words(text)


@pytest.mark.parametrize("text", ["a" * (LONGEST_CHARS + 1), "(" * (MOST_LEVELS + 1), "a " * 6000])
def test_a_query_has_limits(text: str) -> None:
    with pytest.raises(QueryInvalid):
        words(text)


def test_dates_and_spans_are_values() -> None:
    found = words("2024-01-31 2024-01-31T10:00:00Z 2024-01-31T10:00:00.000+08:00 LAST_N_DAYS:30 -1.5")
    assert {one.sort for one in found} == {Sort.VALUE}
    assert len(found) == 5


def test_a_pattern_keeps_its_wild_cards_apart_from_their_signs() -> None:
    assert meant(r"'a%b\%c\_\\d\'\u00e9'", like=True) == "a%b\\%c\\_\\\\d'é"
    assert meant(r"'\u0025'", like=True) == "\\%"


@pytest.mark.parametrize("literal", [r"'\x'", r"'\N'", r"'\u00'", r"'\u0007'", r"'\ud800'"])
def test_an_escape_that_is_not_known_is_refused(literal: str) -> None:
    with pytest.raises(QueryInvalid):
        meant(literal, like=False)


def test_control_signs_are_no_value() -> None:
    with pytest.raises(ValueError, match="control"):
        quoted("a\nb")
