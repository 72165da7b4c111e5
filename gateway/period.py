"""How far back: `2y`, `30d`, `12m`, `4w`, or a day or time; pure."""

import re
from datetime import UTC, datetime, timedelta

from policies.window import moment

_SPAN = re.compile(r"([1-9][0-9]{0,3})([dwmy])\Z")
_DAYS = {"d": 1, "w": 7}
_MONTHS = {"m": 1, "y": 12}
FIRST_YEAR = 1970


def since_of(text: str, now: datetime) -> datetime | None:
    """The moment that a span before now, a day (UTC) or a time with its zone means; None for anything else."""
    span = _SPAN.match(text)
    if span is None:
        found = moment(text)
        return None if found is None else datetime.fromtimestamp(found, UTC)
    count, unit = int(span[1]), span[2]
    if unit in _DAYS:
        return now - timedelta(days=count * _DAYS[unit])
    months = now.year * 12 + now.month - 1 - count * _MONTHS[unit]
    year, month = divmod(months, 12)
    if year < FIRST_YEAR:
        return None
    # The day of a longer month: the last one of the shorter.
    for day in range(now.day, 0, -1):
        try:
            return now.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return None


def until_of(text: str) -> datetime | None:
    """The first moment after a day (UTC), or a time with its zone; None for anything else."""
    found = moment(text, last=True)
    return None if found is None else datetime.fromtimestamp(found, UTC)
