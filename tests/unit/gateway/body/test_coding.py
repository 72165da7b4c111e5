"""Content codings: whatever the chunking, the same bytes come out, and bombs stop early."""

import gzip
import zlib
from collections.abc import AsyncIterator, Callable

import brotli
import pytest
import zstandard

from gateway.body.coding import Decoder, decode, decode_all, decode_answer, decode_stream
from gateway.body.fault import BodyFault, BodyMalformed, BodyUnreadable, DecompressionLimit
from gateway.body.limits import MEBIBYTE, Limits

DATA = b"".join(b"%d Zhang Wei\n" % number for number in range(20_000))


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


CODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("X-Gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstandard.compress),
]


@pytest.mark.parametrize(("name", "coder"), CODERS)
@pytest.mark.parametrize("size", [1, 1000, 10**7])
def test_codings_are_undone(limits: Limits, name: str, coder: Callable[[bytes], bytes], size: int) -> None:
    coded = coder(DATA[: 20_000 if size == 1 else None])
    chunks = [coded[at : at + size] for at in range(0, len(coded), size)]
    assert b"".join(decode(name, chunks, limits)) == DATA[: 20_000 if size == 1 else None]


def test_stacked_codings_members_and_identity(limits: Limits) -> None:
    assert decode_all("gzip, br", brotli.compress(gzip.compress(DATA)), limits) == DATA
    assert decode_all("gzip", gzip.compress(b"a") + gzip.compress(b"b"), limits) == b"ab"
    assert decode_all("zstd", zstandard.compress(b"a") + zstandard.compress(b"b"), limits) == b"ab"
    assert decode_all(None, DATA, limits) is DATA
    assert decode_all("identity", DATA, limits) is DATA
    assert Decoder("", limits).identity
    assert decode_all("gzip", b"", limits) == b""


@pytest.mark.parametrize(("name", "coder"), CODERS)
def test_bombs_stop_at_the_limits(name: str, coder: Callable[[bytes], bytes]) -> None:
    bomb = coder(bytes(30 * MEBIBYTE))
    for limits in (Limits(), Limits(inflated=MEBIBYTE, ratio=10**9)):
        seen: list[int] = []
        with pytest.raises(DecompressionLimit):
            seen.extend(len(piece) for piece in decode(name, [bomb], limits))
        assert sum(seen) <= 12 * MEBIBYTE


@pytest.mark.parametrize(("name", "coder"), CODERS)
def test_cut_off_and_broken_data_is_refused(limits: Limits, name: str, coder: Callable[[bytes], bytes]) -> None:
    coded = coder(DATA)
    with pytest.raises(BodyMalformed):
        decode_all(name, coded[:-3], limits)
    with pytest.raises(BodyFault):
        decode_all(name, coded + b"tail", limits)
    with pytest.raises(BodyFault):
        decode_all(name, b"\x07not coded at all" * 20, limits)


@pytest.mark.parametrize("name", ["compress", "gzip2", "aes128gcm", "gzip, gzip, gzip"])
def test_unknown_codings_are_unreadable(limits: Limits, name: str) -> None:
    with pytest.raises(BodyUnreadable):
        Decoder(name, limits)


async def test_streams(limits: Limits) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        coded = gzip.compress(DATA)
        yield coded[:100]
        yield coded[100:]

    assert b"".join([piece async for piece in decode_stream("gzip", chunks(), limits)]) == DATA


def test_answer_labelled_gzip_that_is_not_packed_is_taken_as_it_is() -> None:
    """Tryton labels unpacked answers gzip when it was asked for identity."""
    assert decode_answer("gzip", b'{"result": []}', Limits()) == b'{"result": []}'
    assert decode_answer("gzip", gzip.compress(DATA), Limits()) == DATA
    with pytest.raises(BodyMalformed):
        decode_all("gzip", b'{"result": []}', Limits())
