"""Counts of a summary are those of its entries, and stay readable when there are many."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from audit.pack_facts import Totals, most, periods
from audit.pack_words import LANGUAGES, word

AT = datetime(2026, 3, 4, tzinfo=UTC)


def test_each_entry_counts_once_and_each_field_as_often_as_it_went_out() -> None:
    totals = Totals()
    for hours, status in ((30, 200), (0, 403), (1, 0)):
        content = {
            "actor": "u1",
            "actor_login": "",
            "kind": "decision",
            "operation": "",
            "reason": "r",
            "status": status,
        }
        totals.add(AT + timedelta(hours=hours), content, [{"form": "clear", "count": 3}])
    assert (totals.entries, totals.first_at, totals.last_at) == (3, AT, AT + timedelta(hours=30))
    assert totals.day == {"2026-03-04": 2, "2026-03-05": 1}
    assert (totals.person, totals.operation, totals.form) == ({"u1": 3}, {"decision": 3}, {"clear": 9})
    assert totals.outcome == {"answered": 1, "refused": 1, "none": 1}


def test_the_rest_is_one_line() -> None:
    assert most(Counter(a=5, c=2, b=2, d=1), 2) == [("a", 5), ("b", 2), ("", 3)]
    assert most(Counter(a=5), 2) == [("a", 5)]


@pytest.mark.parametrize(("days", "letters"), [(31, 10), (32, 7), (1200, 4)])
def test_many_days_become_months_and_many_months_years(days: int, letters: int) -> None:
    found = periods(Counter({(AT + timedelta(days=day)).date().isoformat(): 1 for day in range(days)}), 31)
    assert {len(name) for name, _ in found} == {letters}
    assert sum(count for _, count in found) == days
    assert found == sorted(found)


def test_a_summary_speaks_both_languages() -> None:
    assert LANGUAGES == ("en", "zh")
    assert word("page", "en", page=2) == "page 2"
    assert word("page", "zh", page=2) == "第 2 页"
