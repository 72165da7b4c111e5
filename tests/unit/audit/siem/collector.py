"""A collector of syslog over TLS, and one of HTTPS, for tests: real sockets, real certificates."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Collected:
    """What arrived. status: what HTTPS answers; reads: whether bytes are taken at all."""

    port: int = 0
    messages: list[bytes] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    status: bytes = b"204 No Content"
    reads: bool = True
    connections: int = 0


def server_context(certificate: object, key: object) -> ssl.SSLContext:
    """A server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificate), str(key))
    return context


Serve = Callable[[Collected, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _serving(context: ssl.SSLContext | None, serve: Serve) -> AsyncIterator[Collected]:
    found = Collected()
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        try:
            await serve(found, reader, writer)
        except (asyncio.IncompleteReadError, OSError, ValueError):
            pass
        finally:
            writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(one(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports let go of their sockets in the next turn


async def _take_syslog(found: Collected, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if not found.reads:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()
    while True:
        length = int(await reader.readuntil(b" "))
        found.messages.append(await reader.readexactly(length))


async def _take_post(found: Collected, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    body = await reader.readexactly(int(fields[b"content-length"]))
    if not found.reads:
        await asyncio.Event().wait()
    found.headers.append(head)
    found.messages += body.splitlines()
    writer.write(b"HTTP/1.1 " + found.status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def syslog_collector(context: ssl.SSLContext | None) -> AbstractAsyncContextManager[Collected]:
    """RFC 5425: octet-counted frames; without a context in the clear."""
    return _serving(context, _take_syslog)


def https_collector(context: ssl.SSLContext) -> AbstractAsyncContextManager[Collected]:
    """Answers every POST with `status`."""
    return _serving(context, _take_post)
