"""Raw bytes against the listener: what two parsers could read differently never reaches the application."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.collaborators import ClientGone
from gateway.headers import RESPOND, TARGET
from gateway.listener import ListenerLimits, make_server
from gateway.pipeline import AnswerAborted
from gateway.tls import server_context

H = b"Host: a\r\n"
OK = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE_S = 60.0
TURN_S = 0.01
Serve = Callable[[Any, Any, Any], Awaitable[None]]


class Application:
    """Records what it is given; answers with the length of the body."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, bytes | None]] = []
        self.fields: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body: bytes | None = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                body = None
                break
            assert body is not None
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append((scope["method"], scope[TARGET], body))
        self.fields.append(list(scope["headers"]))
        text = b"cut" if body is None else b"%d" % len(body)
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]}
        await send(start)
        await send({"type": "http.response.body", "body": text})


class Plane:
    """A running listener."""

    def __init__(self, port: int, refused: list[str]) -> None:
        self.port = port
        self.refused = refused

    async def open(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def say(self, data: bytes, *, wait: float = 1.5, eof: bool = False) -> bytes:
        """Send these bytes and read until the server is quiet or closes."""
        reader, writer = await self.open()
        writer.write(data)
        if eof:
            writer.write_eof()
        out = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while chunk := await _next(reader, wait if not out else 0.15):
                out += chunk
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return out


async def _next(reader: asyncio.StreamReader, wait_s: float) -> bytes:
    """What comes next. Raises: TimeoutError after turns of the loop that take so long when nobody else is at work.

    Time alone would not do: on a machine that stands still for a moment, it passes and the server had no turn.
    """
    reading = asyncio.ensure_future(reader.read(65536))
    for _ in range(round(wait_s / TURN_S)):
        await asyncio.wait([reading], timeout=TURN_S)
        if reading.done():
            return reading.result()
    reading.cancel()
    raise TimeoutError


@contextlib.contextmanager
def standing_clock() -> Iterator[Callable[[float], None]]:
    """The loop's clock stands; what is given moves it on, in seconds, so that no busy machine makes a timer due."""
    loop = asyncio.get_running_loop()
    now = loop.time()

    def move(seconds: float) -> None:
        nonlocal now
        now += seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", lambda: now)
        yield move


async def turns(count: int = 50) -> None:
    """Let the loop turn, whatever its clock says."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def plane(
    app: Serve, limits: ListenerLimits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Plane]:
    refused: list[str] = []
    server = make_server(
        app, "127.0.0.1", 0, limits=limits or ListenerLimits(), count=lambda _client, reason: refused.append(reason)
    )
    config = server.config
    config.load()

    def protocol() -> asyncio.Protocol:
        made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=server.server_state, app_state={}
        )
        return made

    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    try:
        yield Plane(listening.sockets[0].getsockname()[1], refused)
    finally:
        listening.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        for task in list(server.server_state.tasks):
            task.cancel()
        await asyncio.sleep(0.01)


async def test_a_proper_request_is_served_with_raw_target_and_fields() -> None:
    app = Application()
    async with plane(app) as one:
        out = await one.say(b"GET /a%2Fb?x=%zz HTTP/1.1\r\nHost: a\r\nX-A: 1 \r\nx-a: 2\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert app.seen == [("GET", b"/a%2Fb?x=%zz", b"")]
    assert app.fields == [[(b"host", b"a"), (b"x-a", b"1"), (b"x-a", b"2")]]
    assert one.refused == []


async def test_bodies_and_keep_alive_and_pipelining() -> None:
    app = Application()
    async with plane(app) as one:
        out = await one.say(
            b"POST /1 HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabc"
            b"POST /2 HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + OK
        )
    assert app.seen == [("POST", b"/1", b"abc"), ("POST", b"/2", b"ab"), ("GET", b"/next", b"")]
    assert out.count(b"HTTP/1.1 200 OK") == 3


POST = b"POST / HTTP/1.1\r\n" + H
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLING = {
    "CL and TE": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "CL twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "CL list": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "CL sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "CL minus": POST + b"Content-Length: -3\r\n\r\nabc",
    "CL hex": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "CL empty": POST + b"Content-Length: \r\n\r\nabc",
    "CL inner space": POST + b"Content-Length: 3 3\r\n\r\nabc",
    "CL huge": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "space before colon": POST + b"Content-Length : 3\r\n\r\nabc",
    "tab before colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "TE gzip": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "TE empty": POST + b"Transfer-Encoding: \r\n\r\n0\r\n\r\n",
    "TE quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "TE parameter": POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "TE in 1.0": b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF in line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF in field": b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    "bare LF at end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n",
    "double CR": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "first field folded": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "NUL in value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "NUL in name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n",
    "NUL in target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control in value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "odd name": b"GET / HTTP/1.1\r\nHost: a\r\nX(Y: 1\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nXY\r\n\r\n",
    "Host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "Host twice differing": b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nX: 1\r\n\r\n",
    "no Host in 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "version 0.9": b"GET /\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "version 2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab in line": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw UTF-8 target": b"GET /\xe5\xbc\xa0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown expectation": POST + b"Expect: 200-maybe\r\nContent-Length: 3\r\n\r\nabc",
    "upgrade with body": POST + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}  # fmt: skip
BROKEN_BODIES = {
    "LF after size": CHUNKED + b"1\nZ\r\n0\r\n\r\n",
    "space after size": CHUNKED + b"1 \r\nZ\r\n0\r\n\r\n",
    "hex prefix": CHUNKED + b"0x1\r\nZ\r\n0\r\n\r\n",
    "sign": CHUNKED + b"+1\r\nZ\r\n0\r\n\r\n",
    "overflow": CHUNKED + b"1" * 17 + b"\r\nZ\r\n0\r\n\r\n",
    "LF in extension": CHUNKED + b"1;a\nb\r\nZ\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"1\r\nZZ\r\n0\r\n\r\n",
    "LF after data": CHUNKED + b"1\r\nZ\n0\r\n\r\n",
    "empty size": CHUNKED + b"\r\nZ\r\n0\r\n\r\n",
    "trailer": CHUNKED + b"1\r\nZ\r\n0\r\nContent-Length: 9\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLING)
async def test_ambiguous_heads_are_answered_here_and_close_the_connection(name: str) -> None:
    app = Application()
    async with plane(app) as one:
        reader, writer = await one.open()
        writer.write(SMUGGLING[name] + OK)
        out = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
    assert app.seen == []
    assert out.startswith(b"HTTP/1.1 4")
    assert out.count(b"HTTP/1.1") == 1
    assert b"connection: close\r\n" in out
    assert b"application/problem+json" in out
    assert len(one.refused) == 1


@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_a_body_that_breaks_is_never_taken_for_a_whole_one(name: str) -> None:
    app = Application()
    async with plane(app) as one:
        out = await one.say(BROKEN_BODIES[name] + OK)
    assert [body for _, _, body in app.seen] == [None]
    assert out.count(b"HTTP/1.1") == 1
    assert b"connection: close" in out
    assert len(one.refused) == 1


async def test_every_split_of_a_head_reads_the_same() -> None:
    data = b"POST /x HTTP/1.1\r\nHost: a\r\nX-Long: " + b"v" * 40 + b"\r\nContent-Length: 3\r\n\r\nabc"
    app = Application()
    async with plane(app) as one:
        for cut in range(1, len(data), 7):
            reader, writer = await one.open()
            writer.write(data[:cut])
            await asyncio.sleep(0.002)
            writer.write(data[cut:])
            assert (await reader.readuntil(b"\r\n\r\n3"[-1:])).startswith(b"HTTP/1.1 200")
            writer.close()
    assert set(app.seen) == {("POST", b"/x", b"abc")}
    assert len({tuple(fields) for fields in app.fields}) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 2_000_000,
        b"GET /" + b"a" * 2_000_000,
    ],
)
async def test_heads_that_are_too_large_are_refused(data: bytes) -> None:
    app = Application()
    async with plane(app, ListenerLimits(head=4096, fields=50)) as one:
        out = await one.say(data)
    assert out.startswith(b"HTTP/1.1 431 ")
    assert app.seen == []
    assert one.refused == ["headers-too-large"]


async def test_a_head_that_is_too_large_is_refused_behind_another_request_too() -> None:
    app = Application()
    async with plane(app, ListenerLimits(head=4096)) as one:
        out = await one.say(OK + b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n")
    assert out.count(b"HTTP/1.1 200 ") == 1
    assert [target for _, target, _ in app.seen] == [b"/next"]
    assert one.refused == ["headers-too-large"]


async def test_an_idle_connection_is_closed_only_after_its_last_answer_is_old() -> None:
    app = Application()
    async with plane(app, ListenerLimits(idle_s=1.0)) as one:
        with standing_clock() as move:
            reader, writer = await one.open()
            for _ in range(3):
                writer.write(OK)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(1)
                move(0.4)
                await turns()
            move(0.5)
            await turns()
            assert not reader.at_eof()  # the first answer is old, the last one is not
            move(0.2)
            assert await reader.read() == b""
        writer.close()
    assert len(app.seen) == 3


class Whole:
    """Answers at once, as the data plane does."""

    def __init__(self, *fields: tuple[str, str], status: int = 200) -> None:
        self.fields, self.status = list(fields), status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope[RESPOND](self.status, self.fields, b"body") is True


@pytest.mark.parametrize(
    ("request_line", "status", "tail"),
    [
        (b"GET", 200, b"x-a: 1\r\ncontent-length: 4\r\n\r\nbody"),
        (b"HEAD", 200, b"x-a: 1\r\n\r\n"),
        (b"GET", 204, b"x-a: 1\r\n\r\n"),
        (b"GET", 304, b"x-a: 1\r\n\r\n"),
    ],
)
async def test_an_answer_given_at_once_is_framed_here(request_line: bytes, status: int, tail: bytes) -> None:
    async with plane(Whole(("content-length", "99"), ("x-a", "1"), status=status)) as one:
        out = await one.say((request_line + b" / HTTP/1.1\r\n" + H + b"\r\n") * 2)
    assert out.count(b"HTTP/1.1 %d " % status) == 2
    assert out.endswith(tail)


@pytest.mark.parametrize(
    "field",
    [("x-a", "1\r\nx-b: 2"), ("x-a\n", "1"), ("x-a", "\0"), ("connection", "x"), ("transfer-encoding", "chunked")],
)
async def test_an_answer_given_at_once_cannot_break_its_head(field: tuple[str, str]) -> None:
    async with plane(Whole(field)) as one:
        assert await one.say(OK) == b""


async def test_an_unread_body_ends_the_connection_after_an_answer_given_at_once() -> None:
    async with plane(Whole()) as one:
        out = await one.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc" + OK)
    assert out.count(b"HTTP/1.1 200 ") == 1
    assert b"connection: close" in out


async def test_a_head_that_never_ends_is_slow() -> None:
    app = Application()
    async with plane(app, ListenerLimits(head_s=0.1)) as one:
        with standing_clock() as move:
            for said, answer in ((b"GET / HTTP/1.1\r\nHost: a\r\nX: 1", b"HTTP/1.1 408 "), (b"", b"")):
                reader, writer = await one.open()
                writer.write(said)
                await turns()
                move(0.2)
                out = await reader.read()
                assert out.startswith(answer)
                assert bool(out) == bool(said)  # nobody spoke: closed without a word
                writer.close()
            reader, writer = await one.open()
            writer.write(OK)
            await reader.readuntil(b"0")
            writer.write(b"GET / HTT")
            await turns()
            move(0.2)
            assert b"HTTP/1.1 408 " in await reader.read()
        writer.close()
    assert one.refused == ["client-slow", "client-slow"]


async def test_more_connections_than_allowed_are_turned_away() -> None:
    async with plane(Application(), ListenerLimits(connections=2)) as one:
        kept = [await one.open() for _ in range(2)]
        await asyncio.sleep(0.02)
        assert (await one.say(OK)).startswith(b"HTTP/1.1 503 ")
        for _, writer in kept:
            writer.close()


async def test_continue_is_sent_only_when_the_body_is_wanted() -> None:
    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    head = b"POST / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    async with plane(refusing) as one:
        out = await one.say(head)
        assert out.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in out
    app = Application()
    async with plane(app) as one:
        reader, writer = await one.open()
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.readuntil(b"\r\n\r\n3"[-1:])).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_refused_upload_still_lets_the_client_read_the_answer() -> None:
    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    async with plane(refusing) as one:
        reader, writer = await one.open()
        writer.write(b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 20000000\r\n\r\n")
        for _ in range(20):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        out = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert out.endswith(b"\r\n\r\nno")
        writer.close()


async def test_an_unread_body_is_taken_only_up_to_a_limit() -> None:
    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    async with plane(refusing, ListenerLimits(linger=1_000_000)) as one:
        _, writer = await one.open()
        writer.write(b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 200000000\r\n\r\n")
        taken = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                writer.write(b"x" * 1_000_000)
                await writer.drain()
                taken += 1
        assert taken < 100
        writer.close()


async def test_an_upgrade_reaches_the_application_and_nothing_after_it_does() -> None:
    app = Application()
    async with plane(app) as one:
        out = await one.say(b"GET /ws HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + OK)
    assert [target for _, target, _ in app.seen] == [b"/ws"]
    assert b"connection: close" in out
    assert out.count(b"HTTP/1.1") == 1


async def test_an_answer_that_breaks_off_is_not_ended_properly() -> None:
    async def breaking(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise AnswerAborted("crm-cut-off")

    async with plane(breaking) as one:
        out = await one.say(OK)
    assert b"0\r\n\r\n" not in out


@pytest.mark.parametrize("value", [b"a\r\nX: 1", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_line_break_in_an_answers_field_never_leaves(value: bytes) -> None:
    async def injecting(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", value)]})
        await send({"type": "http.response.body", "body": b"x"})

    async with plane(injecting) as one:
        assert await one.say(OK) == b""


@pytest.mark.parametrize("body", [b"a", b"abc"])
async def test_a_body_of_another_length_than_announced_ends_the_connection(body: bytes) -> None:
    async def lying(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": body})

    async with plane(lying) as one:
        assert await one.say(OK) == b""


async def test_answers_without_length_are_chunked_or_end_with_the_connection() -> None:
    async def streaming(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"ab", b"", b"c"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with plane(streaming) as one:
        assert (await one.say(OK)).endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        old = await one.say(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert old.endswith(b"\r\n\r\nabc")
        assert b"chunked" not in old
        head = await one.say(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert b"chunked" not in head


async def test_a_client_that_does_not_read_is_let_go() -> None:
    ended = asyncio.Event()

    async def endless(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(2000):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        except ClientGone:
            ended.set()
            raise

    async with plane(endless, ListenerLimits(write_s=0.1)) as one:
        _, writer = await one.open()
        writer.write(OK)
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        writer.close()


async def test_an_application_that_fails_leaves_no_trace_of_values(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ValueError("13800138000")

    async with plane(failing) as one:
        assert await one.say(OK) == b""
    assert "ValueError" in caplog.text
    assert "13800138000" not in caplog.text


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem, secret = folder / "c.pem", folder / "k.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret


async def test_tls_1_2_and_newer_only(tmp_path: Path) -> None:
    pem, secret = certificate(tmp_path)
    context = server_context(pem, secret)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    app = Application()
    async with plane(app, tls=context) as one:
        client = ssl.create_default_context(cafile=str(pem))
        client.set_alpn_protocols(["h2", "http/1.1"])
        reader, writer = await one.open(client)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.write(OK)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
    assert app.seen == [("GET", b"/next", b"")]
