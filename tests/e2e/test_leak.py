"""The leak drill in short form: every figure must be 0, and the control must see what is shown."""

import pytest
from rich.console import Console

from tests.drills.leak import GENERIC, drill

pytestmark = pytest.mark.real


@pytest.mark.timeout(1800)
def test_nothing_seeded_through_the_gateway_leaks_from_creme() -> None:
    assert drill("creme", people=16, organisations=3, limit=150, console=Console(width=150)) == 0


@pytest.mark.timeout(1800)
def test_nothing_seeded_through_the_gateway_leaks_from_djangocrm() -> None:
    assert drill("djangocrm", people=5, organisations=2, limit=60, console=Console(width=150)) == 0


@pytest.mark.timeout(1800)
def test_nothing_seeded_through_the_gateway_leaks_from_tryton() -> None:
    assert drill("tryton", people=12, organisations=3, limit=250, console=Console(width=150)) == 0


@pytest.mark.timeout(1800)
def test_without_a_profile_no_recognised_value_leaks_from_bottlecrm() -> None:
    assert drill("bottle", people=4, organisations=1, limit=60, console=Console(width=150), profile=GENERIC) == 0
