"""Whose value opens: sequences of writes, creates, bindings, pastes and erasures against a model of plain sets."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.database import Pool
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.shredding import Shredder
from kms.store import Store
from kms.tokens import NewValue, Origin, OriginConflict, SurrogateVault
from tests.unit.kms.conftest import PASSPHRASE, MakePersons

T = "acme"
RECORDS, CELLS, VALUES = ("1", "2", "3"), ("a", "b"), ("p", "q", "r")

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(VALUES), st.sampled_from(RECORDS)),
        st.tuples(st.just("create"), st.sampled_from(VALUES), st.sampled_from(CELLS)),
        st.tuples(st.just("paste"), st.sampled_from(VALUES), st.sampled_from(RECORDS)),
        st.tuples(st.just("bind"), st.sampled_from(CELLS), st.sampled_from(RECORDS)),
        st.tuples(st.just("erase"), st.just(""), st.sampled_from(RECORDS)),
    ),
    max_size=12,
)


@dataclass
class Model:
    """Who holds what: a record, or an exchange whose record is not known."""

    holders: dict[str, set[str]] = field(default_factory=dict)
    bound: dict[str, str] = field(default_factory=dict)

    def hold(self, value: str, who: str) -> None:
        self.holders.setdefault(value, set()).add(who)

    def create(self, value: str, cell: str) -> None:
        """A cell that was bound once stays bound: what is written in it later belongs to its record, if that lives."""
        self.hold(value, f"cell {cell}")

    def bind(self, cell: str, record: str) -> None:
        for held in self.holders.values():
            if f"cell {cell}" in held:
                held.discard(f"cell {cell}")
                held.add(record)

    def erase(self, record: str) -> None:
        for value in list(self.holders):
            self.holders[value].discard(record)
            if not self.holders[value]:
                del self.holders[value]


@pytest.fixture
async def process(
    pool: Pool, keyring_file: Path, make_persons: MakePersons
) -> AsyncIterator[tuple[SurrogateVault, Shredder]]:
    persons = make_persons(time.monotonic)
    keyring = Keyring(LocalProvider(keyring_file, PASSPHRASE), Store(pool), clock=time.monotonic)
    vault = SurrogateVault(pool, keyring, persons=persons)
    yield vault, Shredder(Store(pool), persons, lambda: datetime.now(UTC))
    await vault.close()
    await keyring.close()


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_value_opens_as_long_as_somebody_holds_it(
    process: tuple[SurrogateVault, Shredder], pool: Pool, steps: list[tuple[str, str, str]]
) -> None:
    vault, shredder = process
    async with pool.connection() as connection:
        await connection.execute(
            "TRUNCATE vault, vault_holder, vault_wrap, vault_origin, vault_term, vault_index,"
            " vault_cell, vault_cell_wrap, vault_beside"
        )
    vault._opened.drop_all()
    model, known, exchange = Model(), dict.fromkeys(VALUES, ""), dict.fromkeys(CELLS, 0)
    for step, one, where in steps:
        if step == "write":
            origin = Origin("contact", "email", where)
            known[one] = (await vault.tokenise(T, [NewValue("email", f"{one}@a.example", origin)], "x"))[0]
            model.hold(one, where)
        elif step == "create":
            origin = Origin("contact", "email", None)
            cell = f"{where}{exchange[where]}"
            known[one] = (await vault.tokenise(T, [NewValue("email", f"{one}@a.example", origin)], cell))[0]
            model.create(one, where)
        elif step == "paste" and one in model.holders:
            await vault.add_origin(T, known[one], Origin("contact", "email", where), "x")
            model.hold(one, where)
        elif step == "bind":
            await vault.bind(T, f"{one}{exchange[one]}", "contact", where)
            exchange[one] += 1  # an exchange is answered once
            model.bind(one, where)
        elif step == "erase":
            await shredder.erase(T, [("contact", where)])
            model.erase(where)
        vault._opened.drop_all()
        opened = await vault.resolve(T, [surrogate for surrogate in known.values() if surrogate])
        assert {entry.clear for entry in opened.values()} == {f"{value}@a.example" for value in model.holders}
        for value, held in model.holders.items():
            records = {origin.record for origin in opened[known[value]].origins if origin.record is not None}
            assert records == {one for one in held if not one.startswith("cell")}
    assert vault.damaged == 0


async def test_a_cell_is_bound_to_one_record_and_so_is_its_holder(process: tuple[SurrogateVault, Shredder]) -> None:
    vault, shredder = process
    value = NewValue("email", "lin@a.example", Origin("contact", "email", None))
    (surrogate,) = await vault.tokenise(T, [value], "exchange")
    await vault.bind(T, "exchange", "contact", "1")
    with pytest.raises(OriginConflict):
        await vault.bind(T, "exchange", "contact", "2")
    await shredder.erase(T, [("contact", "2")])
    assert surrogate in await vault.resolve(T, [surrogate])
    await shredder.erase(T, [("contact", "1")])
    vault._opened.drop_all()
    assert await vault.resolve(T, [surrogate]) == {}
