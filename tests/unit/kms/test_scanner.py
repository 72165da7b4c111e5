"""Surrogates are found whatever a container did to their spelling, and nothing else is."""

import html
import json
import random
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kms import surrogate as s
from kms.nominate import HyperscanNominator, Re2Nominator
from kms.scanner import Hit, Scanner

KEY, OTHER = b"k" * 32, b"o" * 32
FAST = Scanner([OTHER, KEY], nominator=HyperscanNominator(s.SHAPES))
SLOW = Scanner([OTHER, KEY], nominator=Re2Nominator(s.SHAPES))

NUMBERS = st.integers(1, 10**6)


def made(kind: str, number: int) -> str:
    if kind == s.EMAIL:
        return s.make_email(KEY, number.to_bytes(16))
    if kind in s.SHORT_TEXT:
        return s.make_short_text(KEY, kind, number.to_bytes(6))
    return s.make_serial(KEY, kind, number)


def find(data: str | bytes) -> list[Hit]:
    """What both engines find; they never differ."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    hits = FAST.find(raw)
    assert SLOW.find(raw) == hits
    return hits


def only(data: str) -> tuple[str, str]:
    """Canonical surrogate and spelling of the one hit."""
    (hit,) = find(data)
    return hit.canonical, data.encode()[hit.start : hit.end].decode()


def numeric(text: str) -> str:
    return re.sub(r"[@.+]", lambda match: f"&#{ord(match.group())};", text)


def hexed(text: str) -> str:
    return re.sub(r"[@.+]", lambda match: f"&#x{ord(match.group()):X};", text)


def named(text: str) -> str:
    return text.replace("@", "&commat;").replace(".", "&period;").replace("+", "&plus;")


def escaped(text: str) -> str:
    return re.sub(r"[@.+]", lambda match: f"\\u{ord(match.group()):04X}", text)


def byte_escaped(text: str) -> str:
    return re.sub(r"[@.+]", lambda match: f"\\x{ord(match.group()):02x}", text)


def percent(text: str) -> str:
    return re.sub(r"[@.+]", lambda match: f"%{ord(match.group()):02x}", text)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "quote": lambda text: quote(text, safe=""),
    "percent": percent,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "numeric entity": numeric,
    "hex entity": hexed,
    "named entity": named,
    "entity in an attribute": lambda text: html.escape(numeric(text)),
    "json escape": escaped,
    "json in json": lambda text: escaped(text).replace("\\", "\\\\"),
    "byte escape": byte_escaped,
    "csv apostrophe": lambda text: "'" + text,
}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Nd"]), max_size=30)


@pytest.mark.parametrize("kind", s.KINDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=15)
@given(number=NUMBERS, before=TEXT, after=TEXT)
def test_every_surrogate_is_found_in_any_text_in_every_encoding(
    kind: str, encoding: str, number: int, before: str, after: str
) -> None:
    one = made(kind, number)
    spelled = ENCODINGS[encoding](one)
    data = f"{before} {spelled} {after}".encode()
    hits = find(data)
    assert [hit.canonical for hit in hits] == [one]
    assert hits[0].kind == kind
    assert data[hits[0].start : hits[0].end].decode() == spelled.removeprefix("'")


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_random_bytes_give_no_hit(data: bytes) -> None:
    assert find(data) == []


def test_megabytes_of_look_alikes_give_no_hit() -> None:
    random_ = random.Random(7)
    base32 = "abcdefghijklmnopqrstuvwxyz234567"
    words = [f"Z{random_.choice('qx')}{''.join(random_.choices(base32, k=14))}" for _ in range(4000)]
    words += [f"e.{''.join(random_.choices(base32, k=32))}@enc.invalid" for _ in range(2000)]
    assert find(" ".join(words)) == []


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([made(kind, 77) for kind in s.KINDS]),
            st.text("8790 .-+&#;<>/%\\uaexZq18", max_size=12),
            TEXT,
        ),
        max_size=12,
    )
)
def test_both_engines_find_the_same(parts: list[str]) -> None:
    find("".join(parts))


# Neighbours


def test_neighbouring_letters_do_not_hide_names() -> None:
    first, last = made(s.NAME, 1), made(s.NAME, 2)
    assert [hit.canonical for hit in find(f"x{first}{last}y")] == [first, last]
    assert [hit.canonical for hit in find(f"张{first}先生")] == [first]
    assert [hit.canonical for hit in find(f"zq{first}")] == [first]
    assert [hit.canonical for hit in find(json.dumps({"a": f"中\n{first}\t{made(s.EMAIL, 3)}"}))] == [
        first,
        made(s.EMAIL, 3),
    ]


@pytest.mark.parametrize("kind", [s.PHONE, s.ID_CARD, s.BANK_CARD])
def test_a_touching_digit_is_another_number(kind: str) -> None:
    one = made(kind, 12345).lstrip("+")
    assert find(f"1{one}") == find(f"{one}1") == []


@pytest.mark.parametrize("kind", [s.PHONE, s.ID_CARD, s.BANK_CARD])
@pytest.mark.parametrize("before", ["电话", "tel:", "\\u4e2d\\u5730", "%20", "%E4%BD%A0", "x", "&nbsp;", "=\\x20", '"'])
def test_what_may_touch_digits(kind: str, before: str) -> None:
    one = made(kind, 12345)
    assert only(f"{before}{one}号") == (one, one)
    assert only(f"{before}{one.lstrip('+')}\\u53f7")[0] == one


def test_several_surrogates_side_by_side() -> None:
    ones = [made(kind, number) for number in (3, 4) for kind in s.KINDS]
    for glue in (",", "|", "</td><td>", '","', "\t", "&quot;"):
        assert [hit.canonical for hit in find(glue.join(ones))] == ones


# Phones


SEPARATORS = [" ", "-", ".", "/", " (", ") ", "\u00a0", "\u2009", "\u202f", "\u2011", "&nbsp;", "&thinsp;", "&#160;"]
SEPARATORS += [
    "&#xA0;",
    "&#8201;",
    "&amp;nbsp;",
    "<wbr>",
    "<wbr/>",
    "</b><b>",
    "%20",
    "%C2%A0",
    "+",
    "\\u00a0",
    "\\u2009",
]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("prefix", ["+888", "888", "00888", "%2B888", "&#43;888", "\\u002b888", "", "＋888"])
def test_phones_with_separators_in_any_format(separator: str, prefix: str) -> None:
    one = made(s.PHONE, 654321)
    national = one[4:]
    for groups in ((national[:4], national[4:8], national[8:]), (national[:1], national[1:6], national[6:])):
        spelled = separator.join((*([prefix] if prefix else []), *groups))
        assert only(f"x: {spelled}, y") == (one, spelled)


def test_a_separator_between_all_digits() -> None:
    one = made(s.PHONE, 654321)
    for separator in (" ", "-", "&nbsp;", "<wbr>", "\u2009"):
        assert only("tel " + separator.join(one))[0] == one


def test_a_phone_after_numbers_that_start_alike() -> None:
    one = made(s.PHONE, 654321)
    for before in ("17 ", "2017 ", "7 7 7 ", "77&nbsp;", "2027-07-17&nbsp;"):
        for spelled in (one, one[:5] + "<wbr>" + one[5:], one[:8] + "&nbsp;" + one[8:]):
            assert only(before + spelled)[0] == one


def test_a_float_of_a_phone_is_taken_with_its_zero() -> None:
    one = made(s.PHONE, 654321)
    assert only(f"{one[1:]}.0,") == (one, f"{one[1:]}.0")
    assert only(f"{one}.05") == (one, one)


def test_cards_with_separators() -> None:
    card, identity = made(s.BANK_CARD, 654321), made(s.ID_CARD, 654321)
    for separator in (" ", "-", "&nbsp;", "\u00a0", "<wbr>"):
        assert only(separator.join(re.findall(".{1,4}", card)))[0] == card
        assert only(separator.join((identity[:6], identity[6:14], identity[14:])))[0] == identity


def test_an_id_card_ending_in_a_small_x() -> None:
    one = next(card for card in map(s.make_id_card, range(1, 100)) if card.endswith("X"))
    assert only(one.lower()) == (one, one.lower())


# E-mail


def test_the_local_part_alone_and_another_domain() -> None:
    one = made(s.EMAIL, 9)
    local = one.split("@")[0]
    assert only(f"<i>{local}</i>") == (one, local)
    assert only(f"mailto:{local}@elsewhere.example") == (one, local)


def test_a_configured_domain() -> None:
    shapes = s.Shapes(email_domain="pii.acme.example")
    scanner = Scanner([KEY], shapes)
    one = s.make_email(KEY, bytes(16), shapes)
    for spelled in (one, quote_plus(one), numeric(one), one.upper()):
        (hit,) = scanner.find(spelled.encode())
        assert (hit.canonical, hit.start, hit.end) == (one, 0, len(spelled))


def test_upper_case_is_told() -> None:
    for kind in (s.NAME, s.ADDRESS, s.EMAIL):
        one = made(kind, 5)
        assert [hit.upper for hit in find(f"{one} {one.upper()} {one.lower()}")] == [False, True, False]


# Keys, wholes, beginnings


def test_another_tenants_surrogates_are_not_found() -> None:
    assert Scanner([OTHER]).find(" ".join(made(kind, 5) for kind in (s.EMAIL, s.NAME, s.ADDRESS)).encode()) == []


def test_of_the_reserved_surrogates_only_names_and_addresses_are_found() -> None:
    found = find(" ".join(s.no_match(kind) for kind in s.KINDS))
    assert [hit.canonical for hit in found] == [s.no_match(kind) for kind in s.KINDS if kind in s.SHORT_TEXT]


def test_whole_values() -> None:
    for kind in s.KINDS:
        one = made(kind, 5)
        assert FAST.whole(f" {one}\n") == one
        assert FAST.whole(f"{one}, {one}") is None
        assert FAST.whole(f"x {one}") is None
    assert FAST.whole("\ud800") is None


def test_beginnings_before_an_ellipsis() -> None:
    email, name = made(s.EMAIL, 5), made(s.NAME, 5)
    for dots in ("…", "...", "&hellip;", "&#8230;", "\\u2026", "%E2%80%A6"):
        data = f"{email[:14]}{dots} {name[:10].upper()}{dots} {name[:9]}{dots}".encode()
        found = FAST.find_truncated(data)
        assert [(one.prefix, one.kind) for one in found] == [(email[:14], s.EMAIL), (name[:10], s.NAME)]
        assert data[found[0].start : found[0].end].decode() == email[:14] + dots


def test_phones_of_a_serial() -> None:
    one = made(s.PHONE, 654321)
    assert one in FAST.phones_of_serial(one[5:12])


def test_memory_of_confirmed_strings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kms.scanner._CONFIRMED", 3)
    scanner = Scanner([KEY])
    ones = [made(s.NAME, number) for number in range(1, 20)]
    assert [hit.canonical for hit in scanner.find(" ".join(ones).encode())] == ones
    assert len(scanner._known) <= 3
