"""Reviews in the console: a look, a round, decisions, removals, a report."""

import csv
import io
import re
from datetime import timedelta

import pytest

from gateway.console import review_pages
from gateway.key_step import Present
from gateway.reviews.desk import ReviewDesk
from gateway.reviews.round import Decided
from gateway.reviews.store import ReviewStore
from kms.destruction import Person
from kms.store import StoreUnavailable
from tests.unit.gateway.access.world import Enrolled
from tests.unit.gateway.console.stage import Stage


def desk_of(stage: Stage) -> ReviewDesk:
    """The review desk of the stage."""
    return ReviewDesk(ReviewStore(stage.pool), stage.pool, stage.access.users, stage.console.desk("t1"))


async def reviewed(stage: Stage) -> None:
    """Everybody has had their roles for a year; round 1 is closed, round 2 open with a removal to do."""
    async with stage.pool.connection() as db:
        await db.execute("UPDATE role_held SET since = %s", (stage.clock() - timedelta(days=365),))
        await db.execute("UPDATE role_held SET exact = false WHERE role = 'manager'")
    desk, who = desk_of(stage), Present(Person("u-9", "sun.yu"), ("administrator",), "192.0.2.9")
    for number in (1, 2):
        await desk.start(who, await desk.look())
        items = await desk.store.items("t1", number)
        await desk.decide(who, number, {items[0].number: Decided.KEEP, items[-1].number: Decided.REMOVE})
        if number == 1:
            await desk.close(who, number)


@pytest.fixture
async def li(stage: Stage, admin: object) -> Enrolled:
    """Somebody of sales who did nothing for a year."""
    person = await stage.enrol("li.wei", "sales")
    async with stage.pool.connection() as db:
        await db.execute("UPDATE role_held SET since = %s", (stage.clock() - timedelta(days=365),))
    return person


async def _item(stage: Stage, login: str) -> int:
    items = await desk_of(stage).store.items("t1", 1)
    return next(one.number for one in items if one.finding.login == login)


async def test_it_shows_who_has_what_and_what_nobody_used(admin, li) -> None:
    page = (await admin.get("/reviews")).text
    for words in ("li.wei", "gao.ning", "Unused", "p, sales, *, op:*, export, any", "Start a round"):
        assert words in page, words
    only = (await admin.get("/reviews?only=unused")).text
    assert "gao.ning</a></th>" not in only.split("Who has what")[1]
    assert "未使用" in (await admin.get("/reviews?lang=zh_Hans")).text


async def test_a_round_from_its_start_to_its_report(stage, admin, li) -> None:
    assert (await admin.post("/reviews")).header("location") == "/reviews/1?notice=started"
    assert (await admin.post("/reviews")).header("location") == "/reviews/1?notice=open"
    item, own = await _item(stage, "li.wei"), await _item(stage, "gao.ning")
    page = (await admin.get("/reviews/1")).text
    assert f'name="item-{item}"' in page
    assert f'name="item-{own}"' not in page
    row = re.search(r"<code>p, sales, \*, op:\*, export, any</code>.*?name=\"(item-\d+)\"", page, re.S)
    assert row is not None
    assert (await admin.post("/reviews/1", {f"item-{item}": "remove", row[1]: "remove"})).status == 303
    assert "Have 2 removals done" in (await admin.get("/reviews/1")).text
    assert (await admin.post("/reviews/1/remove")).header("location") == "/reviews/1?notice=remove"
    assert (await stage.access.users.get("t1", li.user.id)).roles == ()
    assert '<a href="/policy/1">Bundle 1</a>' in (await admin.get("/reviews/1")).text
    assert (await admin.post("/reviews/1/close")).header("location") == "/reviews/1?notice=close"
    report = await admin.get("/reviews/1/export")
    lines = list(csv.DictReader(io.StringIO(report.text.removeprefix("\ufeff"))))
    assert [(one["decision"], one["decided_by"]) for one in lines if one["login"] == "li.wei"] == [
        ("remove", "gao.ning")
    ]
    assert {one["decision"] for one in lines if one["login"] == "gao.ning"} == {""}
    assert 'name="item-' not in (await admin.get("/reviews/1")).text


async def test_nobody_decides_about_themselves_whatever_is_posted(stage, admin, li) -> None:
    await admin.post("/reviews")
    answer = await admin.post("/reviews/1", {f"item-{await _item(stage, 'gao.ning')}": "keep"})
    assert answer.status == 422
    assert "Nobody decides about a role of their own" in answer.text


async def test_an_auditor_reads_and_exports_only(stage, admin, li) -> None:
    await admin.post("/reviews")
    auditor = await stage.signed_in(await stage.enrol("chen.jing", "auditor"))
    for path in ("/reviews", "/reviews/1", "/reviews/export", "/reviews/1/export"):
        answer = await auditor.get(path)
        assert answer.status == 200, path
        assert "Start a round" not in answer.text
        assert 'name="item-' not in answer.text
    assert ("chen.jing", "reviews-exported", 200) in await stage.reasons()
    for path in ("/reviews", "/reviews/1", "/reviews/1/remove", "/reviews/1/close"):
        assert (await auditor.post(path, {"item-1": "keep"})).status == 403, path


async def test_every_act_needs_a_fresh_proof(stage, admin, li) -> None:
    await admin.post("/reviews")
    stage.clock.advance(minutes=11)
    for path in ("/reviews", "/reviews/1", "/reviews/1/remove", "/reviews/1/close"):
        answer = await admin.post(path, {"item-1": "keep"})
        assert answer.header("location").startswith("/.crmgate/step-up"), path
    assert (await admin.get("/reviews/1")).header("location").startswith("/.crmgate/step-up")


@pytest.mark.parametrize("path", ["/reviews/9", "/reviews/x", "/reviews/9/export"])
async def test_what_is_not_there_is_not_found(admin, li, path) -> None:
    assert (await admin.get(path)).status == 404
    assert (await admin.post("/reviews/1/burn")).status == 404


async def test_a_trail_that_is_away_is_no_result(admin, li, monkeypatch) -> None:
    async def away(*_args: object, **_more: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(review_pages.ReviewDesk, "look", away)
    assert (await admin.get("/reviews")).status == 503
    assert (await admin.post("/reviews")).status == 503
    monkeypatch.undo()
    assert (await admin.get("/reviews")).status == 200


async def test_a_login_that_looks_like_a_formula_is_text(stage, admin, li) -> None:
    await stage.enrol("=1+1", "sales")
    assert ",'=1+1," in (await admin.get("/reviews/export")).text
