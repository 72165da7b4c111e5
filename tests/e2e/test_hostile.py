"""The hostile-values drill in short form: nothing executes, nothing changes, nothing unfit reaches the CRM."""

import pytest

from tests.drills.hostile import drill_creme, drill_tryton
from tests.drills.stack import Stack, installed
from tests.real.servers import tryton

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]


def test_hostile_values_are_only_values_in_creme(creme_stack: Stack) -> None:
    outcome = drill_creme(creme_stack, short=True)
    assert outcome.wrong == []
    assert all(tally.looked_at for tally in outcome.parts.values())


def test_hostile_values_are_only_values_in_tryton() -> None:
    with tryton() as server, installed(server) as stack:
        outcome = drill_tryton(stack, short=True)
    assert outcome.wrong == []
    assert all(tally.looked_at for tally in outcome.parts.values())
