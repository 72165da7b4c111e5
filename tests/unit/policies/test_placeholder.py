"""Days of placeholders: each names one generation, and nobody who lives was born on any."""

from datetime import date, timedelta

import pytest

from policies.placeholder import DAYS, generation, is_nobodys, placeholder

FIRST = date(1900, 1, 1)


def test_each_generation_has_a_day_of_its_own_and_other_days_are_dates() -> None:
    days = [placeholder(FIRST, number) for number in range(DAYS)]
    assert len(set(days)) == DAYS
    assert [generation(FIRST, day) for day in days] == list(range(DAYS))
    assert days[0] == FIRST
    assert days[-1] == date(1900, 12, 31)
    for day in (FIRST - timedelta(days=1), date(1901, 1, 1), date(1987, 6, 5)):
        assert generation(FIRST, day) is None


@pytest.mark.parametrize(
    ("first", "nobodys"),
    [
        (FIRST, True),
        (date(1904, 1, 1), True),
        (date(1904, 6, 1), False),
        (date(1970, 1, 1), False),
        (date(2199, 12, 31), False),
        (date(2999, 1, 1), True),
        (date(9999, 6, 1), False),
    ],
)
def test_days_on_which_somebody_may_have_been_born_are_no_placeholders(first: date, nobodys: bool) -> None:
    assert is_nobodys(first) is nobodys
