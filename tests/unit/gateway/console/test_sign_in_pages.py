"""The sign-in pages as browsers and programs meet them; what the trail keeps of it."""

import hashlib
import json

import pytest

from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from tests.unit.gateway.console.stage import CRM_COOKIE, Browser, Stage

SIGN_IN, CODE = "/.crmgate/sign-in", "/.crmgate/sign-in/code"


@pytest.fixture
async def li(stage: Stage):
    return await stage.enrol("li.wei", "sales")


@pytest.fixture
def browser(stage: Stage) -> Browser:
    return stage.browser()


async def test_two_pages_lead_to_where_the_person_wanted_to_go(stage, browser, li) -> None:
    page = await browser.get(f"{SIGN_IN}?next=/contacts%3Fpage=2")
    assert page.status == 200
    assert 'value="/contacts?page=2"' in page.text
    asked = await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password, "next": "/contacts?page=2"})
    assert (asked.status, asked.header("location")) == (303, CODE)
    assert "__Host-crmgate" not in browser.jar
    assert (await browser.get(CODE)).status == 200
    done = await browser.post(CODE, {"code": stage.access.code(li.secret)})
    assert (done.status, done.header("location")) == (303, "/contacts?page=2")
    assert "__Host-crmgate-step" not in browser.jar
    principal = await stage.access.sessions.principal(browser.jar["__Host-crmgate"], stage.clock())
    assert principal.login == "li.wei"
    assert await stage.reasons() == [("li.wei", "password-accepted", 303), ("li.wei", "signed-in", 200)]


async def test_cookies_are_bound_to_the_host_and_out_of_reach_of_scripts(stage, browser, li) -> None:
    asked = await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    done = await browser.post(CODE, {"code": stage.access.code(li.secret)})
    for cookie in (asked.cookies["__Host-crmgate-step"], done.cookies["__Host-crmgate"]):
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= parts
        assert not any(part.startswith("domain") for part in parts)
        assert len(cookie) < 4096


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/ok\r\nx: y",
        "",
        "/.crmgate/sign-in",
    ],
)
async def test_nobody_is_sent_elsewhere_after_signing_in(stage, browser, li, wanted) -> None:
    await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password, "next": wanted})
    done = await browser.post(CODE, {"code": stage.access.code(li.secret)})
    assert done.header("location") == "/"


async def test_wrong_password_and_unknown_login_get_the_same_page(browser, li) -> None:
    wrong = await browser.post(SIGN_IN, {"login": "same.words", "password": "x"})
    stage_text = (await browser.post(SIGN_IN, {"login": "li.wei", "password": "x"})).text
    assert wrong.status == 401
    assert wrong.text.replace("same.words", "li.wei") == stage_text


async def test_what_was_typed_as_login_is_audited_only_when_it_is_somebodys(stage, browser, li) -> None:
    await browser.post(SIGN_IN, {"login": "my secret pass phrase", "password": "x"})
    await browser.post(SIGN_IN, {"login": "li.wei", "password": "x"})
    assert await stage.reasons() == [("", "password-wrong", 401), ("li.wei", "password-wrong", 401)]


async def test_wrong_and_replayed_codes_are_told_apart_and_audited(stage, browser, li) -> None:
    code = stage.access.code(li.secret)
    await stage.access.sign_in.at_once("t1", "li.wei", li.password, code, "192.0.2.7")
    await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    replayed = await browser.post(CODE, {"code": code})
    assert replayed.status == 401
    assert "used already" in replayed.text
    wrong = await browser.post(CODE, {"code": "000000" if code != "000000" else "111111"})
    assert wrong.status == 401
    assert [reason for _, reason, _ in await stage.reasons()] == ["password-accepted", "code-replayed", "code-wrong"]
    assert "__Host-crmgate" not in browser.jar


async def test_too_many_attempts_say_when_to_come_back(stage, browser, li) -> None:
    for _ in range(5):
        await browser.post(SIGN_IN, {"login": "li.wei", "password": "x"})
    locked = await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    assert (locked.status, locked.header("retry-after")) == (429, "2")
    assert (await stage.reasons())[-1] == ("li.wei", "locked", 429)


async def test_the_code_page_cannot_be_reached_without_the_password(browser) -> None:
    assert (await browser.get(CODE)).header("location") == SIGN_IN
    posted = await browser.post(CODE, {"code": "123456"})
    assert posted.header("location") == f"{SIGN_IN}?notice=expired"


async def test_signing_in_again_ends_the_session_the_browser_had(stage, browser, li) -> None:
    await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    await browser.post(CODE, {"code": stage.access.code(li.secret)})
    old = browser.jar["__Host-crmgate"]
    stage.clock.advance(seconds=30)
    await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    await browser.post(CODE, {"code": stage.access.code(li.secret)})
    assert browser.jar["__Host-crmgate"] != old
    assert len(await stage.access.sessions.list("t1", stage.clock())) == 1


async def test_a_planted_session_cookie_is_never_adopted(stage, browser, li) -> None:
    browser.jar["__Host-crmgate"] = "A" * 43
    await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    await browser.post(CODE, {"code": stage.access.code(li.secret)})
    assert browser.jar["__Host-crmgate"] != "A" * 43


async def test_two_cookies_with_the_session_name_count_as_none(stage, li) -> None:
    browser = await stage.signed_in(li, AUDIENCE_CRM)
    token = browser.jar["__Host-crmgate"]
    twice = {"cookie": f"__Host-crmgate={token}; __Host-crmgate={'A' * 43}"}
    assert (await browser.bare("GET", "/.crmgate/account", twice)).status == 303


async def test_signing_out_ends_session_and_crm_tokens_and_takes_the_cookies(stage, li) -> None:
    browser = await stage.signed_in(li, AUDIENCE_CRM)
    token = browser.jar["__Host-crmgate"]
    session = (await stage.access.sessions.principal(token, stage.clock())).session_id
    crm_token = hashlib.sha256(b"crm-value").hexdigest()
    await stage.access.sessions.note_crm_token(session, crm_token)
    browser.jar[CRM_COOKIE] = "crm-value"
    out = await browser.post("/.crmgate/sign-out")
    assert (out.status, out.header("location")) == (303, f"{SIGN_IN}?notice=signed-out")
    assert browser.jar == {}
    browser.jar["__Host-crmgate"] = token
    assert (await browser.get("/.crmgate/account")).status == 303
    again = await stage.signed_in(li, AUDIENCE_CRM)
    session = (await stage.access.sessions.principal(again.jar["__Host-crmgate"], stage.clock())).session_id
    assert not await stage.access.sessions.crm_token_allowed(crm_token, session)


async def test_signing_out_by_a_link_is_not_possible(stage, li) -> None:
    browser = await stage.signed_in(li, AUDIENCE_CRM)
    assert (await browser.get("/.crmgate/sign-out")).status == 405
    assert (await browser.get("/.crmgate/account")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://crm.example.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "https://crm.example"},
        {},
    ],
)
async def test_forms_from_other_sites_are_refused_before_anything_happens(stage, browser, li, headers) -> None:
    usual = {"content-type": "application/x-www-form-urlencoded"}
    body = f"login=li.wei&password={li.password}".encode()
    assert (await browser.bare("POST", SIGN_IN, usual | headers, body)).status == 403
    assert await stage.reasons() == []


async def test_programs_sign_in_with_both_factors_as_json(stage, browser, li) -> None:
    body = json.dumps({"login": "li.wei", "password": li.password, "code": stage.access.code(li.secret)}).encode()
    answer = await browser.bare("POST", "/.crmgate/api/sign-in", {"content-type": "application/json"}, body)
    assert answer.status == 200
    assert json.loads(answer.body)["expires"].startswith("2026-03-02T21:00")
    await stage.access.sessions.principal(browser.jar["__Host-crmgate"], stage.clock())
    out = await browser.bare("POST", "/.crmgate/api/sign-out", {})
    assert out.status == 204
    assert "__Host-crmgate" not in browser.jar


@pytest.mark.parametrize(
    ("password", "code"), [("x", "000000"), ("right", "000000"), ("right", "replayed"), ("x", "right")]
)
async def test_programs_learn_nothing_about_which_factor_was_wrong(stage, browser, li, password, code) -> None:
    used = stage.access.code(li.secret)
    await stage.access.sign_in.at_once("t1", "li.wei", li.password, used, "192.0.2.7")
    codes = {"replayed": used, "right": stage.access.code(li.secret, 1)}
    body = {"login": "li.wei", "password": li.password if password == "right" else "x", "code": codes.get(code, code)}
    answer = await browser.bare(
        "POST", "/.crmgate/api/sign-in", {"content-type": "application/json"}, json.dumps(body).encode()
    )
    assert (answer.status, json.loads(answer.body)["reason"]) == (401, "sign-in-failed")
    assert answer.header("content-type") == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"login": 1, "password": "x", "code": "1"}',
        b'{"login": "a"}',
        b"[" * 20000,
        b'"' + b"x" * 20000,
    ],
)
async def test_a_json_sign_in_that_is_none_is_refused(browser, body) -> None:
    answer = await browser.bare("POST", "/.crmgate/api/sign-in", {"content-type": "application/json"}, body)
    assert (answer.status, json.loads(answer.body)["reason"]) == (400, "body-malformed")


async def test_a_form_cannot_be_posted_to_the_program_address(browser, li) -> None:
    """A page of another site can send forms without asking, but not JSON."""
    answer = await browser.bare("POST", "/.crmgate/api/sign-in", {"content-type": "text/plain"}, b'{"login": "x"}')
    assert answer.status == 400


async def test_a_session_of_the_crm_host_is_none_on_the_console(stage, gao) -> None:
    crm = await stage.signed_in(gao, AUDIENCE_CRM)
    console = stage.browser(AUDIENCE_CONSOLE)
    console.jar["__Host-crmgate-console"] = crm.jar["__Host-crmgate"]
    assert (await console.get("/users")).header("location") == "/.crmgate/sign-in?next=/users"


async def test_when_the_trail_is_away_nobody_is_let_in(stage, browser, li) -> None:
    await stage.audit.close()
    asked = await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    assert asked.status == 503
    assert browser.jar == {}


async def test_when_the_database_is_away_the_page_says_so(stage, browser, li, pool) -> None:
    await pool.close()
    answer = await browser.post(SIGN_IN, {"login": "li.wei", "password": li.password})
    assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert "Not available right now" in answer.text


async def test_every_answer_carries_the_headers_and_is_not_kept(browser) -> None:
    for answer in [await browser.get(SIGN_IN), await browser.get("/.crmgate/nothing"), await browser.post(SIGN_IN)]:
        assert answer.header("content-security-policy").startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in answer.header("content-security-policy")
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("cache-control") == "no-store"


async def test_static_files_are_kept_for_ever_under_an_address_of_their_own(stage, browser) -> None:
    address = stage.crm.look.address("console.css")
    answer = await browser.get(address)
    assert (answer.status, answer.header("content-type")) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.header("cache-control")
    again = await browser.get(address, {"if-none-match": answer.header("etag")})
    assert (again.status, again.body) == (304, b"")
    assert (await browser.get("/.crmgate/static/../app.py")).status == 404


async def test_the_language_is_the_wish_then_the_cookie_then_the_browsers(browser) -> None:
    asked = await browser.get(f"{SIGN_IN}?lang=zh_Hans")
    assert '<html lang="zh-Hans">' in asked.text
    assert "登录" in asked.text
    assert '<html lang="zh-Hans">' in (await browser.get(SIGN_IN, {"accept-language": "en"})).text
    browser.jar.clear()
    assert '<html lang="zh-Hans">' in (await browser.get(SIGN_IN, {"accept-language": "zh-CN,en;q=0.5"})).text
    assert '<html lang="en">' in (await browser.get(SIGN_IN, {"accept-language": "fr,de;q=0.5"})).text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(browser, method) -> None:
    assert (await browser.bare(method, SIGN_IN, {"origin": "https://crm.example"})).status == 405


async def test_a_large_body_is_refused(browser) -> None:
    answer = await browser.post(SIGN_IN, b"login=" + b"x" * 100_000)
    assert answer.status == 413
