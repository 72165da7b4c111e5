"""Pseudonyms of records: one for all processes, back to the record while the person lives, gone for good after."""

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.database import Pool
from kms.epoch_turn import EpochTurn
from kms.keyring import Keyring
from kms.orphans import Orphans
from kms.person_store import PersonTables
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.pseudonyms import Pseudonyms
from kms.shredding import Shredder
from kms.store import Store
from kms.tokens import SurrogateVault
from tests.conftest import unwalled
from tests.unit.kms.conftest import MakePersons

T = "acme"
ADA, BOB = ("contact", "1"), ("contact", "2")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Process:
    """One process over the shared stores."""

    names: Pseudonyms
    persons: Persons
    store: Store

    async def erase(self, *records: tuple[str, str]) -> None:
        await Shredder(self.store, self.persons, now).erase(T, records)

    async def turn(self) -> None:
        await EpochTurn(self.persons, now, page=2).run(T)


@pytest.fixture
def another(pool: Pool, make_persons: MakePersons) -> Callable[[], Process]:
    def make() -> Process:
        persons, store = make_persons(time.monotonic), Store(pool)
        return Process(Pseudonyms(store, persons, entropy=os.urandom, clock=time.monotonic), persons, store)

    return make


@pytest.fixture
def process(another: Callable[[], Process]) -> Process:
    return another()


def _fails(*_: object, **__: object) -> Awaitable[Any]:
    raise KeysUnavailable("person-store", "away")


async def test_a_record_has_one_pseudonym_in_every_process(process: Process, another: Callable[[], Process]) -> None:
    made = await process.names.names(T, [ADA, BOB])
    assert len(set(made.values())) == 2
    assert await another().names.names(T, [ADA, BOB]) == made
    assert (await another().names.names("beta", [ADA]))[ADA] not in made.values()


async def test_what_is_in_memory_asks_nobody(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await process.names.names(T, [ADA])
    monkeypatch.setattr(PersonTables, "read", _fails)
    monkeypatch.setattr(Store, "connection", _fails)
    assert process.names.held(T, [ADA]) == made
    assert await process.names.names(T, [ADA]) == made


async def test_memory_is_bounded(process: Process) -> None:
    process.names._most = 2
    await process.names.names(T, [("contact", str(number)) for number in range(5)])
    assert len(process.names._held) == 2


async def test_whoever_only_looks_makes_nobody_known(process: Process, dsn: str) -> None:
    assert await process.names.names(T, [ADA], make=False) == {}
    with psycopg.connect(unwalled(dsn)) as connection:
        assert connection.execute("SELECT count(*) FROM vault_holder").fetchone() == (0,)
    made = await process.names.names(T, [ADA])
    assert await process.names.names(T, [ADA], make=False) == made


async def test_a_pseudonym_leads_back_to_the_record(process: Process, another: Callable[[], Process]) -> None:
    made = await process.names.names(T, [ADA, BOB])
    expected = {made[ADA]: ADA, made[BOB]: BOB}
    assert await another().names.records(T, [*made.values(), "ds_" + "A" * 22]) == expected
    assert await another().names.every(T, [ADA]) == [made[ADA]]
    await process.turn()
    assert await another().names.records(T, made.values()) == expected


async def test_a_person_of_before_pseudonyms_is_found_too(process: Process) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kms.persons.alias", lambda *_: b"")
        await process.names.names(T, [BOB])
        (row,) = (await process.names._names.holders(T, [_place(BOB)]))[_place(BOB)]
    async with process.store.connection(T) as connection:
        await connection.execute("DELETE FROM vault_named")
        await connection.commit()
    process.persons.forget(T)
    name = (await process.names.names(T, [BOB]))[BOB]
    assert await process.names.records(T, [name]) == {name: BOB}
    assert (await process.names._names.holders(T, [_place(BOB)]))[_place(BOB)] == [(row[0], True)]


async def test_an_erased_person_is_named_by_nothing_and_others_stay(
    process: Process, another: Callable[[], Process]
) -> None:
    made = await process.names.names(T, [ADA, BOB])
    await process.erase(ADA)
    assert process.names.held(T, [ADA]) == {}
    for one in (process, another()):
        assert await one.names.records(T, made.values()) == {made[BOB]: BOB}
        assert await one.names.every(T, [ADA]) == []
        assert await one.names.names(T, [ADA, BOB], make=False) == {BOB: made[BOB]}
    again = await process.names.names(T, [ADA])  # the CRM has a record of that number still, or again
    assert again[ADA] != made[ADA]
    assert await process.names.records(T, [made[ADA], again[ADA]]) == {again[ADA]: ADA}


async def test_erasing_empties_the_memory_of_every_node(
    process: Process, another: Callable[[], Process], pool: Pool, keyring: Keyring
) -> None:
    vault = SurrogateVault(pool, keyring, persons=process.persons)
    try:
        await vault.start(T)
        async with asyncio.timeout(60):
            while process.persons.generation == 0:  # the line for notices stands
                await asyncio.sleep(0.01)
            made = await process.names.names(T, [ADA])
            assert process.names.held(T, [ADA]) == made
            await another().erase(ADA)
            while process.names.held(T, [ADA]):
                await asyncio.sleep(0.01)
    finally:
        await vault.close()


async def test_a_person_store_of_before_the_turn_leads_nowhere(
    process: Process, another: Callable[[], Process], tmp_path: Path
) -> None:
    made = await process.names.names(T, [ADA, BOB])
    shutil.copy(tmp_path / "persons.db", tmp_path / "copy.db")
    await process.erase(ADA)
    await process.turn()
    shutil.copy(tmp_path / "copy.db", tmp_path / "persons.db")
    old = another()
    with pytest.raises(KeysUnavailable):
        await old.names.records(T, made.values())
    with pytest.raises(KeysUnavailable):
        await old.names.names(T, [BOB])


async def test_a_main_database_of_before_an_erasure_is_erased_again(
    process: Process, another: Callable[[], Process]
) -> None:
    made = await process.names.names(T, [ADA])
    await process.erase(ADA)
    async with process.store.connection(T) as connection:
        await connection.execute("UPDATE vault_holder SET erased_at = NULL")
        await connection.commit()
    other = another()
    assert await other.names.records(T, made.values()) == {}
    assert await other.names.every(T, [ADA]) == []
    fresh = await other.names.names(T, [ADA])
    assert fresh[ADA] != made[ADA]


async def test_without_keys_or_store_nobody_is_named(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    await process.names.names(T, [ADA])
    for name, record in (("read", ADA), ("add", BOB)):
        with monkeypatch.context() as patch:
            patch.setattr(PersonTables, name, _fails)
            process.persons.forget()
            with pytest.raises(KeysUnavailable):
                await process.names.names(T, [record])
    async with process.store.connection(T) as connection:
        holder = await (await connection.execute("SELECT id FROM vault_holder")).fetchone()
    assert holder is not None
    await process.persons.store._calls.run(lambda one: one.exec_driver_sql("DELETE FROM person_key"))  # type: ignore[attr-defined]
    process.persons.forget()
    with pytest.raises(KeysUnavailable, match="nobody erased"):
        await process.names.names(T, [ADA])


async def test_a_changed_alias_names_nobody_else(process: Process) -> None:
    made = await process.names.names(T, [ADA, BOB])
    holders = await process.persons.named(T, made.values())
    await process.persons.store._calls.run(  # type: ignore[attr-defined]
        lambda one: one.exec_driver_sql("UPDATE person_alias SET holder = ?", (holders[made[BOB]],))
    )
    assert await process.names.records(T, made.values()) == {made[BOB]: BOB}


async def test_many_at_once_agree(process: Process, another: Callable[[], Process]) -> None:
    records = [("contact", str(number)) for number in range(40)]
    found = await asyncio.gather(*(one.names.names(T, records) for one in (process, another(), another())))
    assert found[0] == found[1] == found[2]


async def test_who_is_named_in_the_trail_is_no_orphan(process: Process) -> None:
    made = await process.names.names(T, [ADA])
    later = now() + timedelta(days=400)
    sweep = Orphans(process.store, process.persons, timedelta(days=7))
    for days in (0, 30):
        assert (await sweep.sweep(T, later + timedelta(days=days))).destroyed == 0
    process.persons.forget()
    assert await process.names.records(T, made.values()) == {made[ADA]: ADA}


async def test_the_exchange_that_made_an_erased_person_is_forgotten(process: Process) -> None:
    await process.names.names(T, [ADA])
    async with process.store.connection(T) as connection:
        await connection.execute("UPDATE vault_holder SET cell = 'x-1', created_at = '2026-01-01'")
        await connection.commit()
    await process.erase(ADA)
    async with process.store.connection(T) as connection:
        rows = await (
            await connection.execute("SELECT cell, record, created_at > now() - interval '1 day' FROM vault_holder")
        ).fetchall()
    assert rows == [("", "1", True)]


def _place(record: tuple[str, str]) -> Any:
    from kms.holder_store import Place

    return Place(*record, "")
