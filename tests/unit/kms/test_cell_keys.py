"""Value keys of cells and files: erasing a record ends what stands in the CRM, in its backups and in our old dumps."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.database import Pool
from kms import cell as text_form
from kms.cell_keys import CellHolding
from kms.cell_store import CellRow, CellStore
from kms.cells import Cells
from kms.envelope import FLAG_HELD, Sealing, cell_id, is_held
from kms.epoch_turn import EpochTurn
from kms.erasure_store import ErasureStore
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.person import EPOCH_CLOSED
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.shredding import Shredder
from kms.store import OriginConflict, Store
from kms.suites.sm4_gcm import SM4_GCM
from tests.unit.kms.conftest import PASSPHRASE, MakePersons

T, AT = "acme", ("contact", "note")
TABLES = ("vault_holder", "vault_cell", "vault_cell_wrap")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Process:
    """One process over the shared stores; old: as it was before value keys."""

    cells: Cells
    old: Cells
    persons: Persons
    store: CellStore
    shredder: Shredder

    async def read(self, text: str, record: str = "1") -> object:
        """What somebody reads who has nothing in memory."""
        self.persons.forget()
        self.cells._bound.clear()
        return (await self.cells.open(T, *AT, [(text, record)]))[0]


@pytest.fixture
async def another(pool: Pool, keyring_file: Path, make_persons: MakePersons) -> AsyncIterator[Callable[[], Process]]:
    keyrings: list[Keyring] = []

    def make(suite: Sealing | None = None) -> Process:
        persons, store = make_persons(time.monotonic), CellStore(pool)
        keyrings.append(Keyring(LocalProvider(keyring_file, PASSPHRASE), Store(pool), clock=time.monotonic))
        cells = Cells(store, keyrings[-1], lambda _: suite or Sealing(), persons=persons)
        old = Cells(store, keyrings[-1], lambda _: suite or Sealing())
        return Process(cells, old, persons, store, Shredder(Store(pool), persons, now))

    yield make
    for one in keyrings:
        await one.close()


@pytest.fixture
def process(another: Callable[[], Process]) -> Process:
    return another()


async def sql(pool: Pool, statement: str, *given: object) -> list[tuple[object, ...]]:
    async with pool.connection() as connection:
        cursor = await connection.execute(statement, given)
        return list(await cursor.fetchall()) if cursor.description else []


def blob_of(text: str) -> bytes:
    blob = text_form.read(text)
    assert blob is not None
    return blob


async def new(process: Process, value: str = "note", record: str | None = "1", exchange: str = "") -> str:
    (text,) = await process.cells.seal(T, *AT, [(value, record)], exchange=exchange)
    return text


@pytest.mark.parametrize("suite", [Sealing(), Sealing(SM4_GCM, committed=True)])
async def test_a_new_cell_says_that_it_has_a_value_key_and_opens_with_it_only(
    another: Callable[[Sealing], Process], suite: Sealing, pool: Pool
) -> None:
    process = another(suite)
    text = await new(process)
    assert is_held(blob_of(text))
    assert await process.read(text) == "note"
    assert await process.read(text, "2") is None
    assert (await process.cells.places(T, [text]))[text] == CellRow(*AT, "1")
    await sql(pool, "UPDATE vault_cell SET held = false")
    assert await process.read(text) is None  # with the field key alone, or with nothing at all


async def test_a_cell_of_before_opens_beside_new_ones(process: Process) -> None:
    (old,) = await process.old.seal(T, *AT, [("before", None)])
    await process.old.bind(T, *AT, "1", [old])
    assert not is_held(blob_of(old))
    text = await new(process)
    assert await process.cells.open(T, *AT, [(old, "1"), (text, "1")]) == ["before", "note"]
    erased = await process.shredder.erase(T, [("contact", "1")])
    assert (erased.cells, erased.sealed) == (1, 1)
    assert await process.cells.open(T, *AT, [(old, "1"), (text, "1")]) == ["before", None]


async def test_neither_taking_the_mark_off_nor_putting_it_on_opens_anything(process: Process) -> None:
    (old,) = await process.old.seal(T, *AT, [("before", None)])
    await process.old.bind(T, *AT, "1", [old])
    for text in (old, await new(process)):
        blob = bytearray(blob_of(text))
        blob[5] ^= FLAG_HELD
        assert await process.read(text_form.write(bytes(blob))) is None
        assert await process.read(text) is not None


async def test_after_an_erasure_a_cell_opens_nowhere_and_is_no_fault(
    process: Process, another: Callable[[], Process], pool: Pool
) -> None:
    gone, stays = await new(process), await new(process, "other", "2")
    second = another()
    assert await second.cells.open(T, *AT, [(gone, "1"), (stays, "2")]) == ["note", "other"]
    erased = await process.shredder.erase(T, [("contact", "1")])
    assert (erased.keys, erased.sealed, erased.cells) == (1, 1, 0)
    second.persons.forget()  # the notice; it still remembers rows and wrappings
    for one in (process, second):
        assert await one.cells.open(T, *AT, [(gone, "1"), (stays, "2")]) == [None, "other"]
        assert one.cells.damaged == 0
    assert await sql(pool, "SELECT record, erased_at IS NOT NULL FROM vault_cell ORDER BY record") == [
        ("1", True),
        ("2", False),
    ]
    assert await sql(pool, "SELECT count(*) FROM vault_cell_wrap") == [(1,)]
    again = await new(process, "again")
    assert await process.read(again) == "again"


async def test_old_copies_of_the_main_database_open_nothing_of_the_erased(process: Process, pool: Pool) -> None:
    gone, stays = await new(process), await new(process, "other", "2")
    before = [await sql(pool, f"SELECT * FROM {table}") for table in TABLES]
    await process.shredder.erase(T, [("contact", "1")])
    async with pool.connection() as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
        for table, rows in zip(TABLES, before, strict=True):
            for row in rows:
                await connection.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    assert [await process.read(gone), await process.read(stays, "2")] == [None, "other"]
    assert await process.shredder.again(T) == 1
    assert [await process.read(gone), await process.read(stays, "2")] == [None, "other"]
    assert await sql(pool, "SELECT record FROM vault_cell WHERE erased_at IS NOT NULL") == [("1",)]


async def test_a_copy_of_the_person_store_opens_no_cell_after_the_turn(
    process: Process, another: Callable[[], Process], tmp_path: Path, pool: Pool
) -> None:
    gone = await new(process)
    before = [await sql(pool, f"SELECT * FROM {table}") for table in TABLES]
    copy = (tmp_path / "persons.db").read_bytes()
    await process.shredder.erase(T, [("contact", "1")])
    await EpochTurn(process.persons, now).run(T)
    (tmp_path / "persons.db").write_bytes(copy)
    async with pool.connection() as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
        for table, rows in zip(TABLES, before, strict=True):
            for row in rows:
                await connection.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    with pytest.raises(KeysUnavailable) as refused:
        await another().read(gone)
    assert refused.value.problem == EPOCH_CLOSED


async def test_a_key_that_is_missing_without_a_tombstone_is_a_fault(process: Process, pool: Pool) -> None:
    text = await new(process)
    await process.persons.store._calls.run(  # type: ignore[attr-defined]
        lambda connection: connection.exec_driver_sql("DELETE FROM person_key")
    )
    with pytest.raises(KeysUnavailable) as refused:
        await process.read(text)
    assert refused.value.problem == "person-key-missing"
    await sql(pool, "DELETE FROM vault_cell_wrap")
    with pytest.raises(KeysUnavailable) as refused:
        await process.read(text)
    assert refused.value.problem == "value-key-missing"


async def test_the_wrapping_of_another_cell_opens_nothing(process: Process, pool: Pool) -> None:
    first, second = await new(process), await new(process, "other")
    ids = [cell_id(blob_of(text)) for text in (first, second)]
    await sql(
        pool,
        "UPDATE vault_cell_wrap SET wrapped = (SELECT wrapped FROM vault_cell_wrap WHERE cell = %s) WHERE cell = %s",
        *ids,
    )
    assert [await process.read(first), await process.read(second)] == ["note", None]
    assert process.cells.damaged == 1


async def test_a_cell_of_a_create_is_bound_with_its_holder_and_opens_only_then(process: Process, pool: Pool) -> None:
    text = await new(process, record=None, exchange="x1")
    assert await process.read(text) is None
    await process.cells.bind(T, *AT, "1", [text])
    await process.cells.bind(T, *AT, "1", [text])
    assert await process.read(text) == "note"
    assert await sql(pool, "SELECT record, cell FROM vault_holder") == [("1", "x1")]
    await process.shredder.erase(T, [("contact", "1")])
    assert await process.read(text) is None


async def test_a_cell_is_never_bound_to_a_record_whose_erasure_would_leave_it(process: Process, pool: Pool) -> None:
    first = await new(process, record=None, exchange="x1")
    second = await new(process, record=None, exchange="x1")
    await process.cells.bind(T, *AT, "1", [first])
    with pytest.raises(OriginConflict):
        await process.cells.bind(T, *AT, "2", [second])
    assert await process.read(second, "2") is None
    assert await sql(pool, "SELECT count(*) FROM vault_cell WHERE record = ''") == [(1,)]


async def test_of_many_who_bind_a_held_cell_at_once_one_record_wins(another: Callable[[], Process]) -> None:
    nodes = [another() for _ in range(4)]
    text = await new(nodes[0], record=None, exchange="x1")
    outcomes = await asyncio.gather(
        *(node.cells.bind(T, *AT, str(number), [text]) for number, node in enumerate(nodes)), return_exceptions=True
    )
    won = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert len(won) == 1
    assert all(isinstance(outcome, OriginConflict) for outcome in outcomes if outcome is not None)
    assert [await node.read(text, str(won[0])) for node in nodes] == ["note"] * 4


async def test_a_create_that_was_surely_refused_leaves_no_cell_and_a_bound_one_stays(
    process: Process, pool: Pool
) -> None:
    refused, bound = await new(process, record=None, exchange="x1"), await new(process)
    await process.cells.give_up(T, [refused, bound, "text"])
    assert await sql(pool, "SELECT record FROM vault_cell") == [("1",)]
    assert await sql(pool, "SELECT count(*) FROM vault_cell_wrap") == [(1,)]
    assert await process.read(bound) == "note"


async def test_writing_while_the_record_is_erased_leaves_nothing_of_before_readable(
    another: Callable[[], Process], pool: Pool
) -> None:
    writer, eraser = another(), another()
    before = [await new(writer, f"before {number}") for number in range(3)]
    written: list[str] = []
    done = asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            written.append(await new(writer, f"meanwhile {len(written)}"))

    task = asyncio.create_task(write())
    erased = [await eraser.shredder.erase(T, [("contact", "1")]) for _ in range(3)]
    done.set()
    await task
    assert erased[0].keys >= 1
    assert [await writer.read(text) for text in before] == [None] * 3
    for number, text in enumerate(written):  # under a holder of before the last erasure or one of after it
        assert await writer.read(text) in (None, f"meanwhile {number}")
    assert await sql(
        pool,
        "SELECT count(*) FROM vault_cell_wrap w JOIN vault_holder h ON h.id = w.holder WHERE h.erased_at IS NOT NULL",
    ) == [(0,)]
    assert await sql(
        pool,
        "SELECT count(*) FROM vault_cell c WHERE (c.erased_at IS NULL) <> EXISTS (SELECT 1 FROM vault_cell_wrap w"
        " WHERE w.cell = c.cell)",
    ) == [(0,)]


async def test_one_that_was_erased_elsewhere_is_written_for_anew(process: Process) -> None:
    """As after a restore of the main database: it knows nothing of the tombstone yet."""
    text = await new(process)
    holders = [row.holder for row in (await process.store.cells(T, [cell_id(blob_of(text)) or b""])).popitem()[1].wraps]
    await process.persons.store.destroy(T, holders, now())
    process.persons.forget()
    again = await new(process, "again")
    assert [await process.read(text), await process.read(again)] == [None, "again"]


async def test_without_person_keys_a_held_cell_is_a_fault_and_one_of_before_opens(process: Process) -> None:
    (old,) = await process.old.seal(T, *AT, [("before", None)])
    await process.old.bind(T, *AT, "1", [old])
    text = await new(process)
    assert await process.old.open(T, *AT, [(old, "1")]) == ["before"]
    with pytest.raises(KeysUnavailable) as refused:
        await process.old.open(T, *AT, [(text, "1")])
    assert refused.value.problem == "person-store-unset"


async def test_a_value_key_needs_a_holder_and_a_fresh_id(process: Process) -> None:
    holding = CellHolding(process.store, process.persons, os.urandom)
    with pytest.raises(ValueError, match="holder"):
        await holding.note(T, [b"12345678"], CellRow(*AT, ""), "")
    await holding.note(T, [b"12345678"], CellRow(*AT, "1"), "")
    with pytest.raises(OriginConflict):
        await holding.note(T, [b"12345678"], CellRow(*AT, "2"), "x1")


async def test_holders_without_a_bound_record_are_not_erased_with_others(process: Process) -> None:
    waits = await new(process, record=None, exchange="x1")
    await new(process)
    await process.shredder.erase(T, [("contact", "1")])
    await process.cells.bind(T, *AT, "2", [waits])
    assert await process.read(waits, "2") == "note"


class _Failing(ErasureStore):
    async def remove_outside(self, tenant: str, holders: Collection[bytes]) -> None:
        raise RuntimeError("killed")


async def test_a_killed_erasure_is_finished_for_cells_too(process: Process, pool: Pool) -> None:
    text = await new(process)
    process.shredder._holders = _Failing(process.store)
    with pytest.raises(RuntimeError):
        await process.shredder.erase(T, [("contact", "1")])
    assert await process.read(text) is None  # its key is gone already
    assert await sql(pool, "SELECT count(*) FROM vault_cell_wrap") == [(1,)]
    await Shredder(Store(pool), process.persons, now).again(T)
    assert await sql(pool, "SELECT count(*) FROM vault_cell_wrap") == [(0,)]
    assert await process.read(text) is None
