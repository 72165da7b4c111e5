"""Terms of parts: whatever a plain comparison would find, the terms nominate and the check confirms."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms import index
from kms.envelope import FieldKey
from kms.index import PART, PREFIX, PURPOSES, SUFFIX, Pattern, SearchTooShort, pattern
from kms.normalise import folded
from kms.surrogate import KINDS

OLD, NEW = FieldKey(b"old1", b"o" * 32), FieldKey(b"new1", b"n" * 32)
SIGNS = string.ascii_letters + string.digits + "张伟李娜 -+@.éßİ１Ａ·"
KNOWN = 0x729CCD91B3
LIVE = dict.fromkeys(PURPOSES, (NEW, OLD))


def nominated(kind: str, wanted: Pattern, clear: str, written: FieldKey = NEW) -> bool:
    """Whether the terms that are asked for stand among those that were written."""
    rows = index.rows(dict.fromkeys(PURPOSES, written), kind, "s", [clear])
    held = {row.purpose: set(row.terms) for row in rows}
    return any(
        all(any(held[purpose].issuperset(some) for some in keys) for purpose, keys in one.items())
        for one in index.alternatives(LIVE, kind, wanted)
    )


@given(st.sampled_from(KINDS), st.text(SIGNS, max_size=24), st.data())
def test_every_part_of_a_value_that_is_long_enough_finds_it_under_any_live_key(
    kind: str, clear: str, data: st.DataObject
) -> None:
    """No miss: the terms of a query are a part of the terms of each value that the comparison accepts."""
    start = data.draw(st.integers(0, len(clear)))
    end = data.draw(st.integers(start, len(clear)))
    part = clear[start:end]
    for how, fits in (
        ("contains", True),
        ("prefix", start == 0),
        ("suffix", end == len(clear)),
        ("equals", start == 0 and end == len(clear)),
    ):
        if not fits or part != part.strip() or not part:
            continue
        wanted = pattern(how, part)
        if not index.matches(kind, wanted, clear):
            continue  # a combining sign, or blanks that fold away: no comparison of folded text would find it
        for written in (OLD, NEW):
            try:
                assert nominated(kind, wanted, clear, written)
            except SearchTooShort:
                assert len(folded(part)) < 2 or not part.strip("+-. ·")


@given(st.text("abAB张伟12", min_size=1, max_size=6), st.text("abAB张伟12", max_size=10))
def test_the_check_is_what_a_plain_comparison_of_folded_text_says(part: str, clear: str) -> None:
    low, text = part.casefold(), clear.casefold()
    assert index.matches("name", pattern("contains", part), clear) is (low in text)
    assert index.matches("name", pattern("prefix", part), clear) is text.startswith(low)
    assert index.matches("name", pattern("suffix", part), clear) is text.endswith(low)
    assert index.matches("name", pattern("equals", part), clear) is (low == text)


@given(st.text("ab%_\\", min_size=1, max_size=7), st.text("ab_%\\", max_size=7))
def test_like_means_what_sql_says(like: str, clear: str) -> None:
    if like.endswith("\\") and not like.endswith("\\\\"):
        return  # SQL calls it an error
    try:
        wanted = pattern("like", like)
    except SearchTooShort:
        assert not re.sub(r"[%_]", "", like)
        return
    expression, at = "", 0
    while at < len(like):
        if like[at] == "\\" and at + 1 < len(like):
            expression, at = expression + re.escape(like[at + 1]), at + 2
            continue
        expression += {"%": ".*", "_": "."}.get(like[at], re.escape(like[at]))
        at += 1
    assert index.matches("name", wanted, clear) is bool(re.fullmatch(expression, clear, re.DOTALL))


@given(st.text("0123456789", min_size=2, max_size=13), st.integers(1, 12))
def test_separators_in_a_number_do_not_matter(digits: str, cut: int) -> None:
    spelled = f"{digits[:cut]} -{digits[cut:]}" if cut < len(digits) else digits
    for stored, typed in ((digits, spelled), (spelled, digits)):
        wanted = pattern("contains", typed)
        assert index.matches("phone", wanted, stored)
        assert nominated("phone", wanted, stored)


def test_a_plus_stands_at_the_beginning_only() -> None:
    assert index.matches("phone", pattern("prefix", "+86 138"), "+8613800138000")
    assert not index.matches("phone", pattern("prefix", "+86"), "8613800138000")
    assert not index.matches("phone", pattern("contains", "+00138"), "+8613800138000")


def test_words_are_never_compared_without_their_letters() -> None:
    """`a1` against a phone: only digits would remain, and every number with a 1 would fit."""
    assert not index.matches("phone", pattern("contains", "a1"), "13800138000")
    assert index.matches("phone", pattern("contains", "转 23"), "010-65529988 转 23")


@pytest.mark.parametrize("text", ["张", "伟"])
def test_one_chinese_sign_is_enough(text: str) -> None:
    assert nominated("name", pattern("contains", text), "张伟")


@pytest.mark.parametrize(("how", "text"), [("contains", "a"), ("prefix", "1"), ("like", "a%b"), ("like", "%")])
def test_one_letter_or_digit_is_too_short(how: str, text: str) -> None:
    with pytest.raises(SearchTooShort):
        index.alternatives(LIVE, "name", pattern(how, text))


@pytest.mark.parametrize("text", ["", "   ", "　"])
def test_nothing_is_too_short(text: str) -> None:
    for how in ("contains", "prefix", "suffix", "equals"):
        with pytest.raises(SearchTooShort):
            pattern(how, text)


def test_an_unknown_comparison_is_a_fault() -> None:
    with pytest.raises(ValueError, match="no such comparison"):
        pattern("sounds like", "x")


def test_last_four_and_last_six_are_ends() -> None:
    grams = index.written_grams("bank_card", "6222 0200 0000 0000 004")[SUFFIX]
    assert {"0004", "000004", "04"} <= grams
    assert index.written_grams("phone", "13800138000")[PREFIX] == {"13800138000"[:n] for n in range(2, 9)}


def test_terms_of_keys_purposes_and_kinds_have_nothing_in_common() -> None:
    """Known answer: HMAC-SHA-256 computed with `openssl dgst -mac HMAC` over the length-prefixed parts, 40 bits."""
    made = {index.term(key, kind, purpose, "1380") for key in (OLD, NEW) for kind in KINDS for purpose in PURPOSES}
    assert len(made) == 2 * len(KINDS) * len(PURPOSES)
    assert all(0 <= one < 2**40 for one in made)
    assert index.term(FieldKey(b"k" * 4, b"k" * 32), "phone", PART, "138") == KNOWN
