"""Another provider's word replaces the password and nothing else: links, the second step after it, its end."""

import asyncio
from datetime import timedelta

import pytest

from gateway.access.elsewhere import Elsewhere, LinkTaken, NotLinked
from gateway.access.password_rules import PasswordRules
from gateway.access.sessions import AUDIENCE_CONSOLE, NoSession
from gateway.access.sign_in import Attempt, HalfOpenExpired, SecondFactorMissing
from gateway.access.throttle import Brakes, Locked
from gateway.access.totp import CodeWrong
from tests.unit.gateway.access.world import build, enrol_in

HOME, ELSEWHERE = "192.0.2.7", "203.0.113.9"
ISSUER = "https://id.example.org"
IDENTITY = Elsewhere(ISSUER, "0b6f2e", "session-1")


async def outcome_of(attempt) -> Exception:
    with pytest.raises(Attempt) as caught:
        await attempt
    return caught.value.outcome


@pytest.fixture
async def linked(access, li):
    await access.links.add("t1", li.user.id, IDENTITY, access.clock())
    return li


async def test_a_linked_identity_opens_the_second_step_and_the_code_the_session(access, linked) -> None:
    half = await access.sign_in.elsewhere_step("t1", IDENTITY, HOME, next_path="/contacts")
    with pytest.raises(NoSession):
        await access.sessions.principal(half.token, access.clock())
    done = await access.sign_in.code_step("t1", half.token, access.code(linked.secret), HOME)
    assert done.next_path == "/contacts"
    assert (await access.sessions.principal(done.token, access.clock())).id == linked.user.id
    (link,) = await access.links.links("t1", linked.user.id)
    assert (link.issuer, link.last_used_at) == (ISSUER, access.clock())


async def test_a_wrong_code_opens_nothing_after_a_providers_word(access, linked) -> None:
    half = await access.sign_in.elsewhere_step("t1", IDENTITY, HOME)
    assert type(await outcome_of(access.sign_in.code_step("t1", half.token, "000000", HOME))) is CodeWrong


async def test_a_half_open_sign_in_counts_on_its_own_host_only(access, linked) -> None:
    half = await access.sign_in.elsewhere_step("t1", IDENTITY, HOME, audience=AUDIENCE_CONSOLE)
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(linked.secret), HOME)


@pytest.mark.parametrize(
    "identity",
    [
        Elsewhere(ISSUER, "0B6F2E"),
        Elsewhere(ISSUER, "0b6f2e "),
        Elsewhere(ISSUER, ""),
        Elsewhere("", "0b6f2e"),
        Elsewhere(ISSUER + "/", "0b6f2e"),
        Elsewhere("https://other.example.org", "0b6f2e"),
        Elsewhere(ISSUER, "li.wei"),
        Elsewhere(ISSUER, "0b6f2e\x00"),
        Elsewhere(ISSUER, "\ud800"),
        Elsewhere(ISSUER, "x" * 5000),
    ],
)
async def test_no_other_identity_is_the_persons(access, linked, identity) -> None:
    assert type(await outcome_of(access.sign_in.elsewhere_step("t1", identity, HOME))) is NotLinked
    assert type(await outcome_of(access.sign_in.elsewhere_at_once("t1", identity, HOME))) is NotLinked


async def test_an_identity_of_another_tenant_is_nobodys(access, linked) -> None:
    assert type(await outcome_of(access.sign_in.elsewhere_step("t2", IDENTITY, HOME))) is NotLinked


async def test_a_closed_account_is_refused_like_an_unknown_identity(access, linked) -> None:
    half = await access.sign_in.elsewhere_step("t1", IDENTITY, HOME)
    await access.users.disable(linked.user)
    assert type(await outcome_of(access.sign_in.elsewhere_step("t1", IDENTITY, HOME))) is NotLinked
    assert type(await outcome_of(access.sign_in.elsewhere_at_once("t1", IDENTITY, HOME))) is NotLinked
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(linked.secret), HOME)


async def test_without_a_second_factor_a_providers_word_is_not_enough(pool, access, linked) -> None:
    async with pool.connection() as db:
        await db.execute("UPDATE app_user SET totp_secret = NULL")
    assert type(await outcome_of(access.sign_in.elsewhere_step("t1", IDENTITY, HOME))) is SecondFactorMissing
    assert type(await outcome_of(access.sign_in.elsewhere_at_once("t1", IDENTITY, HOME))) is SecondFactorMissing


async def test_at_once_opens_a_session_of_that_host(access, linked) -> None:
    done = await access.sign_in.elsewhere_at_once("t1", IDENTITY, HOME, audience=AUDIENCE_CONSOLE)
    with pytest.raises(NoSession):
        await access.sessions.principal(done.token, access.clock())
    found = await access.sessions.principal(done.token, access.clock(), audience=AUDIENCE_CONSOLE)
    assert found.id == linked.user.id


async def test_a_link_taken_away_ends_the_half_open_sign_in_on_every_node(access, other_node, linked) -> None:
    half = await access.sign_in.elsewhere_step("t1", IDENTITY, HOME)
    assert await other_node.links.remove("t1", linked.user.id, ISSUER)
    assert not await other_node.links.remove("t1", linked.user.id, ISSUER)
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(linked.secret), HOME)


async def test_a_link_that_changed_its_owner_does_not_open_the_first_ones_session(access, linked, enrol) -> None:
    """Even where the half-open sign-in was left over: the session itself asks for the link."""
    mei = await enrol("mei")
    half = await access.sign_in.elsewhere_step("t1", IDENTITY, HOME)
    async with access.store._pool.connection() as db:
        await db.execute("UPDATE app_account_link SET user_id = %s", (mei.user.id,))
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(linked.secret), HOME)
    with pytest.raises(NoSession):
        await access.sessions.open(linked.user, HOME, access.clock(), through=IDENTITY)


async def test_an_identity_belongs_to_one_account_also_in_parallel(access, other_node, enrol) -> None:
    people = [await enrol(f"person{number}") for number in range(6)]

    async def attempt(number: int) -> bool:
        node = (access, other_node)[number % 2]
        try:
            await node.links.add("t1", people[number].user.id, IDENTITY, node.clock())
        except LinkTaken:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(6)))) == 1


async def test_an_account_has_one_identity_of_an_issuer(access, linked) -> None:
    await access.links.add("t1", linked.user.id, IDENTITY, access.clock())  # the same again changes nothing
    with pytest.raises(LinkTaken):
        await access.links.add("t1", linked.user.id, Elsewhere(ISSUER, "other"), access.clock())
    await access.links.add("t1", linked.user.id, Elsewhere("https://two.example.org", "x"), access.clock())
    assert len(await access.links.links("t1")) == 2


@pytest.mark.parametrize("identity", [Elsewhere("", "x"), Elsewhere(ISSUER, ""), Elsewhere(ISSUER, "a\nb")])
async def test_what_can_be_no_identity_is_not_linked(access, li, identity) -> None:
    with pytest.raises(LinkTaken):
        await access.links.add("t1", li.user.id, identity, access.clock())


async def test_a_closed_or_unknown_account_is_not_linked(access, li) -> None:
    await access.users.disable(li.user)
    for user_id in (li.user.id, "u-nobody"):
        with pytest.raises(LinkTaken):
            await access.links.add("t1", user_id, IDENTITY, access.clock())


async def test_a_reset_takes_links_away(access, linked) -> None:
    """Whoever took the account over may have linked an identity of their own."""
    await access.users.reset(linked.user, "two people")
    assert await access.links.links("t1", linked.user.id) == []


async def test_an_expired_password_does_not_matter_to_who_did_not_use_it(pool, clock) -> None:
    strict = build(pool, clock, PasswordRules(lifetime=timedelta(days=90), kept=2))
    li = await enrol_in(strict, "li.wei")
    await strict.links.add("t1", li.user.id, IDENTITY, clock())
    clock.advance(days=100)
    half = await strict.sign_in.elsewhere_step("t1", IDENTITY, HOME)
    done = await strict.sign_in.code_step("t1", half.token, strict.code(li.secret), HOME)
    assert (await strict.sessions.principal(done.token, clock())).id == li.user.id


async def test_unknown_identities_are_braked_and_the_owner_still_comes_in(access, linked) -> None:
    free = Brakes().pair.free
    for _ in range(free):
        assert type(await outcome_of(access.sign_in.elsewhere_step("t1", Elsewhere(ISSUER, "?"), HOME))) is NotLinked
    for _ in range(2):  # the first mistake beyond the free ones turns the brake on
        outcome = await outcome_of(access.sign_in.elsewhere_step("t1", Elsewhere(ISSUER, "?"), HOME))
    assert type(outcome) is Locked
    await access.sign_in.elsewhere_step("t1", IDENTITY, HOME)


async def test_codes_after_a_providers_word_are_braked(access, linked) -> None:
    outcomes = []
    for _ in range(Brakes().pair.free + 2):
        try:
            half = await access.sign_in.elsewhere_step("t1", IDENTITY, HOME)
            await access.sign_in.code_step("t1", half.token, "000000", HOME)
        except Attempt as attempt:
            outcomes.append(type(attempt.outcome))
    assert Locked in outcomes


async def test_a_success_gives_its_attempts_back(access, linked) -> None:
    for _ in range(Brakes().pair.free * 3):
        half = await access.sign_in.elsewhere_step("t1", IDENTITY, ELSEWHERE)
        await access.sign_in.code_step("t1", half.token, access.code(linked.secret), ELSEWHERE)
        access.clock.advance(seconds=60)
