"""Bundles in the console: two people, a fresh proof, the trail first; and why somebody may do something."""

import pytest

from audit.log import AuditUnavailable
from gateway.bundles.bundle import INSTALLATION, State, Wording
from gateway.bundles.installing import wording_of
from policies.enforcer import DEFAULT_POLICY
from tests.unit.gateway.console.stage import Browser, Stage

SHIPPED = DEFAULT_POLICY.read_text(encoding="utf-8")
DELETING = "p, sales, *, op:*, delete, any\n"
CHECKS = "- given: {roles: [sales]}\n  ask: op:party.delete delete\n  expect: allow\n"


@pytest.fixture
async def second(stage: Stage, admin: Browser) -> Browser:
    """Another administrator; bundle 1 is what the settings say."""
    await stage.console.desk("t1").store.install("t1", wording_of(DEFAULT_POLICY), None, stage.clock())
    return await stage.signed_in(await stage.enrol("sun.yu", "administrator"))


async def _states(stage: Stage) -> list[tuple[int, str, str]]:
    found = await stage.console.desk("t1").store.every("t1")
    return [(one.number, one.state, one.drafted.login) for one in reversed(found)]


async def _draft(browser: Browser, rows: str = SHIPPED + DELETING, checks: str = CHECKS) -> None:
    answer = await browser.post("/policy/new", {"rows": rows.replace("\n", "\r\n"), "checks": checks, "note": "why"})
    assert (answer.status, answer.header("location")) == (303, "/policy/2?notice=drafted")


async def _trail(stage: Stage) -> list[tuple[str, str, str]]:
    from audit.store import Filters

    rows = await stage.trail.recent("t1", 100, Filters())
    told = [row.content for row in reversed(rows) if row.content["kind"] == "policy"]
    return [(one["operation"], one["reason"], one["client"]) for one in told]


async def test_one_drafts_and_proposes_and_another_publishes(stage, admin, second) -> None:
    await _draft(admin)
    page = (await admin.get("/policy/2?notice=drafted")).text
    assert "p,sales,*,op:*,delete,any,allow" in page
    assert "Met" in page
    assert (await admin.post("/policy/2/propose")).header("location") == "/policy/2?notice=propose"
    refused = await admin.post("/policy/2/publish")
    assert refused.status == 422
    assert "Nobody publishes what they drafted" in refused.text
    assert "Publish</a>" not in (await admin.get("/policy/2")).text
    assert "Drafted by gao.ning" in (await second.get("/policy/2/publish")).text
    assert (await second.post("/policy/2/publish")).header("location") == "/policy/2?notice=publish"
    assert await _states(stage) == [(1, "retired", INSTALLATION), (2, "published", "gao.ning")]
    assert await _trail(stage) == [
        ("policy.draft", "drafted", "192.0.2.7"),
        ("policy.propose", "proposed", "192.0.2.7"),
        ("policy.publish", "four-eyes", "192.0.2.7"),
        ("policy.publish", "published", "192.0.2.7"),
    ]
    stored = await stage.console.desk("t1").store.find("t1", 2)
    assert stored.rows == SHIPPED + DELETING  # with the line ends of files


async def test_an_earlier_bundle_is_proposed_anew(stage, admin, second) -> None:
    await _draft(admin)
    await admin.post("/policy/2/propose")
    await second.post("/policy/2/publish")
    assert "What going back would change" in (await admin.get("/policy/1")).text
    answer = await admin.post("/policy/1/rollback", {"note": "too wide"})
    assert answer.header("location") == "/policy/3?notice=rollback"
    stored = await stage.console.desk("t1").store.find("t1", 3)
    assert (stored.state, stored.restores, stored.note) == (State.PROPOSED, 1, "too wide")


async def test_what_may_not_come_into_force_is_kept_as_a_draft_and_goes_no_further(stage, admin, second) -> None:
    await _draft(admin, "p, sales, *, op:x\n")
    page = await admin.get("/policy/2")
    assert "May not come into force" in page.text
    assert "line 1: needs role" in page.text
    answer = await admin.post("/policy/2/propose")
    assert answer.status == 422
    assert "line 1: needs role" in answer.text
    assert (await _states(stage))[-1][:2] == (2, "draft")


async def test_a_check_that_is_not_met_is_shown(admin, second) -> None:
    await _draft(admin, SHIPPED)
    page = (await admin.get("/policy/2")).text
    assert "Not met" in page
    assert "expected allow, is deny" in page


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"rows": "  \n", "checks": "", "note": ""}, "There are no rows"),
        ({"rows": "x" * 40_001, "checks": "", "note": ""}, "The text is too long"),
        ({"rows": "p\0", "checks": "", "note": ""}, "The text is too long"),
    ],
)
async def test_a_draft_that_cannot_be_kept_says_why(stage, admin, second, form, words) -> None:
    answer = await admin.post("/policy/new", form)
    assert answer.status == 422
    assert words in answer.text
    assert len(await _states(stage)) == 1


async def test_every_step_needs_a_fresh_proof(stage, admin, second) -> None:
    await _draft(admin)
    stage.clock.advance(minutes=11)
    for browser, path in ((admin, "/policy/new"), (admin, "/policy/2/propose"), (second, "/policy/1/rollback")):
        for answer in (await browser.get(path), await browser.post(path, {"rows": SHIPPED})):
            assert answer.status == 303
            assert answer.header("location").startswith("/.crmgate/step-up"), path
    assert [state for _, state, _ in await _states(stage)] == ["published", "draft"]


async def test_an_auditor_looks_and_changes_nothing(stage, admin, second) -> None:
    await _draft(admin)
    browser = await stage.signed_in(await stage.enrol("chen.jing", "auditor"))
    for path in ("/policy", "/policy/2", "/policy/explain"):
        page = await browser.get(path)
        assert page.status == 200
        assert "/policy/new" not in page.text
        assert "/policy/2/propose" not in page.text
    for path in ("/policy/new", "/policy/2/propose", "/policy/2/publish"):
        assert (await browser.post(path, {"rows": SHIPPED})).status == 403, path
    assert (await _states(stage))[-1][:2] == (2, "draft")


async def test_without_the_trail_nothing_is_done(stage, admin, second, monkeypatch) -> None:
    await _draft(admin)
    await admin.post("/policy/2/propose")

    async def away(_entry: object) -> int:
        raise AuditUnavailable

    monkeypatch.setattr(stage.audit, "append", away)
    assert (await second.post("/policy/2/publish")).status == 503
    assert (await admin.post("/policy/new", {"rows": SHIPPED})).status == 503
    assert [state for _, state, _ in await _states(stage)] == ["published", "proposed"]


@pytest.mark.parametrize("path", ["/policy/9", "/policy/x", "/policy/99999999999", "/policy/1/burn", "/policy/-1"])
async def test_what_is_not_there_is_not_found(admin, second, path) -> None:
    assert (await admin.get(path)).status == 404


async def test_hostile_text_in_a_bundle_is_text(stage, admin, second) -> None:
    hostile = "# <script>alert(1)</script>\n" + SHIPPED
    await _draft(admin, hostile, "")
    page = (await admin.get("/policy/2")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


async def test_the_answer_names_rows_and_inheritance(stage, admin, second) -> None:
    rows = SHIPPED + "g, trainee, sales, *\n"
    store = stage.console.desk("t1").store
    by = (await store.find("t1", 1)).drafted
    number = await store.draft("t1", Wording(rows, "", "", ""), by)
    page = (await admin.get(f"/policy/explain?who=trainee&what=party.phone&bundle={number}")).text
    assert "p, sales, *, field:*.*#phone, masked, own" in page
    assert "inherited: trainee › sales" in page
    await stage.enrol("li.wei", "sales")
    page = (await admin.get("/policy/explain?who=li.wei&what=op:party.delete&action=delete&lang=zh_Hans")).text
    assert "没有任何策略行允许" in page


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("who=nobody&what=party.phone", "There is no such login"),
        ("who=sales&what=party.nothing", "There is no such field"),
        ("who=sales&what=party.phone&bundle=77", "There is no bundle with this number"),
    ],
)
async def test_a_question_about_nothing_says_so(admin, second, query, words) -> None:
    answer = await admin.get(f"/policy/explain?{query}")
    assert answer.status == 422
    assert words in answer.text
