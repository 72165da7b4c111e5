"""The shredding drill in short form: killed at every step, both databases restored, nothing of the erased opens."""

from pathlib import Path

from tests.drills.rotation import with_openbao
from tests.drills.shred import SEED, STEPS, Outcome, drill
from tests.real.bao import bao

PEOPLE, VALUES = 30, 3


def proved(outcome: Outcome) -> None:
    assert outcome.wrong == []
    others = (PEOPLE - 1) * VALUES + outcome.shared + (PEOPLE - 1)  # and their dates beside the CRM
    assert outcome.dates == PEOPLE
    assert outcome.opened["now"] == (0, others + outcome.written_meanwhile)
    assert outcome.opened["old main database"] == (0, others)
    assert outcome.opened["the same, tombstones carried"] == (0, others)
    assert outcome.opened["old person store"] == outcome.opened["both old"] == (0, 0)
    states = ("now", "old main database", "the same, tombstones carried")
    assert [outcome.sealed[one] for one in states] == [(0, (PEOPLE - 1) * 2)] * 3  # a cell and a file each
    assert outcome.tried > PEOPLE
    assert outcome.trail >= 3
    assert outcome.written_meanwhile > 0


async def test_an_erased_person_stays_erased_whatever_is_restored() -> None:
    outcome = await drill(PEOPLE, len(STEPS), SEED)
    proved(outcome)
    assert outcome.kills == ["destroy", *STEPS]


async def test_with_openbao_and_postgresql_it_is_the_same(tmp_path: Path) -> None:
    with bao() as server:
        outcome = await drill(PEOPLE, 3, SEED, with_openbao(server, tmp_path), postgres=True)
    proved(outcome)
