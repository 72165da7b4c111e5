"""Emergency roles: a second person or a delay with an alarm, never longer than said, marked in everything done."""

import asyncio
import secrets
from datetime import timedelta

import pytest
from psycopg.errors import CheckViolation, RaiseException

from audit.log import AuditLog, AuditUnavailable
from audit.query import recent
from gateway.access.emergencies import TAG, Emergencies, EmergencyRefused, EmergencyRules
from gateway.access.emergency_store import EmergencyStore
from gateway.access.giving import Giving
from gateway.access.sessions import SessionExpired

HOUR = timedelta(hours=1)


@pytest.fixture
async def log(dsn):
    log = AuditLog(dsn)
    await log.start()
    yield log
    await log.close()


def desk_on(access, pool, trail) -> Emergencies:
    return Emergencies(
        EmergencyStore(pool),
        access.users,
        trail,
        clock=access.clock,
        randomness=secrets.token_bytes,
        rules=EmergencyRules(),
    )


@pytest.fixture
def desk(access, pool, log) -> Emergencies:
    return desk_on(access, pool, log)


@pytest.fixture
async def gao(enrol):
    return (await enrol("gao.ning", "administrator")).user


@pytest.fixture
async def session(access, li):
    """Roles and emergency of Li's session, asked as requests ask; it is kept alive."""
    token = await access.sessions.open(li.user, "192.0.2.7", access.clock())

    async def now():
        principal = await access.sessions.principal(token, access.clock())
        return principal.roles, principal.emergency

    return now


async def refusal(step) -> str:
    with pytest.raises(EmergencyRefused) as caught:
        await step
    return caught.value.problem


async def alarms(pool) -> list[str]:
    return [
        one.reason.removeprefix(f"{TAG}:") for one in reversed(await recent(pool, "t1", 100)) if one.kind == "alarm"
    ]


async def test_a_second_person_agrees_and_it_begins_and_ends_by_the_clock(access, pool, desk, li, gao, session) -> None:
    wish = await desk.ask(li.user, "manager", HOUR, "system-down")
    assert await session() == (("sales",), "")
    access.clock.advance(minutes=2)
    await desk.approve("t1", wish.id, gao)
    assert await session() == (("sales", "manager"), wish.id)
    access.clock.advance(minutes=25)
    assert (await session())[1] == wish.id
    access.clock.advance(minutes=25)
    assert (await session())[1] == wish.id
    # Nobody has to note the end for it to be one.
    access.clock.advance(minutes=10)
    assert await session() == (("sales",), "")
    assert list(await desk.current("t1")) == []
    await desk.tick()
    assert await alarms(pool) == ["asked", "approved", "opened", "over"]


async def test_alone_it_opens_after_the_delay_and_not_before(access, pool, desk, li, session) -> None:
    wish = await desk.ask(li.user, "manager", HOUR, "keeper-away")
    for _ in range(2):
        access.clock.advance(minutes=7)
        await desk.tick()
        assert await session() == (("sales",), "")
    access.clock.advance(minutes=1)
    await desk.tick()
    assert await session() == (("sales", "manager"), wish.id)
    assert await alarms(pool) == ["asked", "opened"]


async def test_the_alarm_is_in_the_trail_before_anything_is_asked_or_opened(access, pool, desk, li, session) -> None:
    class Away:
        async def append(self, _entry):
            raise AuditUnavailable

    blind = desk_on(access, pool, Away())
    with pytest.raises(AuditUnavailable):
        await blind.ask(li.user, "manager", HOUR, "system-down")
    assert list(await desk.current("t1")) == []
    await desk.ask(li.user, "manager", HOUR, "system-down")
    access.clock.advance(minutes=16)
    with pytest.raises(AuditUnavailable):
        await blind.tick()
    assert await session() == (("sales",), "")
    await desk.tick()
    assert (await session())[0] == ("sales", "manager")


async def test_somebody_objects_in_time_or_ends_it(access, pool, desk, li, gao, session) -> None:
    first = await desk.ask(li.user, "manager", HOUR, "system-down")
    await desk.end("t1", first.id, gao)
    access.clock.advance(minutes=16)
    await desk.tick()
    assert await session() == (("sales",), "")
    second = await desk.ask(li.user, "manager", HOUR, "system-down")
    await desk.approve("t1", second.id, gao)
    assert (await session())[1] == second.id
    await desk.end("t1", second.id, li.user)
    assert await session() == (("sales",), "")
    assert await refusal(desk.end("t1", second.id, gao)) == "gone"
    assert await alarms(pool) == ["asked", "ended", "asked", "approved", "opened", "ended"]


async def test_nobody_agrees_to_their_own_and_wishes_have_limits(access, pool, desk, li) -> None:
    assert await refusal(desk.ask(li.user, "king", HOUR, "system-down")) == "role-unknown"
    assert await refusal(desk.ask(li.user, "sales", HOUR, "system-down")) == "role-held"
    assert await refusal(desk.ask(li.user, "manager", HOUR, "because")) == "reason"
    for lasts in (timedelta(0), timedelta(hours=2, seconds=1), timedelta(hours=9), -HOUR):
        assert await refusal(desk.ask(li.user, "manager", lasts, "system-down")) == "hours"
    wish = await desk.ask(li.user, "manager", HOUR, "system-down")
    assert await refusal(desk.ask(li.user, "dpo", HOUR, "system-down")) == "waiting"
    assert await refusal(desk.approve("t1", wish.id, li.user)) == "own"
    assert not await EmergencyStore(pool).approve("t1", wish.id, li.user.id, access.clock())
    assert (await alarms(pool))[-1] == "refused"


async def test_duties_are_not_joined_by_an_emergency(access, desk, li, session) -> None:
    access.users.giving = Giving(joins=lambda _, held: {"sales", "auditor"} <= set(held))
    assert await refusal(desk.ask(li.user, "auditor", HOUR, "system-down")) == "duties-joined"
    await desk.ask(li.user, "manager", HOUR, "system-down")
    access.users.giving = Giving(joins=lambda _, held: {"sales", "manager"} <= set(held))
    access.clock.advance(minutes=16)
    await desk.tick()
    assert await session() == (("sales",), "")
    assert list(await desk.current("t1")) == []


async def test_a_closed_account_opens_nothing(access, pool, desk, li) -> None:
    await desk.ask(li.user, "manager", HOUR, "system-down")
    await access.users.disable(li.user)
    access.clock.advance(minutes=16)
    await desk.tick()
    assert await alarms(pool) == ["asked", "over"]
    assert await refusal(desk.ask(li.user, "manager", HOUR, "system-down")) == "waiting"


async def test_many_at_once_have_one_effect(access, other_node, pool, desk, li, gao, enrol, session) -> None:
    other = desk_on(other_node, pool, desk._trail)
    asked = await asyncio.gather(
        *((desk, other)[n % 2].ask(li.user, "manager", HOUR, "drill") for n in range(6)), return_exceptions=True
    )
    (wish,) = [one for one in asked if not isinstance(one, BaseException)]
    second = (await enrol("he.lan", "administrator")).user
    agreed = await asyncio.gather(
        *((desk, other)[n % 2].approve("t1", wish.id, (gao, second)[n % 2]) for n in range(6)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in agreed) == 1
    await asyncio.gather(*(one.tick() for one in (desk, other, desk, other)))
    assert await session() == (("sales", "manager"), wish.id)
    assert (await alarms(pool)).count("opened") == 1


@pytest.mark.parametrize(
    "change",
    [
        "approved_by = user_id, approved_at = now()",
        "starts_at = asked_at + interval '1 minute', ends_at = asked_at + interval '61 minutes'",
        "ends_at = ends_at + interval '1 hour'",
        "opened_at = asked_at",
    ],
    ids=["own", "no-delay", "longer", "opened-early"],
)
async def test_the_table_itself_refuses_what_one_person_could_gain_by(pool, desk, li, change) -> None:
    wish = await desk.ask(li.user, "manager", HOUR, "system-down")
    with pytest.raises(CheckViolation):
        async with pool.connection() as db:
            await db.execute(f"UPDATE app_emergency SET {change} WHERE id = %s", (wish.id,))


async def test_what_was_asked_for_is_never_changed_or_deleted(pool, desk, li, gao) -> None:
    wish = await desk.ask(li.user, "manager", HOUR, "system-down")
    for change in ("SET role = 'administrator'", "SET lasts = interval '8 hours'", f"SET user_id = '{gao.id}'"):
        with pytest.raises(RaiseException):
            async with pool.connection() as db:
                await db.execute(f"UPDATE app_emergency {change} WHERE id = %s", (wish.id,))
    with pytest.raises(RaiseException):
        async with pool.connection() as db:
            await db.execute("DELETE FROM app_emergency WHERE id = %s", (wish.id,))
    await desk.end("t1", wish.id, gao)
    with pytest.raises(RaiseException):
        async with pool.connection() as db:
            await db.execute("UPDATE app_emergency SET ended_at = NULL, ended_by = NULL WHERE id = %s", (wish.id,))


async def test_a_session_that_is_over_stays_over(access, desk, li, gao, session) -> None:
    wish = await desk.ask(li.user, "manager", HOUR, "system-down")
    await desk.approve("t1", wish.id, gao)
    access.clock.advance(minutes=40)
    with pytest.raises(SessionExpired):
        await session()
