"""The G1 envelope: one value sealed, bound to where it belongs.

Layout: suite (1), key id (4), type and flags (1), [cell id (8)], [commitment (16)], then the body of the suite: nonce
(12), ciphertext and tag (16), or for the deterministic suite synthetic IV (16) and ciphertext. The additional data are
never stored: "G1", the header, then tenant, application, entity, field and record key, each with a 4-byte length. A
suite that is not bound to the record leaves the record key out.
There is exactly one key per id, no trial decryption, and one error for everything that does not open.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography.exceptions import InvalidTag

from kms.suites.aes_gcm import AES_256_GCM
from kms.suites.aes_siv import AES_256_SIV
from kms.suites.sm4_gcm import SM4_GCM
from kms.suites.suite import COMMITMENT_BYTES, NONCE_BYTES, Suite
from kms.suites.triple_des import TRIPLE_DES

__all__ = ["NONCE_BYTES", "SUITES", "Context", "EnvelopeInvalid", "FieldKey", "Sealing", "SuiteRetired"]

SUITES: Mapping[int, Suite] = MappingProxyType(
    {suite.number: suite for suite in (AES_256_GCM, AES_256_SIV, SM4_GCM, TRIPLE_DES)}
)
TYPE_TEXT, TYPE_INTEGER, TYPE_DECIMAL, TYPE_DATE, TYPE_BOOLEAN, TYPE_JSON = range(1, 7)
TYPES = 0x07
FLAG_HELD = 0x08
"""The key comes from the field key and a value key of the cell (kms.value_key); only with a cell id."""
FLAG_COMMITTED = 0x10
FLAG_CELL = 0x20
FLAG_CHUNKED = 0x40
"""Of streams (kms.stream); no envelope of one value has it."""
FLAG_PADDED = 0x80
KEY_ID_BYTES = 4
CELL_BYTES = 8
SECRET_BYTES = 32
_HEAD_BYTES = 6


class EnvelopeInvalid(Exception):  # noqa: N818 - names what is wrong
    """An envelope that does not open here: changed, cut, or sealed for another place. Never says which."""

    permanent = True

    def __init__(self) -> None:
        super().__init__("the envelope does not open")


class SuiteRetired(Exception):  # noqa: N818 - names what is wrong
    """Somebody asks to encrypt with a suite that only reads, and the explicit switch is off."""

    permanent = True


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


@dataclass(frozen=True, slots=True)
class Sealing:
    """How new values are sealed; what is stored opens whatever stands here.

    committed: each envelope carries a commitment to its key, for keys that a tenant brings; legacy: the explicit switch
    without which a retired suite does not encrypt.
    """

    suite: Suite = AES_256_GCM
    committed: bool = False
    legacy: bool = False


DEFAULT = Sealing()


def seal(
    key: FieldKey,
    plaintext: bytes,
    context: Context,
    nonce: bytes,
    *,
    pad_to: int = 0,
    kind: int = TYPE_TEXT,
    sealing: Sealing = DEFAULT,
    held: bool = False,
) -> bytes:
    """Seal a value; `nonce` is 12 fresh random bytes, `pad_to` hides the length in steps of that many bytes.

    kind: one of the TYPE_ numbers. held: the key was derived with the value key of the cell, and the envelope says so.
    A suite that is not bound to the record ignores record, cell and nonce. Raises SuiteRetired.
    """
    if len(nonce) != NONCE_BYTES or len(key.id) != KEY_ID_BYTES or len(key.secret) != SECRET_BYTES:
        raise ValueError("a G1 envelope takes a 12-byte nonce, a 4-byte key id and a 32-byte key")
    if not TYPE_TEXT <= kind <= TYPE_JSON:
        raise ValueError("a G1 envelope takes one of six types")
    suite = sealing.suite
    if suite.legacy and not sealing.legacy:
        raise SuiteRetired(f"{suite.name} only reads; encrypting with it needs the explicit switch")
    cell, record = _record(suite, context)
    if context.cell is not None and len(context.cell) != CELL_BYTES:
        raise ValueError("a cell id has 8 bytes")
    if held and not cell:
        raise ValueError("only a cell with an id has a value key")
    flags = kind | (FLAG_HELD if held else 0)
    commitment = b""
    if pad_to:
        flags |= FLAG_PADDED
        plaintext += b"\x80" + bytes(-(len(plaintext) + 1) % pad_to)  # ISO/IEC 7816-4
    if cell:
        flags |= FLAG_CELL
    if sealing.committed:
        flags |= FLAG_COMMITTED
        commitment = suite.commit(key.secret, record)
    header = bytes((suite.number,)) + key.id + bytes((flags,)) + cell + commitment
    return header + suite.encrypt(key.secret, record, nonce, plaintext, _additional(header, context, suite.bound))


def open_(keys: Mapping[bytes, FieldKey], blob: bytes, context: Context) -> bytes:
    """The text that was sealed; raises EnvelopeInvalid, also when it was no text or the key is not among `keys`."""
    kind, plaintext = open_typed(keys, blob, context)
    if kind != TYPE_TEXT:
        raise EnvelopeInvalid
    return plaintext


def open_typed(
    keys: Mapping[bytes, FieldKey], blob: bytes, context: Context, *, held: bool = False
) -> tuple[int, bytes]:
    """Type and value again; raises EnvelopeInvalid, also when the key id is not among `keys`.

    held: `keys` were derived with the value key of this cell; an envelope that says otherwise opens nowhere.
    """
    key = keys.get(blob[1:5])
    suite = SUITES.get(blob[0]) if len(blob) > _HEAD_BYTES else None
    if key is None or suite is None or len(key.secret) != SECRET_BYTES:
        raise EnvelopeInvalid
    flags = blob[5]
    kind = flags & TYPES
    start = _HEAD_BYTES + (CELL_BYTES if flags & FLAG_CELL else 0)
    until = start + (COMMITMENT_BYTES if flags & FLAG_COMMITTED else 0)
    cell, record = _record(suite, context)
    if flags & FLAG_CHUNKED or not TYPE_TEXT <= kind <= TYPE_JSON or len(blob) < until + suite.least:
        raise EnvelopeInvalid
    if cell != blob[_HEAD_BYTES:start] or bool(flags & FLAG_HELD) != held or (held and not cell):
        raise EnvelopeInvalid
    if until > start and not hmac.compare_digest(suite.commit(key.secret, record), blob[start:until]):
        raise EnvelopeInvalid
    try:
        additional = _additional(blob[:until], context, suite.bound)
        plaintext = suite.decrypt(key.secret, record, blob[until:], additional)
    except InvalidTag:
        raise EnvelopeInvalid from None
    return kind, _unpadded(plaintext) if flags & FLAG_PADDED else plaintext


def key_id(blob: bytes) -> bytes:
    """The key id an envelope names; a hint until it opens."""
    return blob[1:5]


def cell_id(blob: bytes) -> bytes | None:
    """The cell id an envelope names, if any; a hint until it opens."""
    if len(blob) < _HEAD_BYTES + CELL_BYTES or not blob[5] & FLAG_CELL:
        return None
    return blob[_HEAD_BYTES : _HEAD_BYTES + CELL_BYTES]


def is_held(blob: bytes) -> bool:
    """Whether an envelope says that its cell has a value key; a hint until it opens."""
    return len(blob) > _HEAD_BYTES and bool(blob[5] & FLAG_HELD)


def _record(suite: Suite, context: Context) -> tuple[bytes, bytes]:
    """Cell id of the header, and what stands for the record in keys; both empty when the suite is not bound to it."""
    if not suite.bound:
        return b"", b""
    if context.cell is not None:
        return context.cell, context.cell
    return b"", context.record.encode()


def _unpadded(plaintext: bytes) -> bytes:
    text = plaintext.rstrip(b"\0")
    if not text.endswith(b"\x80"):
        raise EnvelopeInvalid
    return text[:-1]


def _additional(header: bytes, context: Context, bound: bool) -> bytes:
    # Written out: with a loop over the parts, this was a tenth of the time of a whole seal.
    tenant, application = context.tenant.encode(), context.application.encode()
    entity, field_name = context.entity.encode(), context.field.encode()
    place = b"".join(
        (
            b"G1",
            header,
            len(tenant).to_bytes(4),
            tenant,
            len(application).to_bytes(4),
            application,
            len(entity).to_bytes(4),
            entity,
            len(field_name).to_bytes(4),
            field_name,
        )
    )
    if not bound:
        return place
    record = context.record.encode()
    return place + len(record).to_bytes(4) + record
