"""The key server goes away under load and comes back: the short form of `make outage`."""

import pytest

from tests.drills.outage import CREATE, PLAIN, READ, run

pytestmark = pytest.mark.real


def test_nothing_is_lost_and_everything_comes_back_by_itself() -> None:
    """Tokens end while the server is away, so that a new login is part of the recovery."""
    result = run(5.0, 2.0)
    assert result.faults == []
    for kind in (READ, CREATE):
        assert result.count(kind, "served", float("-inf"), 0)
        assert result.count(kind, "refused", result.ended_s, result.outage_s)
        assert result.count(kind, "served", result.ended_s, result.outage_s) == 0
        assert result.count(kind, "served", result.back_s, float("inf"))
    assert result.count(PLAIN, "served", result.ended_s, result.outage_s)
