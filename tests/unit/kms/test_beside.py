"""Dates by record on a real PostgreSQL: right values, nothing moved opens."""

import asyncio
from datetime import date, timedelta

import pytest

from gateway.database import Pool
from kms.beside import Beside, GenerationsUsed, standing
from kms.cell_store import CellStore
from kms.envelope import EnvelopeInvalid, Sealing
from kms.keyring import Keyring
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable
from kms.suites.sm4_gcm import SM4_GCM
from tests.unit.kms.conftest import Failing

OLD, NEW = date(1976, 2, 29), date(1980, 1, 1)
T, BORN, NUMBER = "acme", ("contact", "birthday"), ("contact", "customer_number")


@pytest.fixture
def beside(pool: Pool, keyring: Keyring) -> Beside:
    return Beside(CellStore(pool), keyring, {"acme": Sealing(), "jia": Sealing(SM4_GCM)}.__getitem__)


async def change(pool: Pool, statement: str) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement.encode())


async def test_a_date_is_kept_by_record_and_replaced(beside: Beside) -> None:
    for tenant in ("acme", "jia"):
        await beside.keep(tenant, *BORN, date(1976, 2, 29), record="1", cell="")
        await beside.keep(tenant, *BORN, date(1980, 1, 1), record="2", cell="")
        await beside.keep(tenant, *BORN, date(1976, 3, 1), record="1", cell="")
        assert await beside.read(tenant, *BORN, ["1", "2", "3"]) == {"1": date(1976, 3, 1), "2": date(1980, 1, 1)}
    await beside.forget(T, *BORN, "1")
    assert set(await beside.read(T, *BORN, ["1", "2"])) == {"2"}
    assert set(await beside.read("jia", *BORN, ["1", "2"])) == {"1", "2"}


async def test_what_waits_is_read_only_once_it_is_bound_and_by_one_record(beside: Beside) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record=None, cell="c1")
    await beside.keep(T, *NUMBER, "6222020000", record=None, cell="c1")
    assert await beside.read(T, *BORN, ["", "1", "c1"]) == {}
    await beside.bind(T, "c1", "contact", "1")
    await beside.bind(T, "c1", "contact", "2")
    await beside.bind(T, "other", "contact", "3")
    assert await beside.read(T, *BORN, ["1", "2", "3"]) == {"1": date(1976, 2, 29)}
    assert await beside.read(T, *NUMBER, ["1", "2"]) == {"1": "6222020000"}


async def test_of_two_who_bind_at_once_one_record_gets_the_value(beside: Beside) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record=None, cell="c")
    await asyncio.gather(*(beside.bind(T, "c", "contact", str(number)) for number in range(5)))
    assert len(await beside.read(T, *BORN, [str(number) for number in range(5)])) == 1


async def test_rows_moved_to_another_record_field_or_tenant_do_not_open(beside: Beside, pool: Pool) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record="1", cell="")
    await change(pool, "UPDATE vault_beside SET record = '2'")
    assert await beside.read(T, *BORN, ["1", "2"]) == {}
    await change(pool, "UPDATE vault_beside SET record = '1', field = 'other'")
    assert await beside.read(T, "contact", "other", ["1"]) == {}
    await change(pool, "UPDATE vault_beside SET field = 'birthday', tenant = 'jia'")
    assert await beside.read("jia", *BORN, ["1"]) == {}
    await change(pool, "UPDATE vault_beside SET tenant = 'acme'")
    assert await beside.read(T, *BORN, ["1"]) == {"1": date(1976, 2, 29)}
    assert beside.damaged == 3


async def test_what_waits_cannot_be_put_under_a_record_by_hand(beside: Beside, pool: Pool) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record=None, cell="c")
    await change(pool, "UPDATE vault_beside SET record = '2'")
    assert await beside.read(T, *BORN, ["2"]) == {}
    await change(pool, "UPDATE vault_beside SET record = '', cell = 'mine'")
    with pytest.raises(EnvelopeInvalid):
        await beside.bind(T, "mine", "contact", "2")
    assert await beside.read(T, *BORN, ["2"]) == {}


async def test_without_keys_or_store_nothing_is_kept_or_read(
    beside: Beside, keyring: Keyring, failing: Failing, pool: Pool
) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record=None, cell="c")
    failing.broken = True
    keyring.forget()
    with pytest.raises(KeysUnavailable):
        await beside.keep(T, *BORN, date(1976, 2, 29), record="1", cell="")
    with pytest.raises(KeysUnavailable):
        await beside.bind(T, "c", "contact", "1")
    failing.broken = False
    await beside.bind(T, "c", "contact", "1")
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await beside.read(T, *BORN, ["1"])


async def test_the_store_holds_no_clear_value(beside: Beside, pool: Pool) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record="1", cell="")
    await beside.keep(T, *NUMBER, "6222020000", record="1", cell="")
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT t::text, t.blob FROM vault_beside t")).fetchall()
    assert len(rows) == 2
    for text, blob in rows:
        for value in ("1976-02-29", "6222020000"):
            assert value not in text
            assert value.encode() not in bytes(blob)


@pytest.mark.parametrize(("cell", "record"), [("", "1"), ("c", "")])
async def test_binding_needs_a_cell_and_a_record(beside: Beside, cell: str, record: str) -> None:
    with pytest.raises(ValueError, match="cell"):
        await beside.bind(T, cell, "contact", record)
    with pytest.raises(ValueError, match="cell"):
        await beside.keep(T, *BORN, date(1976, 2, 29), record=None, cell="")


async def test_what_the_crm_did_not_take_is_given_up_and_nothing_else_ends_by_its_age(
    beside: Beside, pool: Pool
) -> None:
    for cell in ("x1", "x2", "x3"):
        await beside.keep(T, *BORN, date(1987, 6, 5), record=None, cell=cell)
    await beside.keep(T, *BORN, date(1987, 6, 5), record="9", cell="")
    await beside.give_up(T, ["x1"])
    await beside.bind(T, "x1", "contact", "1")
    await beside.bind(T, "x2", "contact", "2")
    await change(pool, "UPDATE vault_beside SET written_at = now() - interval '400 days'")
    await beside.bind(T, "x3", "contact", "3")
    assert set(await beside.read(T, *BORN, ["1", "2", "3", "9"])) == {"2", "3", "9"}


# -- generations ---------------------------------------------------------------------------------------------------


async def values(beside: Beside, record: str = "1") -> dict[int, tuple[object, bool]]:
    found = (await beside.candidates(T, *BORN, [record])).get(record, [])
    return {one.generation: (one.value, one.accepted) for one in found}


async def test_what_was_offered_stands_only_where_the_crm_names_it_until_it_is_accepted(beside: Beside) -> None:
    await beside.keep(T, *BORN, OLD, record="1", cell="")
    made = await beside.offer(T, *BORN, NEW, ["1"], 365)
    assert await values(beside) == {0: (OLD, True), made: (NEW, False)}
    assert await beside.read(T, *BORN, ["1"]) == {"1": OLD}
    both = (await beside.candidates(T, *BORN, ["1"]))["1"]
    assert [standing(both, one).value for one in (0, made, 200)] == [OLD, NEW, OLD]  # type: ignore[union-attr]
    await beside.accept(T, *BORN, ["1"], made)
    assert await values(beside) == {made: (NEW, True)}


async def test_what_the_crm_refused_leaves_what_was_there(beside: Beside) -> None:
    await beside.keep(T, *BORN, OLD, record="1", cell="")
    made = await beside.offer(T, *BORN, NEW, ["1"], 365)
    await beside.withdraw(T, *BORN, ["1"], made)
    await beside.withdraw(T, *BORN, ["1"], 0)  # accepted: not taken back
    assert await values(beside) == {0: (OLD, True)}
    assert standing([], 0) is None


async def test_of_two_writes_that_met_both_stay_until_the_crm_is_seen(beside: Beside) -> None:
    """Whose request reached the CRM last, neither answer tells."""
    first = await beside.offer(T, *BORN, OLD, ["1"], 365)
    second = await beside.offer(T, *BORN, NEW, ["1"], 365)
    await beside.accept(T, *BORN, ["1"], second)
    await beside.accept(T, *BORN, ["1"], first)
    assert await values(beside) == {first: (OLD, True), second: (NEW, True)}
    third = await beside.offer(T, *BORN, OLD, ["1"], 365)
    await beside.accept(T, *BORN, ["1"], third)
    assert await values(beside) == {third: (OLD, True)}


async def test_a_value_whose_answer_never_came_outlives_any_age_and_is_taken_when_it_is_seen(
    beside: Beside, pool: Pool
) -> None:
    await beside.keep(T, *BORN, OLD, record="1", cell="")
    lost = await beside.offer(T, *BORN, NEW, ["1"], 365)
    await change(
        pool,
        "UPDATE vault_beside SET written_at = now() - interval '400 days', accepted_at = CASE WHEN"
        " accepted_at IS NOT NULL THEN now() - interval '500 days' END",
    )
    assert list(await beside.store.unsure(T, 10)) == [("contact", "1")]
    await beside.seen(T, *BORN, "1", lost)
    assert await values(beside) == {lost: (NEW, True)}
    assert await beside.store.unsure(T, 10) == {}


async def test_what_was_seen_not_to_stand_ends_once_no_request_can_bring_it_any_more(
    beside: Beside, pool: Pool
) -> None:
    await beside.keep(T, *BORN, OLD, record="1", cell="")
    lost = await beside.offer(T, *BORN, NEW, ["1"], 365)
    await beside.seen(T, *BORN, "1", 0)
    assert await values(beside) == {0: (OLD, True), lost: (NEW, False)}
    await change(pool, "UPDATE vault_beside SET written_at = now() - interval '8 days' WHERE accepted_at IS NULL")
    await beside.seen(T, *BORN, "1", 0)
    assert await values(beside) == {0: (OLD, True)}


async def test_one_generation_serves_several_records_and_none_is_used_twice(beside: Beside) -> None:
    await beside.keep(T, *BORN, OLD, record="1", cell="", generation=2)
    await beside.keep(T, *BORN, OLD, record="2", cell="", generation=0)
    assert await beside.offer(T, *BORN, NEW, ["1", "2"], 4) == 3
    assert await beside.offer(T, *BORN, NEW, ["1", "2"], 4) == 1
    with pytest.raises(GenerationsUsed):
        await beside.offer(T, *BORN, NEW, ["1", "2"], 4)
    made = await asyncio.gather(*(beside.offer(T, *BORN, NEW, ["5", "6"], 365) for _ in range(6)))
    assert sorted(made) == list(range(6))


async def test_what_an_emptied_field_had_ends_and_what_was_offered_meanwhile_stays(beside: Beside) -> None:
    await beside.keep(T, *BORN, OLD, record="1", cell="")
    made = await beside.offer(T, *BORN, NEW, ["1"], 365)
    await beside.forget(T, *BORN, "1", 0)
    await beside.forget(T, *BORN, "1", made)
    assert await values(beside) == {made: (NEW, False)}


async def test_a_record_that_is_asked_to_end_is_looked_at_and_goes_when_it_is_gone(beside: Beside, pool: Pool) -> None:
    for record in ("1", "2"):
        await beside.keep(T, *BORN, OLD, record=record, cell="")
    store = beside.store
    await store.note_leaving(T, ["1"], ["contact"])
    assert list(await store.unsure(T, 10)) == [("contact", "1")]
    await store.note_stays(T, "contact", "1", timedelta(minutes=10))
    assert list(await store.unsure(T, 10)) == [("contact", "1")]  # the CRM may not have come to it yet
    await change(pool, "UPDATE vault_beside SET left_at = left_at - interval '11 minutes'")
    await store.note_stays(T, "contact", "1", timedelta(minutes=10))
    assert await store.unsure(T, 10) == {}
    await store.drop_record(T, "contact", "1")
    assert set(await beside.read(T, *BORN, ["1", "2"])) == {"2"}
