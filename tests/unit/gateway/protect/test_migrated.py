"""A CRM counts as migrated when every part of it was proved, and no longer than that."""

from pathlib import Path

import pytest

from gateway.database import Pool
from gateway.protect.migrated import HISTORY, RECORDS, Migrated, complete, parts_of, parts_reached
from gateway.protect.store import ProtectStore
from gateway.protect.table_map import read_map
from kms.store import StoreUnavailable
from policies.profile import load_profile

MAPS = Path(__file__).parents[4] / "deploy" / "protect"
T = "acme"


def test_a_crm_that_keeps_a_history_has_to_prove_it_too() -> None:
    assert parts_of(load_profile("creme")) == {RECORDS, HISTORY}
    assert parts_of(load_profile("tryton")) == {RECORDS}


@pytest.mark.parametrize(
    ("file", "reached"), [("creme-history.yaml", {HISTORY}), ("creme-tables.yaml", {RECORDS, HISTORY})]
)
def test_a_map_proves_what_it_reaches_whole(file: str, reached: set[str]) -> None:
    profile = load_profile("creme")
    walk, tables = read_map(MAPS / file, profile, "sqlite")
    assert parts_reached(profile, walk, {one.table for one in tables.values()}) == reached


def test_a_map_that_leaves_a_field_out_proves_no_records(tmp_path: Path) -> None:
    profile = load_profile("creme")
    file = tmp_path / "map.yaml"
    file.write_text((MAPS / "creme-tables.yaml").read_text().replace("fax: .fax, ", ""))
    walk, tables = read_map(file, profile, "sqlite")
    assert RECORDS not in parts_reached(profile, walk, {one.table for one in tables.values()})


def test_the_walk_through_the_interface_proves_records_and_no_history() -> None:
    profile = load_profile("creme")
    assert profile.walk is not None
    assert parts_reached(profile, profile.walk, None) == {RECORDS}


async def test_every_part_has_to_be_proved_and_an_undo_takes_it_back(pool: Pool) -> None:
    store = ProtectStore(pool)
    migrated = Migrated(store, (), {T: (RECORDS, HISTORY), "other": (RECORDS,)})
    await migrated.refresh()
    assert not migrated(T)
    await store.prove(T, RECORDS, "root", ["r1"], 5)
    await migrated.refresh()
    assert not migrated(T)
    await store.prove(T, HISTORY, "root", ["r2"], 3)
    await store.prove(T, HISTORY, "ma.admin", ["r3"], 4)
    await migrated.refresh()
    assert migrated(T)
    assert not migrated("other")
    told = (await store.proofs())[T]
    assert [(one.part, one.by, one.runs, one.held) for one in told] == [
        (HISTORY, "ma.admin", ("r3",), 4),
        (RECORDS, "root", ("r1",), 5),
    ]
    assert complete((RECORDS, HISTORY), told)
    await store.unprove(T, (RECORDS,))
    await migrated.refresh()
    assert not migrated(T)


async def test_while_the_store_is_away_nothing_counts_as_proved_but_the_settings(pool: Pool) -> None:
    store = ProtectStore(pool)
    await store.prove(T, RECORDS, "root", ["r1"], 5)
    migrated = Migrated(store, ("told",), {T: (RECORDS,), "told": (RECORDS,)})
    await migrated.refresh()
    assert migrated(T)

    async def away() -> dict[str, object]:
        raise StoreUnavailable("down")

    store.proofs = away  # type: ignore[method-assign, assignment]
    await migrated.refresh()
    assert not migrated(T)
    assert migrated("told")
