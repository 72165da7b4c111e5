"""Emergency roles in the console: the alarm everybody who watches sees, and the mark in what is done with one."""

from datetime import timedelta

import pytest

from audit.query import recent
from gateway.access.emergencies import REASONS
from gateway.console.words import EMERGENCY_REASONS

WISH = {"role": "administrator", "hours": "1", "reason": "system-down"}


@pytest.fixture
async def manager(stage):
    """A manager's browser."""
    return await stage.signed_in(await stage.enrol("xu.fei", "manager"))


async def current(stage):
    return list(await stage.console.emergencies.current("t1"))


def test_every_reason_has_words() -> None:
    assert tuple(EMERGENCY_REASONS) == REASONS


async def test_the_alarm_stands_on_every_page_of_those_who_watch(stage, admin, manager) -> None:
    auditor = await stage.signed_in(await stage.enrol("shen.yu", "auditor"))
    assert (await manager.post("/emergency", WISH)).status == 303
    for browser in (admin, auditor):
        for path in ("/", "/users", "/emergency", "/health"):
            assert "xu.fei takes the emergency role Administrator" in (await browser.get(path)).text, path
    assert "将于" in (await admin.get("/users?lang=zh_Hans")).text
    assert (await manager.get("/users")).status == 403


async def test_a_second_person_agrees_and_everything_done_is_marked(stage, admin, manager) -> None:
    await manager.post("/emergency", WISH)
    (one,) = await current(stage)
    page = (await manager.get("/emergency")).text
    assert f"/emergency/{one.id}/approve" not in page
    assert (await manager.post(f"/emergency/{one.id}/approve")).status == 403
    assert (await admin.post(f"/emergency/{one.id}/approve")).status == 303
    assert "You act with an emergency role" in (await manager.get("/users")).text
    li = await stage.enrol("li.wei", "sales")
    await manager.post(f"/users/{li.user.id}/disable", {"cause": "clean-up"})
    done = next(
        row.content for row in await stage.trail.recent("t1", 50, _any()) if row.content["reason"] == "user-disabled"
    )
    assert done["fields"]["emergency"] == one.id
    assert done["actor_login"] == "xu.fei"
    assert (await manager.post(f"/emergency/{one.id}/end")).status == 303
    assert (await manager.get("/users")).status == 403
    kinds = [(entry.kind, entry.reason) for entry in await recent(stage.pool, "t1", 100)]
    for step in ("asked", "approved", "opened", "ended"):
        assert ("alarm", f"access:break-glass:{step}") in kinds


def _any():
    from audit.store import Filters

    return Filters()


async def test_whoever_watches_objects_and_strangers_do_not(stage, admin, manager) -> None:
    await manager.post("/emergency", WISH)
    (one,) = await current(stage)
    other = await stage.signed_in(await stage.enrol("yu.lan", "manager"))
    assert (await other.post(f"/emergency/{one.id}/end")).status == 403
    assert (await admin.post(f"/emergency/{one.id}/end")).status == 303
    assert await current(stage) == []
    assert "never opened" in (await admin.get("/emergency")).text


async def test_wishes_that_make_no_sense_are_refused_on_the_form(stage, manager) -> None:
    for change in ({"role": "king"}, {"role": "manager"}, {"hours": "9"}, {"hours": "x"}, {"reason": "because"}):
        assert (await manager.post("/emergency", WISH | change)).status == 422
    assert await current(stage) == []
    assert [reason for _, reason, _ in await stage.reasons()].count("emergency-refused") == 5


async def test_asking_needs_a_fresh_proof_and_the_right(stage, manager) -> None:
    sales = await stage.signed_in(await stage.enrol("li.wei", "sales"))
    assert (await sales.post("/emergency", WISH)).status == 403
    stage.clock.advance(minutes=20)
    assert "/.crmgate/step-up" in (await manager.post("/emergency", WISH)).header("location")
    assert await current(stage) == []


async def test_alone_it_opens_by_itself_after_the_delay(stage, manager) -> None:
    await manager.post("/emergency", WISH)
    (one,) = await current(stage)
    assert one.starts_at - one.asked_at == timedelta(minutes=15)
    stage.clock.advance(minutes=15)
    await stage.console.emergencies.tick()
    assert (await manager.get("/users")).status == 200
