"""A hosted CRM of the tests: a real HTTP server with its records in memory, which keeps every byte it was sent.

What a vendor's API answers is in the module of that vendor; here is what all of them share.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

Record = dict[str, Any]
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived. parameters: the query, decoded; header names are in lower case."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the CRM answers. value: bytes, or what becomes JSON; None: no body."""

    status: int
    value: Any = None
    headers: Fields = field(default_factory=dict)


@dataclass(slots=True)
class Named:
    """What `installed` asks of a CRM: the name of its profile."""

    name: str


@dataclass(slots=True)
class Service:
    """The running server. tables: object → id → record; arrived: every request, its head and its body."""

    crm: Named
    port: int = 0
    user_ids: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, Record]] = field(default_factory=dict)
    arrived: list[bytes] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    made: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def everything(self) -> str:
        """All that it was ever sent or holds, raw and with percent-encoding undone, for a search of clear values."""
        sent = b"\n".join(self.arrived).decode("utf-8", "replace")
        held = json.dumps(self.tables, ensure_ascii=False)
        return "\n".join((sent, unquote(sent), unquote_plus(unquote(sent)), held))


Answerer = Callable[[Service, Request], Reply]


@contextlib.contextmanager
def serving(profile: str, answer: Answerer, user_ids: Fields = MappingProxyType({})) -> Iterator[Service]:
    """A running hosted CRM on a free port of 127.0.0.1. user_ids: login → its key of that user."""
    service = Service(Named(profile), user_ids=user_ids)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            service.arrived.append(f"{self.requestline}\n{self.headers}".encode() + body)
            reply = answer(service, _request(self.command, self.path, dict(self.headers.items()), body))
            data = _encoded(reply.value)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if data and "Content-Type" not in reply.headers:
                self.send_header("Content-Type", "application/json;charset=UTF-8")
            if reply.status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.handle_any()

        def do_POST(self) -> None:
            self.handle_any()

        def do_PUT(self) -> None:
            self.handle_any()

        def do_PATCH(self) -> None:
            self.handle_any()

        def do_DELETE(self) -> None:
            self.handle_any()

        def log_message(self, *_: Any) -> None:
            """Tests read `arrived`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.port = server.server_address[1]
        accepting = threading.Thread(target=server.serve_forever, daemon=True)
        accepting.start()
        try:
            yield service
        finally:
            server.shutdown()
            accepting.join()


def _encoded(value: Any) -> bytes:
    if value is None or isinstance(value, bytes):
        return value or b""
    return json.dumps(value, separators=(",", ":")).encode()


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
    parts = urlsplit(target)
    parameters = {}
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        parameters[unquote_plus(name)] = unquote_plus(value)
    return Request(method, unquote(parts.path), parameters, {key.lower(): one for key, one in headers.items()}, body)
