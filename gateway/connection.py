"""One keep-alive connection to a CRM: llhttp reads the answers, strictly; bodies stream with back-pressure both ways.

Promises: an answer is handed out only when its framing is beyond doubt; a body that ends early is
`UpstreamCutOff`, never a short body; bytes nobody asked for end the connection. Refuses: Content-Length with
Transfer-Encoding, repeated or odd lengths, codings other than chunked, switched protocols, heads without end.
"""

import asyncio
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import cast

import httptools

from gateway.answer import (
    HIGH_WATER_BYTES,
    NEVER,
    Answer,
    UpstreamCutOff,
    UpstreamDown,
    UpstreamError,
    UpstreamNonsense,
    UpstreamSlow,
)

JOIN_LIMIT_BYTES = 64 * 1024  # a body up to this size is sent in one write with its head
INTERIM_LIMIT = 8  # 1xx answers before the real one (RFC 9110 §15.2 sets no limit)
BODILESS_STATUS = frozenset({204, 304})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. connect: to reach the CRM; read: silence; write: a blocked send; total: until an answer that is read
    whole is complete; wait: for a free connection; idle: an unused connection is kept.
    """

    connect: float = 5.0
    read: float = 60.0
    write: float = 30.0
    total: float = 300.0
    wait: float = 10.0
    idle: float = 30.0


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bytes and number of header fields of an answer."""

    size: int = 64 * 1024
    count: int = 256


class Connection(asyncio.Protocol):
    """Protocol of one connection; `released` is called when it is free again, `lost` once when it is gone."""

    __slots__ = (
        "_answer", "_arrival", "_chunked", "_complete", "_fields", "_has_head", "_head_bytes", "_interim", "_length",
        "_limits", "_loop", "_lost", "_method", "_parser", "_read_paused", "_released", "_reusable", "_sent",
        "_skipping", "_timeouts", "_transport", "_until_close", "_used", "_writable", "_write_paused", "closed",
        "deadline", "idle_since", "total_deadline",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        limits: HeadLimits,
        released: "Callable[[Connection], None]",
        lost: "Callable[[Connection], None]",
    ) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._limits = limits
        self._released = released
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = self._read_paused = False
        self._used = False
        self._reset(b"")
        self.closed = False
        self.idle_since = 0.0
        self.deadline = NEVER
        self.total_deadline = NEVER

    def _reset(self, method: bytes) -> None:
        self._method = method
        self._head_bytes = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._length: bytes | None = None
        self._chunked = False
        self._has_head = False  # of the final answer
        self._interim = 0
        self._skipping = False  # inside a 1xx answer
        self._reusable = False
        self._until_close = False
        self._complete = False
        self._sent = False

    # Asking

    async def converse(
        self, method: bytes, head: bytes, body: bytes | AsyncIterable[bytes], length: int | None
    ) -> Answer:
        """Send one request and wait for the head of its answer.

        body: bytes, or chunks of `length` bytes in all (None: sent chunked). Raises UpstreamError; what chunks raise is
        passed on and the CRM never sees the end of that request.
        """
        transport, now = self._transport, self._loop.time()
        if transport is None or self.closed or transport.is_closing():
            raise UpstreamDown("the connection was closed", stale=self._used)
        self._reset(method)
        self._answer = answer = Answer(self)
        self._arrival = arrival = self._loop.create_future()
        self.total_deadline = now + self._timeouts.total
        self.deadline = now + self._timeouts.read
        try:
            if isinstance(body, bytes):
                if len(body) <= JOIN_LIMIT_BYTES:
                    transport.write(head + body if body else head)
                else:
                    transport.write(head)
                    transport.write(body)
            else:
                transport.write(head)
                await self._send(transport, body, length)
            self._sent = True
            if answer.done and self._answer is not None:
                self._end()
            if not arrival.done():
                await arrival
        except BaseException as fault:
            self.abort(fault if isinstance(fault, UpstreamError) else UpstreamCutOff("the request was abandoned"))
            raise
        if answer.fault is not None and not self._has_head:
            raise answer.fault
        self._used = True
        return answer

    async def _send(self, transport: asyncio.Transport, body: AsyncIterable[bytes], length: int | None) -> None:
        """Send a body chunk by chunk; stops when the answer comes before the end of it."""
        sent = 0
        self.deadline = self.total_deadline = NEVER  # the client sets the pace here
        async for chunk in body:
            if self.closed or self._has_head:
                self._reusable = False  # the CRM answered before it had read everything
                return
            if not chunk:
                continue
            sent += len(chunk)
            if length is None:
                transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
            elif sent > length:
                break
            else:
                transport.write(chunk)
            if self._write_paused:
                self.deadline = self._loop.time() + self._timeouts.write
                self._writable = self._loop.create_future()
                await self._writable
                self.deadline = NEVER
        if length is None:
            transport.write(b"0\r\n\r\n")
        elif sent != length:
            raise ValueError("the body has another length than announced")
        now = self._loop.time()
        self.total_deadline = now + self._timeouts.total
        self.deadline = now + self._timeouts.read

    # Being told

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape only

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.abort(UpstreamNonsense("bytes nobody asked for"))
            return
        self.deadline = self._loop.time() + self._timeouts.read
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.size + HIGH_WATER_BYTES:
                self.abort(UpstreamNonsense("the head has no end"))
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._complete:
                self._reusable = False  # the answer is whole; what follows is not ours
            else:
                self.abort(UpstreamNonsense("the answer is not proper HTTP"))
                return
        if self._has_head and self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
        if self._complete:
            if not answer.done:
                answer.finish()
            if self._sent:
                self._end()
            else:
                self._wake_writer()
        else:
            answer.wake()

    def eof_received(self) -> None:
        if self._answer is not None and self._has_head and self._until_close and not self._complete:
            self._complete = True
            self._answer.finish()
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done:
            if self._has_head and self._until_close and exc is None and not self.closed:
                self._answer.finish()
            elif self._head_bytes == 0:
                self._fail(UpstreamDown("the CRM closed the connection", stale=self._used))
            else:
                self._fail(UpstreamCutOff("the answer was cut off"))
        self._answer = None
        self._gone()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_writer()

    # llhttp

    def on_message_begin(self) -> None:
        if self._complete:
            self._reusable = False
            raise UpstreamNonsense("bytes after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # trailers: read, bounded by silence and size of the body, and dropped
        name = name.lower()
        if name in _FRAMING:
            if name == b"content-length":
                if self._length is not None:
                    raise UpstreamNonsense("repeated length")
                self._length = value.strip(b" \t")
                if not self._length.isdigit() or len(self._length) > 18:
                    raise UpstreamNonsense("odd length")
            else:
                if self._chunked or value.strip(b" \t").lower() != b"chunked":
                    raise UpstreamNonsense("unknown transfer coding")
                self._chunked = True
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code()
        if status < 100 or status == 101 or status > 599:
            raise UpstreamNonsense("status out of range")
        limits = self._limits
        if len(self._fields) > limits.count or (self._head_bytes > limits.size and self._too_large()):
            raise UpstreamNonsense("the head is too large")
        if self._chunked and (self._length is not None or parser.get_http_version() != "1.1"):
            raise UpstreamNonsense("two framings")
        if status < 200:
            self._interim += 1
            if self._interim > INTERIM_LIMIT or self._length is not None or self._chunked:
                raise UpstreamNonsense("interim answers without end")
            self._skipping = True
            self._fields = []
            return
        answer = self._answer
        assert answer is not None
        answer.status, answer.fields = status, self._fields
        self._has_head = True
        bodiless = self._method == b"HEAD" or status in BODILESS_STATUS
        if bodiless:
            answer.length = None
        elif self._length is not None:
            answer.length = int(self._length)
        elif not self._chunked:
            self._until_close = True
        self._reusable = not self._until_close and parser.should_keep_alive()
        if self._method == b"HEAD":
            # llhttp cannot be told that no body follows, so this parser has done its work.
            self._complete = True
            self._reusable = self._reusable and (self._length is not None or self._chunked)
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        if answer is None or self._complete:
            raise UpstreamNonsense("a body where none may be")
        if answer.take(body) and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self.deadline = NEVER
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._skipping:
            self._skipping = False
            return
        self._complete = True

    # Ending

    def resume_reading(self) -> None:
        """The reader has caught up."""
        if self._read_paused and self._transport is not None and not self.closed:
            self._read_paused = False
            self.deadline = self._loop.time() + self._timeouts.read
            self._transport.resume_reading()

    def check(self, now: float) -> None:
        """End the exchange when one of its limits of time has passed."""
        if self._read_paused:
            return  # it is our reader who is slow
        if self._answer is not None and (now >= self.deadline or now >= self.total_deadline):
            self.abort(UpstreamSlow("the CRM took too long"))

    def abort(self, fault: UpstreamError) -> None:
        """End the connection at once and everything that waits on it."""
        if self._answer is not None and not self._answer.done:
            self._fail(fault)
        self._answer = None
        if self._transport is not None:
            self._transport.abort()
        self._gone()

    @property
    def alive(self) -> bool:
        """True while a request can be sent."""
        return not self.closed and self._transport is not None and not self._transport.is_closing()

    def _too_large(self) -> bool:
        return sum(len(name) + len(value) + 4 for name, value in self._fields) > self._limits.size

    def _end(self) -> None:
        """The exchange is over: the connection is free again, or closed."""
        self._answer = None
        self.deadline = self.total_deadline = NEVER
        if self._read_paused and self._transport is not None and not self.closed:
            self._read_paused = False
            self._transport.resume_reading()
        if self._reusable and not self.closed:
            self._used = True
            self.idle_since = self._loop.time()
            self._released(self)
            return
        if self._transport is not None:
            self._transport.abort()
        self._gone()

    def _fail(self, fault: UpstreamError) -> None:
        if self._answer is not None:
            self._answer.fail(fault)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _wake_writer(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _gone(self) -> None:
        if not self.closed:
            self.closed = True
            self._wake_writer()
            self._lost(self)
