"""The health page on an embedded database that ended by itself: said for a day, then all is good again."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.console import health
from gateway.supervisor import Revivals

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("revivals", "state"),
    [
        (Revivals(), health.GOOD),
        (Revivals(2, NOW - timedelta(hours=23)), health.WARNING),
        (Revivals(2, NOW - timedelta(hours=25)), health.GOOD),
    ],
    ids=["never", "today", "long ago"],
)
async def test_a_restart_is_shown_for_a_day(pool: Any, revivals: Revivals, state: str) -> None:
    deps: Any = SimpleNamespace(pool=pool, revivals=revivals, access=SimpleNamespace(clock=lambda: NOW))
    found = await health._database(deps)
    assert found.state == state
    assert found.fact % found.values
    if state == health.WARNING:
        assert (found.values["count"], found.values["at"]) == (2, "2026-11-25 13:00:00")
        assert found.advice
