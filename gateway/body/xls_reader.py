"""Reads one old binary spreadsheet in a process of its own: bytes on standard input, JSON on standard output.

The native reader takes memory for every cell between the first and the last one, and ends its process when there is
none: a file of some kilobytes could end the gateway (found by fuzzing). Here it ends only this process, which has
bounded memory and time. Nothing of the file is ever in arguments, in the environment or on a disk.
"""

import datetime
import io
import json
import resource
import subprocess
import sys
from typing import Any, BinaryIO

import python_calamine

MEMORY_BYTES = 1024 * 1024 * 1024
CPU_SECONDS = 10
WALL_SECONDS = 20
TOO_MANY, UNREADABLE = 3, 4
Value = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta
Sheets = list[tuple[str, list[list[Value]]]]


class SheetsUnread(Exception):  # noqa: N818 - what became of the file
    """The file cannot be read, now or later. too_many: it has more cells than the limit."""

    permanent = True

    def __init__(self, *, too_many: bool) -> None:
        super().__init__("xls")
        self.too_many = too_many


def read_sheets(body: bytes, most_cells: int) -> Sheets:
    """(name, rows) of every sheet; raises SheetsUnread."""
    command = [sys.executable, "-m", __name__, str(most_cells)]
    try:
        done = subprocess.run(  # noqa: S603 - this very module
            command, input=body, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=WALL_SECONDS, check=False
        )
    except (subprocess.TimeoutExpired, OSError):
        raise SheetsUnread(too_many=False) from None
    return sheets_told(done.returncode, done.stdout)


def sheets_told(code: int, told: bytes) -> Sheets:
    """What `tell` wrote in another process, and the code with which that ended; raises SheetsUnread."""
    if code != 0:
        raise SheetsUnread(too_many=code == TOO_MANY)
    return [(name, [[_value(one) for one in row] for row in rows]) for name, rows in json.loads(told)]


def _value(told: Any) -> Value:
    if not isinstance(told, dict):
        value: Value = told
        return value
    kind, text = next(iter(told.items()))
    match kind:
        case "datetime":
            return datetime.datetime.fromisoformat(text)
        case "date":
            return datetime.date.fromisoformat(text)
        case "time":
            return datetime.time.fromisoformat(text)
        case _:
            return datetime.timedelta(seconds=text)


def _told(value: Value) -> Any:
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return {type(value).__name__: value.isoformat()}
    return {"delta": value.total_seconds()} if isinstance(value, datetime.timedelta) else value


def limit(memory: int = MEMORY_BYTES) -> None:
    """Bounds the memory (bytes) and the processor time of this process, from now on and for good."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def tell(body: bytes, most_cells: int, out: BinaryIO) -> int:
    """Writes what a file holds; the code says what became of it."""
    sheets = []
    try:
        with python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(body)) as book:
            for name in book.sheet_names:
                rows = []
                for row in book.get_sheet_by_name(name).to_python(skip_empty_area=False):
                    most_cells -= len(row)
                    if most_cells < 0:
                        return TOO_MANY
                    rows.append([_told(value) for value in row])
                sheets.append((name, rows))
    except Exception:
        return UNREADABLE  # whatever it was, there is nothing to show
    out.write(json.dumps(sheets, ensure_ascii=True).encode("ascii"))
    return 0


def main(most_cells: int) -> int:
    """Reads the file on standard input; the exit code says what became of it."""
    limit()
    return tell(sys.stdin.buffer.read(), most_cells, sys.stdout.buffer)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
