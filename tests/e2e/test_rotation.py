"""The rotation drill in short form: three real kills of the real command; nothing lost, nothing twice, search right."""

from pathlib import Path

from tests.drills.rotation import SHORT, drill, with_openbao
from tests.real.bao import bao


async def test_a_rotation_killed_three_times_finishes_and_loses_nothing() -> None:
    outcome = await drill(*SHORT)
    assert outcome.wrong == []
    assert len(outcome.kills) == SHORT[1]
    assert all(0 < share < 100 for share in outcome.kills)
    assert outcome.searched == outcome.values * (SHORT[1] + 2)  # so few are all looked for each time


async def test_with_keys_in_a_real_openbao_it_is_the_same(tmp_path: Path) -> None:
    with bao() as server:
        outcome = await drill(60, 1, edit=with_openbao(server, tmp_path))
    assert outcome.wrong == []
    assert len(outcome.kills) == 1
