"""One search asked once for each value: how often, in what bounds, and that one bad answer ends all of it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from gateway.answer import Answer, AnswerTooLarge, UpstreamDown
from gateway.body.leaf import Leaf
from gateway.body.limits import Limits
from gateway.exchange import Exchange, Head
from gateway.merged import ALL_S, AT_ONCE, ask_all, ask_each, combinations, linked, require_one
from gateway.refusal import Refusal
from policies.merge import MergeRule, compile_merges
from policies.operation import Action, Operation

SOURCE: dict[str, Any] = {
    "paging": {"offset": "offset", "size": "limit", "default": 2, "ask": 2},
    "lists": [{"rows": ["results"], "id": ["id"], "totals": [["count"]]}],
    "sort": [{"key": ["id"]}],
    "links": [{"at": ["next"], "is": "next"}],
    "empty": [204],
    "most": 6,
}
NAMES = {"a": ["1", "2", "3"], "b": ["2", "4"], "c": [], "d": ["5"]}
Ask = Callable[[str, bytes], Awaitable[Answer]]


def exchange(query: str = "", **changed: Any) -> Exchange:
    rule: MergeRule = compile_merges({"one": {**SOURCE, **changed}})["one"]
    head = Head("GET", f"/list?{query}", "/list", query, "crm", (), False, None)
    operation = Operation("contact.list", "contact", Action.LIST, merge=rule)
    return Exchange("x-1", datetime(2026, 3, 1, tzinfo=UTC), head, "acme", operation=operation)


def answered(status: int, value: Any, content_type: bytes = b"application/json") -> Answer:
    answer = Answer(None)
    answer.status, answer.fields = status, [(b"content-type", content_type), (b"etag", b'"1"'), (b"x-kept", b"1")]
    if value is not None:
        answer.take(value if isinstance(value, bytes) else orjson.dumps(value))
    answer.finish()
    return answer


async def page(target: str, _body: bytes) -> Answer:
    """A CRM with a list of each name."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
    ids, start = NAMES[asked["name"]], int(asked.get("offset", 0))
    rows = [{"id": one} for one in ids[start : start + int(asked["limit"])]]
    return answered(200, {"count": len(ids), "next": None, "results": rows})


async def ask(given: Exchange, names: str, crm: Ask = page, limit: int = 10_000) -> Answer:
    legs = [(f"/list?name={name}&{given.head.query}", b"") for name in names]
    return await ask_all(given, legs, crm, Limits(), limit, "https://crm")


def every(given: Exchange, leaf: Leaf) -> tuple[tuple[str, bytes], ...]:
    return combinations(given, {id(leaf)}, lambda: (leaf.new or "", b""))


async def test_each_value_is_asked_for_until_all_of_its_rows_are_here() -> None:
    given = exchange("limit=3")
    answer = await ask(given, "abc")
    told = orjson.loads(await answer.read(10_000))
    assert [one["id"] for one in told["results"]] == ["1", "2", "3"]
    assert told["count"] == 4
    assert given.legs == 3
    assert (b"x-kept", b"1") in answer.fields
    assert not any(name == b"etag" for name, _ in answer.fields)


async def test_a_link_holds_what_the_person_typed_and_stands_in_the_rendered_answer_only() -> None:
    given = exchange("name=Zhang&limit=3")
    body = await (await ask(given, "ab")).read(10_000)
    assert b"Zhang" not in body
    link = orjson.loads(linked(given, body))["next"]
    assert link == "https://crm/list?name=Zhang&limit=3&offset=3"


async def test_what_the_crm_turns_away_is_what_it_says_and_nothing_else_is_asked() -> None:
    calls: list[str] = []

    async def closed(target: str, _body: bytes) -> Answer:
        calls.append(target)
        return answered(401, {"detail": "sign in"})

    answer = await ask(exchange(), "abc", closed)
    assert (answer.status, len(calls)) == (401, 1)


@pytest.mark.parametrize(
    ("status", "value", "kind"),
    [
        (500, {"detail": "x"}, b"application/json"),
        (302, None, b"text/html"),
        (200, b"{", b"application/json"),
        (200, {"count": 3, "results": []}, b"application/json"),
        (204, b"x", b"application/json"),
    ],
)
async def test_one_bad_answer_shows_nothing_of_the_good_ones(status: int, value: Any, kind: bytes) -> None:
    async def second_is_bad(target: str, body: bytes) -> Answer:
        return answered(status, value, kind) if "name=b" in target else await page(target, body)

    with pytest.raises(Refusal) as refusal:
        await ask(exchange(), "abd", second_is_bad)
    assert refusal.value.reason.id == "search-leg-failed"


async def test_a_page_for_people_cannot_be_merged() -> None:
    async def pages(_target: str, _body: bytes) -> Answer:
        return answered(200, b"<html></html>", b"text/html")

    with pytest.raises(Refusal) as refusal:
        await ask(exchange(), "ab", pages)
    assert refusal.value.reason.id == "search-not-merged"


async def test_a_crm_that_goes_away_between_two_answers_shows_nothing_and_ends_the_other_questions() -> None:
    ended: list[str] = []

    async def going(target: str, body: bytes) -> Answer:
        if "name=b" in target:
            raise UpstreamDown("gone")
        if "name=d" in target:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("d")
        return await page(target, body)

    with pytest.raises(UpstreamDown):
        await ask(exchange(), "abd", going)
    assert ended == ["d"]


async def test_a_person_who_leaves_ends_every_question() -> None:
    waiting, ended = asyncio.Event(), []

    async def hanging(target: str, body: bytes) -> Answer:
        if "name=a" in target:
            return await page(target, body)
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(target)
        raise AssertionError

    task = asyncio.ensure_future(ask(exchange(), "abd", hanging))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_only_some_questions_stand_open_at_a_time() -> None:
    open_now, most = 0, 0

    async def counting(target: str, body: bytes) -> Answer:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= 1
        return await page(target, body)

    await ask(exchange(most=40), "abcd" * 5, counting)
    assert 1 < most <= AT_ONCE
    assert ALL_S < 330  # the backstop of the pipeline


async def test_answers_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(AnswerTooLarge):
        await ask(exchange(), "abd", limit=120)


async def test_no_rows_at_all_are_the_answer_of_a_crm_without_rows() -> None:
    async def nothing(_target: str, _body: bytes) -> Answer:
        return answered(204, None)

    assert (await ask(exchange(), "ab", nothing)).status == 204

    async def one_has(target: str, body: bytes) -> Answer:
        return answered(204, None) if "name=a" in target else await page(target, body)

    told = orjson.loads(await (await ask(exchange(), "ab", one_has)).read(10_000))
    assert [one["id"] for one in told["results"]] == ["2", "4"]


def test_every_combination_of_values_is_asked_for_within_the_bound() -> None:
    given, name, phone = exchange(), Leaf(("name",), "Li"), Leaf(("phone",), "555")
    ask_each(given, name, "Li", ["n1", "n2"])
    ask_each(given, phone, "555", ["p1", "p2", "p2"])
    own = {id(name), id(phone)}
    legs = combinations(given, own, lambda: (f"{name.new} {phone.new}", b""))
    assert [target for target, _ in legs] == ["n1 p1", "n1 p2", "n2 p1", "n2 p2"]
    ask_each(given, Leaf(("email",), "x"), "x", ["e1", "e2"])
    with pytest.raises(Refusal) as refusal:
        combinations(given, own, lambda: ("", b""))
    assert refusal.value.reason.id == "search-ambiguous"  # the third stands where nothing writes it again


def test_too_many_values_are_refused() -> None:
    given = exchange()
    with pytest.raises(Refusal) as refusal:
        ask_each(given, Leaf(("name",), "Li"), "Li", [f"n{one}" for one in range(7)])
    assert refusal.value.reason.id == "search-too-wide"
    first, second = Leaf(("name",), "Li"), Leaf(("phone",), "5")
    ask_each(given, first, "Li", ["n1", "n2", "n3"])
    ask_each(given, second, "5", ["p1", "p2", "p3"])
    with pytest.raises(Refusal) as refusal:
        combinations(given, {id(first), id(second)}, lambda: ("", b""))
    assert refusal.value.reason.id == "search-too-wide"


def test_a_request_that_goes_out_once_is_refused_where_it_would_have_to_go_out_twice() -> None:
    given, leaf = exchange(), Leaf(("name",), "Li")
    ask_each(given, leaf, "Li", ["n1"])
    require_one(given)
    assert every(given, leaf) == (("n1", b""),)
    ask_each(given, leaf, "Li", ["n1", "n2"])
    with pytest.raises(Refusal) as refusal:
        require_one(given)
    assert refusal.value.reason.id == "search-ambiguous"
