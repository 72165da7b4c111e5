"""0x21: SM4, SM3 and SM4-GCM against the standards' answers."""

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SM3, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from kms.suites import sm4_gcm

SECRET, NONCE = bytes(range(32)), bytes(range(12))


def sm3(data: bytes) -> bytes:
    made = Hash(SM3())
    made.update(data)
    return made.finalize()


def test_sm4_known_answer() -> None:
    # GB/T 32907-2016, appendix A, example 1.
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    encryptor = Cipher(SM4(key), ECB()).encryptor()
    assert (encryptor.update(key) + encryptor.finalize()).hex() == "681edf34d206965e86b3e94f536e4246"


def test_sm3_known_answers() -> None:
    # GB/T 32905-2016, appendix A, examples 1 and 2.
    assert sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert sm3(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


def test_sm4_gcm_known_answer() -> None:
    # RFC 8998, A.1.
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    nonce = bytes.fromhex("00001234567800000000abcd")
    more = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plain = bytes.fromhex("aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd")
    plain += bytes.fromhex("eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa")
    sealed = sm4_gcm.encrypt_under(key, nonce, plain, more)
    assert sealed.hex() == (
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        "83de3541e4c2b58177e065a9bf7b62ec"
    )
    assert sm4_gcm.decrypt_under(key, nonce, sealed, more) == plain


@given(st.binary(max_size=100), st.binary(max_size=200))
def test_hmac_sm3_is_rfc_2104_over_sm3(key: bytes, data: bytes) -> None:
    block = (sm3(key) if len(key) > 64 else key).ljust(64, b"\0")
    inner = sm3(bytes(byte ^ 0x36 for byte in block) + data)
    assert sm4_gcm.hmac_sm3(key, data) == sm3(bytes(byte ^ 0x5C for byte in block) + inner)


def test_keys_come_from_sm3_and_are_one_of_each_record() -> None:
    body = sm4_gcm.encrypt(SECRET, b"4711", NONCE, b"text", b"more")
    key = HKDFExpand(SM3(), 16, b"G1 val4711").derive(SECRET)
    assert body == NONCE + sm4_gcm.encrypt_under(key, NONCE, b"text", b"more")
    assert sm4_gcm.decrypt(SECRET, b"4711", body, b"more") == b"text"
    for record, more in ((b"4712", b"more"), (b"4711", b"less")):
        with pytest.raises(InvalidTag):
            sm4_gcm.decrypt(SECRET, record, body, more)
    assert sm4_gcm.commit(SECRET, b"1") != sm4_gcm.commit(SECRET, b"2")
