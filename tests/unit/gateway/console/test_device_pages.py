"""The device page, its script's calls, own devices and those of others, as a browser with a key drives them."""

import json
from dataclasses import replace

import pytest

from gateway.access.cookies import SESSION_COOKIES
from gateway.access.device import Approval, Binding, DeviceRules
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from gateway.console.look import read_look
from kms.store import StoreUnavailable
from tests.unit.gateway.access.key_holder import KeyHolder
from tests.unit.gateway.console.stage import CONSOLE_HOST, CRM_HOST, make_stage

COOKIE, CONSOLE = SESSION_COOKIES[AUDIENCE_CRM], SESSION_COOKIES[AUDIENCE_CONSOLE]
BOUND = DeviceRules(Binding.BOUND)
JSON = {"content-type": "application/json", "user-agent": "Mozilla/5.0 (X11; Linux) Firefox/130.0"}


class Holder:
    """A browser of the stage with a key."""

    def __init__(self, browser, key: KeyHolder | None = None) -> None:  # type: ignore[no-untyped-def]
        self.browser = browser
        self.key = key or KeyHolder(f"https://{browser.host}")

    async def call(self, path: str, body: object):  # type: ignore[no-untyped-def]
        return await self.browser.post(f"/.crmgate/device/{path}", json.dumps(body).encode(), JSON)

    async def prove(self, *, act: bool = False):  # type: ignore[no-untyped-def]
        asked = await self.call("ask", {})
        assert asked.status == 200, asked.text
        proof = self.key.proof(json.loads(asked.text)["challenge"], act=act)
        given = {"challenge": proof.challenge, "key": proof.key, "signature": proof.signature, "act": "1" * act}
        return await self.call("prove", given)

    async def act(self, method: str, address: str, form: object = ()):  # type: ignore[no-untyped-def]
        assert (await self.prove(act=True)).status == 200
        if method == "GET":
            return await self.browser.get(address)
        return await self.browser.post(address, form, {"referer": f"https://{self.browser.host}/.crmgate/account"})


@pytest.fixture
async def stage_of(pool, dsn, tmp_path, clock):  # type: ignore[no-untyped-def]
    made = []

    async def make(rules: DeviceRules):  # type: ignore[no-untyped-def]
        made.append(await make_stage(pool, dsn, tmp_path, clock, read_look(), devices=rules))
        return made[-1]

    yield make
    for one in made:
        await one.audit.close()


async def reasons(stage) -> list[str]:  # type: ignore[no-untyped-def]
    return [reason for _, reason, _ in await stage.reasons()]


async def test_a_sign_in_goes_on_by_the_device_page(stage_of) -> None:
    stage = await stage_of(BOUND)
    person = await stage.enrol("li.na", "sales")
    browser = await stage.signed_in(person, AUDIENCE_CRM)
    shown = await browser.get("/.crmgate/account")
    assert (shown.status, shown.header("location")) == (303, "/.crmgate/device?next=/.crmgate/account&act=1")
    page = await browser.get("/.crmgate/device?next=/contacts")
    assert page.status == 200
    assert 'data-next="/contacts"' in page.text
    assert "/.crmgate/device/worker.js?at=crm" in page.text
    before, holder = browser.jar[COOKIE], Holder(browser)
    told = await holder.prove()
    assert json.loads(told.text) == {"state": "open", "renew_s": 240}
    assert browser.jar[COOKIE] != before
    assert told.cookies[COOKIE].endswith("; HttpOnly; Path=/; SameSite=lax; Secure")
    shown = await browser.get("/.crmgate/account")
    assert (shown.status, shown.header("location")) == (303, "/.crmgate/device?next=/.crmgate/account&act=1")
    assert (await holder.act("GET", "/.crmgate/account")).status == 200
    assert (await browser.get("/.crmgate/account")).status == 303, "a proof is used up by what it was for"
    assert {"device-new", "device-bound"} <= set(await reasons(stage))


async def test_what_was_sent_without_a_proof_is_not_done_and_said_so(stage_of) -> None:
    stage = await stage_of(BOUND)
    person = await stage.enrol("li.na", "sales")
    browser = await stage.signed_in(person, AUDIENCE_CRM)
    holder = Holder(browser)
    await holder.prove()
    sent = await browser.post(
        "/.crmgate/account/language", {"language": "zh_Hans"}, {"referer": f"https://{CRM_HOST}/.crmgate/account"}
    )
    assert (sent.status, sent.header("location")) == (303, "/.crmgate/device?next=/.crmgate/account&act=1&lost=1")
    assert (await stage.access.users.get("t1", person.user.id)).language == ""
    assert (await holder.act("POST", "/.crmgate/account/language", {"language": "zh_Hans"})).status == 303
    assert (await stage.access.users.get("t1", person.user.id)).language == "zh_Hans"


async def test_nobody_without_a_session_gets_a_challenge(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = stage.browser()
    holder = Holder(browser)
    assert (await holder.call("ask", {})).status == 401
    assert (await holder.call("prove", {"challenge": "c", "key": "k", "signature": "s"})).status == 401
    page = await browser.get("/.crmgate/device?next=/contacts")
    assert page.header("location") == "/.crmgate/sign-in?next=/contacts"
    assert (await browser.get("/.crmgate/device?next=//evil.example")).header("location").endswith("next=/")


@pytest.mark.parametrize("sent", [b"", b"[]", b'{"challenge": 1, "key": "", "signature": ""}', b'{"challenge": "x"}'])
async def test_a_proof_that_is_no_proof_is_refused_and_on_record(stage_of, sent) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    assert (await browser.post("/.crmgate/device/prove", sent, JSON)).status == 400
    wrong = await Holder(browser).call("prove", {"challenge": "x" * 43, "key": "k", "signature": "s"})
    assert (wrong.status, json.loads(wrong.text)["reason"]) == (403, "device-proof-wrong")
    assert "device-proof-wrong" in await reasons(stage)


async def test_a_proof_for_another_host_is_worth_nothing(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    refused = await Holder(browser, KeyHolder(f"https://{CONSOLE_HOST}")).prove()
    assert refused.status == 403


async def test_another_site_cannot_ask_for_or_give_a_proof(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    for path in ("ask", "prove"):
        answer = await browser.post(
            f"/.crmgate/device/{path}", b"{}", JSON | {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        )
        assert answer.status == 403


async def test_without_devices_there_is_nothing_to_prove(stage_of) -> None:
    stage = await stage_of(DeviceRules())
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    assert (await Holder(browser).call("ask", {})).status == 404
    assert (await Holder(browser).call("prove", {})).status == 404
    assert (await browser.get("/.crmgate/device?next=/contacts")).header("location") == "/contacts"
    assert (await browser.get("/.crmgate/account")).status == 200
    assert "/.crmgate/account/devices" not in (await browser.get("/.crmgate/account")).text


async def test_the_worker_may_look_after_the_whole_host_and_is_never_kept(stage_of) -> None:
    stage = await stage_of(BOUND)
    answer = await stage.browser().get("/.crmgate/device/worker.js?at=crm")
    assert (answer.status, answer.header("service-worker-allowed")) == (200, "/")
    assert answer.header("cache-control") == "no-store"
    assert answer.header("content-type").startswith("text/javascript")
    assert answer.header("content-security-policy") == "default-src 'none'; connect-src *"
    assert "crmgateDevice" in answer.text
    page = await stage.browser().get("/.crmgate/sign-in")
    assert "script-src 'self'" in page.header("content-security-policy")


async def test_programs_are_told_what_is_missing(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    answer = await browser.post("/.crmgate/api/step-up", b'{"code": "000000"}', JSON)
    assert (answer.status, json.loads(answer.text)["reason"]) == (401, "device-needed")


async def test_leaving_needs_no_device(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    assert (await browser.post("/.crmgate/sign-out", {})).status == 303
    assert COOKIE not in browser.jar


async def test_a_person_lets_a_new_browser_in_from_a_known_one_and_shuts_one_out(stage_of) -> None:
    stage = await stage_of(replace(BOUND, approval=Approval.USER))
    person = await stage.enrol("li.na", "sales")
    known = Holder(await stage.signed_in(person, AUDIENCE_CRM))
    await known.prove()
    fresh = Holder(await stage.signed_in(person, AUDIENCE_CRM))
    assert json.loads((await fresh.prove()).text)["state"] == "waiting"
    page = await fresh.browser.get("/.crmgate/account")
    assert page.header("location").startswith("/.crmgate/device")
    assert (await fresh.browser.get("/.crmgate/device")).status == 200
    assert "wants to be let in" in (await known.act("GET", "/.crmgate/account")).text
    listed = await known.act("GET", "/.crmgate/account/devices")
    assert "Firefox on Linux" in listed.text
    held = await stage.access.devices.held("t1", person.user.id)
    waiting = next(one for one in held if one.state == "waiting")
    assert f"/.crmgate/account/devices/{waiting.id}/approve" in listed.text
    stage.clock.advance(minutes=4)  # the factor is proved long enough ago to be asked for again
    for _ in range(2):
        await known.prove()
        stage.clock.advance(minutes=4)
    asked = await known.act("POST", f"/.crmgate/account/devices/{waiting.id}/approve")
    assert asked.header("location").startswith("/.crmgate/step-up")
    await known.prove()
    code = {"code": stage.access.code(person.secret), "next": "/.crmgate/account/devices"}
    assert (await known.browser.post("/.crmgate/step-up/code", code)).status == 303
    done = await known.act("POST", f"/.crmgate/account/devices/{waiting.id}/approve")
    assert done.header("location") == "/.crmgate/account/devices?notice=approve"
    assert json.loads((await fresh.prove()).text)["state"] == "open"
    gone = await known.act("POST", f"/.crmgate/account/devices/{waiting.id}/approve")
    assert gone.header("location") == "/.crmgate/account/devices?notice=gone"
    assert (await known.act("POST", f"/.crmgate/account/devices/{waiting.id}/revoke")).status == 303
    assert (await fresh.call("ask", {})).status == 401
    assert {"device-waits", "device-approved", "device-shut-out"} <= set(await reasons(stage))


async def test_nobody_acts_on_the_devices_of_another(stage_of) -> None:
    stage = await stage_of(BOUND)
    one, two = await stage.enrol("li.na", "sales"), await stage.enrol("li.bo", "sales")
    mine = Holder(await stage.signed_in(one, AUDIENCE_CRM))
    other = Holder(await stage.signed_in(two, AUDIENCE_CRM))
    await mine.prove()
    await other.prove()
    device = (await stage.access.devices.held("t1", two.user.id))[0]
    answer = await mine.act("POST", f"/.crmgate/account/devices/{device.id}/revoke")
    assert answer.header("location").endswith("notice=gone")
    assert (await stage.access.devices.held("t1", two.user.id))[0].state == "approved"


async def test_an_administrator_lets_others_in_but_not_himself(stage_of) -> None:
    stage = await stage_of(replace(BOUND, approval=Approval.ADMINISTRATOR))
    admin, person = await stage.enrol("gao.ning", "administrator"), await stage.enrol("li.na", "sales")
    console = Holder(await stage.signed_in(admin))
    assert json.loads((await console.prove()).text)["state"] == "open"
    fresh = Holder(await stage.signed_in(person, AUDIENCE_CRM))
    assert json.loads((await fresh.prove()).text)["state"] == "waiting"
    second = Holder(await stage.signed_in(admin, AUDIENCE_CRM))
    assert json.loads((await second.prove()).text)["state"] == "waiting"
    own = next(one for one in await stage.access.devices.held("t1", admin.user.id) if one.state == "waiting")
    theirs = (await stage.access.devices.held("t1", person.user.id))[0]
    unproved = await console.browser.post(f"/users/{person.user.id}/devices/{theirs.id}/approve")
    assert unproved.header("location").startswith("/.crmgate/device")
    assert (await console.act("GET", f"/users/{person.user.id}/devices")).status == 200
    refused = await console.act("POST", f"/users/{admin.user.id}/devices/{own.id}/approve")
    assert refused.header("location").endswith("notice=own")
    done = await console.act("POST", f"/users/{person.user.id}/devices/{theirs.id}/approve")
    assert done.header("location").endswith("notice=approve")
    assert json.loads((await fresh.prove()).text)["state"] == "open"
    ended = await console.act("POST", f"/users/{person.user.id}/devices/{theirs.id}/revoke")
    assert ended.header("location").endswith("notice=revoke")
    assert (await fresh.call("ask", {})).status == 401
    assert (await console.act("POST", f"/users/{person.user.id}/devices/{theirs.id}/burn")).status == 404


async def test_a_copied_cookie_of_the_console_opens_no_page(stage_of) -> None:
    stage = await stage_of(BOUND)
    console = Holder(await stage.signed_in(await stage.enrol("gao.ning", "administrator")))
    await console.prove()
    for path in ("/", "/users", "/users/new", "/health", "/keys", "/roles", "/.crmgate/account"):
        answer = await console.browser.get(path)
        assert (answer.status, answer.header("location").partition("?")[0]) == (303, "/.crmgate/device"), path
        assert (await console.act("GET", path)).status == 200, path
    assert (await console.browser.get("/users")).status == 303, "each page uses up its own"
    assert (await console.browser.get("/sessions/rows")).status == 200


async def test_owners_do_not_let_themselves_in_where_administrators_do(stage_of) -> None:
    stage = await stage_of(replace(BOUND, approval=Approval.ADMINISTRATOR))
    person = await stage.enrol("li.na", "sales")
    known = Holder(await stage.signed_in(person, AUDIENCE_CRM))
    await known.prove()
    await Holder(await stage.signed_in(person, AUDIENCE_CRM)).prove()
    waiting = next(one for one in await stage.access.devices.held("t1", person.user.id) if one.state == "waiting")
    assert "/approve" not in (await known.act("GET", "/.crmgate/account/devices")).text
    answer = await known.act("POST", f"/.crmgate/account/devices/{waiting.id}/approve")
    assert answer.header("location").endswith("notice=gone")


async def test_a_full_account_and_a_revoked_device_are_told(stage_of) -> None:
    stage = await stage_of(replace(BOUND, most=1))
    person = await stage.enrol("li.na", "sales")
    first = Holder(await stage.signed_in(person, AUDIENCE_CRM))
    await first.prove()
    second = Holder(await stage.signed_in(person, AUDIENCE_CRM))
    full = await second.prove()
    assert (full.status, json.loads(full.text)["reason"]) == (403, "devices-full")
    device = (await stage.access.devices.held("t1", person.user.id))[0]
    await stage.access.devices.revoke("t1", person.user.id, device.id, "admin")
    again = Holder(await stage.signed_in(person, AUDIENCE_CRM), first.key)
    refused = await again.prove()
    assert (refused.status, json.loads(refused.text)["reason"]) == (403, "device-revoked")
    assert {"devices-full", "device-revoked"} <= set(await reasons(stage))


async def test_without_database_or_trail_nothing_is_proved(stage_of, monkeypatch) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    holder = Holder(browser)

    async def away(*_given: object, **_named: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(stage.access.devices._store, "take_challenge", away)
        assert (await holder.prove()).status == 503
    await holder.prove()
    with monkeypatch.context() as broken:
        broken.setattr(stage.access.sessions._store, "use_device_proof", away)
        assert (await holder.act("GET", "/.crmgate/account")).status == 503


async def test_without_the_trail_a_new_device_gets_no_cookie(stage_of, monkeypatch) -> None:
    from audit.log import AuditUnavailable

    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    holder, before = Holder(browser), browser.jar[COOKIE]

    async def away(_entry: object) -> int:
        raise AuditUnavailable("away")

    monkeypatch.setattr(stage.audit, "append", away)
    answer = await holder.prove()
    assert answer.status == 503
    assert browser.jar[COOKIE] == before


FORM_AT = "/.crmgate/device/again?next=/persons/contact/add%3Fa%3D1"


async def test_a_form_that_came_too_late_is_shown_to_be_sent_again_as_it_was(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    given = [
        ("name", '"><script>x</script>'),
        ("name", "李娜"),
        ("note", "one\r\ntwo"),
        ("empty", ""),
        ("submit", "go"),
    ]
    page = await browser.post(FORM_AT, given)
    assert page.status == 401
    assert page.header("cache-control") == "no-store"
    assert 'action="/persons/contact/add?a=1" enctype="application/x-www-form-urlencoded"' in page.text
    assert 'name="name" value="&#34;&gt;&lt;script&gt;x&lt;/script&gt;"' in page.text
    assert 'name="name" value="李娜"' in page.text
    assert 'name="note" value="one\r\ntwo"' in page.text
    assert [page.text.index(f'name="{one}"') for one in ("name", "note", "empty", "submit")] == sorted(
        page.text.index(f'name="{one}"') for one in ("name", "note", "empty", "submit")
    )


def _multipart(filename: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    body = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    body += b'--b\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n' % filename.encode()
    body += b"Content-Type: application/octet-stream\r\n\r\n%s\r\n--b--\r\n" % content
    return body, {"content-type": "multipart/form-data; boundary=b"}


async def test_a_form_with_a_file_is_not_taken_and_the_page_says_so(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    without = await browser.post(FORM_AT, *_multipart("", b""))
    assert 'enctype="multipart/form-data"' in without.text
    assert '<input type="file" name="f">' in without.text
    body, kind = _multipart("list.csv", b"x")
    page = await browser.post(FORM_AT, body, kind)
    assert "data-again-form" not in page.text
    assert 'data-lost="1"' in page.text


@pytest.mark.parametrize("body", [b"a=%ff%fe", b"a=%C4%E3", b"a=x%00y"])
async def test_what_would_come_out_otherwise_is_not_sent_again(stage_of, body) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    page = await browser.post(FORM_AT, body)
    assert "data-again-form" not in page.text
    assert 'data-lost="1"' in page.text


async def test_a_form_is_sent_to_no_other_host(stage_of) -> None:
    stage = await stage_of(BOUND)
    browser = await stage.signed_in(await stage.enrol("li.na", "sales"), AUDIENCE_CRM)
    for wanted in ("//evil.example/x", "https://evil.example", "/.crmgate/sign-out", ""):
        page = await browser.post(f"/.crmgate/device/again?next={wanted}", {"a": "b"})
        assert "data-again-form" not in page.text
        assert "evil" not in page.text
