"""Check digits against published vectors, and what one place in a run of digits may be."""

import pytest

from policies.taxonomy import Kind
from privacy.number import Number, bank_card_ok, compact, id_card_ok, luhn_ok, match_at


def test_luhn_matches_the_textbook_example() -> None:
    """Account number 7992739871 has check digit 3 (ISO/IEC 7812-1 annex B)."""
    assert [digit for digit in range(10) if luhn_ok(f"7992739871{digit}")] == [3]


def test_the_example_of_the_id_standard_is_a_number() -> None:
    """GB 11643-1999, annex A: 11010519491231002X; here the check character alone decides."""
    assert [c for c in "0123456789X" if id_card_ok("11010519491231002" + c)] == ["X"]


@pytest.mark.parametrize("text", ["11010519491231002X", "11010519491231002x", "130503670401001"])
def test_id_numbers_of_both_lengths_are_accepted(text: str) -> None:
    assert id_card_ok(text)


@pytest.mark.parametrize(
    "text",
    [
        "440524188001010014",  # valid check, born before 1900: the shape of our surrogates
        "110105194912310021",
        "110105194913310029",
        "000105194912310020",
        "110000194912310022",
        "130503671301001",
        "13050367040100",
        "",
    ],
)
def test_id_numbers_of_nobody_are_refused(text: str) -> None:
    assert not id_card_ok(text)


@pytest.mark.parametrize(
    "digits",
    [
        "4111111111111111",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3530111333300000",
        "6011111111111117",
        "6222021234567890128",
    ],
)
def test_cards_of_every_known_issuer_are_accepted(digits: str) -> None:
    """Public test numbers of payment networks and a UnionPay-shaped one."""
    assert bank_card_ok(digits)


@pytest.mark.parametrize(
    "digits",
    ["4111111111111112", "1763804507123", "9999123456789012345", "411111111111111", "79927398713", "4222222222222"],
)
def test_luhn_alone_makes_no_card(digits: str) -> None:
    assert not bank_card_ok(digits)


@pytest.mark.parametrize("block", ["154", "160", "161", "163", "164", "168", "169", "179", "194", "100", "120", "141"])
def test_unassigned_mobile_blocks_are_no_phones(block: str) -> None:
    assert match_at(f"{block}00138000", 0, "", "") is None


@pytest.mark.parametrize(
    "block", ["130", "139", "145", "149", "150", "159", "162", "166", "170", "178", "180", "189", "191", "199"]
)
def test_assigned_mobile_blocks_are_phones(block: str) -> None:
    assert match_at(f"{block}00138000", 0, "", "") == Number(Kind.PHONE, 0, 11)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("", "", True),
        ("手机", "，", True),
        ("x", "", False),
        ("Tel", "", True),
        ("motel", "", False),
        ("0.", "", False),
        ("手机.", "", True),
        ("12-", "", False),
        ("Zhang-", "", True),
        ("13912345678-", "", True),
        ("/contacts/", "", False),
        ("https://crm.example.com/", "", False),
        ("张伟/", "", True),
        ("Zhang/", "", True),
        ("$", "", False),
        ("￥", "", False),
        ("%", "", False),
        ("", "%", False),
        ("", "a", False),
        ("", "x12", True),
        ("", " x", True),
        ("", ".5", False),
        ("", ".", True),
        ("", "-123", True),
        ("", "-123456", False),
        ("", "-李", True),
    ],
)
def test_what_stands_around_a_number_decides(before: str, after: str, found: bool) -> None:
    assert (match_at("13800138000", 0, before, after) is not None) is found


@pytest.mark.parametrize("run", ["+88871234567123", "+888 71 234567123", "0088891234567123"])
def test_numbers_of_our_own_are_skipped_whole(run: str) -> None:
    assert match_at(run, 0, "", "") == Number(None, 0, len(run))


def test_a_zero_padded_id_is_no_number_of_north_america() -> None:
    assert match_at("0014155550123", 0, "", "") is None
    assert match_at("001 415 555 0123", 0, "", "") == Number(Kind.PHONE, 0, 16)


def test_compact_keeps_digits_and_the_check_character() -> None:
    assert compact("(110105) 1949-1231.002X") == "11010519491231002X"
