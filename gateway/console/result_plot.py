"""Rows as bars where that is natural: a name or a time, and a number beside it. Pure; the table has the numbers too."""

from dataclasses import dataclass

import pyarrow as pa

from gateway.query_result import cell

LEAST, MOST = 2, 40
WHOLE = 100


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar with what stands beside it; part: its length, in hundredths of the longest."""

    label: str
    told: str
    part: float


@dataclass(frozen=True, slots=True)
class Bars:
    """Everything the template draws. of: name of the numbers, by: of what they belong to."""

    bars: tuple[Bar, ...]
    of: str
    by: str


def draw(table: pa.Table) -> Bars | None:
    """Bars of a result with two columns, of which the second is a number of 0 or more; None where it is no such."""
    if table.num_columns != 2 or not LEAST <= table.num_rows <= MOST:
        return None
    first, second = (field.type for field in table.schema)
    if not (pa.types.is_integer(second) or pa.types.is_floating(second) or pa.types.is_decimal(second)):
        return None
    if not (pa.types.is_string(first) or pa.types.is_temporal(first)):
        return None
    numbers = table.column(1).to_pylist()
    if any(number is None or not 0 <= number < float("inf") for number in numbers):
        return None
    most = max(numbers) or 1
    bars = tuple(
        Bar(cell(label), cell(number), round(float(number) / float(most) * WHOLE, 1))
        for label, number in zip(table.column(0).to_pylist(), numbers, strict=True)
    )
    by, of = table.column_names
    return Bars(bars, of, by)
