"""Networks of a person: set in the console, in the trail with both lists, in force at the next request."""

from dataclasses import replace

from gateway.access.gate import Gate
from gateway.access.place_store import PlaceStore
from tests.unit.gateway.console.stage import Stage


async def test_an_administrator_binds_a_person_to_networks(stage: Stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales")
    page = f"/users/{li.user.id}/networks"
    assert "<textarea" in (await admin.get(page)).text
    answer = await admin.post(page, {"networks": "203.0.113.0/24\n2001:DB8::/32"})
    assert answer.status == 303
    assert await PlaceStore(stage.pool).networks("t1", li.user.id) == "203.0.113.0/24 2001:db8::/32"
    assert ("gao.ning", "user-networks-changed", 303) in await stage.reasons()
    assert "203.0.113.0/24\n2001:db8::/32" in (await admin.get(page)).text


async def test_what_is_no_network_is_said_in_both_languages_and_changes_nothing(stage: Stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales")
    for language, word in (("en", "is no network"), ("zh_Hans", "不是网络地址")):
        answer = await admin.post(f"/users/{li.user.id}/networks?lang={language}", {"networks": "10.0.0.1/8"})
        assert answer.status == 422
        assert word in answer.text
    assert await PlaceStore(stage.pool).networks("t1", li.user.id) == ""


async def test_nobody_changes_their_own_list(stage: Stage, admin, gao) -> None:
    answer = await admin.post(f"/users/{gao.user.id}/networks", {"networks": "203.0.113.0/24"})
    assert answer.status == 422
    assert await PlaceStore(stage.pool).networks("t1", gao.user.id) == ""


async def test_an_open_session_is_refused_from_elsewhere_recorded_once_and_may_sign_out(stage: Stage) -> None:
    gate = Gate(PlaceStore(stage.pool), {})
    stage.console = replace(stage.console, access=replace(stage.console.access, gate=gate))
    chen = await stage.enrol("chen.jie", "administrator")
    browser = await stage.signed_in(chen)
    assert (await browser.get("/users")).status == 200
    await PlaceStore(stage.pool).set_networks("t1", chen.user.id, "203.0.113.0/24")
    stage.access.sessions.forget(chen.user.id)  # what the notice does
    answer = await browser.get("/users", {"accept-language": "zh-CN"})
    assert answer.status == 403
    assert "不允许从此处访问" in answer.text
    told = [one for one in await stage.reasons() if one[1] == "place-not-allowed"]
    assert told == [("chen.jie", "place-not-allowed", 403)]
    browser.client = "203.0.113.9"
    assert (await browser.get("/users")).status == 200
    browser.client = "198.51.100.7"
    assert (await browser.post("/.crmgate/sign-out")).status == 303
