"""The pool of keep-alive connections to one CRM: bounded, timed, and never sending a write twice.

A read whose kept connection turns out to be stale is sent once more on a new one, only when no byte of an answer came.
A write takes a connection that was used a moment ago, or a new one, so that it hardly ever meets a stale one; if it
does, that is `UpstreamDown`, because nobody knows whether the CRM acted.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterable
from urllib.parse import urlsplit

from gateway.answer import (
    Answer,
    AnswerTooLarge,
    UpstreamCutOff,
    UpstreamDown,
    UpstreamError,
    UpstreamNonsense,
    UpstreamSlow,
)
from gateway.connection import Connection, HeadLimits, Timeouts

__all__ = [
    "Answer",
    "AnswerTooLarge",
    "Pool",
    "Timeouts",
    "UpstreamCutOff",
    "UpstreamDown",
    "UpstreamError",
    "UpstreamNonsense",
    "UpstreamSlow",
]

SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
WRITE_IDLE_S = 1.0  # common servers keep idle connections 2 s (gunicorn) and more
TICK_S = 0.25


class Pool:
    """Connections to one origin, at most `size` of them; belongs to one event loop.

    origin: http or https with host and port, no path. tls: context for https; the default one verifies.
    """

    def __init__(
        self,
        origin: str,
        *,
        size: int = 64,
        timeouts: Timeouts | None = None,
        limits: HeadLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("the address of a CRM is http(s)://host:port")
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._size = size
        self._timeouts = timeouts or Timeouts()
        self._limits = limits or HeadLimits()
        self._open = 0
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        shortest = min(self._timeouts.read, self._timeouts.write, self._timeouts.total)
        self._tick_s = min(TICK_S, shortest / 4)

    @property
    def open(self) -> int:
        """Connections that exist."""
        return self._open

    async def request(
        self, method: bytes, head: bytes, body: bytes | AsyncIterable[bytes] = b"", length: int | None = None
    ) -> Answer:
        """Send one request, whose head is complete, and return its answer once the head of that is here.

        body: bytes, or chunks with their length (None: the head says chunked). Raises UpstreamDown, UpstreamSlow,
        UpstreamCutOff, UpstreamNonsense.
        """
        safe = method in SAFE_METHODS
        connection = self._take(safe) or await self._obtain()
        self._busy.add(connection)
        try:
            return await connection.converse(method, head, body, length)
        except UpstreamDown as fault:
            if not (fault.stale and safe and isinstance(body, bytes)):
                raise
        connection = await self._obtain(fresh=True)
        self._busy.add(connection)
        return await connection.converse(method, head, body, length)

    async def close(self) -> None:
        """End every connection; requests still on their way fail."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in [*self._idle, *self._busy]:
            connection.abort(UpstreamDown("the gateway stops"))
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        await asyncio.sleep(0)

    def _take(self, safe: bool) -> Connection | None:
        """A free connection that is young enough, the one used last first."""
        idle = self._idle
        if not idle:
            return None
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            age = now - connection.idle_since
            if connection.alive and age < self._timeouts.idle:
                if safe or age < WRITE_IDLE_S:
                    return connection
                idle.append(connection)  # good enough for a read; all others are older still
                return None
            connection.abort(UpstreamDown("idle"))
        return None

    async def _obtain(self, *, fresh: bool = False) -> Connection:
        """A new connection, or the next one that becomes free."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeouts.wait
        while True:
            if self._closed:
                raise UpstreamDown("the gateway stops")
            if self._open >= self._size and self._idle:
                self._idle.pop(0).abort(UpstreamDown("idle"))  # too old for a write: make room
            if self._open < self._size:
                return await self._connect(loop)
            waiter: asyncio.Future[Connection | None] = loop.create_future()
            self._waiting.append(waiter)
            try:
                async with asyncio.timeout_at(until):
                    connection = await waiter
            except TimeoutError:
                raise UpstreamSlow("no connection became free") from None
            except BaseException:
                if waiter.done() and not waiter.cancelled() and (given := waiter.result()) is not None:
                    self._release(given)
                raise
            if connection is not None and connection.alive and not fresh:
                return connection
            if connection is not None:
                connection.abort(UpstreamDown("idle"))

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        self._open += 1
        made: Connection | None = None

        def build() -> Connection:
            nonlocal made
            made = Connection(loop, self._timeouts, self._limits, self._release, self._lose)
            return made

        try:
            async with asyncio.timeout(self._timeouts.connect):
                _, connection = await loop.create_connection(
                    build,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
        except BaseException as fault:
            if made is None or not made.closed:
                if made is not None:
                    made.closed = True
                self._forget()
            if isinstance(fault, TimeoutError):
                raise UpstreamSlow("no connection in time") from None
            if isinstance(fault, OSError):
                raise UpstreamDown("no connection") from None
            raise
        if self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._tick, loop)
        return connection

    def _release(self, connection: Connection) -> None:
        """A connection is free: the next in line gets it."""
        self._busy.discard(connection)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if self._closed:
            connection.abort(UpstreamDown("the gateway stops"))
        else:
            self._idle.append(connection)

    def _lose(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._forget()

    def _forget(self) -> None:
        """One connection less: the next in line may open one."""
        self._open -= 1
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._busy):
            connection.check(now)
        oldest = now - self._timeouts.idle
        for connection in [one for one in self._idle if one.idle_since < oldest]:
            connection.abort(UpstreamDown("idle"))
        self._timer = loop.call_later(self._tick_s, self._tick, loop) if self._open else None
