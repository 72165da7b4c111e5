"""Dates as CRMs write them: what is written is read back, and nothing else is taken for a date."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.date_format import DateFormat, DateFormatInvalid, read_date

MONTHS = ("Jan.", "Feb.", "March", "April", "May", "June", "July", "Aug.", "Sept.", "Oct.", "Nov.", "Dec.")
FORMATS = (
    DateFormat("%Y-%m-%d"),
    DateFormat("%d/%m/%Y"),
    DateFormat("%B %e, %Y", MONTHS),
    DateFormat("%Y年%m月%d日"),
)


@given(st.dates(), st.sampled_from(FORMATS))
def test_what_is_written_is_read_back(day: date, spelled: DateFormat) -> None:
    assert spelled.read(spelled.write(day)) == day
    assert read_date(FORMATS, f" {spelled.write(day)} ") == (day, spelled)


@given(st.text(max_size=30))
def test_any_text_is_a_date_or_none(text: str) -> None:
    for spelled in FORMATS:
        day = spelled.read(text)
        assert day is None or date.min <= day <= date.max


@pytest.mark.parametrize(
    "text", ["2001-02-29", "0000-01-01", "1987-6-05", "1987-06-05x", "June 5 1987", "32/01/1990", ""]
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert read_date(FORMATS, text) is None


@pytest.mark.parametrize(
    ("text", "months"),
    [("%Y-%m", ()), ("%Y-%m-%d %d", ()), ("%B %d %Y", MONTHS[:11]), ("%B %d %Y", ()), ("%Y %m %x", ())],
)
def test_a_format_that_cannot_be_read_back_is_refused(text: str, months: tuple[str, ...]) -> None:
    with pytest.raises(DateFormatInvalid):
        DateFormat(text, months)
