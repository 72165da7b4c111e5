"""The G1 envelope: its layout, and nothing opens that was changed or moved, in any suite."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from kms.envelope import (
    SUITES,
    TYPE_DATE,
    Context,
    EnvelopeInvalid,
    FieldKey,
    Sealing,
    SuiteRetired,
    cell_id,
    is_held,
    key_id,
    open_,
    open_typed,
    seal,
)
from kms.suites.aes_siv import AES_256_SIV
from kms.suites.sm4_gcm import SM4_GCM
from kms.suites.suite import Suite
from kms.suites.triple_des import TRIPLE_DES
from kms.value_key import derived

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
KEYS = {KEY.id: KEY}
CONTEXT = Context("acme", "vault", "phone", "value", "+88870000042123")
NONCE = bytes(range(12))
BLOB = seal(KEY, b"13800138000", CONTEXT, NONCE, pad_to=16)

VECTOR = "110102030481000102030405060708090a0bcd2763d5fd2d6c0a7b4ea86e281ce10b6220865fa63151cfba7df4e453f4a139"


def test_layout_and_binding_are_those_documented() -> None:
    header = b"\x11" + KEY.id + b"\x81"
    assert BLOB[:18] == header + NONCE
    value_key = HKDFExpand(SHA256(), 32, b"G1 val" + CONTEXT.record.encode()).derive(KEY.secret)
    parts = [b"acme", b"vault", b"phone", b"value", CONTEXT.record.encode()]
    additional = b"G1" + header + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    plain = AESGCM(value_key).decrypt(NONCE, BLOB[18:], additional)
    assert plain == b"13800138000\x80" + bytes(4)
    assert key_id(BLOB) == KEY.id


def test_a_fixed_vector_of_the_format() -> None:
    # Computed once and kept: stored envelopes must open for ever.
    assert BLOB.hex() == VECTOR


SEALINGS = [Sealing(suite, committed, legacy=True) for suite in SUITES.values() for committed in (False, True)]
BOUND = [sealing for sealing in SEALINGS if sealing.suite.bound]


def named(sealing: object) -> str:
    assert isinstance(sealing, Sealing)
    return sealing.suite.name + (", committed" if sealing.committed else "")


@given(
    st.binary(max_size=300),
    st.sampled_from([0, 8, 16, 32, 64]),
    st.sampled_from([None, b"12345678"]),
    st.sampled_from(SEALINGS),
)
def test_what_is_sealed_opens(plain: bytes, pad_to: int, cell: bytes | None, sealing: Sealing) -> None:
    context = replace(CONTEXT, cell=cell)
    blob = seal(KEY, plain, context, NONCE, pad_to=pad_to, sealing=sealing)
    assert open_(KEYS, blob, context) == plain
    assert blob[0] == sealing.suite.number
    assert cell_id(blob) == (cell if sealing.suite.bound else None)
    if pad_to and sealing.suite is not TRIPLE_DES:
        head = 6 + len(cell_id(blob) or b"") + (16 if sealing.committed else 0)
        assert (len(blob) - head - sealing.suite.least) % pad_to == 0


@pytest.mark.parametrize("sealing", SEALINGS, ids=named)
@pytest.mark.parametrize("cell", [None, b"12345678"])
def test_no_changed_byte_opens(cell: bytes | None, sealing: Sealing) -> None:
    context = replace(CONTEXT, cell=cell)
    blob = seal(KEY, b"13800138000", context, NONCE, sealing=sealing, pad_to=16)
    for place in range(len(blob)):
        for bits in range(1, 256, 2) if place < 6 else (1, 0x20, 0x80):
            changed = blob[:place] + bytes([blob[place] ^ bits]) + blob[place + 1 :]
            with pytest.raises(EnvelopeInvalid):
                open_typed(KEYS | {changed[1:5]: KEY}, changed, context)


@pytest.mark.parametrize("sealing", BOUND, ids=named)
def test_no_changed_byte_opens_where_there_is_a_value_key(sealing: Sealing) -> None:
    context, own = replace(CONTEXT, record="", cell=b"12345678"), derived(KEY, bytes(range(32, 64)))
    blob = seal(own, b"13800138000", context, NONCE, sealing=sealing, pad_to=16, held=True)
    assert open_typed({own.id: own}, blob, context, held=True)[1] == b"13800138000"
    for place in range(len(blob)):
        for bits in range(1, 256) if place < 6 else (1, 0x20, 0x80):
            changed = blob[:place] + bytes([blob[place] ^ bits]) + blob[place + 1 :]
            # As a reader does it: the value key takes part where the envelope says so.
            held = is_held(changed)
            with pytest.raises(EnvelopeInvalid):
                open_typed({changed[1:5]: own if held else KEY}, changed, context, held=held)
    for sealed, said in ((blob, False), (seal(KEY, b"x", context, NONCE, sealing=sealing), True)):
        with pytest.raises(EnvelopeInvalid):
            open_typed({KEY.id: own}, sealed, context, held=said)


def test_only_a_cell_with_an_id_has_a_value_key() -> None:
    for sealing, cell in ((Sealing(), None), (Sealing(AES_256_SIV), b"12345678")):
        with pytest.raises(ValueError, match="value key"):
            seal(KEY, b"x", replace(CONTEXT, cell=cell), NONCE, sealing=sealing, held=True)


@pytest.mark.parametrize("sealing", SEALINGS, ids=named)
def test_no_cut_or_longer_envelope_opens(sealing: Sealing) -> None:
    blob = seal(KEY, b"13800138000", CONTEXT, NONCE, sealing=sealing)
    longer = [blob + b"\0", b"\0" + blob, blob + blob, blob[:6] + b"\0" + blob[6:]]
    for changed in [blob[:size] for size in range(len(blob))] + [blob[size:] for size in range(1, len(blob))] + longer:
        with pytest.raises(EnvelopeInvalid):
            open_typed(KEYS | {changed[1:5]: KEY}, changed, CONTEXT)


@pytest.mark.parametrize("sealing", SEALINGS, ids=named)
@pytest.mark.parametrize("part", ["tenant", "application", "entity", "field", "record"])
def test_nothing_opens_in_another_place(part: str, sealing: Sealing) -> None:
    other: Any = "other"
    moved = replace(CONTEXT, **{part: other})
    blob = seal(KEY, b"13800138000", CONTEXT, NONCE, sealing=sealing)
    if part == "record" and not sealing.suite.bound:
        assert open_(KEYS, blob, moved) == b"13800138000"  # the documented price of equality in the CRM's own column
        return
    with pytest.raises(EnvelopeInvalid):
        open_(KEYS, blob, moved)


def test_parts_of_the_place_cannot_run_into_each_other() -> None:
    blob = seal(KEY, b"x", Context("a", "bc", "d", "e"), NONCE)
    with pytest.raises(EnvelopeInvalid):
        open_(KEYS, blob, Context("ab", "c", "d", "e"))


@pytest.mark.parametrize("sealing", BOUND, ids=named)
def test_a_cell_is_no_record(sealing: Sealing) -> None:
    blob = seal(KEY, b"x", replace(CONTEXT, cell=b"12345678"), NONCE, sealing=sealing)
    for other in (CONTEXT, replace(CONTEXT, cell=b"12345679")):
        with pytest.raises(EnvelopeInvalid):
            open_(KEYS, blob, other)


def test_another_or_no_key_does_not_open() -> None:
    for keys in ({}, {KEY.id: FieldKey(KEY.id, bytes(32))}):
        with pytest.raises(EnvelopeInvalid):
            open_(keys, BLOB, CONTEXT)


@given(st.sampled_from([b"", *(bytes((number,)) for number in SUITES)]), st.binary(max_size=120))
def test_arbitrary_bytes_never_open(start: bytes, data: bytes) -> None:
    blob = start + data
    with pytest.raises(EnvelopeInvalid):
        open_typed({blob[1:5]: KEY}, blob, CONTEXT)


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: str(suite.name))
def test_the_same_secret_under_another_id_does_not_open(suite: Suite) -> None:
    blob = seal(KEY, b"x", CONTEXT, NONCE, sealing=Sealing(suite, legacy=True))
    assert open_({KEY.id: FieldKey(b"9999", KEY.secret)}, blob, CONTEXT) == b"x"
    other = blob[:1] + b"9999" + blob[5:]
    with pytest.raises(EnvelopeInvalid):
        open_({b"9999": FieldKey(b"9999", KEY.secret)}, other, CONTEXT)


def test_a_retired_suite_encrypts_behind_its_switch_only_and_always_reads() -> None:
    with pytest.raises(SuiteRetired, match="only reads"):
        seal(KEY, b"x", CONTEXT, NONCE, sealing=Sealing(TRIPLE_DES))
    assert open_(KEYS, seal(KEY, b"x", CONTEXT, NONCE, sealing=Sealing(TRIPLE_DES, legacy=True)), CONTEXT) == b"x"
    assert SuiteRetired.permanent


def test_only_the_deterministic_suite_shows_equality() -> None:
    for suite in SUITES.values():
        first, second = (
            seal(KEY, b"x", replace(CONTEXT, record=record), nonce, sealing=Sealing(suite, legacy=True))
            for record, nonce in (("1", NONCE), ("2", bytes(12)))
        )
        assert (first == second) == (suite is AES_256_SIV)


def times(a: int, b: int) -> int:
    """Product in the field of GCM (SP 800-38D, 6.3)."""
    made = 0
    for bit in range(127, -1, -1):
        if b >> bit & 1:
            made ^= a
        a = a >> 1 ^ (0xE1 << 120 if a & 1 else 0)
    return made


def inverse(a: int) -> int:
    made = a
    for _ in range(126):
        made = times(times(made, made), a)  # a^(2^128 - 2), all but the last square
    return times(made, made)


def test_a_commitment_stops_one_ciphertext_from_opening_under_two_keys() -> None:
    # GCM alone does not: whoever chooses both keys solves one linear equation (Dodis, Grubbs, Ristenpart, Woodage,
    # "Fast Message Franking", CRYPTO 2018). This is why tenants who bring keys get committed envelopes.
    keys = [KEY, FieldKey(KEY.id, bytes(range(32, 64)))]
    header = b"\x11" + KEY.id + b"\x01"
    parts = [b"acme", b"vault", b"phone", b"value", CONTEXT.record.encode()]
    additional = b"G1" + header + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    factors, constants = [], []
    for key in keys:
        cipher = Cipher(AES(HKDFExpand(SHA256(), 32, b"G1 val" + parts[-1]).derive(key.secret)), ECB()).encryptor()
        h = int.from_bytes(cipher.update(bytes(16)))
        mask = int.from_bytes(cipher.update(NONCE + b"\0\0\0\1"))
        y = 0
        for at in range(0, len(additional), 16):
            y = times(y ^ int.from_bytes(additional[at : at + 16].ljust(16, b"\0")), h)
        sizes = len(additional) * 8 << 64 | 128
        constants.append(mask ^ times(times(y, h) ^ sizes, h))
        factors.append(times(h, h))
    block = times(constants[0] ^ constants[1], inverse(factors[0] ^ factors[1]))
    tag = constants[0] ^ times(block, factors[0])
    blob = header + NONCE + block.to_bytes(16) + tag.to_bytes(16)
    opened = [open_({KEY.id: key}, blob, CONTEXT) for key in keys]
    assert opened[0] != opened[1]
    for key in keys:
        committed = seal(key, b"x", CONTEXT, NONCE, sealing=Sealing(committed=True))
        assert open_({KEY.id: key}, committed, CONTEXT) == b"x"
        forged = header[:5] + b"\x11" + committed[6:22] + blob[6:]
        for other in keys:
            with pytest.raises(EnvelopeInvalid):
                open_({KEY.id: other}, forged, CONTEXT)
        with pytest.raises(EnvelopeInvalid):
            open_({KEY.id: next(other for other in keys if other is not key)}, committed, CONTEXT)


def test_text_is_wanted_where_text_is_asked_for() -> None:
    blob = seal(KEY, b"1976-02-29", CONTEXT, NONCE, kind=TYPE_DATE)
    assert open_typed(KEYS, blob, CONTEXT) == (TYPE_DATE, b"1976-02-29")
    with pytest.raises(EnvelopeInvalid):
        open_(KEYS, blob, CONTEXT)
    for kind in (0, 7, 0x11, 0x41):
        with pytest.raises(ValueError, match="six types"):
            seal(KEY, b"x", CONTEXT, NONCE, kind=kind)


def test_a_cell_id_has_its_size() -> None:
    for cell in (b"", b"1234567", b"123456789"):
        with pytest.raises(ValueError, match="cell id"):
            seal(KEY, b"x", replace(CONTEXT, cell=cell), NONCE, sealing=Sealing(SM4_GCM))
    assert cell_id(b"\x11" + KEY.id + b"\x21") is None


def test_the_error_tells_nothing_and_keys_do_not_show() -> None:
    with pytest.raises(EnvelopeInvalid) as caught:
        open_(KEYS, BLOB[:-1] + b"\0", CONTEXT)
    assert str(caught.value) == "the envelope does not open"
    assert caught.value.permanent
    assert repr(KEY.secret) not in repr(KEY)


@pytest.mark.parametrize(
    ("key", "nonce"), [(KEY, bytes(11)), (FieldKey(b"1", bytes(32)), NONCE), (FieldKey(b"1234", b""), NONCE)]
)
def test_wrong_sizes_are_refused(key: FieldKey, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="12-byte nonce"):
        seal(key, b"x", CONTEXT, nonce)
