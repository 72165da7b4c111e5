"""0x11: the primitives against published answers, and the derivation written down again."""

import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from kms.suites import aes_gcm

SECRET, NONCE = bytes(range(32)), bytes(range(12))


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


def test_hkdf_known_answer() -> None:
    # RFC 5869, A.1: extract and expand, and the first block of it, which is how a value key is made.
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))
    okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert HKDF(SHA256(), 42, salt, info).derive(b"\x0b" * 22).hex() == okm
    prk = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    assert hmac.digest(salt, b"\x0b" * 22, "sha256") == prk
    assert hmac.digest(prk, info + b"\x01", "sha256").hex() == okm[:64]


def test_the_value_key_is_one_of_each_record() -> None:
    body = aes_gcm.encrypt(SECRET, b"4711", NONCE, b"text", b"more")
    key = HKDFExpand(SHA256(), 32, b"G1 val4711").derive(SECRET)
    assert body == NONCE + AESGCM(key).encrypt(NONCE, b"text", b"more")
    assert aes_gcm.decrypt(SECRET, b"4711", body, b"more") == b"text"
    with pytest.raises(InvalidTag):
        aes_gcm.decrypt(SECRET, b"4712", body, b"more")


def test_the_commitment_depends_on_key_and_record() -> None:
    made = {aes_gcm.commit(secret, record) for secret in (SECRET, bytes(32)) for record in (b"1", b"2")}
    assert len(made) == 4
    assert {len(one) for one in made} == {16}
