"""Ends, locks and proofs of sessions on two nodes of one database; the clock moves only when told."""

import asyncio
import secrets
from collections.abc import Collection
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from gateway.access.session_rules import Room, SessionsFull, Timeouts, WhenFull
from gateway.access.session_store import SessionStore
from gateway.access.sessions import NoSession, SessionExpired, SessionLocked, Sessions
from gateway.access.step_up import needs_proof, proof_age
from gateway.access.store import UserStore
from tests.unit.gateway.access.test_sessions import add_user, until


class Answers:
    """Answers on their way."""

    def __init__(self, *sessions: str) -> None:
        self.open = set(sessions)

    def sessions(self) -> Collection[str]:
        return set(self.open)

    def end_sessions(self, gone: Collection[str]) -> None:
        self.open -= set(gone)


@pytest.fixture
def node(pool, clock):
    def make(**timeouts: timedelta) -> Sessions:
        given = Timeouts(**timeouts)
        return Sessions(SessionStore(pool), clock=clock, randomness=secrets.token_bytes, timeouts=given)

    return make


@pytest.fixture
async def li(pool):
    return await add_user(pool, "li.wei")


@asynccontextmanager
async def following(sessions: Sessions, dsn: str):
    task = asyncio.create_task(sessions.follow(dsn))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_look_keeps_a_session_in_use_believed_without_a_request_asking(node, clock, li) -> None:
    sessions = node()
    token = await sessions.open(li, "", clock())
    await sessions.principal(token, clock())
    for _ in range(20):
        clock.advance(milliseconds=400)
        assert sessions.cached(token, clock()) is not None
        await sessions.confirm()
    clock.advance(seconds=1)
    assert sessions.cached(token, clock()) is None


@pytest.mark.parametrize("how", ["signed-out", "all", "disabled", "locked", "renewed"])
async def test_without_any_notice_the_look_finds_an_end_made_elsewhere(pool, node, clock, li, how) -> None:
    here, there = node(), node()
    token = await here.open(li, "", clock())
    session = (await there.principal(token, clock())).session_id
    if how == "signed-out":
        await here.end(session)
    elif how == "all":
        await here.end_all(li.id)
    elif how == "disabled":
        await UserStore(pool).set_disabled("t1", li.id, disabled=True)
    elif how == "locked":
        await here.lock(session)
    else:
        await here.renew(session, token)
    assert there.cached(token, clock()) is not None
    await there.confirm()
    assert there.cached(token, clock()) is None
    with pytest.raises(SessionLocked if how == "locked" else NoSession):
        await there.principal(token, clock())


async def test_no_session_is_believed_for_longer_than_a_second() -> None:
    with pytest.raises(ValueError):
        Timeouts(ttl=timedelta(seconds=1, milliseconds=1))


async def test_while_the_connection_for_notices_is_lost_every_session_is_looked_up_anew(node, clock, li) -> None:
    sessions = node()
    token = await sessions.open(li, "", clock())
    await sessions.principal(token, clock())
    async with following(sessions, "host=/nonexistent dbname=none connect_timeout=1"):
        await until(lambda: sessions.cached(token, clock()) is None)
        for _ in range(3):
            await sessions.principal(token, clock())
            assert sessions.cached(token, clock()) is None


async def test_an_answer_on_its_way_ends_with_its_session_made_elsewhere(node, clock, li, dsn) -> None:
    here, there = node(), node()
    ended, kept = [await here.open(li, "", clock()) for _ in range(2)]
    names = [(await there.principal(one, clock())).session_id for one in (ended, kept)]
    answers = there.answers = Answers(*names)
    async with following(there, dsn):
        await here.end(names[0])
        await until(lambda: answers.open == {names[1]})
        await here.lock(names[1])
        await until(lambda: not answers.open)


async def test_a_crm_token_in_use_is_confirmed_and_an_ended_one_found(node, clock, li) -> None:
    here, there = node(), node()
    session = (await here.principal(await here.open(li, "", clock()), clock())).session_id
    assert await there.crm_token_allowed("ab" * 32, session)
    await there.confirm()
    assert await there.crm_token_allowed("ab" * 32, session)
    await here.end_crm_tokens(session, ["ab" * 32])
    await there.confirm()
    assert not await there.crm_token_allowed("ab" * 32, session)


async def test_the_oldest_session_ends_for_one_too_many_here_and_elsewhere(pool, clock, li, node) -> None:
    room = Room(2, WhenFull.END_OLDEST)
    sessions = Sessions(SessionStore(pool), clock=clock, randomness=secrets.token_bytes, room=room)
    tokens = []
    for _ in range(3):
        tokens.append(await sessions.open(li, "", clock()))
        clock.advance(seconds=1)
    with pytest.raises(NoSession):
        await sessions.principal(tokens[0], clock())
    for token in tokens[1:]:
        await sessions.principal(token, clock())


async def test_where_one_more_is_refused_parallel_sign_ins_cannot_pass_the_limit(pool, clock, li) -> None:
    room = Room(3, WhenFull.REFUSE)
    sessions = Sessions(SessionStore(pool), clock=clock, randomness=secrets.token_bytes, room=room)
    done = await asyncio.gather(*(sessions.open(li, "", clock()) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(one, str) for one in done) == 3
    assert sum(isinstance(one, SessionsFull) for one in done) == 3
    clock.advance(minutes=31)  # sessions that timed out take no room
    await sessions.open(li, "", clock())


async def test_a_locked_session_opens_nothing_on_any_node_until_it_is_renewed(node, clock, li) -> None:
    here, there = node(), node()
    token = await here.open(li, "", clock())
    session = (await here.principal(token, clock())).session_id
    assert await here.lock(session)
    assert not await here.lock(session)
    for sessions in (here, there):
        with pytest.raises(SessionLocked) as locked:
            await sessions.principal(token, clock())
        assert locked.value.principal.id == li.id
    fresh = await there.renew(session, token)
    assert (await here.principal(fresh, clock())).session_id == session
    with pytest.raises(NoSession):
        await here.principal(token, clock())
    with pytest.raises(NoSession):
        await here.renew(session, token)


async def test_a_quiet_session_locks_by_itself_and_stays_locked(node, clock, li) -> None:
    sessions = node(lock=timedelta(minutes=5))
    token = await sessions.open(li, "", clock())
    await sessions.principal(token, clock())
    clock.advance(minutes=5)
    assert sessions.cached(token, clock()) is None
    with pytest.raises(SessionLocked):
        await sessions.principal(token, clock(), active=False)
    # A process that knows no lock of its own finds it locked, too.
    with pytest.raises(SessionLocked):
        await node().principal(token, clock())
    clock.advance(minutes=25)
    with pytest.raises(SessionExpired):
        await sessions.principal(token, clock())


async def test_polling_does_not_keep_a_session_from_locking(node, clock, li) -> None:
    sessions = node(lock=timedelta(minutes=5))
    token = await sessions.open(li, "", clock())
    for _ in range(4):
        clock.advance(minutes=1)
        await sessions.principal(token, clock(), active=False)
    clock.advance(minutes=1)
    with pytest.raises(SessionLocked):
        await sessions.principal(token, clock(), active=False)


async def test_a_proof_is_as_old_as_the_last_factor_and_renewed_by_the_next(node, clock, li) -> None:
    sessions = node()
    token = await sessions.open(li, "", clock())
    clock.advance(minutes=9)
    principal = await sessions.principal(token, clock())
    assert proof_age(principal, clock()) == timedelta(minutes=9)
    assert not needs_proof(principal, timedelta(minutes=10), clock())
    clock.advance(minutes=1)
    assert needs_proof(principal, timedelta(minutes=10), clock())
    assert needs_proof(principal, timedelta(minutes=10), clock() - timedelta(hours=1))
    fresh = await sessions.renew(principal.session_id, token)
    assert proof_age(await sessions.principal(fresh, clock()), clock()) == timedelta(0)
