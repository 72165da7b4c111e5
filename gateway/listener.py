"""The listener of the data plane: uvicorn's httptools protocol, made strict.

Promises: the application sees a request only when its framing is beyond doubt, with the raw target and the raw fields;
a refusal at this level is a proper small answer that closes the connection and is counted. Refuses, with llhttp's
strict defaults: both framings, repeated or odd lengths, bare line feeds, folded lines, NUL, repeated or absent Host,
other versions, heads that are too large or too slow. `httptools.parse_url` is never used: it truncates.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.block import Memory
from gateway.collaborators import Application
from gateway.cycle import CUT_OFF_LINGER_S, Cycle, ListenerLimits
from gateway.headers import CERTIFICATE, MEMORY, RESPOND, TARGET
from gateway.network import Allowlist, IPNetwork
from gateway.proxied_server import ProxiedServer
from gateway.refusal import (
    AMBIGUOUS_FRAMING,
    CLIENT_SLOW,
    HEADERS_TOO_LARGE,
    MALFORMED_REQUEST,
    OVERLOADED,
    Reason,
)

__all__ = ["CountRefusal", "ListenerLimits", "StrictProtocol", "make_protocol", "make_server"]

CountRefusal = Callable[[str, str], None]  # client address as the socket has it, reason id
_JUDGED = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


def make_protocol(limits: ListenerLimits, count: CountRefusal) -> type[HttpToolsProtocol]:
    """The protocol class for `uvicorn.Config(http=…)`, bound to its limits."""

    class BoundProtocol(StrictProtocol):
        bounds = limits
        count_refusal = staticmethod(count)

    return BoundProtocol


class StrictProtocol(HttpToolsProtocol):
    """One client connection."""

    __slots__ = (
        "_asgi", "_broken", "_certificate", "_chunk_bytes", "_drained", "_framing", "_head_bytes", "_head_timer",
        "_idle_since", "_in_head", "_memory", "_reason", "behind",
    )  # fmt: skip
    bounds = ListenerLimits()
    count_refusal: CountRefusal = staticmethod(lambda _client, _reason: None)
    cycle: Any
    scope: Any
    pipeline: Any

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._asgi = {"version": self.asgi_version, "spec_version": "2.3"}
        self.parser = httptools.HttpRequestParser(self)  # without the leniency uvicorn switches on
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._chunk_bytes = 0
        self._in_head = True
        self._broken = False  # nothing after this point is a request
        self._drained = 0
        self._reason: Reason | None = None
        self._framing: dict[bytes, bytes] = {}  # fields of which there may be one
        self._memory = Memory()
        self._certificate = ""
        self._idle_since = 0.0
        self.behind: tuple[str, int] | None = None  # the client a PROXY header named

    # Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))  # uvloop's is one by shape only
        if self.behind is not None:
            self.client = self.behind
        self._certificate = _shown(transport)
        self._head_timer = self.loop.call_later(self.bounds.head_s, self._head_late)
        if len(self.connections) > self.bounds.connections:
            self._refuse(OVERLOADED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        cycle = self.cycle
        if cycle is not None:
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.wake()
        self.flow.resume_writing()
        self.parser = cast("Any", None)  # it holds us and we hold it
        if exc is None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._broken:
            self._drained += len(data)
            if self._drained > self.bounds.linger:
                self.transport.abort()
            return
        self._chunk_bytes = len(data)
        if self._in_head:
            # llhttp gathers a long field piece by piece, so the bound must be on what it is fed.
            self._head_bytes += self._chunk_bytes
            if self._head_bytes > self.bounds.head + HIGH_WATER_LIMIT * 4:
                self._refuse(HEADERS_TOO_LARGE)
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self._reason or MALFORMED_REQUEST)
            return
        except httptools.HttpParserUpgrade:
            self._broken = True  # what follows is another protocol, which nobody agreed to
        if self._in_head and self._head_bytes and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.bounds.head_s, self._head_late)

    # llhttp

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.keep_alive:
            raise self._fault(MALFORMED_REQUEST)  # the connection is promised to end
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {
            "type": "http",
            "asgi": self._asgi,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            MEMORY: self._memory,
            CERTIFICATE: self._certificate,
        }
        self._in_head = True
        self._framing = {}

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.bounds.head:
            raise self._fault(HEADERS_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            raise self._fault(MALFORMED_REQUEST)  # trailers: nobody needs them, and they are read differently
        name, text = name.lower(), value.rstrip(b" \t")
        if name in _JUDGED:
            if name == b"expect":
                if value.lower() != b"100-continue":
                    raise self._fault(MALFORMED_REQUEST)
                self.expect_100_continue = True
            elif name in self._framing:
                raise self._fault(AMBIGUOUS_FRAMING)
            else:
                self._framing[name] = text
        headers = self.headers
        if len(headers) >= self.bounds.fields:
            raise self._fault(HEADERS_TOO_LARGE)
        headers.append((name, text))

    def on_headers_complete(self) -> None:
        parser, framing = self.parser, self._framing
        version = parser.get_http_version()
        if version not in ("1.1", "1.0") or b"host" not in framing:
            raise self._fault(MALFORMED_REQUEST)
        upgrade = parser.should_upgrade()
        if b"transfer-encoding" in framing:
            coding = framing[b"transfer-encoding"].lower()
            if version == "1.0" or coding != b"chunked" or b"content-length" in framing:
                raise self._fault(AMBIGUOUS_FRAMING)
        elif upgrade and b"content-length" in framing:
            raise self._fault(AMBIGUOUS_FRAMING)  # llhttp would read the body as the other protocol
        # Only counted out when that could be too much; a head may also begin inside the piece that ended a request.
        if self._head_bytes + self._chunk_bytes > self.bounds.head and self._size() > self.bounds.head:
            raise self._fault(HEADERS_TOO_LARGE)
        if self._head_timer is not None:
            self._stop_head_timer()
        self._in_head = False
        self._head_bytes = 0
        scope = self.scope
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        target = scope[TARGET] = self.url
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("ascii", "replace")
        scope["raw_path"], scope["query_string"] = raw_path, query
        scope["path"] = unquote(path) if "%" in path else path
        self._begin(keep_alive=version == "1.1" and parser.should_keep_alive() and not upgrade)

    def _size(self) -> int:
        """Bytes of target and fields; what came in together with them may be more."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            self._drained += len(body)
            if self._drained > self.bounds.linger:
                self.transport.abort()
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.wake()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        cycle = self.cycle
        cycle.more_body = False
        if cycle.response_complete:
            if not cycle.keep_alive:
                self.transport.close()
        else:
            cycle.wake()

    def _begin(self, *, keep_alive: bool) -> None:
        before = self.cycle
        self.cycle = cycle = Cycle(self, keep_alive=keep_alive)
        self.scope[RESPOND] = cycle.respond
        if before is None or before.response_complete:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start(self, cycle: Cycle) -> None:
        task = self.loop.create_task(cycle.run_asgi(cast("Any", self.app)))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
            return
        # One timer a connection, which looks when the last answer went out, instead of one for every answer.
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._idle_check)

    def _idle_check(self) -> None:
        self.timeout_keep_alive_task = None
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            return  # the end of this answer starts the timer again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._idle_check)
        elif not self._head_bytes:  # a head on its way has a limit of its own
            self.transport.close()

    # Ending

    def _fault(self, reason: Reason) -> Exception:
        """What a callback raises so that llhttp stops; the reason is kept for the answer."""
        self._reason = reason
        return httptools.HttpParserError(reason.id)

    def _refuse(self, reason: Reason) -> None:
        """End the connection with a small answer, unless an earlier answer is still on its way."""
        self._broken = True
        self._stop_head_timer()
        self.count_refusal(self.client[0] if self.client else "", reason.id)
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and not cycle.keep_alive:
            self.transport.close()
            return
        if cycle is not None and not cycle.response_complete:
            # The request before it is good, or its body is what broke: it must not be taken for a whole one.
            cycle.keep_alive = False
            if cycle.more_body:
                cycle.cut_off = True
                cycle.wake()
            return
        body = b'{"type":"urn:crmgate:refusal:%b","status":%d,"reason":"%b"}' % (
            reason.id.encode(),
            reason.status,
            reason.id.encode(),
        )
        self.transport.write(
            STATUS_LINE[reason.status]
            + b"content-type: application/problem+json\r\ncontent-length: %d\r\ncache-control: no-store\r\n" % len(body)
            + b"connection: close\r\n\r\n"
            + body
        )
        self.close_later(CUT_OFF_LINGER_S)

    def close_later(self, seconds: float) -> None:
        """Close once the client had time to read; closing on unread bytes would reset the connection at once."""
        if self.transport.can_write_eof():
            self.transport.write_eof()  # the client sees the end at once; TLS cannot be half closed
        self.loop.call_later(seconds, self.transport.close)

    def _head_late(self) -> None:
        self._head_timer = None
        if not self._broken and self._in_head:
            if self._head_bytes:
                self._refuse(CLIENT_SLOW)
            else:
                self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _shown(transport: asyncio.BaseTransport) -> str:
    """SHA-256 of the certificate that a client showed and proved, in hex; "" without one."""
    secure = transport.get_extra_info("ssl_object")
    certificate = None if secure is None else secure.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


def make_server(
    app: Application,
    host: str,
    port: int,
    *,
    limits: ListenerLimits,
    count: CountRefusal,
    context: ssl.SSLContext | None = None,
    proxies: Sequence[IPNetwork] = (),
) -> uvicorn.Server:
    """A server for the data plane; TLS when it is given a context. `await server.serve()` runs it.

    proxies: peers that begin each connection with a PROXY header.
    """
    tls: dict[str, Any] = {}
    if context is not None:
        tls = {"ssl_context_factory": lambda _config, _default: context}
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=make_protocol(limits, count),
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        date_header=True,
        access_log=False,
        log_config=None,
        timeout_keep_alive=int(limits.idle_s),
        **tls,
    )
    if proxies:
        return ProxiedServer(config, Allowlist(proxies), count, limits.head_s, limits.connections)
    return uvicorn.Server(config)
