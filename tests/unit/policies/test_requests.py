"""Ids in address line and body: only what has the shape of one, and only where the CRM would read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.record_id import RecordIds
from policies.requests import BULK_LIMIT, names_field, record_ids, type_id

FORM = "application/x-www-form-urlencoded"


def test_ids_of_another_shape_than_the_profiles_do_not_count() -> None:
    given = "3f2b8c1e-5d4a-4b6c-9e7f-0a1b2c3d4e5f"
    body = f"ids=7,{given.upper()}".encode()
    assert record_ids(["ids"], "", body, FORM, RecordIds.UUID) == (given,)
    assert record_ids(["ids"], "", body, FORM) == ("7",)


def test_type_is_in_the_path_or_the_query() -> None:
    assert type_id({"type": "98"}, "ct_id=1") == "98"
    assert type_id({}, "x=1&ct_id=98") == "98"
    assert type_id({}, "x=1") == ""


def test_ids_are_read_from_the_body_before_the_query() -> None:
    """A CRM that reads the body ignores the query: ids smuggled there must not count."""
    assert record_ids(["ids"], "ids=1", b"ids=2,3&ids=4&ids=x&other=9", FORM) == ("2", "3", "4")
    assert record_ids(["ids"], "ids=1", None, "") == ("1",)
    assert record_ids(["ids"], "ids=1", b"--b", "multipart/form-data; boundary=b") == ()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"ids": [5, "6", " 7 "], "set": {"ids": [8]}}', ("5", "6", "7")),
        (b'{"ids": 5}', ("5",)),
        (b'{"ids": "5,6"}', ("5", "6")),
        (b'{"ids": [true, null, 1.5, {"id": 3}, "x"]}', ()),
        (b'[{"ids": [5]}]', ()),
        (b"{broken", ()),
        (b"[" * 100_000, ()),
    ],
)
def test_ids_of_a_json_body_are_its_own_members(body: bytes, found: tuple[str, ...]) -> None:
    assert record_ids(["ids"], "ids=1", body, "application/json; charset=utf-8") == found


def test_ids_of_a_bulk_request_are_bounded() -> None:
    many = ",".join(str(number) for number in range(BULK_LIMIT + 5))
    assert len(record_ids(["ids"], "", f"ids={many}".encode(), FORM)) == BULK_LIMIT


@pytest.mark.parametrize(
    ("body", "content_type", "named"),
    [
        (b"a=1&callback_url=/x", FORM, True),
        (b"a=1&callback%5Furl=/x", FORM, True),
        (b"a=1", FORM, False),
        (b"", FORM, False),
        (None, FORM, False),
        (b"a=callback_url", FORM, False),
        (b"--b", "multipart/form-data; boundary=b", True),
        (b"&".join(b"a=1" for _ in range(6000)), FORM, True),
    ],
)
def test_named_field_counts_as_named_when_in_doubt(body: bytes | None, content_type: str, named: bool) -> None:
    assert names_field("callback_url", body, content_type) is named


@given(st.binary(max_size=80), st.text(max_size=40))
def test_no_request_raises(body: bytes, text: str) -> None:
    type_id({}, "ct_id=" + text)
    record_ids(["a"], text, body, FORM)
    names_field("a", body, FORM)
