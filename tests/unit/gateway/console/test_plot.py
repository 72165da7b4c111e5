"""The activity plot."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.console.plot import HEIGHT, WIDTH, draw
from gateway.console.store import Minute

NOW = datetime(2026, 3, 2, 9, 30, 40, tzinfo=UTC)


def test_an_empty_hour_draws_a_scale_and_no_bars() -> None:
    plot = draw([], NOW)
    assert (plot.bars, plot.allowed, plot.refused, plot.busiest, plot.busiest_at) == ((), 0, 0, 0, None)


def test_refusals_stand_on_top_of_what_was_allowed() -> None:
    at = NOW.replace(second=0)
    plot = draw([Minute(at, 6, 2)], NOW)
    allowed, refused = plot.bars
    assert (allowed.kind, refused.kind) == ("allowed", "refused")
    assert refused.y + refused.height == allowed.y
    assert (plot.allowed, plot.refused, plot.busiest, plot.busiest_at) == (6, 2, 8, at)


def test_minutes_outside_the_hour_are_left_out() -> None:
    old = NOW.replace(second=0) - timedelta(minutes=60)
    assert draw([Minute(old, 5, 0)], NOW).allowed == 0


def test_one_refusal_among_thousands_is_still_seen() -> None:
    refused = [bar for bar in draw([Minute(NOW.replace(second=0), 9_999, 1)], NOW).bars if bar.kind == "refused"]
    assert refused[0].height >= 2


@given(
    st.dictionaries(
        st.integers(0, 59), st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)).filter(any), max_size=60
    )
)
def test_everything_stays_inside_the_picture(minutes) -> None:
    start = NOW.replace(second=0)
    plot = draw([Minute(start - timedelta(minutes=m), a, r) for m, (a, r) in minutes.items()], NOW)
    for bar in plot.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= WIDTH
        assert bar.y >= 0
        assert bar.y + bar.height <= HEIGHT
