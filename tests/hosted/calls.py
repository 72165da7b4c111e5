"""A small HTTP server in the place of a hosted CRM: routes, an in-memory store, and all that ever arrived.

What arrived is kept byte for byte, heads included, so that a test can say that nothing clear reached the CRM.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

JSON = "application/json"


@dataclass(slots=True)
class Call:
    """One request. path: decoded; query: name → values; body: as it came."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    found: tuple[str, ...] = ()

    def json(self) -> Any:
        """The body as JSON; None for an empty one."""
        return json.loads(self.body) if self.body else None


@dataclass(slots=True)
class Reply:
    """One answer; content: bytes, or what becomes JSON."""

    content: Any = None
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes of the answer."""
        if isinstance(self.content, bytes):
            return self.content
        return b"" if self.content is None else json.dumps(self.content, ensure_ascii=False).encode()


Handler = Callable[[Call], Reply]


@dataclass(slots=True)
class Named:
    """What an installation asks of a CRM: the name of its profile."""

    name: str


@dataclass(slots=True)
class Hosted:
    """A running server. routes: (method, pattern of the whole path) → handler; arrived: every request as raw text."""

    crm: Named
    routes: list[tuple[str, re.Pattern[str], Handler]] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    user_ids: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    port: int = 0

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Answer a method and path like this."""
        self.routes.append((method, re.compile(pattern), handler))

    def answer(self, call: Call) -> Reply:
        """The answer to one request, whether it came by itself or in a batch."""
        for method, pattern, handler in self.routes:
            found = pattern.fullmatch(call.path)
            if method == call.method and found is not None:
                call.found = tuple(part or "" for part in found.groups())
                return handler(call)
        return Reply({"message": "no such resource"}, 404)

    def seen(self) -> str:
        """All that ever arrived, escapes of JSON and URLs undone."""
        return "\n".join(self.arrived)


@contextlib.contextmanager
def serving(server: Hosted) -> Iterator[Hosted]:
    """The server on a free port of 127.0.0.1 while the context lasts."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            call = Call(
                self.command,
                unquote(parts.path),
                parse_qs(parts.query, keep_blank_values=True),
                {key.lower(): value for key, value in self.headers.items()},
                body,
            )
            server.calls.append(call)
            server.arrived.append(_plain(f"{self.command} {self.path}\n{self.headers}\n", body))
            reply = server.answer(call)
            data = reply.body
            self.send_response(reply.status)
            if data:
                self.send_header("Content-Type", reply.content_type)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Tests show no log."""

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Requests, f"do_{method}", Requests._serve)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    http.daemon_threads = True
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _plain(head: str, body: bytes) -> str:
    text = unquote(head) + body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        text += json.dumps(json.loads(body), ensure_ascii=False)
    return text + unquote(body.decode("latin-1"), errors="replace")
