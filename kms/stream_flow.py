"""Files sealed and opened as they pass: iterators for both directions, and ranges of what is stored.

Memory is a chunk or two whatever the size of the file. A consumer sees StreamInvalid where the stream stops being
authentic; whatever it was given until then must not be taken for a whole file.
A range is read from a source with random access. Its first read proves the size: without that, a file cut at the edge
of a chunk would look shorter, not broken.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kms.envelope import Context, FieldKey
from kms.stream import HEAD_BYTES, ChunkCipher, Head, StreamInvalid, StreamOpener, StreamSealer
from kms.suites.suite import TAG_BYTES

FindKey = Callable[[bytes], Awaitable[FieldKey | None]]
"""A field key by the id a head names; None when there is none. Raises KeysUnavailable."""
Read = Callable[[int, int], bytes]
ReadSoon = Callable[[int, int], Awaitable[bytes]]
"""read(start, size) gives exactly these bytes of what is stored."""


def seal_pieces(sealer: StreamSealer, source: Iterable[bytes]) -> Iterator[bytes]:
    """The sealed file, piece by piece."""
    yield sealer.head
    for data in source:
        if sealed := sealer.update(data):
            yield sealed
    yield sealer.finish()


async def seal_flow(sealer: StreamSealer, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same for an asynchronous source; it ends when the source ends, and breaks when the source breaks."""
    yield sealer.head
    async for data in source:
        if sealed := sealer.update(data):
            yield sealed
    yield sealer.finish()


def open_pieces(keys: Mapping[bytes, FieldKey], context: Context, source: Iterable[bytes]) -> Iterator[bytes]:
    """The clear file, piece by piece; raises StreamInvalid, at the latest at the end."""
    start = bytearray()
    opener: StreamOpener | None = None
    for data in source:
        if opener is None:
            start += data
            if len(start) < HEAD_BYTES:
                continue
            head = Head.parse(bytes(start[:HEAD_BYTES]))
            opener = _opener(keys.get(head.key_id), context, head)
            data = bytes(start[HEAD_BYTES:])
        if plain := opener.update(data):
            yield plain
    if opener is None:
        raise StreamInvalid
    if plain := opener.finish():
        yield plain


async def open_flow(find: FindKey, context: Context, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same for an asynchronous source; raises KeysUnavailable as well, before anything is given out."""
    start = bytearray()
    opener: StreamOpener | None = None
    async for data in source:
        if opener is None:
            start += data
            if len(start) < HEAD_BYTES:
                continue
            head = Head.parse(bytes(start[:HEAD_BYTES]))
            opener = _opener(await find(head.key_id), context, head)
            data = bytes(start[HEAD_BYTES:])
        if plain := opener.update(data):
            yield plain
    if opener is None:
        raise StreamInvalid
    if plain := opener.finish():
        yield plain


@dataclass(frozen=True, slots=True)
class Window:
    """Which stored bytes hold a range: chunks first..last, from start on, so many bytes; skip and take cut it out."""

    first: int
    last: int
    start: int
    size: int
    skip: int
    take: int


class StoredFile:
    """A sealed file with random access, whose size was proved."""

    def __init__(self, cipher: ChunkCipher, sealed_size: int) -> None:
        self._cipher = cipher
        self._sealed_size = sealed_size
        self.size = cipher.head.plain_size(sealed_size)
        """Bytes of the clear file."""
        self._final = max(0, -(-self.size // cipher.head.chunk) - 1)

    @classmethod
    def open(cls, keys: Mapping[bytes, FieldKey], context: Context, size: int, read: Read) -> "StoredFile":
        """Read head and last chunk of a stored file of `size` bytes; raises StreamInvalid."""
        head = Head.parse(read(0, HEAD_BYTES))
        file = cls(_chunks(keys.get(head.key_id), context, head), size)
        file._prove(read(*file._end()))
        return file

    @classmethod
    async def open_soon(cls, find: FindKey, context: Context, size: int, read: ReadSoon) -> "StoredFile":
        """The same with asynchronous reads; raises StreamInvalid, KeysUnavailable."""
        head = Head.parse(await read(0, HEAD_BYTES))
        file = cls(_chunks(await find(head.key_id), context, head), size)
        file._prove(await read(*file._end()))
        return file

    def window(self, start: int, stop: int) -> Window:
        """Where the clear bytes start..stop (not included) are stored; raises ValueError outside of the file."""
        if not 0 <= start < stop <= self.size:
            raise ValueError("the range is outside of the file")
        chunk = self._cipher.head.chunk
        first, last = start // chunk, (stop - 1) // chunk
        at = HEAD_BYTES + first * (chunk + TAG_BYTES)
        end = min(HEAD_BYTES + (last + 1) * (chunk + TAG_BYTES), self._sealed_size)
        return Window(first, last, at, end - at, start - first * chunk, stop - start)

    def range(self, start: int, stop: int, read: Read) -> Iterator[bytes]:
        """The clear bytes start..stop, chunk by chunk; raises StreamInvalid, ValueError."""
        window = self.window(start, stop)
        for number in range(window.first, window.last + 1):
            yield self._cut(window, number, read(*self._place(number)))

    async def range_soon(self, start: int, stop: int, read: ReadSoon) -> AsyncIterator[bytes]:
        """The same with asynchronous reads."""
        window = self.window(start, stop)
        for number in range(window.first, window.last + 1):
            yield self._cut(window, number, await read(*self._place(number)))

    def _place(self, number: int) -> tuple[int, int]:
        size = self._cipher.head.chunk + TAG_BYTES
        start = HEAD_BYTES + number * size
        return start, min(size, self._sealed_size - start)

    def _end(self) -> tuple[int, int]:
        return self._place(self._final)

    def _prove(self, sealed: bytes) -> None:
        self._cipher.open(self._final, sealed, True)

    def _cut(self, window: Window, number: int, sealed: bytes) -> bytes:
        plain = self._cipher.open(number, sealed, number == self._final)
        base = (number - window.first) * self._cipher.head.chunk - window.skip
        return plain[max(0, -base) : window.take - base]


def _opener(key: FieldKey | None, context: Context, head: Head) -> StreamOpener:
    if key is None:
        raise StreamInvalid
    return StreamOpener(key, context, head)


def _chunks(key: FieldKey | None, context: Context, head: Head) -> ChunkCipher:
    if key is None:
        raise StreamInvalid
    return ChunkCipher(key, context, head)
