"""Owners of records: what is known, for how long, and what happens when the store does not answer."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from gateway.database import Pool
from gateway.records import RecordKey, Records
from gateway.store import RecordStore
from kms.tokens import StoreUnavailable
from tests.unit.gateway.glue import NOW, TENANT

KEY = ("contact", "5")
DAY = timedelta(days=1)


def records(pool: Pool) -> Records:
    return Records(RecordStore(pool), max_age=30 * DAY)


async def test_an_owner_is_unknown_until_it_is_loaded(pool: Pool) -> None:
    await records(pool).note(TENANT, [KEY], "7", NOW)
    other = records(pool)
    assert other.owner(TENANT, *KEY, NOW) is None
    await other.load(TENANT, [KEY, ("contact", "6")], NOW)
    assert other.owner(TENANT, *KEY, NOW) == "7"
    assert other.owner(TENANT, "contact", "6", NOW) is None
    assert other.owner("other", *KEY, NOW) is None


async def test_another_process_is_believed_after_the_time_to_live(pool: Pool) -> None:
    mine, theirs = records(pool), records(pool)
    await mine.note(TENANT, [KEY], "7", NOW)
    await theirs.note(TENANT, [KEY], "8", NOW + timedelta(seconds=1))
    await mine.load(TENANT, [KEY], NOW + timedelta(seconds=5))
    assert mine.owner(TENANT, *KEY, NOW) == "7"
    await mine.load(TENANT, [KEY], NOW + timedelta(seconds=6))
    assert mine.owner(TENANT, *KEY, NOW) == "8"


async def test_older_knowledge_never_replaces_newer(pool: Pool) -> None:
    await records(pool).note(TENANT, [KEY], "8", NOW + DAY)
    await records(pool).note(TENANT, [KEY], "7", NOW)
    fresh = records(pool)
    await fresh.load(TENANT, [KEY], NOW + DAY)
    assert fresh.owner(TENANT, *KEY, NOW + DAY) == "8"


async def test_nobody_is_an_owner_of_a_record_whose_owner_was_forgotten(pool: Pool) -> None:
    known = records(pool)
    await known.note(TENANT, [KEY], "7", NOW)
    await known.note(TENANT, [KEY], "", NOW)
    assert known.owner(TENANT, *KEY, NOW) is None


async def test_the_same_record_twice_and_no_record_at_all_are_fine(pool: Pool) -> None:
    known = records(pool)
    await known.note(TENANT, [KEY, KEY], "7", NOW)
    await known.note(TENANT, [], "7", NOW)
    assert known.owner(TENANT, *KEY, NOW) == "7"


async def test_memory_is_bounded(pool: Pool) -> None:
    known = Records(RecordStore(pool), max_age=DAY, limit=2)
    await known.note(TENANT, [("contact", str(n)) for n in range(4)], "7", NOW)
    assert [known.owner(TENANT, "contact", str(n), NOW) for n in range(4)] == [None, None, "7", "7"]


class SlowStore:
    """A store whose reading can be held up."""

    def __init__(self) -> None:
        self.rows: dict[RecordKey, tuple[str, datetime]] = {KEY: ("7", NOW)}
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()

    async def upsert(self, tenant: str, keys: Sequence[RecordKey], owner: str, seen_at: datetime) -> None:
        self.rows |= dict.fromkeys(keys, (owner, seen_at))

    async def select(self, tenant: str, keys: Sequence[RecordKey]) -> dict[RecordKey, tuple[str, datetime]]:
        rows = dict(self.rows)
        self.reading.set()
        await self.go_on.wait()
        return rows


async def test_a_slow_read_does_not_bring_back_an_owner_that_changed_meanwhile() -> None:
    store = SlowStore()
    known = Records(store, max_age=DAY)
    loading = asyncio.create_task(known.load(TENANT, [KEY], NOW))
    await store.reading.wait()
    await known.note(TENANT, [KEY], "8", NOW)
    store.go_on.set()
    await loading
    assert known.owner(TENANT, *KEY, NOW) == "8"


async def test_a_store_that_is_gone_is_a_fault_and_leaves_nothing_believed(pool: Pool) -> None:
    known = records(pool)
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await known.load(TENANT, [KEY], NOW)
    with pytest.raises(StoreUnavailable):
        await known.note(TENANT, [KEY], "7", NOW)
    assert known.owner(TENANT, *KEY, NOW) is None
