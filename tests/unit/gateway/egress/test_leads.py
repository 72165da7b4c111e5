"""Forms of the web site: the CRM gets surrogates bound to the record it makes, the visitor hears nothing of the CRM."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from gateway.accounts import utc_now
from gateway.egress.http_server import HttpServer
from gateway.egress.leads import Lead, Leads
from gateway.listener import ListenerLimits
from gateway.network import Allowlist
from gateway.upstream import Pool, Timeouts
from kms.tokens import Origin
from tests.unit.gateway.egress.mailroom import HASTE_S, PATIENCE_S, Mailroom, Wayward, values_of
from tests.unit.gateway.glue import PERSON, TENANT

TAKEN = b"HTTP/1.1 302 Found\r\nlocation: /persons/contact/77\r\ncontent-length: 0\r\n\r\n"
SENSITIVE = [value for name, value in PERSON.items() if name != "user"]


@dataclass
class FakeCrm:
    """Keeps what it was posted; answers as told."""

    answer: bytes = TAKEN
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        self.bodies.append(await reader.readexactly(length))
        self.heads.append(head)
        writer.write(self.answer)
        writer.close()


@dataclass
class Site:
    """The way in, as the web site sees it."""

    port: int
    crm: FakeCrm
    room: Mailroom
    made: Any

    async def post(
        self,
        body: bytes,
        path: str = "/contact",
        method: str = "POST",
        content_type: str = "application/x-www-form-urlencoded",
    ) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: forms\r\nConnection: close\r\nCookie: a=b\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1]), answer


@pytest.fixture
async def site(room: Mailroom) -> AsyncIterator[Site]:
    crm = FakeCrm()
    server = await asyncio.start_server(crm.take, "127.0.0.1", 0)
    pool = Pool(
        f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeouts=Timeouts(connect=60, read=60, idle=1)
    )

    def made(**changed: Any) -> Leads:
        parts: dict[str, Any] = {
            "inward": room.glue.inward,
            "binding": room.glue.binding,
            "audit": room.trail,
        } | changed
        return Leads(
            TENANT,
            {"/contact": Lead("/persons/contact/add", "Token secret"), "/bad": Lead("/persons/contact/edit/5")},
            parts["inward"],
            parts["binding"],
            lambda: room.glue.profile,
            pool,
            "crm.internal",
            parts["audit"],
            allowlist=Allowlist(),
            size=20_000,
            clock=utc_now,
            new_id=room.new_id,
            count=lambda _client, reason: room.counted.append(reason),
            collaborator_s=HASTE_S if changed else PATIENCE_S,
        )

    http = HttpServer(made(), ListenerLimits(), lambda _client, _reason: None)
    yield Site(await http.start("127.0.0.1", 0), crm, room, made)
    await http.close()
    await pool.close()
    server.close()


async def test_a_form_reaches_the_crm_as_surrogates_bound_to_its_record(site: Site) -> None:
    status, answer = await site.post(urlencode(PERSON).encode())
    assert status == 202
    assert b"77" not in answer.partition(b"\r\n\r\n")[2]
    held = dict(parse_qsl(site.crm.bodies[0].decode()))
    assert site.crm.heads[0].startswith(b"POST /persons/contact/add HTTP/1.1\r\nhost: crm.internal\r\n")
    assert b"authorization: Token secret" in site.crm.heads[0]
    assert b"cookie" not in site.crm.heads[0].lower()
    for value in SENSITIVE:
        assert value not in site.crm.bodies[0].decode() + str(held)
    entry = await site.room.glue.entry(held["phone"])
    assert (entry.clear, entry.origins) == (PERSON["phone"], (Origin("contact", "phone", "77"),))
    assert [one.kind for one in site.room.trail.entries] == ["decision", "outcome"]
    assert not any(value in values_of(site.room.trail.entries) for value in SENSITIVE)


async def test_a_surrogate_in_a_form_gets_no_origin_and_opens_nothing(site: Site) -> None:
    held = await site.room.person("5", phone="13800138000", email="zhang@example.com")
    before = (await site.room.glue.entry(held["phone"])).origins
    await site.post(urlencode({**PERSON, "phone": held["phone"], "email": "eve@evil.example"}).encode())
    assert dict(parse_qsl(site.crm.bodies[0].decode()))["phone"] == held["phone"]
    assert (await site.room.glue.entry(held["phone"])).origins == before


async def test_what_is_no_listed_creation_is_refused(site: Site) -> None:
    body = urlencode(PERSON).encode()
    for path, method in (("/other", "POST"), ("/contact", "GET"), ("/contact?x=1", "POST"), ("/bad", "POST")):
        assert (path, (await site.post(body, path, method))[0]) == (path, 403)
    assert (await site.post(b"x" * 20_001))[0] == 413
    assert (await site.post(b'{"a":', content_type="application/json"))[0] == 400
    assert (await site.post(urlencode({**PERSON, "last_name": "a\nb"}).encode()))[0] == 422
    assert site.crm.heads == []


async def test_a_crm_that_does_not_take_it_or_is_down_is_told(site: Site) -> None:
    for answer, code in (
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nerror", 422),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", 422),
        (b"", 502),
        (b"nonsense\r\n\r\n", 502),
    ):
        site.crm.answer = answer
        status, said = await site.post(urlencode(PERSON).encode())
        assert (answer, status) == (answer, code)
        assert not any(value.encode() in said for value in SENSITIVE)


async def test_whatever_fails_nothing_reaches_the_crm(site: Site) -> None:
    for part in ("inward", "audit"):
        for way in ("raise", "hang", "nonsense"):
            http = HttpServer(site.made(**{part: Wayward(way)}), ListenerLimits(), lambda _client, _reason: None)
            other = Site(await http.start("127.0.0.1", 0), site.crm, site.room, site.made)
            status, said = await other.post(urlencode(PERSON).encode())
            await http.close()
            assert (part, way, status >= 500) == (part, way, True)
            assert json.loads(said.partition(b"\r\n\r\n")[2])["status"] == status
    assert site.crm.heads == []
