"""Values in paths: found where the template says, written without a way out of their segment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.query.parsed import QueryInvalid
from policies.query.path import path_value, with_value

KEY = ("sobjects", "Contact", "Email__c", "{}")
ALTERNATE = ("contacts(emailaddress1='{}')",)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1).filter(
    lambda one: one not in (".", "..")
)


def test_the_value_is_found_decoded_and_the_rest_keeps_its_encoding() -> None:
    path = "/services/data/v60.0/sobjects/%43ontact/Email__c/a%2Bb%40x.com"
    found = path_value(KEY, path)
    assert found is not None
    assert found.text == "a+b@x.com"
    assert (
        with_value(path, found, "e.z@enc.invalid")
        == "/services/data/v60.0/sobjects/%43ontact/Email__c/e.z%40enc.invalid"
    )


def test_apostrophes_around_it_may_be_encoded_and_inside_it_are_doubled() -> None:
    for path in (
        "/v9.2/contacts(emailaddress1='O''Neil@x.com')",
        "/v9.2/contacts%28emailaddress1=%27O%27%27Neil%40x.com%27%29",
    ):
        found = path_value(ALTERNATE, path)
        assert found is not None
        assert found.text == "O'Neil@x.com"
        again = path_value(ALTERNATE, with_value(path, found, "a'b"))
        assert again is not None
        assert again.text == "a'b"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/Email__c/a",
        "/sobjects/Lead/Email__c/a",
        "/sobjects/Contact/Email__c/a/b",
        "/sobjects/Contact/Email__c/",
    ],
)
def test_another_path_has_no_value(path: str) -> None:
    assert path_value(KEY, path) is None


@pytest.mark.parametrize("raw", ["a%2Fb", "a%5Cb", "a%00b", "%ff", "a%0Ab"])
def test_what_two_readers_read_differently_is_refused(raw: str) -> None:
    with pytest.raises(QueryInvalid):
        path_value(KEY, f"/sobjects/Contact/Email__c/{raw}")


def test_a_single_apostrophe_ends_a_literal_and_is_refused() -> None:
    with pytest.raises(QueryInvalid):
        path_value(ALTERNATE, "/contacts(emailaddress1='a'%20or%20b='c')")


@given(VALUES)
def test_a_value_stays_inside_its_segment_and_means_itself_again(value: str) -> None:
    for template, path in ((KEY, "/sobjects/Contact/Email__c/x"), (ALTERNATE, "/v9.2/contacts(emailaddress1='x')")):
        place = path_value(template, path)
        assert place is not None
        made = with_value(path, place, value)
        assert made.count("/") == path.count("/")
        assert not set("?#") & set(made)
        again = path_value(template, made)
        assert again is not None
        assert again.text == value


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "a\\b", "a\nb"])
def test_a_value_that_cannot_stand_in_a_path_is_refused(value: str) -> None:
    place = path_value(KEY, "/sobjects/Contact/Email__c/x")
    assert place is not None
    with pytest.raises(ValueError, match="path"):
        with_value("/sobjects/Contact/Email__c/x", place, value)


@given(st.text(alphabet="contacts(email='%28)/ab", max_size=60))
def test_any_path_is_read_or_refused(path: str) -> None:
    try:
        path_value(ALTERNATE, "/" + path)
    except QueryInvalid:
        return


def test_a_short_segment_that_ends_like_a_template_is_another_path() -> None:
    assert path_value(ALTERNATE, "/')") is None
    assert path_value(ALTERNATE, "/)") is None
