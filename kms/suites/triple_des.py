"""0x31: 3DES-CBC with HMAC-SHA-256, encrypt-then-MAC: to read what is there and to move away from it.

NIST allows no encryption with it after 2023 (SP 800-131A); the envelope encrypts only behind the explicit switch, which
`crmgate check` and `crmgate keys status` name. Body: nonce (12), ciphertext, tag (16). The tag is looked at before
anything is decrypted, so the padding answers no questions. One key a record and at most 2^20 blocks a value
(SP 800-67 rev. 2, 3.4).
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC

from kms.suites.suite import COMMITMENT_BYTES, NONCE_BYTES, TAG_BYTES, Suite

_BLOCK = 8
MOST_BYTES = (2**20 - 1) * _BLOCK


def encrypt(secret: bytes, record: bytes, nonce: bytes, plaintext: bytes, additional: bytes) -> bytes:
    """Nonce, ciphertext and tag; raises ValueError for more than 2^20 blocks."""
    if len(plaintext) >= MOST_BYTES:
        raise ValueError("3DES takes at most 2^20 blocks under one key")
    key, mac, iv = _keys(secret, record, nonce)
    fill = _BLOCK - len(plaintext) % _BLOCK  # PKCS #7
    encryptor = Cipher(TripleDES(key), CBC(iv)).encryptor()
    sealed = nonce + encryptor.update(plaintext + bytes((fill,)) * fill) + encryptor.finalize()
    return sealed + _tag(mac, additional, sealed)


def decrypt(secret: bytes, record: bytes, body: bytes, additional: bytes) -> bytes:
    """The plaintext; raises InvalidTag."""
    sealed, tag = body[:-TAG_BYTES], body[-TAG_BYTES:]
    key, mac, iv = _keys(secret, record, sealed[:NONCE_BYTES])
    if not hmac.compare_digest(_tag(mac, additional, sealed), tag) or (len(sealed) - NONCE_BYTES) % _BLOCK:
        raise InvalidTag
    decryptor = Cipher(TripleDES(key), CBC(iv)).decryptor()
    padded = decryptor.update(sealed[NONCE_BYTES:]) + decryptor.finalize()
    fill = padded[-1]
    if not 1 <= fill <= _BLOCK or padded[-fill:] != bytes((fill,)) * fill:
        raise InvalidTag
    return padded[:-fill]


def commit(secret: bytes, record: bytes) -> bytes:
    """HMAC-SHA-256 of label and record, cut."""
    return hmac.digest(secret, b"G1 com" + record, "sha256")[:COMMITMENT_BYTES]


def _keys(secret: bytes, record: bytes, nonce: bytes) -> tuple[bytes, bytes, bytes]:
    """Key of the cipher (24), key of the tag (32), and an initial vector (8) nobody can foresee from the nonce."""
    key = hmac.digest(secret, b"G1 3des key" + record + b"\x01", "sha256")[:24]
    mac = hmac.digest(secret, b"G1 3des mac" + record + b"\x01", "sha256")
    return key, mac, hmac.digest(mac, b"iv" + nonce, "sha256")[:_BLOCK]


def _tag(mac: bytes, additional: bytes, sealed: bytes) -> bytes:
    head = b"tag" + len(additional).to_bytes(4)
    return hmac.digest(mac, head + additional + sealed, "sha256")[:TAG_BYTES]


TRIPLE_DES = Suite(0x31, "3des-cbc-hmac", NONCE_BYTES + _BLOCK + TAG_BYTES, True, True, encrypt, decrypt, commit)
