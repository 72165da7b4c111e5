"""Keys that nothing names are destroyed after the wait, and never one that somebody writes for, or may still need."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gateway.database import Pool
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.cells import Cells
from kms.envelope import Sealing
from kms.holder_store import Place, ask_holders
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.orphans import Orphans, Swept
from kms.person import HOLDER_BYTES
from kms.persons import Persons
from kms.store import Store
from kms.tokens import NewValue, Origin, SurrogateVault
from tests.unit.kms.conftest import PASSPHRASE, MakePersons

T = "acme"
BORN = date(1990, 3, 7)
WAIT = timedelta(days=30)
NOW = datetime.now(UTC)
LATER, LAST = NOW + timedelta(days=31), NOW + timedelta(days=62)


@dataclass
class Site:
    """One process, and what sweeps."""

    vault: SurrogateVault
    cells: Cells
    beside: Beside
    persons: Persons
    store: Store
    orphans: Orphans
    pool: Pool

    async def write(self, record: str, phone: str) -> str:
        (made,) = await self.vault.tokenise(T, [NewValue("phone", phone, Origin("contact", "phone", record))], "")
        return made

    async def reads(self, surrogate: str) -> str | None:
        self.vault._opened.drop_all()
        self.persons.forget()
        found = await self.vault.resolve(T, [surrogate])
        return found[surrogate].clear if surrogate in found else None

    async def orphan(self, record: str) -> bytes:
        """A holder whose create was refused: its key and its row are there, and nothing is wrapped for it."""
        async with self.store.work(T) as work:
            asked = await ask_holders(work.connection, T, [Place("contact", record, "")], [os.urandom(HOLDER_BYTES)])
            ids, new = await asked.fetch()
            await self.persons.make(T, new)
        return next(iter(ids.values()))

    async def keys(self) -> int:
        return (await self.persons.store.counts(T)).keys

    async def sql(self, statement: str) -> list[tuple[object, ...]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(statement)  # type: ignore[call-overload]
            return list(await cursor.fetchall()) if cursor.description else []


@pytest.fixture
async def site(pool: Pool, keyring_file: Path, make_persons: MakePersons) -> AsyncIterator[Site]:
    persons, store = make_persons(time.monotonic), Store(pool)
    keyring = Keyring(LocalProvider(keyring_file, PASSPHRASE), store, clock=time.monotonic)
    vault = SurrogateVault(pool, keyring, persons=persons)
    cells = Cells(CellStore(pool), keyring, lambda _: Sealing(), persons=persons)
    beside = Beside(CellStore(pool), keyring, lambda _: Sealing(), persons=persons)
    yield Site(vault, cells, beside, persons, store, Orphans(store, persons, WAIT, page=2), pool)
    await vault.close()
    await keyring.close()


async def test_a_key_that_nothing_names_goes_after_the_wait_and_not_before(site: Site) -> None:
    kept = await site.write("1", "13800138001")
    await site.orphan("2")
    async with site.store.work(T):  # a write that was rolled back leaves a key without a holder
        await site.persons.make(T, [os.urandom(HOLDER_BYTES)])
    assert await site.orphans.sweep(T, NOW) == Swept(0, 0)  # too young to be looked at
    assert await site.orphans.sweep(T, LATER) == Swept(2, 0)  # seen for the first time
    assert await site.orphans.sweep(T, LATER + timedelta(days=29)) == Swept(2, 0)
    assert await site.keys() == 3
    assert await site.orphans.sweep(T, LAST) == Swept(2, 2)
    assert await site.orphans.sweep(T, LAST) == Swept(0, 0)
    assert (await site.keys(), (await site.persons.store.counts(T)).erased) == (1, 0)
    assert await site.sql("SELECT record FROM vault_holder") == [("1",)]
    assert await site.reads(kept) == "13800138001"


async def test_what_cells_values_and_tombstones_name_stays(site: Site) -> None:
    await site.write("1", "13800138001")
    await site.cells.seal(T, "contact", "note", [("note", "2"), ("waits", None)], exchange="x1")
    await site.vault.place(
        T, [NewValue("phone", "13800138009", Origin("contact", "phone", None))], "import.x", apart=True
    )
    await site.beside.keep(T, "contact", "birthday", BORN, record="4", cell="")
    await site.beside.keep(T, "contact", "birthday", BORN, record=None, cell="x2")
    gone = await site.orphan("3")
    await site.sql("UPDATE vault_holder SET erased_at = now() WHERE record = '3'")
    for at in (LATER, LAST):
        assert await site.orphans.sweep(T, at) == Swept(0, 0)
    assert await site.keys() == 7
    assert await site.beside.read(T, "contact", "birthday", ["4"]) == {"4": BORN}
    assert bytes((await site.sql("SELECT id FROM vault_holder WHERE record = '3'"))[0][0]) == gone  # type: ignore[arg-type]


async def test_a_holder_that_is_used_again_begins_to_wait_anew(site: Site) -> None:
    await site.orphan("1")
    assert await site.orphans.sweep(T, LATER) == Swept(1, 0)
    made = await site.write("1", "13800138001")
    assert await site.orphans.sweep(T, LATER + timedelta(days=1)) == Swept(0, 0)
    await site.sql("DELETE FROM vault")
    await site.sql("DELETE FROM vault_origin")
    assert await site.orphans.sweep(T, LAST) == Swept(1, 0)  # noted just now, whatever was noted before
    assert await site.keys() == 1
    assert await site.reads(made) is None


async def test_one_that_somebody_writes_for_now_is_left_to_the_writer(site: Site) -> None:
    holder = await site.orphan("1")
    await site.orphans.sweep(T, LATER)
    async with site.pool.connection() as writer:
        asked = await ask_holders(writer, T, [Place("contact", "1", "")], [os.urandom(HOLDER_BYTES)])
        assert (await asked.fetch())[0] == {Place("contact", "1", ""): holder}
        assert await site.orphans.sweep(T, LAST) == Swept(1, 0)
        await writer.rollback()
    assert await site.keys() == 1
    assert await site.orphans.sweep(T, LAST) == Swept(1, 1)


async def test_a_writer_that_comes_while_the_holder_goes_makes_a_new_one(site: Site) -> None:
    """The row is locked and deleted, not yet committed: the writer waits for it, and then writes for another holder."""
    await site.orphan("1")
    async with site.pool.connection() as sweeper:
        await sweeper.execute("SELECT 1 FROM vault_holder FOR UPDATE")
        await sweeper.execute("DELETE FROM vault_holder")
        writing = asyncio.create_task(site.write("1", "13800138001"))
        while not await site.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = 'active'"):
            await asyncio.sleep(0.01)
        await sweeper.commit()
    assert await site.reads(await writing) == "13800138001"


async def test_sweeps_among_writers_lose_no_value(site: Site) -> None:
    """Holders come and go at once: every value that was written opens, whoever swept in between."""
    for record in range(12):
        await site.orphan(str(record))
    await site.orphans.sweep(T, LATER)
    done = asyncio.Event()
    destroyed = 0

    async def sweep() -> None:
        nonlocal destroyed
        while not done.is_set():
            destroyed += (await site.orphans.sweep(T, LAST)).destroyed

    sweeps = [asyncio.create_task(sweep()) for _ in range(2)]
    written: dict[str, str] = {}
    for record in range(12):
        clear = f"138001380{record:02d}"
        written[await site.write(str(record), clear)] = clear
    done.set()
    await asyncio.gather(*sweeps)
    assert {one: await site.reads(one) for one in written} == written
    assert await site.sql("SELECT count(*) FROM vault_holder") == [(12,)]
    assert await site.keys() == 12


async def test_a_kill_between_holder_and_key_leaves_what_the_next_sweep_ends(site: Site) -> None:
    holder = await site.orphan("1")
    await site.orphans.sweep(T, LATER)
    assert await site.orphans._holders.release(T, [holder]) == [holder]
    assert await site.keys() == 1
    assert await site.orphans.sweep(T, LAST) == Swept(1, 1)
    assert await site.keys() == 0


async def test_an_older_main_database_does_not_cost_keys_of_later(site: Site) -> None:
    """As after a restore: it does not know the holders made since, and they begin to wait when that is first seen."""
    made = await site.write("1", "13800138001")
    assert await site.orphans.sweep(T, LATER) == Swept(0, 0)
    tables = ("vault_holder", "vault", "vault_origin", "vault_wrap")
    kept = {table: await site.sql(f"SELECT * FROM {table}") for table in tables}
    await site.sql("DELETE FROM vault")
    await site.sql("DELETE FROM vault_origin")
    await site.sql("DELETE FROM vault_holder")
    assert await site.orphans.sweep(T, LAST) == Swept(1, 0)
    async with site.pool.connection() as connection:  # and the newer copy comes back
        for table in tables:
            for row in kept[table]:
                await connection.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)  # type: ignore[call-overload]
    assert await site.orphans.sweep(T, LAST + timedelta(days=31)) == Swept(0, 0)
    assert await site.reads(made) == "13800138001"


async def test_no_wait_is_shorter_than_a_write_may_last(site: Site) -> None:
    hasty = Orphans(site.store, site.persons, timedelta(0))
    await site.orphan("1")
    for hours in (0, 1, 24, 100):
        assert (await hasty.sweep(T, NOW + timedelta(hours=hours))).destroyed == 0
    assert await hasty.sweep(T, NOW + timedelta(days=8)) == Swept(1, 0)
    assert await hasty.sweep(T, NOW + timedelta(days=16)) == Swept(1, 1)
