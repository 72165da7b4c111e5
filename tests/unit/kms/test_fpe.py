"""FF1: the standard's answers, its limits, and what stands between equal fields."""

import hmac
import inspect

import pytest
from fastfpe import ff1
from hypothesis import given
from hypothesis import strategies as st

from kms import fpe
from kms.envelope import Context, FieldKey

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
PLACE = Context("acme", "crm", "contact", "customer_number", "1")
NIST_KEY = "2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94"
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("tweak", "alphabet", "plain", "sealed"),
    [
        ("", fpe.DIGITS, "0123456789", "6657667009"),
        ("39383736353433323130", fpe.DIGITS, "0123456789", "1001623463"),
        ("3737373770717273373737", LETTERS, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
    ],
    ids=["sample 7", "sample 8", "sample 9"],
)
def test_nist_sp_800_38g_samples_for_aes_256(tweak: str, alphabet: str, plain: str, sealed: str) -> None:
    # NIST, "FF1 samples" (examples that go with SP 800-38G), samples 7 to 9.
    assert ff1.encrypt(NIST_KEY, tweak, alphabet, plain) == sealed
    assert ff1.decrypt(NIST_KEY, tweak, alphabet, sealed) == plain


@given(st.text(alphabet=fpe.DIGITS, min_size=6, max_size=40))
def test_digits_become_digits_of_the_same_length_and_come_back(clear: str) -> None:
    sealed = fpe.encrypt(KEY, clear, PLACE)
    assert len(sealed) == len(clear)
    assert set(sealed) <= set(fpe.DIGITS)
    assert fpe.decrypt(KEY, sealed, PLACE) == clear


def test_it_is_a_permutation_of_its_domain() -> None:
    some = [f"{number:06d}" for number in range(0, 10**6, 499)]
    assert len({fpe.encrypt(KEY, one, PLACE) for one in some}) == len(some)


def test_a_fixed_answer_of_our_own() -> None:
    # Computed once and kept: stored digits must open for ever.
    assert fpe.encrypt(KEY, "000000", PLACE) == FIXED[0]
    assert fpe.encrypt(KEY, "6222020000000000000", PLACE) == FIXED[1]


FIXED = ("505062", "7457212444091775280")


def test_key_and_tweak_are_those_documented() -> None:
    key = hmac.digest(KEY.secret, b"G1 ff1 key\x01", "sha256").hex()
    tweak = b"".join(len(part).to_bytes(4) + part for part in (b"acme", b"contact", b"customer_number")).hex()
    assert fpe.encrypt(KEY, "123456", PLACE) == ff1.encrypt(key, tweak, fpe.DIGITS, "123456")


def test_equal_digits_of_other_places_and_keys_differ() -> None:
    clear = "12345678901234567890"
    places = [
        PLACE,
        Context("other", "crm", "contact", "customer_number"),
        Context("acme", "crm", "lead", "customer_number"),
        Context("acme", "crm", "contact", "other"),
        Context("acmec", "crm", "ontact", "customer_number"),
    ]
    made = {fpe.encrypt(KEY, clear, place) for place in places}
    made.add(fpe.encrypt(FieldKey(KEY.id, bytes(32)), clear, PLACE))
    assert len(made) == 6
    assert fpe.encrypt(KEY, clear, Context("acme", "crm", "contact", "customer_number", "2")) in made


@pytest.mark.parametrize(
    ("clear", "alphabet", "why"),
    [
        ("12345", fpe.DIGITS, "too short"),
        ("", fpe.DIGITS, "too short"),
        ("abc", LETTERS, "too short"),
        ("0" * 19, "01", "too short"),
        ("12345６", fpe.DIGITS, "outside"),
        ("123 456", fpe.DIGITS, "outside"),
        ("0" * 257, fpe.DIGITS, "longer"),
        ("000000", "00", "alphabet"),
        ("000000", "0", "alphabet"),
    ],
)
def test_what_ff1_may_not_take_is_refused_without_repeating_it(clear: str, alphabet: str, why: str) -> None:
    for work in (fpe.encrypt, fpe.decrypt):
        with pytest.raises(fpe.DigitsRefused, match=why) as caught:
            work(KEY, clear, PLACE, alphabet)
        assert not clear or clear not in str(caught.value)


def test_the_smallest_domains_that_the_standard_allows() -> None:
    for clear, alphabet in (("123456", fpe.DIGITS), ("abcd", LETTERS), ("01" * 10, "01")):
        assert fpe.decrypt(KEY, fpe.encrypt(KEY, clear, PLACE, alphabet), PLACE, alphabet) == clear


def test_only_aes_256_and_never_ff3_1() -> None:
    with pytest.raises(ValueError, match="32-byte"):
        fpe.encrypt(FieldKey(b"1234", bytes(16)), "123456", PLACE)
    source = inspect.getsource(fpe)
    assert "ff3" not in source.replace("FF3-1", "")
