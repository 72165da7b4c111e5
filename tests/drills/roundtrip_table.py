"""Tables as people handle them between an export and an import: read, rows chosen, cells changed, written again."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import openpyxl

from gateway.demo.browser import BrowserFault
from gateway.demo.driver import DriverFault
from privacy.render import unguarded

Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class Line:
    """One check of the drill: what was done, how many cells were compared, what is wrong."""

    what: str
    compared: int
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """An exported table. kind: "csv", "scsv" (semicolons) or "xlsx"."""

    kind: str
    rows: Rows

    @property
    def file_name(self) -> str:
        """What a browser calls it."""
        return "people.xlsx" if self.kind == "xlsx" else "people.csv"

    @property
    def media_type(self) -> str:
        """What a browser declares: of a workbook, as some do, only that it is bytes."""
        return "application/octet-stream" if self.kind == "xlsx" else "text/csv"

    def only(self, wanted: Callable[[Sequence[str]], bool]) -> "Table":
        """The heading and some of the rows."""
        return Table(self.kind, [self.rows[0], *(row for row in self.rows[1:] if wanted(row))])

    def columns(self, names: Sequence[str]) -> "Table":
        """Some of its columns; masks in one that no profile declares (addresses of staff) do not come back."""
        at = [self.rows[0].index(name) for name in names]
        return Table(self.kind, [[row[one] for one in at] for row in self.rows])

    def changed(self, row: int, column: str, text: str) -> "Table":
        """With another text in one cell; row 0 is the first below the heading; raises DriverFault where it is not."""
        if row + 1 >= len(self.rows):
            raise DriverFault(f"the table has {len(self.rows) - 1} rows, no row {row}")
        rows = [list(one) for one in self.rows]
        rows[row + 1][rows[0].index(column)] = text
        return Table(self.kind, rows)

    def encoded(self, codec: str = "utf-8") -> bytes:
        """The file."""
        if self.kind == "xlsx":
            book = openpyxl.Workbook()
            sheet = book.active
            assert sheet is not None
            for number, row in enumerate(self.rows, 1):
                for column, text in enumerate(row, 1):
                    cell = sheet.cell(number, column)
                    cell.value, cell.data_type = text, "s"  # a text, also where it begins like a formula
            out = io.BytesIO()
            book.save(out)
            return out.getvalue()
        text = io.StringIO(newline="")
        separator = ";" if self.kind == "scsv" else ","
        csv.writer(text, quoting=csv.QUOTE_ALL, delimiter=separator).writerows(self.rows)
        return text.getvalue().encode(codec)


def read_table(kind: str, body: bytes) -> Table:
    """An exported file; an old workbook has become a new one on its way."""
    if kind in ("xls", "xlsx"):
        sheet = openpyxl.load_workbook(io.BytesIO(body)).active
        assert sheet is not None
        rows = [["" if one is None else str(one) for one in row] for row in sheet.iter_rows(values_only=True)]
        return Table("xlsx", rows)
    separator = ";" if kind == "scsv" else ","
    text = io.StringIO(body.decode("utf-8-sig"), newline="")
    return Table(kind, [list(row) for row in csv.reader(text, delimiter=separator) if row])


def tried(what: str, check: Callable[[], Line | list[Line]]) -> list[Line]:
    """The lines of a check; what the gateway or the CRM did not answer as it should is a fault of it."""
    try:
        found = check()
    except (BrowserFault, DriverFault) as fault:
        return [Line(what, 0, (str(fault),))]
    return found if isinstance(found, list) else [found]


def even(text: str) -> str:
    """A text without what forms and tables change by themselves: kinds of line breaks, blanks around it."""
    return text.replace("\r\n", "\n").replace("_x000D_", "").strip()


def cell(text: str) -> str:
    """The same of a cell, which may have a guard in front."""
    return even(unguarded(text))


def differing(what: str, before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> Line:
    """Which fields of which records say something else than before."""
    faults = [
        f"{record}.{name}"
        for record, fields in before.items()
        for name, text in fields.items()
        if even(after.get(record, {}).get(name, "")) != even(text)
    ]
    return Line(what, sum(len(fields) for fields in before.values()), tuple(faults))
