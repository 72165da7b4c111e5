"""0x21: SM4-GCM (GB/T 32907, RFC 8998) with keys and commitment derived by HMAC-SM3 (GB/T 32905).

For tenants assessed for commercial cryptography (GB/T 39786). This is software SM4: an assessment that asks for a
certified module is not met by it. Body: nonce (12), ciphertext, tag (16); SM4 has 128-bit keys.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SM3
from cryptography.hazmat.primitives.hmac import HMAC

from kms.suites.suite import COMMITMENT_BYTES, NONCE_BYTES, TAG_BYTES, Suite

_KEY_BYTES = 16


def encrypt(secret: bytes, record: bytes, nonce: bytes, plaintext: bytes, additional: bytes) -> bytes:
    """Nonce, ciphertext and tag."""
    return nonce + encrypt_under(_value_key(secret, record), nonce, plaintext, additional)


def decrypt(secret: bytes, record: bytes, body: bytes, additional: bytes) -> bytes:
    """The plaintext; raises InvalidTag."""
    return decrypt_under(_value_key(secret, record), body[:NONCE_BYTES], body[NONCE_BYTES:], additional)


def encrypt_under(key: bytes, nonce: bytes, plaintext: bytes | bytearray | memoryview, additional: bytes) -> bytes:
    """SM4-GCM itself: ciphertext and tag under a 16-byte key."""
    encryptor = Cipher(SM4(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(additional)
    return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag


def decrypt_under(key: bytes, nonce: bytes, sealed: bytes | bytearray | memoryview, additional: bytes) -> bytes:
    """SM4-GCM itself: the plaintext, and not a byte of it before the tag is right; raises InvalidTag."""
    decryptor = Cipher(SM4(key), GCM(nonce, bytes(sealed[-TAG_BYTES:]))).decryptor()
    decryptor.authenticate_additional_data(additional)
    plaintext = decryptor.update(sealed[:-TAG_BYTES])
    return plaintext + decryptor.finalize()


def commit(secret: bytes, record: bytes) -> bytes:
    """HMAC-SM3 of label and record, cut."""
    return hmac_sm3(secret, b"G1 com" + record)[:COMMITMENT_BYTES]


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    """HMAC (RFC 2104) with SM3, 32 bytes."""
    # Not hashlib: whether its OpenSSL knows SM3 depends on how Python was built.
    mac = HMAC(key, SM3())
    mac.update(data)
    return mac.finalize()


def _value_key(secret: bytes, record: bytes) -> bytes:
    """One block of HKDF-Expand with SM3, cut to the key of SM4."""
    return hmac_sm3(secret, b"G1 val" + record + b"\x01")[:_KEY_BYTES]


SM4_GCM = Suite(0x21, "sm4-gcm", NONCE_BYTES + TAG_BYTES, True, False, encrypt, decrypt, commit)
