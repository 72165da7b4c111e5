"""Recall on values people write, silence on what merely looks like one; all values are synthetic."""

import itertools
import random
import string
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.demo.people import Person, make_people
from policies.taxonomy import Kind
from privacy.recognise import Found, find, whole

PEOPLE = make_people(random.Random(20261122), 300)
TOKEN = "abcdefghijklmnopqrstuvwxyz234567"

FOUND_IN_TEXT = [
    ("张伟的手机13800138000，周四联系", Kind.PHONE, "13800138000"),
    ("手机：138 0013 8000（微信同号）", Kind.PHONE, "138 0013 8000"),
    ("手机138-0013-8000转12", Kind.PHONE, "138-0013-8000"),
    ("手机138.0013.8000。", Kind.PHONE, "138.0013.8000"),
    ("电话+86 138 0013 8000或面谈", Kind.PHONE, "+86 138 0013 8000"),
    ("电话＋８６ １３８００１３８０００", Kind.PHONE, "＋８６ １３８００１３８０００"),
    ("电话0086-13912345678", Kind.PHONE, "0086-13912345678"),
    ("电话8613912345678，", Kind.PHONE, "8613912345678"),
    ("号码１３８００１３８０００是他的", Kind.PHONE, "１３８００１３８０００"),
    ("call 138\u00a00013\u00a08000 today", Kind.PHONE, "138\u00a00013\u00a08000"),
    ("call 138\u20110013\u20118000", Kind.PHONE, "138\u20110013\u20118000"),
    ("复制\u202d13800138000\u202c的", Kind.PHONE, "13800138000"),
    ("invisible 138\u200b0013\u200b8000 marks", Kind.PHONE, "138\u200b0013\u200b8000"),
    ("Tel13800138000", Kind.PHONE, "13800138000"),
    ("tel:13800138000", Kind.PHONE, "13800138000"),
    ("phone=13800138000&x=1", Kind.PHONE, "13800138000"),
    ("张伟/13800138000/销售", Kind.PHONE, "13800138000"),
    ("13800138000@wechat", Kind.PHONE, "13800138000"),
    ("合同_张伟_13800138000_v2.pdf", Kind.PHONE, "13800138000"),
    ("拨打13800138000-1234", Kind.PHONE, "13800138000"),
    ("call 13800138000x12", Kind.PHONE, "13800138000"),
    ("(138)0013-8000", Kind.PHONE, "(138)0013-8000"),
    ("1 3 8 0 0 1 3 8 0 0 0", Kind.PHONE, "1 3 8 0 0 1 3 8 0 0 0"),
    ("call me at +1 415-555-0123 please", Kind.PHONE, "+1 415-555-0123"),
    ("Marie: +33 (0)6 12 34 56 78.", Kind.PHONE, "+33 (0)6 12 34 56 78"),
    ("Jürgen +491711234567,", Kind.PHONE, "+491711234567"),
    ("致电+81 3-1234-5678。", Kind.PHONE, "+81 3-1234-5678"),
    ("dial 0033612345678 now", Kind.PHONE, "0033612345678"),
    ("北京(010) 6255 1234分机8", Kind.PHONE, "(010) 6255 1234"),
    ("座机010-62551234转801", Kind.PHONE, "010-62551234"),
    ("座机（0755）83765432", Kind.PHONE, "（0755）83765432"),
    ("座机0571-8837 6543-801", Kind.PHONE, "0571-8837 6543-801"),
    ("身份证11010519491231002X已核对", Kind.ID_CARD, "11010519491231002X"),
    ("身份证11010519491231002x。", Kind.ID_CARD, "11010519491231002x"),
    ("证件110105 19491231 002X", Kind.ID_CARD, "110105 19491231 002X"),
    ("证件１１０１０５１９４９１２３１００２Ｘ", Kind.ID_CARD, "１１０１０５１９４９１２３１００２Ｘ"),
    ("旧证130503670401001，", Kind.ID_CARD, "130503670401001"),
    ("卡号6222021234567890128到账", Kind.BANK_CARD, "6222021234567890128"),
    ("Visa 4111 1111 1111 1111 exp 12/29", Kind.BANK_CARD, "4111 1111 1111 1111"),
    ("Visa 4111-1111-1111-1111.", Kind.BANK_CARD, "4111-1111-1111-1111"),
    ("MasterCard 5555555555554444", Kind.BANK_CARD, "5555555555554444"),
    ("Amex 3782 822463 10005", Kind.BANK_CARD, "3782 822463 10005"),
    ("JCB 3530111333300000", Kind.BANK_CARD, "3530111333300000"),
    ("邮箱zhang.wei@example.com谢谢", Kind.EMAIL, "zhang.wei@example.com"),
    ("邮箱zhang.wei＠example．com谢谢", Kind.EMAIL, "zhang.wei＠example．com"),
    ("<mailto:o+tag@mail.example.co.uk>", Kind.EMAIL, "o+tag@mail.example.co.uk"),
    ("见user_1@xn--fsqu00a.xn--55qx5d。", Kind.EMAIL, "user_1@xn--fsqu00a.xn--55qx5d"),
    ("见zhang@例子.公司，谢谢", Kind.EMAIL, "zhang@例子.公司"),
    ("jürgen@example.de", Kind.EMAIL, "jürgen@example.de"),
    ("mail 13800138000@139.example.com", Kind.EMAIL, "13800138000@139.example.com"),
    ("filter: email eq 'a.b@example.com' and", Kind.EMAIL, "a.b@example.com"),
    ("ends a.b@example.com.", Kind.EMAIL, "a.b@example.com"),
]

# Written without a space: each part is found, and nothing of it stays in clear.
GLUED = [
    ("邮箱zhang.wei@example.com请联系", ["zhang.wei@example.com"]),
    ("xzhang@example.com等", ["xzhang@example.com"]),
    ("联系9zhang@example.com或", ["9zhang@example.com"]),
    ("邮箱zhang@example.com1号", ["zhang@example.com"]),
    ("zhang@example.com9", ["zhang@example.com"]),
    ("zhang@example.com.cn2请", ["zhang@example.com.cn"]),
    ("zhang@163.com13800138000", ["zhang@163.com", "13800138000"]),
    ("13800138000zhang@example.com", ["13800138000zhang@example.com"]),
    ("手机13800138000邮箱zhang@example.com微信", ["13800138000", "zhang@example.com"]),
    ("zhang@example.comx", ["zhang@example.comx"]),
    ("mail zhang@example.comand call", ["zhang@example.comand"]),
    ("zhang@example.comfromheretotheveryendofthenote", ["zhang@example.com"]),
    ("zhang@example.comx9", ["zhang@example.com"]),
    ("a.b@example.com7wei@example.org", ["a.b@example.com", "7wei@example.org"]),
    ("zhang@example.com、wei@example.com9；", ["zhang@example.com", "wei@example.com"]),
    ("zhang@example.com_wei", ["zhang@example.com"]),
    ("ｚhang@example.com9", ["ｚhang@example.com"]),
]

BENIGN = """
550e8400-e29b-41d4-a716-446655440000
12345678-1234-4123-8123-123456789012
41111111-1111-4111-8111-111111111111
d41d8cd98f00b204e9800998ecf8427e a13800138000f 13800138000abcdef
2026-11-22 2026-11-23 2026-11-24
2026-11-22T09:41:47.138001380Z 2026-11-22 09:41:47 2026/11/22 20261122094147
1763804507 1763804507123 1763804507123456 1763804507123456789
SO-2026-000123 INV-20261122-000045 DD20261122000123456 4200001234202611221234567890
1234567890123456789 2311220001234567 9780306406157 6901234567892 00012345678905
0.13800138000 13800138000.55 -3.14159265358979 $13800138000 ￥13800138000
v1.13.8001 10.13.800.138000 1.2.3-rc.4 8.0.0.13800138000
192.168.100.100 180.101.50.242 139.196.100.242 2001:db8::8a2e:370:7334
#13d8001 #138001ff rgb(138, 001, 38) color:#fff;width:13800px;margin:.13800138000em
function(a){return a[13]+1380+0138}var x=[1,3,5,7,9,11,13,15,17,19,21];if(x>1e13&&y<0x1380013800){}
1 3 5 7 9 11 13 15 17 19 | 13 15 17 19 21 23 | 10 20 30 40 50 60
<a href="/contacts/13800138000/edit">x</a> https://crm.example.com/orders/13812345678?x=1
https://user:secret@crm.example.com/ icon@2x.png vue@3.5.13 @media print @scope/pkg 12@34 me@localhost
https://user:secret@crm.example.com9 icon@2x.png2 vue@3.5.13b @media2 sha256@abc.def1 user@host1 a@b.c9
150 20261122 138001380001 1380013800 15412345678 12345678901 19412345678
010-0123456 010-01234567 99999999999999999
110105194912310021 000000194912310021 110000190012310020
1234 5678 9012 3456 4111 1111 1111 1112 6222021234567890120
data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA13800138000AAAB+1380Zx/9k=
100%13800138000 %E4%BD%A0 13800138000% 13800138000kg 3x13800138000
row_1_13800138000 12_13800138000 13800138000_123456
""".strip().splitlines()

OURS = [
    f"e.{TOKEN}@enc.invalid",
    f"E.{TOKEN.upper()}@ENC.INVALID",
    f"e.{TOKEN}@surrogates.example.com",
    f"z.{TOKEN}@example.com.masked.invalid",
    "+88871234567123",
    "+888 712 345 671 23",
    "0088871234567123",
    "+88891234567123",
    "71234567123",
    "110000185001010010",
    "9999123456789012345",
    "Zq234567234567abcd",
    "138****8000 z***@ *** 1234",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND_IN_TEXT)
def test_finds_the_value_people_write(text: str, kind: Kind, value: str) -> None:
    found = find(text)
    assert [(hit.kind, hit.text) for hit in found] == [(kind, value)]
    assert text[found[0].start : found[0].end] == found[0].text


@pytest.mark.parametrize(("text", "values"), GLUED)
def test_finds_what_is_written_without_a_space(text: str, values: list[str]) -> None:
    assert [hit.text for hit in find(text)] == values


@pytest.mark.parametrize("line", BENIGN)
def test_stays_silent_on_what_only_looks_like_a_value(line: str) -> None:
    assert find(line) == []


@pytest.mark.parametrize("text", OURS)
def test_never_finds_surrogates_and_masks_of_our_own(text: str) -> None:
    assert find(text) == []
    assert find(f"客户{text}，见附件") == []
    assert whole(text) is None


def test_imitating_our_own_shapes_hides_nothing() -> None:
    assert texts("+888 13800138000") == ["+888 13800138000"]
    assert texts("+8887 13800138000") == ["13800138000"]
    assert texts("zhang@example.com.masked.invalid") == ["zhang@example.com.masked.invalid"]
    assert texts("zhang@enc.invalid") == ["zhang@enc.invalid"]


def test_finds_several_numbers_in_one_run() -> None:
    assert texts("138 0013 8000 139 1234 5678") == ["138 0013 8000", "139 1234 5678"]
    assert texts("13800138000-13912345678") == ["13800138000", "13912345678"]
    assert texts("2026-11-22 13800138000 4111111111111111") == ["13800138000", "4111111111111111"]
    assert texts("+8613800138000 +33612345678/11010519491231002X") == [
        "+8613800138000",
        "+33612345678",
        "11010519491231002X",
    ]


def test_digits_inside_an_address_belong_to_the_address() -> None:
    assert texts("2026 13800138000@example.com 13912345678") == ["13800138000@example.com", "13912345678"]


@pytest.mark.parametrize("person", PEOPLE[:60], ids=lambda person: person.key)
def test_finds_every_value_of_a_person_in_notes_of_both_languages(person: Person) -> None:
    for value in (person.email, person.phone, person.id_card, person.bank_card):
        for template in ("联系人备注：{}，请保密", "联系{}谢谢", "({})", 'say "{}"; ok', "{}", "a\n{}\tb"):
            if value:
                assert value in texts(template.format(value))


@given(
    st.sampled_from(PEOPLE),
    st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=12),
    st.text(alphabet="，。、：；（）“”《》\n ", max_size=3),
)
def test_chinese_text_around_a_value_never_hides_it(person: Person, words: str, mark: str) -> None:
    for value in (person.phone, person.id_card, person.bank_card, person.email):
        if value:
            assert value in texts(words + mark + value + words)


@given(st.text(max_size=300))
@settings(max_examples=300)
def test_offsets_are_true_ordered_and_apart_in_any_text(text: str) -> None:
    end = 0
    for hit in find(text):
        assert end <= hit.start < hit.end
        assert text[hit.start : hit.end] == hit.text
        end = hit.end


@given(st.text(alphabet="0123456789+-. ()@axX86１ ＠\u200b/张", max_size=80))
@settings(max_examples=500)
def test_dense_text_of_digits_never_breaks_the_offsets(text: str) -> None:
    hits = find(text)
    assert all(text[hit.start : hit.end] == hit.text for hit in hits)
    assert all(before.end <= after.start for before, after in itertools.pairwise(hits))


@given(st.uuids(), st.integers(1_500_000_000, 1_900_000_000))
def test_random_ids_are_no_phones(identifier: uuid.UUID, second: int) -> None:
    assert find(f'{{"id":"{identifier}","at":{second}}}') == []


def test_long_runs_of_digits_are_none() -> None:
    generator = random.Random(7)
    for length in (12, 14, 20, 24, 40, 400):
        digits = "9" + "".join(generator.choices(string.digits, k=length - 1))
        assert find(digits) == []


def test_random_order_numbers_are_rarely_taken_for_cards() -> None:
    """16 digits with a date in front: no issuer begins so, whatever the Luhn digit says."""
    generator = random.Random(11)
    orders = [
        f"{generator.randrange(20, 27)}{generator.randrange(1, 13):02d}{generator.randrange(1, 29):02d}"
        f"{generator.randrange(10**10):010d}"
        for _ in range(2_000)
    ]
    assert [order for order in orders if find(order)] == []


def test_whole_takes_the_trimmed_value_and_keeps_the_offsets() -> None:
    assert whole("  13800138000\n") == Found(2, 13, Kind.PHONE, "13800138000")
    assert whole("zhang@example.com") == Found(0, 17, Kind.EMAIL, "zhang@example.com")
    assert whole("o'brien@example.com") == Found(0, 19, Kind.EMAIL, "o'brien@example.com")
    assert whole("11010519491231002X") == Found(0, 18, Kind.ID_CARD, "11010519491231002X")
    assert whole("(010) 62551234") == Found(0, 14, Kind.PHONE, "(010) 62551234")


@pytest.mark.parametrize("text", ["", " ", "手机13800138000", "13800138000 13912345678", "a@b", "x" * 4000, "张伟"])
def test_whole_refuses_everything_else(text: str) -> None:
    assert whole(text) is None


def test_a_lone_surrogate_moves_no_offset() -> None:
    text = "\ud83d张伟13800138000"
    assert find(text) == [Found(3, 14, Kind.PHONE, "13800138000")]


def texts(text: str) -> list[str]:
    return [hit.text for hit in find(text)]
