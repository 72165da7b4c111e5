"""A mask shows what the table allows and nothing more, whatever the value; wire masks come back whole."""

import random
import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.people import make_people
from policies.taxonomy import Kind
from privacy import email
from privacy.mask import MASK_CHARS, WireMask, looks_masked, mask, unmask_wire, wire_mask
from privacy.recognise import find

TOKEN = "abcdefghijklmnopqrstuvwxyz234567"
EMAIL = f"e.{TOKEN}@enc.invalid"
PHONE = "+88871234567123"
KINDS = [*Kind, "unknown"]

TABLE = [
    (Kind.PHONE, "13800138000", "138****8000"),
    (Kind.PHONE, "+86 138 0013 8000", "138****8000"),
    (Kind.PHONE, "0086-13800138000", "138****8000"),
    (Kind.PHONE, "8613800138000", "138****8000"),
    (Kind.PHONE, "１３８００１３８０００", "138****8000"),
    (Kind.PHONE, "138\u200b0013\u200b8000", "138****8000"),
    (Kind.PHONE, "+33612345678", "+33****5678"),
    (Kind.PHONE, "0033 6 12 34 56 78", "+33****5678"),
    (Kind.PHONE, "+1 (415) 555-0123", "+1****0123"),
    (Kind.PHONE, "+12345", "+1****"),
    (Kind.PHONE, "010-62551234", "010-****34"),
    (Kind.PHONE, "(0755)83765432", "0755-****32"),
    (Kind.PHONE, "400-800-1234", "****34"),
    (Kind.PHONE, "110", "****"),
    (Kind.PHONE, "ask Zhang", "****"),
    (Kind.EMAIL, "zhang@example.com", "z***@example.com"),
    (Kind.EMAIL, "zh@example.com", "z***@example.com"),
    (Kind.EMAIL, "z@example.com", "***@example.com"),
    (Kind.EMAIL, "e\u0301@example.com", "***@example.com"),
    (Kind.EMAIL, "张三@例子.公司", "张***@例子.公司"),
    (Kind.EMAIL, '"a b"@example.com', "***@example.com"),
    (Kind.EMAIL, "not an address", "****"),
    (Kind.EMAIL, "zhang@<script>", "****"),
    (Kind.ID_CARD, "11010519491231002X", "1****************X"),
    (Kind.ID_CARD, "11010519491231002x", "1****************X"),
    (Kind.ID_CARD, "110105 19491231 0021", "1****************1"),
    (Kind.ID_CARD, "130503670401001", "1****************1"),
    (Kind.ID_CARD, "E12345678", "****************"),
    (Kind.BANK_CARD, "6222021234567890128", "*** 0128"),
    (Kind.BANK_CARD, "4111 1111 1111 1111", "*** 1111"),
    (Kind.BANK_CARD, "12345678", "***"),
    (Kind.BANK_CARD, "123456789", "***"),
    (Kind.NAME, "张伟", "张**"),
    (Kind.NAME, "张伟明", "张**"),
    (Kind.NAME, "张 伟", "张**"),
    (Kind.NAME, "张", "**"),
    (Kind.NAME, "欧阳修", "欧阳**"),
    (Kind.NAME, "司马相如", "司马**"),
    (Kind.NAME, "欧阳", "欧**"),
    (Kind.NAME, "阿卜杜拉·买买提", "阿**"),
    (Kind.NAME, "上海某某科技有限公司", "上**"),
    (Kind.NAME, "𠮷田贵", "𠮷**"),
    (Kind.NAME, "John Smith", "J***"),
    (Kind.NAME, "Li", "L***"),
    (Kind.NAME, "J", "***"),
    (Kind.NAME, "E\u0301mile", "\u00c9***"),
    (Kind.NAME, "X\u0301avier", "X\u0301***"),
    (Kind.NAME, "محمد علي", "م***"),
    (Kind.NAME, "\u200f\u202eJohn", "J***"),
    (Kind.NAME, "<img src=x onerror=alert(1)>", "***"),
    (Kind.NAME, "=cmd|'/c calc'!A1", "***"),
    (Kind.NAME, "👩‍👩‍👧 Smith", "***"),
    (Kind.NAME, "", "***"),
    (Kind.ADDRESS, "北京市朝阳区建国路88号", "北京市朝阳区****"),
    (Kind.ADDRESS, "浙江省杭州市西湖区文三路1号", "浙江省杭州市西湖区****"),
    (Kind.ADDRESS, "内蒙古自治区锡林郭勒盟锡林浩特市团结街1号", "内蒙古自治区锡林郭勒盟锡林浩特市****"),
    (Kind.ADDRESS, "江苏省昆山市玉山镇1号", "江苏省昆山市****"),
    (Kind.ADDRESS, "北京市朝阳区", "北京市****"),
    (Kind.ADDRESS, "上海市", "****"),
    (Kind.ADDRESS, "张三的朋友住在上海市浦东新区", "****"),
    (Kind.ADDRESS, "杭州市阳光小区1号", "杭州市****"),
    (Kind.ADDRESS, "12 rue de Rivoli, Paris", "****"),
    ("unknown", "anything", "****"),
]


@pytest.mark.parametrize(("kind", "clear", "expected"), TABLE)
def test_masks_by_the_custom_of_the_field(kind: str, clear: str, expected: str) -> None:
    assert mask(kind, clear) == expected


@pytest.mark.parametrize(("kind", "clear", "expected"), TABLE)
def test_another_mask_character_changes_nothing_else(kind: str, clear: str, expected: str) -> None:
    assert mask(kind, clear, char="•") == expected.replace("*", "•")


@pytest.mark.parametrize(("kind", "clear", "expected"), TABLE)
@pytest.mark.parametrize("char", MASK_CHARS)
def test_every_readable_mask_is_recognised_when_it_comes_back(kind: str, clear: str, expected: str, char: str) -> None:
    shown = mask(kind, clear, char=char)
    assert looks_masked(shown)
    assert looks_masked(f"  {shown}\n")
    if kind in {Kind.PHONE, Kind.EMAIL, Kind.ID_CARD, Kind.BANK_CARD} and re.search("[0-9X@]", expected):
        assert looks_masked(f"客户电话{shown}，已联系") or expected == "****34"


@pytest.mark.parametrize("kind", KINDS)
@given(clear=st.text(max_size=60))
def test_no_value_is_ever_shown_whole(kind: str, clear: str) -> None:
    shown = mask(kind, clear)
    assert "*" in shown
    assert not clear.strip() or clear.strip("*") == "" or clear.strip() not in shown


@given(
    st.text(alphabet="0123456789+- ()", max_size=30).filter(lambda text: sum(map(str.isdigit, text)) > 0),
    st.sampled_from([Kind.PHONE, Kind.ID_CARD, Kind.BANK_CARD]),
)
def test_a_number_never_shows_more_digits_than_it_hides_plus_its_code(clear: str, kind: Kind) -> None:
    digits = sum(map(str.isdigit, clear))
    shown = sum(map(str.isdigit, mask(kind, clear)))
    assert shown <= 7
    assert shown < digits
    assert digits >= 7 or shown <= 3


@given(st.text(min_size=2, max_size=40), st.text(min_size=2, max_size=40))
def test_length_never_shows_for_names_that_begin_alike(one: str, other: str) -> None:
    first, second = mask(Kind.NAME, "张" + "伟" * len(one)), mask(Kind.NAME, "张" + "伟" * len(other))
    assert first == second
    assert len(mask(Kind.EMAIL, f"z{'a' * len(one)}@example.com")) == len("z***@example.com")


@given(st.text(max_size=30))
def test_a_name_is_never_cut_inside_a_character(clear: str) -> None:
    shown = mask(Kind.NAME, clear).rstrip("*")
    assert len(shown) <= 5
    shown.encode("utf-16-le", "surrogatepass")
    assert not shown or not re.match("[\u0300-\u036f\ud800-\udfff]", shown)


def test_masks_of_people_are_recognised_and_never_the_value() -> None:
    for person in make_people(random.Random(3), 200):
        for kind, clear in person.values:
            shown = mask(kind, clear)
            assert looks_masked(shown)
            assert find(shown) == []


@pytest.mark.parametrize(
    "text",
    [
        "5 * 3 ** 2",
        "**bold** and *italic*",
        "注意**重要**事项",
        "* one\n* two\n• three",
        "***\nsection",
        "rating: ***** (5)",
        "2 ** 1234",
        "a*b@example.com",
        "SELECT * FROM x",
        "/* comment */ 1234",
        "zhang@example.com",
        "",
        "Best wishes, Li • Sales • 2026",
    ],
)
def test_ordinary_text_with_stars_is_not_taken_for_a_mask(text: str) -> None:
    assert not looks_masked(text)


def test_masks_inside_prose_and_lists_are_recognised() -> None:
    for text in (
        "手机138****8000已更新",
        "to z***@example.com, please",
        "卡 *** 1234，",
        "张** 伟**",
        "寄到北京市朝阳区****",
    ):
        assert looks_masked(text)
        assert looks_masked(text.replace("*", "•"))


@pytest.mark.parametrize(
    ("clear", "expected"),
    [
        ("zhang@example.com", f"z.{TOKEN}@example.com.masked.invalid"),
        ("Zhang@Example.COM", f"z.{TOKEN}@example.com.masked.invalid"),
        ("z@example.com", f"x.{TOKEN}@example.com.masked.invalid"),
        ("eva@example.com", f"x.{TOKEN}@example.com.masked.invalid"),
        ("张三@例子.公司", f"x.{TOKEN}@xn--fsqu00a.xn--55qx5d.masked.invalid"),
        ("zh@[127.0.0.1]", f"z.{TOKEN}@masked.invalid"),
        ("zh@" + "a" * 60 + "." + "b" * 60 + "." + "c" * 60 + "." + "d" * 40 + ".com", f"z.{TOKEN}@masked.invalid"),
        ("zh@under_score.example.com", f"z.{TOKEN}@masked.invalid"),
        ("no address", f"x.{TOKEN}@masked.invalid"),
    ],
)
def test_an_e_mail_wire_mask_is_a_valid_address_that_carries_the_surrogate(clear: str, expected: str) -> None:
    shown = wire_mask(Kind.EMAIL, clear, EMAIL)
    assert shown == expected
    assert email.problem(shown) is None
    assert len(shown) <= 254
    assert len(shown.partition("@")[0]) <= 64
    carried = unmask_wire(shown)
    assert carried is not None
    assert carried[:2] == (Kind.EMAIL, TOKEN)


@given(st.emails())
def test_every_e_mail_gets_a_wire_mask_that_comes_back(clear: str) -> None:
    shown = wire_mask(Kind.EMAIL, clear, EMAIL)
    carried = unmask_wire(f" {shown.upper()} ")
    assert carried is not None
    assert carried.token == TOKEN
    assert email.problem(shown) is None
    assert clear.lower() not in shown


def test_a_phone_wire_mask_is_a_valid_number_that_carries_the_serial() -> None:
    shown = wire_mask(Kind.PHONE, "+86 138 0013 8000", PHONE)
    assert shown == "+88891234567000"
    assert phonenumbers.is_valid_number(phonenumbers.parse(shown))
    assert unmask_wire(shown) == WireMask(Kind.PHONE, "1234567", "000")
    assert unmask_wire("00888 9123-4567.000") == WireMask(Kind.PHONE, "1234567", "000")


def test_a_short_phone_shows_no_digit_on_the_wire() -> None:
    assert wire_mask(Kind.PHONE, "12312", PHONE) == "+88891234567000"


@pytest.mark.parametrize("kind", [Kind.NAME, Kind.ID_CARD, Kind.BANK_CARD, Kind.ADDRESS])
def test_kinds_without_a_wire_mask_show_the_surrogate(kind: Kind) -> None:
    assert wire_mask(kind, "clear", "Zqabcdefgh234567") == "Zqabcdefgh234567"


@pytest.mark.parametrize("surrogate", ["", "010-01234567", "+99971234567123", "f.x@enc.invalid"])
def test_a_surrogate_of_another_shape_is_shown_itself(surrogate: str) -> None:
    assert wire_mask(Kind.PHONE, "13800138000", surrogate) == surrogate
    assert wire_mask(Kind.EMAIL, "zhang@example.com", surrogate) == surrogate


@pytest.mark.parametrize(
    "text",
    [
        "",
        EMAIL,
        PHONE,
        "zhang@example.com",
        "z@masked.invalid",
        f"z.{TOKEN}@masked.invalid.example.com",
        "+8889123",
        "x" * 999,
    ],
)
def test_what_is_no_wire_mask_is_not_unmasked(text: str) -> None:
    assert unmask_wire(text) is None


def test_a_long_row_of_masks_with_a_flaw_is_judged_at_once() -> None:
    assert not looks_masked("** " * 100 + "x")
    assert looks_masked("** " * 100)


@given(st.text(max_size=80))
def test_unmasking_and_looking_never_fail(text: str) -> None:
    unmask_wire(text)
    looks_masked(text)
