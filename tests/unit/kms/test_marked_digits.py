"""Sealed digits fail their check digit, clear ones pass it: known answers and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.envelope import Context, FieldKey
from kms.fpe import DIGITS, DigitsRefused
from kms.marked_digits import TURNS, Check, is_clear, is_shaped, open_, seal, sealings
from kms.surrogate import id_check_character, luhn_digit
from privacy import recognise

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
PLACE = Context("acme", "digits", "organisation", "siret")
LUHN, ID = Check.LUHN, Check.GB11643
bodies = st.text(alphabet=DIGITS, min_size=6, max_size=40)
id_bodies = st.text(alphabet=DIGITS, min_size=17, max_size=17)


def free(_: str) -> bool:
    return False


def luhn(body: str) -> str:
    return body + luhn_digit(body)


@given(bodies)
def test_a_number_comes_back_and_its_sealed_digits_never_pass_the_check(body: str) -> None:
    clear = luhn(body)
    sealed = seal(KEY, clear, PLACE, LUHN, free)
    assert len(sealed) == len(clear)
    assert sealed.isdecimal()
    assert is_clear(LUHN, clear)
    assert not is_clear(LUHN, sealed)
    assert is_shaped(LUHN, sealed)
    assert not is_shaped(LUHN, clear)
    assert open_(KEY, sealed, PLACE, LUHN) == clear


@given(id_bodies)
def test_an_identity_number_may_end_in_x_and_its_sealed_digits_never_do(body: str) -> None:
    clear = body + id_check_character(body)
    sealed = seal(KEY, clear, PLACE, ID, free)
    assert len(sealed) == 18
    assert sealed.isdecimal()
    assert not is_clear(ID, sealed)
    assert open_(KEY, sealed, PLACE, ID) == clear


@given(bodies)
def test_every_turn_gives_digits_that_open_to_the_same_number(body: str) -> None:
    clear = luhn(body)
    made = list(sealings(KEY, clear, PLACE, LUHN))
    assert len(made) == TURNS
    assert len(set(made)) == TURNS  # each turn has a last digit of its own behind its own digits
    assert {open_(KEY, one, PLACE, LUHN) for one in made} == {clear}


@given(bodies, st.integers(0, TURNS))
def test_the_next_turn_is_taken_while_digits_mean_something_and_nine_are_the_end(body: str, met: int) -> None:
    clear = luhn(body)
    made = list(sealings(KEY, clear, PLACE, LUHN))
    if met == TURNS:
        with pytest.raises(DigitsRefused):
            seal(KEY, clear, PLACE, LUHN, made[:met].__contains__)
    else:
        assert seal(KEY, clear, PLACE, LUHN, made[:met].__contains__) == made[met]


@given(st.sampled_from([11, 13, 14, 15, 16, 18, 19]), st.data())
def test_no_recogniser_takes_sealed_digits_for_anything(size: int, data: st.DataObject) -> None:
    body = data.draw(st.text(alphabet=DIGITS, min_size=size - 1, max_size=size - 1))
    sealed = seal(KEY, luhn(body), PLACE, LUHN, lambda one: bool(recognise.find(one)))
    assert recognise.find(sealed) == []
    assert recognise.whole(sealed) is None


def test_different_numbers_never_share_their_digits() -> None:
    some = [luhn(f"{number:06d}") for number in range(0, 10**6, 997)]
    made = [one for clear in some for one in sealings(KEY, clear, PLACE, LUHN)]
    assert len(set(made)) == len(made)


def test_fixed_answers() -> None:
    # Computed once and kept: stored digits must open for ever.
    assert list(sealings(KEY, "73282932000074", PLACE, LUHN)) == list(SIRET)
    assert next(iter(sealings(KEY, "11010519491231002X", PLACE, ID))) == IDENTITY
    assert open_(KEY, SIRET[8], PLACE, LUHN) == "73282932000074"
    assert open_(KEY, IDENTITY, PLACE, ID) == "11010519491231002X"


SIRET = (
    "39205994026681",
    "04651152778765",
    "54607826502882",
    "70639713873010",
    "05782689728775",
    "22104471175679",
    "40051341695627",
    "42946708810348",
    "95383675374651",
)
IDENTITY = "405523063912778625"


def test_tenant_entity_field_and_key_each_give_other_digits() -> None:
    clear = "73282932000074"
    places = [PLACE, Context("jia", *_rest(PLACE)), Context("acme", "digits", "contact", "siret")]
    places.append(Context("acme", "digits", "organisation", "siren"))
    made = {seal(KEY, clear, place, LUHN, free) for place in places}
    made.add(seal(FieldKey(b"\x01\x02\x03\x05", bytes(32)), clear, PLACE, LUHN, free))
    assert len(made) == 5


def _rest(place: Context) -> tuple[str, str, str]:
    return place.application, place.entity, place.field


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (LUHN, "73282932000075"),  # wrong check digit
        (LUHN, "732829"),  # too short
        (LUHN, "7328 2932 0000 74"),
        (LUHN, "７３２８２９３２００００７４"),
        (LUHN, ""),
        (LUHN, "-3282932000074"),
        (ID, "11010519491231002x"),
        (ID, "1101051949123100X"),
        (ID, "X1010519491231002X"),
    ],
)
def test_what_is_no_number_of_the_field_is_not_sealed(check: Check, text: str) -> None:
    assert not is_clear(check, text)
    with pytest.raises(DigitsRefused) as fault:
        seal(KEY, text, PLACE, check, free)
    assert not text or text not in str(fault.value)


@pytest.mark.parametrize("text", ["73282932000074", "7328", "7328293200007X", "７３２８２９３２００００７５", ""])
def test_what_cannot_be_sealed_digits_is_not_opened(text: str) -> None:
    assert not is_shaped(LUHN, text)
    with pytest.raises(DigitsRefused):
        open_(KEY, text, PLACE, LUHN)
