"""How far back: spans, days and times; nothing else."""

from datetime import UTC, datetime

import pytest

from gateway.period import since_of, until_of

NOW = datetime(2028, 2, 29, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2y", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("4y", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
        ("1m", datetime(2028, 1, 29, 12, 30, tzinfo=UTC)),
        ("12m", datetime(2027, 2, 28, 12, 30, tzinfo=UTC)),
        ("30d", datetime(2028, 1, 30, 12, 30, tzinfo=UTC)),
        ("2w", datetime(2028, 2, 15, 12, 30, tzinfo=UTC)),
        ("2026-12-31", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2026-12-31T18:00+08:00", datetime(2026, 12, 31, 10, tzinfo=UTC)),
        *((wrong, None) for wrong in ("", "y", "0d", "-1d", "2 y", "yesterday", "2026-13-01", "9999y", "99999d", "1Y")),
    ],
)
def test_since(text: str, found: datetime | None) -> None:
    assert since_of(text, NOW) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)), ("2026-02-30", None), ("2y", None), ("", None)],
)
def test_until_is_the_first_moment_after_the_day(text: str, found: datetime | None) -> None:
    assert until_of(text) == found
