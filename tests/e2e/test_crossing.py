"""Two companies behind one gateway: a part of the crossing drill, every kind of attempt in it."""

import pytest

from tests.drills.crossing import LEAST, drill

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
EVERY = 7  # no divisor of how many paths and fields there are, so that all of them take their turn


def test_nothing_of_one_company_opens_shows_or_changes_at_the_other() -> None:
    result = drill(3, EVERY, lambda done, total: None)
    assert result.blind == []
    assert result.crossed == []
    assert result.tried.total() * EVERY >= LEAST
    assert len(result.tried) >= 12
