"""Asynchronous flows and ranges of stored files: right bytes, proved size, and no answer of a broken source passes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.envelope import Context, FieldKey
from kms.provider import KeysUnavailable
from kms.stream import HEAD_BYTES, StreamInvalid, StreamSealer
from kms.stream_flow import StoredFile, open_flow, open_pieces, seal_flow, seal_pieces

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
KEYS = {KEY.id: KEY}
PLACE = Context("acme", "crm", "document", "file", cell=b"12345678")
SALT = bytes(range(32))
PLAIN = bytes(number % 251 for number in range(1000))


def sealed(plain: bytes) -> bytes:
    return b"".join(seal_pieces(StreamSealer(KEY, PLACE, SALT, chunk=64), [plain]))


BLOB = sealed(PLAIN)


async def find(key_id: bytes) -> FieldKey | None:
    return KEYS.get(key_id)


async def flow(data: bytes, size: int = 33) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def reading(blob: bytes) -> Callable[[int, int], bytes]:
    return lambda start, size: blob[start : start + size]


def reading_soon(blob: bytes) -> Callable[[int, int], Awaitable[bytes]]:
    async def read(start: int, size: int) -> bytes:
        await asyncio.sleep(0)
        return blob[start : start + size]

    return read


async def test_a_flow_is_sealed_and_opened_on_its_way() -> None:
    sealer = StreamSealer(KEY, PLACE, SALT, chunk=64)
    stored = b"".join([piece async for piece in seal_flow(sealer, flow(PLAIN))])
    assert stored == BLOB
    assert b"".join([piece async for piece in open_flow(find, PLACE, flow(stored))]) == PLAIN


@pytest.mark.parametrize("size", [0, 10, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 80, len(BLOB) - 1])
async def test_a_flow_that_ends_early_is_never_whole(size: int) -> None:
    with pytest.raises(StreamInvalid):
        _ = [piece async for piece in open_flow(find, PLACE, flow(BLOB[:size]))]
    with pytest.raises(StreamInvalid):
        list(open_pieces(KEYS, PLACE, [BLOB[:size]]))


async def test_a_source_that_breaks_leaves_no_end() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield PLAIN
        raise ConnectionResetError

    made: list[bytes] = []

    async def pass_on() -> None:
        async for piece in seal_flow(StreamSealer(KEY, PLACE, SALT, chunk=64), broken()):
            made.append(piece)

    with pytest.raises(ConnectionResetError):
        await pass_on()
    with pytest.raises(StreamInvalid):
        list(open_pieces(KEYS, PLACE, made))


async def test_without_keys_nothing_is_released() -> None:
    async def away(key_id: bytes) -> FieldKey | None:
        raise KeysUnavailable("vault-unreachable", "OpenBao is away")

    async def unknown(key_id: bytes) -> FieldKey | None:
        return None

    async def nonsense(key_id: bytes) -> FieldKey | None:
        return FieldKey(key_id, bytes(32))

    for source, error in ((away, KeysUnavailable), (unknown, StreamInvalid), (nonsense, StreamInvalid)):
        pieces = open_flow(source, PLACE, flow(BLOB))
        with pytest.raises(error):
            await anext(pieces)
        with pytest.raises(error):
            await StoredFile.open_soon(source, PLACE, len(BLOB), reading_soon(BLOB))


@given(st.integers(0, 300), st.data())
def test_every_range_gives_exactly_its_bytes(size: int, data: st.DataObject) -> None:
    plain = PLAIN[:size]
    blob = sealed(plain)
    file = StoredFile.open(KEYS, PLACE, len(blob), reading(blob))
    assert file.size == size
    if size:
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start + 1, size))
        assert b"".join(file.range(start, stop, reading(blob))) == plain[start:stop]
        window = file.window(start, stop)
        stored = blob[window.start : window.start + window.size]
        assert len(stored) == window.size
        assert window.size <= (window.last - window.first + 1) * 80


async def test_ranges_with_asynchronous_reads() -> None:
    file = await StoredFile.open_soon(find, PLACE, len(BLOB), reading_soon(BLOB))
    assert b"".join([piece async for piece in file.range_soon(60, 200, reading_soon(BLOB))]) == PLAIN[60:200]


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (6, 5), (0, 1001), (1000, 1001)])
def test_ranges_outside_of_the_file_are_refused(start: int, stop: int) -> None:
    file = StoredFile.open(KEYS, PLACE, len(BLOB), reading(BLOB))
    with pytest.raises(ValueError, match="outside"):
        list(file.range(start, stop, reading(BLOB)))


def test_a_file_cut_at_the_edge_of_a_chunk_is_not_taken_for_a_shorter_one() -> None:
    for size in range(len(BLOB)):
        with pytest.raises(StreamInvalid):
            StoredFile.open(KEYS, PLACE, size, reading(BLOB[:size]))
    with pytest.raises(StreamInvalid):
        StoredFile.open(KEYS, PLACE, len(BLOB) + 80, reading(BLOB))


def test_a_changed_or_swapped_chunk_breaks_the_ranges_that_touch_it_only() -> None:
    at = HEAD_BYTES + 3 * 80
    blob = BLOB[:at] + BLOB[at + 80 : at + 160] + BLOB[at : at + 80] + BLOB[at + 160 :]
    file = StoredFile.open(KEYS, PLACE, len(blob), reading(blob))
    assert b"".join(file.range(0, 192, reading(blob))) == PLAIN[:192]
    for start in (192, 256):
        with pytest.raises(StreamInvalid):
            list(file.range(start, start + 1, reading(blob)))


@pytest.mark.parametrize("answer", [b"", b"x", bytes(80), bytes(200)])
def test_a_source_that_answers_nonsense_is_refused(answer: bytes) -> None:
    file = StoredFile.open(KEYS, PLACE, len(BLOB), reading(BLOB))
    with pytest.raises(StreamInvalid):
        list(file.range(0, 10, lambda start, size: answer))
    with pytest.raises(StreamInvalid):
        StoredFile.open(KEYS, PLACE, len(BLOB), lambda start, size: answer)
