"""Answers put together: pages of the union are the pages that one question for all values would have had."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import merging
from gateway.merging import Leg, Plan
from gateway.refusal import Refusal
from policies.merge import MergeRule, compile_merges

START = datetime(2026, 3, 1, tzinfo=UTC)
LISTED = {
    "rows": ["results"],
    "id": ["id"],
    "copies": [["again"]],
    "totals": [["count"]],
    "tallies": [{"at": ["active"], "key": ["is_active"], "value": True}],
    "told": [{"at": ["page"], "is": "page"}, {"at": ["next_offset"], "is": "next_offset"}],
}
COMMON: dict[str, Any] = {
    "sort": [{"key": ["made"], "descending": True, "as": "time"}],
    "only": {"parameter": "is_active", "key": ["is_active"], "values": {"true": True, "false": False}},
    "links": [{"at": ["next"], "is": "next"}, {"at": ["previous"], "is": "previous"}],
    "asked": {"place": ["ordering"], "columns": {"weight": {"key": ["weight"], "as": "number"}}},
}
BY_OFFSET = {**COMMON, "paging": {"offset": "offset", "size": "limit", "default": 3, "ask": 4}, "lists": [LISTED]}
BY_PAGE = {**COMMON, "paging": {"page": "page", "size": "per_page", "default": 3, "ask": 4}, "lists": [LISTED]}


def rule(source: Any) -> MergeRule:
    return compile_merges({"one": source})["one"]


def crm(rows: Sequence[dict[str, Any]], query: str, by_page: bool) -> dict[str, Any]:
    """What a CRM answers that pages, counts and filters by itself."""
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    size = int(asked.get("per_page" if by_page else "limit", 3))
    start = (int(asked.get("page", 1)) - 1) * size if by_page else int(asked.get("offset", 0))
    active = sum(one["is_active"] for one in rows)
    if "is_active" in asked:
        rows = [one for one in rows if one["is_active"] == (asked["is_active"] == "true")]
    by_weight = asked.get("ordering", "").removeprefix("-") == "weight"
    # Two stable steps: what the order asked for does not tell apart goes by the time of entry.
    rows = sorted(sorted(rows, key=lambda one: one["id"], reverse=True), key=_made, reverse=True)
    if by_weight:
        rows = sorted(rows, key=lambda one: float(one["weight"]), reverse=asked["ordering"].startswith("-"))
    page = rows[start : start + size]
    end = start + len(page)
    told = (end if end < len(rows) else None) if page else 0
    return {
        "results": page, "again": page, "count": len(rows), "active": active, "page": start // size + 1,
        "next_offset": told, "next": None, "previous": None, "staff": ["x"],
    }  # fmt: skip


def _made(one: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(one["made"])  # as text, a time without a fraction comes after one with it


def answer(source: Any, query: str, legs: Sequence[Sequence[dict[str, Any]]]) -> tuple[dict[str, Any], dict[Any, Any]]:
    """The merged answer to a query; every leg is asked page by page as the gateway does."""
    by_page = "page" in source["paging"]
    plan = merging.plan(rule(source), query, b"")
    read = [_leg(plan, f"/list?{query}", rows, by_page) for rows in legs]
    merged, links = merging.merge(plan, read, "https://crm/list", query)
    return orjson.loads(merging.write(merged)), links


def _leg(plan: Plan, target: str, rows: Sequence[dict[str, Any]], by_page: bool) -> Leg:
    leg, offset = Leg(plan), 0
    while True:
        sent, _ = merging.page_of(plan, target, b"", offset)
        following = leg.take(merging.read(orjson.dumps(crm(rows, urlsplit(sent).query, by_page))))
        if following is None:
            return leg
        offset = following


def row(number: int, made: int, active: bool, weight: int) -> dict[str, Any]:
    at = (START + timedelta(microseconds=made)).isoformat().replace("+00:00", "Z")
    return {"id": f"r{number:03d}", "made": at, "is_active": active, "weight": weight / 4}


ROWS = st.lists(
    st.tuples(st.integers(0, 10**7), st.booleans(), st.integers(0, 9)), min_size=1, max_size=25
).map(lambda found: [row(number, *one) for number, one in enumerate(found)])  # fmt: skip


@st.composite
def legs_of(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    rows = draw(ROWS)
    count = draw(st.integers(2, 4))
    chosen = [draw(st.lists(st.sampled_from(rows), unique_by=lambda one: one["id"], max_size=25)) for _ in range(count)]
    union = {one["id"]: one for leg in chosen for one in leg}
    return list(union.values()), chosen


@pytest.mark.parametrize("source", [BY_OFFSET, BY_PAGE], ids=["offset", "page"])
@given(
    made=legs_of(),
    size=st.integers(1, 30),
    extra=st.sampled_from(["", "&is_active=true", "&is_active=false", "&ordering=weight", "&ordering=-weight"]),
)
@settings(max_examples=60, deadline=None)
def test_every_page_is_that_of_one_question_for_all_values(
    source: Any, made: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]], size: int, extra: str
) -> None:
    union, legs = made
    by_page = source is BY_PAGE
    shown: list[str] = []
    number = 0
    while True:
        place = f"page={number + 1}&per_page={size}" if by_page else f"offset={number * size}&limit={size}"
        found, _ = answer(source, place + extra, legs)
        twin = crm(union, place + extra, by_page)
        assert found["count"] == twin["count"]
        assert found["active"] == twin["active"]
        assert found["page"] == twin["page"]
        assert found["next_offset"] == twin["next_offset"]
        assert found["again"] == found["results"]
        key = "weight" if "weight" in extra else "made"
        assert [one[key] for one in found["results"]] == [one[key] for one in twin["results"]]
        shown += [one["id"] for one in found["results"]]
        number += 1
        if len(found["results"]) < size:
            break
    whole = crm(union, f"limit=999&per_page=999{extra}", by_page)["results"]
    assert sorted(shown) == sorted(one["id"] for one in whole)
    if "weight" not in extra:
        assert shown == [one["id"] for one in whole]


@pytest.mark.parametrize("source", [BY_OFFSET, BY_PAGE], ids=["offset", "page"])
@given(made=legs_of(), size=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_the_links_lead_through_all_of_it_and_back(
    source: Any, made: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]], size: int
) -> None:
    union, legs = made
    query = f"phone=13800138000&{source['paging']['size']}={size}"
    shown, steps = [], 0
    while True:
        found, links = answer(source, query, legs)
        shown += [one["id"] for one in found["results"]]
        assert (links["previous",] is None) == (steps == 0)
        if links["next",] is None:
            break
        query = urlsplit(links["next",]).query
        assert "phone=13800138000" in query
        steps += 1
    assert shown == [one["id"] for one in crm(union, "limit=999&per_page=999", source is BY_PAGE)["results"]]
    for _ in range(steps):
        query = urlsplit(answer(source, query, legs)[1]["previous",]).query
    assert [one["id"] for one in answer(source, query, legs)[0]["results"]] == shown[:size]


def _taken(*pages: Any) -> Leg:
    leg = Leg(merging.plan(rule(BY_OFFSET), "", b""))
    for page in pages:
        leg.take(page)
    return leg


def _page(rows: list[dict[str, Any]], **other: Any) -> dict[str, Any]:
    return {**crm(rows, "limit=99", by_page=False), **other}


@pytest.mark.parametrize(
    "pages",
    [
        [{"detail": "later"}],
        [[]],
        [_page([row(1, 1, True, 1)], count=0)],
        [_page([row(1, 1, True, 1)], count="1")],
        [_page([row(1, 1, True, 1)], count=True)],
        [_page([row(1, 1, True, 1)], again=[])],
        [_page([], count=5)],
        [_page([], results=[{"made": "x"}], again=[{"made": "x"}], count=1)],
        [_page([row(1, 1, True, 1), row(1, 2, True, 1)])],
        [_page([row(1, 1, True, 1)], count=2), _page([row(2, 1, True, 1)], count=3)],
        [_page([row(1, 1, True, 1)], count=2), _page([row(1, 1, True, 1)], count=2)],
    ],
)
def test_an_answer_that_disagrees_with_itself_is_none(pages: list[Any]) -> None:
    with pytest.raises(Refusal) as refusal:
        _taken(*pages)
    assert refusal.value.reason.id == "search-leg-failed"


def test_a_record_that_two_answers_tell_in_two_ways_shows_nothing_of_either() -> None:
    plan = merging.plan(rule(BY_OFFSET), "", b"")
    legs = [_taken(_page([row(1, made, True, 1)])) for made in (1, 2)]
    with pytest.raises(Refusal) as refusal:
        merging.merge(plan, legs)
    assert refusal.value.reason.id == "search-leg-failed"


@pytest.mark.parametrize(
    "query", ["ordering=name", "limit=0", "limit=x", "offset=-1", "limit=2&limit=3", "offset=99999999999999999999"]
)
def test_what_nobody_described_is_refused_before_the_crm_is_asked(query: str) -> None:
    with pytest.raises(Refusal) as refusal:
        merging.plan(rule(BY_OFFSET), query, b"")
    assert refusal.value.reason.id == "search-not-merged"


def test_a_row_without_a_place_in_the_order_is_refused() -> None:
    plan = merging.plan(rule(BY_OFFSET), "", b"")
    rows = [{**row(1, 1, True, 1), "made": "yesterday"}]
    legs = [_taken(_page([], results=rows, again=rows, count=1))]
    with pytest.raises(Refusal) as refusal:
        merging.merge(plan, legs)
    assert refusal.value.reason.id == "search-not-merged"


def test_numbers_of_rows_are_written_as_they_came() -> None:
    body = b'{"a":1.10,"b":1e3,"c":123456789012345678901234567890,"d":"\xe5\xbc\xa0"}'
    assert merging.write(merging.read(body)) == body


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b"[" * 100_000])
def test_what_can_be_read_in_two_ways_is_not_read(body: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        merging.read(body)
    assert refusal.value.reason.id == "search-leg-failed"


def test_a_cursor_in_a_body_is_followed_and_left_out_at_the_end() -> None:
    source = {
        "paging": {"offset": "after", "size": "limit", "default": 2, "ask": 2, "body": True, "text": True},
        "lists": [
            {
                "rows": ["results"],
                "id": ["id"],
                "totals": [["total"]],
                "told": [{"at": ["paging", "next", "after"], "is": "cursor"}],
            }
        ],
        "sort": [{"key": ["id"], "as": "number"}],
    }
    asked: dict[str, Any] = {"query": "x"}
    shown = []
    while True:
        body = orjson.dumps(asked)
        plan = merging.plan(rule(source), "", body)
        legs = []
        for ids in (["1", "2", "10"], ["2", "3"]):
            leg, offset = Leg(plan), 0
            while True:
                sent = orjson.loads(merging.page_of(plan, "/search", body, offset)[1])
                start = int(sent.get("after", "0"))
                rows = [{"id": one} for one in ids[start : start + sent["limit"]]]
                page = {"total": len(ids), "results": rows, "paging": {"next": {"after": "2"}}}
                following = leg.take(page)
                if following is None:
                    break
                offset = following
            legs.append(leg)
        found, _ = merging.merge(plan, legs)
        assert found["total"] == 4
        shown += [one["id"] for one in found["results"]]
        if "paging" not in found:
            break
        asked = {"query": "x", "after": found["paging"]["next"]["after"]}
    assert shown == ["1", "2", "3", "10"]
