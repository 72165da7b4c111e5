"""Sittings: each token works once, for its tenant, in its time, however many try at once."""

import asyncio
from datetime import UTC, datetime, timedelta

from gateway.database import Pool
from gateway.disclosure.store import Sitting, SittingStore

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
SITTING = Sitting("t1", "s-1", "u-1", "handle", LATER)


async def test_a_hand_over_is_used_up_by_one_of_many(pool: Pool) -> None:
    store = SittingStore(pool)
    await store.insert(b"a", SITTING, entered=False)
    assert await store.enter("t2", b"a", b"b", NOW, LATER) is None
    assert await store.enter("t1", b"a", b"b", LATER, LATER) is None
    tries = [store.enter("t1", b"a", b"b%d" % number, NOW, LATER) for number in range(12)]
    assert [one for one in await asyncio.gather(*tries) if one is not None] == [SITTING]


async def test_a_sitting_has_few_tries_and_opens_once(pool: Pool) -> None:
    store = SittingStore(pool)
    await store.insert(b"a", SITTING, entered=False)
    assert await store.attempt("t1", b"a", NOW, 5) is None
    await store.enter("t1", b"a", b"b", NOW, LATER)
    assert await store.attempt("t2", b"b", NOW, 5) is None
    assert await store.attempt("t1", b"b", LATER, 5) is None
    tries = await asyncio.gather(*(store.attempt("t1", b"b", NOW, 5) for _ in range(12)))
    assert sum(one is not None for one in tries) == 5
    assert sorted(await asyncio.gather(*(store.take("t1", b"b") for _ in range(6)))) == [False] * 5 + [True]


async def test_what_expired_is_forgotten(pool: Pool) -> None:
    store = SittingStore(pool)
    await store.insert(b"a", SITTING, entered=True)
    await store.sweep(LATER + timedelta(seconds=1))
    assert not await store.take("t1", b"a")
