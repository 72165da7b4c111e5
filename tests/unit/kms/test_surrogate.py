"""Shapes of surrogates: what validators accept, what the keyed check refuses, what belongs to nobody."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms import surrogate as s

KEY, OTHER = b"k" * 32, b"o" * 32
PLACES = st.integers(0, 10**6)


def made(kind: str, number: int) -> str:
    token = number.to_bytes(16)
    if kind == s.EMAIL:
        return s.make_email(KEY, token)
    if kind in s.SHORT_TEXT:
        return s.make_short_text(KEY, kind, number.to_bytes(6))
    return s.make_serial(KEY, kind, 1 + number)


@pytest.mark.parametrize("kind", s.KINDS)
@given(number=PLACES)
def test_every_surrogate_is_confirmed_by_its_key(kind: str, number: int) -> None:
    one = made(kind, number)
    assert s.kind_of(one) == s.confirm([OTHER, KEY], one) == kind


@pytest.mark.parametrize("kind", [s.EMAIL, s.NAME, s.ADDRESS])
@given(number=PLACES)
def test_another_key_does_not_confirm(kind: str, number: int) -> None:
    assert s.confirm([OTHER], made(kind, number)) is None


@pytest.mark.parametrize("kind", [s.PHONE, s.BANK_CARD])
def test_another_key_confirms_digits_by_chance_only(kind: str) -> None:
    assert sum(s.confirm([OTHER], made(kind, number)) is not None for number in range(3000)) < 20


@given(number=PLACES, place=st.integers(2, 15), character=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_one_changed_character_is_not_confirmed(number: int, place: int, character: str) -> None:
    one = made(s.NAME, number)
    changed = one[:place] + character + one[place + 1 :]
    assert changed == one or s.confirm([KEY], changed) is None


def test_shapes_are_exactly_those_documented() -> None:
    assert len(made(s.EMAIL, 5)) == 46
    assert made(s.EMAIL, 5).startswith("e.")
    assert made(s.EMAIL, 5).endswith("@enc.invalid")
    assert made(s.PHONE, 41)[:12] == "+88870000042"
    assert len(made(s.PHONE, 41)) == 15
    assert (made(s.NAME, 1)[:2], made(s.ADDRESS, 1)[:2], len(made(s.NAME, 1))) == ("Zq", "Zx", 16)
    assert made(s.ID_CARD, 0) == "11000018500101001" + s.id_check_character("11000018500101001")
    assert (made(s.BANK_CARD, 1)[:4], len(made(s.BANK_CARD, 1))) == ("9999", 19)


@given(number=PLACES)
def test_phones_are_valid_for_libphonenumber(number: int) -> None:
    parsed = phonenumbers.parse(made(s.PHONE, number), "CN")
    assert phonenumbers.is_possible_number(parsed)
    assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == made(s.PHONE, number)


def test_check_digits_against_published_examples() -> None:
    # GB 11643-1999, annex A, and the Luhn example of ISO/IEC 7812-1.
    assert s.id_check_character("11010519491231002") == "X"
    assert s.id_check_character("44052418800101001") == "4"
    assert s.luhn_digit("7992739871") == "3"


@pytest.mark.parametrize("serial", [1, 999, 18_261_999])
def test_id_cards_stand_for_births_before_1900(serial: int) -> None:
    one = s.make_id_card(serial)
    assert "1850" <= one[6:10] <= "1899"
    assert s.confirm_id_card(one)


@pytest.mark.parametrize("kind", s.KINDS)
def test_the_reserved_surrogate_has_the_shape_but_belongs_to_nobody(kind: str) -> None:
    assert s.kind_of(s.no_match(kind)) == kind
    assert s.confirm([KEY], s.no_match(kind)) is None


def test_a_kind_without_shape_is_refused() -> None:
    for work in (s.no_match, lambda kind: s.make_serial(KEY, kind, 1), lambda kind: s.make_short_text(KEY, kind, b"")):
        with pytest.raises(s.KindUnknown):
            work("shoe_size")


def test_blocks_are_configurable() -> None:
    shapes = s.Shapes("pii.acme.example", "999", "55", "999999", "8888")
    for one in (s.make_email(KEY, bytes(16), shapes), s.make_phone(KEY, 7, shapes), s.make_id_card(7, shapes)):
        assert s.confirm([KEY], one, shapes) is not None
        assert s.kind_of(one) is None
    assert s.confirm([KEY], s.make_bank_card(KEY, 7, shapes), shapes) == s.BANK_CARD


@given(st.text())
def test_arbitrary_text_has_no_kind_and_never_fails(text: str) -> None:
    assert s.confirm([KEY], text) is None
