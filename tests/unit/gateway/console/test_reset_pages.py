"""Resets in the console: two administrators, each step in the trail; and a person's own factors on the account page."""

import re

import pytest

from gateway.access.sessions import AUDIENCE_CONSOLE
from tests.unit.gateway.access.authenticator import Authenticator
from tests.unit.gateway.console.stage import CONSOLE_HOST

HOST = f"https://{CONSOLE_HOST}"


@pytest.fixture
async def second(stage):
    """Another administrator's browser."""
    return await stage.signed_in(await stage.enrol("he.lan", "administrator"))


async def test_one_starts_another_approves_and_the_link_sets_up_the_account_anew(stage, admin, second) -> None:
    li = await stage.enrol("li.wei", "sales")
    token = await stage.access.sessions.open(li.user, "", stage.clock())
    path = f"/users/{li.user.id}"
    assert (await admin.get(f"{path}/reset")).status == 200
    assert (await admin.post(f"{path}/reset", {"cause": "because"})).status == 422
    assert (await admin.post(f"{path}/reset", {"cause": "lost-device"})).status == 303
    assert "Approve the reset" not in (await admin.get(path)).text
    assert (await admin.post(f"{path}/approve-reset", {})).status == 422
    browser = stage.browser()
    browser.jar["__Host-crmgate"] = token
    assert (await browser.get("/.crmgate/account")).status == 200
    assert "Approve the reset" in (await second.get(path)).text
    done = await second.post(f"{path}/approve-reset", {})
    assert re.search(r"/\.crmgate/set-up\?token=", done.text)
    assert (await browser.get("/.crmgate/account")).status == 303
    said = [(who, reason) for who, reason, _ in await stage.reasons() if "reset" in reason]
    assert said == [("gao.ning", "reset-started"), ("gao.ning", "reset-refused"), ("he.lan", "user-reset")]


async def test_a_reset_can_be_withdrawn_and_one_person_alone_gets_no_link(stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales")
    path = f"/users/{li.user.id}"
    assert (await admin.post(f"{path}/invite", {})).status == 422
    await admin.post(f"{path}/reset", {"cause": "lost-device"})
    assert (await admin.post(f"{path}/withdraw-reset", {})).status == 303
    assert (await admin.post(f"{path}/approve-reset", {})).status == 422
    assert (await stage.access.users.get("t1", li.user.id)).has_second_factor
    assert "reset-withdrawn" in [reason for _, reason, _ in await stage.reasons()]


@pytest.mark.parametrize("action", ["reset", "approve-reset", "withdraw-reset"])
async def test_without_the_right_no_step_is_taken(stage, admin, action) -> None:
    li = await stage.enrol("li.wei", "sales")
    auditor = await stage.signed_in(await stage.enrol("shen.yu", "auditor"))
    for answer in (
        await auditor.get(f"/users/{li.user.id}/{action}"),
        await auditor.post(f"/users/{li.user.id}/{action}", {}),
    ):
        assert answer.status == 403
    assert await stage.access.resets.waiting(li.user) is None


async def proof(stage, person, **more) -> dict[str, str]:
    stage.clock.advance(seconds=30)
    return {"password": person.password, "code": stage.access.code(person.secret)} | more


async def test_own_factors_need_password_and_factor_anew(stage, admin, gao) -> None:
    base = "/.crmgate/account"
    for path in (f"{base}/recovery", f"{base}/passkeys/new"):
        wrong = await proof(stage, gao, password="wrong")
        assert (await admin.post(path, wrong)).status == 422
        stage.clock.advance(minutes=20)
        assert (await admin.post(path, await proof(stage, gao, code="000"))).status == 422
        stage.clock.advance(minutes=20)
        admin = await stage.signed_in(gao)
    assert (await stage.access.recovery.state("t1", gao.user.id)).left == 0
    stranger = stage.browser(AUDIENCE_CONSOLE)
    for path in (f"{base}/recovery", f"{base}/passkeys/new", f"{base}/passkeys", f"{base}/passkeys/k-1/remove"):
        assert (await stranger.post(path, {})).status == 303


async def test_a_passkey_is_added_used_and_removed_and_each_step_is_in_the_trail(stage, admin, gao) -> None:
    base, key = "/.crmgate/account", Authenticator()
    page = await admin.post(f"{base}/passkeys/new", await proof(stage, gao))
    options = re.search(r'data-options="([^"]+)"', page.text)[1].replace("&#34;", '"')
    answer = {"credential": key.create(options, HOST), "name": "key one"}
    assert (await admin.post(f"{base}/passkeys", answer)).status == 303
    assert (await admin.post(f"{base}/passkeys", answer)).status == 422
    assert "key one" in (await admin.get(base)).text

    browser = stage.browser(AUDIENCE_CONSOLE)
    await browser.post("/.crmgate/sign-in", {"login": "gao.ning", "password": gao.password})
    assert "data-passkey" in (await browser.get("/.crmgate/sign-in/code")).text
    asked = (await browser.post("/.crmgate/sign-in/passkey/ask", {})).text
    done = await browser.post("/.crmgate/sign-in/passkey", {"credential": key.get(asked, HOST)})
    assert (done.status, done.header("location")) == (303, "/")
    again = stage.browser(AUDIENCE_CONSOLE)
    await again.post("/.crmgate/sign-in", {"login": "gao.ning", "password": gao.password})
    asked = (await again.post("/.crmgate/sign-in/passkey/ask", {})).text
    back = await again.post("/.crmgate/sign-in/passkey", {"credential": key.get(asked, HOST, counter=1)})
    assert back.status == 401

    [held] = await stage.access.passkeys.held("t1", gao.user.id)
    assert (await admin.post(f"{base}/passkeys/{held.id}/remove", {"password": "x", "code": "1"})).status == 422
    assert (await admin.post(f"{base}/passkeys/{held.id}/remove", await proof(stage, gao))).status == 303
    assert await stage.access.passkeys.held("t1", gao.user.id) == []
    assert (await browser.get("/")).status == 303
    said = [reason for _, reason, _ in await stage.reasons()]
    assert said[-1] == "passkey-removed"
    assert {"passkey-added", "passkey-invalid", "passkey-counter-back", "password-wrong"} <= set(said)


async def test_no_challenge_without_a_half_open_sign_in(stage, admin) -> None:
    assert (await admin.post("/.crmgate/sign-in/passkey/ask", {})).status == 404
    answer = await admin.post("/.crmgate/sign-in/passkey", {"credential": "{}"})
    assert answer.header("location") == "/.crmgate/sign-in?notice=expired"
    assert (await stage.browser().get("/.crmgate/sign-in/recovery")).status == 303


async def test_a_recovery_code_signs_in_says_so_and_leads_on(stage, gao) -> None:
    codes = await stage.access.recovery.renew("t1", gao.user.id)
    browser = stage.browser(AUDIENCE_CONSOLE)
    await browser.post("/.crmgate/sign-in", {"login": "gao.ning", "password": gao.password, "next": "/users"})
    done = await browser.post("/.crmgate/sign-in/recovery", {"code": codes[0].lower()})
    assert done.header("location") == "/.crmgate/account?notice=recovery-code-used&next=%2Fusers"
    page = (await browser.get(done.header("location"))).text
    assert "You signed in with a recovery code" in page
    assert "9 codes left" in page
    assert 'href="/users"' in page
    said = [reason for _, reason, _ in await stage.reasons()]
    assert said[-2:] == ["recovery-code-used", "signed-in"]
