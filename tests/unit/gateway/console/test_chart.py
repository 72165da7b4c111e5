"""Charts of the auditor's console: every answer is counted once, and the scale holds the highest column."""

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.console.chart import COLUMNS_MOST, DAY, HEIGHT, MONTH, SHOWN_AMOUNTS, WEEK, WIDTH, amounts_of, draw_days

FIRST = date(2024, 2, 27)
_DAYS = st.dictionaries(
    st.integers(0, 1900).map(lambda one: FIRST + timedelta(days=one)), st.integers(1, 10**6), min_size=1, max_size=40
)


@given(_DAYS)
def test_every_answer_stands_in_one_column_inside_the_picture(counted: dict[date, int]) -> None:
    chart = draw_days(counted)
    assert sum(column.amount for column in chart.columns) == chart.total == sum(counted.values())
    assert chart.most is not None
    assert chart.most.amount == max(column.amount for column in chart.columns) <= chart.lines[-1][1]
    for column in chart.columns:
        assert 0 <= column.x <= WIDTH
        assert column.y >= 0
        assert column.y + column.height <= HEIGHT
        assert column.height > 0
        assert column.width > 0
    assert chart.step == MONTH or len(chart.columns) <= COLUMNS_MOST


def test_days_become_weeks_and_months_where_they_would_be_too_thin() -> None:
    for span, step in ((0, DAY), (61, DAY), (90, WEEK), (420, WEEK), (1800, MONTH)):
        assert draw_days({FIRST: 1, FIRST + timedelta(days=span): 2}).step == step


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw_days({}).columns == ()
    assert amounts_of({}) == ([], 0)


def test_amounts_are_the_largest_first_and_the_others_are_summed() -> None:
    shown, others = amounts_of(Counter({f"p{number}": number for number in range(1, 14)}))
    assert [one.amount for one in shown] == list(range(13, 3, -1))
    assert len(shown) == SHOWN_AMOUNTS
    assert others == 1 + 2 + 3
    assert shown[0].length == 100
