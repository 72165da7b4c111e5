"""Dates and FF1 digits by record on a real PostgreSQL: right values, nothing moved opens."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.database import Pool
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.envelope import EnvelopeInvalid, Sealing
from kms.fpe import DigitsRefused
from kms.keyring import Keyring
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable
from kms.suites.sm4_gcm import SM4_GCM
from tests.unit.kms.conftest import Failing

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
    digits = await beside.keep_digits(T, *NUMBER, "6222020000", record=None, cell="c1")
    assert await beside.read(T, *BORN, ["", "1", "c1"]) == {}
    await beside.bind(T, "c1", "contact", "1")
    await beside.bind(T, "c1", "contact", "2")
    await beside.bind(T, "other", "contact", "3")
    assert await beside.read(T, *BORN, ["1", "2", "3"]) == {"1": date(1976, 2, 29)}
    assert await beside.read_digits(T, *NUMBER, {"1": digits, "2": digits}) == {"1": "6222020000"}


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


async def test_digits_changed_in_the_crm_or_of_another_record_are_not_shown(beside: Beside) -> None:
    first = await beside.keep_digits(T, *NUMBER, "6222020000", record="1", cell="")
    second = await beside.keep_digits(T, *NUMBER, "6222020001", record="2", cell="")
    assert len(first) == 10
    assert first.isdigit()
    assert first != "6222020000"
    assert await beside.keep_digits(T, *NUMBER, "6222020000", record="3", cell="") == first
    changed = first[:-1] + str((int(first[-1]) + 1) % 10)
    assert await beside.read_digits(T, *NUMBER, {"1": changed, "2": first, "3": first}) == {"3": "6222020000"}
    assert await beside.read_digits(T, *NUMBER, {"1": "1234", "2": second, "4": first}) == {"2": "6222020001"}
    assert beside.damaged == 3


async def test_short_digits_are_refused_before_anything_is_kept(beside: Beside) -> None:
    with pytest.raises(DigitsRefused):
        await beside.keep_digits(T, *NUMBER, "12345", record="1", cell="")
    assert await beside.read(T, *NUMBER, ["1"]) == {}


async def test_without_keys_or_store_nothing_is_kept_or_read(
    beside: Beside, keyring: Keyring, failing: Failing, pool: Pool
) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record=None, cell="c")
    failing.broken = True
    keyring.forget()
    with pytest.raises(KeysUnavailable):
        await beside.keep(T, *BORN, date(1976, 2, 29), record="1", cell="")
    with pytest.raises(KeysUnavailable):
        await beside.keep_digits(T, *NUMBER, "6222020000", record="1", cell="")
    with pytest.raises(KeysUnavailable):
        await beside.bind(T, "c", "contact", "1")
    failing.broken = False
    await beside.bind(T, "c", "contact", "1")
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await beside.read(T, *BORN, ["1"])


async def test_the_store_holds_no_clear_value(beside: Beside, pool: Pool) -> None:
    await beside.keep(T, *BORN, date(1976, 2, 29), record="1", cell="")
    await beside.keep_digits(T, *NUMBER, "6222020000", record="1", cell="")
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


async def test_what_the_crm_did_not_take_is_given_up_and_what_waited_too_long_is_swept(
    beside: Beside, pool: Pool
) -> None:
    store = CellStore(pool)
    for cell in ("x1", "x2", "x3"):
        await beside.keep(T, *BORN, date(1987, 6, 5), record=None, cell=cell)
    await beside.keep(T, *BORN, date(1987, 6, 5), record="9", cell="")
    await beside.give_up(T, ["x1"])
    await beside.bind(T, "x1", "contact", "1")
    await store.sweep(datetime.now(UTC))
    await beside.bind(T, "x2", "contact", "2")
    await store.sweep(datetime.now(UTC) + timedelta(days=8))
    await beside.bind(T, "x3", "contact", "3")
    assert set(await beside.read(T, *BORN, ["1", "2", "3", "9"])) == {"2", "9"}
