"""Entries are found by what they say, newest first, or as they come."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit import query, store
from audit.catalogue import fits
from audit.log import AuditLog
from audit.note import Signer
from audit.query import Filters

SIGNER = Signer(bytes(range(32)))
AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


async def test_the_newest_come_first_and_pages_go_on(filled: AuditLog, pool: Any) -> None:
    page = await query.recent(pool, "demo", 3)
    assert [entry.index for entry in page] == [19, 18, 17]
    assert [entry.index for entry in await query.recent(pool, "demo", 2, before=17)] == [16, 15]
    assert await query.recent(pool, "other") == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(record="4"), [4]),
        (Filters(exchange="x6", actor="u1", kind="decision", entity="contact", reason="allowed"), [6]),
        (Filters(operation="contact.delete"), []),
        (Filters(since=AT + timedelta(seconds=18)), [19, 18]),
        (Filters(until=AT + timedelta(seconds=2)), [1, 0]),
    ],
)
async def test_entries_are_found_by_what_they_say(
    filled: AuditLog, pool: Any, filters: Filters, expected: list[int]
) -> None:
    assert [entry.index for entry in await query.recent(pool, "demo", 5, filters)] == expected


def test_filters_tell_their_names_for_the_entry_about_the_search() -> None:
    assert Filters(actor="u1", since=AT).names == ("actor", "since")


async def take(source: AsyncIterator[store.StoredEntry], number: int) -> list[int]:
    async with asyncio.timeout(60):
        return [(await anext(source)).index for _ in range(number)]


async def test_the_live_view_shows_the_last_ones_and_then_what_comes(filled: AuditLog, pool: Any, make: Any) -> None:
    view = query.tail(pool, "demo", backlog=2, poll_s=0.01)
    assert await take(view, 2) == [18, 19]
    await filled.append(make(record="new"))
    assert await take(view, 1) == [20]
    await view.aclose()  # type: ignore[attr-defined]


async def test_the_live_view_goes_on_after_an_index_and_filters(filled: AuditLog, pool: Any, make: Any) -> None:
    view = query.tail(pool, "demo", 5, Filters(record="8"), poll_s=0.01)
    assert await take(view, 1) == [8]
    waiting = asyncio.ensure_future(take(view, 1))
    await filled.append(make(record="other"))
    await asyncio.sleep(0.05)
    await filled.append(make(record="8"))
    assert await waiting == [21]
    await view.aclose()  # type: ignore[attr-defined]


async def test_entries_are_found_by_their_tag_and_a_bound_is_told(filled: AuditLog, pool: Any) -> None:
    everything = await query.recent(pool, "demo", 20)
    tags = {query.entry_tag(entry) for entry in everything}
    for pattern in (*tags, "crm:*", "access:*"):
        wanted = [entry.index for entry in everything if fits(query.entry_tag(entry), pattern)]
        found = await query.tagged(pool, "demo", 100, Filters(), pattern)
        assert ([entry.index for entry in found.entries], found.further) == (wanted, None)
    some = next(iter(tags))
    first = await query.tagged(pool, "demo", 1, Filters(), some)
    assert len(first.entries) == 1
    bounded = await query.tagged(pool, "demo", 100, Filters(), "crm:session:ask", most=5)
    assert (bounded.entries, bounded.further) == ([], 15)
    paged = await query.tagged(pool, "demo", 100, Filters(), "crm:*", before=3)
    assert all(entry.index < 3 for entry in paged.entries)


async def test_changed_bytes_are_tagged_by_their_columns(filled: AuditLog, pool: Any) -> None:
    entry = replace((await query.recent(pool, "demo", 1))[0], body=b"{}")
    assert query.entry_tag(entry).startswith("crm:")
