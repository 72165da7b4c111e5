"""Recovery codes: what they are made of, how they are typed, that each counts once, and what is kept of them."""

import asyncio
import re

import pytest

from gateway.access.recovery import (
    ALPHABET,
    CODE_CHARS,
    CODES,
    Cost,
    RecoveryCodeWrong,
    looks_like_code,
    new_code,
    read_code,
)
from gateway.access.sign_in import HALF_OPEN_ATTEMPTS, Attempt, HalfOpenExpired
from gateway.access.throttle import Locked
from gateway.access.totp import CodeReplayed, CodeWrong
from gateway.access.users import Profile

HOME = "192.0.2.7"


async def half_open(access, person) -> str:
    return (await access.sign_in.password_step("t1", person.user.login, person.password, HOME)).token


def step(access, token, typed):
    return access.sign_in.other_step("t1", token, lambda user: access.recovery.use(user, typed), HOME)


async def outcome_of(attempt) -> Exception:
    with pytest.raises(Attempt) as caught:
        await attempt
    return caught.value.outcome


def test_a_code_has_sixty_bits_and_nothing_that_looks_like_something_else() -> None:
    assert len(set(ALPHABET)) == 32
    assert CODE_CHARS * 5 >= 50
    assert not set("ILOU") & set(ALPHABET)
    assert new_code(lambda size: b"\x00" * size) == "0000-0000-0000"
    assert new_code(lambda size: b"\xff" * size) == "ZZZZ-ZZZZ-ZZZZ"
    # Each of the sixty bits changes the code.
    plain = {new_code(lambda _, bit=bit: (1 << bit).to_bytes(8, "big")) for bit in range(60)}
    assert len(plain | {"0000-0000-0000"}) == 61


@pytest.mark.parametrize(
    "typed", ["0AB1-CD10-EFGH", "0ab1cd10efgh", " oabi cdlo efgh ", "OABL-CD1O-EFGH", "０ＡＢ１-ＣＤ１０-ＥＦＧＨ"]
)
def test_however_a_code_is_typed_it_is_read(typed) -> None:
    assert read_code(typed) == "0AB1CD10EFGH"


@pytest.mark.parametrize(
    "typed", ["", "123456", "0AB1-CD10-EFG", "0AB1-CD10-EFGU", "\ud800" * 12, "0" * 5000, "ü" * 12]
)
def test_what_cannot_be_a_code_is_refused_without_a_look(typed) -> None:
    with pytest.raises(RecoveryCodeWrong):
        read_code(typed)
    assert not looks_like_code(typed)


def test_the_hash_is_slow_and_memory_hard_by_default() -> None:
    """ASVS 6.5.2: under 112 bits a password hash; the parameters are RFC 9106's."""
    assert (Cost().passes, Cost().memory_kib, Cost().lanes) == (3, 65_536, 4)


async def test_each_code_signs_in_once(access, li) -> None:
    codes = await access.recovery.renew("t1", li.user.id)
    assert len(set(codes)) == CODES
    done = await step(access, await half_open(access, li), codes[3])
    assert (await access.sessions.principal(done.token, access.clock())).id == li.user.id
    assert type(await outcome_of(step(access, await half_open(access, li), codes[3]))) is RecoveryCodeWrong
    state = await access.recovery.state("t1", li.user.id)
    assert (state.left, state.used_at) == (CODES - 1, access.clock())
    await step(access, await half_open(access, li), codes[4])


async def test_twenty_parallel_tries_of_one_recovery_code_on_two_nodes_succeed_once(access, other_node, li) -> None:
    codes = await access.recovery.renew("t1", li.user.id)
    tokens = [await half_open(access, li) for _ in range(4)]
    # Below the brake: it would refuse before the code is looked at, and prove nothing about the code.
    tried = await asyncio.gather(
        *((access, other_node)[n % 2].recovery.use(li.user, codes[0]) for n in range(20)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in tried) == ["NoneType"] + ["RecoveryCodeWrong"] * 19
    # And through the whole sign-in, where brakes may refuse some of them as well.
    whole = await asyncio.gather(
        *(step((access, other_node)[n % 2], tokens[n % 4], codes[1]) for n in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in whole) == 1
    assert all(isinstance(one, Attempt | HalfOpenExpired) for one in whole if isinstance(one, BaseException))


async def test_twenty_parallel_tries_of_one_app_code_on_two_nodes_succeed_once(access, other_node, li) -> None:
    code = access.code(li.secret)
    factors = await access.store.factors("t1", user_id=li.user.id)
    tried = await asyncio.gather(
        *((access, other_node)[n % 2].sign_in._check_code(factors, code) for n in range(20)), return_exceptions=True
    )
    assert sum(one is None for one in tried) == 1
    assert {type(one.outcome) for one in tried if one is not None} == {CodeReplayed}
    access.clock.advance(seconds=30)
    code = access.code(li.secret)
    nodes = [(access, other_node)[n % 2] for n in range(20)]
    whole = await asyncio.gather(
        *(node.sign_in.at_once("t1", "li.wei", li.password, code, f"198.51.100.{n}") for n, node in enumerate(nodes)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in whole) == 1
    assert {type(one.outcome) for one in whole if isinstance(one, Attempt)} == {CodeReplayed}


async def test_wrong_recovery_codes_are_counted_by_the_brakes_of_codes(access, li) -> None:
    await access.recovery.renew("t1", li.user.id)
    seen = []
    for _ in range(8):
        try:
            token = await half_open(access, li)
        except Attempt as attempt:
            seen.append(type(attempt.outcome))
            break
        seen.append(type(await outcome_of(step(access, token, "0000-0000-0000"))))
    assert seen[0] is RecoveryCodeWrong
    assert seen[-1] is Locked
    assert len(seen) < 5


async def test_a_half_open_sign_in_takes_only_so_many_recovery_codes(access, li) -> None:
    token = await half_open(access, li)
    for _ in range(HALF_OPEN_ATTEMPTS):
        access.clock.advance(seconds=30)
        await outcome_of(step(access, token, "nonsense"))
    with pytest.raises(HalfOpenExpired):
        await step(access, token, "nonsense")


async def test_codes_open_nothing_without_the_password_first(access, li) -> None:
    codes = await access.recovery.renew("t1", li.user.id)
    for token in ("", "x" * 43):
        with pytest.raises(HalfOpenExpired):
            await step(access, token, codes[0])
    assert (await access.recovery.state("t1", li.user.id)).left == CODES


async def test_programs_sign_in_with_the_app_code_only(access, li) -> None:
    codes = await access.recovery.renew("t1", li.user.id)
    tried = access.sign_in.at_once("t1", "li.wei", li.password, codes[0], HOME)
    assert type(await outcome_of(tried)) is CodeWrong


async def test_new_codes_end_the_old_ones_and_nobody_elses(access, li, enrol) -> None:
    other = await enrol("zhou.min")
    old, others = await access.recovery.renew("t1", li.user.id), await access.recovery.renew("t1", other.user.id)
    new = await access.recovery.renew("t1", li.user.id)
    for code in (old[0], others[0]):
        with pytest.raises(RecoveryCodeWrong):
            await access.recovery.use(li.user, code)
    await access.recovery.use(li.user, new[0])
    await access.recovery.use(other.user, others[0])


async def test_a_closed_account_and_one_without_codes_are_refused(access, li) -> None:
    with pytest.raises(RecoveryCodeWrong):
        await access.recovery.use(li.user, "0000-0000-0000")
    codes = await access.recovery.renew("t1", li.user.id)
    await access.users.disable(li.user)
    with pytest.raises(RecoveryCodeWrong):
        await access.recovery.use(li.user, codes[0])


async def test_a_reset_and_a_new_enrolment_take_the_codes_away(access, li) -> None:
    codes = await access.recovery.renew("t1", li.user.id)
    token, _ = await access.users.reset(li.user, "u-admin")
    assert (await access.recovery.state("t1", li.user.id)).left == 0
    invitation = await access.users.invitation("t1", token)
    await access.recovery.renew("t1", li.user.id)
    await access.users.accept("t1", token, "seven quiet lanterns 81", access.code(invitation.secret))
    assert (await access.recovery.state("t1", li.user.id)).left == 0
    with pytest.raises(RecoveryCodeWrong):
        await access.recovery.use(li.user, codes[0])


async def test_the_database_holds_no_code(access, pool) -> None:
    user = await access.users.create("t1", "chen.jing", Profile(roles=("sales",)))
    codes = await access.recovery.renew("t1", user.id)
    async with pool.connection() as db:
        rows = await (
            await db.execute(
                "SELECT r.salt, c.code_hash FROM app_recovery r JOIN app_recovery_code c USING (tenant, user_id)"
            )
        ).fetchall()
    assert len(rows) == CODES
    assert {len(row[0]) for row in rows} == {16}
    kept = b"".join(bytes(part) for row in rows for part in row)
    assert not any(re.sub("-", "", code).encode() in kept for code in codes)
