"""Old binary spreadsheets (BIFF): never patched, but read and written anew as XLSX.

Values keep their type (text, number, date, boolean); formats, formulas, pictures and macros do not come along. Text is
always written as text, so that it cannot become a formula.
"""

import io
import re
from collections.abc import Callable, Iterator

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from gateway.body.fault import BodyTooLarge, BodyUnreadable
from gateway.body.layer import Finder, Found, Layer, Net, Show, Spot, Walk
from gateway.body.limits import Limits
from gateway.body.nested import walk_inner
from gateway.body.xls_reader import Sheets, SheetsUnread, Value, read_sheets
from privacy.render import Context

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_TITLE_ILLEGAL = re.compile(r"[\[\]:*?/\\]")
_CELL_CHARS = 32_767  # limit of the format


class XlsPage:
    """A workbook in an answer."""

    media_type: str | None = XLSX_TYPE
    file_suffix: str | None = "xlsx"

    def __init__(self, body: bytes, limits: Limits, read: Callable[[bytes, int], Sheets] = read_sheets) -> None:
        self._found: dict[str, list[Spot]] = {}
        try:
            self._sheets = read(body, limits.leaves)
        except SheetsUnread as unread:
            raise (BodyTooLarge("xls-cells") if unread.too_many else BodyUnreadable("xls")) from None

    def surrogates(self, scanner: Finder) -> set[str]:
        """Canonical surrogates in names of sheets and texts of cells; a number may hold one, too."""
        for text in self._texts():
            if text not in self._found:
                hits = list(scanner.find(text.encode("utf-8", "surrogatepass")))
                if hits:
                    self._found[text] = hits
        return {hit.canonical for hits in self._found.values() for hit in hits}

    @property
    def labelled(self) -> Iterator[tuple[str, str]]:
        """Every text with the label of its column, the first row of its sheet."""
        for _, rows in self._sheets:
            labels = [_text(value) or "" for value in rows[0]] if rows else []
            for row in rows[1:]:
                yield from ((label, text) for label, value in zip(labels, row, strict=False) if (text := _text(value)))

    def _texts(self) -> Iterator[str]:
        for name, rows in self._sheets:
            yield name
            for row in rows:
                for value in row:
                    text = _text(value)
                    if text:
                        yield text

    def render(self, show: Show, net: Net | None) -> bytes:
        """An XLSX workbook with the same values and what is shown for surrogates."""
        book = openpyxl.Workbook(write_only=True)
        for name, rows in self._sheets:
            title = _TITLE_ILLEGAL.sub("_", self._rendered(name, show, net))[:31] or "Sheet"
            sheet = book.create_sheet(title)
            assert isinstance(sheet, WriteOnlyWorksheet)
            for row in rows:
                sheet.append([self._cell(sheet, value, show, net) for value in row])
        out = io.BytesIO()
        book.save(out)
        return out.getvalue()

    def _cell(self, sheet: WriteOnlyWorksheet, value: Value, show: Show, net: Net | None) -> object:
        text = _text(value)
        if text is None:
            return value
        new = self._rendered(text, show, net)
        if not isinstance(value, str) and new == text:
            return value
        cell = WriteOnlyCell(sheet)
        cell.value = _ILLEGAL.sub("�", new)[:_CELL_CHARS]
        cell.data_type = "s"
        return cell

    def _rendered(self, text: str, show: Show, net: Net | None) -> str:
        found = self._found.get(text, [])
        if not found and net is None:
            return text
        data = text.encode("utf-8", "surrogatepass")
        walk = Walk(show, net, "utf-8", walk_inner)
        hits = [(hit.start, hit.end, Found(hit.canonical, hit.upper)) for hit in found]
        walk.place(Layer(data), 0, len(data), hits, Context.PLAIN, wire=False)
        return walk.spliced(data).decode("utf-8", "replace")


def _text(value: Value) -> str | None:
    """The text in which a surrogate or a clear value is looked for: texts, and numbers as long as a phone number."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value == int(value) and 1e6 < value < 1e20:
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value > 10**6 else None
