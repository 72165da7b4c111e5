"""The lock page and the step-up page, driven as browsers and programs do."""

import json

import pytest

from gateway.access.cookies import SESSION_COOKIES
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM

COOKIE, CONSOLE = SESSION_COOKIES[AUDIENCE_CRM], SESSION_COOKIES[AUDIENCE_CONSOLE]


@pytest.fixture
async def admin(stage):
    return await stage.enrol("gao.ning", "administrator")


async def test_a_locked_session_goes_on_where_it_was_under_a_new_token(stage, admin) -> None:
    browser = await stage.signed_in(admin, AUDIENCE_CRM)
    before = browser.jar[COOKIE]
    answer = await browser.post("/.crmgate/lock", {"next": "/contacts?page=2"})
    assert (answer.status, answer.header("location")) == (303, "/.crmgate/lock?next=/contacts%3Fpage%3D2")
    shown = await browser.get("/.crmgate/account")
    assert (shown.status, shown.header("location")) == (303, "/.crmgate/lock?next=/.crmgate/account")
    page = await browser.get("/.crmgate/lock?next=/contacts%3Fpage%3D2")
    assert page.status == 200
    assert 'value="/contacts?page=2"' in page.text
    wrong = await browser.post("/.crmgate/lock/code", {"code": "000000", "next": "/contacts"})
    assert wrong.status == 422
    assert browser.jar[COOKIE] == before
    stage.clock.advance(seconds=30)
    code = stage.access.code(admin.secret)
    done = await browser.post("/.crmgate/lock/code", {"code": code, "next": "/contacts?page=2"})
    assert (done.status, done.header("location")) == (303, "/contacts?page=2")
    assert browser.jar[COOKIE] != before
    assert (await browser.get("/.crmgate/account")).status == 200
    browser.jar[COOKIE] = before
    assert "/sign-in" in (await browser.get("/.crmgate/account")).header("location")
    said = [reason for _, reason, _ in await stage.reasons()]
    assert {"session-locked-by-owner", "code-wrong", "session-unlocked"} <= set(said)


async def test_unlocking_leads_to_no_other_host(stage, admin) -> None:
    browser = await stage.signed_in(admin, AUDIENCE_CRM)
    answer = await browser.post("/.crmgate/lock", {"next": "//evil.example/x"})
    assert answer.header("location") == "/.crmgate/lock?next=/"


async def test_a_locked_person_can_sign_out(stage, admin) -> None:
    browser = await stage.signed_in(admin, AUDIENCE_CRM)
    await browser.post("/.crmgate/lock", {})
    assert (await browser.post("/.crmgate/sign-out", {})).status == 303
    assert COOKIE not in browser.jar


async def test_programs_unlock_and_step_up_by_json(stage, admin) -> None:
    browser = await stage.signed_in(admin, AUDIENCE_CRM)
    await browser.post("/.crmgate/lock", {})
    kind = {"content-type": "application/json"}

    async def ask(path: str, code: str):
        return await browser.bare("POST", path, kind, json.dumps({"code": code}).encode())

    stage.clock.advance(seconds=30)
    code = stage.access.code(admin.secret)
    locked = await ask("/.crmgate/api/step-up", code)
    assert (locked.status, json.loads(locked.body)["reason"]) == (401, "session-locked")
    assert (await ask("/.crmgate/api/unlock", "000000")).status == 401
    assert (await ask("/.crmgate/api/unlock", code)).status == 200
    replayed = await ask("/.crmgate/api/step-up", code)
    assert replayed.status == 401
    stage.clock.advance(seconds=30)
    assert (await ask("/.crmgate/api/step-up", stage.access.code(admin.secret))).status == 200


async def test_a_sensitive_page_of_the_console_asks_for_a_fresh_proof_and_comes_back(stage, admin) -> None:
    browser = await stage.signed_in(admin)
    address = f"/users/{admin.user.id}/reset"
    assert (await browser.get(address)).status == 200
    stage.clock.advance(minutes=10)
    assert (await browser.get("/users")).status == 200
    for answer in (await browser.get(address), await browser.post(address, {"cause": "clean-up"})):
        assert answer.status == 303
        assert answer.header("location").startswith("/.crmgate/step-up?next=")
    page = await browser.get(f"/.crmgate/step-up?next={address}")
    assert page.status == 200
    before = browser.jar[CONSOLE]
    done = await browser.post("/.crmgate/step-up/code", {"code": stage.access.code(admin.secret), "next": address})
    assert (done.status, done.header("location")) == (303, address)
    assert browser.jar[CONSOLE] != before
    assert (await browser.get(address)).status == 200
