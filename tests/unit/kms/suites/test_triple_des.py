"""0x31: 3DES against the standard's answers; encrypt-then-MAC looks at the tag first."""

import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from hypothesis import given
from hypothesis import strategies as st

from kms.suites import triple_des

SECRET, NONCE = bytes(range(32)), bytes(range(12))


def test_triple_des_known_answer() -> None:
    # NIST SP 800-67 rev. 1, appendix B.1; the "f" in "qufck" is what the standard's bytes say.
    key = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
    encryptor = Cipher(TripleDES(key), ECB()).encryptor()
    sealed = encryptor.update(b"The qufck brown fox jump") + encryptor.finalize()
    assert sealed.hex() == "a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900"


@given(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=6), st.binary(min_size=8, max_size=8))
def test_cbc_is_the_mode_of_sp_800_38a(blocks: list[bytes], iv: bytes) -> None:
    key = bytes(range(24))
    encryptor, block = Cipher(TripleDES(key), CBC(iv)).encryptor(), Cipher(TripleDES(key), ECB()).encryptor()
    chained, before = b"", iv
    for one in blocks:
        before = block.update(bytes(a ^ b for a, b in zip(one, before, strict=True)))
        chained += before
    assert encryptor.update(b"".join(blocks)) + encryptor.finalize() == chained


@given(st.binary(max_size=100))
def test_what_is_sealed_opens(plain: bytes) -> None:
    body = triple_des.encrypt(SECRET, b"1", NONCE, plain, b"more")
    assert (len(body) - 28) % 8 == 0
    assert triple_des.decrypt(SECRET, b"1", body, b"more") == plain


def test_padding_answers_no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    body = triple_des.encrypt(SECRET, b"1", NONCE, b"text", b"more")
    monkeypatch.setattr(triple_des, "Cipher", None)  # decrypting would fail loudly
    with pytest.raises(InvalidTag):
        triple_des.decrypt(SECRET, b"1", body[:-17] + bytes((body[-17] ^ 1,)) + body[-16:], b"more")


@pytest.mark.parametrize("end", [b"\0", b"\x09", b"\x02", b""])
def test_authentic_bodies_with_wrong_padding_do_not_open(end: bytes) -> None:
    mac = hmac.digest(SECRET, b"G1 3des mac1\x01", "sha256")
    key = hmac.digest(SECRET, b"G1 3des key1\x01", "sha256")[:24]
    encryptor = Cipher(TripleDES(key), CBC(hmac.digest(mac, b"iv" + NONCE, "sha256")[:8])).encryptor()
    sealed = NONCE + encryptor.update(b"1234567" + end if end else b"") + (b"abc" if not end else b"")
    tag = hmac.digest(mac, b"tag\0\0\0\x04more" + sealed, "sha256")[:16]
    with pytest.raises(InvalidTag):
        triple_des.decrypt(SECRET, b"1", sealed + tag, b"more")


def test_no_more_than_its_blocks_under_one_key() -> None:
    with pytest.raises(ValueError, match="blocks"):
        triple_des.encrypt(SECRET, b"1", NONCE, bytes(triple_des.MOST_BYTES), b"")
