"""On real sockets: a trusted peer has to name the client, before TLS; from anybody else a header is just bad HTTP."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway.certificate import ensure_certificate
from gateway.listener import ListenerLimits, make_server
from gateway.proxied_server import ProxiedServer
from gateway.tls import server_context

ASK = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEADER = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"
HERE, ELSEWHERE = "127.0.0.0/8", "192.0.2.0/24"


async def tell(scope: Any, _receive: Any, send: Any) -> None:
    text = scope["client"][0].encode()
    head = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text})


@contextlib.asynccontextmanager
async def serving(
    peers: str, context: ssl.SSLContext | None = None, head_s: float = 10.0
) -> AsyncIterator[tuple[int, list[tuple[str, str]]]]:
    counted: list[tuple[str, str]] = []
    server = make_server(
        tell,
        "127.0.0.1",
        0,
        limits=replace(ListenerLimits(), head_s=head_s),
        count=lambda client, reason: counted.append((client, reason)),
        context=context,
        proxies=[ip_network(peers)],
    )
    assert isinstance(server, ProxiedServer)
    task = asyncio.create_task(server._serve())
    while not server.started or not server.listening:
        await asyncio.sleep(0.01)
    try:
        yield server.listening[0].getsockname()[1], counted
    finally:
        server.should_exit = True
        await task


async def say(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        out = await reader.read(-1)
        writer.close()
        return out
    return b""


async def test_the_named_client_is_the_client() -> None:
    async with serving(HERE) as (port, counted):
        assert (await say(port, HEADER + ASK)).endswith(b"\r\n\r\n203.0.113.9")
        assert (await say(port, b"PROXY UNKNOWN\r\n" + ASK)).endswith(b"\r\n\r\n0.0.0.0")
        assert counted == []


@pytest.mark.parametrize("data", [ASK, b"PROXY TCP4 nobody 1.2.3.4 1 2\r\n" + ASK, b"PROXY TCP4 " + b"9" * 500])
async def test_a_trusted_peer_without_a_proper_header_gets_no_answer(data: bytes) -> None:
    async with serving(HERE) as (port, counted):
        assert await say(port, data) == b""
        assert counted == [("127.0.0.1", "proxy-header-invalid")]


async def test_a_header_that_does_not_come_ends_the_connection() -> None:
    async with serving(HERE, head_s=0.2) as (port, counted):
        assert await say(port, HEADER[:20]) == b""
        assert counted == [("127.0.0.1", "proxy-header-invalid")]


async def test_from_anybody_else_a_header_is_never_read() -> None:
    async with serving(ELSEWHERE) as (port, _):
        assert (await say(port, ASK)).endswith(b"\r\n\r\n127.0.0.1")
        assert b" 400 " in (await say(port, HEADER + ASK)).split(b"\r\n")[0]


async def test_the_header_stands_before_tls(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, ["localhost"], datetime.now(UTC))
    context = server_context(files.certificate, files.key)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with serving(HERE, context) as (port, counted):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEADER)
        await writer.start_tls(trusting)
        writer.write(ASK)
        assert (await reader.read(-1)).endswith(b"\r\n\r\n203.0.113.9")
        writer.close()
        assert counted == []
