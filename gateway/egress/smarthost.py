"""The mail server that takes our mail: one transaction a recipient, and what its answers mean for a retry.

Errors say whether trying again may help; they never repeat an answer of the server, because those hold addresses.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import aiosmtplib

from gateway.egress.config import Leg


class DeliveryFailed(Exception):  # noqa: N818 - an outcome
    """The server did not take the mail now; the same mail may be taken later. `reason` is a stable id."""

    permanent = False

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeliveryRefused(Exception):  # noqa: N818 - an outcome
    """The server will not take this mail for this recipient; status: its code, 5xx."""

    permanent = True

    def __init__(self, status: int) -> None:
        super().__init__(f"smart-host-refused-{status}")
        self.status = status


class Line(Protocol):
    """An open way to the server."""

    async def send(self, sender: str, address: str, content: bytes) -> int:
        """Hand over one mail; the code it was accepted with. Raises DeliveryFailed, DeliveryRefused."""


class Target(Protocol):
    """Where mail goes (SmartHost)."""

    @property
    def host(self) -> str:
        """Its name, for the trail."""

    def open(self) -> AbstractAsyncContextManager[Line]:
        """A line for the recipients of one message."""


@dataclass(frozen=True, slots=True)
class SmartHost:
    """Address and credentials of a mail server; timeout_s bounds each of its answers."""

    host: str
    port: int
    leg: Leg
    tls: ssl.SSLContext | None
    user: str = ""
    password: str = ""
    timeout_s: float = 30.0
    hostname: str = "localhost"

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Connection"]:
        """A connection that is made when it is first needed, and again after it broke."""
        connection = Connection(self)
        try:
            yield connection
        finally:
            await connection.close()

    def client(self) -> aiosmtplib.SMTP:
        """A client that has not connected yet."""
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user or None,
            password=self.password or None,
            local_hostname=self.hostname,
            timeout=self.timeout_s,
            use_tls=self.leg is Leg.TLS,
            start_tls=self.leg is Leg.STARTTLS,
            tls_context=self.tls if self.leg is not Leg.OFF else None,
        )


class Connection:
    """One line to the smart host, for the recipients of one message."""

    def __init__(self, host: SmartHost) -> None:
        self._host = host
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, sender: str, address: str, content: bytes) -> int:
        """Hand over one mail; the code it was accepted with. Raises DeliveryFailed, DeliveryRefused."""
        try:
            # Connecting, signing in and one transaction are some ten answers.
            async with asyncio.timeout(self._host.timeout_s * 10):
                return await self._send(sender, address, content)
        except TimeoutError:
            await self.close()
            raise DeliveryFailed("smart-host-slow") from None

    async def _send(self, sender: str, address: str, content: bytes) -> int:
        client = self._client
        try:
            if client is None:
                client = self._client = self._host.client()
                await client.connect()
            code = await self._transaction(client, sender, address, content)
        except aiosmtplib.SMTPAuthenticationError:
            await self.close()
            raise DeliveryFailed("smart-host-sign-in") from None
        except aiosmtplib.SMTPTimeoutError:
            await self.close()
            raise DeliveryFailed("smart-host-slow") from None
        except aiosmtplib.SMTPConnectResponseError:
            await self.close()
            raise DeliveryFailed("smart-host-unready") from None
        except aiosmtplib.SMTPResponseException as fault:
            if 500 <= fault.code <= 599 and isinstance(
                fault, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError
            ):
                await self._reset(client)
                raise DeliveryRefused(fault.code) from None
            await self.close()
            # A sender or greeting that is refused is about our set-up, not about this mail: the CRM's queue waits.
            raise DeliveryFailed("smart-host-later") from None
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError, ValueError, UnicodeError):
            await self.close()
            raise DeliveryFailed("smart-host-down") from None
        return code

    async def _transaction(self, client: aiosmtplib.SMTP, sender: str, address: str, content: bytes) -> int:
        options = ["BODY=8BITMIME"] if client.supports_extension("8bitmime") else []
        await client.mail(sender, options=options)
        await client.rcpt(address)
        answer = await client.data(content)
        if not 200 <= answer.code <= 299:
            raise aiosmtplib.SMTPDataError(answer.code, "")
        return answer.code

    async def _reset(self, client: aiosmtplib.SMTP | None) -> None:
        try:
            if client is not None:
                await client.rset()
        except (aiosmtplib.SMTPException, OSError):
            await self.close()

    async def close(self) -> None:
        """End the line; a server that does not say goodbye is left."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(aiosmtplib.SMTPException, OSError, TimeoutError, ValueError):
            async with asyncio.timeout(2):
                await client.quit()
        client.close()
