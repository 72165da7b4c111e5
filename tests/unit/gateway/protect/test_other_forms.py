"""Dates beside the CRM and cells, put there and taken back by protecting: nothing lost, wherever it stops."""

import copy
from dataclasses import replace
from datetime import date

import pytest

from gateway.protect.probe import forms_of, probe
from gateway.protect.reading import CrmRefused
from policies.operation import StorageForm
from policies.walk import WalkEntity, WalkField
from tests.unit.gateway.protect.conftest import Bench, T
from tests.unit.gateway.protect.crm import ENTITY, WALK, Killed, MemoryCrm

PEOPLE = {
    "1": {"last_name": "Lefèvre", "birthday": "1987-06-05", "description": "first line\r\n second & <last> "},
    "2": {"last_name": "Meyer", "birthday": "June 5, 1987", "description": "Lefèvre knows him"},
    "3": {"last_name": "Roy", "birthday": "", "description": ""},
    "4": {"last_name": "Odd", "birthday": "5/6/87", "description": "~G1.typed by a person, and no cell at all"},
}


def with_cells() -> MemoryCrm:
    return MemoryCrm(copy.deepcopy(PEOPLE))


def celled(field: WalkField) -> WalkField:
    return replace(field, spec=replace(field.spec, form=StorageForm.CELL)) if field.name == "description" else field


CELLED = replace(WALK, entities=(replace(ENTITY, fields=tuple(celled(one) for one in ENTITY.fields)),))


async def test_a_run_leaves_placeholders_and_cells_and_undo_gives_back_every_byte(bench: Bench) -> None:
    crm = with_cells()
    work = bench.work(crm, CELLED)
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.carry_out(work, "r1")
    assert [crm.records[one]["birthday"] for one in "1234"] == ["1900-01-01", "Jan. 1, 1900", "", "5/6/87"]
    assert all(crm.records[one]["description"].startswith("~G1.") for one in "124")
    assert "1987" not in str(crm.records)
    assert "line" not in str(crm.records)
    assert crm.writes == {"1": 1, "2": 1, "3": 1, "4": 1}
    checked = await work.verify("r1")
    assert (checked.clear, checked.changed) == (0, 0)
    assert "'date'" in str(await bench.store.misfits(T, "r1"))
    await bench.carry_out(work, "r1", undo=True)
    assert crm.records == PEOPLE
    assert await bench.others_held() == 0


async def test_nothing_is_lost_wherever_the_process_dies(bench: Bench) -> None:
    crm = with_cells()
    await bench.store.begin(T, "r1", "interface", 0)
    died: set[str] = set()

    def die(when: str) -> None:
        if (point := f"{when} {crm.writes}") not in died:
            died.add(point)
            raise Killed

    crm.hook = die
    for undo in (False, True):
        crm.writes.clear()
        died.clear()
        kills = 0
        while True:
            try:
                await bench.carry_out(bench.work(crm, CELLED), "r1", undo=undo)
                break
            except Killed:
                kills += 1
        assert kills == 8
        assert crm.writes == {"1": 1, "2": 1, "3": 1, "4": 1}
        assert undo or "1987" not in str(crm.records)
    assert crm.records == PEOPLE


async def test_undo_gives_back_what_somebody_entered_since(bench: Bench) -> None:
    crm = with_cells()
    work = bench.work(crm, CELLED)
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.carry_out(work, "r1")
    await bench.beside.keep(T, "contact", "birthday", date(1999, 12, 31), record="2", cell="")
    await bench.carry_out(work, "r1", undo=True)
    assert crm.records["2"]["birthday"] == "Dec. 31, 1999"
    assert crm.records["1"] == PEOPLE["1"]


async def test_what_was_read_back_counts_and_undo_gives_back_the_date_whose_placeholder_stands(bench: Bench) -> None:
    crm = with_cells()
    work = bench.work(crm, CELLED)
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.carry_out(work, "r1")
    some = await bench.beside.candidates(T, "contact", "birthday", ["1", "2"])
    assert {record: [one.accepted for one in found] for record, found in some.items()} == {"1": [True], "2": [True]}
    await bench.beside.offer(T, "contact", "birthday", date(1999, 12, 31), ["1", "2"], 365)
    crm.records["1"]["birthday"] = "1900-01-02"  # the CRM took it, and its answer never came
    await bench.carry_out(work, "r1", undo=True)
    assert crm.records["1"]["birthday"] == "1999-12-31"
    assert crm.records["2"] == PEOPLE["2"]


async def test_a_cell_that_the_crm_cuts_is_put_back_and_reported(bench: Bench) -> None:
    crm = with_cells()
    crm.store = lambda name, text: text[:60] if name == "description" else text
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.carry_out(bench.work(crm, CELLED), "r1")
    assert crm.records["1"]["description"] == PEOPLE["1"]["description"][:60]
    assert crm.records["1"]["birthday"] == "1900-01-01"


async def test_the_probe_refuses_a_form_that_the_crm_does_not_keep(bench: Bench) -> None:
    async def trail(*_: object) -> None:
        return None

    probed = replace(CELLED, entities=(replace(CELLED.entities[0], probe={"last_name": "Probe"}),))
    for store, broken in (
        (lambda _, text: text, set()),
        (lambda name, text: "" if name == "birthday" else text, {"birthday"}),
        (lambda name, text: text[:500] if name == "description" else text, {"description"}),
        (lambda name, text: text.lower() if name == "description" else text, {"description"}),
    ):
        crm = MemoryCrm({})
        crm.store = store
        proofs = {one.name: one for one in await probe(probed, crm, trail)}
        assert {name for name, one in proofs.items() if not one.holds} == broken
        assert crm.records == {}
    assert "(beside)" in proofs["birthday"].kind
    assert "(cell)" in proofs["description"].kind


async def test_a_scratch_record_that_the_crm_does_not_delete_is_told_and_the_proofs_are_not_lost() -> None:
    async def trail(*_: object) -> None:
        return None

    class Keeping(MemoryCrm):
        """A CRM that deletes nothing."""

        async def remove(self, entity: WalkEntity, record: str) -> None:
            raise CrmRefused("UserError")

    probed = replace(CELLED, entities=(replace(CELLED.entities[0], probe={"last_name": "Probe"}),))
    proofs = await probe(probed, Keeping({}), trail)
    assert [one.name for one in proofs if not one.holds] == ["*"]
    assert "does not delete the scratch record" in proofs[-1].limits[0]
    assert any("(cell)" in one.kind for one in proofs)


@pytest.mark.parametrize("room", [100, 500, 65_000])
def test_only_cells_that_the_field_has_room_for_are_tried(room: int) -> None:
    spec = next(one.spec for one in CELLED.entities[0].fields if one.name == "description")
    tried = forms_of(replace(spec, max_chars=room))
    assert tried
    assert all(len(text) <= room for text in tried.values())
