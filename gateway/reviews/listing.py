"""What was found as a table for spreadsheets, and how many roles were used how long ago."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.reviews.round import Finding, Item, Sort

COLUMNS = ("item", "sort", "login", "role", "since", "since_exact", "last_used", "unused", "holders", "row")
DECIDED_COLUMNS = ("decision", "decided_by", "decided_at", "done_at")
_AGES = (("week", timedelta(days=7)), ("month", timedelta(days=30)), ("quarter", timedelta(days=90)))
WIDTH = 600


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a bar of `WIDTH`: roles last used that long ago."""

    name: str
    count: int
    x: float
    width: float


def csv_of(findings: Sequence[Finding], items: Sequence[Item] = ()) -> str:
    """A line each, with what was decided where there are items; nothing a spreadsheet takes for a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *(DECIDED_COLUMNS if items else ())])
    for place, one in enumerate(findings):
        cells: list[object] = [
            items[place].number if items else place + 1,
            one.sort.value,
            one.login,
            one.role,
            _time(one.since),
            ("yes" if one.exact else "no") if one.sort is Sort.ROLE else "",
            _time(one.last_used),
            "yes" if one.unused else "no",
            one.holders if one.sort is Sort.ROW else "",
            one.wording,
        ]
        if items:
            item = items[place]
            by = item.decided
            cells += [item.decision or "", "" if by is None else by.login, _time(by.at if by else None)]
            cells += [_time(item.done_at)]
        writer.writerow([_plain(cell) for cell in cells])
    return text.getvalue()


def spread(findings: Sequence[Finding], now: datetime) -> list[Bar]:
    """Roles of people by when they were used last, as parts of one bar."""
    counts = dict.fromkeys([*(name for name, _ in _AGES), "longer"], 0)
    for one in findings:
        age = None if one.last_used is None else now - one.last_used
        counts[next((name for name, limit in _AGES if age is not None and age <= limit), "longer")] += 1
    total, x, bars = max(1, len(findings)), 0.0, []
    for name, count in counts.items():
        width = round(WIDTH * count / total, 1)
        bars.append(Bar(name, count, round(x, 1), width))
        x += width
    return bars


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _plain(cell: object) -> str:
    text = str(cell)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
