"""Content codings (RFC 9110, section 8.4.1) undone piece by piece under limits.

Promises: never holds more inflated bytes at once than one step yields, stops at the absolute limit and at the ratio.
Refuses: unknown codings, more than two in a row, data behind the end, and bodies that end too early.
"""

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Protocol

import brotli
import zstandard

from gateway.body.fault import BodyMalformed, BodyUnreadable, DecompressionLimit
from gateway.body.limits import Limits

STEP_BYTES = 256 * 1024
# zstd can turn 4 bytes into a block of 128 KiB, so it is fed in slices that bound one step (RFC 8878, section 3.1.1.2).
ZSTD_SLICE_BYTES = 256
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024  # RFC 8878, section 3.1.1.1.2: recommended for HTTP by RFC 9659


GZIP_MARK = b"\x1f\x8b"


class _Inflater(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def ended(self) -> bool: ...


class _Zlib:
    """gzip (several members allowed, RFC 1952 section 2.2) and deflate, with or without the zlib wrapper."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._object: Any = zlib.decompressobj(31) if gzip else None
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._object is None:
                self._object = zlib.decompressobj(31 if self._gzip else _deflate_bits(data))
            try:
                out = self._object.decompress(data, STEP_BYTES)
            except zlib.error:
                raise BodyMalformed("coding-broken") from None
            self._begun = True
            if out:
                yield out
            if self._object.eof:
                data = self._object.unused_data
                if not self._gzip and data:
                    raise BodyMalformed("coding-trailing-data")
                if data and not data.startswith(b"\x1f"):
                    raise BodyMalformed("coding-trailing-data")
                if data:
                    self._object = None
            else:
                data = self._object.unconsumed_tail

    def ended(self) -> bool:
        return not self._begun or bool(self._object is not None and self._object.eof)


def _deflate_bits(data: bytes) -> int:
    wrapped = len(data) >= 1 and data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
    return 15 if wrapped else -15


class _Brotli:
    def __init__(self) -> None:
        self._object: Any = brotli.Decompressor()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data or not self._object.can_accept_more_data():
                if self._object.is_finished():
                    raise BodyMalformed("coding-trailing-data")
                out = self._object.process(data, output_buffer_limit=STEP_BYTES)
                data = b""
                self._begun = True
                if out:
                    yield out
                elif self._object.can_accept_more_data():
                    return
        except brotli.error:
            raise BodyMalformed("coding-broken") from None

    def ended(self) -> bool:
        return not self._begun or bool(self._object.is_finished())


class _Zstd:
    def __init__(self) -> None:
        self._object: Any = None
        self._ended = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            if self._object is None:
                self._object = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
                self._ended = False
            piece = data[at : at + ZSTD_SLICE_BYTES]
            at += len(piece)
            try:
                out = self._object.decompress(piece)
            except zstandard.ZstdError:
                raise BodyMalformed("coding-broken") from None
            if out:
                yield out
            if self._object.eof:
                at -= len(self._object.unused_data)
                self._object, self._ended = None, True

    def ended(self) -> bool:
        return self._ended


def _inflater(name: str) -> _Inflater | None:
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip"):
        return _Zlib(gzip=True)
    if name == "deflate":
        return _Zlib(gzip=False)
    if name == "br":
        return _Brotli()
    if name == "zstd":
        return _Zstd()
    raise BodyUnreadable("coding-unknown")


class Decoder:
    """Push decoder for a Content-Encoding value; `feed` yields bounded pieces, `finish` checks the end."""

    def __init__(self, coding: str | None, limits: Limits) -> None:
        names = [name.strip().lower() for name in (coding or "").split(",")]
        if len(names) > 2:
            raise BodyUnreadable("coding-stacked")
        self._stages = [stage for stage in (_inflater(name) for name in reversed(names)) if stage is not None]
        self._limits = limits
        self._packed = 0
        self._inflated = 0

    @property
    def identity(self) -> bool:
        """Whether there is nothing to undo."""
        return not self._stages

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of the next bytes; raises DecompressionLimit, BodyMalformed."""
        if not self._stages:
            yield data
            return
        self._packed += len(data)
        yield from self._through(0, data)

    def _through(self, stage: int, data: bytes) -> Iterator[bytes]:
        last = stage == len(self._stages) - 1
        for piece in self._stages[stage].feed(data):
            self._inflated += len(piece)
            self._check()
            if last:
                yield piece
            else:
                yield from self._through(stage + 1, piece)

    def _check(self) -> None:
        limits = self._limits
        if self._inflated > limits.inflated:
            raise DecompressionLimit("inflated-size")
        if self._inflated > limits.ratio_floor and self._inflated > self._packed * limits.ratio:
            raise DecompressionLimit("inflated-ratio")

    def finish(self) -> None:
        """Raises BodyMalformed if the coded data ended too early."""
        if not all(stage.ended() for stage in self._stages):
            raise BodyMalformed("coding-cut-off")


def decode(coding: str | None, chunks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """Decoded pieces of a body that is at hand."""
    decoder = Decoder(coding, limits)
    for chunk in chunks:
        yield from decoder.feed(chunk)
    decoder.finish()


def decode_all(coding: str | None, body: bytes, limits: Limits) -> bytes:
    """A whole body decoded; the same object if there is no coding."""
    decoder = Decoder(coding, limits)
    if decoder.identity:
        return body
    out = b"".join(decoder.feed(body))
    decoder.finish()
    return out


def decode_answer(coding: str, body: bytes, limits: Limits) -> bytes:
    """An answer's body decoded. Tryton labels answers gzip that it did not pack because we asked it not to: what lacks
    the mark of a gzip member (RFC 1952, section 2.3.1) is taken as it is; a request may not lie like that."""
    if coding.strip().lower() in ("gzip", "x-gzip") and not body.startswith(GZIP_MARK):
        return body
    return decode_all(coding, body, limits)


async def decode_stream(coding: str | None, chunks: AsyncIterable[bytes], limits: Limits) -> AsyncIterator[bytes]:
    """Decoded pieces of a body that is still arriving."""
    decoder = Decoder(coding, limits)
    async for chunk in chunks:
        for piece in decoder.feed(chunk):
            yield piece
    decoder.finish()
