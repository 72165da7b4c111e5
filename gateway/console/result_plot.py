"""Rows as bars where that is natural: a name or a time, and a number beside it. Pure; the table has the numbers too."""

from dataclasses import dataclass

import pyarrow as pa

from gateway.query_result import cell

LEAST, MOST = 2, 40
WIDTH = 720
LABEL = 200
STEP, THICK = 22, 14
LABEL_CHARS = 26


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar with what stands beside it; y is its upper edge."""

    label: str
    told: str
    y: int
    width: float


@dataclass(frozen=True, slots=True)
class Bars:
    """Everything the template draws."""

    bars: tuple[Bar, ...]
    of: str
    by: str
    height: int
    width: int = WIDTH
    left: int = LABEL
    thick: int = THICK


def draw(table: pa.Table) -> Bars | None:
    """Bars of a result with two columns, of which the second is a number of 0 or more; None where it is no such."""
    if table.num_columns != 2 or not LEAST <= table.num_rows <= MOST:
        return None
    kind = table.schema.field(1).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    first = table.schema.field(0).type
    if not (pa.types.is_string(first) or pa.types.is_temporal(first)):
        return None
    numbers = table.column(1).to_pylist()
    if any(number is None or number < 0 or number != number for number in numbers):
        return None
    most = max(numbers) or 1
    room = WIDTH - LABEL - 80
    bars = tuple(
        Bar(_short(cell(label)), cell(number), 4 + place * STEP, round(float(number) / float(most) * room, 1))
        for place, (label, number) in enumerate(zip(table.column(0).to_pylist(), numbers, strict=True))
    )
    by, of = table.column_names
    return Bars(bars, of, by, 8 + len(bars) * STEP)


def _short(text: str) -> str:
    return text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…"
