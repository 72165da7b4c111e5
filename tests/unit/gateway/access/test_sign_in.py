"""Both steps of a sign-in: what is counted, what is told, what works once."""

import asyncio

import pytest

from gateway.access.passwords import PasswordWrong
from gateway.access.sessions import AUDIENCE_CONSOLE, NoSession
from gateway.access.sign_in import HALF_OPEN_ATTEMPTS, Attempt, HalfOpenExpired, SecondFactorMissing
from gateway.access.throttle import Brakes, Locked
from gateway.access.totp import CodeReplayed, CodeWrong

HOME, ELSEWHERE = "192.0.2.7", "203.0.113.9"


async def outcome_of(attempt) -> Exception:
    with pytest.raises(Attempt) as caught:
        await attempt
    return caught.value.outcome


async def test_both_factors_open_a_session(access, li) -> None:
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME, next_path="/contacts")
    done = await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)
    assert done.next_path == "/contacts"
    assert (await access.sessions.principal(done.token, access.clock())).id == li.user.id


async def test_a_password_of_years_ago_opens_a_session_as_before(access, li) -> None:
    """Nothing ends by the calendar unless the settings ask for it (ASVS 6.2.10)."""
    access.clock.advance(days=3650)
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    done = await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)
    assert (await access.sessions.principal(done.token, access.clock())).id == li.user.id


async def test_logins_are_compared_however_they_are_spelled(access, li) -> None:
    await access.sign_in.password_step("t1", "  ＬＩ.Wei ", li.password, HOME)


async def test_the_password_alone_opens_nothing(access, li) -> None:
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    with pytest.raises(NoSession):
        await access.sessions.principal(half.token, access.clock())
    with pytest.raises(NoSession):
        await access.sessions.principal(half.token, access.clock(), audience=AUDIENCE_CONSOLE)


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("li.wei", "wrong"),
        ("nobody", "quiet lantern river 52"),
        ("li.wei", "quiet lantern river 52 "),
        ("li.wei", "Quiet lantern river 52"),
        ("", ""),
        ("li\x00wei", "x"),
        ("\ud800", "\ud800"),
        ("x" * 5000, "y" * 5000),
    ],
)
async def test_every_wrong_pair_has_the_same_outcome(access, li, login, password) -> None:
    assert type(await outcome_of(access.sign_in.password_step("t1", login, password, HOME))) is PasswordWrong


async def test_a_closed_account_looks_like_a_wrong_password(access, li) -> None:
    await access.users.disable(li.user)
    assert type(await outcome_of(access.sign_in.password_step("t1", "li.wei", li.password, HOME))) is PasswordWrong


async def test_an_unknown_login_costs_a_whole_hash(access, li) -> None:
    """The dummy hash is verified with the same parameters; without it the answer would come much sooner."""
    verified = []
    hasher = access.sign_in._passwords._hasher
    original = type(hasher).verify

    class Spy(type(hasher)):
        def verify(self, stored, password):
            verified.append(stored)
            return original(self, stored, password)

    access.sign_in._passwords._hasher = Spy(time_cost=1, memory_cost=8, parallelism=1)
    await outcome_of(access.sign_in.password_step("t1", "nobody", "x", HOME))
    await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", HOME))
    assert len(verified) == 2
    assert all(stored.startswith("$argon2id$v=19$m=8,t=1,p=1$") for stored in verified)


async def test_a_user_of_another_tenant_is_unknown(access, li) -> None:
    assert type(await outcome_of(access.sign_in.password_step("t2", "li.wei", li.password, HOME))) is PasswordWrong


async def test_without_a_second_factor_the_password_is_not_enough(pool, access, li) -> None:
    async with pool.connection() as db:
        await db.execute("UPDATE app_user SET totp_secret = NULL")
    assert (
        type(await outcome_of(access.sign_in.password_step("t1", "li.wei", li.password, HOME))) is SecondFactorMissing
    )
    assert (
        type(await outcome_of(access.sign_in.at_once("t1", "li.wei", li.password, "000000", HOME)))
        is SecondFactorMissing
    )


@pytest.mark.parametrize("steps", [-1, 0, 1])
async def test_codes_one_step_away_are_taken(access, li, steps) -> None:
    await access.sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret, steps), HOME)


@pytest.mark.parametrize("steps", [-2, 2])
async def test_codes_two_steps_away_are_not(access, li, steps) -> None:
    wrong = access.sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret, steps), HOME)
    assert type(await outcome_of(wrong)) is CodeWrong


async def test_a_code_works_once(access, other_node, li) -> None:
    code = access.code(li.secret)
    await access.sign_in.at_once("t1", "li.wei", li.password, code, HOME)
    assert type(await outcome_of(access.sign_in.at_once("t1", "li.wei", li.password, code, HOME))) is CodeReplayed
    assert type(await outcome_of(other_node.sign_in.at_once("t1", "li.wei", li.password, code, HOME))) is CodeReplayed
    older = access.code(li.secret, -1)
    assert type(await outcome_of(access.sign_in.at_once("t1", "li.wei", li.password, older, HOME))) is CodeReplayed


async def test_of_parallel_attempts_with_one_code_on_two_nodes_one_wins(access, other_node, li) -> None:
    code = access.code(li.secret)
    tried = [
        node.sign_in.at_once("t1", "li.wei", li.password, code, f"198.51.100.{place}")
        for place, node in enumerate([access, other_node] * 3)
    ]
    results = await asyncio.gather(*tried, return_exceptions=True)
    won = [result for result in results if not isinstance(result, BaseException)]
    assert len(won) == 1
    lost = {type(r.outcome) for r in results if isinstance(r, Attempt)}
    assert lost == {CodeReplayed}


async def test_a_half_open_sign_in_is_bound_to_its_host_and_tenant(access, li) -> None:
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME, audience=AUDIENCE_CONSOLE)
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t2", half.token, access.code(li.secret), HOME, audience=AUDIENCE_CONSOLE)
    await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME, audience=AUDIENCE_CONSOLE)


async def test_a_half_open_sign_in_of_one_person_takes_only_this_persons_code(access, li, enrol) -> None:
    zhou = await enrol("zhou.min")
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    wrong = access.sign_in.code_step("t1", half.token, access.code(zhou.secret), HOME)
    assert type(await outcome_of(wrong)) is CodeWrong


async def test_a_half_open_sign_in_works_once_and_not_for_long(access, li) -> None:
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)
    access.clock.advance(seconds=60)
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    access.clock.advance(minutes=5)
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)


async def test_a_half_open_sign_in_takes_a_few_codes_only(access, li) -> None:
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    for place in range(HALF_OPEN_ATTEMPTS):
        client = f"198.51.100.{place}"  # not to meet the brake on one address first
        await outcome_of(access.sign_in.code_step("t1", half.token, "not-a-code", client))
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)


async def test_closing_the_account_ends_half_open_sign_ins(access, li) -> None:
    half = await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    await access.users.disable(li.user)
    await access.users.enable(li.user)
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(li.secret), HOME)


async def test_mistakes_slow_down_one_login_from_one_address(access, li) -> None:
    free = Brakes().pair.free
    for _ in range(free + 1):
        assert type(await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", HOME))) is PasswordWrong
    locked = await outcome_of(access.sign_in.password_step("t1", "li.wei", li.password, HOME))
    assert isinstance(locked, Locked)
    assert locked.wait_s == Brakes().pair.base_s
    access.clock.advance(seconds=locked.wait_s)
    await access.sign_in.password_step("t1", "li.wei", li.password, HOME)


async def test_the_wait_doubles_up_to_a_limit_and_a_locked_attempt_does_not_prolong_it(access, li) -> None:
    waits = []
    for _ in range(16):
        got = await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", HOME))
        if isinstance(got, Locked):
            again = await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", HOME))
            assert isinstance(again, Locked)
            assert again.wait_s == got.wait_s
            waits.append(got.wait_s)
            access.clock.advance(seconds=got.wait_s)
    assert waits[:3] == [2, 4, 8]
    assert max(waits) <= Brakes().pair.max_s


async def test_locking_tells_nothing_about_who_exists(access, li) -> None:
    for login in ("li.wei", "nobody"):
        seen = [type(await outcome_of(access.sign_in.password_step("t1", login, "x", HOME))) for _ in range(8)]
        assert seen == [PasswordWrong] * 5 + [Locked] * 3


async def test_a_burst_of_parallel_guesses_is_counted_before_it_is_verified(access, other_node, li) -> None:
    tried = [node.sign_in.password_step("t1", "li.wei", "x", HOME) for node in [access, other_node] * 15]
    results = await asyncio.gather(*tried, return_exceptions=True)
    verified = [r for r in results if isinstance(r, Attempt) and isinstance(r.outcome, PasswordWrong)]
    assert len(verified) == Brakes().pair.free + 1


async def test_the_owner_is_not_locked_out_from_a_known_address_by_guesses_from_elsewhere(access, li) -> None:
    await access.sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), HOME)
    for place in range(Brakes().login.free + 1):
        await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", f"203.0.113.{place}"))
    stranger = await outcome_of(access.sign_in.password_step("t1", "li.wei", li.password, "198.51.100.77"))
    assert isinstance(stranger, Locked)
    access.clock.advance(seconds=30)
    await access.sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), HOME)


async def test_spraying_one_password_over_many_logins_is_slowed_down(access, li) -> None:
    for place in range(Brakes().source.free + 1):
        await outcome_of(access.sign_in.password_step("t1", f"person{place}", "x", ELSEWHERE))
    assert isinstance(await outcome_of(access.sign_in.password_step("t1", "one.more", "x", ELSEWHERE)), Locked)


async def test_an_office_behind_one_address_is_not_slowed_down_by_successes(access, enrol) -> None:
    person = await enrol("first")
    for _ in range(Brakes().source.free + 5):
        access.clock.advance(seconds=30)
        half = await access.sign_in.password_step("t1", "first", person.password, HOME)
        await access.sign_in.code_step("t1", half.token, access.code(person.secret), HOME)


async def test_ipv6_neighbours_of_one_network_count_as_one_address(access, li) -> None:
    for place in range(5):
        await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", f"2001:db8:1:2::{place:x}"))
    locked = await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", "2001:db8:1:2:ffff::1"))
    assert isinstance(locked, Locked)
    other = await outcome_of(access.sign_in.password_step("t1", "li.wei", "x", "2001:db8:1:3::1"))
    assert type(other) is PasswordWrong


async def test_what_was_typed_as_a_login_is_nowhere_in_the_database(pool, access, li) -> None:
    """People type passwords into the login field."""
    await outcome_of(access.sign_in.password_step("t1", "my-secret-pass-phrase", "x", HOME))
    async with pool.connection() as db:
        rows = await (await db.execute("SELECT app_throttle::text FROM app_throttle")).fetchall()
    assert rows
    assert not any("my-secret" in row[0] for row in rows)


async def test_a_hash_made_with_older_parameters_is_renewed_at_sign_in(pool, access, li) -> None:
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(li.password)
    async with pool.connection() as db:
        await db.execute("UPDATE app_user SET password_hash = %s", (old,))
    await access.sign_in.password_step("t1", "li.wei", li.password, HOME)
    async with pool.connection() as db:
        stored = (await (await db.execute("SELECT password_hash FROM app_user")).fetchone())[0]
    assert "m=8,t=1" in stored


async def test_guessing_the_own_password_of_an_open_session_is_slowed_down_too(access, li) -> None:
    for _ in range(5):
        await access.sign_in.brake("t1", "li.wei", HOME)
    with pytest.raises(Locked):
        await access.sign_in.brake("t1", "li.wei", HOME)
