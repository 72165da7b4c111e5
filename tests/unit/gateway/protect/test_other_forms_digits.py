"""Numbers that stay digits, put there and taken back by protecting: nothing lost, wherever it stops."""

import copy
from dataclasses import replace

from gateway.protect.probe import forms_of, probe
from kms.marked_digits import Check, is_clear, is_shaped
from kms.surrogate import luhn_digit
from policies.operation import FieldSpec, StorageForm
from policies.taxonomy import Kind
from policies.walk import WalkField
from tests.real.numbered import siret
from tests.unit.gateway.protect.conftest import Bench, T
from tests.unit.gateway.protect.crm import ENTITY, WALK, Killed, MemoryCrm

SPEC = FieldSpec("contact", "number", Kind.ID_CARD, 14, StorageForm.FF1, digits=(14,), check="luhn")
NUMBERED = replace(WALK, entities=(replace(ENTITY, fields=(*ENTITY.fields, WalkField("number", SPEC))),))
ONE, TWO = siret(7328293200007), siret(5556667778889)
WRONG = ONE[:-1] + str((int(ONE[-1]) + 4) % 10)
PEOPLE = {
    "1": {"last_name": "Roy", "number": ONE},
    "2": {"last_name": "Roy", "number": TWO},
    "3": {"last_name": "Meyer", "number": ONE},
    "4": {"last_name": "Odd", "number": WRONG},
    "5": {"last_name": "Odd", "number": f"{ONE[:9]} {ONE[9:]}"},
    "6": {"last_name": "Odd", "number": ""},
}


async def test_a_run_leaves_digits_and_undo_gives_back_every_byte(bench: Bench) -> None:
    crm = MemoryCrm(copy.deepcopy(PEOPLE))
    work = bench.work(crm, NUMBERED)
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.carry_out(work, "r1")
    held = {record: fields["number"] for record, fields in crm.records.items()}
    assert [held[one] for one in "456"] == [PEOPLE[one]["number"] for one in "456"]
    assert held["1"] == held["3"] != held["2"]
    for one in "123":
        assert len(held[one]) == 14
        assert luhn_digit(held[one][:-1]) != held[one][-1]
    checked = await work.verify("r1")
    assert (checked.clear, checked.changed) == (0, 0)
    misfits = [one for one in await bench.store.misfits(T, "r1") if "check-digit" in str(one)]
    assert len(misfits) == 1
    assert await noted(bench) == {"1", "2", "3"}
    await bench.carry_out(work, "r1", undo=True)
    assert crm.records == PEOPLE
    assert await noted(bench) == set()


async def noted(bench: Bench) -> set[str]:
    """Records that are known to hold a number."""
    async with bench.pool.connection() as connection:
        cursor = await connection.execute("SELECT record FROM vault_digits_record")
        return {row[0] for row in await cursor.fetchall()}


async def test_nothing_is_lost_wherever_the_process_dies(bench: Bench) -> None:
    crm = MemoryCrm(copy.deepcopy(PEOPLE))
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
                await bench.carry_out(bench.work(crm, NUMBERED), "r1", undo=undo)
                break
            except Killed:
                kills += 1
        assert kills == 2 * len(PEOPLE)
        assert undo or ONE not in [fields["number"] for fields in crm.records.values()]
    assert crm.records == PEOPLE


async def test_undo_gives_back_what_somebody_entered_since(bench: Bench) -> None:
    crm = MemoryCrm(copy.deepcopy(PEOPLE))
    work = bench.work(crm, NUMBERED)
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.carry_out(work, "r1")
    crm.records["1"]["number"] = crm.records["2"]["number"]  # as the gateway would have sealed it
    await bench.carry_out(work, "r1", undo=True)
    assert crm.records["1"]["number"] == TWO


async def test_where_the_crm_drops_digits_that_fail_their_check_the_number_is_put_back_and_reported(
    bench: Bench,
) -> None:
    crm = MemoryCrm(copy.deepcopy(PEOPLE))
    crm.store = lambda name, text: text if name != "number" or is_clear(Check.LUHN, text) else ""
    await bench.store.begin(T, "r1", "interface", 0)
    await bench.carry_out(bench.work(crm, NUMBERED), "r1")
    assert {record: fields["number"] for record, fields in crm.records.items()} == {
        record: fields["number"] for record, fields in PEOPLE.items()
    }
    assert "not-stored" in str(await bench.store.misfits(T, "r1"))


def test_the_probe_tries_every_length_and_leading_zeros() -> None:
    tried = forms_of(replace(SPEC, digits=(9, 14)))
    assert len(tried) == 4
    assert sorted({len(text) for text in tried.values()}) == [9, 14]
    for what, text in tried.items():
        assert is_shaped(Check.LUHN, text)
        assert not is_clear(Check.LUHN, text)
        assert text.startswith("00") or "zeros" not in what
    identity = forms_of(replace(SPEC, digits=(18,), check="gb11643"))
    assert all(text.isdecimal() and not is_clear(Check.GB11643, text) for text in identity.values())


async def test_the_probe_refuses_a_crm_that_checks_or_changes_digits_and_tells_its_limits() -> None:
    async def trail(*_: object) -> None:
        return None

    probed = replace(NUMBERED, entities=(replace(NUMBERED.entities[0], probe={"last_name": "Probe"}),))
    for store, problems in (
        (lambda _, text: text, set()),
        (lambda name, text: text if name != "number" or is_clear(Check.LUHN, text) else "", {"not stored"}),
        (lambda name, text: text.lstrip("0") if name == "number" else text, {"changed"}),
    ):
        crm = MemoryCrm({})
        crm.store = store
        (proof,) = [one for one in await probe(probed, crm, trail) if one.name == "number"]
        assert set(proof.problems.values()) == problems
        assert proof.holds is not bool(problems)
        assert proof.kind == "id_card (ff1)"
        assert "FF1 over 10^13 values, 10^6 are the least" in proof.limits
        assert any(one.startswith("15 digits: ") for one in proof.limits)
