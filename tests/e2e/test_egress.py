"""A real Creme sends mail through the relay: every row of the drill must be as expected."""

import pytest
from rich.console import Console

from tests.drills.egress import drill
from tests.drills.stack import Stack
from tests.e2e.visitors import at_work

pytestmark = pytest.mark.real


@pytest.mark.timeout(1800)
def test_mail_of_a_real_creme_reaches_the_right_person_and_leaves_nothing_clear_behind(creme_stack: Stack) -> None:
    assert drill(creme_stack, at_work(creme_stack, "manager", "wang.manager"), Console(width=150)) == 0
