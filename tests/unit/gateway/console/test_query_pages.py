"""SQL of the trail in the console: asked, followed, stopped, paged, fetched; by whom and with what on record."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from audit.query import recent
from audit.store import Filters
from gateway.console.result_plot import draw
from tests.unit.audit.sql.conftest import entry
from tests.unit.gateway.console.stage import Browser, make_stage

LONG = "SELECT count(*) FROM sight a, sight b, sight c, sight d, sight e, sight f WHERE a.index + f.index > b.index"


@pytest.fixture
async def stage(pool, dsn, tmp_path: Path, clock):
    made = await make_stage(pool, dsn, tmp_path, clock)
    for number in range(30):
        await made.audit.append(entry("t1", number))
        await made.audit.append(entry("t2", number))
    yield made
    assert made.console.queries is not None
    await made.console.queries.close()
    await made.audit.close()


async def ask(browser: Browser, statement: str) -> str:
    """Where the statement is followed."""
    answer = await browser.post("/query", {"statement": statement})
    assert answer.status == 303
    return answer.header("location")


async def ended(browser: Browser, place: str) -> str:
    """The page once the statement has ended."""
    while "hx-get" in (await browser.get(f"{place}/now", {"hx-request": "true"})).text:
        await asyncio.sleep(0.05)
    return (await browser.get(place)).text


async def noted(stage: Any) -> list[dict[str, Any]]:
    rows = await recent(stage.pool, "t1", 50, Filters(operation="console.audit"))
    return [orjson.loads(row.body) for row in reversed(rows)]


async def test_an_auditor_asks_and_gets_rows_and_who_asked_what_is_on_record(stage) -> None:
    browser = await stage.signed_in(await stage.enrol("au.dit", "auditor"))
    assert "SELECT at, actor_login" in (await browser.get("/query")).text
    place = await ask(
        browser, "SELECT actor_login, count(*) AS seen FROM sight WHERE record = 't1-r3' GROUP BY 1 ORDER BY 1"
    )
    page = await ended(browser, place)
    assert "t1.user0" in page
    assert "t2." not in page
    assert "row-bars" in page
    asked, answered = [one for one in await noted(stage) if one["reason"] in ("query-asked", "query-answered")]
    assert asked["actor_login"] == "au.dit"
    assert " ".join(asked["fields"]["statement"]) == (
        "select actor_login , count ( * ) as n1 from sight where record = ? group by ? order by ?"
    )
    assert asked["fields"]["detail"] == ["sight"]
    assert answered["fields"]["rows"] == 3


async def test_rows_come_in_pages_and_as_a_file(stage) -> None:
    browser = await stage.signed_in(await stage.enrol("au.dit", "auditor"))
    place = await ask(
        browser,
        "SELECT a.index AS one, b.index AS two, '=1+1' AS formula FROM event a, event b ORDER BY 1, 2 LIMIT 250",
    )
    page = await ended(browser, place)
    assert "page=2" in page
    assert "page=3" in (await browser.get(f"{place}?page=2")).text
    assert "page=1" not in (await browser.get(f"{place}?page=x")).text
    file = await browser.get(f"{place}/csv")
    assert file.header("content-type").startswith("text/csv")
    lines = file.text.lstrip("\ufeff").splitlines()
    assert lines[:2] == ["one,two,formula", "0,0,'=1+1"]
    assert len(lines) == 251
    assert "query-exported" in {one["reason"] for one in await noted(stage)}


@pytest.mark.parametrize(
    ("language", "said"), [("en", "“getenv”, line 1, character 8."), ("zh-CN", "“getenv”，第 1 行第 8 个字符")]
)
async def test_a_refused_statement_says_which_word_where_and_keeps_the_text(stage, language: str, said: str) -> None:
    browser = await stage.signed_in(await stage.enrol("au.dit", "auditor"))
    place = await ask(browser, "SELECT getenv('HOME')")
    await ended(browser, place)
    page = (await browser.get(place, {"accept-language": language})).text
    assert said in page
    assert "SELECT getenv(&#39;HOME&#39;)</textarea>" in page
    (refused,) = [one for one in await noted(stage) if one["reason"] == "query-refused"]
    assert refused["fields"]["detail"] == ["unknown-function"]


async def test_a_long_statement_shows_progress_and_stops_at_the_button(stage) -> None:
    browser = await stage.signed_in(await stage.enrol("au.dit", "auditor"))
    place = await ask(browser, LONG)
    assert "<progress" in (await browser.get(f"{place}/now")).text
    second = await ask(browser, "SELECT 1 AS one FROM event")
    assert "Another statement of yours is still running" in await ended(browser, second)
    assert (await browser.post(f"{place}/cancel")).status == 303
    assert "Stopped." in (await browser.get(place)).text
    assert "query-cancelled" in {one["reason"] for one in await noted(stage)}
    third = await ask(browser, "SELECT count(*) AS entries FROM event WHERE actor = 't1-u1'")
    assert ">10<" in await ended(browser, third)


async def test_nobody_sees_stops_or_fetches_what_somebody_else_asked(stage) -> None:
    first = await stage.signed_in(await stage.enrol("au.dit", "auditor"))
    other = await stage.signed_in(await stage.enrol("other.one", "auditor"))
    place = await ask(first, "SELECT min(actor_login) AS who FROM event WHERE actor = 't1-u2'")
    assert "t1.user2" in await ended(first, place)
    assert "t1.user2" not in (await other.get(place)).text
    assert (await other.get(f"{place}/csv")).status == 404
    await other.post(f"{place}/cancel")
    assert "t1.user2" in (await first.get(place)).text


async def test_nothing_is_answered_when_the_trail_cannot_take_it_down(stage) -> None:
    browser = await stage.signed_in(await stage.enrol("au.dit", "auditor"))
    place = await ask(browser, "SELECT min(actor_login) AS who FROM event WHERE actor = 't1-u2'")
    await stage.audit.close()
    asking = stage.console.queries.find(("t1", (await stage.access.users.list("t1"))[0].id), place.rpartition("/")[2])
    await asyncio.wait({asking.task})
    assert asking.task.exception() is not None


@pytest.mark.parametrize(
    ("columns", "drawn"),
    [
        ({"day": ["a", "b"], "n": [1, 3]}, True),
        ({"day": ["a", "b"], "n": [1, -3]}, False),
        ({"day": ["a", "b"], "n": [1, None]}, False),
        ({"day": ["a"], "n": [1]}, False),
        ({"n": [1, 2], "m": [1, 2]}, False),
        ({"day": ["a", "b"], "n": ["x", "y"]}, False),
        ({"day": ["a", "b"], "n": [0, 0]}, True),
    ],
)
def test_bars_are_drawn_where_a_name_stands_beside_a_number(columns: dict[str, list[Any]], drawn: bool) -> None:
    found = draw(pa.table(columns))
    assert (found is not None) == drawn
    if found is not None:
        assert max(bar.part for bar in found.bars) <= 100
