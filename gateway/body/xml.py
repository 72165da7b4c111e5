"""XML: the places where a surrogate may stand, rendered without re-serialising the document.

Text, attribute values and CDATA sections are rendered; names, comments, processing instructions, declarations, scripts
and formulas of spreadsheets are not. Refused: a document type with an internal subset, as declared entities could mean
anything. A spreadsheet cell that holds a number becomes a text cell when what is shown is no number.
"""

import html
import re
from collections.abc import Iterator, Sequence

from gateway.body.entity import xml_layer
from gateway.body.fault import BodyMalformed
from gateway.body.layer import Hit, Layer, Pointer, Walk
from gateway.body.script import walk_handler
from gateway.body.url import walk_url
from privacy.render import Context, encode

_TOKEN = re.compile(
    rb"<(?:!--[\s\S]*?(?:-->|\Z)|!\[CDATA\[([\s\S]*?)(?:\]\]>|\Z)|\?[\s\S]*?(?:\?>|\Z)|(!DOCTYPE[^>\[]*+\[?)"
    rb"|(/)?([A-Za-z_:\x80-\xff][^\s/>]*+)((?:[^>\"']++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))*)(?:>|\Z))"
)
_ATTRIBUTE = re.compile(rb"""([^\s=/"'<>]++)\s*+=\s*+(?:"([^"<]*+)"|'([^'<]*+)')""")
_UNTOUCHED = frozenset({b"f", b"formula", b"formula1", b"formula2", b"script", b"style", b"definedname"})
_PLAIN_ELEMENTS = frozenset({b"c", b"row", b"col", b"v", b"t", b"is", b"si", b"sheetview", b"dimension", b"mergecell"})
_URL = frozenset({b"href", b"target", b"src", b"action"})
_SKIPPED = frozenset({b"id", b"class", b"style", b"type", b"name", b"r", b"lang", b"space", b"schemalocation", b"rid"})
_TYPE = re.compile(rb"""\st\s*=\s*["']([A-Za-z]+)["']""")


def walk_xml(layer: Layer, hits: Sequence[Hit], walk: Walk) -> None:
    """Renders the surrogates of a document; raises BodyMalformed for declared entities."""
    data = layer.data
    pointer = Pointer(hits)
    busy = walk.net is not None
    at = 0
    element = b""
    cell: tuple[int, int] | None = None
    for token in _TOKEN.finditer(data):
        start = token.start()
        if at < start and (busy or pointer.next < start):
            _text(layer, at, start, element, pointer.within(at, start), walk, cell)
        at = token.end()
        if token.start(1) >= 0:
            _cdata(layer, *token.span(1), element, pointer, walk)
        elif token.start(4) >= 0:
            local = token.group(4).rpartition(b":")[2].lower()
            closing = token.start(3) >= 0
            element = b"" if closing else local
            if not closing and local == b"c":
                cell = token.span()
            elif not closing and local not in _PLAIN_ELEMENTS:
                _attributes(layer, *token.span(5), pointer, walk)
        elif data[at - 1 : at] == b"[" and token.start(2) >= 0:
            raise BodyMalformed("xml-entities")
        pointer.before(at)
    _text(layer, at, len(data), element, pointer.within(at, len(data)), walk, None)


def texts_of(data: bytes) -> Iterator[tuple[str, str, str]]:
    """(name of the element around, its own name, text) of every element and attribute that holds text, in UTF-8.

    Forgiving, as it looks for what has to be hidden: of a broken document what can be read.
    """
    names: list[str] = [""]
    at = 0
    parts: list[bytes] = []
    for token in _TOKEN.finditer(data):
        parts.append(data[at : token.start()])
        at = token.end()
        if token.start(1) >= 0:
            parts.append(html.escape(token.group(1).decode("utf-8", "replace"), quote=False).encode())
        if token.start(4) < 0:
            continue
        text = _plain(b"".join(parts))
        parts.clear()
        if text and len(names) > 1:
            yield names[-2], names[-1], text
        name = _local(token.group(4))
        if token.start(3) >= 0:
            if len(names) > 1:
                names.pop()
            continue
        inside = token.group(5)
        for one in _ATTRIBUTE.finditer(inside):
            yield name, _local(one.group(1)), _plain(one.group(one.lastindex or 2))
        if not inside.endswith(b"/"):
            names.append(name)


def _local(name: bytes) -> str:
    return name.rpartition(b":")[2].decode("utf-8", "replace")


def _plain(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace")
    return (html.unescape(text) if "&" in text else text).strip()


def _text(
    layer: Layer, start: int, end: int, element: bytes, hits: Sequence[Hit], walk: Walk, cell: tuple[int, int] | None
) -> None:
    if element in _UNTOUCHED or (not hits and walk.net is None):
        return
    if element == b"v" and cell is not None:
        kind = _TYPE.search(layer.data, *cell)
        if kind is None or kind.group(1) == b"n":
            _number(layer, start, end, hits, walk, cell)
            return
        if kind.group(1) not in (b"str", b"inlineStr"):
            return  # an index into the shared strings, a boolean, an error or a date
    text = xml_layer(layer, start, end)
    walk.place(text, 0, len(text.data), text.down(hits), Context.PLAIN, wire=False)


def _number(layer: Layer, start: int, end: int, hits: Sequence[Hit], walk: Walk, cell: tuple[int, int]) -> None:
    """A number in a spreadsheet cell: digits stay a number, anything else makes it a text cell."""
    raw = layer.data[start:end].decode("ascii", "replace")
    text: str | None = None
    if len(hits) == 1 and hits[0][0] == start:
        text = walk.text(hits[0][2], wire=False)
    elif not hits and walk.net is not None and len(raw) > 4:
        plain = raw.removesuffix(".0")
        found = [new for first, last, new in walk.net(plain) if first == 0 and last == len(plain)]
        text = found[0] if found else None
    if text is None:
        return
    digits = text.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        walk.edits.append(layer.edit(start, end, digits, Context.PLAIN, walk.charset))
        return
    tag = layer.data[cell[0] : cell[1] - 1]
    kind = _TYPE.search(tag)
    first, last = kind.span() if kind else (len(tag), len(tag))
    walk.edits.append(layer.edit(cell[0] + first, cell[0] + last, ' t="str"', Context.PLAIN, walk.charset))
    walk.edits.append(layer.edit(start, end, encode(text, Context.XML_TEXT), Context.XML_TEXT, walk.charset))


def _cdata(layer: Layer, start: int, end: int, element: bytes, pointer: Pointer, walk: Walk) -> None:
    hits = pointer.within(start, end)
    if element in _UNTOUCHED or (not hits and walk.net is None):
        return
    inside = Layer(layer.data[start:end], layer, Context.CDATA, ([0], [start]))
    walk.place(inside, 0, end - start, inside.down(hits), Context.PLAIN, wire=False)


def _attributes(layer: Layer, start: int, end: int, pointer: Pointer, walk: Walk) -> None:
    if walk.net is None and pointer.next >= end:
        return
    for match in _ATTRIBUTE.finditer(layer.data, start, end):
        group = 2 if match.start(2) >= 0 else 3
        first, last = match.span(group)
        hits = pointer.within(first, last)
        name = match.group(1).rpartition(b":")[2].lower()
        if name in _SKIPPED or (not hits and walk.net is None):
            continue
        value = xml_layer(layer, first, last, Context.XML_ATTRIBUTE)
        mine = value.down(hits)
        if name in _URL:
            walk_url(value, mine, walk, walk_handler)
        elif name.startswith(b"on"):
            walk_handler(value, mine, walk)
        else:
            walk.place(value, 0, len(value.data), mine, Context.PLAIN, wire=name == b"value")
