"""The G1 envelope: known answers, and nothing opens that was changed or moved."""

import hmac
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from kms.envelope import Context, EnvelopeInvalid, FieldKey, key_id, open_, seal

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
KEYS = {KEY.id: KEY}
CONTEXT = Context("acme", "vault", "phone", "value", "+88870000042123")
NONCE = bytes(range(12))
BLOB = seal(KEY, b"13800138000", CONTEXT, NONCE, pad_to=16)

VECTOR = "110102030481000102030405060708090a0bcd2763d5fd2d6c0a7b4ea86e281ce10b6220865fa63151cfba7df4e453f4a139"


def test_aes_256_gcm_known_answers() -> None:
    # McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)" (submission to NIST), appendix B, cases 13, 14, 16.
    zero = AESGCM(bytes(32))
    assert zero.encrypt(bytes(12), b"", None).hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    expected = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    assert zero.encrypt(bytes(12), bytes(16), None).hex() == expected
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    more = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = AESGCM(key).encrypt(bytes.fromhex("cafebabefacedbaddecaf888"), plain, more)
    assert sealed.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )


def test_hkdf_expand_known_answer() -> None:
    # RFC 5869, A.1: the first block of OKM is what the value key is made by.
    prk = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    info = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    block = hmac.digest(prk, info + b"\x01", "sha256")
    assert block.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert block == HKDFExpand(SHA256(), 32, info).derive(prk)


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


@given(st.binary(max_size=300), st.sampled_from([0, 8, 16, 32, 64]), st.sampled_from([None, b"12345678"]))
def test_what_is_sealed_opens(plain: bytes, pad_to: int, cell: bytes | None) -> None:
    context = replace(CONTEXT, cell=cell)
    blob = seal(KEY, plain, context, NONCE, pad_to=pad_to)
    assert open_(KEYS, blob, context) == plain
    if pad_to:
        assert (len(blob) - 34 - len(cell or b"")) % pad_to == 0


@pytest.mark.parametrize("cell", [None, b"12345678"])
def test_no_changed_byte_opens(cell: bytes | None) -> None:
    context = replace(CONTEXT, cell=cell)
    blob = seal(KEY, b"13800138000", context, NONCE)
    for place in range(len(blob)):
        for bit in (1, 0x20, 0x80):
            changed = blob[:place] + bytes([blob[place] ^ bit]) + blob[place + 1 :]
            with pytest.raises(EnvelopeInvalid):
                open_(KEYS | {changed[1:5]: KEY}, changed, context)


def test_no_cut_or_longer_envelope_opens() -> None:
    for size in range(len(BLOB)):
        with pytest.raises(EnvelopeInvalid):
            open_(KEYS, BLOB[:size], CONTEXT)
    with pytest.raises(EnvelopeInvalid):
        open_(KEYS, BLOB + b"\0", CONTEXT)


@pytest.mark.parametrize("part", ["tenant", "application", "entity", "field", "record"])
def test_nothing_opens_in_another_place(part: str) -> None:
    other: Any = "other"
    with pytest.raises(EnvelopeInvalid):
        open_(KEYS, BLOB, replace(CONTEXT, **{part: other}))


def test_parts_of_the_place_cannot_run_into_each_other() -> None:
    blob = seal(KEY, b"x", Context("a", "bc", "d", "e"), NONCE)
    with pytest.raises(EnvelopeInvalid):
        open_(KEYS, blob, Context("ab", "c", "d", "e"))


def test_a_cell_is_no_record() -> None:
    blob = seal(KEY, b"x", replace(CONTEXT, cell=b"12345678"), NONCE)
    for other in (CONTEXT, replace(CONTEXT, cell=b"12345679")):
        with pytest.raises(EnvelopeInvalid):
            open_(KEYS, blob, other)


def test_another_or_no_key_does_not_open() -> None:
    for keys in ({}, {KEY.id: FieldKey(KEY.id, bytes(32))}):
        with pytest.raises(EnvelopeInvalid):
            open_(keys, BLOB, CONTEXT)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_never_open(data: bytes) -> None:
    with pytest.raises(EnvelopeInvalid):
        open_(KEYS | {data[1:5]: KEY}, b"\x11" + data, CONTEXT)


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
