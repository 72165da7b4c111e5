"""The short way through a table on its way out: only the cells that change, or could, are looked at one by one.

Most of a table is cells without a surrogate, and most surrogates stand alone in theirs. Cells in quotes are found with
one search over all bytes, what stands alone is written at once, and one scan says in which of the other cells a clear
value could stand. `gateway.body.csv.walk_csv` looks at every cell instead and gives the same bytes.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

from gateway.body.csv import SEPARATORS, Cell, preamble, separator_of, walk_cell, walk_csv, written
from gateway.body.layer import Hit, Layer, Thorough, Walk
from privacy.recognise import nominated_in
from privacy.render import Context, Shown, encode

_BREAKS = b"\r\n"
_MOST = 10_000  # remembered between stretches of a table: a few megabytes
# Means nothing to any reader of tables: neither guard nor quotes are needed, and every charset has the ASCII of it.
_HARMLESS = re.compile(r"\+?[0-9]+|[^\W_][\w@.*-]*")
# A surrogate as the vault stores it: nothing in it ends a cell, quotes it, or guards it.
_SPELLED = re.compile(r"[A-Za-z0-9+~.][A-Za-z0-9@._-]*")

Alone = tuple[Shown | None, bytes, bytes | None, bytes | None]
"""A surrogate that is a whole cell: how it is shown, how it is spelled, what is written bare and in quotes."""


def walk_table(
    layer: Layer,
    hits: Sequence[Hit],
    walk: Walk,
    *,
    separator: bytes | None = None,
    begins: bool = True,
    alone: dict[str, Alone] | None = None,
) -> None:
    """Renders the surrogates of a table like `walk_csv`, which takes over where the table is an unusual one.

    alone: remembers, between stretches of one table in one charset for one person, what is written for a surrogate.
    """
    separator = separator or separator_of(layer.data)
    if separator not in SEPARATORS or isinstance(walk.net, Thorough):
        walk_csv(layer, hits, walk, separator=separator, begins=begins)
        return
    start = preamble(layer.data) if begins else 0
    alone = {} if alone is None else alone
    if len(alone) > _MOST:
        alone.clear()
    table = _Table(layer, walk, separator, start, alone)
    table.show(hits)
    if walk.net is not None:
        table.recognise()


class _Table:
    """One table while it is walked."""

    def __init__(self, layer: Layer, walk: Walk, separator: bytes, start: int, alone: dict[str, Alone]) -> None:
        self._layer, self._walk = layer, walk
        self._separator, self._start = separator, start
        self._ends = frozenset(separator + _BREAKS)
        self._end = re.compile(b"[" + re.escape(separator) + rb"\r\n]").search
        self._starts, self._stops = _quoted(layer.data, separator, start)
        self._alone = alone
        self._seen: list[tuple[int, int]] = []  # cells that need no other look

    def show(self, hits: Sequence[Hit]) -> None:
        """Renders every surrogate that lies in one cell."""
        data, size, start, ends = self._layer.data, len(self._layer.data), self._start, self._ends
        starts, stops = self._starts, self._stops
        show, known, edits, seen = self._walk.show, self._alone, self._walk.edits, self._seen
        netted = self._walk.net is not None
        at, quote, index, count = start, 0, 0, len(hits)
        while index < count:
            first, last, found = hits[index]
            if first < at:
                index += 1
                continue
            while stops[quote] < first:
                quote += 1
            quoted = starts[quote] <= first
            if quoted:
                alone = starts[quote] == first and stops[quote] == last
            else:
                alone = (first == start or data[first - 1] in ends) and (last == size or data[last] in ends)
            if alone and not found.upper:
                canonical = found.canonical
                one = known.get(canonical)
                spelled = _spelled(canonical) if one is None else one[1]
                if spelled == data[first:last]:
                    shown = show(canonical)
                    if one is None or one[0] is not shown:
                        one = known[canonical] = self._ready(canonical, spelled, shown)
                    new = one[3] if quoted else one[2]
                    if new is not None:
                        edits.append((first, last, new))
                    if netted:
                        seen.append((first, last))
                    at = last
                    index += 1
                    continue
            if starts[quote] - 1 == first:
                index += 1  # it would begin with the opening quotes
                continue
            cell = (starts[quote], stops[quote], True) if quoted else self._bare(first, at)
            mine = []
            while index < count and hits[index][1] <= cell[1]:
                mine.append(hits[index])
                index += 1
            if mine:
                walk_cell(self._layer, cell, self._separator.decode("latin-1"), mine, self._walk)
                seen.append(cell[:2])
            else:
                index += 1  # it goes on in another cell
            at = cell[1]

    def recognise(self) -> None:
        """Gives the recognisers every other cell in which they could find something."""
        data, at = self._layer.data, self._start
        gaps: list[bytes] = []
        begins: list[int] = []
        shift: list[int] = []
        joined = 0
        for first, last in self._seen:
            gaps.append(data[at:first])
            begins.append(joined)
            shift.append(at - joined)
            joined += first - at + 1
            at = last
        gaps.append(data[at:])
        begins.append(joined)
        shift.append(at - joined)
        at, quote = self._start, 0
        for place in nominated_in(b"\0".join(gaps)):
            offset = place + shift[bisect_right(begins, place) - 1]
            if offset < at:
                continue
            while self._stops[quote] < offset:
                quote += 1
            quoted = self._starts[quote] <= offset
            cell = (self._starts[quote], self._stops[quote], True) if quoted else self._bare(offset, at)
            if cell[1] - cell[0] >= self._walk.least:
                walk_cell(self._layer, cell, self._separator.decode("latin-1"), [], self._walk)
            at = cell[1]

    def _bare(self, offset: int, at: int) -> Cell:
        """The cell without quotes around an offset; at: where an earlier cell ends, or the first one begins."""
        find = self._layer.data.rfind
        first = at
        for end in (b"\n", self._separator, b"\r"):
            first = max(first, find(end, first, offset) + 1)
        following = self._end(self._layer.data, offset)
        return first, following.start() if following is not None else len(self._layer.data), False

    def _ready(self, canonical: str, spelled: bytes, shown: Shown | None) -> Alone:
        text = canonical if shown is None else shown.text
        if shown is None or text == canonical:
            return shown, spelled, None, None
        charset = self._walk.charset
        if _HARMLESS.fullmatch(text) is not None and (charset == "utf-8" or text.isascii()):
            new = text.encode()
            return shown, spelled, new, new
        cell, separator = encode(text, Context.CSV_CELL), self._separator.decode("latin-1")
        bare, quoted = (written((0, 0, one), cell, separator, charset)[2] for one in (False, True))
        return shown, spelled, bare, quoted


def _spelled(canonical: str) -> bytes:
    """The bytes of a surrogate that stands as it is stored; none where these could mean something to a table."""
    return canonical.encode() if _SPELLED.fullmatch(canonical) is not None else b""


def _quoted(data: bytes, separator: bytes, start: int) -> tuple[list[int], list[int]]:
    """Where the inside of every properly quoted cell begins and ends, with one beyond the end of the table.

    A cell without quotes runs to the next separator or end of a row, so a cell begins behind each of these that does
    not lie in quotes: what a search from left to right meets first is what reading cell by cell would meet.
    """
    sep = re.escape(separator)
    inside = rb'"((?:[^"]++|"")*)"(?=' + sep + rb"|[\r\n]|\Z)"
    spans: list[tuple[int, int]] = []
    if b'"' in data:
        first = re.compile(inside).match(data, start)
        if first is not None:
            spans.append(first.span(1))
        others = re.compile(rb"(?<=[" + sep + rb"\r\n])" + inside).finditer(data, first.end() if first else start)
        spans += [match.span(1) for match in others]
    beyond = len(data) + 2
    return [one[0] for one in spans] + [beyond], [one[1] for one in spans] + [beyond]
