"""Who may hand mail in: networks, sign-in, TLS and sizes; what goes wrong inside is said without a value."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest

from gateway.certificate import TlsFiles, ensure_certificate
from gateway.egress.config import Leg
from gateway.egress.listener import MailServer, Rules
from gateway.egress.smarthost import DeliveryFailed, DeliveryRefused, SmartHost
from gateway.network import Allowlist
from gateway.tls import server_context

LOOPBACK = Allowlist((ip_network("127.0.0.0/8"),))


class Taker:
    """Takes every mail, or says what it is told."""

    def __init__(self, *, rcpt: str = "250 fine", data: str = "250 taken") -> None:
        self.rcpt, self.data = rcpt, data
        self.taken: list[tuple[str, list[str], bytes]] = []
        self.counted: list[str] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.rcpt.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data == "raise":
            raise RuntimeError("zhang@example.com 13800138000")
        if self.data.startswith("2"):
            self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return self.data


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return ensure_certificate(tmp_path_factory.mktemp("tls"), ["localhost"], datetime.now(UTC))


@pytest.fixture(scope="module")
def authority(files: TlsFiles) -> Path:
    return files.certificate.parent / "authority.pem"


@asynccontextmanager
async def serving(taker: Taker, **rules: Any) -> AsyncIterator[int]:
    given = {"allowlist": LOOPBACK, "size": 100_000} | rules
    server = MailServer(taker, Rules(**given), lambda _client, reason: taker.counted.append(reason))
    port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.close()


async def send(port: int, **options: Any) -> Any:
    client = aiosmtplib.SMTP(hostname="localhost", port=port, **{"timeout": 60, "start_tls": False} | options)
    async with client:
        return await client.sendmail("a@x.example", ["b@x.example"], b"Subject: x\r\n\r\nhello\r\n")


async def test_mail_from_an_allowed_network_is_taken() -> None:
    taker = Taker()
    async with serving(taker) as port:
        await send(port)
    assert taker.taken == [("a@x.example", ["b@x.example"], b"Subject: x\r\n\r\nhello\r\n")]


async def test_other_networks_are_turned_away_before_a_word() -> None:
    taker = Taker()
    async with serving(taker, allowlist=Allowlist((ip_network("10.0.0.0/8"),))) as port:
        with pytest.raises(aiosmtplib.SMTPException):
            await send(port)
    assert taker.counted == ["address-not-allowed"]
    assert taker.taken == []


async def test_more_connections_than_allowed_are_told_to_come_later() -> None:
    taker = Taker()
    async with serving(taker, connections=1) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(aiosmtplib.SMTPException):
            await send(port)
        writer.close()
    assert taker.counted == ["overloaded"]


@pytest.mark.parametrize("leg", [Leg.STARTTLS, Leg.TLS])
async def test_tls_is_required_where_it_is_set(files: TlsFiles, authority: Path, leg: Leg) -> None:
    taker, context = Taker(), ssl.create_default_context(cafile=str(authority))
    async with serving(taker, leg=leg, tls=server_context(files.certificate, files.key)) as port:
        with pytest.raises((aiosmtplib.SMTPException, OSError)):
            await send(port, timeout=2)
        secure = {"use_tls": True} if leg is Leg.TLS else {"start_tls": True}
        await send(port, tls_context=context, **secure)
    assert len(taker.taken) == 1


async def test_a_sign_in_is_required_where_it_is_set(files: TlsFiles, authority: Path) -> None:
    taker, context = Taker(), ssl.create_default_context(cafile=str(authority))
    rules = {
        "leg": Leg.STARTTLS,
        "tls": server_context(files.certificate, files.key),
        "user": "crm",
        "password": b"right",
    }
    async with serving(taker, **rules) as port:
        for given in ({}, {"username": "crm", "password": "wrong"}, {"username": "other", "password": "right"}):
            with pytest.raises(aiosmtplib.SMTPException):
                await send(port, start_tls=True, tls_context=context, **given)
        assert taker.taken == []
        await send(port, start_tls=True, tls_context=context, username="crm", password="right")
    assert len(taker.taken) == 1
    assert "mail-sign-in" in taker.counted


async def test_what_is_too_large_is_refused() -> None:
    taker = Taker()
    async with (
        serving(taker, size=1000) as port,
        aiosmtplib.SMTP(hostname="localhost", port=port, timeout=60, start_tls=False) as client,
    ):
        with pytest.raises(aiosmtplib.SMTPResponseException):
            await client.sendmail("a@x.example", ["b@x.example"], b"x" * 5000)
    assert taker.taken == []


async def test_a_fault_inside_says_later_and_no_value(caplog: pytest.LogCaptureFixture) -> None:
    taker = Taker(data="raise")
    with caplog.at_level(logging.DEBUG):
        async with serving(taker) as port:
            with pytest.raises(aiosmtplib.SMTPResponseException) as told:
                await send(port)
    assert told.value.code == 451
    assert "zhang" not in str(told.value) + caplog.text
    assert "b@x.example" not in caplog.text


def host(port: int, **changed: Any) -> SmartHost:
    given = {"host": "localhost", "port": port, "leg": Leg.OFF, "tls": None, "timeout_s": 60.0} | changed
    return SmartHost(**given)


@pytest.mark.parametrize(
    ("rcpt", "data", "fault"),
    [
        ("250 fine", "451 later zhang@example.com", DeliveryFailed),
        ("450 busy", "250 taken", DeliveryFailed),
        ("550 no zhang@example.com", "250 taken", DeliveryRefused),
        ("250 fine", "554 spam", DeliveryRefused),
        ("250 fine", "999 what", DeliveryFailed),
        ("250 fine", "354 go on", DeliveryFailed),
    ],
)
async def test_answers_of_the_smart_host_mean_later_or_never(rcpt: str, data: str, fault: type[Exception]) -> None:
    async with serving(Taker(rcpt=rcpt, data=data)) as port, host(port).open() as line:
        for _ in range(2):  # the line can be used again
            with pytest.raises(fault) as told:
                await line.send("a@x.example", "b@x.example", b"hello")
            assert "example" not in str(told.value)


@pytest.mark.parametrize("way", ["closed", "silent", "garbage", "cut"])
async def test_a_smart_host_that_is_none_means_later(way: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if way == "garbage":
            writer.write(b"\x00\xffHTTP/1.1 200 OK\r\n\r\n")
        if way != "cut":
            with contextlib.suppress(OSError):
                await reader.read()  # until the other side gives up
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if way == "closed":
        server.close()
        await server.wait_closed()
    try:
        async with host(port, host="127.0.0.1", timeout_s=0.5).open() as line:
            with pytest.raises(DeliveryFailed):
                await line.send("a@x.example", "b@x.example", b"hello")
    finally:
        server.close()


@pytest.mark.parametrize("leg", [Leg.STARTTLS, Leg.TLS])
async def test_a_smart_host_with_another_certificate_gets_nothing(files: TlsFiles, authority: Path, leg: Leg) -> None:
    taker = Taker()
    async with serving(taker, leg=leg, tls=server_context(files.certificate, files.key)) as port:
        for context, name in (
            (ssl.create_default_context(), "localhost"),
            (ssl.create_default_context(cafile=str(authority)), "127.0.0.1"),
        ):
            async with host(port, host=name, leg=leg, tls=context).open() as line:
                with pytest.raises(DeliveryFailed):
                    await line.send("a@x.example", "b@x.example", b"hello")
        assert taker.taken == []
        right = ssl.create_default_context(cafile=str(authority))
        async with host(port, leg=leg, tls=right).open() as line:
            assert await line.send("a@x.example", "b@x.example", b"hello") == 250
    assert len(taker.taken) == 1


async def test_a_smart_host_without_starttls_gets_nothing() -> None:
    taker = Taker()
    async with serving(taker) as port, host(port, leg=Leg.STARTTLS, tls=ssl.create_default_context()).open() as line:
        with pytest.raises(DeliveryFailed):
            await line.send("a@x.example", "b@x.example", b"hello")
    assert taker.taken == []
