"""Erasing a person: what only they had opens nowhere, what others share stays theirs, copies of before are dead."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from gateway.database import Pool
from kms.beside import Beside
from kms.beside_rotation import BesideMover
from kms.cell_store import CellRow, CellStore
from kms.envelope import Sealing
from kms.epoch_turn import EpochTurn
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.person import EPOCH_CLOSED
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.rotation import End, Rotation
from kms.shredding import Shredder
from kms.store import Store
from kms.tokens import NewValue, Origin, SurrogateVault
from tests.unit.kms.conftest import PASSPHRASE, MakePersons

T, BORN = "acme", ("contact", "birthday")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Process:
    """One process over the shared stores."""

    vault: SurrogateVault
    persons: Persons
    keyring: Keyring
    store: Store

    @property
    def shredder(self) -> Shredder:
        return Shredder(self.store, self.persons, now)

    @property
    def turn(self) -> EpochTurn:
        return EpochTurn(self.persons, now, page=3)

    async def write(self, record: str | None, cell: str = "", **fields: str) -> list[str]:
        values = [NewValue(kind, clear, Origin("contact", kind, record)) for kind, clear in fields.items()]
        return await self.vault.tokenise(T, values, cell)

    async def bring(self, cell: str, **fields: str) -> list[str]:
        """What an import brings: values of many records, none of them known yet."""
        values = [NewValue(kind, clear, Origin("contact", kind, None)) for kind, clear in fields.items()]
        return [one for one, _ in await self.vault.place(T, values, cell, apart=True)]

    async def read(self, surrogates: list[str]) -> list[str | None]:
        """Clear values as a process reads them that has nothing in memory."""
        self.vault._opened.drop_all()
        self.persons.forget()
        found = await self.vault.resolve(T, surrogates)
        return [found[one].clear if one in found else None for one in surrogates]


@pytest.fixture
async def another(
    pool: Pool, keyring_file: Path, make_persons: MakePersons
) -> AsyncIterator[Callable[[bool], Process]]:
    made: list[Process] = []

    def make(with_persons: bool = True) -> Process:
        persons = make_persons(time.monotonic)
        store = Store(pool)
        keyring = Keyring(LocalProvider(keyring_file, PASSPHRASE), store, clock=time.monotonic)
        vault = SurrogateVault(pool, keyring, persons=persons if with_persons else None)
        made.append(Process(vault, persons, keyring, store))
        return made[-1]

    yield make
    for one in made:
        await one.vault.close()
        await one.keyring.close()


@pytest.fixture
def process(another: Callable[[bool], Process]) -> Process:
    return another(True)


async def sql(pool: Pool, statement: str) -> list[tuple[object, ...]]:
    async with pool.connection() as connection:
        cursor = await connection.execute(statement)  # type: ignore[call-overload]
        return list(await cursor.fetchall()) if cursor.description else []


async def test_what_only_an_erased_person_had_opens_nowhere_and_is_not_found(process: Process, pool: Pool) -> None:
    gone = await process.write("1", name="Lin Yu", email="lin@a.example", phone="13800138001")
    stays = await process.write("2", name="Ma Li", email="ma@a.example")
    erased = await process.shredder.erase(T, [("contact", "1")])
    assert (erased.keys, erased.entries, erased.shared, erased.unheld) == (1, 3, 0, 0)
    assert await process.read([*gone, *stays]) == [None, None, None, "Ma Li", "ma@a.example"]
    assert await process.vault.find(T, "email", "lin@a.example") == []
    assert await sql(
        pool,
        "SELECT count(*) FROM vault_wrap WHERE holder IN (SELECT id FROM vault_holder WHERE erased_at IS NOT NULL)",
    ) == [(0,)]


async def test_a_shared_value_stays_with_the_others_without_the_erased_origin(process: Process) -> None:
    (shared,) = await process.write("1", phone="13800138001")
    assert await process.write("2", phone="138 0013 8001") == [shared]
    erased = await process.shredder.erase(T, [("contact", "1")])
    assert (erased.entries, erased.shared) == (0, 1)
    assert await process.read([shared]) == ["13800138001"]
    entry = (await process.vault.resolve(T, [shared]))[shared]
    assert entry.origins == (Origin("contact", "phone", "2"),)
    assert entry.spellings == {("contact", "phone", "2"): "138 0013 8001"}
    assert (await process.shredder.erase(T, [("contact", "2")])).entries == 1
    assert await process.read([shared]) == [None]


async def test_what_a_create_wrote_is_erased_with_the_record_it_was_bound_to(process: Process) -> None:
    made = await process.write(None, "exchange-1", name="Lin Yu", phone="13800138001")
    other = await process.write(None, "exchange-2", name="Ma Li")
    await process.vault.bind(T, "exchange-1", "contact", "1")
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([*made, *other]) == [None, None, "Ma Li"]


async def test_what_an_import_brought_belongs_to_its_record_once_it_is_bound(process: Process, pool: Pool) -> None:
    first, second = await process.write(None, "import-1", email="lin@a.example", phone="13800138001")
    shared = (await process.write("2", phone="13800138001"))[0]
    assert shared == second
    await process.vault.bind_surrogates(T, "import-1", "contact", "1", [first, second])
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([first, second]) == [None, "13800138001"]
    assert await sql(pool, "SELECT count(*) FROM vault_wrap") == [(1,)]


async def test_what_still_waits_in_an_import_is_not_bound_with_another_record(process: Process) -> None:
    first, second = await process.write(None, "import-2", email="ma@a.example", phone="13800138002")
    await process.vault.bind_surrogates(T, "import-2", "contact", "1", [first])
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([first, second]) == [None, "13800138002"]
    await process.vault.bind_surrogates(T, "import-2", "contact", "3", [second])
    await process.shredder.erase(T, [("contact", "3")])
    assert await process.read([second]) == [None]


async def test_a_copy_from_between_an_import_and_its_binding_dies_with_its_persons(
    process: Process, another: Callable[[bool], Process], pool: Pool
) -> None:
    """Each value waits under a holder of its own, which becomes its record's: no key outlives the erasure."""
    email, phone = await process.bring("import-3", email="lin@a.example", phone="13800138001")
    other, waits = await process.bring("import-3", email="ma@a.example", phone="13800138002")
    between = await copies(pool)
    assert len({row[2] for row in between[2]}) == 4
    await process.vault.bind_surrogates(T, "import-3", "contact", "1", [email, phone])
    await process.vault.bind_surrogates(T, "import-3", "contact", "2", [other])
    everything = [email, phone, other, waits]
    clear = ["lin@a.example", "13800138001", "ma@a.example", "13800138002"]
    assert await process.read(everything) == clear
    erased = await process.shredder.erase(T, [("contact", "1")])
    assert (erased.keys, erased.entries) == (2, 2)
    assert await process.read(everything) == [None, None, *clear[2:]]
    await restore(pool, between)
    assert await another(True).read(everything) == [None, None, *clear[2:]]  # and nobody else loses anything
    await process.shredder.again(T)
    assert await another(True).read(everything) == [None, None, *clear[2:]]


async def test_an_import_of_before_single_holders_is_bound_as_it_was(process: Process, pool: Pool) -> None:
    (old,) = await process.write(None, "import-4", email="lin@a.example")
    (new,) = await process.bring("import-4", phone="13800138001")
    await process.vault.bind_surrogates(T, "import-4", "contact", "1", [old, new])
    assert await process.read([old, new]) == ["lin@a.example", "13800138001"]
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([old, new]) == [None, None]
    assert await sql(pool, "SELECT count(*) FROM vault_wrap") == [(0,)]


async def test_a_value_of_an_import_that_others_have_too_is_bound_for_its_record_only(process: Process) -> None:
    (shared,) = await process.write("7", phone="13800138001")
    assert await process.bring("import-5", phone="13800138001") == [shared]
    await process.vault.bind_surrogates(T, "import-5", "contact", "1", [shared])
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([shared]) == ["13800138001"]
    await process.shredder.erase(T, [("contact", "7")])
    assert await process.read([shared]) == [None]


async def test_a_record_that_was_made_twice_is_erased_whole(process: Process) -> None:
    before = await process.write("1", name="Lin Yu")
    made = await process.write(None, "exchange-1", phone="13800138001")
    await process.vault.bind(T, "exchange-1", "contact", "1")
    after = await process.write("1", email="lin@a.example")
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([*before, *made, *after]) == [None, None, None]


async def test_a_surrogate_pasted_elsewhere_belongs_to_that_record_too(process: Process) -> None:
    (pasted,) = await process.write("1", name="Lin Yu")
    await process.vault.add_origin(T, pasted, Origin("contact", "name", "2"), "c")
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([pasted]) == ["Lin Yu"]
    await process.shredder.erase(T, [("contact", "2")])
    assert await process.read([pasted]) == [None]


async def test_an_erased_record_can_be_written_again(process: Process) -> None:
    (old,) = await process.write("1", email="lin@a.example")
    await process.shredder.erase(T, [("contact", "1")])
    (new,) = await process.write("1", email="lin@a.example")
    assert await process.read([new]) == ["lin@a.example"]
    assert new == old  # an e-mail surrogate comes from its value
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([new]) == [None]


async def test_what_was_only_searched_for_goes_with_the_next_person(process: Process) -> None:
    value = NewValue("email", "lin@a.example", Origin("contact", "", None), index_only=True)
    (searched,) = await process.vault.tokenise(T, [value], "exchange-9")
    assert await process.write("1", email="lin@a.example") == [searched]
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([searched]) == [None]


async def test_nothing_opened_before_survives_in_another_process(
    process: Process, another: Callable[[bool], Process]
) -> None:
    other = another(True)
    await other.vault.start(T)
    heard = asyncio.Event()
    changed = other.vault.persons_changed
    other.vault.persons_changed = lambda tenant: (changed(tenant), heard.set())[0]  # type: ignore[method-assign]
    (gone,) = await process.write("1", name="Lin Yu")
    assert (await other.vault.resolve(T, [gone]))[gone].clear == "Lin Yu"
    holder = next(iter(name for _, name in other.persons._held))
    heard.clear()
    await process.shredder.erase(T, [("contact", "1")])
    await asyncio.wait_for(heard.wait(), 20)
    assert other.vault.cached(T, [gone]) == ({}, [gone])
    assert other.persons.held(T, holder) is None
    assert await other.vault.resolve(T, [gone]) == {}


async def test_writers_meanwhile_lose_nothing(process: Process, another: Callable[[bool], Process]) -> None:
    writer, same = another(True), another(True)
    kept: dict[str, str] = {}
    common = [f"1380013800{number}" for number in range(6)]

    async def others() -> None:
        for number, phone in enumerate(common):
            (one,) = await writer.write(f"w{number}", phone=phone)
            kept[one] = phone

    async def itself() -> None:
        for phone in reversed(common):
            await same.write("1", phone=phone, name=f"Lin {phone}")

    async def erasing() -> None:
        for _ in range(4):
            await process.shredder.erase(T, [("contact", "1")])

    await asyncio.gather(others(), itself(), erasing())
    assert await process.read(list(kept)) == list(kept.values())
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read(list(kept)) == list(kept.values())
    assert process.vault.damaged == 0


# Copies of before


async def copies(pool: Pool) -> list[list[tuple[object, ...]]]:
    tables = ("vault", "vault_holder", "vault_wrap", "vault_origin")
    return [await sql(pool, f"SELECT * FROM {table}") for table in tables]


async def restore(pool: Pool, rows: list[list[tuple[object, ...]]]) -> None:
    async with pool.connection() as connection:
        await connection.execute(
            "TRUNCATE vault, vault_holder, vault_wrap, vault_origin, vault_term, vault_index,"
            " vault_cell, vault_cell_wrap, vault_beside"
        )
        for table, found in zip(("vault", "vault_holder", "vault_wrap", "vault_origin"), rows, strict=True):
            for row in found:
                await connection.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)  # type: ignore[call-overload]


async def test_an_old_copy_of_the_database_brings_nobody_back(process: Process, pool: Pool) -> None:
    gone = await process.write("1", name="Lin Yu", email="lin@a.example")
    stays = await process.write("2", name="Ma Li")
    before = await copies(pool)
    await process.shredder.erase(T, [("contact", "1")])
    await process.turn.run(T)
    await restore(pool, before)
    assert await process.read([*gone, *stays]) == [None, None, "Ma Li"]
    assert process.vault.damaged == 0
    # A value that came back dead can be written anew, by another record and by the same one.
    (again,) = await process.write("3", email="lin@a.example")
    assert await process.read([again]) == ["lin@a.example"]
    await process.write("1", name="Lin Yu")
    assert [await process.shredder.again(T) for _ in range(2)] == [1, 0]  # the old name stood there still


async def test_tombstones_are_carried_to_a_restored_database(process: Process, pool: Pool) -> None:
    gone = await process.write("1", name="Lin Yu")
    before = await copies(pool)
    await process.shredder.erase(T, [("contact", "1")])
    await restore(pool, before)
    assert await process.shredder.again(T) == 1
    assert await sql(pool, "SELECT count(*) FROM vault") == [(0,)]
    assert await process.read(gone) == [None]
    assert await process.shredder.again(T) == 0


async def test_tombstones_are_carried_to_a_restored_person_store(
    process: Process, another: Callable[[bool], Process], tmp_path: Path
) -> None:
    await process.write("1", name="Lin Yu")
    stays = await process.write("2", name="Ma Li")
    await process.persons.store.close()
    shutil.copy(tmp_path / "persons.db", tmp_path / "copy.db")
    second = another(True)
    await second.shredder.erase(T, [("contact", "1")])
    await second.persons.store.close()
    shutil.copy(tmp_path / "copy.db", tmp_path / "persons.db")
    third = another(True)
    assert (await third.shredder.counts(T)).persons.keys == 2
    assert await third.shredder.again(T) == 1
    assert (await third.shredder.counts(T)).persons.keys == 1
    assert await third.read(stays) == ["Ma Li"]


async def test_a_copy_of_the_person_store_from_before_the_turn_opens_nothing(
    process: Process, another: Callable[[bool], Process], pool: Pool, tmp_path: Path
) -> None:
    gone = await process.write("1", name="Lin Yu")
    stays = await process.write("2", name="Ma Li")
    before = await copies(pool)
    await process.persons.store.close()
    shutil.copy(tmp_path / "persons.db", tmp_path / "copy.db")
    second = another(True)
    await second.shredder.erase(T, [("contact", "1")])
    turned = await second.turn.run(T)
    assert (turned.epoch, turned.survivors) == (2, 1)
    assert await second.read([*gone, *stays]) == [None, "Ma Li"]
    await second.persons.store.close()
    shutil.copy(tmp_path / "copy.db", tmp_path / "persons.db")
    await restore(pool, before)
    third = another(True)
    for one in (*gone, *stays):
        with pytest.raises(KeysUnavailable) as refused:
            await third.read([one])
        assert refused.value.problem == EPOCH_CLOSED


async def test_a_person_key_that_is_missing_without_a_tombstone_is_a_fault(process: Process) -> None:
    stays = await process.write("1", name="Lin Yu")
    await process.persons.store._calls.run(  # type: ignore[attr-defined]
        lambda connection: connection.exec_driver_sql("DELETE FROM person_key")
    )
    process.persons.forget()
    for attempt in (lambda: process.read(stays), lambda: process.write("1", phone="13800138001")):
        with pytest.raises(KeysUnavailable) as refused:
            await attempt()
        assert refused.value.problem == "person-key-missing"


def beside_of(process: Process, pool: Pool) -> Beside:
    return Beside(CellStore(pool), process.keyring, lambda _: Sealing(), persons=process.persons)


async def test_what_is_kept_beside_the_crm_is_deleted_and_what_stands_in_it_is_counted(
    process: Process, pool: Pool
) -> None:
    beside = beside_of(process, pool)
    for record in ("1", "2"):
        await beside.keep(T, "contact", "birthday", date(1990, 2, 3), record=record, cell="")
        await CellStore(pool).note_cell(T, record.encode() * 8, CellRow("contact", "note", record))
    await sql(pool, "UPDATE vault_cell SET blob = 'sealed'")
    await process.write("1", name="Lin Yu")
    before = await sql(pool, "SELECT * FROM vault_beside WHERE record = '1'")
    erased = await process.shredder.erase(T, [("contact", "1")])
    assert (erased.beside, erased.cells) == (1, 1)
    assert await sql(pool, "SELECT record FROM vault_cell WHERE blob IS NOT NULL") == [("2",)]
    assert await sql(pool, "SELECT record FROM vault_beside") == [("2",)]
    # A copy of before brings holder and row back: it does not open, and the tombstone takes both away again.
    async with pool.connection() as connection:
        await connection.execute("UPDATE vault_holder SET erased_at = NULL WHERE record = '1'")
        await connection.execute(f"INSERT INTO vault_beside VALUES ({', '.join(['%s'] * len(before[0]))})", before[0])  # type: ignore[call-overload]
    assert await beside.read(T, "contact", "birthday", ["1", "2"]) == {"2": date(1990, 2, 3)}
    assert beside.damaged == 0
    await process.shredder.again(T)
    assert await sql(pool, "SELECT record FROM vault_beside") == [("2",)]


async def test_a_value_beside_the_crm_has_a_value_key_of_the_holder_of_its_record(process: Process, pool: Pool) -> None:
    beside = beside_of(process, pool)
    await process.write(None, "x1", name="Lin Yu")
    await beside.keep(T, "contact", "birthday", date(1990, 2, 3), record=None, cell="x1")
    await process.vault.bind(T, "x1", "contact", "1")
    await beside.bind(T, "x1", "contact", "1")
    made = await beside.offer(T, "contact", "birthday", date(1991, 2, 3), ["1", "2"], 365)
    await beside.accept(T, "contact", "birthday", ["1", "2"], made)
    holders = await sql(
        pool,
        "SELECT b.record, h.record FROM vault_beside b JOIN vault_holder h ON h.id = b.holder ORDER BY b.record",
    )
    assert holders == [("1", "1"), ("2", "2")]
    assert await sql(pool, "SELECT count(*) FROM vault_holder WHERE record = '1'") == [(1,)]
    process.persons.forget()
    assert await beside.read(T, "contact", "birthday", ["1", "2"]) == dict.fromkeys(("1", "2"), date(1991, 2, 3))
    # Neither the field key alone opens it, nor the value key of another row.
    without = Beside(CellStore(pool), process.keyring, lambda _: Sealing())
    with pytest.raises(KeysUnavailable) as refused:
        await without.read(T, "contact", "birthday", ["1"])
    assert refused.value.problem == "person-store-unset"
    await sql(
        pool,
        "UPDATE vault_beside a SET holder = b.holder, wrapped = b.wrapped FROM vault_beside b"
        " WHERE a.record = '1' AND b.record = '2'",
    )
    assert await beside.read(T, "contact", "birthday", ["1", "2"]) == {"2": date(1991, 2, 3)}
    assert beside.damaged == 1


async def test_a_date_written_for_a_person_erased_before_a_restore_is_held_by_a_new_holder(
    process: Process, pool: Pool
) -> None:
    beside = beside_of(process, pool)
    await beside.keep(T, "contact", "birthday", date(1990, 2, 3), record="1", cell="")
    await process.shredder.erase(T, [("contact", "1")])
    await sql(pool, "UPDATE vault_holder SET erased_at = NULL WHERE record = '1'")
    process.persons.forget()
    await beside.keep(T, "contact", "birthday", date(1991, 2, 3), record="1", cell="")
    assert await beside.read(T, "contact", "birthday", ["1"]) == {"1": date(1991, 2, 3)}
    assert await sql(pool, "SELECT count(*) FROM vault_holder WHERE erased_at IS NULL AND record = '1'") == [(1,)]


async def test_what_waits_is_bound_when_its_record_was_learnt_before_a_process_died(
    process: Process, pool: Pool
) -> None:
    beside = beside_of(process, pool)
    await process.write(None, "x1", name="Lin Yu")
    for cell in ("x1", "x2"):
        await beside.keep(T, "contact", "birthday", date(1990, 2, 3), record=None, cell=cell)
    await process.vault.bind(T, "x1", "contact", "1")
    assert await beside.recover(T) == 1
    assert await beside.recover(T) == 0
    assert await beside.read(T, "contact", "birthday", ["1"]) == {"1": date(1990, 2, 3)}
    assert await sql(pool, "SELECT cell FROM vault_beside WHERE record = ''") == [("x2",)]


@pytest.mark.parametrize("most", [1, 3, 100])
async def test_a_rotation_gives_value_keys_to_dates_of_before_and_leaves_nothing_under_the_old_key(
    process: Process, pool: Pool, most: int
) -> None:
    before = Beside(CellStore(pool), process.keyring, lambda _: Sealing())
    for record in "123":
        await before.keep(T, *BORN, date(1990, 2, int(record)), record=record, cell="")
    await before.keep(T, *BORN, date(1990, 2, 9), record=None, cell="x9")
    beside = beside_of(process, pool)
    await beside.keep(T, *BORN, date(1990, 2, 4), record="4", cell="")
    mover = BesideMover(beside, process.keyring, os.urandom, lambda _: Sealing())
    rotation = Rotation(process.store, process.keyring, os.urandom, lambda _: Sealing(), [mover])
    scope = "beside/contact/birthday"
    assert rotation.end(scope, "seal") is End.RETIRED
    old = await rotation.current(T, scope, "seal")
    assert await rotation.left(T, scope, "seal", old) == await rotation.total(T, scope, "seal") == 5
    assert await rotation.switch(T, scope, "seal", old)
    after: str | None = ""
    changed = 0
    while after is not None:
        page = await rotation.renew(T, scope, "seal", after, most)
        after, changed = page.after, changed + page.changed
        assert page.damaged == 0
    assert changed == 5
    assert await rotation.left(T, scope, "seal", old) == 0
    assert await sql(pool, "SELECT count(*) FROM vault_beside WHERE holder IS NULL") == [(0,)]
    await beside.bind(T, "x9", "contact", "9")
    wanted = {one: date(1990, 2, int(one)) for one in "12349"}
    assert await beside.read(T, *BORN, list(wanted)) == wanted
    await process.shredder.erase(T, [("contact", "2")])
    assert set(await beside.read(T, *BORN, list(wanted))) == set("1349")
    assert beside.damaged == 0


@pytest.mark.parametrize("holders", [16, 17, 40])
async def test_a_value_opens_through_whoever_is_left_of_many(process: Process, holders: int) -> None:
    for number in range(holders):
        (shared,) = await process.write(str(number), phone="13800138001")
    ids = [row.holder for row in (await process.store.wraps(T, [shared], 1000))[shared]]
    # As after a restore of the main database: its rows know nothing of the tombstones.
    await process.persons.store.destroy(T, ids[:-1], now())
    assert await process.read([shared]) == ["13800138001"]
    await process.persons.store.destroy(T, ids, now())
    assert await process.read([shared]) == [None]
    assert process.vault.damaged == 0
    (again,) = await process.write("x", phone="13800138001")
    assert await process.read([again]) == ["13800138001"]


async def test_what_may_not_be_kept_in_memory_opens_all_the_same(process: Process) -> None:
    made = [(await process.write(str(number), name=f"Lin {number}"))[0] for number in range(5)]
    process.persons._most = 1
    assert await process.read(made) == [f"Lin {number}" for number in range(5)]
    keep = process.persons._keep
    process.persons._keep = lambda *_: None  # type: ignore[method-assign]
    assert await process.read(made) == [f"Lin {number}" for number in range(5)]
    assert len(await process.write("1", phone="13800138001", name="Lin 1")) == 2
    process.persons._keep = keep  # type: ignore[method-assign]
    assert process.vault.damaged == 0


# Entries of before person keys


async def test_entries_of_before_person_keys_stay_readable_and_are_upgraded_when_written_again(
    another: Callable[[bool], Process], pool: Pool
) -> None:
    old, process = another(False), another(True)
    (shared,) = await old.write("1", phone="13800138001")
    await old.write("2", phone="138 0013 8001")
    (alone,) = await old.write("3", name="Ma Li")
    await old.vault.index_aliases(T, "name", [("Li Ma", alone)])
    assert await process.read([shared, alone]) == ["13800138001", "Ma Li"]
    await process.write("4", phone="13800138001")
    await process.write("3", name="Ma Li")
    assert await sql(pool, "SELECT count(*) FROM vault WHERE NOT held") == [(0,)]
    assert await process.read([shared, alone]) == ["13800138001", "Ma Li"]
    entry = (await process.vault.resolve(T, [shared]))[shared]
    assert entry.spellings == {("contact", "phone", "2"): "138 0013 8001"}
    assert await process.vault.find(T, "name", "li ma") == [alone]
    for record, left in (("1", "13800138001"), ("4", "13800138001"), ("2", None)):
        await process.shredder.erase(T, [("contact", record)])
        assert await process.read([shared]) == [left]


async def test_a_rotation_gives_value_keys_to_what_has_none_and_keeps_those_there_are(
    another: Callable[[bool], Process], pool: Pool
) -> None:
    old, process = another(False), another(True)
    (before,) = await old.write("1", name="Lin Yu")
    await old.vault.index_aliases(T, "name", [("Yu Lin", before)])
    (held,) = await process.write("2", name="Ma Li")
    await process.vault.index_aliases(T, "name", [("Li Ma", held)])
    rotation = Rotation(process.store, process.keyring, os.urandom, persons=process.persons)
    for purpose in ("seal", "equal"):
        key = await rotation.current(T, "name", purpose)
        await rotation.switch(T, "name", purpose, key)
        done = await rotation.renew(T, "name", purpose, "", 100)
        assert (done.damaged, done.lost) == (0, 0)
        assert await rotation.left(T, "name", purpose, key) == 0
    assert await sql(pool, "SELECT count(*) FROM vault WHERE NOT held") == [(0,)]
    assert await process.read([before, held]) == ["Lin Yu", "Ma Li"]
    assert await process.vault.find(T, "name", "yu lin") == [before]
    assert await process.vault.find(T, "name", "li ma") == [held]
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read([before, held]) == [None, "Ma Li"]


async def test_erasing_deletes_rows_of_before_person_keys_and_counts_them(another: Callable[[bool], Process]) -> None:
    old, process = another(False), another(True)
    (gone,) = await old.write("1", name="Lin Yu")
    (shared,) = await old.write("1", phone="13800138001")
    await old.write("2", phone="13800138001")
    erased = await process.shredder.erase(T, [("contact", "1")])
    assert (erased.keys, erased.entries, erased.unheld) == (0, 0, 1)
    assert await process.read([gone, shared]) == [None, "13800138001"]


async def test_held_values_are_refused_where_no_person_store_is_open(another: Callable[[bool], Process]) -> None:
    process, without = another(True), another(False)
    stays = await process.write("1", phone="13800138001")
    for attempt in (lambda: without.read(stays), lambda: without.write("2", phone="13800138001")):
        with pytest.raises(KeysUnavailable) as refused:
            await attempt()
        assert refused.value.problem == "person-store-unset"
