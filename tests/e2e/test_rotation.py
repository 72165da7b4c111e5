"""The rotation drill in short form: three real kills of the real command; nothing lost, nothing twice, search right."""

from tests.drills.rotation import SHORT, drill


async def test_a_rotation_killed_three_times_finishes_and_loses_nothing() -> None:
    outcome = await drill(*SHORT)
    assert outcome.wrong == []
    assert len(outcome.kills) == SHORT[1]
    assert all(0 < share < 100 for share in outcome.kills)
    assert outcome.searched == outcome.values * (SHORT[1] + 2)
