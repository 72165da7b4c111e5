"""The text form of a cell: one spelling, and no text of a person is taken for it by its looks alone."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms import cell
from kms.envelope import SUITES, Context, FieldKey, Sealing, seal
from kms.suites.aes_siv import AES_256_SIV

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
CONTEXT = Context("acme", "crm", "contact", "note", "1")


@given(st.binary(max_size=120), st.sampled_from([Sealing(suite, legacy=True) for suite in SUITES.values()]))
def test_every_envelope_has_one_text(plain: bytes, sealing: Sealing) -> None:
    blob = seal(KEY, plain, CONTEXT, bytes(12), sealing=sealing)
    text = cell.write(blob)
    assert text.startswith("~G1.")
    assert text.isascii()
    assert cell.read(text) == blob
    for other in (text + "=", text + " ", " " + text, text.replace("~", "", 1), text + "\n", text + "A", text[:-1]):
        assert cell.read(other) != blob


@given(st.text())
def test_text_of_a_person_is_none_or_something_that_must_still_open(typed: str) -> None:
    found = cell.read("~G1." + typed)
    assert found is None or (found[0] in SUITES and cell.write(found) == "~G1." + typed)
    assert cell.read(typed) is None or typed.startswith("~G1.")


@pytest.mark.parametrize("text", ["", "~", "~G1.", "~G1.EQ", "~G1.hello", "~G1.\x00", "~G2.EQIDBA", "~G1.你好"])
def test_what_cannot_be_an_envelope_is_none(text: str) -> None:
    assert cell.read(text) is None


def test_spare_bits_do_not_make_a_second_spelling() -> None:
    blob = seal(KEY, b"xxx", CONTEXT, bytes(12))
    text = cell.write(blob)
    assert len(blob) % 3 == 1
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]
    assert base64.urlsafe_b64decode(twin[4:] + "==") == blob
    assert cell.read(twin) is None


@pytest.mark.parametrize("in_cell", [False, True])
@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2, 11, 24, 1000])
def test_the_size_of_the_column_can_be_told_before(size: int, in_cell: bool, committed: bool) -> None:
    place = Context("acme", "crm", "contact", "note", cell=b"12345678") if in_cell else CONTEXT
    random = cell.write(seal(KEY, bytes(size), place, bytes(12), sealing=Sealing(committed=committed)))
    same = cell.write(seal(KEY, bytes(size), place, bytes(12), sealing=Sealing(AES_256_SIV, committed)))
    assert cell.characters(size, cell=in_cell, committed=committed) == len(random)
    assert cell.characters(size, deterministic=True, committed=committed) == len(same)
    # reference sizes of the design: a mobile number takes 64, 75 or 48 characters
    if size == 11 and not committed:
        assert (len(random), len(same)) == (75 if in_cell else 64, 48)
