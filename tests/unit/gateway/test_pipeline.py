"""The path of a request: the right order, nothing forwarded or shown when any part of it fails."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from audit.entry import AuditEntry
from audit.entry import encode as encode_entry
from gateway import pipeline
from gateway.access.device import Lack
from gateway.access.sessions import DeviceNeeded, NoSession, SessionExpired
from gateway.answer import Answer, UpstreamCutOff, UpstreamDown, UpstreamNonsense, UpstreamSlow
from gateway.body.fault import BodyMalformed
from gateway.collaborators import Limits, Outgoing
from gateway.exchange import Principal
from gateway.headers import TARGET
from gateway.listener import ListenerLimits, make_server
from gateway.network import Allowlist, Network, Tenant
from gateway.origin import Origins
from gateway.refusal import FIELD_NOT_WRITABLE, Refusal
from gateway.upstream import Pool
from gateway.watch import Watch
from kms.store import StoreUnavailable
from policies.decision import Decision, FieldView
from policies.profile import UNMATCHED_WRITE, Action, Operation

SECRET = b"secret-of-the-crm"
ANNA = Principal("u1", "anna", ("sales",), "main", "s1", crm_user="7")
PATIENCE_S = 60.0  # a machine that is busy with other things makes no test fail
LIMITS = Limits(
    body=4096, upload=1 << 30, answer=1 << 20, own_body=1000, collaborator_s=PATIENCE_S, body_pause_s=PATIENCE_S,
    upstream_s=PATIENCE_S,
)  # fmt: skip
HASTY = replace(LIMITS, collaborator_s=0.1, body_pause_s=0.2, upstream_s=0.3)  # for those that hang
HOST = "crm.localhost:8443"
SESSION = (b"cookie", b"__Host-crmgate=tok; sessionid=s; x=1")


def answer(body: bytes = b'{"a":1}', status: int = 200, *fields: tuple[bytes, bytes]) -> Answer:
    made = Answer(None)
    made.status, made.length = status, len(body)
    made.fields = list(fields) or [(b"content-type", b"application/json"), (b"etag", b'"1"')]
    if body:
        made.take(body)
    made.finish()
    return made


class FakePool:
    """Records what is asked; answers with `next`."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes, bytes]] = []
        self.next: Any = lambda: answer(b'{"v":"%b"}' % SECRET)

    async def request(self, method: bytes, head: bytes, body: Any = b"", length: int | None = None) -> Answer:
        if not isinstance(body, bytes):
            body = b"".join([chunk async for chunk in body])
        self.asked.append((method, head, body))
        made = self.next()
        if isinstance(made, Exception):
            raise made
        return made  # type: ignore[no-any-return]


class FakeProfile:
    session_cookies = frozenset({"sessionid"})
    credential_headers: frozenset[str] = frozenset()
    credential_bodies: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    wants_body = False
    operation: Any = Operation("contact.read", "contact", Action.READ, "17")
    bodies: list[bytes | None]
    blank_record = "0"
    polling = None
    credentials: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.bodies = []

    def body_credentials(self, _type: str, _body: bytes) -> tuple[str, ...]:
        return self.credentials

    def needs_body(self, _method: str, _path: str) -> bool:
        return self.wants_body

    def classify(self, method: str, _path: str, _query: str, body: bytes | None, _type: str) -> Any:
        self.bodies.append(body)
        if method != "GET" and self.operation is FakeProfile.operation:
            return replace(self.operation, id="contact.update", action=Action.UPDATE)
        return self.operation


class FakeSessions:
    hit: Any = ANNA
    found: Any = ANNA
    allowed: Any = True
    proof: Any = True

    def cached(self, token: str, _now: datetime, *, tenant: str, active: bool = True) -> Any:
        assert tenant == "main"
        return self.hit if token == "tok" else None

    async def principal(self, token: str, _now: datetime, *, tenant: str, active: bool = True) -> Any:
        if token != "tok":
            raise NoSession
        return self.found

    async def use_device_proof(self, token: str) -> Any:
        assert token == "tok"
        if isinstance(self.proof, Exception):
            raise self.proof
        return self.proof

    async def crm_token_allowed(self, _digest: str, _session: str) -> Any:
        return self.allowed


class FakeEnforcer:
    decision: Any = Decision(True, "granted", FieldView("v1", {}, {}))

    def decide(self, _tenant: str, _roles: tuple[str, ...], _operation: Operation) -> Any:
        return self.decision


class FakeAudit:
    def __init__(self, log: list[str]) -> None:
        self.entries: list[AuditEntry] = []
        self._log = log

    async def append(self, entry: AuditEntry) -> Any:
        encode_entry(entry)
        self.entries.append(entry)
        self._log.append(f"audit:{entry.kind}:{entry.reason}")
        return len(self.entries)


class FakeLearner:
    """Learning that only notes what it was handed; `watched` is set by a test."""

    def __init__(self) -> None:
        self.watched: set[str] = set()
        self.noted: list[tuple[str, int, bytes]] = []
        self.unknown: list[str] = []

    def note(
        self, _exchange: Any, target: str, _type: str, body: bytes | None, status: int, _fields: Any, _a: bytes
    ) -> None:
        self.noted.append((target, status, body or b""))

    def caught(self, exchange: Any, _status: int, _fields: Any, _answer: bytes) -> None:
        self.noted.append((exchange.head.path, 0, b"caught"))

    def refused(self, exchange: Any) -> None:
        self.unknown.append(exchange.head.path)


class FakeGateway:
    """Every collaborator, working; a test breaks the one it is about."""

    def __init__(
        self, pool: Any = None, public: str = f"https://{HOST}", upstream: str = "http://127.0.0.1:18101"
    ) -> None:
        self.log: list[str] = []
        self.pool = pool or FakePool()
        self.profile = FakeProfile()
        self.origins = Origins(public, upstream)
        self.tenants = {self.origins.public_host: Tenant("main", self.origins, self.profile, self.pool, Allowlist())}
        self.network = Network()
        self.enforcer = FakeEnforcer()
        self.sessions = FakeSessions()
        self.audit: Any = FakeAudit(self.log)
        self.watch = Watch(0.02)
        self.learner = FakeLearner()
        self.limits = LIMITS
        self.counted: list[tuple[str, str, str, int]] = []
        self.faults: list[tuple[str, str, str]] = []
        self.given: list[Any] = []
        self._ids = count(1)

    def clock(self) -> datetime:
        return datetime(2026, 11, 1, tzinfo=UTC)

    def new_id(self) -> str:
        return f"x{next(self._ids)}"

    def count_refusal(self, tenant: str, client: str, reason: str, status: int) -> None:
        self.counted.append((tenant, client, reason, status))

    def note_fault(self, exchange: str, stage: str, fault: str) -> None:
        self.faults.append((exchange, stage, fault))

    async def sign_in_app(self, scope: Any, receive: Any, send: Any) -> None:
        self.log.append(f"own:{scope['client'][0]}:{scope['state']['tenant']}")
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"sign"})

    async def protect_request(self, exchange: Any, content_type: str, body: Any) -> Any:
        self.log.append("protect")
        if body is not None and not isinstance(body, bytes):
            body = b"".join([chunk async for chunk in body])
        self.given.append(body)
        return Outgoing(exchange.head.target, None if body is None else body.replace(b"13800138000", b"+88870000001"))

    async def render_answer(self, exchange: Any, status: int, fields: Any, body: bytes) -> Any:
        self.log.append("render")
        exchange.shown[("contact", "phone", "17", "CLEAR")] = 1
        return fields, body


class Reply:
    """What the client got."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def send(self, event: Any) -> None:
        self.events.append(event)

    @property
    def status(self) -> int:
        return int(self.events[0]["status"])

    @property
    def fields(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.events[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(event.get("body", b"") for event in self.events[1:])

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"])


async def call(
    gw: Any,
    method: str = "GET",
    target: str = "/persons/contact/17",
    *fields: tuple[bytes, bytes],
    body: bytes | list[bytes] = b"",
    session: bool = True,
    stall: bool = False,
) -> Reply:
    given = [(b"host", HOST.encode()), *([SESSION] if session else []), *fields]
    parts = [body] if isinstance(body, bytes) else list(body)
    if any(parts) and not any(name == b"transfer-encoding" for name, _ in given):
        given.append((b"content-length", b"%d" % sum(map(len, parts))))
    scope = {"type": "http", "method": method, TARGET: target.encode(), "headers": given, "client": ("203.0.113.9", 1)}

    async def receive() -> Any:
        if stall:
            await asyncio.sleep(9)
        if not parts:
            return {"type": "http.disconnect"}
        chunk = parts.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(parts)}

    reply = Reply()
    await pipeline.handle(gw, scope, receive, reply.send)
    gw.watch.stop()
    return reply


FORM = (b"content-type", b"application/x-www-form-urlencoded")


class TestOrder:
    async def test_a_read_is_recorded_once_before_its_first_byte(self) -> None:
        gw = FakeGateway()
        reply = await call(gw)
        assert (reply.status, reply.body) == (200, b'{"v":"%b"}' % SECRET)
        assert gw.log == ["protect", "render", "audit:outcome:granted"]
        entry = gw.audit.entries[0]
        assert (entry.actor, entry.actor_login, entry.client, entry.operation) == (
            "u1",
            "anna",
            "203.0.113.9",
            "contact.read",
        )
        assert (entry.entity, entry.record, entry.status, entry.policy) == ("contact", "17", 200, "v1")
        assert entry.fields["shown"] == {"contact.phone": {"17": {"clear": 1}}}
        assert reply.fields["cache-control"] == "private, no-store"
        assert "etag" not in reply.fields
        assert reply.fields["content-length"] == str(len(reply.body))

    async def test_a_write_is_recorded_before_it_is_forwarded_and_again_before_it_is_answered(self) -> None:
        gw = FakeGateway()

        def asked() -> Answer:
            gw.log.append("crm")
            return answer()

        gw.pool.next = asked
        reply = await call(gw, "POST", "/x", FORM, body=b"phone=13800138000")
        assert reply.status == 200
        assert gw.log == ["protect", "audit:decision:granted", "crm", "render", "audit:outcome:granted"]
        assert gw.pool.asked[0][2] == b"phone=+88870000001"
        assert b"content-length: 18" in gw.pool.asked[0][1]

    async def test_what_is_a_write_is_said_by_the_profile_first(self) -> None:
        for action, method, entries in (
            (Action.SEARCH, "POST", 1),
            (Action.DELETE, "GET", 2),
            (Action.OTHER, "POST", 2),
            (Action.OTHER, "GET", 1),
            (Action.LOGIN, "POST", 2),
        ):
            gw = FakeGateway()
            gw.profile.operation = Operation("x", "contact", action)
            assert (await call(gw, method, "/x")).status == 200
            assert len(gw.audit.entries) == entries

    async def test_a_spool_is_given_back_whatever_happens(self) -> None:
        class Held:
            length = 3
            closed = 0

            async def chunks(self) -> AsyncIterator[bytes]:
                yield b"abc"

            async def close(self) -> None:
                self.closed += 1

        async def protect(*_: Any) -> Any:
            return Outgoing("/x", held)

        for breaking in (None, "audit", "pool"):
            held, gw = Held(), FakeGateway()
            gw.protect_request = protect  # type: ignore[method-assign]
            if breaking == "audit":
                gw.audit.append = _raise
            if breaking == "pool":
                gw.pool.request = _raise  # type: ignore[method-assign]
            await call(gw, "POST", "/x", FORM, body=b"a=1")
            assert held.closed == 1

    async def test_the_crm_sees_neither_our_cookie_nor_the_public_origin(self) -> None:
        gw = FakeGateway()
        await call(
            gw,
            "POST",
            "/x?next=https%3A%2F%2Fcrm.localhost%3A8443%2Fy",
            FORM,
            (b"origin", b"https://crm.localhost:8443"),
            body=b"next=https://crm.localhost:8443/z",
        )
        _, head, body = gw.pool.asked[0]
        assert b"__Host-crmgate" not in head
        assert b"crm.localhost" not in head
        assert b"cookie: sessionid=s; x=1" in head
        assert body == b"next=http://127.0.0.1:18101/z"

    async def test_upstream_urls_become_public(self) -> None:
        gw = FakeGateway()
        gw.pool.next = lambda: answer(
            b'{"next":"http:\\/\\/127.0.0.1:18101\\/p2"}', 201,
            (b"content-type", b"application/json"), (b"location", b"http://127.0.0.1:18101/persons/contact/18"),
            (b"set-cookie", b"a=1; Domain=127.0.0.1"), (b"set-cookie", b"b=2"),
        )  # fmt: skip
        reply = await call(gw)
        assert reply.fields["location"] == "https://crm.localhost:8443/persons/contact/18"
        assert reply.body == b'{"next":"https:\\/\\/crm.localhost:8443\\/p2"}'
        cookies = [value for name, value in reply.events[0]["headers"] if name == b"set-cookie"]
        assert cookies == [b"a=1; Secure", b"b=2; Secure"]

    async def test_compressed_answers_are_opened(self) -> None:
        gw = FakeGateway()
        gw.pool.next = lambda: answer(
            gzip.compress(b"<p>hi</p>"), 200, (b"content-type", b"text/html"), (b"content-encoding", b"gzip")
        )
        reply = await call(gw)
        assert reply.body == b"<p>hi</p>"
        assert "content-encoding" not in reply.fields

    async def test_the_profile_gets_the_body_only_when_it_needs_it(self) -> None:
        gw = FakeGateway()
        await call(gw, "POST", "/x", FORM, body=b"a=1")
        gw.profile.wants_body = True
        await call(gw, "POST", "/x", FORM, body=b"a=1")
        assert gw.profile.bodies == [None, b"a=1"]
        assert gw.given == [b"a=1", b"a=1"]


class TestOwnPages:
    async def test_they_need_no_session_but_an_allowed_address(self) -> None:
        gw = FakeGateway()
        reply = await call(gw, target="/.crmgate/sign-in?next=/a", session=False)
        assert reply.body == b"sign"
        assert gw.log == ["own:203.0.113.9:main"]
        assert gw.pool.asked == []

    async def test_their_bodies_are_bounded_and_other_sites_cannot_post(self) -> None:
        gw = FakeGateway()
        assert (await call(gw, "POST", "/.crmgate/sign-in", body=b"x" * 2000, session=False)).status == 413
        reply = await call(
            gw, "POST", "/.crmgate/sign-in", (b"origin", b"https://evil.example"), body=b"a", session=False
        )
        assert reply.reason == "cross-site-refused"

    @pytest.mark.parametrize("target", ["/.crmgate", "/.CRMGATE/sign-in", "/%2ecrmgate/sign-in", "/a/.crmgate/"])
    async def test_no_other_spelling_avoids_the_session(self, target: str) -> None:
        gw = FakeGateway()
        reply = await call(gw, target=target, session=False)
        assert reply.status in (400, 401)
        assert gw.log == []


class TestAccess:
    async def test_without_session_nothing_is_asked(self) -> None:
        gw = FakeGateway()
        reply = await call(gw, session=False)
        assert (reply.status, reply.reason) == (401, "sign-in-required")
        assert gw.counted == [("main", "203.0.113.9", "sign-in-required", 401)]
        assert gw.audit.entries == []

    async def test_an_ended_session(self) -> None:
        gw = FakeGateway()
        gw.sessions.hit = None

        async def expired(*_: Any, **__: Any) -> Any:
            raise SessionExpired("idle")

        gw.sessions.principal = expired  # type: ignore[method-assign]
        assert (await call(gw)).reason == "session-ended"
        assert gw.faults == []

    async def test_a_principal_of_another_tenant_is_no_principal(self) -> None:
        gw = FakeGateway()
        gw.sessions.hit = replace(ANNA, tenant="other")
        assert (await call(gw)).status == 500
        assert gw.pool.asked == []

    async def test_an_ended_crm_cookie_is_withheld_and_an_ended_bearer_refused(self) -> None:
        gw = FakeGateway()
        gw.sessions.allowed = False
        assert (await call(gw)).status == 200
        assert b"sessionid" not in gw.pool.asked[0][1]
        reply = await call(gw, "GET", "/x", (b"authorization", b"Bearer t"))
        assert reply.reason == "crm-token-ended"
        assert len(gw.pool.asked) == 1

    @pytest.mark.parametrize(
        ("method", "fields"),
        [
            ("POST", [(b"origin", b"https://evil.example")]),
            ("POST", [(b"origin", b"null")]),
            ("POST", [(b"origin", b"https://console.localhost:8444"), (b"sec-fetch-site", b"same-site")]),
            ("POST", [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate")]),
            ("GET", [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"no-cors")]),
            ("GET", [(b"sec-fetch-site", b"same-site"), (b"sec-fetch-mode", b"cors")]),
        ],
    )
    async def test_other_sites_cannot_act(self, method: str, fields: list[tuple[bytes, bytes]]) -> None:
        gw = FakeGateway()
        assert (await call(gw, method, "/x", *fields)).reason == "cross-site-refused"
        assert gw.pool.asked == []

    async def test_a_link_from_another_site_may_be_followed(self) -> None:
        fields = ((b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate"))
        assert (await call(FakeGateway(), "GET", "/x", *fields)).status == 200

    async def test_an_unknown_host_or_upgrade(self) -> None:
        gw = FakeGateway()
        gw.tenants = {}
        assert (await call(gw)).reason == "host-unknown"
        assert (await call(FakeGateway(), "GET", "/x", (b"upgrade", b"websocket"))).reason == "upgrade-refused"
        with pytest.raises(Refusal):
            await pipeline.handle(gw, {"type": "websocket"}, None, None)  # type: ignore[arg-type]


class TestDecision:
    @pytest.mark.parametrize("reason", ["not-allowed", "write-not-granted"])
    async def test_a_refusal_is_recorded_and_nothing_forwarded(self, reason: str) -> None:
        gw = FakeGateway()
        gw.enforcer.decision = Decision(False, reason, FieldView("v1", {}, {}))
        assert (await call(gw, "POST", "/x", FORM, body=b"a=1")).reason == reason
        assert gw.log == [f"audit:refusal:{reason}"]
        assert gw.pool.asked == []

    async def test_fields_of_a_refusal_are_named(self) -> None:
        gw = FakeGateway()

        async def protect(*_: Any) -> Any:
            raise Refusal(FIELD_NOT_WRITABLE, fields=("phone",))

        gw.protect_request = protect  # type: ignore[method-assign]
        reply = await call(gw, "POST", "/x", FORM, body=b"a=1")
        assert json.loads(reply.body)["fields"] == ["phone"]
        assert gw.audit.entries[0].fields["refused"] == ("phone",)


class TestBodies:
    async def test_limits(self) -> None:
        gw = FakeGateway()
        assert (await call(gw, "POST", "/x", FORM, body=b"x" * 5000)).reason == "body-too-large"
        chunked = (b"transfer-encoding", b"chunked")
        assert (await call(gw, "POST", "/x", FORM, chunked, body=[b"x" * 3000, b"x" * 3000])).reason == "body-too-large"
        gw.profile.wants_body = True
        assert (await call(gw, "POST", "/x", FORM, chunked, body=[b"x" * 3000, b"x" * 3000])).reason == "body-too-large"
        assert gw.pool.asked == []

    async def test_a_body_that_breaks_off_or_stalls(self) -> None:
        gw = FakeGateway()
        reply = await call(gw, "POST", "/x", FORM, (b"content-length", b"9"), body=[])
        assert reply.reason == "body-malformed"
        gw.limits = HASTY
        reply = await call(gw, "POST", "/x", FORM, (b"content-length", b"9"), body=[], stall=True)
        assert reply.reason == "client-slow"
        assert gw.pool.asked == []

    async def test_multipart_comes_as_a_stream(self) -> None:
        gw = FakeGateway()
        kind = (b"content-type", b"multipart/form-data; boundary=b")
        assert (await call(gw, "POST", "/x", kind, body=[b"x" * 3000, b"y" * 3000])).status == 200
        assert gw.given == [b"x" * 3000 + b"y" * 3000]

    async def test_binaries_flow_past_and_text_with_a_binary_type_does_not(self) -> None:
        gw = FakeGateway()
        kind = (b"content-type", b"application/octet-stream")
        assert (await call(gw, "PUT", "/f", kind, body=[b"%PDF-1.7 " + b"\0" * 3000, b"z" * 3000])).status == 200
        assert gw.given == [None]
        assert len(gw.pool.asked[0][2]) == 6009
        assert (await call(gw, "PUT", "/f", kind, body=b"name=13800138000")).status == 200
        assert gw.given[1] == b"name=13800138000"
        assert gw.pool.asked[1][2] == b"name=+88870000001"

    @pytest.mark.parametrize("kind", [FORM, (b"content-type", b"multipart/form-data; boundary=b")])
    @pytest.mark.parametrize("wants", [False, True])
    async def test_a_coding_hides_no_value_and_no_bomb(self, kind: tuple[bytes, bytes], wants: bool) -> None:
        gw = FakeGateway()
        gw.profile.wants_body = wants
        coding = (b"content-encoding", b"gzip")
        reply = await call(gw, "POST", "/x", kind, coding, body=gzip.compress(b"phone=13800138000"))
        assert reply.status == 200
        assert gw.given == [b"phone=13800138000"]
        _, head, body = gw.pool.asked[0]
        assert b"content-encoding" not in head
        assert b"13800138000" not in body
        bomb = gzip.compress(b"x" * 90_000_000)[:4000]
        reason = (await call(gw, "POST", "/x", kind, coding, body=bomb)).reason
        assert reason in ("decompression-limit", "body-malformed")  # streams have a larger limit than this cut bomb
        assert (await call(gw, "POST", "/x", kind, coding, body=b"no gzip")).reason == "body-malformed"
        assert (await call(gw, "POST", "/x", kind, (b"content-encoding", b"xz"), body=b"a")).reason == "body-unreadable"
        assert len(gw.pool.asked) == 1

    async def test_a_body_fault_is_named_by_the_side_it_is_on(self) -> None:
        gw = FakeGateway()

        async def broken(*_: Any) -> Any:
            raise BodyMalformed("json-broken")

        gw.protect_request = broken  # type: ignore[method-assign]
        assert (await call(gw, "POST", "/x", FORM, body=b"{")).reason == "body-malformed"
        gw = FakeGateway()
        gw.render_answer = broken  # type: ignore[method-assign]
        assert (await call(gw)).reason == "crm-answer-unreadable"

    async def test_answers_are_bounded_and_so_are_bombs(self) -> None:
        gw = FakeGateway()
        gw.pool.next = lambda: answer(b"x" * (LIMITS.answer + 1), 200, (b"content-type", b"text/html"))
        assert (await call(gw)).reason == "answer-too-large"
        gw.pool.next = lambda: answer(
            gzip.compress(b"x" * 80_000_000), 200, (b"content-type", b"text/html"), (b"content-encoding", b"gzip")
        )
        assert (await call(gw)).reason == "answer-too-large"


class TestPastStreams:
    PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 9000

    async def test_pictures_flow_past_after_they_are_recorded(self) -> None:
        gw = FakeGateway()
        gw.pool.next = lambda: answer(self.PNG, 200, (b"content-type", b"image/png"), (b"etag", b'"1"'))
        reply = await call(gw)
        assert reply.body == self.PNG
        assert gw.log == ["protect", "audit:outcome:granted"]
        assert reply.fields["content-length"] == str(len(self.PNG))

    async def test_assets_are_not_recorded_one_by_one(self) -> None:
        gw = FakeGateway()
        gw.profile.operation = Operation("static", "", Action.ASSET)
        gw.pool.next = lambda: answer(b"a{}", 200, (b"content-type", b"text/css"), (b"etag", b'"1"'))
        reply = await call(gw)
        assert reply.fields["etag"] == '"1"'
        assert gw.log == ["protect"]

    async def test_a_page_among_assets_is_opened_all_the_same(self) -> None:
        gw = FakeGateway()
        gw.profile.operation = Operation("static", "", Action.ASSET)
        gw.pool.next = lambda: answer(b"<p>x</p>", 200, (b"content-type", b"text/html"))
        await call(gw)
        assert gw.log == ["protect", "render", "audit:outcome:granted"]

    @pytest.mark.parametrize("kind", [b"image/png", b"application/octet-stream", b"font/woff2", b"text/css", b""])
    async def test_text_that_calls_itself_binary_is_opened(self, kind: bytes) -> None:
        gw = FakeGateway()
        gw.pool.next = lambda: answer(b'{"phone":"13800138000"}', 200, (b"content-type", kind))
        await call(gw)
        assert "render" in gw.log

    async def test_binaries_flow_past_only_for_roles_that_see_everything(self) -> None:
        for everything in (False, True):
            gw = FakeGateway()
            gw.enforcer.decision = Decision(True, "granted", FieldView("v1", {}, {}, everything))
            gw.pool.next = lambda: answer(b"%PDF-1.7\0", 200, (b"content-type", b"application/pdf"))
            await call(gw)
            assert ("render" in gw.log) is not everything

    async def test_a_stream_that_breaks_off_is_recorded_and_aborted(self) -> None:
        gw = FakeGateway()

        def breaking() -> Answer:
            made = Answer(None)
            made.status, made.length = 200, 99_999
            made.fields = [(b"content-type", b"image/png")]
            made.take(self.PNG)
            made.fail(UpstreamCutOff("cut"))
            return made

        gw.pool.next = breaking
        with pytest.raises(pipeline.AnswerAborted):
            await call(gw)
        assert gw.log == ["protect", "audit:outcome:granted", "audit:refusal:crm-cut-off"]


async def _raise(*_: Any, **__: Any) -> Any:
    raise ValueError("13800138000")


def _raise_now(*_: Any, **__: Any) -> Any:
    raise ValueError("13800138000")


async def _hang(*_: Any, **__: Any) -> Any:
    await asyncio.sleep(9)


async def _nonsense(*_: Any, **__: Any) -> Any:
    return "yes"


def _nonsense_now(*_: Any, **__: Any) -> Any:
    return "yes"


Break = Callable[[FakeGateway], None]


def _miss(gw: FakeGateway) -> None:
    gw.sessions.hit = None


BREAKAGES: dict[str, Break] = {
    "sessions cache raises": lambda gw: setattr(gw.sessions, "cached", _raise_now),
    "sessions cache nonsense": lambda gw: setattr(gw.sessions, "cached", _nonsense_now),
    "sessions raise": lambda gw: (_miss(gw), setattr(gw.sessions, "principal", _raise))[1],
    "sessions hang": lambda gw: (_miss(gw), setattr(gw.sessions, "principal", _hang))[1],
    "sessions nonsense": lambda gw: (_miss(gw), setattr(gw.sessions, "principal", _nonsense))[1],
    "sessions none": lambda gw: (_miss(gw), setattr(gw.sessions, "found", None))[1],
    "crm tokens raise": lambda gw: setattr(gw.sessions, "crm_token_allowed", _raise),
    "crm tokens hang": lambda gw: setattr(gw.sessions, "crm_token_allowed", _hang),
    "profile needs_body raises": lambda gw: setattr(gw.profile, "needs_body", _raise_now),
    "profile raises": lambda gw: setattr(gw.profile, "classify", _raise_now),
    "profile nonsense": lambda gw: setattr(gw.profile, "classify", _nonsense_now),
    "profile none": lambda gw: setattr(gw.profile, "operation", None),
    "enforcer raises": lambda gw: setattr(gw.enforcer, "decide", _raise_now),
    "enforcer nonsense": lambda gw: setattr(gw.enforcer, "decide", _nonsense_now),
    "enforcer none": lambda gw: setattr(gw.enforcer, "decision", None),
    "enforcer half nonsense": lambda gw: setattr(
        gw.enforcer,
        "decision",
        Decision("yes", "granted", FieldView("v1", {}, {})),  # type: ignore[arg-type]
    ),
    "protect raises": lambda gw: setattr(gw, "protect_request", _raise),
    "protect hangs": lambda gw: setattr(gw, "protect_request", _hang),
    "protect nonsense": lambda gw: setattr(gw, "protect_request", _nonsense),
    "audit raises": lambda gw: setattr(gw.audit, "append", _raise),
    "audit hangs": lambda gw: setattr(gw.audit, "append", _hang),
    "audit nonsense": lambda gw: setattr(gw.audit, "append", _nonsense),
}
LATE: dict[str, Break] = {
    "crm raises": lambda gw: setattr(gw.pool, "request", _raise),
    "crm hangs": lambda gw: setattr(gw.pool, "request", _hang),
    "crm nonsense": lambda gw: setattr(gw.pool, "request", _nonsense),
    "render raises": lambda gw: setattr(gw, "render_answer", _raise),
    "render hangs": lambda gw: setattr(gw, "render_answer", _hang),
    "render nonsense": lambda gw: setattr(gw, "render_answer", _nonsense),
}


class TestFailClosed:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("name", [*BREAKAGES, *LATE])
    async def test_a_collaborator_that_fails_means_refusal(self, name: str, method: str) -> None:
        gw = FakeGateway()
        {**BREAKAGES, **LATE}[name](gw)
        if "hang" in name:
            gw.limits = HASTY
        reply = await call(gw, method, "/x", FORM, body=b"phone=13800138000" if method == "POST" else b"")
        assert reply.status >= 400
        assert SECRET not in reply.body
        assert b"13800138000" not in reply.body
        assert "13800138000" not in str(gw.faults)
        assert gw.faults or name == "enforcer half nonsense"  # that one is an ordinary "no"
        if name in BREAKAGES and not (method == "GET" and name.startswith("audit")):
            assert gw.pool.asked == []
        assert len(reply.events) == 2

    @pytest.mark.parametrize(
        ("fault", "reason", "status"),
        [
            (UpstreamDown("x"), "crm-down", 502),
            (UpstreamSlow("x"), "crm-slow", 504),
            (UpstreamCutOff("x"), "crm-cut-off", 502),
            (UpstreamNonsense("x"), "crm-answer-unreadable", 502),
        ],
    )
    async def test_a_write_whose_outcome_is_unknown_says_so_in_the_trail(
        self, fault: Exception, reason: str, status: int
    ) -> None:
        gw = FakeGateway()
        gw.pool.next = lambda: fault
        reply = await call(gw, "POST", "/x", FORM, body=b"a=1")
        assert (reply.status, reply.reason) == (status, reason)
        assert gw.log == ["protect", "audit:decision:granted", f"audit:outcome:{reason}"]

    async def test_a_known_persons_refusal_that_cannot_be_recorded_is_audit_unavailable(self) -> None:
        gw = FakeGateway()
        gw.audit.append = _raise
        gw.enforcer.decision = Decision(False, "not-allowed", FieldView("v1", {}, {}))
        assert (await call(gw)).reason == "audit-unavailable"

    async def test_a_cancelled_exchange_stays_cancelled(self) -> None:
        gw = FakeGateway()
        hung = asyncio.Event()

        async def hang(*_: Any) -> Any:
            hung.set()
            await asyncio.Event().wait()

        gw.protect_request = hang  # type: ignore[method-assign]
        task = asyncio.create_task(call(gw))
        await hung.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gw.watch.stop()


# Real sockets


class RawCrm(asyncio.Protocol):
    """Keeps every byte it was sent; answers each head with what `play` says."""

    received = bytearray()
    play: Callable[["RawCrm"], None]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.play()


@contextlib.asynccontextmanager
async def chain(play: Callable[[RawCrm], None]) -> AsyncIterator[tuple[int, FakeGateway, bytearray]]:
    loop = asyncio.get_running_loop()
    received = bytearray()
    kind = type("Crm", (RawCrm,), {"play": play, "received": received})
    upstream = await loop.create_server(kind, "127.0.0.1", 0)
    inner = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    pool = Pool(inner)
    gw: Any = FakeGateway(pool, upstream=inner)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await pipeline.handle(gw, scope, receive, send)

    server = make_server(app, "127.0.0.1", 0, limits=ListenerLimits(), count=lambda *_: None)
    server.config.load()
    listening = await loop.create_server(
        lambda: server.config.http_protocol_class(  # type: ignore[call-arg]
            config=server.config, server_state=server.server_state, app_state={}
        ),
        "127.0.0.1",
        0,
    )
    try:
        yield listening.sockets[0].getsockname()[1], gw, received
    finally:
        listening.close()
        upstream.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await pool.close()
        gw.watch.stop()
        await asyncio.sleep(0.02)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


HEAD = b"Host: crm.localhost:8443\r\nCookie: __Host-crmgate=tok\r\n"
GIGANTIC = 200 * 1024 * 1024


class TestSockets:
    AMBIGUOUS = (
        b"POST /x HTTP/1.1\r\n" + HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\n" + HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET /x HTTP/1.1\r\n" + HEAD + b"X: a\n\r\n",
        b"GET /x HTTP/1.1\r\n" + HEAD + b"Host: crm.localhost:8443\r\n\r\n",
        b"GET https://evil.example/x HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /a/%2e%2e/b HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /a%2fb HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /a%252fb HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /a//b HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /a\\b HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /a#b HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /x HTTP/1.1\r\n" + HEAD + b"Cookie: __Host-crmgate=tok\r\n\r\n",
        b"TRACE /x HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /x HTTP/1.1\r\n" + HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: crm.localhost:8443@evil\r\nCookie: __Host-crmgate=tok\r\n\r\n",
        b"POST /x HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab\r\n0\r\n\r\n",
    )

    @pytest.mark.parametrize("data", AMBIGUOUS)
    async def test_the_crm_never_sees_a_request_with_two_readings(self, data: bytes) -> None:
        async with chain(lambda crm: crm.transport.write(b"HTTP/1.1 204 No\r\n\r\n")) as (port, _, received):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            out = await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
            assert b"HTTP/1.1 4" in out or out == b""
            assert bytes(received) == b""

    async def test_the_crm_sees_one_canonical_head(self) -> None:
        def play(crm: RawCrm) -> None:
            crm.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<p>hi")

        async with chain(play) as (port, gw, received):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /x?q=1 HTTP/1.1\r\n" + HEAD + b"X_Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n"
                b"Connection: keep-alive, X-Gone\r\nX-Gone: 1\r\nX-Kept: 1\r\nForwarded: for=1\r\n"
                b"Remote_User: root\r\n\r\n"
            )
            out = await asyncio.wait_for(reader.readuntil(b"<p>hi"), PATIENCE_S)
            writer.close()
            assert out.startswith(b"HTTP/1.1 200 OK\r\n")
            upstream_host = gw.origins.upstream_host.encode()
            expected = (
                b"GET /x?q=1 HTTP/1.1\r\nhost: %b\r\nx-kept: 1\r\naccept-encoding: identity\r\n\r\n" % upstream_host
            )
            assert bytes(received) == expected

    async def test_a_large_download_flows_in_bounded_memory(self) -> None:
        block = b"\x89PNG\r\n\x1a\n" + b"\0" * (1 << 18)

        def play(crm: RawCrm) -> None:
            crm.transport.set_write_buffer_limits(high=1 << 18)
            crm.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % GIGANTIC)
            pump(crm, 0)

        def pump(crm: RawCrm, sent: int) -> None:
            while sent < GIGANTIC and crm.transport.get_write_buffer_size() < (1 << 20):
                part = block[: GIGANTIC - sent]
                crm.transport.write(part)
                sent += len(part)
            if sent < GIGANTIC:
                asyncio.get_running_loop().call_later(0.001, pump, crm, sent)

        async with chain(play) as (port, _, _received):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /x HTTP/1.1\r\n" + HEAD + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            before, got, most = resident(), 0, 0
            while got < GIGANTIC:
                got += len(await asyncio.wait_for(reader.read(1 << 18), PATIENCE_S))
                if got % 17 == 0:
                    most = max(most, resident())
            writer.close()
            assert got == GIGANTIC
            assert max(most, resident()) - before < 32 * 1024 * 1024

    async def test_a_large_upload_flows_in_bounded_memory(self) -> None:
        taken = 0

        def play(crm: RawCrm) -> None:
            nonlocal taken
            taken += len(crm.received)
            if b"\r\n\r\n" in crm.received[:4096]:
                taken -= crm.received.index(b"\r\n\r\n") + 4
            crm.received.clear()
            if taken >= GIGANTIC:
                crm.transport.write(b"HTTP/1.1 204 No\r\n\r\n")

        async with chain(play) as (port, gw, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"PUT /x HTTP/1.1\r\n" + HEAD
                + b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % GIGANTIC
            )  # fmt: skip
            block = b"\x89PNG\r\n\x1a\n" + b"\0" * ((1 << 18) - 8)
            before, most = resident(), 0
            for turn in range(GIGANTIC // len(block)):
                writer.write(block)
                await writer.drain()
                if turn % 50 == 0:
                    most = max(most, resident())
            assert b"HTTP/1.1 204" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            writer.close()
            assert taken == GIGANTIC
            assert gw.given == [None]
            assert max(most, resident()) - before < 32 * 1024 * 1024
            assert [entry.kind for entry in gw.audit.entries] == ["decision", "outcome"]

    async def test_a_client_that_leaves_ends_the_download_at_the_crm(self) -> None:
        lost = asyncio.get_running_loop().create_future()

        def play(crm: RawCrm) -> None:
            crm.connection_lost = lambda _exc: lost.done() or lost.set_result(True)  # type: ignore[method-assign]
            crm.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % GIGANTIC)
            crm.transport.write(b"\x89PNG\r\n\x1a\n" + b"\0" * 20_000_000)

        async with chain(play) as (port, gw, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /x HTTP/1.1\r\n" + HEAD + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            await asyncio.wait_for(lost, PATIENCE_S)
            async with asyncio.timeout(PATIENCE_S):
                while len(gw.audit.entries) < 2:
                    await asyncio.sleep(0.01)
            assert [(entry.kind, entry.reason) for entry in gw.audit.entries] == [
                ("outcome", "granted"),
                ("refusal", "client-gone"),
            ]
            assert gw.faults == []

    async def test_a_crm_that_is_cut_off_mid_body_gives_a_refusal_not_half_a_page(self) -> None:
        def play(crm: RawCrm) -> None:
            crm.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\n<p>" + SECRET)
            crm.transport.close()

        async with chain(play) as (port, _, _received):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /x HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n")
            out = await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
            assert out.startswith(b"HTTP/1.1 502 ")
            assert SECRET not in out


class TestLearning:
    async def test_nothing_is_handed_over_while_nobody_is_watched(self) -> None:
        gw = FakeGateway()
        await call(gw)
        assert gw.learner.noted == []

    async def test_a_watched_exchange_is_handed_over_after_its_answer_as_the_crm_saw_it(self) -> None:
        gw = FakeGateway()
        gw.learner.watched = {"main"}
        reply = await call(gw, "POST", "/x", FORM, body=b"phone=13800138000")
        assert reply.status == 200
        assert [(status, body) for _, status, body in gw.learner.noted] == [(200, b"phone=+88870000001")]

    async def test_a_write_that_nothing_describes_is_told_and_stays_refused(self) -> None:
        gw = FakeGateway()
        gw.profile.operation = UNMATCHED_WRITE
        gw.enforcer.decision = Decision(False, "write-not-granted", FieldView("v1", {}, {}))
        reply = await call(gw, "POST", "/newmodule/x", FORM, body=b"a=1")
        assert reply.status == 403
        assert gw.learner.unknown == ["/newmodule/x"]

    async def test_a_refused_exchange_is_not_handed_over(self) -> None:
        gw = FakeGateway()
        gw.learner.watched = {"main"}
        gw.audit.append = _raise
        await call(gw, "POST", "/x", FORM, body=b"a=1")
        assert gw.learner.noted == []


class TestDevices:
    @staticmethod
    def exporting() -> FakeGateway:
        gw = FakeGateway()
        gw.enforcer.decision = Decision(True, "granted", FieldView("v1", {}, {}), proof=True)
        gw.sessions.hit = replace(ANNA, proved_at=gw.clock())
        return gw

    async def test_an_export_that_needs_a_proof_uses_up_one_of_the_device(self) -> None:
        gw = self.exporting()
        assert (await call(gw)).status == 200
        gw.sessions.proof = False
        reply = await call(gw)
        assert (reply.status, reply.reason) == (401, "device-proof-needed")
        assert gw.audit.entries[-1].reason == "device-proof-needed"
        assert len(gw.pool.asked) == 1

    @pytest.mark.parametrize("nonsense", [None, 1, "yes", StoreUnavailable("away"), OSError("x")])
    async def test_where_nobody_can_say_whether_it_was_proved_it_is_refused(self, nonsense) -> None:
        gw = self.exporting()
        gw.sessions.proof = nonsense
        assert (await call(gw)).status >= 400
        assert gw.pool.asked == []

    async def test_what_needs_no_proof_asks_for_none(self) -> None:
        gw = FakeGateway()
        gw.sessions.proof = AssertionError("asked")
        assert (await call(gw)).status == 200

    @staticmethod
    def unproved() -> FakeGateway:
        gw = FakeGateway()

        async def stale(*_given: Any, **_named: Any) -> Any:
            raise DeviceNeeded(ANNA, Lack.NO_PROOF)

        gw.sessions.hit, gw.sessions.principal = None, stale  # type: ignore[method-assign]
        return gw

    SHOWN = (
        FORM,
        (b"sec-fetch-dest", b"document"),
        (b"sec-fetch-mode", b"navigate"),
        (b"sec-fetch-site", b"same-origin"),
    )

    async def test_a_form_is_handed_back_to_be_sent_again(self) -> None:
        gw = self.unproved()
        reply = await call(gw, "POST", "/persons/contact/add", *self.SHOWN, body=b"a=b")
        assert (reply.status, reply.body) == (200, b"sign")
        assert gw.log == ["own:203.0.113.9:main"]
        assert gw.pool.asked == []

    @pytest.mark.parametrize(
        ("method", "fields", "body"),
        [
            ("POST", (FORM, (b"sec-fetch-dest", b"empty"), (b"sec-fetch-mode", b"cors")), b"a=b"),
            ("PUT", SHOWN, b"a=b"),
            ("POST", ((b"content-type", b"application/json"), *SHOWN[1:]), b"{}"),
            ("POST", SHOWN, b"a" * 100_000),
            ("GET", (), b""),
        ],
    )
    async def test_anything_else_is_refused_and_nothing_reaches_the_crm(self, method, fields, body) -> None:
        gw = self.unproved()
        reply = await call(gw, method, "/persons/contact/add", *fields, body=body)
        assert reply.status == 401
        assert b"device-needed" in reply.body
        assert gw.pool.asked == []

    async def test_a_form_of_another_site_is_not_handed_back(self) -> None:
        gw = self.unproved()
        evil = (*self.SHOWN[:-1], (b"sec-fetch-site", b"cross-site"), (b"origin", b"https://evil.example"))
        reply = await call(gw, "POST", "/persons/contact/add", *evil, body=b"a=b")
        assert reply.status == 403
        assert gw.log == []

    async def test_where_the_page_fails_the_form_is_refused(self) -> None:
        gw = self.unproved()

        async def broken(*_given: Any) -> None:
            raise OSError("broken")

        gw.sign_in_app = broken  # type: ignore[method-assign]
        reply = await call(gw, "POST", "/persons/contact/add", *self.SHOWN, body=b"a=b")
        assert reply.status == 401
        assert gw.faults[-1][2] == "OSError"
