"""The activity plot: requests let through and refused per minute over the last hour, as SVG drawn on the server.

Pure. The bars carry classes only, colours are the style sheet's; the same numbers are given as text, because a picture
alone says nothing to somebody who does not see it (WCAG 1.1.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.console.store import Minute

MINUTES = 60
WIDTH = 720
HEIGHT = 150
TOP, BOTTOM, LEFT = 14, 28, 34
BAR_GAP = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle. kind: `allowed` or `refused`."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Line:
    """A horizontal grid line with its number."""

    y: float
    value: int


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything the template draws, and the totals its text says."""

    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    hours: tuple[tuple[float, datetime], ...]
    allowed: int
    refused: int
    busiest: int
    busiest_at: datetime | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM


def draw(minutes: Sequence[Minute], now: datetime) -> Plot:
    """The plot of the sixty minutes that end with the current one."""
    end = now.replace(second=0, microsecond=0)
    start = end - timedelta(minutes=MINUTES - 1)
    counted = {minute.at: minute for minute in minutes if start <= minute.at <= end}
    most = max((minute.allowed + minute.refused for minute in counted.values()), default=0)
    top = _round_up(most)
    room = HEIGHT - TOP - BOTTOM
    step = (WIDTH - LEFT) / MINUTES
    bars: list[Bar] = []
    for place in range(MINUTES):
        minute = counted.get(start + timedelta(minutes=place))
        if minute is None:
            continue
        base = float(HEIGHT - BOTTOM)
        for kind, amount in (("allowed", minute.allowed), ("refused", minute.refused)):
            if amount:
                # A single refusal among thousands must still be seen.
                tall = max(2.0, amount / top * room)
                base -= tall
                x = LEFT + place * step + BAR_GAP / 2
                bars.append(Bar(round(x, 1), round(base, 1), round(step - BAR_GAP, 1), round(tall, 1), kind))
    lines = tuple(Line(round(HEIGHT - BOTTOM - share * room, 1), int(top * share)) for share in (0.5, 1.0))
    hours = tuple(
        (round(LEFT + (place + 0.5) * step, 1), start + timedelta(minutes=place)) for place in (0, 15, 30, 45)
    )
    busiest = max(counted.values(), key=lambda minute: minute.allowed + minute.refused, default=None)
    return Plot(
        bars=tuple(bars),
        lines=lines,
        hours=hours,
        allowed=sum(minute.allowed for minute in counted.values()),
        refused=sum(minute.refused for minute in counted.values()),
        busiest=most,
        busiest_at=None if busiest is None else busiest.at,
    )


def _round_up(most: int) -> int:
    """An even, round number at or above `most` for the top of the scale."""
    top = 2
    for step in (2, 4, 10, 20, 40, 100, 200, 400, 1_000, 2_000, 4_000, 10_000, 20_000, 40_000, 100_000):
        top = step
        if step >= most:
            return step
    while top < most:
        top *= 2
    return top
