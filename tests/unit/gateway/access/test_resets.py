"""Resets by two people: who may not be which of them, what happens at the end, what happens at once on two nodes."""

import asyncio

import pytest
from psycopg.errors import CheckViolation

from gateway.access.resets import ResetRefused
from gateway.access.sessions import NoSession


async def refusal(step) -> str:
    with pytest.raises(ResetRefused) as caught:
        await step
    return caught.value.problem


@pytest.fixture
async def admins(enrol):
    """Two administrators."""
    return (await enrol("gao.ning", "administrator")).user, (await enrol("he.lan", "administrator")).user


async def test_two_people_reset_a_third_whose_sessions_end(access, li, admins) -> None:
    first, second = admins
    token = await access.sessions.open(li.user, "192.0.2.7", access.clock())
    await access.resets.start(li.user, first.id)
    # Nothing has happened to the account yet.
    assert (await access.sessions.principal(token, access.clock())).id == li.user.id
    invitation, _ = await access.resets.approve(li.user, second.id)
    with pytest.raises(NoSession):
        await access.sessions.principal(token, access.clock())
    assert not (await access.users.get("t1", li.user.id)).has_second_factor
    assert (await access.users.invitation("t1", invitation)).user.id == li.user.id
    assert await refusal(access.resets.approve(li.user, second.id)) == "reset-gone"


async def test_neither_is_the_owner_and_both_are_different_people(access, li, admins) -> None:
    first, second = admins
    assert await refusal(access.resets.start(first, first.id)) == "own-account"
    await access.resets.start(first, second.id)
    assert await refusal(access.resets.approve(first, first.id)) == "own-account"
    assert await refusal(access.resets.approve(first, second.id)) == "reset-same"
    assert await refusal(access.resets.approve(li.user, second.id)) == "reset-gone"
    assert await refusal(access.resets.start(first, li.user.id)) == "reset-waiting"
    assert (await access.users.get("t1", first.id)).has_second_factor


async def test_the_statement_itself_refuses_the_wrong_second_person(access, li, admins) -> None:
    first, second = admins
    await access.resets.start(li.user, first.id)
    waiting, store = await access.resets.waiting(li.user), access.resets._store
    for wrong in (first.id, li.user.id):
        assert not await store.approve("t1", waiting.id, wrong, access.clock())
    assert not await store.approve("t2", waiting.id, second.id, access.clock())
    assert not await store.start("t1", "r-own", second.id, second.id, access.clock(), access.clock())


@pytest.mark.parametrize(("started", "approved"), [("li", None), ("a", "a"), ("a", "li")])
async def test_the_table_itself_refuses_one_person(access, li, pool, started, approved) -> None:
    ids = {"li": li.user.id, "a": "u-a"}
    with pytest.raises(CheckViolation):
        async with pool.connection() as db:
            await db.execute(
                """INSERT INTO app_factor_reset
                     (tenant, id, user_id, started_by, started_at, expires_at, approved_by, approved_at)
                   VALUES ('t1', 'r', %s, %s, now(), now(), %s, CASE WHEN %s::text IS NULL THEN NULL ELSE now() END)""",
                (li.user.id, ids[started], ids.get(approved), ids.get(approved)),
            )


async def test_one_approval_of_many_at_once_succeeds(access, other_node, li, admins, enrol) -> None:
    first, second = admins
    third = (await enrol("xu.fei", "administrator")).user
    await access.resets.start(li.user, first.id)
    tried = await asyncio.gather(
        *((access, other_node)[n % 2].resets.approve(li.user, (second, third)[n % 2].id) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in tried) == 1
    assert all(isinstance(one, ResetRefused) for one in tried if isinstance(one, BaseException))


async def test_what_waits_too_long_is_withdrawn_or_whose_starter_left_is_not_approved(access, li, admins) -> None:
    first, second = admins
    await access.resets.start(li.user, first.id)
    access.clock.advance(hours=25)
    assert await refusal(access.resets.approve(li.user, second.id)) == "reset-gone"
    await access.resets.start(li.user, first.id)
    await access.resets.withdraw(li.user)
    assert await refusal(access.resets.approve(li.user, second.id)) == "reset-gone"
    assert await refusal(access.resets.withdraw(li.user)) == "reset-gone"
    await access.resets.start(li.user, first.id)
    await access.users.disable(first)
    assert await refusal(access.resets.approve(li.user, second.id)) == "reset-gone"
    assert (await access.users.get("t1", li.user.id)).has_second_factor
