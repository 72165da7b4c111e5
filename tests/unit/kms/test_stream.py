"""The stream: no cut, longer, reordered or moved file opens to its end, and memory stays at a chunk or two."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.envelope import Context, FieldKey
from kms.stream import (
    CHUNK_BYTES,
    HEAD_BYTES,
    MOST_CHUNKS,
    ChunkCipher,
    Head,
    StreamInvalid,
    StreamOpener,
    StreamSealer,
    make_head,
)
from kms.stream_flow import open_pieces, seal_pieces
from kms.suites.aes_gcm import AES_256_GCM
from kms.suites.aes_siv import AES_256_SIV
from kms.suites.sm4_gcm import SM4_GCM
from kms.suites.suite import Suite
from kms.suites.triple_des import TRIPLE_DES

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
KEYS = {KEY.id: KEY}
PLACE = Context("acme", "crm", "document", "file", "4711")
CELL = replace(PLACE, record="", cell=b"12345678")
SALT = bytes(range(32))
SUITES = [AES_256_GCM, SM4_GCM]


def sealed(plain: bytes, place: Context = PLACE, chunk: int = 64, suite: Suite = AES_256_GCM) -> bytes:
    return b"".join(seal_pieces(StreamSealer(KEY, place, SALT, chunk=chunk, suite=suite), [plain]))


def opened(blob: bytes, place: Context = PLACE) -> bytes:
    return b"".join(open_pieces(KEYS, place, [blob]))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Data in pieces that end at these places."""
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(
    st.binary(max_size=500),
    st.lists(st.integers(0, 900), max_size=8),
    st.sampled_from([64, 128, 1024]),
    st.sampled_from([PLACE, CELL]),
    st.sampled_from(SUITES),
)
def test_files_come_back_however_they_are_cut_into_pieces(
    plain: bytes, places: list[int], chunk: int, place: Context, suite: Suite
) -> None:
    sealer = StreamSealer(KEY, place, SALT, chunk=chunk, suite=suite)
    blob = b"".join(seal_pieces(sealer, cut(plain, places)))
    head = Head.parse(blob[:HEAD_BYTES])
    assert blob == sealed(plain, place, chunk, suite)  # the pieces leave no trace
    assert head.sealed_size(len(plain)) == len(blob)
    assert head.plain_size(len(blob)) == len(plain)
    assert b"".join(open_pieces(KEYS, place, cut(blob, places))) == plain


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: str(suite.name))
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 200])
def test_no_changed_cut_or_longer_file_opens_to_its_end(size: int, suite: Suite) -> None:
    blob = sealed(bytes(size), suite=suite)
    changed = [blob[:at] + bytes((blob[at] ^ bit,)) + blob[at + 1 :] for at in range(len(blob)) for bit in (1, 0x80)]
    changed += [blob[:at] for at in range(len(blob))]
    changed += [blob + b"\0", blob + bytes(16), blob + blob[HEAD_BYTES:], blob + bytes(80)]
    for one in changed:
        with pytest.raises(StreamInvalid):
            list(open_pieces(KEYS | {one[5:9]: KEY}, PLACE, [one]))


@given(st.lists(st.integers(0, 4), max_size=7))
def test_chunks_open_in_their_order_and_number_only(order: list[int]) -> None:
    plain = bytes(range(256)) + bytes(64)
    blob = sealed(plain)
    chunks = [blob[at : at + 80] for at in range(HEAD_BYTES, len(blob), 80)]
    assert len(chunks) == 5
    one = blob[:HEAD_BYTES] + b"".join(chunks[number] for number in order)
    if order == [0, 1, 2, 3, 4]:
        assert opened(one) == plain
    else:
        with pytest.raises(StreamInvalid):
            opened(one)


@given(st.integers(0, 4), st.integers(0, 4))
def test_chunks_of_another_file_do_not_fit(mine: int, other: int) -> None:
    plain = bytes(range(256)) + bytes(64)
    blob, twin = sealed(plain), b"".join(seal_pieces(StreamSealer(KEY, PLACE, SALT[::-1], chunk=64), [plain]))
    at, at_other = HEAD_BYTES + 80 * mine, HEAD_BYTES + 80 * other
    with pytest.raises(StreamInvalid):
        opened(blob[:at] + twin[at_other : at_other + 80] + blob[at + 80 :])


@pytest.mark.parametrize("part", ["tenant", "application", "entity", "field", "record", "cell"])
def test_no_file_opens_in_another_place(part: str) -> None:
    other: Any = b"87654321" if part == "cell" else "other"
    for place in (PLACE, CELL):
        moved = replace(place, **{part: other})
        if place is CELL and part == "record":
            continue  # the cell stands for the record
        with pytest.raises(StreamInvalid):
            opened(sealed(b"text", place), moved)
    with pytest.raises(StreamInvalid):
        opened(sealed(b"text", CELL), PLACE)


def test_another_or_no_key_does_not_open_and_nothing_is_released() -> None:
    blob = sealed(bytes(1000))
    for keys in ({}, {KEY.id: FieldKey(KEY.id, bytes(32))}, {KEY.id: FieldKey(b"9999", KEY.secret)}):
        pieces = open_pieces(keys, PLACE, [blob])
        with pytest.raises(StreamInvalid) as caught:
            next(pieces)
        assert str(caught.value) == "the file does not open"
        assert caught.value.permanent


def test_what_is_released_before_a_break_is_authentic() -> None:
    blob = sealed(bytes(range(200)))
    pieces = open_pieces(KEYS, PLACE, [blob[: HEAD_BYTES + 160], blob[HEAD_BYTES + 160 : -1]])
    assert next(pieces) == bytes(range(64))
    assert next(pieces) == bytes(range(64, 192))
    with pytest.raises(StreamInvalid):
        next(pieces)


@given(st.integers(0, 10**12), st.sampled_from([64, 1024, CHUNK_BYTES, 2**20]))
def test_sizes_can_be_told_without_opening(plain: int, chunk: int) -> None:
    head = make_head(KEY, PLACE, SALT, chunk, AES_256_GCM)
    if plain // chunk >= MOST_CHUNKS:
        return
    assert head.plain_size(head.sealed_size(plain)) == plain


def test_impossible_sizes_are_refused() -> None:
    head = make_head(KEY, PLACE, SALT, 64, AES_256_GCM)
    possible = {head.sealed_size(plain) for plain in range(400)}
    for size in range(head.sealed_size(399)):
        if size not in possible:
            with pytest.raises(StreamInvalid):
                head.plain_size(size)
    with pytest.raises(StreamInvalid):
        head.plain_size(HEAD_BYTES + 80 * (MOST_CHUNKS + 1))


def test_a_chunk_past_the_limit_of_the_key_is_refused() -> None:
    cipher = ChunkCipher(KEY, PLACE, make_head(KEY, PLACE, SALT, 64, AES_256_GCM))
    cipher.seal(MOST_CHUNKS - 1, bytes(64), True)
    with pytest.raises(StreamInvalid):
        cipher.seal(MOST_CHUNKS, bytes(64), True)


@pytest.mark.parametrize(
    ("key", "salt", "chunk", "suite"),
    [
        (FieldKey(b"1", bytes(32)), SALT, 64, AES_256_GCM),
        (FieldKey(b"1234", bytes(16)), SALT, 64, AES_256_GCM),
        (KEY, bytes(31), 64, AES_256_GCM),
        (KEY, SALT, 32, AES_256_GCM),
        (KEY, SALT, 100, AES_256_GCM),
        (KEY, SALT, 2**21, AES_256_GCM),
        (KEY, SALT, 64, AES_256_SIV),
        (KEY, SALT, 64, TRIPLE_DES),
    ],
)
def test_wrong_sizes_and_suites_are_refused(key: FieldKey, salt: bytes, chunk: int, suite: Suite) -> None:
    with pytest.raises(ValueError, match="a stream takes"):
        StreamSealer(key, PLACE, salt, chunk=chunk, suite=suite)


@pytest.mark.parametrize("cell", [b"", b"1", bytes(8)])
def test_a_cell_id_is_eight_bytes_and_not_zero(cell: bytes) -> None:
    with pytest.raises(ValueError, match="cell id"):
        StreamSealer(KEY, replace(CELL, cell=cell), SALT)


def test_a_finished_stream_takes_nothing_more() -> None:
    sealer = StreamSealer(KEY, PLACE, SALT)
    sealer.finish()
    with pytest.raises(ValueError, match="finished"):
        sealer.update(b"x")
    with pytest.raises(ValueError, match="finished"):
        sealer.finish()


def test_the_opener_alone_says_at_its_end_that_nothing_is_missing() -> None:
    blob = sealed(bytes(64))
    opener = StreamOpener(KEY, PLACE, Head.parse(blob[:HEAD_BYTES]))
    assert opener.update(blob[HEAD_BYTES:]) == b""
    assert opener.finish() == bytes(64)


def test_memory_does_not_grow_with_the_file() -> None:
    piece = bytes(100_000)

    def source(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield piece

    def most(count: int) -> int:
        tracemalloc.start()
        try:
            sealer = StreamSealer(KEY, PLACE, SALT)
            size = sum(len(one) for one in open_pieces(KEYS, PLACE, seal_pieces(sealer, source(count))))
            assert size == count * len(piece)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = most(20), most(1000)  # 2 MB and 100 MB
    assert large < small + 200_000
    assert large < 2_000_000
