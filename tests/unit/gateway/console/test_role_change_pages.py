"""Rights in the console where two people give them: asked on the form, agreed to by another person, all on record."""

import re
from pathlib import Path

import pytest

from gateway.access.role_changes import REASONS
from gateway.console.words import RIGHTS_REASONS
from gateway.settings import AccessSettings, Grants
from tests.unit.gateway.console.stage import make_stage


@pytest.fixture
async def stage(pool, dsn, tmp_path: Path, clock):
    made = await make_stage(pool, dsn, tmp_path, clock, settings=AccessSettings(grants=Grants.TWO_PEOPLE))
    yield made
    await made.audit.close()


@pytest.fixture
async def second(stage):
    """Another administrator's browser."""
    return await stage.signed_in(await stage.enrol("he.lan", "administrator"))


def form(*roles: str, **more: str) -> dict[str, object]:
    return {"login": "", "display_name": "", "crm_user": "", "language": "", "roles": list(roles)} | more


async def roles(stage, user) -> tuple[str, ...]:
    return (await stage.access.users.get("t1", user.id)).roles


async def waiting(stage) -> list[str]:
    return [one.id for one in await stage.access.role_changes.waiting("t1")]


def test_every_reason_has_words() -> None:
    assert tuple(RIGHTS_REASONS) == REASONS


async def test_one_asks_another_agrees_and_both_are_on_record(stage, admin, second) -> None:
    li = await stage.enrol("li.wei", "sales")
    path = f"/users/{li.user.id}"
    assert "Reason for new rights" in (await admin.get(path)).text
    assert (await admin.post(path, form("manager"))).status == 422
    asked = await admin.post(path, form("manager", display_name="Li Wei", reason="new-duty"))
    (change,) = await waiting(stage)
    assert (asked.status, asked.header("location")) == (303, f"/changes/{change}?notice=rights-asked")
    assert await roles(stage, li.user) == ("sales",)
    assert (await stage.access.users.get("t1", li.user.id)).display_name == "Li Wei"
    page = (await admin.get(f"/changes/{change}")).text
    assert "+ Manager" in page
    assert "− Sales" in page
    assert f'action="/changes/{change}/approve"' not in page
    assert (await admin.post(f"/changes/{change}/approve")).status == 422
    assert await roles(stage, li.user) == ("sales",)
    assert "li.wei" in (await second.get("/changes")).text
    assert "收回" in (await second.get(f"/changes/{change}?lang=zh_Hans")).text
    assert (await second.post(f"/changes/{change}/approve")).status == 303
    assert await roles(stage, li.user) == ("manager",)
    said = [(who, reason) for who, reason, _ in await stage.reasons() if reason.startswith("rights-")]
    assert said == [("gao.ning", "rights-asked"), ("gao.ning", "rights-refused"), ("he.lan", "rights-agreed")]
    assert (await second.post(f"/changes/{change}/approve")).status == 404


async def test_agreeing_needs_a_fresh_proof(stage, admin, second) -> None:
    li = await stage.enrol("li.wei", "sales")
    await admin.post(f"/users/{li.user.id}", form("manager", reason="new-duty"))
    (change,) = await waiting(stage)
    stage.clock.advance(minutes=20)
    answer = await second.post(f"/changes/{change}/approve")
    assert "/.crmgate/step-up" in answer.header("location")
    assert await roles(stage, li.user) == ("sales",)


async def test_nobody_asks_for_or_agrees_to_their_own(stage, admin, gao, second) -> None:
    assert (
        await admin.post(f"/users/{gao.user.id}", form("administrator", "manager", reason="new-duty"))
    ).status == 422
    assert (
        await admin.post(f"/users/{gao.user.id}", form("administrator", crm_user="7", reason="new-duty"))
    ).status == 422
    assert await waiting(stage) == []
    await second.post(f"/users/{gao.user.id}", form("administrator", "manager", reason="new-duty"))
    (change,) = await waiting(stage)
    assert (await admin.post(f"/changes/{change}/approve")).status == 422
    assert await roles(stage, gao.user) == ("administrator",)


async def test_a_new_account_has_no_rights_before_it_is_set_up_and_somebody_agreed(stage, admin, second) -> None:
    wish = form("manager", login="zhou.min", crm_user="7", reason="new-person")
    assert (await admin.post("/users/new", wish | {"reason": ""})).status == 422
    assert await stage.access.users.by_login("t1", "zhou.min") is None
    made = await admin.post("/users/new", wish)
    assert "another person agrees" in made.text
    token = re.search(r"set-up\?token=([\w-]+)", made.text)
    zhou = await stage.access.users.by_login("t1", "zhou.min")
    assert (zhou.roles, zhou.crm_user) == ((), "")
    (change,) = await waiting(stage)
    assert (await second.post(f"/changes/{change}/approve")).status == 422
    invitation = await stage.access.users.invitation("t1", token.group(1))
    code = stage.access.code(invitation.secret)
    await stage.access.users.accept("t1", token.group(1), "quiet lantern river 52", code)
    assert (await second.post(f"/changes/{change}/approve")).status == 303
    zhou = await stage.access.users.by_login("t1", "zhou.min")
    assert (zhou.roles, zhou.crm_user) == (("manager",), "7")


async def test_taking_away_is_done_at_once(stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales", "manager")
    assert (await admin.post(f"/users/{li.user.id}", form("sales"))).header("location") == "/users?notice=user-changed"
    assert await roles(stage, li.user) == ("sales",)
    assert await waiting(stage) == []


async def test_what_was_asked_for_can_be_withdrawn(stage, admin, second) -> None:
    li = await stage.enrol("li.wei", "sales")
    await admin.post(f"/users/{li.user.id}", form("manager", reason="new-duty"))
    (change,) = await waiting(stage)
    assert (await admin.post(f"/users/{li.user.id}", form("dpo", reason="new-duty"))).status == 422
    assert (await second.post(f"/changes/{change}/withdraw")).status == 303
    assert (await second.post(f"/changes/{change}/approve")).status == 404
    assert "rights-withdrawn" in [reason for _, reason, _ in await stage.reasons()]
    assert "Nothing waits" in (await admin.get("/changes")).text


async def test_without_the_right_nothing_is_decided(stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales")
    await admin.post(f"/users/{li.user.id}", form("manager", reason="new-duty"))
    (change,) = await waiting(stage)
    auditor = await stage.signed_in(await stage.enrol("shen.yu", "auditor"))
    assert (await auditor.get(f"/changes/{change}")).status == 200
    for step in ("approve", "withdraw"):
        assert (await auditor.post(f"/changes/{change}/{step}")).status == 403
    assert await waiting(stage) == [change]
