"""The SMTP listener: aiosmtpd made strict and silent, for whoever may hand mail to us.

Refuses other networks before a word, bounds connections, time and size, and requires TLS and a sign-in where the
settings say so. The library logs every command with its addresses; that log is closed here, because addresses are what
this package keeps out of logs.
"""

import asyncio
import hmac
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from gateway.egress.config import Leg
from gateway.network import Allowlist, canonical
from gateway.refusal import Refusal

CONNECTIONS = 64
IDLE_S = 120.0
LATER = "451 4.3.0 not now; please try again later"
NULL_SENDER = "<>"  # of bounces; the library takes an empty one for a missing command
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may hand mail in and how. size: bytes of one message; user "": no sign-in. leg OFF: the same machine only."""

    allowlist: Allowlist
    size: int
    leg: Leg = Leg.OFF
    tls: ssl.SSLContext | None = None
    user: str = ""
    password: bytes = field(default=b"", repr=False)
    hostname: str = "crmgate"
    connections: int = CONNECTIONS
    idle_s: float = IDLE_S


HANDSHAKE_S = 15.0  # who says nothing does not hold a connection longer
Count = Callable[[str, str], None]  # client address, reason id


class MailServer:
    """Listens for one kind of mail; `handler` has aiosmtpd's handle_RCPT, handle_DATA and so on."""

    def __init__(self, handler: object, rules: Rules, count: Count) -> None:
        self._handler, self._rules, self._count = handler, rules, count
        self._server: asyncio.Server | None = None
        self.open: set[_Session] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port it is (for port 0). Raises OSError."""
        for name in ("mail.log", "mail.debug"):
            logging.getLogger(name).disabled = True
        implicit = self._rules.tls if self._rules.leg is Leg.TLS else None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Session(self, self._handler, self._rules, self._count),
            host,
            port,
            ssl=implicit,
            ssl_handshake_timeout=HANDSHAKE_S if implicit is not None else None,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end what is open."""
        if self._server is not None:
            self._server.close()
        for session in list(self.open):
            if session.transport is not None:
                session.transport.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(0)


class _Session(SMTP):
    """One connection."""

    def __init__(self, server: MailServer, handler: object, rules: Rules, count: Count) -> None:
        starttls = rules.leg is Leg.STARTTLS
        super().__init__(
            handler,
            data_size_limit=rules.size,
            hostname=rules.hostname,
            ident="crmgate",
            tls_context=rules.tls if starttls else None,
            require_starttls=starttls,
            timeout=rules.idle_s,
            auth_required=bool(rules.user),
            auth_require_tls=starttls,
            authenticator=self._check,
            loop=asyncio.get_running_loop(),
        )
        self._mail_server, self._rules, self._count = server, rules, count
        self._turned_away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or turn away."""
        if self.transport is None:
            reason = self._reason(transport)
            if reason:
                self._turned_away = True
                self._count(self.peer_of(transport), reason)
                writer = cast("asyncio.WriteTransport", transport)
                busy = reason == "overloaded"
                writer.write(b"421 4.3.2 too many connections\r\n" if busy else b"554 5.7.1 not from here\r\n")
                writer.close()
                return
            self._mail_server.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        if not self._turned_away:
            self._mail_server.open.discard(self)
            super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Words of somebody turned away are not read."""
        if not self._turned_away:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """The other side is done."""
        return None if self._turned_away else super().eof_received()

    async def handle_exception(self, error: Exception) -> str:
        """Whatever goes wrong: come again later; the library's own answer would repeat values."""
        log.error("mail-session", fault=type(error).__name__)
        return LATER

    @staticmethod
    def peer_of(transport: asyncio.BaseTransport) -> str:
        """The address at the other end, canonical; "" for none."""
        peer = transport.get_extra_info("peername")
        try:
            return canonical(peer[0].partition("%")[0]) if peer else ""
        except Refusal:
            return ""

    def _reason(self, transport: asyncio.BaseTransport) -> str:
        peer = self.peer_of(transport)
        if not peer or not self._rules.allowlist.permits(peer):
            return "address-not-allowed"
        return "overloaded" if len(self._mail_server.open) >= self._rules.connections else ""

    def _check(self, _server: SMTP, session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
        """A sign-in: name and password both compared in constant time."""
        rules = self._rules
        right = (
            bool(rules.user)
            and isinstance(given, LoginPassword)
            and hmac.compare_digest(given.login, rules.user.encode())
            & hmac.compare_digest(given.password, rules.password)
        )
        if not right:
            self._count(peer_address(session), "mail-sign-in")
        return AuthResult(success=right, handled=False)


def peer_address(session: Session) -> str:
    """Client address of a session, "" where there is none."""
    peer = session.peer
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
