"""One answer of a CRM: the head at once, the body whole or chunk by chunk, and what can go wrong with it.

A body is complete or an error, never short. While its reader is behind, reading from the CRM pauses, so that a download
of any size is held in bounded memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

NEVER = float("inf")
HIGH_WATER_BYTES = 256 * 1024
LOW_WATER_BYTES = 64 * 1024


class UpstreamError(Exception):
    """The CRM did not answer as it should; the message never holds what it sent."""

    permanent = False


class UpstreamDown(UpstreamError):  # noqa: N818 - named for what the CRM is
    """No connection, or it ended before a byte of the answer; stale: it had been kept alive and may have been old."""

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale


class UpstreamSlow(UpstreamError):  # noqa: N818
    """A limit of time was passed, or no connection became free."""


class UpstreamCutOff(UpstreamError):  # noqa: N818
    """The answer ended before its end."""


class UpstreamNonsense(UpstreamError):  # noqa: N818
    """The answer is not HTTP, or its framing is ambiguous."""

    permanent = True


class AnswerTooLarge(UpstreamError):  # noqa: N818
    """The answer is longer than the caller can take."""

    permanent = True


class Source(Protocol):
    """Where an answer comes from (gateway.connection.Connection)."""

    total_deadline: float

    def resume_reading(self) -> None:
        """The reader has caught up."""
        ...

    def abort(self, fault: UpstreamError) -> None:
        """End the connection at once."""
        ...


class Answer:
    """One answer: the head at once, the body either whole or chunk by chunk."""

    __slots__ = ("_chunks", "_connection", "_waiter", "done", "fault", "fields", "high", "length", "size", "status")

    def __init__(self, connection: "Source | None") -> None:
        self._connection: Source | None = connection
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.fault: UpstreamError | None = None
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []  # lower-case names, duplicates kept
        self.length: int | None = None  # Content-Length, when the body has one
        self.size = 0  # bytes held
        self.high: float = HIGH_WATER_BYTES
        self.done = False

    async def read(self, limit: int) -> bytes:
        """The whole body; raises AnswerTooLarge past `limit` bytes, UpstreamCutOff, UpstreamSlow, UpstreamNonsense."""
        if self.length is not None and self.length > limit:
            self.abandon()
            raise AnswerTooLarge("the answer is longer than the limit")
        self.high = NEVER
        if self._connection is not None:
            self._connection.resume_reading()
        while not self.done:
            if self.size > limit:
                self.abandon()
                raise AnswerTooLarge("the answer is longer than the limit")
            await self._more()
        if self.size > limit:
            raise AnswerTooLarge("the answer is longer than the limit")
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.size = 0
        return body

    async def outgrows(self, limit: int) -> bool:
        """Whether the body is longer than `limit` bytes; one of unknown length is held up to there to find out."""
        if self.length is not None:
            return self.length > limit
        before, self.high = self.high, limit
        if self._connection is not None:
            self._connection.resume_reading()
        try:
            while self.size <= limit and not self.done:
                await self._more()
        finally:
            self.high = before
        return self.size > limit

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; reading from the CRM pauses while the caller is behind."""
        if self._connection is not None:
            self._connection.total_deadline = NEVER  # a long download is not a slow one; silence still counts
        try:
            while True:
                while self._chunks:
                    chunk = self._chunks.popleft()
                    self.size -= len(chunk)
                    if self.size < LOW_WATER_BYTES and self._connection is not None:
                        self._connection.resume_reading()
                    yield chunk
                if self.done:
                    return
                await self._more()
        finally:
            self.abandon()

    async def peek(self, size: int) -> bytes:
        """The first `size` bytes of the body, or all of a shorter one, without taking them."""
        while self.size < size and not self.done:
            await self._more()
        if len(self._chunks) > 1 and len(self._chunks[0]) < size:
            held = b"".join(self._chunks)
            self._chunks.clear()
            self._chunks.append(held)
        return self._chunks[0][:size] if self._chunks else b""

    def abandon(self) -> None:
        """Drop what is left of the answer, and the connection with it; nothing happens when it is complete."""
        if self._connection is not None and not self.done:
            self._connection.abort(UpstreamCutOff("the answer was abandoned"))

    async def _more(self) -> None:
        if self.fault is not None:
            raise self.fault
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self.fault is not None and not self._chunks:
            raise self.fault

    def take(self, chunk: bytes) -> bool:
        """Keep a piece of the body; True when the caller is too far behind."""
        self._chunks.append(chunk)
        self.size += len(chunk)
        return self.size > self.high

    def finish(self) -> None:
        """The body is complete."""
        self.done = True
        self._connection = None
        self.wake()

    def fail(self, fault: UpstreamError) -> None:
        """The body will not come; what was received is worth nothing."""
        self.fault = fault
        self._connection = None
        self.wake()

    def wake(self) -> None:
        """Let a waiting reader look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
