"""Files as a stream of authenticated chunks: bounded memory, any range readable, nothing cut or reordered unseen.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, CRYPTO 2015, section 7) with a key of each file. Layout (kms/README.md has it in full): an 84-byte
head, then chunks of ciphertext and tag. The nonce of a chunk is its number and whether it is the last; the head is
additional data of every chunk; tenant, entity, field and record or cell id are in the derivation of the key, and the
head carries a 32-byte commitment to it. Nothing here does I/O: see kms.stream_flow for iterators and ranges.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kms.envelope import (
    CELL_BYTES,
    FLAG_CELL,
    FLAG_CHUNKED,
    FLAG_COMMITTED,
    FLAG_HELD,
    SECRET_BYTES,
    Context,
    FieldKey,
)
from kms.suites import sm4_gcm
from kms.suites.aes_gcm import AES_256_GCM
from kms.suites.sm4_gcm import SM4_GCM
from kms.suites.suite import TAG_BYTES, Suite

Bytes = bytes | bytearray | memoryview
MAGIC = b"G1S1"
SALT_BYTES = 32
_COMMITMENT_BYTES = 32
_FIXED_BYTES = 20
HEAD_BYTES = _FIXED_BYTES + SALT_BYTES + _COMMITMENT_BYTES
CHUNK_BYTES = 64 * 1024
LEAST_CHUNK, MOST_CHUNK = 2**6, 2**20
MOST_CHUNKS = 2**32
"""Messages under one key with one GCM (SP 800-38D, 8.3)."""
_NO_CELL = bytes(CELL_BYTES)
SUITES = {suite.number: suite for suite in (AES_256_GCM, SM4_GCM)}


class StreamInvalid(Exception):  # noqa: N818 - names what is wrong
    """A stream that does not open here: changed, cut, reordered, or sealed for another place. Never says which.

    What was released before is authentic and in its place; the end was not, so a reader must not call it complete.
    """

    permanent = True

    def __init__(self) -> None:
        super().__init__("the file does not open")


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed head; hints until the key was checked against its commitment.

    chunk: plain bytes of a full chunk; held: the key comes from the field key and the value key of the cell.
    """

    suite: Suite
    key_id: bytes
    chunk: int
    cell: bytes | None
    held: bool
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "Head":
        """A head from exactly HEAD_BYTES; raises StreamInvalid."""
        if len(raw) != HEAD_BYTES or raw[:4] != MAGIC or raw[4] not in SUITES or raw[11]:
            raise StreamInvalid
        flags, cell = raw[9], raw[12:20]
        has_cell, held = bool(flags & FLAG_CELL), bool(flags & FLAG_HELD)
        known = flags & ~(FLAG_CELL | FLAG_HELD) == FLAG_CHUNKED | FLAG_COMMITTED
        if not known or has_cell == (cell == _NO_CELL) or (held and not has_cell):
            raise StreamInvalid
        if not LEAST_CHUNK <= 1 << min(raw[10], 32) <= MOST_CHUNK:
            raise StreamInvalid
        return cls(SUITES[raw[4]], raw[5:9], 1 << raw[10], cell if has_cell else None, held, raw)

    def sealed_size(self, plain: int) -> int:
        """Bytes of a whole stream that holds so many."""
        return HEAD_BYTES + plain + TAG_BYTES * max(1, -(-plain // self.chunk))

    def plain_size(self, sealed: int) -> int:
        """Bytes that a whole stream of this size holds, if its size is true; raises StreamInvalid."""
        body = sealed - HEAD_BYTES
        full, rest = divmod(body, self.chunk + TAG_BYTES)
        if body < TAG_BYTES or 0 < rest < TAG_BYTES or (rest == TAG_BYTES and full) or full >= MOST_CHUNKS:
            raise StreamInvalid
        return body - TAG_BYTES * (full + (1 if rest else 0))


class ChunkCipher:
    """Seals and opens the chunks of one file by their number."""

    def __init__(self, key: FieldKey, context: Context, head: Head) -> None:
        """Derive the key of the file; raises StreamInvalid when head, key and place do not belong together."""
        if key.id != head.key_id or context.cell != head.cell:
            raise StreamInvalid
        self.head = head
        secret, commitment = _derived(key, context, head.suite, head.raw[: _FIXED_BYTES + SALT_BYTES])
        if not hmac.compare_digest(commitment, head.raw[-_COMMITMENT_BYTES:]):
            raise StreamInvalid
        self._encrypt, self._decrypt = _cipher(head.suite, secret)

    def seal(self, number: int, plain: Bytes, last: bool) -> bytes:
        """Ciphertext and tag."""
        return self._encrypt(_nonce(number, last), plain, self.head.raw)

    def open(self, number: int, sealed: Bytes, last: bool) -> bytes:
        """The plain bytes of a chunk; raises StreamInvalid."""
        size = len(sealed) - TAG_BYTES
        # The last chunk is empty only in an empty file, every other one is full: one layout for one content.
        if size < 0 or size > self.head.chunk or (size < self.head.chunk if not last else size == 0 and number > 0):
            raise StreamInvalid
        try:
            return self._decrypt(_nonce(number, last), sealed, self.head.raw)
        except InvalidTag:
            raise StreamInvalid from None


class StreamSealer:
    """Seals one file: `head`, then what `update` gives, then what `finish` gives. Keeps at most one chunk.

    salt: 32 fresh random bytes; chunk: a power of two from 64 bytes to 1 MiB; held: `key` was derived with the value
    key of the file.
    """

    def __init__(
        self,
        key: FieldKey,
        context: Context,
        salt: bytes,
        *,
        chunk: int = CHUNK_BYTES,
        suite: Suite = AES_256_GCM,
        held: bool = False,
    ) -> None:
        head = make_head(key, context, salt, chunk, suite, held=held)
        self.head = head.raw
        self._cipher = ChunkCipher(key, context, head)
        self._buffer = bytearray()
        self._number = 0
        self._finished = False

    def update(self, data: bytes) -> bytes:
        """Take plain bytes; gives the chunks that are surely not the last."""
        if self._finished:
            raise ValueError("the stream is finished")
        return _passed(self._buffer, data, self._cipher.head.chunk, self._seal)

    def finish(self) -> bytes:
        """The last chunk."""
        if self._finished:
            raise ValueError("the stream is finished")
        self._finished = True
        return self._cipher.seal(self._number, bytes(self._buffer), True)

    def _seal(self, plain: Bytes) -> bytes:
        sealed = self._cipher.seal(self._number, plain, False)
        self._number += 1
        return sealed


class StreamOpener:
    """Opens one file after its head: what `update` gives is authentic; only `finish` says that nothing is missing."""

    def __init__(self, key: FieldKey, context: Context, head: Head) -> None:
        """Raises StreamInvalid."""
        self._cipher = ChunkCipher(key, context, head)
        self._buffer = bytearray()
        self._number = 0

    def update(self, data: bytes) -> bytes:
        """Take sealed bytes; gives the plain bytes of whole chunks; raises StreamInvalid."""
        return _passed(self._buffer, data, self._cipher.head.chunk + TAG_BYTES, self._open)

    def finish(self) -> bytes:
        """The plain bytes of the last chunk; raises StreamInvalid when the file was cut or made longer."""
        return self._cipher.open(self._number, bytes(self._buffer), True)

    def _open(self, sealed: Bytes) -> bytes:
        plain = self._cipher.open(self._number, sealed, False)
        self._number += 1
        return plain


def make_head(key: FieldKey, context: Context, salt: bytes, chunk: int, suite: Suite, *, held: bool = False) -> Head:
    """The head of a new file."""
    if len(key.id) != 4 or len(key.secret) != SECRET_BYTES or len(salt) != SALT_BYTES:
        raise ValueError("a stream takes a 4-byte key id, a 32-byte key and a 32-byte salt")
    if chunk & (chunk - 1) or not LEAST_CHUNK <= chunk <= MOST_CHUNK or suite.number not in SUITES:
        raise ValueError("a stream takes chunks of a power of two from 64 bytes to 1 MiB, and AES-256-GCM or SM4-GCM")
    if context.cell is not None and (len(context.cell) != CELL_BYTES or context.cell == _NO_CELL):
        raise ValueError("a cell id has 8 bytes that are not all zero")
    if held and context.cell is None:
        raise ValueError("only a file with a cell id has a value key")
    flags = FLAG_CHUNKED | FLAG_COMMITTED | (FLAG_CELL if context.cell is not None else 0)
    flags |= FLAG_HELD if held else 0
    numbers = bytes((suite.number,)) + key.id + bytes((flags, chunk.bit_length() - 1, 0))
    start = MAGIC + numbers + (context.cell or _NO_CELL) + salt
    return Head.parse(start + _derived(key, context, suite, start)[1])


def _passed(buffer: bytearray, data: bytes, size: int, work: Callable[[Bytes], bytes]) -> bytes:
    """Work on every full piece but keep the last one back: it may be the end. Whole pieces are not copied first."""
    view, at, pieces = memoryview(data), 0, []
    if buffer and len(buffer) + len(view) > size:
        at = size - len(buffer)
        buffer += view[:at]
        pieces.append(work(buffer))
        buffer.clear()
    if not buffer:
        while len(view) - at > size:
            pieces.append(work(view[at : at + size]))
            at += size
    buffer += view[at:]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _nonce(number: int, last: bool) -> bytes:
    if number >= MOST_CHUNKS:
        raise StreamInvalid
    return number.to_bytes(11) + (b"\x01" if last else b"\x00")


def _derived(key: FieldKey, context: Context, suite: Suite, start: bytes) -> tuple[bytes, bytes]:
    """Key and commitment: HKDF (RFC 5869) with the salt; info is the head so far and the place, each with a length."""
    sm4 = suite is SM4_GCM
    parts = [text.encode() for text in (context.tenant, context.application, context.entity, context.field)]
    parts.append(context.cell if context.cell is not None else context.record.encode())
    info = b"G1 stream" + start + b"".join(len(part).to_bytes(4) + part for part in parts)
    prk = _mac(sm4, start[_FIXED_BYTES:], key.secret)
    first = _mac(sm4, prk, info + b"\x01")
    return first[:16] if sm4 else first, _mac(sm4, prk, first + info + b"\x02")


def _mac(sm4: bool, key: bytes, data: bytes) -> bytes:
    return sm4_gcm.hmac_sm3(key, data) if sm4 else hmac.digest(key, data, "sha256")


_Work = Callable[[bytes, Bytes, bytes], bytes]


def _cipher(suite: Suite, secret: bytes) -> tuple[_Work, _Work]:
    """Encrypt and decrypt (nonce, data, additional) of one file."""
    if suite is SM4_GCM:
        return (
            lambda nonce, plain, head: sm4_gcm.encrypt_under(secret, nonce, plain, head),
            lambda nonce, sealed, head: sm4_gcm.decrypt_under(secret, nonce, sealed, head),
        )
    aead = AESGCM(secret)
    return aead.encrypt, aead.decrypt
