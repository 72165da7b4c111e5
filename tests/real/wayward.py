"""A CRM that misbehaves on purpose: slow, cut off, garbled, ambiguous, swollen. It keeps count of what reaches it.

Each path does one thing wrong; every other path answers "ok". It runs in threads of the test's own process.
"""

import contextlib
import gzip
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.real.plain import Named

WAIT_S = 60.0
SECRET = b"<p>half an answer</p>"  # must never leave
_HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
_HALF = gzip.compress(SECRET * 100)[:-9]
ANSWERS: Mapping[str, bytes] = {
    "/cut": _HTML + b"Content-Length: 100000\r\n\r\n" + SECRET,
    "/cut-chunked": _HTML + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(SECRET), SECRET),
    "/cut-head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "/cut-at-once": b"",
    "/garbage": b"\x16\x03\x01 this is not HTTP " + SECRET + b"\r\n\r\n",
    "/two-lengths": _HTML + b"Content-Length: 21\r\nContent-Length: 5\r\n\r\n" + SECRET,
    "/length-and-chunked": _HTML + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    "/bad-chunk": _HTML + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + SECRET + b"\r\n0\r\n\r\n",
    "/half-gzip": _HTML + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_HALF) + _HALF,
    "/bad-status": b"HTTP/1.1 999999 What\r\nContent-Length: 21\r\n\r\n" + SECRET,
}
BOMB = gzip.compress(b"\0" * 200_000_000, 9)


@dataclass(slots=True)
class Wayward:
    """The running server. asked: start lines of complete requests; taken: bytes of bodies that arrived."""

    port: int
    crm: Named = field(default_factory=Named)
    user_ids: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    taken: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def seen(self) -> tuple[int, int]:
        """How much reached it: requests and bytes of bodies."""
        return len(self.asked), self.taken


@contextlib.contextmanager
def wayward() -> Iterator[Wayward]:
    """A running wayward upstream on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Wayward(listener.getsockname()[1])
        accepting = threading.Thread(target=_accept, args=(listener, server), daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.let_go.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, server: Wayward) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, server), daemon=True).start()


def _serve(connection: socket.socket, server: Wayward) -> None:
    connection.settimeout(WAIT_S)
    with connection, contextlib.suppress(OSError), connection.makefile("rb") as stream:
        while start := stream.readline():
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            server.asked.append(start.decode("latin-1").strip())
            while length > 0 and (chunk := stream.read(min(length, 65536))):
                length -= len(chunk)
                server.taken += len(chunk)
            if not _answer(connection, server, server.asked[-1].split(" ")[1]):
                return


def _answer(connection: socket.socket, server: Wayward, path: str) -> bool:
    """Answer; whether the connection may go on."""
    if path == "/slow":
        server.let_go.wait(WAIT_S)
        return False
    if path == "/slow-body":
        connection.sendall(_HTML + b"Content-Length: 100000\r\n\r\n" + SECRET)
        server.let_go.wait(WAIT_S)
        return False
    if path == "/bomb":
        connection.sendall(_HTML + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB)
        return True
    if path in ANSWERS:
        connection.sendall(ANSWERS[path])
        return False
    connection.sendall(_HTML + b"Content-Length: 2\r\n\r\nok")
    return True
