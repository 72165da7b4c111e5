"""A session is opened and used only from where and when its person may be: on real PostgreSQL, two nodes."""

import secrets
from datetime import timedelta
from ipaddress import ip_network

import pytest

from gateway.access.gate import Gate, NotAdmitted
from gateway.access.link_store import LinkStore
from gateway.access.passwords import Passwords, PasswordWrong
from gateway.access.place_store import PlaceStore
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from gateway.access.sign_in import Attempt, SignIn
from gateway.access.throttle_store import ThrottleStore
from gateway.access.totp import CodeWrong
from gateway.entry_config import EntrySettings, RoleEntrySettings, entry_of
from tests.unit.gateway.access.world import CHEAP, Access, Clock, Enrolled, FakeSealer

OFFICE, HOME = "203.0.113.9", "198.51.100.7"


@pytest.fixture
def store(pool) -> PlaceStore:
    return PlaceStore(pool)


@pytest.fixture
def gate(store: PlaceStore) -> Gate:
    sales = RoleEntrySettings(networks=(ip_network("203.0.113.0/24"),))
    entry = entry_of(EntrySettings(("08:00-12:00",), "UTC", {"sales": sales}))
    assert entry is not None
    return Gate(store, {"t1": entry})


@pytest.fixture
def sign_in(pool, access: Access, clock: Clock, gate: Gate) -> SignIn:
    common = {"passwords": Passwords(CHEAP), "sealer": FakeSealer(), "clock": clock, "randomness": secrets.token_bytes}
    return SignIn(
        access.store,
        access.sessions,
        ThrottleStore(pool),
        gate=gate,
        links=LinkStore(pool),
        **common,  # type: ignore[arg-type]
    )


async def outcome_of(attempt) -> Exception:
    with pytest.raises(Attempt) as caught:
        await attempt
    return caught.value.outcome


async def reason_of(attempt) -> str:
    outcome = await outcome_of(attempt)
    assert isinstance(outcome, NotAdmitted)
    return outcome.reason.id


async def test_both_factors_open_nothing_from_elsewhere(sign_in: SignIn, access: Access, li: Enrolled) -> None:
    half = await sign_in.password_step("t1", "li.wei", li.password, HOME)
    code = access.code(li.secret)
    assert await reason_of(sign_in.code_step("t1", half.token, code, HOME)) == "place-not-allowed"
    assert await access.sessions.list("t1", access.clock()) == []


async def test_nothing_of_the_place_is_told_before_both_factors_are_right(
    sign_in: SignIn, access: Access, li: Enrolled
) -> None:
    assert type(await outcome_of(sign_in.password_step("t1", "li.wei", "wrong", HOME))) is PasswordWrong
    assert type(await outcome_of(sign_in.password_step("t1", "nobody", "wrong", HOME))) is PasswordWrong
    half = await sign_in.password_step("t1", "li.wei", li.password, HOME)
    assert type(await outcome_of(sign_in.code_step("t1", half.token, "000000x", HOME))) is CodeWrong


async def test_from_the_office_within_the_hours_it_opens(sign_in: SignIn, access: Access, li: Enrolled) -> None:
    assert (await sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), OFFICE)).token


async def test_outside_the_hours_it_opens_the_console_only(
    sign_in: SignIn, access: Access, clock: Clock, li: Enrolled
) -> None:
    clock.advance(hours=3)  # twelve, when the window has closed
    code = access.code(li.secret)
    assert await reason_of(sign_in.at_once("t1", "li.wei", li.password, code, OFFICE)) == "hour-not-allowed"
    code = access.code(li.secret, 1)
    done = await sign_in.at_once("t1", "li.wei", li.password, code, OFFICE, audience=AUDIENCE_CONSOLE)
    assert done.token


async def test_a_list_given_later_binds_the_open_session_on_the_other_node(
    sign_in: SignIn, access: Access, other_node: Access, gate: Gate, store: PlaceStore, clock: Clock, li: Enrolled
) -> None:
    done = await sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), OFFICE)
    who = await other_node.sessions.principal(done.token, clock())
    gate.check(who, AUDIENCE_CRM, OFFICE, clock())
    await store.set_networks("t1", li.user.id, "203.0.113.128/25")
    assert await store.all_networks("t1") == {li.user.id: "203.0.113.128/25"}
    clock.advance(seconds=other_node.sessions.timeouts.ttl.total_seconds())  # even where the notice is lost
    who = await other_node.sessions.principal(done.token, clock())
    for audience in (AUDIENCE_CRM, AUDIENCE_CONSOLE):
        with pytest.raises(NotAdmitted) as refused:
            gate.check(who, audience, OFFICE, clock())
        assert refused.value.reason.id == "place-not-allowed"


async def test_a_window_that_closes_ends_the_use_of_an_open_session(
    sign_in: SignIn, access: Access, gate: Gate, clock: Clock, li: Enrolled
) -> None:
    done = await sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), OFFICE)
    who = await access.sessions.principal(done.token, clock())
    closing = clock().replace(hour=12, minute=0)
    gate.check(who, AUDIENCE_CRM, OFFICE, closing - timedelta(seconds=1))
    with pytest.raises(NotAdmitted) as refused:
        gate.check(who, AUDIENCE_CRM, OFFICE, closing)
    assert refused.value.reason.id == "hour-not-allowed"
