"""Charts of the auditor's console, drawn on the server: answers by day as SVG, amounts as bars beside their numbers.

Pure. Colours are the style sheet's; every number is also given as text (WCAG 1.1.1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

WIDTH, HEIGHT = 720, 150
TOP, BOTTOM, LEFT = 14, 28, 34
GAP = 2
COLUMNS_MOST = 62
BAR_WIDTH = 100
SHOWN_AMOUNTS = 10
DAY, WEEK, MONTH = "day", "week", "month"


@dataclass(frozen=True, slots=True)
class Column:
    """Answers of one day, week or month. x, y, width, height: of its rectangle."""

    first: date
    amount: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Days:
    """The chart over time. step: DAY, WEEK or MONTH; labels: where which day is written; top: of the scale."""

    step: str
    columns: tuple[Column, ...]
    labels: tuple[tuple[float, date], ...]
    lines: tuple[tuple[float, int], ...]
    total: int
    most: Column | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Amount:
    """One line of a table with bars. length: of its bar, of `BAR_WIDTH`."""

    name: str
    amount: int
    length: float


def draw_days(counted: Mapping[date, int]) -> Days:
    """From the first day with an answer to the last; by week or month where days would be too thin."""
    if not counted:
        return Days(DAY, (), (), (), 0, None)
    first, last = min(counted), max(counted)
    step = next(one for one in (DAY, WEEK, MONTH) if one == MONTH or len(_starts(first, last, one)) <= COLUMNS_MOST)
    starts = _starts(first, last, step)
    amounts = dict.fromkeys(starts, 0)
    for day, amount in counted.items():
        amounts[_start(day, step)] += amount
    most, room = max(amounts.values()), HEIGHT - TOP - BOTTOM
    top = _round_up(most)
    wide = (WIDTH - LEFT) / max(len(starts), 12)
    columns = tuple(
        Column(
            one, amounts[one], round(LEFT + place * wide + GAP / 2, 1),
            round(HEIGHT - BOTTOM - _tall(amounts[one], top, room), 1), round(wide - GAP, 1),
            round(_tall(amounts[one], top, room), 1),
        )
        for place, one in enumerate(starts)
        if amounts[one]
    )  # fmt: skip
    every = max(1, -(-len(starts) // 6))
    labels = tuple(
        (round(LEFT + (place + 0.5) * wide, 1), one) for place, one in enumerate(starts) if place % every == 0
    )
    lines = tuple((round(HEIGHT - BOTTOM - share * room, 1), int(top * share)) for share in (0.5, 1.0))
    highest = max(columns, key=lambda column: column.amount)
    return Days(step, columns, labels, lines, sum(counted.values()), highest)


def amounts_of(counted: Mapping[str, int]) -> tuple[Sequence[Amount], int]:
    """The largest amounts with bars, and the sum of the others."""
    ordered = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    most = ordered[0][1] if ordered else 1
    shown = [Amount(name, amount, round(max(1.0, amount / most * BAR_WIDTH), 1)) for name, amount in ordered]
    return shown[:SHOWN_AMOUNTS], sum(amount for _, amount in ordered[SHOWN_AMOUNTS:])


def _tall(amount: int, top: int, room: int) -> float:
    """One answer among thousands must still be seen."""
    return max(2.0, amount / top * room)


def _start(day: date, step: str) -> date:
    if step == WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if step == MONTH else day


def _starts(first: date, last: date, step: str) -> list[date]:
    found, day = [], _start(first, step)
    while day <= last:
        found.append(day)
        day = _start(day + timedelta(days={DAY: 1, WEEK: 7, MONTH: 32}[step]), step)
    return found


def _round_up(most: int) -> int:
    """An even, round number at or above `most`."""
    top = 2
    while top < most:
        top = top * 5 // 2 if str(top).startswith("4") else top * 2
        top += top % 2
    return top
