"""Rotation of the keys of the blind index on a real PostgreSQL: a part finds each value at every point of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.database import Pool
from kms.destruction import Person
from kms.destruction_store import DestructionStore
from kms.index import PURPOSES
from kms.rotation import End, Renewed
from kms.tokens import NewValue, Origin, SurrogateVault
from tests.unit.kms.process import Process, T, process

COUNT = 20


@pytest.fixture
async def here(dsn: str, keyring_file: Path) -> AsyncIterator[Process]:
    async with process(dsn, keyring_file, parts=True) as made:
        yield made


def phone(clear: str, record: str) -> NewValue:
    return NewValue("phone", clear, Origin("contact", "phone", record))


async def filled(vault: SurrogateVault) -> list[str]:
    """Numbers that all hold 0013 and end with their place in the list."""
    values = [phone(f"1380013{number:04}", f"r{number}") for number in range(COUNT)]
    return await vault.tokenise(T, values, "c")


async def found(vault: SurrogateVault, how: str, text: str) -> int:
    return len(await vault.search(T, "phone", how, text))


async def switched(one: Process, purpose: str) -> bytes:
    old = await one.rotation.current(T, "phone", purpose)
    assert await one.rotation.switch(T, "phone", purpose, old)
    return old


async def renewed(one: Process, purpose: str, pages: int = 10**6, most: int = 6) -> Renewed:
    """So many pages from the beginning; the sum of what was done."""
    after: str | None = ""
    total = Renewed("", 0, 0, 0, 0)
    while after is not None and pages > 0:
        page = await one.rotation.renew(T, "phone", purpose, after, most)
        after, pages = page.after, pages - 1
        total = Renewed(after, total.seen + page.seen, total.changed + page.changed, total.damaged + page.damaged, 0)
    return total


async def test_every_part_finds_every_value_at_every_point(here: Process, dsn: str, keyring_file: Path) -> None:
    """At 0, 50 and 100 %, also in a process that has not heard of the new keys and of values written under them."""
    await filled(here.vault)
    assert here.rotation.end("phone", "prefix") is End.RETIRED
    async with process(dsn, keyring_file, deaf=True, parts=True) as stranger:
        assert await found(stranger.vault, "contains", "0013") == COUNT  # it knows the old keys now
        olds = {purpose: await switched(here, purpose) for purpose in PURPOSES}
        await here.vault.tokenise(T, [phone("13800130999", "new")], "c")
        for pages in (0, 2, 10**6):
            for purpose in PURPOSES:
                await renewed(here, purpose, pages)
            for one in (here.vault, stranger.vault):
                assert await found(one, "contains", "0013") == COUNT + 1
                assert await found(one, "prefix", "1380013") == COUNT + 1
                assert await found(one, "suffix", "0007") == 1
                assert await found(one, "suffix", "0999") == 1
        for purpose, old in olds.items():
            assert await here.rotation.left(T, "phone", purpose, old) == 0
            await here.rotation.retire(T, old)
        for one in (here.vault, stranger.vault):
            assert await found(one, "contains", "0013") == COUNT + 1
    counts = await here.vault.index.counts(T)
    assert not set(counts) & {old.hex() for old in olds.values()}
    assert sorted(counts.values()) == [COUNT + 1] * len(PURPOSES)


async def test_a_process_that_first_searches_after_the_terms_moved_finds_them(
    here: Process, dsn: str, keyring_file: Path
) -> None:
    await filled(here.vault)
    async with process(dsn, keyring_file, deaf=True, parts=True) as stranger:
        for purpose in PURPOSES:
            await stranger.keyring.field_keys(T, "phone", purpose)  # it knows the old keys, and has not searched yet
        for purpose in PURPOSES:
            old = await switched(here, purpose)
            await renewed(here, purpose)
            await here.rotation.retire(T, old)
        assert await found(stranger.vault, "contains", "0013") == COUNT


async def test_a_page_done_twice_changes_nothing_the_second_time(here: Process, pool: Pool) -> None:
    await filled(here.vault)
    await switched(here, "part")
    assert (await renewed(here, "part")).changed == COUNT
    before = await rows(pool)
    assert (await renewed(here, "part")).changed == 0
    assert await rows(pool) == before


async def rows(pool: Pool) -> list[object]:
    async with pool.connection() as connection:
        return list(await (await connection.execute("SELECT i::text FROM vault_index i ORDER BY 1")).fetchall())


async def test_a_spelling_from_before_is_found_after_somebody_wrote_another_one_meanwhile(here: Process) -> None:
    """What is written during the rotation has terms of its own under the new key; those of before must follow."""
    surrogates = await here.vault.tokenise(T, [phone("13800138000", "1")], "c")
    assert await here.vault.tokenise(T, [phone("+86 138 0013 8000", "2")], "c") == surrogates
    olds = {purpose: await switched(here, purpose) for purpose in PURPOSES}
    assert await here.vault.tokenise(T, [phone("0086-138-0013-8000", "3")], "c") == surrogates
    for purpose in PURPOSES:
        await renewed(here, purpose)
        assert await here.rotation.left(T, "phone", purpose, olds[purpose]) == 0
    for text in ("+86", "138", "0086"):
        assert await found(here.vault, "prefix", text) == 1, text


async def test_what_is_written_while_a_page_is_made_is_kept(here: Process) -> None:
    await filled(here.vault)
    await switched(here, "prefix")
    read = here.vault.read

    async def read_then_write(*given: object) -> object:
        entries = await read(*given)  # type: ignore[arg-type]
        await here.vault.tokenise(T, [phone("+86 138 0013 0001", "later")], "c")
        return entries

    here.vault.read = read_then_write  # type: ignore[method-assign, assignment]
    await here.rotation.renew(T, "phone", "prefix", "", 100)
    assert await found(here.vault, "prefix", "+86") == 1


async def test_writers_that_hear_late_leave_nothing_under_the_old_keys(
    here: Process, dsn: str, keyring_file: Path
) -> None:
    async with (
        process(dsn, keyring_file, deaf=True, parts=True) as deaf,
        process(dsn, keyring_file, parts=True) as other,
    ):
        await deaf.vault.tokenise(T, [phone("13900130000", "first")], "c")

        async def write(one: Process, mark: str) -> None:
            for number in range(15):
                await one.vault.tokenise(T, [phone(f"139{mark}{number:04}13", f"{mark}{number}")], "c")

        async def turn() -> list[tuple[str, bytes]]:
            olds = []
            for purpose in ("part", "prefix", "part"):
                olds.append((purpose, await switched(here, purpose)))
                await renewed(here, purpose)
            return olds

        _, _, olds = await asyncio.gather(write(deaf, "11"), write(other, "22"), turn())
    for purpose, old in olds:
        await renewed(here, purpose)
        assert await here.rotation.left(T, "phone", purpose, old) == 0
    assert await found(here.vault, "contains", "139") == 31


async def test_an_entry_that_does_not_open_is_counted_and_keeps_no_term(here: Process, pool: Pool) -> None:
    damaged, *_ = await filled(here.vault)
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE vault SET blob = set_byte(blob, 40, get_byte(blob, 40) # 1) WHERE surrogate = %s", (damaged,)
        )
    old = await switched(here, "part")
    done = await renewed(here, "part")
    assert (done.changed, done.damaged) == (COUNT, 1)
    assert await here.rotation.left(T, "phone", "part", old) == 0


async def test_terms_of_values_whose_keys_are_destroyed_are_neither_moved_nor_kept(here: Process, pool: Pool) -> None:
    """From the approval on they stay where they are; with the keys they end, also those written meanwhile."""
    surrogates = await filled(here.vault)
    store, at = DestructionStore(pool), datetime(2026, 11, 26, tzinfo=UTC)
    await store.open_request(T, "d1", "phone", Person("u1", "ma"), at)
    approved = await store.approve(T, "d1", Person("u2", "sun"), at, at + timedelta(days=1))
    assert approved is not None
    here.keyring.refresh(T)
    again = await here.vault.tokenise(T, [phone("+86 138 0013 0001", "again"), phone("13900139000", "new")], "c")
    assert again[0] == surrogates[1]
    assert (await renewed(here, "part")).changed == 0
    await store.erase_keys(T, approved.key_ids, at)
    here.keyring.refresh(T)
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT surrogate FROM vault_index WHERE terms <> '{}' GROUP BY surrogate")
        assert await cursor.fetchall() == [(again[1],)]
