"""HTML: a linear-time lexer that finds the context of every surrogate and leaves all other bytes as they are.

Follows the tokenisation of the HTML standard (section 13.2.5) closely enough that no context is taken for a safer one:
tags attribute by attribute, comments, raw text, escapable raw text, and the escaped states of scripts. Names of tags,
ids and asset addresses are never touched. Comments and style sheets keep their surrogates.
"""

import re
from collections.abc import Sequence

from gateway.body.attribute import Attribute, skipped, walk_attribute
from gateway.body.entity import text_layer
from gateway.body.json import walk_json
from gateway.body.layer import Edit, Hit, Layer, Pointer, Show, Spot, Walk
from gateway.body.script import walk_script
from privacy.render import Context

_VALUE = rb"""(?:"([^"]*+)(?:"|\Z)|'([^']*+)(?:'|\Z)|([^\t\n\f\r >"'][^\t\n\f\r >]*+)|(?=>)|\Z)"""
_NAME = rb"""(=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"""
_ATTRIBUTE = re.compile(_NAME + rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+" + _VALUE + rb")?")
_PLAIN_VALUE = rb"""(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\t\n\f\r >"'][^\t\n\f\r >]*+|(?=>)|\Z)"""
_TOKEN = re.compile(
    rb"<(?:(!--(?:-?>|[\s\S]*?(?:--!?>|\Z)))"
    rb"|([!?][^>]*+(?:>|\Z)|/(?![A-Za-z])[^>]*+(?:>|\Z))"
    rb"|(/?)(?:((?i:title|textarea|style|xmp|iframe|noembed|noframes|script|plaintext|option))(?=[\t\n\f\r />])"
    rb"|([A-Za-z][^\t\n\f\r />]*+))"
    rb"((?:[\t\n\f\r /]++|(?:=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+" + _PLAIN_VALUE + rb")?)*)(?:>|\Z))"
)
_ESCAPABLE = frozenset({b"title", b"textarea"})
_FOREIGN = re.compile(rb"<(?:svg|math)[\s/>]", re.IGNORECASE)
_RAW = frozenset({b"style", b"xmp", b"iframe", b"noembed", b"noframes"})
_SCRIPT_STATE = re.compile(rb"<!--(?:-*+>)?|-->|</?script(?=[\t\n\f\r />])", re.IGNORECASE)
_JAVASCRIPT = re.compile(
    rb"(?:(?:text|application)/(?:x-)?(?:java|ecma|j|live)script(?:1\.\d)?|module|text/babel|)\s*(?:;.*)?", re.I
)
_JSON_TYPE = re.compile(rb"(?:.*[/+]json|importmap|speculationrules)\s*(?:;.*)?", re.I)
_TEMPLATE_TYPE = re.compile(rb".*(?:html|template|handlebars|mustache|tmpl|jquery).*", re.I)
_END_OF = {name: re.compile(rb"</" + name + rb"(?=[\t\n\f\r />])", re.IGNORECASE) for name in _ESCAPABLE | _RAW}


def walk_html(layer: Layer, hits: Sequence[Hit], walk: Walk) -> None:
    """Renders the surrogates of a document or fragment."""
    data = layer.data
    pointer = Pointer(hits)
    busy = walk.net is not None
    at = 0
    posted = False
    tokens = _TOKEN.finditer(data)
    stop = walk.stop(layer, at)
    while stop < len(data) or not pointer.done:
        token = next(tokens, None)
        if token is None:
            _text(layer, at, len(data), pointer, walk, posted=posted)
            return
        if stop < at:
            stop = walk.stop(layer, at)
        if token.end() <= stop and token.end() <= pointer.next and token.start(4) < 0:
            at, posted = token.end(), False
            continue
        start = token.start()
        if at < start:
            _text(layer, at, start, pointer, walk, posted=posted)
        at, posted = token.end(), False
        if token.start(6) < 0 or (busy and b"@" in data[start : token.start(6)]):
            # A comment, or an address in angle brackets that nobody escaped.
            walk.recognise(layer, start, at, pointer.within(start, at), Context.UNCERTAIN)
            pointer.before(at)
        elif token.start(3) == token.end(3):
            at, posted = _tag(layer, token, pointer, walk)
            if token.start(4) >= 0:
                tokens = _TOKEN.finditer(data, at)


def _tag(layer: Layer, token: re.Match[bytes], pointer: Pointer, walk: Walk) -> tuple[int, bool]:
    """A start tag; returns where markup goes on and whether the text that follows is posted back (an option)."""
    special = token.group(4)
    name = (special or token.group(5)).lower()
    first, last = token.span(6)
    mine = pointer.within(first, last)
    attributes: list[Attribute] = []
    if last > first and (mine or special or walk.net is not None):
        attributes = _attributes(layer.data, first, last)
        _walk_attributes(layer, name, attributes, mine, walk)
    if not special:
        return token.end(), False
    if name == b"option":
        return token.end(), all(attribute.name != b"value" for attribute in attributes)
    return _special(layer, name, attributes, token.end(), pointer, walk), False


def _attributes(data: bytes, start: int, end: int) -> list[Attribute]:
    found = []
    for match in _ATTRIBUTE.finditer(data, start, end):
        for group in (2, 3, 4):
            first, last = match.span(group)
            if first >= 0:
                found.append(Attribute(match.group(1).lower(), first, last, quoted=group != 4))
                break
        else:
            found.append(Attribute(match.group(1).lower(), match.end(), match.end(), quoted=True))
    return found


def _walk_attributes(
    layer: Layer, element: bytes, attributes: list[Attribute], hits: Sequence[Hit], walk: Walk
) -> None:
    pointer = Pointer(hits)
    values = {attribute.name: layer.data[attribute.start : attribute.end] for attribute in reversed(attributes)}
    for attribute in attributes:
        mine = pointer.within(attribute.start, attribute.end)
        long = attribute.end - attribute.start >= walk.least
        if mine or (walk.net is not None and long and not skipped(attribute.name)):
            walk_attribute(layer, element, attribute, values, mine, walk, walk_html)


def _text(
    layer: Layer, start: int, end: int, pointer: Pointer, walk: Walk, *, posted: bool = False, escapable: bool = False
) -> None:
    """Text between tags, or escapable raw text."""
    mine = pointer.within(start, end)
    broken = None if escapable else pointer.straddling(end)
    if broken is not None:
        # Digits with tags between them; the scanner took whole tags only, so the text around stays intact.
        walk.put(layer, broken, Context.HTML_TEXT, wire=posted)
        end = broken[0]
    if not mine and walk.stop(layer, start) >= end:
        return
    if b"&" not in layer.data[start:end]:
        walk.place(layer, start, end, mine, Context.HTML_TEXT, wire=posted)
        return
    text = text_layer(layer, start, end)
    walk.place(text, 0, len(text.data), text.down(mine), Context.PLAIN, wire=posted)


def _special(layer: Layer, name: bytes, attributes: list[Attribute], at: int, pointer: Pointer, walk: Walk) -> int:
    """Content of an element that is not parsed as markup; returns where its end tag begins."""
    data = layer.data
    if name == b"plaintext":
        pointer.before(len(data))
        return len(data)
    if name == b"script":
        end = _script_end(data, at)
        _script(layer, attributes, at, end, pointer, walk)
        return end
    match = _END_OF[name].search(data, at)
    end = match.start() if match else len(data)
    if name in _ESCAPABLE and data.find(b"<", at, end) >= 0 and _FOREIGN.search(data, 0, at):
        # In SVG and MathML this content is markup after all: either reading must be safe, so nothing is put in.
        if walk.net is not None:
            walk.recognise(layer, at, end, pointer.within(at, end), Context.UNCERTAIN)
    elif name in _ESCAPABLE:
        _text(layer, at, end, pointer, walk, posted=name == b"textarea", escapable=True)
    elif walk.net is not None and name != b"style":
        walk.recognise(layer, at, end, pointer.within(at, end), Context.UNCERTAIN)
    pointer.before(end)
    return end


def _script_end(data: bytes, at: int) -> int:
    """Where the end tag of a script begins, through the (double) escaped states (13.2.5.20 and following)."""
    state = 0
    for match in _SCRIPT_STATE.finditer(data, at):
        token = match.group()
        if token == b"-->":
            state = 0
        elif token.startswith(b"<!--"):
            state = state if token.endswith(b">") else max(state, 1)
        elif token.startswith(b"</"):
            if state < 2:
                return match.start()
            state = 1
        elif state == 1:
            state = 2
    return len(data)


def _script(layer: Layer, attributes: list[Attribute], at: int, end: int, pointer: Pointer, walk: Walk) -> None:
    mine = pointer.within(at, end)
    if not mine and walk.stop(layer, at) >= end:
        return
    kind = next((layer.data[a.start : a.end] for a in attributes if a.name == b"type"), b"").strip()
    content = layer.data[at:end]
    inside = Layer(content, layer, Context.PLAIN, ([0], [at]))
    hits = inside.down(mine)
    start = content.lstrip(b" \t\r\n\f")
    looks_json = start.removeprefix(b"<!--").lstrip(b" \t\r\n\f")[:1] in (b"{", b"[")
    if _JAVASCRIPT.fullmatch(kind) and not (kind and start.startswith(b"<!--") and looks_json):
        walk_script(inside, hits, walk)
    elif looks_json or _JSON_TYPE.fullmatch(kind):
        walk_json(inside, hits, walk, context=Context.JSON_SCRIPT)
    elif _TEMPLATE_TYPE.fullmatch(kind):
        walk_html(inside, hits, walk)
    else:
        walk.place(inside, 0, len(content), hits, Context.UNCERTAIN, wire=True)


def body_end(data: bytes) -> int | None:
    """Where the last `</body>` of a whole document begins; None where nothing can be put before it.

    Text that only looks like that tag (in scripts, comments, titles, attributes) does not count.
    """
    found: int | None = None
    opened = False
    at = 0
    while (token := _TOKEN.search(data, at)) is not None:
        at = token.end()
        name = (token.group(4) or token.group(5) or b"").lower()
        if name == b"body":
            if token.group(3):
                found = token.start() if opened else None
            else:
                opened = True
        elif name == b"frameset":
            return None
        elif token.group(4) and not token.group(3) and name != b"option":
            at = _content_end(data, name, at)
    return found


def _content_end(data: bytes, name: bytes, at: int) -> int:
    """Where the content of an element that is no markup ends."""
    if name == b"plaintext":
        return len(data)
    if name == b"script":
        return _script_end(data, at)
    match = _END_OF[name].search(data, at)
    return match.start() if match else len(data)


_UNSAFE_BEFORE = frozenset(b"=/%&?;#")
_LINK_START = (b'"mailto:', b'"tel:', b"'mailto:", b"'tel:")
_URL_SAFE = re.compile(rb"[A-Za-z0-9.+@_-]+")


def splice_html(data: bytes, found: Sequence[Spot], show: Show) -> list[Edit] | None:
    """Edits when every value is inert and stands in text or right after the quote of an attribute; else None.

    An inert value means nothing there, so the page need not be lexed. Places in tags that are not plainly quoted, and
    everything that looks like part of a URL or an entity, go the long way.
    """
    edits: list[Edit] = []
    for hit in found:
        shown = show(hit.canonical)
        if shown is None:
            continue
        inert = shown.inert
        start = hit.start
        before = data[start - 1] if start else 0x20
        if not inert or before in _UNSAFE_BEFORE:
            return None
        quoted = (before == 0x22 or before == 0x27) and data[start - 2] == 0x3D
        if before != 0x3E and not quoted and not _is_text(data, start):
            link = data.endswith(_LINK_START, max(0, start - 8), start) and _URL_SAFE.fullmatch(inert)
            if not link:
                return None
        if b"%" in data[start : hit.end]:
            return None
        edits.append((start, hit.end, shown.text.upper().encode() if hit.upper else inert))
    return edits


def _is_text(data: bytes, at: int) -> bool:
    """Whether the last angle bracket before an offset closes a tag."""
    return data.rfind(b">", 0, at) > data.rfind(b"<", 0, at)
