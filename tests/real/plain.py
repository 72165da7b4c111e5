"""A small HTTP/1.1 server in the place of a CRM, for what a proxy has to get right: framing, heads, codings, sizes.

It answers fixed pages and keeps what it was asked, byte for byte, so that a test can say what reached a CRM and what
did not. It runs in threads of the test's own process; every connection is counted.
"""

import contextlib
import gzip
import json
import random
import socket
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import brotli
import zstandard

PROFILE = Path(__file__).with_name("plain.yaml")
BLOCK = b"\0crmgate" + random.Random(7).randbytes(1024 * 1024 - 8)  # binary from its first byte on
FIRST_BYTES = 64 * 1024
KEPT_BYTES = 1024 * 1024
WAIT_S = 60.0


@dataclass(slots=True)
class Asked:
    """One request as it arrived. head: all lines as sent; size, crc: of its body; body: its beginning."""

    head: str
    connection: int
    size: int = 0
    crc: int = 0
    body: bytes = b""

    @property
    def target(self) -> str:
        """The request target."""
        return self.head.split(" ", 2)[1]

    def values(self, name: str) -> list[str]:
        """Every value of a header field, in order."""
        pairs = (line.split(": ", 1) for line in self.head.split("\r\n")[1:] if ": " in line)
        return [value for key, value in pairs if key.lower() == name]


@dataclass(slots=True)
class Named:
    """What `installed` asks of a CRM: the name of its profile."""

    name: str = str(PROFILE)


@dataclass(slots=True)
class Plain:
    """The running server. asked: every request; let_go: ends the streams that wait; table: a CSV with a header row."""

    port: int
    crm: Named = field(default_factory=Named)
    user_ids: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)
    table: bytes = b""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def last(self, path: str) -> Asked:
        """The latest request for a path; raises IndexError when there was none."""
        return [one for one in self.asked if urlsplit(one.target).path == path][-1]

    def times(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(urlsplit(one.target).path == path for one in self.asked)


@contextlib.contextmanager
def plain() -> Iterator[Plain]:
    """A running plain upstream on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Plain(listener.getsockname()[1])
        accepting = threading.Thread(target=_accept, args=(listener, server), daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.let_go.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def crc_of(size: int) -> int:
    """The checksum of a download or upload of this size made of `BLOCK`."""
    crc = 0
    while size > 0:
        crc = zlib.crc32(BLOCK[:size], crc)
        size -= len(BLOCK)
    return crc


def _accept(listener: socket.socket, server: Plain) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        server.connections += 1
        threading.Thread(target=_serve, args=(connection, server, server.connections), daemon=True).start()


def _serve(connection: socket.socket, server: Plain, number: int) -> None:
    connection.settimeout(WAIT_S)
    with connection, contextlib.suppress(OSError), connection.makefile("rb", buffering=256 * 1024) as stream:
        while True:
            lines = []
            while (line := stream.readline()) not in (b"\r\n", b""):
                lines.append(line.decode("latin-1").rstrip("\r\n"))
            if not lines:
                return
            asked = Asked("\r\n".join(lines), number)
            for chunk in _body(asked, stream):
                asked.size += len(chunk)
                asked.crc = zlib.crc32(chunk, asked.crc)
                asked.body += chunk[: KEPT_BYTES - len(asked.body)]
            server.asked.append(asked)
            _answer(connection, server, asked)


def _body(asked: Asked, stream: object) -> Iterator[bytes]:
    read, line = stream.read, stream.readline  # type: ignore[attr-defined]
    if "chunked" in asked.values("transfer-encoding"):
        while (size := int(line(), 16)) > 0:
            yield read(size)
            line()
        line()
        return
    left = int((asked.values("content-length") or ["0"])[0])
    while left > 0:
        chunk = read(min(left, 256 * 1024))
        if not chunk:
            raise ConnectionResetError
        left -= len(chunk)
        yield chunk


def _answer(connection: socket.socket, server: Plain, asked: Asked) -> None:
    path = urlsplit(asked.target).path
    here = server.url
    match path.strip("/").split("/"):
        case ["page"]:
            script = f'<script>var u = "{_escaped(here)}\\/z";</script>'
            html = f'<a href="{here}/x">x</a><form action="{here}/y"></form>{script}'
            _send(connection, "text/html; charset=utf-8", html.encode())
        case ["data"]:
            text = (
                f'{{"plain": "{here}/a", "escaped": "{_escaped(here)}\\/b", "unicode": "http:\\u002f\\u002f127.0.0.1:'
            )
            text += f'{server.port}\\u002fc", "other": "http://127.0.0.1:{server.port}9/d"}}'
            _send(connection, "application/json", text.encode())
        case ["moved"]:
            fields = [
                f"Location: {here}/landing?next={here}/page",
                "Set-Cookie: theme=dark; Domain=127.0.0.1; Path=/; HttpOnly",
                "Set-Cookie: lang=zh; Path=/x; SameSite=Strict",
                "Set-Cookie: __Host-crmgate=planted; Secure; Path=/",
                f'Link: <{here}/next>; rel="next"',
                "Vary: Cookie",
                "X-Note: one",
                "X-Note: two",
                "Connection: X-Hop",
                "X-Hop: only for the next hop",
                "Server: plain/1.0",
            ]
            _send(connection, "text/html", b"<p>moved</p>", "302 Found", fields)
        case ["packed", coding]:
            html = f'<p>packed</p><a href="{here}/x">x</a>'.encode()
            _send(connection, "text/html", _packed(coding, html), fields=[f"Content-Encoding: {coding}"])
        case ["static", coding, "app.css"]:
            _send(
                connection,
                "text/css",
                _packed(coding, b"p{}" * 50),
                fields=[f"Content-Encoding: {coding}", 'ETag: "7"'],
            )
        case ["chunked"]:
            _head(connection, "text/html", ["Transfer-Encoding: chunked"])
            for part in (b"<p>one</p>", b"<a href='", here.encode(), b"/x'>two</a>"):
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            connection.sendall(b"0\r\n\r\n")
        case ["download", size]:
            _head(connection, "application/octet-stream", [f"Content-Length: {size}"])
            left = int(size)
            while left > 0:
                connection.sendall(memoryview(BLOCK)[: min(left, len(BLOCK))])
                left -= len(BLOCK)
        case ["table" | "torn" as how, times]:
            header, end, rows = server.table.partition(b"\n")
            size = len(header + end) + int(times) * len(rows)
            _head(connection, "text/csv; charset=utf-8", [f"Content-Length: {size}"])
            connection.sendall(header + end)
            for _ in range(int(times) if how == "table" else int(times) // 2):
                connection.sendall(rows)
            if how == "torn":
                connection.shutdown(socket.SHUT_RDWR)
        case ["trickle"]:
            _head(connection, "application/octet-stream", ["Transfer-Encoding: chunked"])
            connection.sendall(b"%x\r\n%s\r\n" % (FIRST_BYTES, BLOCK[:FIRST_BYTES]))
            server.let_go.wait(WAIT_S)
            connection.sendall(b"4\r\nlast\r\n0\r\n\r\n")
        case ["upload"]:
            _send(connection, "application/json", json.dumps({"stored": True}).encode(), "201 Created")
        case _:
            _send(connection, "text/plain", b"ok")


def _escaped(url: str) -> str:
    return url.replace("/", "\\/")


def _packed(coding: str, data: bytes) -> bytes:
    if coding == "gzip":
        return gzip.compress(data)
    return brotli.compress(data) if coding == "br" else zstandard.compress(data)


def _head(connection: socket.socket, kind: str, fields: list[str], status: str = "200 OK") -> None:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *fields]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def _send(
    connection: socket.socket, kind: str, body: bytes, status: str = "200 OK", fields: list[str] | None = None
) -> None:
    _head(connection, kind, [*(fields or []), f"Content-Length: {len(body)}"], status)
    connection.sendall(body)
