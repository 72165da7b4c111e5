"""The contract of stores of person keys, over a SQLite file and a PostgreSQL of its own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kms.person import Epoch, EpochChanged, EpochState, PersonCounts, PersonRow
from kms.person_calls import postgres_engine
from kms.person_store import PersonTables, sqlite_store
from kms.provider import KeysUnavailable

T, OTHER = "acme", "beta"
AT = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


def row(number: int, epoch: int = 1, mark: bytes = b"wrapped") -> PersonRow:
    return PersonRow(number.to_bytes(16), epoch, mark + bytes([number]))


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PersonTables]:
    made = opened(request, tmp_path)
    yield made
    await made.close()


def opened(request: pytest.FixtureRequest, folder: Path) -> PersonTables:
    kind = request.node.callspec.params["store"]
    if kind == "sqlite":
        return sqlite_store(folder / "persons.db")
    return PersonTables(postgres_engine(request.getfixturevalue("dsn")))


async def filled(store: PersonTables, *numbers: int) -> None:
    await store.begin(T, Epoch(1, b"epoch one"), AT)
    await store.add(T, 1, [row(number) for number in numbers], AT)


async def test_only_the_first_epoch_is_begun(store: PersonTables) -> None:
    assert await store.epochs(T) == []
    await store.begin(T, Epoch(1, b"epoch one"), AT)
    await store.begin(T, Epoch(2, b"another"), AT)
    assert await store.epochs(T) == [Epoch(1, b"epoch one", EpochState.CURRENT, AT)]
    assert await store.epochs(OTHER) == []


async def test_several_that_begin_at_once_agree(store: PersonTables) -> None:
    await asyncio.gather(*(store.begin(T, Epoch(1, bytes([number])), AT) for number in range(8)))
    assert len(await store.epochs(T)) == 1


async def test_keys_are_read_back_by_tenant_and_holder(store: PersonTables) -> None:
    await filled(store, 1, 2)
    await store.begin(OTHER, Epoch(1, b"epoch"), AT)
    assert await store.read(T, [row(1).holder, row(9).holder]) == ({row(1).holder: row(1)}, set())
    assert await store.read(OTHER, [row(1).holder]) == ({}, set())
    assert await store.read(T, []) == ({}, set())


async def test_a_key_that_is_there_stays_as_it_is(store: PersonTables) -> None:
    await filled(store, 1)
    await store.add(T, 1, [row(1, mark=b"another"), row(2)], AT)
    found, _ = await store.read(T, [row(1).holder, row(2).holder])
    assert found == {row(1).holder: row(1), row(2).holder: row(2)}


async def test_a_destroyed_key_is_gone_and_leaves_a_tombstone(store: PersonTables) -> None:
    await filled(store, 1, 2)
    holders = [row(1).holder, row(7).holder]
    assert [await store.destroy(T, holders, AT) for _ in range(2)] == [1, 0]
    assert await store.read(T, [row(1).holder, row(2).holder, row(7).holder]) == (
        {row(2).holder: row(2)},
        set(holders),
    )
    assert await store.erased(T, b"", 10) == holders
    assert await store.erased(T, holders[0], 10) == holders[1:]
    assert await store.erased(OTHER, b"", 10) == []
    assert await store.counts(T) == PersonCounts(1, 2)


async def test_a_key_beside_a_tombstone_is_none(store: PersonTables) -> None:
    await filled(store, 1)
    await store.destroy(T, [row(1).holder], AT)
    await store.add(T, 1, [row(1)], AT)  # as a restored copy would bring it back
    assert await store.read(T, [row(1).holder]) == ({}, {row(1).holder})


def aliased(number: int, epoch: int = 1) -> PersonRow:
    return replace(row(number, epoch), alias=bytes([epoch]) * 15 + bytes([number]))


async def test_a_holder_is_found_by_its_alias_until_it_is_destroyed(store: PersonTables) -> None:
    await store.begin(T, Epoch(1, b"epoch one"), AT)
    await store.add(T, 1, [aliased(1), row(2)], AT)
    await store.add_aliases(T, 1, [aliased(2)])
    await store.add_aliases(T, 1, [aliased(2)])
    aliases = [aliased(1).alias, aliased(2).alias, bytes(16)]
    assert await store.aliased(T, 1, aliases) == {aliased(n).alias: row(n).holder for n in (1, 2)}
    assert await store.aliased(T, 2, aliases) == await store.aliased(OTHER, 1, aliases) == {}
    await store.destroy(T, [row(1).holder], AT)
    await store.add_aliases(T, 1, [aliased(1)])  # as a restored copy would bring it back
    assert await store.aliased(T, 1, aliases) == {aliased(2).alias: row(2).holder}


async def test_a_turn_takes_aliases_along_and_ends_the_old_ones(store: PersonTables) -> None:
    await store.begin(T, Epoch(1, b"epoch one"), AT)
    await store.add(T, 1, [aliased(1), aliased(2)], AT)
    await store.switch(T, 1, Epoch(2, b"epoch two"), AT)
    with pytest.raises(EpochChanged):
        await store.add_aliases(T, 1, [aliased(3)])
    changed = replace(row(2), wrapped=b"another by now")
    assert await store.rewrap(T, [(row(1), aliased(1, 2)), (changed, aliased(2, 2))]) == 1
    assert await store.aliased(T, 2, [aliased(1, 2).alias, aliased(2, 2).alias]) == {aliased(1, 2).alias: row(1).holder}
    await store.close_epochs(T, 2, AT)
    assert await store.aliased(T, 1, [aliased(1).alias]) == {}


async def test_keys_are_added_under_the_current_epoch_only(store: PersonTables) -> None:
    with pytest.raises(EpochChanged):
        await store.add(T, 1, [row(1)], AT)
    await filled(store, 1)
    assert await store.switch(T, 1, Epoch(2, b"epoch two"), AT)
    assert not await store.switch(T, 1, Epoch(3, b"epoch three"), AT)
    with pytest.raises(EpochChanged):
        await store.add(T, 1, [row(2)], AT)
    await store.add(T, 2, [row(3, 2)], AT)
    assert [(one.number, one.state) for one in await store.epochs(T)] == [
        (1, EpochState.OLD),
        (2, EpochState.CURRENT),
    ]
    assert [one.holder for one in await store.page(T, 2, 10)] == [row(1).holder]


async def test_nothing_is_added_under_an_epoch_once_the_switch_has_returned(store: PersonTables) -> None:
    await filled(store)
    outcomes: list[int] = []

    async def write(number: int) -> None:
        try:
            await store.add(T, 1, [row(number)], AT)
            outcomes.append(number)
        except EpochChanged:
            pass

    async def switch() -> set[bytes]:
        await store.switch(T, 1, Epoch(2, b"epoch two"), AT)
        return {one.holder for one in await store.page(T, 2, 100)}

    switched, *_ = await asyncio.gather(switch(), *(write(number) for number in range(1, 30)))
    assert switched == {row(number).holder for number in outcomes}


async def test_keys_are_rewrapped_where_they_are_still_what_they_were(store: PersonTables) -> None:
    await filled(store, 1, 2, 3)
    await store.switch(T, 1, Epoch(2, b"epoch two"), AT)
    page = await store.page(T, 2, 2)
    assert len(page) == 2
    await store.destroy(T, [page[0].holder], AT)
    moved = [(one, PersonRow(one.holder, 2, b"new")) for one in page]
    assert await store.rewrap(T, moved) == 1
    assert await store.rewrap(T, moved) == 0
    assert await store.left(T, 2) == 1
    assert await store.rewrap(T, []) == 0


async def test_closing_epochs_empties_them(store: PersonTables) -> None:
    await filled(store)
    await store.switch(T, 1, Epoch(2, b"epoch two"), AT)
    for _ in range(2):
        await store.close_epochs(T, 2, AT)
    first, second = await store.epochs(T)
    assert (first.state, first.wrapped, first.closed_at) == (EpochState.CLOSED, b"", AT)
    assert (second.state, second.wrapped) == (EpochState.CURRENT, b"epoch two")


async def test_a_store_that_fails_is_told_without_its_own_words(store: PersonTables) -> None:
    await filled(store, 1)
    await store._calls.run(lambda connection: connection.exec_driver_sql("DROP TABLE person_key"))
    with pytest.raises(KeysUnavailable) as refused:
        await store.read(T, [row(1).holder])
    assert refused.value.problem == "person-store"
    assert "person_key" not in str(refused.value)


async def test_a_deleted_key_leaves_nothing_in_the_file(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "persons.db")
    marks = [b"a key that is destroyed %3d" % number for number in range(50)]
    await store.begin(T, Epoch(1, b"epoch one"), AT)
    await store.add(T, 1, [PersonRow(n.to_bytes(16), 1, mark) for n, mark in enumerate(marks)], AT)
    assert marks[7] in (tmp_path / "persons.db").read_bytes()
    await store.destroy(T, [n.to_bytes(16) for n in range(50)], AT)
    await store.close()
    assert {file.name for file in tmp_path.iterdir()} == {"persons.db", "persons.db.lock"}
    assert not any(mark in (tmp_path / "persons.db").read_bytes() for mark in marks)
    assert (tmp_path / "persons.db").stat().st_mode & 0o077 == 0


async def test_keys_that_nothing_names_are_noted_once_and_dropped_after_the_wait(store: PersonTables) -> None:
    await filled(store, 1, 2, 3, 4)
    holders = [row(number).holder for number in (1, 2, 3, 4)]
    later, last = AT + timedelta(days=1), AT + timedelta(days=2)
    assert await store.keys_made(T, AT - timedelta(seconds=1), b"", 9) == []
    assert await store.keys_made(T, AT, b"", 3) == [(one, None) for one in holders[:3]]
    assert await store.keys_made(T, AT, holders[2], 3) == [(holders[3], None)]
    assert await store.keys_made(OTHER, AT, b"", 9) == []
    await store.note_unnamed(T, holders[:3], [], later)
    await store.note_unnamed(T, holders[:2], [holders[2], holders[3]], last)  # noted is noted; and taken back
    assert await store.keys_made(T, last, b"", 9) == list(zip(holders, [later, later, None, None], strict=True))
    assert await store.drop_unnamed(T, holders, AT) == 0
    assert await store.drop_unnamed(T, holders[1:], later) == 1
    assert await store.drop_unnamed(T, holders[1:], later) == 0
    assert await store.keys_made(T, last, b"", 9) == [(holders[0], later), (holders[2], None), (holders[3], None)]
    assert await store.counts(T) == PersonCounts(keys=3, erased=0)
    await store.note_unnamed(T, [], [], last)
    assert await store.drop_unnamed(T, [], last) == 0
