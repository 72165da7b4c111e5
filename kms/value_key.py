"""Value keys: one random key an entry, wrapped once for each holder under that holder's person key.

What seals an entry is derived from its field key and its value key together, so that losing either makes it unreadable.
The G1 envelope stays as it is. Pure; keys and nonces are given.
"""

import hmac
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kms.envelope import FieldKey

KEY_BYTES = 32
NONCE_BYTES = 12
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + 16
_LABEL = b"crmgate held value 1\x01"


def derived(key: FieldKey, value_key: bytes) -> FieldKey:
    """The key of one entry: HKDF-SHA-256 of the field key (RFC 5869) with the value key as salt; the id stays."""
    extracted = hmac.digest(value_key, key.secret, "sha256")
    return FieldKey(key.id, hmac.digest(extracted, _LABEL, "sha256"))


def opening(keys: Mapping[bytes, FieldKey], value_key: bytes | None, *ids: bytes) -> Mapping[bytes, FieldKey]:
    """Keys that open what is sealed about one entry. value_key: None for an entry that nobody holds; ids: of keys."""
    if value_key is None:
        return keys
    return {one: derived(keys[one], value_key) for one in ids if one in keys}


def sealing(key: FieldKey, value_key: bytes | None) -> FieldKey:
    """The key that seals what belongs to one entry."""
    return key if value_key is None else derived(key, value_key)


def wrap(under: bytes, key: bytes, place: bytes, nonce: bytes) -> bytes:
    """AES-256-GCM of a 32-byte key: nonce, ciphertext and tag, 60 bytes. place: what it is bound to."""
    return nonce + AESGCM(under).encrypt(nonce, key, place)


def unwrap(under: bytes, wrapped: bytes, place: bytes) -> bytes | None:
    """The key again; None when it does not open here."""
    if len(wrapped) != WRAPPED_BYTES:
        return None
    try:
        return AESGCM(under).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], place)
    except InvalidTag:
        return None


def value_place(tenant: str, holder: bytes, surrogate: str) -> bytes:
    """What a wrapped value key is bound to."""
    return _place(b"crmgate value key 1", tenant.encode(), holder, surrogate.encode())


def person_place(tenant: str, holder: bytes, epoch: int) -> bytes:
    """What a wrapped person key is bound to."""
    return _place(b"crmgate person key 1", tenant.encode(), holder, epoch.to_bytes(8))


def epoch_place(tenant: str) -> bytes:
    """What a wrapped epoch key is bound to."""
    return _place(b"crmgate person epoch key 1", tenant.encode())


def _place(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)
