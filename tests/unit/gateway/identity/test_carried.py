"""Sessions carried for people: one sign-in at a time, one try, nothing without the trail, the keys and the store."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from audit.log import AuditUnavailable
from gateway.answer import Answer, UpstreamDown
from gateway.exchange import Exchange, Head, Principal
from gateway.identity.carried import CarriedSessions
from gateway.identity.events import IdentityTrail
from gateway.identity.store import LoginRow
from gateway.installation import Installation
from gateway.refusal import Refusal
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable
from policies.operation import Action, Operation
from policies.profile import load_profile
from tests.unit.gateway.glue import NOW

WANG = Principal("u-1", "wang", ("manager",), "main", "s-1")
RIGHT = b'{"id":1,"result":[7,"key",null]}'


def answer(status: int, body: bytes = b"", *fields: tuple[bytes, bytes]) -> Answer:
    made = Answer(None)
    made.status, made.length, made.fields = status, len(body), list(fields)
    if body:
        made.take(body)
    made.finish()
    return made


@dataclass
class Site:
    """A CRM that speaks Tryton's calls, and everything around it, in memory."""

    says: Callable[[], Answer | Exception] = lambda: answer(200, RIGHT)
    asked: list[bytes] = field(default_factory=list)
    row: LoginRow | None = field(default_factory=lambda: LoginRow("u-1", "wang.crm", b"sealed", NOW))
    now: datetime = NOW
    noted: list[str] = field(default_factory=list)
    known: list[tuple[str, str, str]] = field(default_factory=list)
    trail_fault: str = ""
    keys_fault: bool = False
    origin: str = "http://10.0.0.5"

    async def request(self, _method: bytes, _head: bytes, body: bytes = b"") -> Answer:
        self.asked.append(body)
        await asyncio.sleep(0)
        said = self.says()
        if isinstance(said, Exception):
            raise said
        return said

    async def append(self, entry: Any) -> int:
        if entry.reason == self.trail_fault:
            raise AuditUnavailable
        self.noted.append(entry.reason)
        return len(self.noted)

    async def secret(self, _tenant: str, _row: LoginRow) -> str:
        if self.keys_fault:
            raise KeysUnavailable("away", "the keys are away")
        return "pass-word"

    async def note_refused(self, _tenant: str, row: LoginRow, at: datetime | None) -> None:
        assert self.row is not None
        self.row = LoginRow(row.holder, row.login, row.blob, row.set_at, at)

    async def note_crm_identity(self, session: str, login: str, user: str) -> None:
        self.known.append((session, login, user))

    async def logins_row(self, _tenant: str, _holder: str) -> LoginRow | None:
        return self.row

    def sessions(self) -> CarriedSessions:
        logins: Any = SimpleNamespace(row=self.logins_row, secret=self.secret, note_refused=self.note_refused)
        sessions: Any = SimpleNamespace(
            note_crm_identity=self.note_crm_identity, timeouts=SimpleNamespace(idle=timedelta(minutes=30))
        )
        trail = IdentityTrail(self, lambda: self.now, lambda: "a-1")  # type: ignore[arg-type]
        return CarriedSessions(
            "main",
            Installation(load_profile("tryton")),
            self,  # type: ignore[arg-type]
            logins,
            sessions,
            trail,
            lambda: self.now,
            "crm",
            timedelta(minutes=15),
        )

    def logged_in(self) -> int:
        return sum(b"common.db.login" in body for body in self.asked)


def exchange(principal: Principal = WANG, action: Action = Action.READ) -> Exchange:
    made = Exchange("x-1", NOW, Head("POST", "/crm/rpc/", "/crm/rpc/", "", "h", (), False, None), "main", "127.0.0.1")
    made.principal, made.operation = principal, Operation("party.read", "party", action)
    return made


async def borne(sessions: CarriedSessions, one: Exchange) -> str:
    await sessions.bear(one)
    assert one.bearing is not None
    return one.bearing.lines


async def refused(sessions: CarriedSessions, one: Exchange | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        await sessions.bear(one or exchange())
    return caught.value.reason.id


async def test_many_requests_at_once_sign_in_once() -> None:
    site = Site()
    sessions = site.sessions()
    lines = await asyncio.gather(*(borne(sessions, exchange()) for _ in range(20)))
    assert site.logged_in() == 1
    assert len(set(lines)) == 1
    assert site.noted == ["crm-signing-in", "crm-signed-in"]
    assert site.known == [("s-1", "wang.crm", "7")]


async def test_the_exchange_knows_whom_the_crm_takes_it_for() -> None:
    one = exchange()
    await Site().sessions().bear(one)
    assert one.principal is not None
    assert (one.principal.crm_login, one.crm_user) == ("wang.crm", "7")


async def test_a_refused_password_is_tried_once_and_again_after_the_wait_only() -> None:
    site = Site(says=lambda: answer(401))
    sessions = site.sessions()
    for _ in range(10):
        assert await refused(sessions) == "crm-login-refused"
    assert site.logged_in() == 1
    assert site.noted == ["crm-signing-in", "crm-login-refused"]
    site.now += timedelta(minutes=14)
    assert await refused(sessions) == "crm-login-refused"
    assert site.logged_in() == 1
    site.now += timedelta(minutes=2)
    assert await refused(sessions) == "crm-login-refused"
    assert site.logged_in() == 2


async def test_at_once_many_try_a_wrong_password_once() -> None:
    site = Site(says=lambda: answer(401))
    sessions = site.sessions()
    assert await asyncio.gather(*(refused(sessions) for _ in range(10))) == ["crm-login-refused"] * 10
    assert site.logged_in() == 1


async def test_a_new_password_is_tried_at_once() -> None:
    site = Site(says=lambda: answer(401))
    sessions = site.sessions()
    await refused(sessions)
    site.row = LoginRow("u-1", "wang.crm", b"new", NOW + timedelta(seconds=1))
    site.says = lambda: answer(200, RIGHT)
    assert await borne(sessions, exchange())


@pytest.mark.parametrize("said", [answer(200, b"<html>"), answer(500), answer(302)])
async def test_nonsense_is_refused_and_the_crm_left_alone_for_a_while(said: Answer) -> None:
    site = Site(says=lambda: said)
    sessions = site.sessions()
    assert await refused(sessions) == "crm-sign-in-unreadable"
    assert await refused(sessions) == "crm-sign-in-unreadable"
    assert site.logged_in() == 1


async def test_a_crm_that_is_down_is_told_as_such() -> None:
    site = Site(says=lambda: UpstreamDown("gone"))
    assert await refused(site.sessions()) == "crm-down"
    assert site.noted == ["crm-signing-in", "crm-down"]


async def test_without_keys_nothing_is_sent() -> None:
    site = Site(keys_fault=True)
    with pytest.raises(KeysUnavailable):
        await site.sessions().bear(exchange())
    assert site.asked == []


@pytest.mark.parametrize(("fault", "sent"), [("crm-signing-in", 0), ("crm-signed-in", 1)])
async def test_without_the_trail_no_session_is_used(fault: str, sent: int) -> None:
    site = Site(trail_fault=fault)
    one = exchange()
    with pytest.raises(AuditUnavailable):
        await site.sessions().bear(one)
    assert len(site.asked) == sent
    assert one.bearing is None


async def test_nobody_without_a_stored_login_is_signed_in() -> None:
    site = Site(row=None)
    assert await refused(site.sessions()) == "crm-login-missing"
    site.row = LoginRow("u-1", "wang.crm", None, NOW)
    assert await refused(site.sessions()) == "crm-login-missing"
    assert site.asked == []


async def test_the_crm_s_own_sign_in_is_closed() -> None:
    site = Site()
    assert await refused(site.sessions(), exchange(action=Action.LOGIN)) == "crm-sign-in-here"
    assert site.asked == []


async def test_an_ended_session_is_renewed_once_for_all_who_wait() -> None:
    site = Site()
    sessions = site.sessions()
    ones = [exchange() for _ in range(5)]
    for one in ones:
        await sessions.bear(one)
    site.says = lambda: answer(200, b'{"id":1,"result":[7,"second",null]}')

    async def again() -> Answer:
        return answer(200, b"{}")

    done = await asyncio.gather(*(sessions.settle(one, answer(401), again) for one in ones))
    assert {one.status for one in done} == {200}
    assert site.logged_in() == 2
    assert len({one.bearing.lines for one in ones if one.bearing is not None}) == 1


async def test_a_session_that_ends_again_at_once_is_refused_and_the_crm_left_alone() -> None:
    site = Site()
    sessions = site.sessions()
    one = exchange()
    await sessions.bear(one)

    async def again() -> Answer:
        return answer(401)

    with pytest.raises(Refusal, match="crm-sign-in-unreadable"):
        await sessions.settle(one, answer(401), again)
    assert await refused(sessions) == "crm-sign-in-unreadable"
    assert site.logged_in() == 2


async def test_what_cannot_be_sent_again_is_told_so() -> None:
    site = Site()
    sessions = site.sessions()
    one = exchange()
    await sessions.bear(one)
    with pytest.raises(Refusal, match="crm-session-lost"):
        await sessions.settle(one, answer(401), None)
    assert await borne(sessions, exchange())
    assert site.logged_in() == 2


async def test_the_browser_gets_no_cookie_of_the_session() -> None:
    site = Site()
    sessions = site.sessions()
    one = exchange()
    await sessions.bear(one)
    given = answer(200, b"{}", (b"set-cookie", b"tryton_session=x; Path=/"), (b"set-cookie", b"theme=dark"))
    done = await sessions.settle(one, given, None)
    assert done.fields == [(b"set-cookie", b"theme=dark")]


async def test_another_login_of_the_person_ends_the_session_of_before() -> None:
    site = Site()
    sessions = site.sessions()
    await sessions.bear(exchange())
    site.row = LoginRow("u-1", "chen.crm", b"sealed", NOW + timedelta(seconds=1))
    known = Principal("u-1", "wang", ("manager",), "main", "s-1", crm_user="7", crm_login="chen.crm")
    site.says = lambda: answer(200, b'{"id":1,"result":[8,"k",null]}')
    one = exchange(known)
    await sessions.bear(one)
    assert any(b"common.db.logout" in body for body in site.asked)
    assert one.principal is not None
    assert one.principal.crm_login == "chen.crm"


async def test_rights_of_another_login_are_not_taken_over() -> None:
    before = Principal("u-1", "wang", ("manager",), "main", "s-1", crm_user="99", crm_login="chen.crm")
    one = exchange(before)
    await Site().sessions().bear(one)
    assert (one.crm_user, one.principal.crm_login if one.principal else "") == ("7", "wang.crm")


async def test_leaving_ends_it_at_the_crm_and_a_crm_that_is_away_stops_nobody() -> None:
    site = Site()
    sessions = site.sessions()
    await sessions.bear(exchange())
    site.says = lambda: UpstreamDown("gone")
    await sessions.leave(WANG)
    assert site.noted[-1] == "crm-sign-out-failed"
    await sessions.leave(WANG)
    assert site.noted[-1] == "crm-sign-out-failed"
    assert sum(b"common.db.logout" in body for body in site.asked) == 1


async def test_what_nobody_used_is_ended() -> None:
    site = Site()
    sessions = site.sessions()
    await sessions.bear(exchange())
    await sessions.sweep(site.now + timedelta(minutes=29))
    assert not any(b"logout" in body for body in site.asked)
    await sessions.sweep(site.now + timedelta(minutes=31))
    assert site.noted[-1] == "crm-signed-out"


async def test_an_end_that_the_trail_does_not_take_is_made_again() -> None:
    site = Site()
    sessions = site.sessions()
    await sessions.bear(exchange())
    site.trail_fault = "crm-signed-out"
    with pytest.raises(StoreUnavailable):
        await sessions.sweep(site.now + timedelta(minutes=31))
    site.trail_fault = ""
    await sessions.sweep(site.now + timedelta(minutes=31))
    assert site.noted[-1] == "crm-signed-out"


def test_secrets_are_in_no_text() -> None:
    row = LoginRow("u-1", "wang", secrets.token_bytes(4), NOW)
    assert "blob" not in repr(row)
