"""One request on a client connection and its answer: the ASGI side of the listener.

Promises: the framing of an answer is made here and nowhere else; no line break in a header leaves; an answer that
breaks off is never ended properly; a client that does not read is let go. Nothing of a value is logged.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from gateway.collaborators import Application, ClientGone, Fields, Message, Scope
from gateway.passage import AnswerAborted

CUT_OFF_LINGER_S = 2.0
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_FRAMING_NAMES = frozenset(name.decode() for name in _FRAMING)
_BODILESS_STATUS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Sizes in bytes, times in seconds.

    head: request line and fields; fields: their number; head_s: from the first byte of a head to its last; idle_s:
    between requests; write_s: a client that does not take its answer; linger_s, linger: how long and how much of an
    unread body is still taken after a refusal, so that the client gets to read it.
    """

    head: int = 64 * 1024
    fields: int = 128
    head_s: float = 15.0
    idle_s: float = 60.0
    write_s: float = 60.0
    linger_s: float = 20.0
    linger: int = 256 * 1024 * 1024
    connections: int = 1024


class ClientConnection(Protocol):
    """What a cycle needs of its connection (gateway.listener.StrictProtocol)."""

    scope: Scope
    transport: asyncio.Transport
    flow: FlowControl
    bounds: ListenerLimits
    logger: logging.Logger
    server_state: ServerState
    expect_100_continue: bool

    def on_response_complete(self) -> None:
        """The answer is out."""
        ...

    def close_later(self, seconds: float) -> None:
        """Close once the client had time to read."""
        ...


@lru_cache(maxsize=4)
def _lines(fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The server's own fields as lines: they change once a second."""
    return b"".join(b"%b: %b\r\n" % pair for pair in fields)


def write_lines(fields: Fields) -> bytes:
    """Fields of an answer as lines, without a Content-Length; raises RuntimeError for framing and for line breaks."""
    lines = [f"{name}: {value}\r\n" for name, value in fields if name not in _FRAMING_NAMES]
    if len(lines) != len(fields) and any(name in ("transfer-encoding", "connection") for name, _ in fields):
        raise RuntimeError("framing is not the application's")
    head = "".join(lines).encode("latin-1")
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise RuntimeError("a line break inside a header")
    return head


class Cycle:
    """One request and its answer; the head of an answer leaves together with the first of its body."""

    __slots__ = (
        "_chunked",
        "_continue",
        "_event",
        "_held",
        "_left",
        "_news",
        "body",
        "bounds",
        "cut_off",
        "disconnected",
        "flow",
        "keep_alive",
        "more_body",
        "protocol",
        "response_complete",
        "response_started",
        "scope",
        "transport",
    )

    def __init__(self, protocol: ClientConnection, *, keep_alive: bool) -> None:
        self.protocol = protocol
        self.scope: Scope = protocol.scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.bounds = protocol.bounds
        self._news = False  # something came that `receive` has not told yet
        self._event: asyncio.Event | None = None  # made by the first `receive` that has to wait
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.cut_off = False  # the body broke before its end
        self.disconnected = False
        self.response_started = self.response_complete = False
        self._continue = protocol.expect_100_continue
        self._held = b""
        self._left: int | None = None  # bytes still to come of a body of known length
        self._chunked = False

    async def run_asgi(self, app: Application) -> None:
        """Run the application; what it leaves undone ends the connection, without a trace of values in any log."""
        try:
            await app(self.scope, self.receive, self.send)
        except (AnswerAborted, ClientGone):
            self.transport.abort()
        except Exception as fault:
            self.protocol.logger.error("application fault: %s", type(fault).__name__)
            self.transport.abort()
        except BaseException:
            self.transport.abort()
            raise
        else:
            if not self.response_complete and not self.disconnected:
                self.protocol.logger.error("application left its answer unfinished")
                self.transport.abort()

    async def receive(self) -> Message:
        """The next piece of the body (ASGI)."""
        if self._continue and not self.transport.is_closing():
            self._continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not (self.disconnected or self.response_complete or self.cut_off):
            self.flow.resume_reading()
            if not self._news:
                if self._event is None:
                    self._event = asyncio.Event()
                await self._event.wait()
                self._event.clear()
            self._news = False
        if self.disconnected or self.response_complete or self.cut_off:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def wake(self) -> None:
        """Something came: a piece of the body, its end, or the end of the connection."""
        self._news = True
        if self._event is not None:
            self._event.set()

    def respond(self, status: int, fields: Fields, body: bytes, block: bytes | None = None) -> bool:
        """Answer at once and in one write; False when that is not possible now and `send` has to do it.

        fields: without those of the framing, except a Content-Length, which is made here; block: what `write_lines`
        made of them, when that is at hand. Raises RuntimeError as `send` does.
        """
        if self.disconnected or self.flow.write_paused:
            return False
        if self.response_started:
            raise RuntimeError("an answer begins twice")
        head = write_lines(fields) if block is None else block
        if self.scope["method"] == "HEAD" or status in _BODILESS_STATUS:
            body = end = b""
        else:
            end = b"content-length: %d\r\n" % len(body)
        if self.more_body:
            self.keep_alive = False  # as in `_start`
        if not self.keep_alive:
            end += b"connection: close\r\n"
        self.response_started = True
        self._continue = False
        server = _lines(tuple(self.protocol.server_state.default_headers))
        self.transport.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], server, head, end, body))
        self._finish()
        return True

    async def send(self, message: Message) -> None:
        """The next piece of the answer (ASGI); raises RuntimeError for one that would break its framing, ClientGone."""
        if self.disconnected:
            if message.get("more_body"):
                raise ClientGone  # nobody reads on: the source of a long answer may stop
            return
        if message["type"] == "http.response.start":
            self._start(message)
            return
        if not self.response_started or self.response_complete:
            raise RuntimeError("an answer's body stands where it may not")
        if self.flow.write_paused:
            await self._drain()
            if self.disconnected:
                raise ClientGone
        more = message.get("more_body", False)
        self._write(message.get("body", b""), more)
        if not more:
            self._finish()

    def _start(self, message: Message) -> None:
        if self.response_started:
            raise RuntimeError("an answer begins twice")
        status = message["status"]
        content = [STATUS_LINE[status]]
        lines = 1
        for name, value in (*self.protocol.server_state.default_headers, *message.get("headers", ())):
            if name in _FRAMING:
                if name != b"content-length":
                    raise RuntimeError("framing is not the application's")
                self._left = int(value)
            content += (name, b": ", value, b"\r\n")
            lines += 1
        bodiless = self.scope["method"] == "HEAD" or status in _BODILESS_STATUS
        if bodiless:
            self._left = 0
        elif self._left is None:
            if self.scope["http_version"] == "1.0":
                self.keep_alive = False  # the end of the connection ends the body
            else:
                self._chunked = True
                content.append(b"transfer-encoding: chunked\r\n")
                lines += 1
        if self.more_body:
            self.keep_alive = False  # the rest of the request is not read, so no other can follow it
        if not self.keep_alive:
            content.append(b"connection: close\r\n")
            lines += 1
        head = b"".join(content)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise RuntimeError("a line break inside a header")
        self.response_started = True
        self._continue = False
        self._held = head + b"\r\n"

    def _write(self, body: bytes, more: bool) -> None:
        if self._chunked:
            out = self._held + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        else:
            if self.scope["method"] == "HEAD":
                body = b""
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0 or (not more and self._left):
                    raise RuntimeError("a body of another length than announced")
            out = self._held + body if self._held else body
        self._held = b""
        if out:
            self.transport.write(out)

    def _finish(self) -> None:
        self.response_complete = True
        self.wake()
        if not self.keep_alive:
            if self.more_body:
                # Take what is still coming, so that the client gets to read the answer before the end.
                self.flow.resume_reading()
                self.protocol.close_later(CUT_OFF_LINGER_S if self.cut_off else self.bounds.linger_s)
            else:
                self.transport.close()
        self.protocol.on_response_complete()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self.bounds.write_s):
                await self.flow.drain()
        except TimeoutError:
            self.disconnected = True
            self.transport.abort()
