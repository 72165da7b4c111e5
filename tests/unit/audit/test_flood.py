"""A flood of refusals becomes a few entries that add up."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from audit.entry import decode, encode
from audit.flood import MANY_ADDRESSES, RefusalCounter
from audit.log import AuditLog
from audit.query import recent

AT = datetime(2026, 3, 4, 5, 6, 50, tzinfo=UTC)


def counter(**options: Any) -> RefusalCounter:
    return RefusalCounter(lambda: "id1", **options)


def test_a_minute_of_refusals_is_one_entry_per_address_and_reason() -> None:
    counts = counter()
    for second in range(5):
        counts.note("demo", "203.0.113.9", "sign-in-required", 401, AT + timedelta(seconds=second))
    counts.note("demo", "203.0.113.9", "method-refused", 405, AT)
    counts.note("demo", "203.0.113.8", "sign-in-required", 401, AT)
    assert counts.due(AT + timedelta(seconds=5)) == []
    found = counts.due(AT + timedelta(seconds=10))
    assert [(entry.client, entry.reason, entry.status, entry.fields["count"]) for entry in found] == [
        ("203.0.113.9", "sign-in-required", 401, 5),
        ("203.0.113.9", "method-refused", 405, 1),
        ("203.0.113.8", "sign-in-required", 401, 1),
    ]
    assert found[0].fields["first"] == "2026-03-04T05:06:50Z"
    assert found[0].fields["last"] == "2026-03-04T05:06:54Z"
    assert b"~" not in encode(found[0])
    assert counts.due(AT + timedelta(hours=1)) == []


def test_the_number_of_keys_is_bounded_and_nothing_is_lost() -> None:
    counts = counter(keys_limit=100)
    for number in range(5000):
        counts.note("demo", f"198.51.{number // 256}.{number % 256}", "sign-in-required", 401, AT)
    found = counts.due(AT, everything=True)
    assert len(found) == 101
    assert sum(entry.fields["count"] for entry in found) == 5000
    assert found[-1].client == MANY_ADDRESSES


def test_what_could_not_be_written_is_counted_again() -> None:
    counts = counter()
    counts.note("demo", "203.0.113.9", "sign-in-required", 401, AT)
    [entry] = counts.due(AT, everything=True)
    counts.note("demo", "203.0.113.9", "sign-in-required", 401, AT)
    counts.put_back(entry)
    [again] = counts.due(AT, everything=True)
    assert again.fields["count"] == 2


async def test_counts_survive_an_audit_that_is_down_and_the_end_of_the_process(
    log: AuditLog, dsn: str, pool: Any
) -> None:
    counts = counter()
    counts.note("demo", "203.0.113.9", "sign-in-required", 401, AT)
    await counts.flush(AuditLog(dsn), AT, everything=True)
    assert await recent(pool, "demo") == []
    task = asyncio.create_task(counts.run(log, lambda: AT, every_s=0.01))
    await asyncio.sleep(0)  # it has begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    [stored] = await recent(pool, "demo")
    assert (stored.kind, stored.reason) == ("refusal-count", "sign-in-required")


async def test_a_process_that_ends_while_counts_are_written_loses_none_and_writes_none_twice(
    log: AuditLog, pool: Any
) -> None:
    counts = counter()
    for number in range(3):
        counts.note("demo", f"203.0.113.{number}", "sign-in-required", 401, AT)
    task = asyncio.create_task(counts.run(log, lambda: AT + timedelta(minutes=1), every_s=0))
    while not log.backlog:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    stored = await recent(pool, "demo")
    assert sorted(decode(entry.body)["client"] for entry in stored) == [f"203.0.113.{number}" for number in range(3)]
