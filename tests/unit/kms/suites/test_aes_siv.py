"""0x12: RFC 5297's answers, and the mode with AES-256 written down again from CMAC and CTR."""

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from kms.suites import aes_siv

SECRET = bytes(range(32))
A1 = (
    "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
    ["101112131415161718191a1b1c1d1e1f2021222324252627"],
    "112233445566778899aabbccddee",
    "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
)
A2 = (
    "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
    [
        "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
        "102030405060708090a0",
        "09f911029d74e35bd84156c5635688c0",
    ],
    "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
    "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17"
    "dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
)


def cmac(key: bytes, data: bytes) -> bytes:
    made = CMAC(AES(key))
    made.update(data)
    return made.finalize()


def doubled(block: bytes) -> bytes:
    number = int.from_bytes(block) << 1
    return ((number ^ 0x87) & (2**128 - 1) if number >> 128 else number).to_bytes(16)


def siv(key: bytes, additional: list[bytes], plain: bytes) -> bytes:
    """RFC 5297, 2.4 and 2.6."""
    half = len(key) // 2
    block = cmac(key[:half], bytes(16))
    for part in additional:
        block = bytes(a ^ b for a, b in zip(doubled(block), cmac(key[:half], part), strict=True))
    if len(plain) >= 16:
        end = bytes(a ^ b for a, b in zip(plain[-16:], block, strict=True))
        iv = cmac(key[:half], plain[:-16] + end)
    else:
        padded = plain + b"\x80" + bytes(15 - len(plain))
        iv = cmac(key[:half], bytes(a ^ b for a, b in zip(doubled(block), padded, strict=True)))
    counter = bytearray(iv)
    counter[8] &= 0x7F
    counter[12] &= 0x7F
    encryptor = Cipher(AES(key[half:]), CTR(bytes(counter))).encryptor()
    return iv + encryptor.update(plain) + encryptor.finalize()


@pytest.mark.parametrize(("key", "additional", "plain", "sealed"), [A1, A2], ids=["A.1", "A.2"])
def test_rfc_5297_known_answers(key: str, additional: list[str], plain: str, sealed: str) -> None:
    parts = [bytes.fromhex(part) for part in additional]
    assert AESSIV(bytes.fromhex(key)).encrypt(bytes.fromhex(plain), parts).hex() == sealed
    assert siv(bytes.fromhex(key), parts, bytes.fromhex(plain)).hex() == sealed


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_with_a_64_byte_key_it_is_the_mode_of_the_rfc(plain: bytes, additional: bytes) -> None:
    # The RFC has answers for AES-128 only.
    key = HKDFExpand(SHA256(), 64, b"G1 siv").derive(SECRET)
    assert aes_siv.encrypt(SECRET, b"record", b"nonce", plain, additional) == siv(key, [additional], plain)


def test_equal_values_are_equal_whatever_the_record() -> None:
    one = aes_siv.encrypt(SECRET, b"1", bytes(12), b"text", b"place")
    assert one == aes_siv.encrypt(SECRET, b"2", b"n" * 12, b"text", b"place")
    assert one != aes_siv.encrypt(SECRET, b"1", bytes(12), b"text", b"other place")
    assert aes_siv.decrypt(SECRET, b"3", one, b"place") == b"text"
    with pytest.raises(InvalidTag):
        aes_siv.decrypt(SECRET, b"1", one, b"other place")
