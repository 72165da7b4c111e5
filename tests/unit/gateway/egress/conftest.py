"""A relay over a real vault."""

import pytest

from gateway.database import Pool
from tests.unit.gateway.egress.mailroom import Mailroom
from tests.unit.gateway.glue import Glue


@pytest.fixture
def room(creme: Glue, pool: Pool) -> Mailroom:
    """Recipients, judge and relay with the shipped policy."""
    return Mailroom(creme, pool)
