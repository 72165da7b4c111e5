"""Bytes that are too many for memory: an unlinked file, encrypted with a key that dies with the process.

What lies on the disk is readable by nobody: the key (AES-256 in counter mode, NIST SP 800-38A) is made for one spool,
never written down, and used for one stream only. The file is written once, then read.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

CHUNK_BYTES = 256 * 1024
_BLOCK = 16


class SealedFile:
    """Append, then read ranges. Nothing is on the disk before the first `append`."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._key = os.urandom(32)
        self._nonce = os.urandom(8)
        self._descriptor = -1
        self._writing: CipherContext | None = None
        self._pending = bytearray()
        self.length = 0

    async def append(self, data: bytes) -> None:
        """Adds bytes at the end."""
        self._pending += data
        self.length += len(data)
        if len(self._pending) >= CHUNK_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Brings everything appended so far onto the disk."""
        if self._pending:
            data, self._pending = bytes(self._pending), bytearray()
            await asyncio.to_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        if self._writing is None:
            # The file has no name from the start (O_TMPFILE) or loses it at once; a crash leaves nothing behind.
            with tempfile.TemporaryFile(dir=self._directory) as file:
                self._descriptor = os.dup(file.fileno())
            self._writing = Cipher(AES(self._key), CTR(self._nonce + bytes(8))).encryptor()
        sealed = self._writing.update(data)
        while sealed:
            sealed = sealed[os.write(self._descriptor, sealed) :]

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        """A range, chunk by chunk; call `flush` before."""
        block, skip = divmod(start, _BLOCK)
        counter = self._nonce + block.to_bytes(8, "big")
        reader = Cipher(AES(self._key), CTR(counter)).decryptor()
        at, left = start - skip, length + skip
        while left > 0:
            sealed = await asyncio.to_thread(os.pread, self._descriptor, min(CHUNK_BYTES, left), at)
            if not sealed:
                raise OSError("spool ended early")
            at += len(sealed)
            left -= len(sealed)
            yield reader.update(sealed)[skip:]
            skip = 0

    def close(self) -> None:
        """Gives the space back; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Transform(Protocol):
    """Something that turns a body into another one of known length on its way out."""

    def size(self, length: int) -> int:
        """Bytes that come out when so many go in."""
        ...

    def flow(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What comes out."""
        ...


@dataclass(frozen=True, slots=True)
class Transformed:
    """A piece that is transformed when it is read."""

    piece: bytes | tuple[int, int]
    transform: Transform

    @property
    def length(self) -> int:
        """Bytes that come out."""
        return self.transform.size(_length(self.piece))


def _length(piece: bytes | tuple[int, int]) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1]


class Spooled:
    """A body made of pieces in memory and ranges of one sealed file, of known length; read once."""

    def __init__(self, pieces: list[bytes | tuple[int, int] | Transformed], file: SealedFile) -> None:
        self._pieces = pieces
        self._file = file
        self._length = sum(piece.length if isinstance(piece, Transformed) else _length(piece) for piece in pieces)

    @property
    def length(self) -> int:
        """Bytes in all."""
        return self._length

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in order."""
        for piece in self._pieces:
            if isinstance(piece, Transformed):
                flow = piece.transform.flow(self._read(piece.piece))
            else:
                flow = self._read(piece)
            async for chunk in flow:
                yield chunk

    async def _read(self, piece: bytes | tuple[int, int]) -> AsyncIterator[bytes]:
        if isinstance(piece, bytes):
            if piece:
                yield piece
            return
        async for chunk in self._file.read(*piece):
            yield chunk

    async def close(self) -> None:
        """Gives the space back; may be called twice."""
        self._file.close()
