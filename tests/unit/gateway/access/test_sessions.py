"""Sessions: what they are, how they end, and what a CRM token may do in them."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access.session_store import SessionStore
from gateway.access.sessions import AUDIENCE_CONSOLE, NoSession, SessionExpired, Sessions, Timeouts
from gateway.access.store import UserStore
from gateway.access.tokens import digest
from gateway.access.user import AppUser
from kms.connections import Pool

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something another task does."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
def make(pool: Pool, clock: Callable[[], datetime]) -> Callable[[], Sessions]:
    """A process of its own on the same database."""
    return lambda: Sessions(SessionStore(pool), clock=clock, randomness=secrets.token_bytes)


async def add_user(pool: Pool, login: str, tenant: str = "t1") -> AppUser:
    user = AppUser(f"u-{login}", tenant, login, "", ("sales",), "", "", False, False, False, START)
    await UserStore(pool).insert_user(user)
    return user


@pytest.fixture
async def li(pool: Pool) -> AppUser:
    return await add_user(pool, "li.wei")


@pytest.fixture
async def zhou(pool: Pool) -> AppUser:
    return await add_user(pool, "zhou.min")


async def test_an_open_session_gives_its_principal_and_stores_no_token(pool, make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "192.0.2.7", clock())
    principal = await sessions.principal(token, clock())
    assert (principal.id, principal.login, principal.roles, principal.tenant) == (
        "u-li.wei",
        "li.wei",
        ("sales",),
        "t1",
    )
    async with pool.connection() as db:
        row = await (await db.execute("SELECT token_hash, app_session::text FROM app_session")).fetchone()
    assert row[0] == digest(token)
    assert token not in row[1]


async def test_every_authentication_gives_a_new_token(make, clock, li) -> None:
    sessions = make()
    assert await sessions.open(li, "", clock()) != await sessions.open(li, "", clock())


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 4096, "ä" * 43, "a b" + "A" * 40, "\x00" * 43])
async def test_what_is_no_live_token_opens_nothing(make, clock, li, token) -> None:
    with pytest.raises(NoSession):
        await make().principal(token, clock())


async def test_a_token_works_only_for_its_tenant_and_its_host(make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    with pytest.raises(NoSession):
        await sessions.principal(token, clock(), tenant="t2")
    with pytest.raises(NoSession):
        await sessions.principal(token, clock(), audience=AUDIENCE_CONSOLE)
    await sessions.principal(token, clock(), tenant="t1")
    assert sessions.cached(token, clock(), tenant="t2") is None
    assert sessions.cached(token, clock(), audience=AUDIENCE_CONSOLE) is None
    assert sessions.cached(token, clock(), tenant="t1") is not None


async def test_idle_timeout_ends_a_session_and_activity_keeps_it(make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    for _ in range(4):
        clock.advance(minutes=29)
        await sessions.principal(token, clock())
    clock.advance(minutes=30)
    assert sessions.cached(token, clock()) is None
    with pytest.raises(SessionExpired) as ended:
        await sessions.principal(token, clock())
    assert ended.value.by == "idle"


async def test_background_polling_does_not_keep_a_session(make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    for _ in range(29):
        clock.advance(minutes=1)
        await sessions.principal(token, clock(), active=False)
    clock.advance(minutes=1)
    with pytest.raises(SessionExpired):
        await sessions.principal(token, clock(), active=False)


async def test_absolute_timeout_ends_even_a_busy_session(make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    for _ in range(47):
        clock.advance(minutes=15)
        await sessions.principal(token, clock())
    clock.advance(minutes=15)
    with pytest.raises(SessionExpired) as ended:
        await sessions.principal(token, clock())
    assert ended.value.by == "absolute"


async def test_activity_on_one_node_counts_on_another(make, clock, li) -> None:
    here, there = make(), make()
    token = await here.open(li, "", clock())
    clock.advance(minutes=20)
    await here.principal(token, clock())
    clock.advance(minutes=20)
    assert (await there.principal(token, clock())).id == li.id


async def test_the_cache_answers_at_once_but_never_longer_than_its_ttl(make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    assert sessions.cached(token, clock()) is None
    await sessions.principal(token, clock())
    assert sessions.cached(token, clock()) is not None
    clock.advance(seconds=3)
    assert sessions.cached(token, clock()) is None


async def test_touches_are_written_at_most_every_thirty_seconds(pool, make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    seen = set()
    for _ in range(60):
        clock.advance(seconds=1)
        if sessions.cached(token, clock()) is None:
            await sessions.principal(token, clock())
        async with pool.connection() as db:
            seen.add((await (await db.execute("SELECT seen_at FROM app_session")).fetchone())[0])
    assert len(seen) <= 3


async def test_an_ended_session_is_refused_here_at_once_and_elsewhere_within_the_ttl(make, clock, li) -> None:
    here, there = make(), make()
    token = await here.open(li, "", clock())
    principal = await here.principal(token, clock())
    await there.principal(token, clock())
    assert await here.end(principal.session_id)
    assert not await here.end(principal.session_id)
    with pytest.raises(NoSession):
        await here.principal(token, clock())
    clock.advance(seconds=5)
    with pytest.raises(NoSession):
        await there.principal(token, clock())


async def test_end_all_spares_only_the_session_that_asked(make, clock, li, zhou) -> None:
    sessions = make()
    mine, other, foreign = [await sessions.open(who, "", clock()) for who in (li, li, zhou)]
    keep = (await sessions.principal(mine, clock())).session_id
    assert await sessions.end_all(li.id, keep=keep) == 1
    await sessions.principal(mine, clock())
    await sessions.principal(foreign, clock())
    with pytest.raises(NoSession):
        await sessions.principal(other, clock())


async def test_a_closed_account_has_no_session_and_gets_none(pool, make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    await UserStore(pool).set_disabled("t1", li.id, disabled=True)
    with pytest.raises(NoSession):
        await sessions.principal(token, clock())
    with pytest.raises(NoSession):
        await sessions.open(li, "", clock())


async def test_the_list_shows_live_sessions_with_the_crm_identity(make, clock, li, zhou) -> None:
    sessions = make()
    token = await sessions.open(li, "192.0.2.7", clock())
    await sessions.open(zhou, "192.0.2.8", clock())
    principal = await sessions.principal(token, clock())
    await sessions.note_crm_identity(principal.session_id, "weili", "42")
    rows = {row.login: row for row in await sessions.list("t1", clock())}
    assert (rows["li.wei"].crm_login, rows["li.wei"].crm_user, rows["li.wei"].client) == ("weili", "42", "192.0.2.7")
    assert (await sessions.principal(token, clock())).crm_user == "42"
    assert await sessions.list("t2", clock()) == []
    clock.advance(minutes=31)
    assert await sessions.list("t1", clock()) == []


async def test_the_administrators_crm_key_wins_over_the_one_of_the_crm_login(pool, make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    principal = await sessions.principal(token, clock())
    await sessions.note_crm_identity(principal.session_id, "boss", "1")
    await UserStore(pool).update_profile(li, display_name="", roles=["sales"], crm_user="42", language="")
    await sessions.changed(li.id)
    assert (await sessions.principal(token, clock())).crm_user == "42"


async def test_a_crm_token_belongs_to_the_person_it_was_first_seen_with(make, clock, li, zhou) -> None:
    sessions = make()
    first, second, foreign = [
        (await sessions.principal(await sessions.open(who, "", clock()), clock())).session_id for who in (li, li, zhou)
    ]
    await sessions.note_crm_token(first, "ab" * 32)
    assert await sessions.crm_token_allowed("ab" * 32, first)
    assert await sessions.crm_token_allowed("ab" * 32, second)
    assert not await sessions.crm_token_allowed("ab" * 32, foreign)
    # One seen for the first time in a request is bound by that.
    assert await sessions.crm_token_allowed("cd" * 32, foreign)
    assert not await sessions.crm_token_allowed("cd" * 32, first)


async def test_after_sign_out_the_crm_token_is_refused_to_everybody(make, clock, li, zhou) -> None:
    here, there = make(), make()
    session, again, foreign = [
        (await here.principal(await here.open(who, "", clock()), clock())).session_id for who in (li, li, zhou)
    ]
    await here.note_crm_token(session, "ab" * 32)
    assert await there.crm_token_allowed("ab" * 32, session)
    await here.end(session)
    assert not await here.crm_token_allowed("ab" * 32, session)
    assert not await here.crm_token_allowed("ab" * 32, again)
    assert not await here.crm_token_allowed("ab" * 32, foreign)
    await here.note_crm_token(again, "ab" * 32)
    assert not await here.crm_token_allowed("ab" * 32, again)
    clock.advance(seconds=5)
    assert not await there.crm_token_allowed("ab" * 32, session)


async def test_signing_out_ends_the_crm_token_the_browser_presents_even_if_another_session_saw_it_last(
    make, clock, li, zhou
) -> None:
    sessions = make()
    session, again, foreign = [
        (await sessions.principal(await sessions.open(who, "", clock()), clock())).session_id for who in (li, li, zhou)
    ]
    await sessions.note_crm_token(session, "ab" * 32)
    await sessions.note_crm_token(again, "ab" * 32)
    await sessions.note_crm_token(foreign, "ef" * 32)
    await sessions.end(session, crm_tokens=["ab" * 32, "ef" * 32])
    assert not await sessions.crm_token_allowed("ab" * 32, again)
    assert await sessions.crm_token_allowed("ef" * 32, foreign)


async def test_notices_reach_another_process_before_the_ttl(make, clock, li, dsn) -> None:
    here, there = make(), make()
    token = await here.open(li, "", clock())
    principal = await there.principal(token, clock())
    follower = asyncio.create_task(there.listen(dsn))
    try:
        await until(lambda: there.cached(token, clock()) is None)  # listening begins with an empty cache
        await there.principal(token, clock())
        assert there.cached(token, clock()) is not None
        await here.end(principal.session_id)
        await until(lambda: there.cached(token, clock()) is None)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def test_a_lost_connection_drops_what_is_cached(make, clock, li) -> None:
    sessions = make()
    token = await sessions.open(li, "", clock())
    await sessions.principal(token, clock())
    follower = asyncio.create_task(sessions.listen("host=/nonexistent dbname=none connect_timeout=1"))
    await until(lambda: sessions.cached(token, clock()) is None)
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)


async def test_sweeping_deletes_what_is_long_over_and_nothing_else(pool, make, clock, li) -> None:
    sessions = make()
    await sessions.open(li, "", clock())
    clock.advance(days=31)
    kept = await sessions.open(li, "", clock())
    await SessionStore(pool).sweep(clock())
    async with pool.connection() as db:
        rows = await (await db.execute("SELECT token_hash FROM app_session")).fetchall()
    assert rows == [(digest(kept),)]


@pytest.mark.parametrize("wrong", [{"ttl": timedelta(seconds=6)}, {"ttl": timedelta(0)}, {"idle": timedelta(hours=13)}])
def test_timeouts_that_break_the_promises_are_refused(wrong) -> None:
    with pytest.raises(ValueError):
        Timeouts(**wrong)
