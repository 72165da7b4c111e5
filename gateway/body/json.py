"""JSON in both directions, without re-serialising: only the strings that change are written anew.

Answers: shown values are spliced into the bytes; a string that itself holds HTML or JSON is decoded, walked in its own
language and escaped again. Requests: `open_json` validates strictly (UTF-8, one document, no duplicate keys, bounded
depth) and gives every string and number as a leaf with its path.
"""

import json as stdlib_json
import re
from collections.abc import Sequence

import orjson

from gateway.body.fault import BodyMalformed, BodyTooDeep, BodyTooLarge
from gateway.body.layer import Edit, Hit, Layer, Pointer, Walk, splice, unescaped
from gateway.body.leaf import NO_SIBLINGS, Leaf, changed
from gateway.body.limits import Limits
from privacy.render import Context

STRING = re.compile(rb'"(?:[^"\\]++|\\[\s\S])*(?:"|\Z)')
STRINGS = re.compile(rb'(?:[^"]*+"(?:[^"\\]++|\\[\s\S])*")*')  # as many whole ones as there are
# Plain words as keys are passed over at once; a name surrogate may be a key.
_KEY_OR_STRING = re.compile(rb'"(?!Z[qx])[A-Za-z_][A-Za-z_.-]{0,60}+"[ \t\r\n]*+:|("(?:[^"\\]++|\\[\s\S])*(?:"|\Z))')
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\"\\/bfnrt])")

_SINGLE = {
    b"\\" + one: text
    for one, text in zip(
        (b'"', b"\\", b"/", b"b", b"f", b"n", b"r", b"t"),
        (b'"', b"\\", b"/", b"\b", b"\f", b"\n", b"\r", b"\t"),
        strict=True,
    )
}

# A string without escapes, markup, nested JSON or a URL: what it holds is text and nothing else.
_SIMPLE = re.compile(rb"[^\\<&{\[/%:]*+")


def unescape(escape: bytes) -> bytes:
    """What one escape sequence stands for (RFC 8259, section 7), in UTF-8."""
    single = _SINGLE.get(escape)
    if single is not None:
        return single
    if len(escape) == 6:
        return chr(int(escape[2:], 16)).encode("utf-8", "surrogatepass")
    text: str = stdlib_json.loads(b'"' + escape + b'"')
    return text.encode("utf-8", "surrogatepass")


def walk_json(layer: Layer, hits: Sequence[Hit], walk: Walk, *, context: Context = Context.JSON_STRING) -> None:
    """Renders the surrogates in the strings of one or several JSON documents."""
    if walk.net is None and not hits:
        return
    data = layer.data
    pointer = Pointer(hits)
    busy = walk.net is not None
    for match in _KEY_OR_STRING.finditer(data):
        start, end = match.span(1)
        if start < 0:
            continue
        start, end = start + 1, end - 1
        if pointer.next >= end:
            if not busy or end - start < walk.least:
                continue
            mine: Sequence[Hit] = ()
        else:
            for hit in pointer.within(0, start):
                walk.number(layer, hit)
            mine = pointer.within(start, end)
        walk_string(layer, start, end, mine, walk, context)
        if not busy and pointer.done:
            return
    for hit in pointer.within(0, len(layer.data)):
        walk.number(layer, hit)


def walk_string(layer: Layer, start: int, end: int, hits: Sequence[Hit], walk: Walk, context: Context) -> None:
    """Renders the surrogates in the inside of one string."""
    if _SIMPLE.fullmatch(layer.data, start, end):
        walk.place(layer, start, end, hits, context, wire=True)
    else:
        inside = unescaped(layer, start, end, _ESCAPE, unescape, context)
        walk.inner(inside, inside.down(hits), walk, wire=True)


_BLANK = (b"null", b"false")  # how programs empty a field; Tryton and Odoo know the second one
_TOKEN = re.compile(rb'[ \t\r\n:,]*+(?:("(?:[^"\\]++|\\[\s\S])*")|([{}\[\]])|([^ \t\r\n:,\[\]{}"]++))')


class JsonDocument:
    """A JSON request body whose strings and numbers can be replaced; all other bytes stay as they came.

    blanks: what is `null` or `false`, as empty leaves that are never written back.
    """

    def __init__(self, data: bytes, leaves: list[Leaf], spans: list[tuple[int, int]], blanks: Sequence[Leaf]) -> None:
        self.leaves = leaves
        self.blanks = blanks
        self._data = data
        self._spans = spans

    def encode(self) -> bytes:
        """The document with every changed leaf written as a JSON string, or as the JSON it was given."""
        edits: list[Edit] = [
            (start, end, leaf.json if leaf.json is not None else orjson.dumps(leaf.new))
            for leaf, (start, end) in zip(self.leaves, self._spans, strict=True)
            if changed(leaf)
        ]
        return splice(self._data, edits)


def open_json(data: bytes, limits: Limits | None = None) -> JsonDocument:
    """Opens one JSON document; raises BodyMalformed, BodyTooDeep, BodyTooLarge.

    Refused: anything RFC 8259 refuses, invalid UTF-8, lone surrogates, a byte order mark, and the same key twice in one
    object, which two readers would read differently.
    """
    limits = limits or Limits()
    if len(data) > limits.body:
        raise BodyTooLarge("json-size")
    _check_depth(data, limits.depth)
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BodyMalformed("json") from None
    return _opened(data, limits)


def _check_depth(data: bytes, limit: int) -> None:
    """Before any recursive parser sees it; brackets inside strings are skipped."""
    if data.count(b"[") + data.count(b"{") <= limit:
        return
    depth = 0
    for match in re.finditer(rb'"(?:[^"\\]++|\\[\s\S])*"|([\[{])|([\]}])', data):
        if match.start(1) >= 0:
            depth += 1
            if depth > limit:
                raise BodyTooDeep("json-depth")
        elif match.start(2) >= 0:
            depth -= 1


class _Container:
    """An object or array that is being read. keys is None for an array."""

    __slots__ = ("_index", "_path", "key", "keys", "siblings")

    def __init__(self, path: tuple[str, ...], *, is_object: bool) -> None:
        self._path = path
        self._index = 0
        self.key: str | None = None
        self.keys: set[str] | None = set() if is_object else None
        self.siblings: dict[str, str] = {}

    def take(self) -> tuple[str, ...]:
        """Path of the value that begins here."""
        if self.keys is None:
            self._index += 1
            return (*self._path, str(self._index - 1))
        key, self.key = self.key, None
        return (*self._path, key if key is not None else "")

    def name(self, key: str) -> None:
        """The key of the next value."""
        if self.keys is None or key in self.keys:
            raise BodyMalformed("json-duplicate-key")
        self.keys.add(key)
        self.key = key


def _opened(data: bytes, limits: Limits) -> JsonDocument:
    """One pass over the tokens of a document that is known to be valid."""
    leaves: list[Leaf] = []
    spans: list[tuple[int, int]] = []
    blanks: list[Leaf] = []
    stack: list[_Container] = []
    for match in _TOKEN.finditer(data):
        top = stack[-1] if stack else None
        string, bracket, scalar = match.groups()
        if bracket is not None:
            if bracket in b"}]":
                stack.pop()
            else:
                stack.append(_Container(top.take() if top else (), is_object=bracket == b"{"))
            continue
        if string is not None:
            text: str = orjson.loads(string) if b"\\" in string else string[1:-1].decode()
            if top is not None and top.keys is not None and top.key is None:
                top.name(text)
                continue
            key = top.key if top is not None else None
            path = top.take() if top else ()
            if top is not None and key is not None:
                top.siblings[key] = text
            leaves.append(
                Leaf(path, text, None, top.siblings if top is not None and top.keys is not None else NO_SIBLINGS)
            )
            spans.append(match.span(1))
        else:
            path = top.take() if top else ()
            if scalar[0] in b"-0123456789":
                leaves.append(Leaf(path, scalar.decode(), None, top.siblings if top else NO_SIBLINGS, bare=True))
                spans.append(match.span(3))
            elif scalar in _BLANK:
                blanks.append(Leaf(path, "", None, top.siblings if top else NO_SIBLINGS))
        if len(leaves) + len(blanks) > limits.leaves:
            raise BodyTooLarge("json-leaves")
    return JsonDocument(data, leaves, spans, blanks)
