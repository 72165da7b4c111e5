"""Rows of an answer as text: cells for people, CSV, JSON, Parquet. Pure."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

# What a spreadsheet would run as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """A value for people: times in UTC to the second unless there is more, bytes as text or hex."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        text = value.decode("ascii", "replace")
        return text if text.isprintable() else value.hex()
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def cells(table: pa.Table, start: int = 0, count: int | None = None) -> list[list[str]]:
    """Rows of cells; columns of the same name stay apart."""
    part = table.slice(start, count)
    columns = [part.column(place).to_pylist() for place in range(part.num_columns)]
    return [[cell(value) for value in row] for row in zip(*columns, strict=True)]


def csv_lines(table: pa.Table) -> Iterator[str]:
    """CSV with a heading; what a spreadsheet would take for a formula gets an apostrophe before it."""
    yield _line(table.column_names)
    for row in cells(table):
        yield _line(row)


def json_lines(table: pa.Table) -> Iterator[str]:
    """One JSON object a line; of columns with the same name the last one."""
    for row in table.to_pylist():
        yield orjson.dumps(row, default=_plain, option=orjson.OPT_UTC_Z).decode()


def parquet(table: pa.Table) -> bytes:
    """A Parquet file."""
    given = table.column_names
    names = [name if given.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(given, 1)]
    sink = io.BytesIO()
    pq.write_table(table.rename_columns(names), sink, compression="zstd")
    return sink.getvalue()


def _line(row: Sequence[str]) -> str:
    sink = io.StringIO()
    csv.writer(sink).writerow([f"'{text}" if text.startswith(_FORMULA) and not _number(text) else text for text in row])
    return sink.getvalue()


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | date):
        return cell(value)
    return str(value)
