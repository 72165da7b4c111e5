"""Copies that a CRM derives from a number."""

import pytest

from gateway.derived import derive, e164


@pytest.mark.parametrize(
    ("text", "derived"),
    [
        ("138-0013-8000", "+8613800138000"),
        ("+33 (0)6 99 88 77 66", "+33699887766"),
        ("+14155550123", "+14155550123"),
        ("138****8000", None),
        ("see notes", None),
        ("12", None),
        ("•••", None),
    ],
)
def test_a_number_is_derived_and_anything_else_stays(text: str, derived: str | None) -> None:
    assert e164(text, "CN") == derived


def test_only_the_member_that_holds_the_copy_changes() -> None:
    body = b'{"phone":"138-0013-8000","phone_e164": "138-0013-8000","x":[{"phone_e164":"138****8000"}]}'
    told = b'{"phone":"138-0013-8000","phone_e164": "+8613800138000","x":[{"phone_e164":"138****8000"}]}'
    assert derive(body, {"phone_e164": "CN"}) == told
    assert derive(body, {"mobile_e164": "CN"}) == body


def test_a_long_row_of_quotes_is_no_trap() -> None:
    body = b'{"phone_e164":"' + b"1" * 100_000
    assert derive(body, {"phone_e164": "CN"}) == body
