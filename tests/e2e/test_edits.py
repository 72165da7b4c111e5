"""The edit drill in short form: nothing lost, nothing overwritten by a mask, nothing in clear at rest."""

import pytest
from rich.console import Console

from tests.drills.edit_model import summary
from tests.drills.edits import drill, report

pytestmark = pytest.mark.real


@pytest.mark.timeout(1800)
def test_random_edits_by_every_role_lose_nothing_and_store_no_mask() -> None:
    tally, world = drill(300, 12, 7, restart_every=150, show=False)
    report(Console(width=150), tally, world)
    assert summary(world.faults) == {}
    assert tally.edits == 300
    for how in ("unchanged", "new", "emptied", "pasted", "text around", "retyped"):
        assert tally.how[how, "accepted"], how
    for how in ("bad", "readable mask", "text around", "pasted mask"):
        assert tally.how[how, "refused"], how
