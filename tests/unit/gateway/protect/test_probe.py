"""Proving fields on a scratch record while somebody else, perhaps the gateway's own look, changes it as well."""

from dataclasses import replace

import pytest

from gateway.protect.probe import probe
from tests.unit.gateway.protect.crm import ENTITY, WALK, MemoryCrm

PROBED = replace(
    WALK,
    entities=(
        replace(ENTITY, probe={"last_name": "scratch"}, fields=tuple(f for f in ENTITY.fields if f.name == "phone")),
    ),
)


async def trail(*_: object) -> None:
    """Nothing is kept."""


@pytest.mark.parametrize(("every", "problems"), [(3, set()), (1, {"changed by somebody else"})])
async def test_a_record_that_somebody_else_changes_is_tried_again_and_given_up_in_the_end(
    every: int, problems: set[str]
) -> None:
    crm, count = MemoryCrm({}), 0

    def meddle(when: str) -> None:
        nonlocal count
        count += when == "before"
        if when == "before" and count % every == 0:
            for fields in crm.records.values():
                fields["city"] = f"changed {count}"

    crm.hook = meddle
    (proof,) = await probe(PROBED, crm, trail)
    assert set(proof.problems.values()) == problems
    assert proof.holds is (not problems)
    assert crm.records == {}


@pytest.mark.parametrize(("times", "problems"), [(1, set()), (100, {"changed"})])
async def test_a_text_that_became_another_counts_only_when_it_does_so_again(times: int, problems: set[str]) -> None:
    crm, left = MemoryCrm({}), times

    def meddle(when: str) -> None:
        nonlocal left
        for fields in crm.records.values() if when != "before" and left else ():
            if fields.get("phone"):
                fields["phone"], left = "another", left - 1

    crm.hook = meddle
    (proof,) = await probe(PROBED, crm, trail)
    assert set(proof.problems.values()) == problems
    assert proof.holds is (not problems)
