"""CSV and TSV in both directions: cells are found by their spans, only cells that change are written anew.

Separator, quoting, line ends, byte order mark and charset stay as they are (RFC 4180 and what spreadsheets write).
A rendered cell is quoted when its text needs it, and guarded when a spreadsheet would take it for a formula.
"""

import re
from collections.abc import Sequence

from gateway.body.charset import codec_of, fitted, from_utf8, to_utf8
from gateway.body.fault import BodyMalformed, BodyTooLarge, BodyUnreadable
from gateway.body.layer import Edit, Hit, Layer, Walk, splice, unescaped
from gateway.body.leaf import Leaf, changed
from gateway.body.limits import Limits
from privacy.render import Context, encode, guarded, needs_guard, unguarded

Cell = tuple[int, int, bool]  # start and end of the inside in bytes, and whether it is quoted
BOM = b"\xef\xbb\xbf"
SEPARATORS = (b",", b";", b"\t", b"|")
SAMPLE_BYTES = 64 * 1024
_DOUBLED = re.compile(rb'""')
_GUARDED = re.compile(rb"'\+")
_NEEDS_QUOTES = re.compile(r'["\r\n]')
_SEP_LINE = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)  # Excel's own hint


def pattern(separator: bytes) -> re.Pattern[bytes]:
    """One cell with what ends it. A cell that is not properly quoted runs to the next separator, quotes and all."""
    sep = re.escape(separator)
    return re.compile(
        rb'(?:"((?:[^"]++|"")*)"(?=' + sep + rb"|[\r\n]|\Z)|([^" + sep + rb"\r\n]*+))(" + sep + rb"|\r\n|\r|\n|\Z)"
    )


def separator_of(data: bytes) -> bytes:
    """The separator: Excel's hint, else the one that stands most often in the first line outside quotes."""
    hint = _SEP_LINE.match(data.removeprefix(BOM))
    if hint:
        return hint.group(1)
    sample = re.sub(rb'"[^"]*+"', b"", data[:SAMPLE_BYTES])
    lines = sample.splitlines() or [b""]
    return max(SEPARATORS, key=lambda sep: lines[0].count(sep))


def preamble(data: bytes) -> int:
    """How many bytes of a table stand before its first row: byte order mark and Excel's hint."""
    start = len(BOM) if data.startswith(BOM) else 0
    hint = _SEP_LINE.match(data, start)
    return hint.end() if hint else start


def _cells(data: bytes, separator: bytes, *, begins: bool = True) -> list[list[Cell]]:
    """Rows of cells; begins: whether a table begins here, or goes on."""
    rows: list[list[Cell]] = [[]]
    at, size = preamble(data) if begins else 0, len(data)
    match = pattern(separator).match
    while at < size:
        cell = match(data, at)
        if cell is None:
            raise BodyMalformed("csv")
        quoted = cell.start(1) >= 0
        first, last = cell.span(1) if quoted else cell.span(2)
        rows[-1].append((first, last, quoted))
        at = cell.end()
        if cell.group(3) != separator:
            rows.append([])
    if not rows[-1]:
        rows.pop()
    return rows


def walk_csv(
    layer: Layer, hits: Sequence[Hit], walk: Walk, *, separator: bytes | None = None, begins: bool = True
) -> None:
    """Renders the surrogates of a file, cell by cell; separator, begins: of a stretch of rows of a longer one.

    The plain way: `gateway.body.csv_quick.walk_table` does the same and looks at fewer cells.
    """
    data = layer.data
    hits = list(hits)
    index = 0
    separator = separator or separator_of(data)
    for row in _cells(data, separator, begins=begins):
        for cell in row:
            first, last, _ = cell
            while index < len(hits) and hits[index][0] < first:
                index += 1
            mine = []
            while index < len(hits) and hits[index][1] <= last:
                mine.append(hits[index])
                index += 1
            if mine or (walk.net is not None and last - first >= walk.least):
                walk_cell(layer, cell, separator.decode("latin-1"), mine, walk)
            elif walk.net is None and index >= len(hits):
                return


def walk_cell(layer: Layer, cell: Cell, separator: str, hits: Sequence[Hit], walk: Walk) -> None:
    """One cell; all of it is written anew when a surrogate in it is rendered, for the sake of guard and quotes."""
    first, last = cell[:2]
    if len(hits) == 1 and hits[0][:2] == (first, last) and _is_bare(layer.data, first, last):
        whole = walk.text(hits[0][2], wire=False)
        if whole is not None:
            walk.edits.append(written(cell, encode(whole, Context.CSV_CELL), separator, walk.charset))
        return  # nothing is left that the recognisers could look at
    inside = unescaped(layer, first, last, _DOUBLED, lambda _: b'"', Context.PLAIN)
    data = inside.data
    parts: list[str] = []
    at, kept = 0, False
    for start, end, found in inside.down(hits):
        text = walk.text(found, wire=False)
        if text is None:
            continue
        # The guard that the CRM put before the surrogate may be part of the hit. A number without a plus sign, or its
        # mask, needs none: only the surrogate did.
        needless = at == 0 and start <= 1 and _GUARDED.match(data, 0, end) and not needs_guard(text)
        parts.append("" if needless else data[at:start].decode("utf-8", "surrogateescape"))
        inner = not needless and data[start : start + 1] == b"'" and not text.startswith("'")
        kept = kept or (not needless and start <= 1 and data[:1] == b"'")
        parts.append("'" + text if inner else text)
        at = end
    if not parts:
        if walk.net is not None:
            walk.recognise(inside, 0, len(data), inside.down(hits), Context.PLAIN)
        return
    parts.append(data[at:].decode("utf-8", "surrogateescape"))
    text = "".join(parts)
    if walk.net is not None:
        text = _netted(text, parts, walk)
    # The CRM's guard stays, whatever stands behind it now.
    whole_text = guarded(text[1:]) if kept else encode(text, Context.CSV_CELL)
    walk.edits.append(written(cell, whole_text, separator, walk.charset))


def _is_bare(data: bytes, first: int, last: int) -> bool:
    """Whether a cell has neither a guard nor quotes: what most surrogates stand in."""
    return data[first] != ord("'") and data.find(b'"', first, last) < 0


def _netted(text: str, parts: list[str], walk: Walk) -> str:
    """A rewritten cell with the recognisers' findings outside the rendered values (which are every second part)."""
    assert walk.net is not None
    blanked = "".join("\0" * len(part) if index % 2 else part for index, part in enumerate(parts))
    out, at = [], 0
    for start, end, new in sorted(walk.net(blanked)):
        if start >= at:
            out += [text[at:start], new]
            at = end
    return "".join(out) + text[at:]


def written(cell: Cell, text: str, separator: str, charset: str) -> Edit:
    """The edit that puts an encoded text into a cell, in quotes where it needs them."""
    first, last, quoted = cell
    needs = not quoted and (separator in text or _NEEDS_QUOTES.search(text) is not None or text != text.strip())
    if quoted or needs:
        text = text.replace('"', '""')
    if needs:
        text = f'"{text}"'
    return first, last, fitted(text, charset).encode("utf-8", "surrogateescape")


class CsvDocument:
    """An imported table; leaf paths are (label of the column, number of the row from 1)."""

    def __init__(self, data: bytes, codec: str, leaves: list[Leaf], spans: list[Cell]) -> None:
        self.leaves = leaves
        self._data = data
        self._codec = codec
        self._spans = spans
        self._separator = separator_of(data).decode("latin-1")

    def encode(self) -> bytes:
        """The table with every changed cell written anew, in its own charset."""
        edits = [
            written(cell, leaf.new or "", self._separator, "utf-8")
            for leaf, cell in zip(self.leaves, self._spans, strict=True)
            if changed(leaf)
        ]
        try:
            return from_utf8(splice(self._data, edits), self._codec)
        except UnicodeEncodeError:
            raise BodyUnreadable("csv-charset") from None


def open_csv(data: bytes, charset: str = "", limits: Limits | None = None) -> CsvDocument:
    """Opens a table whose first row holds the labels; raises BodyMalformed, BodyTooLarge, BodyUnreadable.

    Without a charset the bytes are read as UTF-8 if they are that, else as GB 18030 if they are that, else as Latin-1.
    """
    limits = limits or Limits()
    if len(data) > limits.body:
        raise BodyTooLarge("csv-size")
    codec = codec_of(charset) if charset else _guess(data)
    text = to_utf8(data, codec)
    if b"\0" in text:
        raise BodyMalformed("csv-nul")  # another reader may take it for wide characters, or for an end
    rows = _cells(text, separator_of(text))
    labels = [_text(text, cell) for cell in rows[0]] if rows else []
    leaves: list[Leaf] = []
    spans: list[Cell] = []
    for number, row in enumerate(rows[1:], 1):
        siblings: dict[str, str] = {}
        for column, cell in enumerate(row):
            label = labels[column] if column < len(labels) else str(column)
            value = _text(text, cell)
            siblings.setdefault(label, value)
            leaves.append(Leaf((label, str(number)), value, None, siblings))
            spans.append(cell)
        if len(leaves) > limits.leaves:
            raise BodyTooLarge("csv-cells")
    return CsvDocument(text, codec, leaves, spans)


def labels_of(data: bytes, separator: bytes) -> list[str]:
    """The labels of a table that begins like this, which is in UTF-8."""
    rows = _cells(data, separator)
    return [_text(data, cell) for cell in rows[0]] if rows else []


def _text(data: bytes, cell: Cell) -> str:
    raw = data[cell[0] : cell[1]]
    return unguarded((raw.replace(b'""', b'"') if cell[2] else raw).decode("utf-8", "surrogateescape"))


def _guess(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16-le" if data.startswith(b"\xff") else "utf-16-be"
    for codec in ("utf-8", "gb18030"):
        try:
            data.decode(codec)
        except UnicodeDecodeError:
            continue
        return codec
    return "latin-1"
