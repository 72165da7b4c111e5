"""Calls of the CRM to services: listed ones get the person's values, everything else keeps its surrogates."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest

from gateway.accounts import utc_now
from gateway.body.limits import Limits
from gateway.egress.config import DestinationSettings
from gateway.egress.forward import Destination, Forward
from gateway.egress.http_server import HttpServer
from gateway.listener import ListenerLimits
from gateway.network import Allowlist
from gateway.upstream import Pool, Timeouts
from tests.unit.gateway.egress.mailroom import HASTE_S, PATIENCE_S, Mailroom, Wayward, values_of
from tests.unit.gateway.glue import TENANT

ZHANG = {"last_name": '张 & "伟明"', "email": "zhang.weiming@example.com", "phone": "13800138000"}
LI = {"last_name": "Li", "email": "li@example.org", "phone": "13912345678"}
FORM = "application/x-www-form-urlencoded"


@dataclass
class Service:
    """What a service was sent; it answers what it is told to."""

    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: bytes = (
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-echo: e\r\ncontent-length: 11\r\n\r\n{"ok":true}'
    )
    port: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
        )
        self.bodies.append(await reader.readexactly(length))
        self.heads.append(head)
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@dataclass
class Proxy:
    """A running proxy and how the CRM calls through it."""

    port: int
    room: Mailroom
    service: Service
    forward: Forward

    async def call(
        self,
        target: str,
        body: bytes = b"",
        content_type: str = FORM,
        method: str = "POST",
        host: str = "",
        extra: str = "",
    ) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        named = host or f"127.0.0.1:{self.service.port}"
        writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n{extra}\r\n".encode()
            + body
        )
        await writer.drain()
        answer = await reader.read()
        writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"


@pytest.fixture
async def proxy(room: Mailroom) -> AsyncIterator[Proxy]:
    service = Service()
    server = await asyncio.start_server(service.take, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    settings = DestinationSettings(
        name="sms", url=f"http://127.0.0.1:{service.port}", kinds=("phone", "name"), recipient="to", paths=("/send",)
    )
    pool = Pool(settings.url, timeouts=Timeouts(connect=60, read=60, idle=1))
    forward = made(room, Destination(settings, pool, f"127.0.0.1:{service.port}"))
    http = HttpServer(forward, ListenerLimits(), lambda _client, reason: room.counted.append(reason))
    port = await http.start("127.0.0.1", 0)
    yield Proxy(port, room, service, forward)
    await http.close()
    await pool.close()
    server.close()


def made(room: Mailroom, *destinations: Destination, **changed: Any) -> Forward:
    parts: dict[str, Any] = {"vault": room.glue.vault, "ages": room.store, "audit": room.trail} | changed
    return Forward(
        TENANT,
        destinations,
        parts["vault"],
        parts["ages"],
        room.glue.scanner,
        parts["audit"],
        allowlist=Allowlist(),
        size=100_000,
        limits=Limits(),
        rest=timedelta(0),
        clock=utc_now,
        new_id=room.new_id,
        count=lambda _client, reason: room.counted.append(reason),
        collaborator_s=HASTE_S if changed else PATIENCE_S,
    )


async def test_the_persons_values_are_opened_in_forms_queries_and_json(proxy: Proxy) -> None:
    zhang = await proxy.room.person("5", **ZHANG)
    words = f"Dear {zhang['last_name']}, {zhang['phone']}, {zhang['email']}"
    clear = f"Dear {ZHANG['last_name']}, {ZHANG['phone']}, {zhang['email']}"
    given = {"to": zhang["phone"], "text": words}
    assert (await proxy.call(f"{proxy.base}/send", urlencode(given).encode()))[0] == 200
    assert dict(parse_qsl(proxy.service.bodies[0].decode())) == {"to": ZHANG["phone"], "text": clear}
    body = json.dumps({"to": zhang["phone"], "message": {"text": [words]}, "n": 5}).encode()
    assert (await proxy.call("/to/sms/send", body, "application/json", host=f"127.0.0.1:{proxy.port}"))[0] == 200
    assert json.loads(proxy.service.bodies[1]) == {"to": ZHANG["phone"], "message": {"text": [clear]}, "n": 5}
    query = f"to={quote(zhang['phone'])}&text={quote(words)}"
    assert (await proxy.call(f"{proxy.base}/send?{query}"))[0] == 200
    target = proxy.service.heads[2].split()[1].decode()
    assert dict(parse_qsl(target.partition("?")[2])) == {"to": ZHANG["phone"], "text": clear}
    entries = proxy.room.trail.entries
    assert [entry.kind for entry in entries] == ["decision", "outcome"] * 3
    assert entries[0].fields["shown"] == {
        "contact.phone": {"5": {"clear": 2}},
        "contact.last_name": {"5": {"clear": 1}},
    }
    assert (entries[0].entity, entries[0].record, entries[0].fields["detail"]) == ("contact", "5", "sms")
    assert not any(value in values_of(entries) for value in (*ZHANG.values(), *zhang.values()))


async def test_another_persons_values_header_fields_and_other_bodies_keep_their_surrogates(proxy: Proxy) -> None:
    zhang, li = await proxy.room.person("5", **ZHANG), await proxy.room.person("6", **LI)
    stolen = f"{li['phone']} {li['last_name']}"
    given = urlencode({"to": zhang["phone"], "text": stolen}).encode()
    await proxy.call(f"{proxy.base}/send", given, extra=f"X-Text: {zhang['phone']}\r\nProxy-Authorization: x\r\n")
    assert dict(parse_qsl(proxy.service.bodies[0].decode())) == {"to": ZHANG["phone"], "text": stolen}
    head = proxy.service.heads[0].decode().lower()
    assert f"x-text: {zhang['phone']}" in head
    assert "proxy-authorization" not in head
    for to in ("13600136000", f"{zhang['phone']},{li['phone']}", zhang["last_name"] + "x", ""):
        await proxy.call(f"{proxy.base}/send", urlencode({"to": to, "text": zhang["phone"]}).encode())
        assert dict(parse_qsl(proxy.service.bodies[-1].decode(), keep_blank_values=True)) == {
            "to": to,
            "text": zhang["phone"],
        }
    twice = urlencode([("to", zhang["phone"]), ("to", "13600136000"), ("text", zhang["phone"])]).encode()
    await proxy.call(f"{proxy.base}/send", twice)
    assert ZHANG["phone"].encode() not in proxy.service.bodies[-1]
    await proxy.call(f"{proxy.base}/send", f"<to>{zhang['phone']}</to>".encode(), "application/xml")
    assert ZHANG["phone"].encode() not in proxy.service.bodies[-1]


async def test_what_is_not_listed_is_refused_and_counted(proxy: Proxy) -> None:
    for target, method, host in (
        ("http://evil.example/send", "POST", "evil.example"),
        (f"{proxy.base}/admin", "POST", ""),
        (f"{proxy.base}/sendmore", "POST", ""),
        (f"{proxy.base}/send/../admin", "POST", ""),
        (f"{proxy.base}/send", "GET", ""),
        ("/send", "POST", f"127.0.0.1:{proxy.port}"),
        ("/to/other/send", "POST", f"127.0.0.1:{proxy.port}"),
        ("http://evil.example/send", "POST", f"127.0.0.1:{proxy.service.port}"),
    ):
        status, _ = await proxy.call(target, b"to=1", method=method, host=host)
        assert (target, status in (400, 403)) == (target, True)
    assert proxy.service.heads == []
    assert proxy.room.counted.count("call-not-allowed") >= 6


async def test_connect_is_refused_with_its_reason(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(1000), 5)
    writer.close()
    assert b" 405 " in answer.split(b"\r\n")[0]
    assert b"CONNECT is refused" in answer


async def test_an_answer_that_repeats_the_values_comes_back_without_them(proxy: Proxy) -> None:
    zhang = await proxy.room.person("5", **ZHANG)
    echo = json.dumps({"to": "+86 138-0013-8000", "name": ZHANG["last_name"], "id": "13912345678"}).encode()
    head = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nx-to: 13800138000\r\ncontent-length: %d\r\n\r\n"
    proxy.service.answer = head % len(echo) + echo
    given = urlencode({"to": zhang["phone"], "text": zhang["last_name"]}).encode()
    status, body = await proxy.call(f"{proxy.base}/send", given)
    assert status == 202
    assert json.loads(body) == {"to": zhang["phone"], "name": zhang["last_name"], "id": "13912345678"}


async def test_a_service_that_is_down_or_talks_nonsense_is_502(proxy: Proxy) -> None:
    zhang = await proxy.room.person("5", **ZHANG)
    given = urlencode({"to": zhang["phone"]}).encode()
    for answer in (b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort"):
        proxy.service.answer = answer
        status, body = await proxy.call(f"{proxy.base}/send", given)
        assert (status, ZHANG["phone"].encode() in body) == (502, False)
    assert [entry.status for entry in proxy.room.trail.entries if entry.kind == "outcome"] == [502] * 3


async def test_whatever_fails_nothing_is_sent(proxy: Proxy, room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    given = urlencode({"to": zhang["phone"]}).encode()
    for part in ("vault", "ages", "audit"):
        for way in ("raise", "hang", "nonsense"):
            broken = made(room, *proxy.forward._by_name.values(), **{part: Wayward(way)})
            http = HttpServer(broken, ListenerLimits(), lambda _client, _reason: None)
            other = Proxy(await http.start("127.0.0.1", 0), room, proxy.service, broken)
            status, body = await other.call(f"{proxy.base}/send", given)
            await http.close()
            assert (part, way, status >= 500, ZHANG["phone"].encode() in body) == (part, way, True, False)
    assert proxy.service.heads == []


async def test_broken_bodies_and_codings_are_refused(proxy: Proxy) -> None:
    assert (await proxy.call(f"{proxy.base}/send", b'{"a":', "application/json"))[0] == 400
    assert (await proxy.call(f"{proxy.base}/send", b"x", extra="Content-Encoding: gzip\r\n"))[0] == 415
    assert (await proxy.call(f"{proxy.base}/send", b"x" * 100_001))[0] == 413
    assert proxy.service.heads == []
