"""XLSX imports: cells of a workbook as leaves with the label of their column; only changed cells are written anew.

Works on the XML of the parts (ECMA-376, part 1, section 18.3), so formats, formulas and everything else stay. A changed
cell becomes an inline string, and its old text goes from the shared strings when no unchanged cell uses it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.body.entity import xml_layer
from gateway.body.fault import BodyMalformed, BodyTooLarge
from gateway.body.layer import Edit, Layer, splice
from gateway.body.leaf import Leaf, changed
from gateway.body.limits import Limits
from gateway.body.zip import Entry, names_in, read_entries, write_entries
from privacy.render import Context, encode

_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_SHARED = "xl/sharedStrings.xml"
_PREFIX = rb"(?:[A-Za-z][A-Za-z0-9]*:)?"
_CELL = re.compile(rb"<(" + _PREFIX + rb")(row|c)\b([^<>]*?)(/)?>")
_REFERENCE = re.compile(rb"""\br\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_TYPE = re.compile(rb"""\st\s*=\s*["']([A-Za-z]+)["']""")
_TEXT = re.compile(rb"<" + _PREFIX + rb"t\b[^<>]*?(?:/>|>([^<]*+)</" + _PREFIX + rb"t\s*>)")
_VALUE = re.compile(rb"<" + _PREFIX + rb"v\b[^<>]*?>([^<]*+)</" + _PREFIX + rb"v\s*>")
_FORMULA = re.compile(rb"<" + _PREFIX + rb"f\b")
_ITEM = re.compile(rb"<(" + _PREFIX + rb")si\b[^<>]*?(?:/>|>([\s\S]*?)(?:</" + _PREFIX + rb"si\s*>|\Z))")
_PHONETIC = re.compile(rb"<" + _PREFIX + rb"rPh\b[\s\S]*?(?:</" + _PREFIX + rb"rPh\s*>|\Z)")


@dataclass(slots=True)
class _Cell:
    """start, end: the whole element in its part; shared: index of its text, or -1."""

    start: int
    end: int
    prefix: bytes
    head: bytes
    column: str
    row: int
    text: str
    bare: bool
    shared: int
    leaf: Leaf | None = None


@dataclass(slots=True)
class _Sheet:
    name: str
    data: bytes
    cells: list[_Cell] = field(default_factory=list)
    labels: tuple[str, ...] = ()


class XlsxDocument:
    """An imported workbook; leaf paths are (label of the column, number of the row below the labels from 1)."""

    def __init__(self, body: bytes, entries: list[Entry], sheets: list[_Sheet], shared: bytes) -> None:
        self._body = body
        self._entries = entries
        self._sheets = sheets
        self._shared = shared
        self.leaves = [cell.leaf for sheet in sheets for cell in sheet.cells if cell.leaf is not None]
        self.columns = tuple(dict.fromkeys(label for sheet in sheets for label in sheet.labels))
        """The labels of all columns, also of those in which no cell holds anything."""
        self.inflated = sum(len(entry.data) for entry in entries)
        self.count = len(entries)

    def encode(self) -> bytes:
        """The workbook with every changed cell as an inline string."""
        if not any(changed(leaf) for leaf in self.leaves):
            return self._body
        new: dict[str, bytes] = {}
        kept: set[int] = set()
        gone: set[int] = set()
        for sheet in self._sheets:
            edits: list[Edit] = []
            for cell in sheet.cells:
                if cell.leaf is not None and changed(cell.leaf):
                    edits.append((cell.start, cell.end, _inline(cell, cell.leaf.new or "")))
                    gone.add(cell.shared)
                else:
                    kept.add(cell.shared)
            new[sheet.name] = splice(sheet.data, edits)
        new[_SHARED] = _without(self._shared, gone - kept)
        return write_entries((entry.info, new.get(entry.info.filename, entry.data)) for entry in self._entries)


def has_sheets(data: bytes) -> bool:
    """Whether an archive holds the sheets of a workbook where a workbook has them; raises nothing."""
    return any(_SHEET.fullmatch(name) for name in names_in(data))


def _inline(cell: _Cell, text: str) -> bytes:
    p = cell.prefix
    head = _TYPE.sub(b"", cell.head).rstrip()
    value = encode(text, Context.XML_TEXT).encode("utf-8", "replace")
    return (
        b"<" + p + b"c" + head + b' t="inlineStr"><' + p + b'is><' + p + b't xml:space="preserve">' + value
        + b"</" + p + b"t></" + p + b"is></" + p + b"c>"
    )  # fmt: skip


def _without(shared: bytes, indexes: set[int]) -> bytes:
    edits: list[Edit] = []
    for index, match in enumerate(_ITEM.finditer(shared)):
        if index in indexes:
            p = match.group(1)
            edits.append((match.start(), match.end(), b"<" + p + b"si><" + p + b"t/></" + p + b"si>"))
    return splice(shared, edits)


def open_xlsx(data: bytes, limits: Limits | None = None) -> XlsxDocument:
    """Opens a workbook; the first row with text in each sheet holds the labels.

    Raises BodyMalformed, BodyTooLarge, BodyUnreadable, DecompressionLimit.
    """
    limits = limits or Limits()
    if len(data) > limits.body:
        raise BodyTooLarge("xlsx-size")
    entries = read_entries(data, limits)
    parts = {entry.info.filename: entry.data for entry in entries}
    if any(b"<!DOCTYPE" in part for name, part in parts.items() if name.endswith(".xml")):
        raise BodyMalformed("xml-entities")
    strings = [_joined(match.group(2) or b"") for match in _ITEM.finditer(parts.get(_SHARED, b""))]
    sheets = []
    count = 0
    for name, part in parts.items():
        if _SHEET.fullmatch(name):
            sheet = _Sheet(name, part, _cells(part, strings, limits))
            count += _label(sheet)
            if count > limits.leaves:
                raise BodyTooLarge("xlsx-cells")
            sheets.append(sheet)
    return XlsxDocument(data, entries, sheets, parts.get(_SHARED, b""))


def _label(sheet: _Sheet) -> int:
    """Gives every cell below the first row with text its leaf; returns how many."""
    first = next((cell.row for cell in sheet.cells if cell.text and not cell.bare), 0)
    labels: Mapping[str, str] = {cell.column: cell.text for cell in sheet.cells if cell.row == first}
    sheet.labels = tuple(labels.values())
    rows: dict[int, dict[str, str]] = {}
    count = 0
    for cell in sheet.cells:
        if cell.row <= first or cell.text == "":
            continue
        siblings = rows.setdefault(cell.row, {})
        label = labels.get(cell.column, cell.column)
        siblings.setdefault(label, cell.text)
        cell.leaf = Leaf((label, str(cell.row - first)), cell.text, None, siblings, bare=cell.bare)
        count += 1
    return count


def _cells(part: bytes, strings: list[str], limits: Limits) -> list[_Cell]:
    cells: list[_Cell] = []
    row = column = 0
    at = 0
    while match := _CELL.search(part, at):
        at = match.end()
        prefix, kind, head, closed = match.groups()
        reference = _REFERENCE.search(head)
        if kind == b"row":
            number = re.search(rb"""\br\s*=\s*["']([0-9]{1,7})["']""", head)
            row, column = (int(number.group(1)) if number else row + 1), 0
            continue
        column = _index(reference.group(1)) if reference else column + 1
        if closed:
            continue
        end = part.find(b"</" + prefix + b"c>", at)
        if end < 0:
            raise BodyMalformed("xlsx-cell")
        cell = _cell(part, match, end, strings)
        if cell is not None:
            cell.column, cell.row = str(column), row
            cells.append(cell)
        if len(cells) > limits.leaves:
            raise BodyTooLarge("xlsx-cells")
        at = end
    return cells


def _cell(part: bytes, match: re.Match[bytes], end: int, strings: list[str]) -> _Cell | None:
    """A cell that holds text or a number; formulas and everything else are left alone."""
    inside = part[match.end() : end]
    kind = _TYPE.search(match.group(3))
    name = kind.group(1) if kind else b"n"
    value = _VALUE.search(inside)
    stop = end + len(b"</" + match.group(1) + b"c>")
    shared, text, bare = -1, "", False
    if _FORMULA.search(inside):
        return None
    if name == b"s" and value and value.group(1).strip().isdigit():
        shared = int(value.group(1))
        if shared >= len(strings):
            raise BodyMalformed("xlsx-shared-string")
        text = strings[shared]
    elif name == b"inlineStr":
        text = _joined(inside)
    elif name == b"str" and value:
        text = _plain(value.group(1))
    elif name == b"n" and value:
        text, bare = _number(value.group(1).decode("ascii", "replace").strip()), True
    else:
        return None
    return _Cell(match.start(), stop, match.group(1), match.group(3), "", 0, text, bare, shared)


def _number(raw: str) -> str:
    """A whole number as its digits, however it is written; anything else as it stands."""
    try:
        value = float(raw)
    except ValueError:
        return raw
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else raw


def _joined(inside: bytes) -> str:
    """Text of a (rich) string without its phonetic hints."""
    return "".join(_plain(match.group(1) or b"") for match in _TEXT.finditer(_PHONETIC.sub(b"", inside)))


def _plain(raw: bytes) -> str:
    return xml_layer(Layer(raw), 0, len(raw)).data.decode("utf-8", "replace")


def _index(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
