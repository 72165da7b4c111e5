"""Decoded views of stretches of a body, and the edits that are made through them.

A page is a stack of languages (HTML holds an attribute, which holds HTML, which holds a script string). Each `Layer`
is the decoded text of one stretch of the layer around it; an edit made in it is escaped for every layer on the way out
and ends as bytes of the page. Everything that is not edited stays byte-identical, because nothing is re-serialised.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from policies.decision import Form
from privacy.render import Context, Shown, encode, narrow

Edit = tuple[int, int, bytes]
Show = Callable[[str], Shown | None]
Net = Callable[[str], list[tuple[int, int, str]]]
_NOWHERE = 1 << 62
GAP = "\n\0\n"  # between texts given to the recognisers in one go: no pattern reaches across it
_MIN_NET_CHARS = 5  # no recogniser knows anything shorter


class Thorough:
    """A net that has to see every text, however short and wherever; others see what recognisers could know only."""

    def __init__(self, find: Net) -> None:
        self._find = find

    def __call__(self, text: str) -> list[tuple[int, int, str]]:
        """What is found in a text."""
        return self._find(text)


class Found(NamedTuple):
    """What a hit needs to be rendered."""

    canonical: str
    upper: bool
    encoded: bool = False


Hit = tuple[int, int, Found]  # start and end in bytes of the layer's data


class Spot(Protocol):
    """A hit as the scanner gives it; offsets in bytes."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def canonical(self) -> str: ...
    @property
    def upper(self) -> bool: ...


class Finder(Protocol):
    """Where surrogates stand; `kms.scanner.Scanner` is one."""

    def find(self, data: bytes) -> Sequence[Spot]: ...


class Inner(Protocol):
    """Walker for a decoded string of undeclared language."""

    def __call__(self, layer: "Layer", hits: Sequence[Hit], walk: "Walk", *, wire: bool) -> None: ...


class Layer:
    """One decoded stretch. `context` is how text is escaped on the way out of this layer into the one around it."""

    __slots__ = ("_inner", "_outer", "context", "data", "depth", "parent")

    def __init__(
        self,
        data: bytes,
        parent: "Layer | None" = None,
        context: Context = Context.PLAIN,
        marks: tuple[list[int], list[int]] | None = None,
    ) -> None:
        self.data = data
        self.parent = parent
        self.context = context
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self._inner, self._outer = marks if marks is not None else ([0], [0])

    def outer(self, at: int) -> int:
        """Offset in the layer around this one."""
        index = bisect_right(self._inner, at) - 1
        return self._outer[index] + at - self._inner[index]

    def inner(self, at: int) -> int:
        """Offset in this layer for one of the layer around it; inside an escape, where that escape begins or ends."""
        index = bisect_right(self._outer, at) - 1
        if index < 0:
            return 0
        found = self._inner[index] + at - self._outer[index]
        following = self._inner[index + 1] if index + 1 < len(self._inner) else len(self.data)
        return min(found, following)

    def down(self, hits: Sequence[Hit]) -> list[Hit]:
        """Hits of the layer around this one with their offsets in this one."""
        return [(self.inner(start), self.inner(end), found) for start, end, found in hits]

    def edit(self, start: int, end: int, text: str, context: Context, charset: str) -> Edit:
        """An edit of the page for already encoded text that replaces a stretch of this layer."""
        if self.parent is None:
            if charset != "utf-8" and not text.isascii():
                text = narrow(text, context, charset)
            return start, end, text.encode("utf-8", "surrogatepass")
        if self.context is not Context.PLAIN:
            text, context = encode(text, self.context), self.context
        return self.parent.edit(self.outer(start), self.outer(end), text, context, charset)


def unescaped(
    parent: Layer,
    start: int,
    end: int,
    pattern: re.Pattern[bytes],
    decode: Callable[[bytes], bytes],
    context: Context,
) -> Layer:
    """The layer of `parent.data[start:end]` with every match of `pattern` decoded."""
    raw = parent.data
    inner, outer = [0], [start]
    parts: list[bytes] = []
    size = 0
    at = start
    for match in pattern.finditer(raw, start, end):
        decoded = decode(match.group())
        first, last = match.span()
        if decoded == raw[first:last]:
            continue
        parts.append(raw[at:first])
        parts.append(decoded)
        size += first - at
        if inner[-1] != size:
            # The escape itself: offsets in its middle do not run along with the outer ones.
            inner.append(size)
            outer.append(first)
        size += len(decoded)
        inner.append(size)
        outer.append(last)
        at = last
    parts.append(raw[at:end])
    return Layer(b"".join(parts), parent, context, (inner, outer))


class Walk:
    """One rendering in progress: collects edits for surrogates and texts for the recognisers.

    inner: walks a decoded string whose language is not declared (JSON, HTML, a URL or plain text).
    stops: offsets of the page, in order, outside of which the recognisers would find nothing; None if nobody looked.
    """

    __slots__ = ("_spots", "charset", "edits", "inner", "least", "net", "show", "stops")

    def __init__(self, show: Show, net: Net | None, charset: str, inner: "Inner") -> None:
        self.show = show
        self.net = net
        self.least = 1 if isinstance(net, Thorough) else _MIN_NET_CHARS
        self.charset = charset
        self.inner = inner
        self.edits: list[Edit] = []
        self.stops: list[int] | None = None
        self._spots: list[tuple[str, Layer, int, Context]] = []

    def stop(self, layer: Layer, at: int) -> int:
        """Where in a layer, from an offset on, the recognisers have to look next; beyond every offset if nowhere."""
        if self.net is None:
            return _NOWHERE
        if self.stops is None or layer.parent is not None:
            return at
        index = bisect_left(self.stops, at)
        return self.stops[index] if index < len(self.stops) else _NOWHERE

    def put(self, layer: Layer, hit: Hit, context: Context, *, wire: bool) -> None:
        """Renders one surrogate; one that stays what it is keeps its bytes."""
        start, end, found = hit
        text = self.text(found, wire=wire)
        if text is not None:
            if context in (Context.URL, Context.URL_OPAQUE):
                # Chat links carry phone numbers as digits only.
                text = text.removeprefix("+") if layer.data[start:end].isdigit() else text
            elif found.encoded:
                text = encode(text, Context.URL)
            self.edits.append(layer.edit(start, end, encode(text, context), context, self.charset))

    def number(self, layer: Layer, hit: Hit) -> None:
        """A surrogate in program text outside any string: only digits can stand there."""
        start, end, found = hit
        text = self.text(found, wire=True)
        digits = text.lstrip("+") if text is not None and layer.data[start:end].isdigit() else ""
        if digits.isascii() and digits.isdigit() and not digits.startswith("0"):
            self.edits.append(layer.edit(start, end, digits, Context.PLAIN, self.charset))

    def text(self, found: Found, *, wire: bool) -> str | None:
        """What a surrogate is replaced by, or None if it stays."""
        shown = self.show(found.canonical)
        if shown is None:
            return None
        text = shown.wire if wire else shown.text
        if text == found.canonical:
            return None
        return text.upper() if found.upper and shown.form is not Form.HIDDEN else text

    def place(self, layer: Layer, start: int, end: int, hits: Sequence[Hit], context: Context, *, wire: bool) -> None:
        """One stretch of plain text in a layer: its surrogates are rendered, the rest goes to the recognisers."""
        for hit in hits:
            self.put(layer, hit, context, wire=wire)
        if self.net is not None and end - start >= self.least:
            self.recognise(layer, start, end, hits, context)

    def recognise(self, layer: Layer, start: int, end: int, hits: Sequence[Hit], context: Context) -> None:
        """One stretch of text that goes to the recognisers only; its surrogates are hidden from them and stay."""
        if self.net is None:
            return
        data = layer.data[start:end]
        for first, last, _ in hits:
            data = data[: first - start] + b"\0" * (last - first) + data[last - start :]
        text = data.decode("utf-8", "surrogateescape")
        if not text.isspace():
            self._spots.append((text, layer, start, context))

    def settle(self) -> None:
        """Asks the recognisers once about all collected texts and turns their findings into edits."""
        if self.net is None or not self._spots:
            return
        findings = sorted(self.net(GAP.join([spot[0] for spot in self._spots])))
        base = index = 0
        text, layer, start, context = self._spots[0]
        at_char, at_byte = 0, start
        done = 0
        for first, last, new in findings:
            if first < done:
                continue  # overlaps the one before
            done = last
            while first >= base + len(text) + len(GAP):
                base += len(text) + len(GAP)
                index += 1
                text, layer, start, context = self._spots[index]
                at_char, at_byte = 0, start
            low, high = first - base, min(last - base, len(text))
            from_byte = at_byte + len(text[at_char:low].encode("utf-8", "surrogateescape"))
            to_byte = from_byte + len(text[low:high].encode("utf-8", "surrogateescape"))
            at_char, at_byte = high, to_byte
            self.edits.append(layer.edit(from_byte, to_byte, encode(new, context), context, self.charset))

    def spliced(self, data: bytes) -> bytes:
        """The page with all edits made."""
        self.settle()
        return splice(data, self.edits)


def splice(data: bytes, edits: list[Edit]) -> bytes:
    """`data` with every edit made; of two that overlap the first one counts."""
    if not edits:
        return data
    edits.sort(key=lambda edit: edit[0])
    parts: list[bytes] = []
    at = 0
    for start, end, new in edits:
        if start < at:
            continue
        parts.append(data[at:start])
        parts.append(new)
        at = end
    parts.append(data[at:])
    return b"".join(parts)


class Pointer:
    """Hands out ordered hits region by region; regions are asked for in order."""

    __slots__ = ("_at", "_hits")

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = hits
        self._at = 0

    @property
    def next(self) -> int:
        """Where the next hit begins; beyond every offset if none is left."""
        return self._hits[self._at][0] if self._at < len(self._hits) else _NOWHERE

    @property
    def done(self) -> bool:
        """Whether no hit is left."""
        return self._at >= len(self._hits)

    def before(self, start: int) -> None:
        """Drops the hits that begin before `start`: they lie where nothing is rendered."""
        hits, at = self._hits, self._at
        while at < len(hits) and hits[at][0] < start:
            at += 1
        self._at = at

    def straddling(self, end: int) -> Hit | None:
        """The next hit if it begins before `end`: one that goes on behind the region."""
        if self.next >= end:
            return None
        self._at += 1
        return self._hits[self._at - 1]

    def within(self, start: int, end: int) -> Sequence[Hit]:
        """The hits that lie in a region; one that reaches over its end is not rendered."""
        self.before(start)
        hits, at = self._hits, self._at
        first = at
        while at < len(hits) and hits[at][1] <= end:
            at += 1
        self._at = at
        return hits[first:at]
