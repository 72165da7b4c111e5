"""One connection to a directory server: TLS first, then one question at a time, each answer bounded.

sansldap speaks the protocol (RFC 4511) and this module moves its bytes. Chain and host name are verified by OpenSSL.
StartTLS (RFC 4511, 4.14): a server that refuses it, or sends anything between its answer and the handshake, is left;
the bytes before TLS are never read as if they had come under it. Referrals are not followed.
"""

import asyncio
import ssl
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPFilter,
    LDAPMessage,
    LDAPResult,
    LDAPResultCode,
    SearchResultDone,
    SearchResultEntry,
    SearchScope,
)

from gateway.directory.config import PORTS
from gateway.directory.outcome import DirectoryUnavailable

MESSAGE_BYTES = 256 * 1024
MESSAGES = 64  # of one answer: an entry or two, and the references a root base brings
_SEQUENCE = 0x30
_ENTRIES = 2  # enough to see that one was not the only one
Kind = TypeVar("Kind", bound=LDAPMessage)


class _Ear(asyncio.StreamReaderProtocol):
    """What a transport hands its bytes to; `gone` once the connection is."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.gone = asyncio.Event()
        super().__init__(self.reader)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


class Wire:
    """An open connection; closed at the end of its `with`, whatever happened."""

    def __init__(self, transport: asyncio.Transport, ear: _Ear) -> None:
        self._transport = transport
        self._ear = ear
        self._client = LDAPClient()

    @classmethod
    async def open(cls, url: str, context: ssl.SSLContext | None, timeout_s: float) -> Self:
        """Connect and bring TLS up; context None: clear text, for tests. Raises DirectoryUnavailable."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        try:
            async with asyncio.timeout(timeout_s):
                early = context if parts.scheme == "ldaps" else None
                transport, ear = await asyncio.get_running_loop().create_connection(
                    _Ear, host, port, ssl=early, server_hostname=host if early else None
                )
                wire = cls(transport, ear)
                if early is None and context is not None:
                    try:
                        await wire._start_tls(context, host)
                    except BaseException:
                        await wire.close()
                        raise
                return wire
        except ssl.SSLError:
            raise DirectoryUnavailable("tls") from None
        except TimeoutError:
            raise DirectoryUnavailable("slow") from None
        except (OSError, UnicodeError):
            raise DirectoryUnavailable("unreachable") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def bind(self, dn: str, password: str) -> LDAPResult:
        """A simple bind (RFC 4513, 5.1.3); the caller has seen to it that neither is empty (5.1.1, 5.1.2)."""
        if not dn or not password:
            raise DirectoryUnavailable("nonsense")
        self._client.bind_simple(dn, password)
        return (await self._answer(BindResponse)).result

    async def search(self, base: str, wanted: LDAPFilter, attribute: str, limit_s: int) -> list[SearchResultEntry]:
        """The first entries below base that fit, two at most, with one attribute; raises DirectoryUnavailable."""
        self._client.search_request(
            base,
            SearchScope.SUBTREE,
            size_limit=_ENTRIES,
            time_limit=limit_s,
            filter=wanted,
            attributes=[attribute],
        )
        entries: list[SearchResultEntry] = []
        self._send()
        for _ in range(MESSAGES):
            message = await self._message()
            if isinstance(message, SearchResultEntry):
                entries.append(message)
            elif isinstance(message, SearchResultDone):
                return _whole(entries, message.result.result_code)
        raise DirectoryUnavailable("nonsense")

    async def _start_tls(self, context: ssl.SSLContext, host: str) -> None:
        self._client.extended_request(ExtendedOperations.LDAP_START_TLS.value)
        answer = await self._answer(ExtendedResponse)
        if answer.result.result_code is not LDAPResultCode.SUCCESS:
            raise DirectoryUnavailable("tls")
        # A fresh ear: what came in clear after the answer stays behind in the old one and is read by nobody.
        ear, loop = _Ear(), asyncio.get_running_loop()
        self._ear.gone.set()  # from here on nobody tells it anything
        transport = await loop.start_tls(self._transport, ear, context, server_hostname=host)
        if transport is None:
            raise DirectoryUnavailable("tls")
        ear.connection_made(transport)
        self._transport, self._ear = transport, ear

    async def _answer(self, kind: type[Kind]) -> Kind:
        self._send()
        message = await self._message()
        if not isinstance(message, kind):
            raise DirectoryUnavailable("nonsense")
        return message

    def _send(self) -> None:
        try:
            self._transport.write(self._client.data_to_send())
        except RuntimeError:  # uvloop, of a connection that is gone
            raise DirectoryUnavailable("unreachable") from None

    async def _message(self) -> LDAPMessage:
        """The next message, whole; raises DirectoryUnavailable for anything that is none."""
        try:
            head = await self._ear.reader.readexactly(2)
            if head[0] != _SEQUENCE:
                raise DirectoryUnavailable("nonsense")
            length = head[1]
            if length & 0x80:  # X.690, 8.1.3.5; the indefinite form is not LDAP's (RFC 4511, 5.1)
                if not 1 <= length & 0x7F <= 4:
                    raise DirectoryUnavailable("nonsense")
                more = await self._ear.reader.readexactly(length & 0x7F)
                head, length = head + more, int.from_bytes(more, "big")
            if length > MESSAGE_BYTES:
                raise DirectoryUnavailable("nonsense")
            body = await self._ear.reader.readexactly(length)
        except ssl.SSLError:
            raise DirectoryUnavailable("tls") from None
        except (OSError, asyncio.IncompleteReadError):
            raise DirectoryUnavailable("unreachable") from None
        try:
            (message,) = self._client.receive(head + body)
        except Exception:  # of whatever kind: its words may quote what was received
            raise DirectoryUnavailable("nonsense") from None
        return message

    async def close(self) -> None:
        """Hang up, which ends a session as well as a goodbye does (RFC 4511, 5.3), and wait for nobody."""
        self._transport.abort()
        await self._ear.gone.wait()


def _whole(entries: list[SearchResultEntry], code: LDAPResultCode) -> list[SearchResultEntry]:
    if code is LDAPResultCode.SUCCESS or (code is LDAPResultCode.SIZE_LIMIT_EXCEEDED and len(entries) >= _ENTRIES):
        return entries
    raise DirectoryUnavailable("busy" if code in (LDAPResultCode.BUSY, LDAPResultCode.UNAVAILABLE) else "search")
