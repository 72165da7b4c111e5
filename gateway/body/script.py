"""Surrogates in JavaScript: in string literals only, written so that they can end neither the literal nor the element.

The scan for literals is linear and approximate (a regular expression literal can be mistaken for a division). That
costs nothing in safety: what is written holds letters, digits and `\\uNNNN` wherever a character could mean anything,
and outside a literal only digits are ever put in.
"""

import json as stdlib_json
import re
from collections.abc import Sequence

from gateway.body.layer import Hit, Layer, Pointer, Walk, unescaped
from privacy.render import Context

_START = re.compile(rb"[\"'`/]")
_BODIES = {
    0x22: re.compile(rb'"(?:[^"\\\n\r]++|\\(?:\r\n|[\s\S]))*'),
    0x27: re.compile(rb"'(?:[^'\\\n\r]++|\\(?:\r\n|[\s\S]))*"),
    0x60: re.compile(rb"`(?:[^`\\]++|\\[\s\S])*"),
}
_LINE = re.compile(rb"//[^\n\r]*+")
_PATTERN = re.compile(rb"/(?![*/])(?:[^/\\\[\n\r]|\\[^\n\r]|\[(?:[^\]\\\n\r]|\\[^\n\r]){0,500}\]){1,1000}/[a-z]*+")
_BEFORE_PATTERN = frozenset(b"(,=:[!&|?{};+-*%<>~^")
_WORD_BEFORE = re.compile(rb"(?:^|[^\w$.])(?:return|typeof|case|in|of|void|delete)$")
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]{1,6}\}"
    rb"|x[0-9a-fA-F]{2}|[0-3]?[0-7]{1,2}|\r\n|\xe2\x80[\xa8\xa9]|[\s\S])"
)
_SINGLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\n": b"", b"\r": b""}


def unescape(escape: bytes) -> bytes:
    """What one escape sequence of a JavaScript string stands for (ECMA-262, section 12.9.4), in UTF-8."""
    body = escape[1:]
    if body[:2] == b"u{":
        code = int(body[2:-1], 16)
        return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else escape
    if body[:1] == b"u" and len(body) > 4:
        text: str = stdlib_json.loads(b'"' + escape + b'"')
        return text.encode("utf-8", "surrogatepass")
    if body[:1] == b"x" and len(body) == 3:
        return chr(int(body[1:], 16)).encode()
    if body[:1].isdigit() and body.isdigit() and b"8" not in body and b"9" not in body:
        return chr(int(body, 8)).encode()
    if body in (b"\r\n", b"\xe2\x80\xa8", b"\xe2\x80\xa9"):
        return b""
    return _SINGLE.get(body, body)


def literals(data: bytes) -> list[tuple[int, int]]:
    """Insides of the string and template literals, in order."""
    found: list[tuple[int, int]] = []
    at, size = 0, len(data)
    while match := _START.search(data, at):
        start = match.start()
        character = data[start]
        if character != 0x2F:
            body = _BODIES[character].match(data, start)
            end = body.end() if body else start + 1
            found.append((start + 1, end))
            at = end + 1 if end < size and data[end] == character else end
        elif data.startswith(b"/*", start):
            end = data.find(b"*/", start + 2)
            at = size if end < 0 else end + 2
        elif line := _LINE.match(data, start):
            at = line.end()
        else:
            pattern = _PATTERN.match(data, start) if _pattern_may_follow(data, start) else None
            at = pattern.end() if pattern else start + 1
    return found


def _pattern_may_follow(data: bytes, at: int) -> bool:
    before = data[max(0, at - 32) : at].rstrip()
    return not before or before[-1] in _BEFORE_PATTERN or _WORD_BEFORE.search(before) is not None


def walk_script(layer: Layer, hits: Sequence[Hit], walk: Walk, *, strict: bool = False) -> None:
    """Renders surrogates in the literals of a program; strict escapes everything that is not a letter or digit."""
    if walk.net is None and not hits:
        return
    context = Context.SCRIPT_ATTRIBUTE if strict else Context.SCRIPT_STRING
    pointer = Pointer(hits)
    for start, end in literals(layer.data):
        for hit in pointer.within(0, start):
            walk.number(layer, hit)
        mine = pointer.within(start, end)
        if mine or walk.net is not None:
            inside = unescaped(layer, start, end, ESCAPE, unescape, context)
            walk.inner(inside, inside.down(mine), walk, wire=True)
        if walk.net is None and pointer.done:
            return
    for hit in pointer.within(0, len(layer.data)):
        walk.number(layer, hit)


def walk_handler(layer: Layer, hits: Sequence[Hit], walk: Walk) -> None:
    """A program inside an attribute or a `javascript:` link."""
    walk_script(layer, hits, walk, strict=True)
