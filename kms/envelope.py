"""The G1 envelope: one value sealed with AES-256-GCM, bound to where it belongs.

Layout: suite 0x11, key id (4), type and flags (1), [cell id (8)], nonce (12), ciphertext, tag (16). The additional data
are never stored: "G1", the header, then tenant, application, entity, field and record key, each with a 4-byte length.
The value key is HKDF-Expand(field key, "G1 val" + record key or cell id), so a key per record is used.
There is exactly one key per id, no trial decryption, and one error for everything that does not open.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE_AES_256_GCM = 0x11
TYPE_TEXT = 0x01
FLAG_CELL = 0x20
FLAG_PADDED = 0x80
NONCE_BYTES = 12
KEY_ID_BYTES = 4
CELL_BYTES = 8
_TAG_BYTES = 16


class EnvelopeInvalid(Exception):  # noqa: N818 - names what is wrong
    """An envelope that does not open here: changed, cut, or sealed for another place. Never says which."""

    permanent = True

    def __init__(self) -> None:
        super().__init__("the envelope does not open")


@dataclass(frozen=True, slots=True)
class FieldKey:
    """A field key in the clear: 4-byte id, 32 bytes of secret."""

    id: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Context:
    """Where a value belongs; every part is authenticated. cell: 8 bytes instead of a record that is not known yet."""

    tenant: str
    application: str
    entity: str
    field: str
    record: str = ""
    cell: bytes | None = None


def seal(key: FieldKey, plaintext: bytes, context: Context, nonce: bytes, *, pad_to: int = 0) -> bytes:
    """Seal a value; `nonce` is 12 fresh random bytes, `pad_to` hides the length in steps of that many bytes."""
    if len(nonce) != NONCE_BYTES or len(key.id) != KEY_ID_BYTES or len(key.secret) != 32:
        raise ValueError("a G1 envelope takes a 12-byte nonce, a 4-byte key id and a 32-byte key")
    flags = TYPE_TEXT | (FLAG_PADDED if pad_to else 0) | (FLAG_CELL if context.cell is not None else 0)
    header = bytes((SUITE_AES_256_GCM,)) + key.id + bytes((flags,)) + (context.cell or b"")
    if pad_to:
        plaintext += b"\x80" + bytes(-(len(plaintext) + 1) % pad_to)  # ISO/IEC 7816-4
    cipher = AESGCM(_value_key(key.secret, context))
    return header + nonce + cipher.encrypt(nonce, plaintext, _additional(header, context))


def open_(keys: Mapping[bytes, FieldKey], blob: bytes, context: Context) -> bytes:
    """The value again; raises EnvelopeInvalid, also when the key id is not among `keys`."""
    key = keys.get(key_id(blob))
    flags = blob[5] if len(blob) > 5 else 0
    start = 6 + (CELL_BYTES if flags & FLAG_CELL else 0)
    known = flags & ~(FLAG_PADDED | FLAG_CELL) == TYPE_TEXT
    if key is None or not known or len(blob) < start + NONCE_BYTES + _TAG_BYTES or blob[0] != SUITE_AES_256_GCM:
        raise EnvelopeInvalid
    header, body = blob[:start], blob[start:]
    if (context.cell or b"") != header[6:]:
        raise EnvelopeInvalid
    try:
        cipher = AESGCM(_value_key(key.secret, context))
        plaintext = cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], _additional(header, context))
    except InvalidTag:
        raise EnvelopeInvalid from None
    return _unpadded(plaintext) if flags & FLAG_PADDED else plaintext


def key_id(blob: bytes) -> bytes:
    """The key id an envelope names; a hint until it opens."""
    return blob[1:5]


def _unpadded(plaintext: bytes) -> bytes:
    text = plaintext.rstrip(b"\0")
    if not text.endswith(b"\x80"):
        raise EnvelopeInvalid
    return text[:-1]


def _value_key(secret: bytes, context: Context) -> bytes:
    """HKDF-Expand to one block of SHA-256 (RFC 5869, 2.3): T(1) = HMAC(key, info | 0x01)."""
    info = b"G1 val" + (context.cell if context.cell is not None else context.record.encode())
    return hmac.digest(secret, info + b"\x01", "sha256")


def _additional(header: bytes, context: Context) -> bytes:
    parts = [b"G1", header]
    for text in (context.tenant, context.application, context.entity, context.field, context.record):
        part = text.encode()
        parts += (len(part).to_bytes(4), part)
    return b"".join(parts)
