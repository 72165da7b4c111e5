"""Cells on a real PostgreSQL: bound at first sight, refused under a second record, opened nowhere else."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from gateway.database import Pool
from kms import cell as text_form
from kms.cell_store import CellRow, CellStore
from kms.cells import Cells
from kms.envelope import Sealing, SuiteRetired, cell_id
from kms.keyring import Keyring
from kms.original import ValueRefused
from kms.provider import KeysUnavailable
from kms.store import OriginConflict, StoreUnavailable
from kms.suites.sm4_gcm import SM4_GCM
from kms.suites.triple_des import TRIPLE_DES
from tests.unit.kms.conftest import Failing

T, AT = "acme", ("contact", "note")
SEALINGS = {"acme": Sealing(), "jia": Sealing(SM4_GCM, committed=True), "old": Sealing(TRIPLE_DES, legacy=True)}


@pytest.fixture
def cells(pool: Pool, keyring: Keyring) -> Cells:
    return Cells(CellStore(pool), keyring, SEALINGS.__getitem__)


async def test_values_of_every_type_come_back_from_their_record(cells: Cells) -> None:
    values = ["张伟的备注", "0", 0, False, Decimal("1.50"), date(1976, 2, 29), {"a": [1, None]}]
    for tenant in SEALINGS:
        texts = await cells.seal(tenant, *AT, [(value, "1") for value in values])
        assert all(text.startswith("~G1.") for text in texts)
        assert len(set(texts)) == len(texts)
        opened = await cells.open(tenant, *AT, [(text, "1") for text in texts])
        assert opened == values
        assert [type(value) for value in opened] == [type(value) for value in values]
        assert await cells.open(tenant, *AT, [(text, "2") for text in texts]) == [None] * len(texts)


async def test_old_values_open_when_the_suite_of_a_tenant_changes(pool: Pool, keyring: Keyring) -> None:
    before, after = Sealing(), Sealing(SM4_GCM)
    old = (await Cells(CellStore(pool), keyring, lambda _: before).seal(T, *AT, [("x", "1")]))[0]
    now = Cells(CellStore(pool), keyring, lambda _: after)
    new = (await now.seal(T, *AT, [("x", "1")]))[0]
    suites = [blob[0] for text in (old, new) if (blob := text_form.read(text))]
    assert suites == [0x11, 0x21]
    assert await now.open(T, *AT, [(old, "1"), (new, "1")]) == ["x", "x"]


async def test_a_new_cell_opens_nowhere_before_it_is_bound_and_then_in_one_record_only(cells: Cells) -> None:
    (text,) = await cells.seal(T, *AT, [("note", None)])
    assert await cells.open(T, *AT, [(text, "1")]) == [None]
    await cells.bind(T, *AT, "1", [text])
    await cells.bind(T, *AT, "1", [text])
    assert await cells.open(T, *AT, [(text, "1"), (text, "2")]) == ["note", None]
    with pytest.raises(OriginConflict):
        await cells.bind(T, *AT, "2", [text])
    assert await cells.open(T, *AT, [(text, "2")]) == [None]
    assert cells.damaged == 3


async def test_a_conflict_binds_nothing_of_its_batch(cells: Cells) -> None:
    first, second = await cells.seal(T, *AT, [("a", None), ("b", None)])
    await cells.bind(T, *AT, "1", [first])
    with pytest.raises(OriginConflict):
        await cells.bind(T, *AT, "2", [first, second])
    await cells.bind(T, *AT, "3", [second])
    assert await cells.open(T, *AT, [(second, "3")]) == ["b"]


async def test_of_many_who_bind_a_cell_at_once_one_record_wins(pool: Pool, keyring: Keyring) -> None:
    nodes = [Cells(CellStore(pool), keyring, SEALINGS.__getitem__) for _ in range(6)]
    (text,) = await nodes[0].seal(T, *AT, [("note", None)])
    outcomes = await asyncio.gather(
        *(node.bind(T, *AT, str(number), [text]) for number, node in enumerate(nodes)), return_exceptions=True
    )
    won = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert len(won) == 1
    assert all(isinstance(outcome, OriginConflict) for outcome in outcomes if outcome is not None)
    for node in nodes:
        opened = await node.open(T, *AT, [(text, str(number)) for number in range(6)])
        assert [number for number, value in enumerate(opened) if value == "note"] == won


@pytest.mark.parametrize(("tenant", "entity", "field"), [("jia", *AT), (T, "lead", "note"), (T, "contact", "remark")])
async def test_a_moved_cell_neither_opens_nor_binds(cells: Cells, tenant: str, entity: str, field: str) -> None:
    known, new, same = [
        *await cells.seal(T, *AT, [("a", "1"), ("b", None)]),
        *await cells.seal(T, *AT, [("c", None)], deterministic=True),
    ]
    await cells.seal(tenant, entity, field, [("x", "1")])  # the other place has keys, too
    await cells.bind(tenant, entity, field, "1", [known, new, same])
    assert await cells.open(tenant, entity, field, [(known, "1"), (new, "1"), (same, "1")]) == [None] * 3
    await cells.bind(T, *AT, "1", [new])
    assert await cells.open(T, *AT, [(known, "1"), (new, "1"), (same, "1")]) == ["a", "b", "c"]


async def test_equal_deterministic_cells_are_equal_in_every_record(cells: Cells) -> None:
    texts = await cells.seal(T, *AT, [("a", "1"), ("a", "2"), ("a", None), ("b", "1")], deterministic=True)
    assert len(set(texts[:3])) == 1
    assert texts[3] != texts[0]
    assert await cells.open(T, *AT, [(texts[0], "9")]) == ["a"]


async def test_no_changed_character_opens(cells: Cells) -> None:
    (text,) = await cells.seal(T, *AT, [("note", "1")])
    changed = [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(len(text))]
    changed += [text[:-1], text + "A", text + "AAAA", text[:-4]]
    assert await cells.open(T, *AT, [(one, "1") for one in changed]) == [None] * len(changed)


async def test_text_that_looks_like_a_cell_is_sealed_like_any_text(cells: Cells) -> None:
    (foreign,) = await cells.seal("jia", *AT, [("theirs", "1")])
    typed = ["~G1.", "~G1.hello", "~G1.EQIDBAUG", foreign]
    texts = await cells.seal(T, *AT, [(one, "1") for one in typed])
    assert await cells.open(T, *AT, [(one, "1") for one in texts]) == typed
    assert await cells.open(T, *AT, [(one, "1") for one in typed]) == [None] * len(typed)
    (twice,) = await cells.seal(T, *AT, [(texts[0], "1")])
    assert await cells.open(T, *AT, [(twice, "1")]) == [texts[0]]  # opened once, not until clear


async def test_empty_text_stays_empty_and_null_is_refused(cells: Cells) -> None:
    assert await cells.seal(T, *AT, [("", "1"), ("", None)]) == ["", ""]
    assert await cells.open(T, *AT, [("", "1")]) == [None]
    null: Any = None
    with pytest.raises(ValueRefused):
        await cells.seal(T, *AT, [(null, "1")])


async def test_short_values_of_one_bucket_have_one_length(cells: Cells) -> None:
    texts = await cells.seal(T, *AT, [(value, "1") for value in ("男", "yes", "no", True, 0, "fifteen bytes..")])
    assert len({len(text) for text in texts}) == 1


async def test_a_retired_suite_does_not_seal_without_its_switch(pool: Pool, keyring: Keyring) -> None:
    with pytest.raises(SuiteRetired):
        await Cells(CellStore(pool), keyring, lambda _: Sealing(TRIPLE_DES)).seal(T, *AT, [("x", "1")])


async def test_without_keys_or_store_nothing_opens_seals_or_binds(
    cells: Cells, keyring: Keyring, failing: Failing, pool: Pool
) -> None:
    bound, fresh = await cells.seal(T, *AT, [("a", None), ("b", None)])
    await cells.bind(T, *AT, "1", [bound])
    failing.broken = True
    keyring.forget()
    with pytest.raises(KeysUnavailable):
        await cells.seal(T, *AT, [("x", "1")])
    with pytest.raises(KeysUnavailable):
        await cells.open(T, *AT, [(bound, "1")])
    with pytest.raises(KeysUnavailable):
        await cells.bind(T, *AT, "1", [fresh])
    failing.broken = False
    assert await cells.open(T, *AT, [(bound, "1")]) == ["a"]
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await cells.open(T, *AT, [(fresh, "1")])
    with pytest.raises(StoreUnavailable):
        await cells.bind(T, *AT, "1", [fresh])


async def test_remembered_bindings_are_bounded(pool: Pool, keyring: Keyring) -> None:
    cells = Cells(CellStore(pool), keyring, SEALINGS.__getitem__, most=2)
    texts = await cells.seal(T, *AT, [(f"note {number}", None) for number in range(5)])
    await cells.bind(T, *AT, "1", texts)
    for text in texts:
        assert await cells.open(T, *AT, [(text, "1")]) != [None]
    assert len(cells._bound) == 2


async def test_the_store_holds_ids_only(cells: Cells, pool: Pool) -> None:
    (text,) = await cells.seal(T, *AT, [("张伟", None)])
    await cells.bind(T, *AT, "1", [text])
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT tenant, cell, entity, field, record FROM vault_cell")).fetchall()
    blob = text_form.read(text)
    assert blob is not None
    assert [(tenant, bytes(cell), *rest) for tenant, cell, *rest in rows] == [(T, cell_id(blob), *AT, "1")]


async def test_binding_needs_a_record(cells: Cells) -> None:
    with pytest.raises(ValueError, match="record"):
        await cells.bind(T, *AT, "", [])


async def test_one_bound_cell_of_a_field_stands_at_a_time(cells: Cells) -> None:
    first, second, other = await cells.seal(T, *AT, [("a", None), ("b", None), ("c", None)])
    await cells.bind(T, *AT, "1", [first, second])
    await cells.bind(T, *AT, "2", [other])
    for given, stands in ((None, None), (first, first), (second, second), (other, None), (first, first), ("", None)):
        if given is not None:
            await cells.stand(T, *AT, "1", given)  # `other` belongs to another record
        assert await cells.standing(T, *AT, "1") == stands
        assert await cells.standing(T, *AT, "2") is None


async def test_a_cell_tells_where_it_belongs_once_it_is_bound(cells: Cells) -> None:
    bound, loose = await cells.seal(T, *AT, [("a", None), ("b", None)])
    await cells.bind(T, *AT, "1", [bound])
    assert await cells.places(T, [bound, loose, "~G1.nothing", "text"]) == {bound: CellRow(*AT, "1")}
    assert await cells.places("jia", [bound]) == {}
