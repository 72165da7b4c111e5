"""Days that stand in a CRM instead of a date: one for each generation of the value that is kept beside it.

All of them belong to the field, so none may be a day on which somebody who lives was born.
"""

from datetime import date, timedelta

DAYS = 365
"""Generations of a field; the day after the last one is a date like any other."""
NOBODY_BEFORE, NOBODY_FROM = date(1905, 1, 1), date(2200, 1, 1)


def placeholder(first: date, generation: int) -> date:
    """The day of a generation. first: the placeholder that the profile names."""
    return first + timedelta(days=generation)


def generation(first: date, day: date) -> int | None:
    """Which generation a day stands for; None for a date."""
    number = (day - first).days
    return number if 0 <= number < DAYS else None


def is_nobodys(first: date) -> bool:
    """Whether nobody who lives can have been born on any of the days."""
    return first <= NOBODY_BEFORE - timedelta(days=DAYS) or NOBODY_FROM <= first <= date.max - timedelta(days=DAYS)
