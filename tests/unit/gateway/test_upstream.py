"""The pool against CRMs that misbehave: whatever they send, the caller gets a whole answer or a named error."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.answer import HIGH_WATER_BYTES
from gateway.connection import Timeouts
from gateway.upstream import (
    Answer,
    AnswerTooLarge,
    Pool,
    UpstreamCutOff,
    UpstreamDown,
    UpstreamError,
    UpstreamNonsense,
    UpstreamSlow,
)

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Crm:
    """A scripted server; `heads` holds the request heads it has seen, `opened` counts its connections."""

    def __init__(self, play: Handler) -> None:
        self.heads: list[bytes] = []
        self.opened = 0
        self.port = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._play = play

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._play(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head


@contextlib.asynccontextmanager
async def crm(
    play: Callable[["Crm", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Crm]:
    one = Crm(lambda reader, writer: play(one, reader, writer))
    server = await asyncio.start_server(one, "127.0.0.1", 0, limit=1 << 22)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await one.end()


def answering(*answers: bytes, close: bool = False) -> Any:
    """Each connection answers each request with the next of these (the last one for ever)."""

    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await one.head(reader)
            writer.write(answers[min(len(one.heads), len(answers)) - 1])
            await writer.drain()
            if close:
                return

    return play


@contextlib.asynccontextmanager
async def pool(one: Crm, **options: Any) -> AsyncIterator[Pool]:
    made = Pool(f"http://127.0.0.1:{one.port}", **options)
    try:
        yield made
    finally:
        await made.close()


PATIENCE_S = 60.0


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not so():
            await asyncio.sleep(0.01)


async def ask(made: Pool, head: bytes = GET, body: Any = b"", length: int | None = 0) -> Answer:
    return await made.request(head.partition(b" ")[0], head, body, length)


async def test_connections_are_kept_and_answers_whole() -> None:
    async with crm(answering(OK)) as one, pool(one) as made:
        for _ in range(3):
            answer = await ask(made)
            assert (answer.status, answer.length, await answer.read(10)) == (200, 2, b"ok")
            assert answer.fields == [(b"content-length", b"2")]
        assert (one.opened, made.open) == (1, 1)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;a=b\r\n!\r\n0\r\nX-T: 1\r\n\r\n", b"ok!"),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
async def test_every_proper_framing_is_read_and_the_connection_kept(raw: bytes, body: bytes) -> None:
    async with crm(answering(raw, OK)) as one, pool(one) as made:
        assert await (await ask(made)).read(10) == body
        assert await (await ask(made)).read(10) == b"ok"
        assert one.opened == 1


async def test_trailers_are_dropped() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSet-Cookie: evil=1\r\n\r\n"
    async with crm(answering(raw)) as one, pool(one) as made:
        answer = await ask(made)
        assert await answer.read(10) == b""
        assert answer.fields == [(b"transfer-encoding", b"chunked")]


async def test_a_body_may_end_with_the_connection() -> None:
    for raw in (
        b"HTTP/1.0 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
    ):
        async with crm(answering(raw, close=True)) as one, pool(one) as made:
            assert await (await ask(made)).read(10) == b"abc"
            assert made.open == 0


async def test_head_answers_have_no_body_and_keep_the_connection() -> None:
    head = b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n"
    async with crm(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", OK)) as one, pool(one) as made:
        assert await (await ask(made, head)).read(10) == b""
        assert await (await ask(made)).read(10) == b"ok"
        assert one.opened == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 700 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n"[:0] + b"SSH-2.0-OpenSSH\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    ],
)
async def test_nonsense_is_refused_and_its_connection_dropped(raw: bytes) -> None:
    async with crm(answering(raw)) as one, pool(one) as made:
        with pytest.raises(UpstreamNonsense) as caught:
            await (await ask(made)).read(100)
        assert caught.value.permanent
        assert made.open == 0


async def test_a_head_without_end_is_refused() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"y" * 65536)
            await writer.drain()

    async with crm(play) as one, pool(one) as made:
        with pytest.raises(UpstreamNonsense):
            await ask(made)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_a_cut_off_answer_is_never_a_short_one(raw: bytes) -> None:
    async with crm(answering(raw, close=True)) as one, pool(one) as made:
        with pytest.raises(UpstreamCutOff) as caught:
            await (await ask(made)).read(100)
        assert not caught.value.permanent
        assert len(one.heads) == 1


async def test_a_stream_that_is_cut_off_raises_after_what_came() -> None:
    async with crm(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", close=True)) as one, pool(one) as made:
        rest = (await ask(made)).chunks()
        assert await anext(rest) == b"abc"
        with pytest.raises(UpstreamCutOff):
            await anext(rest)


@pytest.mark.parametrize("extra", [b"GARBAGE", OK])
async def test_bytes_after_an_answer_end_the_connection(extra: bytes) -> None:
    async with crm(answering(OK + extra, OK)) as one, pool(one) as made:
        assert await (await ask(made)).read(10) == b"ok"
        assert made.open == 0
        assert await (await ask(made)).read(10) == b"ok"
        assert one.opened == 2


async def test_bytes_on_an_idle_connection_end_it() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        writer.write(OK)
        await writer.drain()
        await idle.wait()
        writer.write(OK)
        await reader.read()

    idle = asyncio.Event()
    async with crm(play) as one, pool(one) as made:
        await (await ask(made)).read(10)
        assert made.open == 1
        idle.set()
        await until(lambda: made.open == 0)


async def test_a_read_survives_a_stale_connection_and_a_write_is_never_sent_twice() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        writer.write(OK)
        await writer.drain()
        await one.head(reader)  # the second request of a connection is swallowed, as by a server that just gave up

    async with crm(play) as one, pool(one) as made:
        await (await ask(made)).read(10)
        assert await (await ask(made)).read(10) == b"ok"
        assert (one.opened, len(one.heads)) == (2, 3)
        with pytest.raises(UpstreamDown):
            await ask(made, POST, b"abc", 3)
        assert [head[:4] for head in one.heads].count(b"POST") == 1


async def test_a_write_does_not_take_a_connection_that_rested() -> None:
    async with crm(answering(OK)) as one, pool(one) as made:
        await (await ask(made)).read(10)
        made._idle[0].idle_since -= 1.5
        await (await ask(made, POST, b"abc", 3)).read(10)
        assert one.opened == 2


async def test_nobody_there() -> None:
    async with crm(answering(OK)) as one:
        port = one.port
    made = Pool(f"http://127.0.0.1:{port}")
    with pytest.raises(UpstreamDown):
        await ask(made)
    assert made.open == 0
    await made.close()


async def test_silence_is_slow() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        await reader.read()

    async with crm(play) as one, pool(one, timeouts=Timeouts(read=0.2)) as made:
        with pytest.raises(UpstreamSlow):
            await ask(made)
        assert made.open == 0


async def test_a_trickle_is_slow_in_all() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with crm(play) as one, pool(one, timeouts=Timeouts(total=0.6)) as made:
        with pytest.raises(UpstreamSlow):
            await (await ask(made)).read(10_000)
        assert one.heads


async def test_the_pool_is_bounded_and_waiting_too() -> None:
    release = asyncio.Event()

    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await one.head(reader)
            await release.wait()
            writer.write(OK)

    async with crm(play) as one, pool(one, size=2, timeouts=Timeouts(wait=0.15)) as made:
        first = [asyncio.create_task(ask(made)) for _ in range(2)]
        await until(lambda: len(one.heads) == 2)
        with pytest.raises(UpstreamSlow):
            await ask(made)
        made._timeouts = Timeouts(wait=PATIENCE_S)
        waiting = asyncio.create_task(ask(made))
        await until(lambda: len(made._waiting) == 1)
        release.set()
        for task in (*first, waiting):
            assert await (await task).read(10) == b"ok"
        assert one.opened == 2


async def test_a_waiter_that_gives_up_loses_no_connection() -> None:
    release = asyncio.Event()

    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await one.head(reader)
            await release.wait()
            writer.write(OK)

    async with crm(play) as one, pool(one, size=1) as made:
        first = asyncio.create_task(ask(made))
        await until(lambda: len(one.heads) == 1)
        waiting = asyncio.create_task(ask(made))
        await until(lambda: len(made._waiting) == 1)
        waiting.cancel()
        release.set()
        await (await first).read(10)
        assert await (await ask(made)).read(10) == b"ok"
        assert made.open == 1


async def test_limits_of_whole_answers() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n"
    for one_raw in (raw, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"):
        async with crm(answering(one_raw)) as one, pool(one) as made:
            with pytest.raises(AnswerTooLarge):
                await (await ask(made)).read(5)


async def test_a_cancelled_request_takes_its_connection_along() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        await reader.read()

    async with crm(play) as one, pool(one) as made:
        task = asyncio.create_task(ask(made))
        await until(lambda: len(one.heads) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert made.open == 0


async def test_an_early_answer_stops_the_upload() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.3)

    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 200:
            sent += 1
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    async with crm(play) as one, pool(one) as made:
        answer = await ask(made, POST, body(), 200_000)
        assert (answer.status, await answer.read(10)) == (413, b"no")
        assert sent < 200
        assert made.open == 0


@pytest.mark.parametrize("chunks", [[b"ab"], [b"abcd"], [b"ab", b"cd"]])
async def test_a_body_of_another_length_never_ends_at_the_crm(chunks: list[bytes]) -> None:
    got = asyncio.get_running_loop().create_future()

    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        got.set_result(await reader.read())

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async with crm(play) as one, pool(one) as made:
        with pytest.raises((ValueError, UpstreamError)):
            await ask(made, POST, body(), 3)
        with contextlib.suppress(ConnectionError):
            assert len(await asyncio.wait_for(got, PATIENCE_S)) < 3


async def test_what_the_body_raises_is_passed_on() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        await reader.read()

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        raise KeyError("gone")

    async with crm(play) as one, pool(one) as made:
        with pytest.raises(KeyError):
            await ask(made, POST, body(), 3)
        assert made.open == 0


async def test_a_slow_reader_holds_the_crm_back(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 200 * 1024 * 1024
    written = 0

    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await one.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 65536
        while written < size:
            writer.write(block)
            written += len(block)
            await writer.drain()

    async with crm(play) as one, pool(one) as made:
        answer = await ask(made)
        before = -1
        while written != before:
            before = written
            await asyncio.sleep(0.1)
        loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time
        monkeypatch.setattr(loop, "time", lambda: now() + 400)
        await asyncio.sleep(0.1)  # longer than every limit: a pause of ours is no silence of theirs
        assert answer.size <= HIGH_WATER_BYTES * 4
        assert written < 40 * 1024 * 1024  # socket buffers only
        got = peak = 0
        async for chunk in answer.chunks():
            got += len(chunk)
            peak = max(peak, answer.size)
        assert got == size
        assert peak <= HIGH_WATER_BYTES * 4


async def test_an_upload_waits_for_a_slow_crm() -> None:
    size = 200 * 1024 * 1024
    taken = 0

    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        head = await one.head(reader)
        assert b"chunked" in head
        await asyncio.sleep(0.1)
        while taken < size:
            taken += len(await reader.read(1 << 20))
        writer.write(OK)

    ahead = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal ahead
        block = b"x" * 262144
        for done in range(0, size, len(block)):
            ahead = max(ahead, done - taken)
            yield block

    async with crm(play) as one, pool(one) as made:
        head = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        assert await (await ask(made, head, body(), None)).read(10) == b"ok"
        assert ahead < 40 * 1024 * 1024  # socket buffers of both ends, and the reader's limit


async def test_closing_the_pool_ends_what_is_on_its_way() -> None:
    async def play(one: Crm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.head(reader)
        await reader.read()

    async with crm(play) as one:
        made = Pool(f"http://127.0.0.1:{one.port}")
        task = asyncio.create_task(ask(made))
        await until(lambda: len(one.heads) == 1)
        await made.close()
        with pytest.raises(UpstreamDown):
            await task
        with pytest.raises(UpstreamDown):
            await ask(made)
