"""An answer of the CRM as a page: which surrogates it holds, and the same page with shown values in their place.

`open_page` picks the container; `surrogates` is asked first so that the caller can resolve all values at once; `render`
then writes each one encoded for the place where it stands. Everything else stays byte-identical. Where a value cannot
be written safely, its surrogate stays: that is never more than the CRM itself knows.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.body import charset as charsets
from gateway.body.csv_quick import walk_table
from gateway.body.html import splice_html, walk_html
from gateway.body.json import walk_json
from gateway.body.layer import Edit, Finder, Found, Hit, Layer, Net, Show, Spot, Thorough, Walk, splice
from gateway.body.limits import Limits
from gateway.body.media import Media, charset_of, sniff
from gateway.body.nested import walk_inner
from gateway.body.script import walk_script
from gateway.body.shortcut import Ready, ready, render_json, stops_of
from gateway.body.text import walk_text
from gateway.body.vcard import VcardPage
from gateway.body.xls import XlsPage
from gateway.body.xml import walk_xml
from gateway.body.zip import Entry, ZipPage
from privacy.render import Shown

Walker = Callable[[Layer, Sequence[Hit], Walk], None]


class Page(Protocol):
    """A body on its way to a principal.

    media_type, file_suffix: set when the rendering is in another format than the body (XLS becomes XLSX).
    """

    @property
    def media_type(self) -> str | None: ...
    @property
    def file_suffix(self) -> str | None: ...

    def surrogates(self, scanner: Finder) -> set[str]:
        """Canonical surrogates anywhere inside."""

    def render(self, show: Show, net: Net | None) -> bytes:
        """The body with every surrogate that `show` answers replaced; `net` finds clear values that must not go out."""


class TextualPage:
    """A page that is one text in one language."""

    media_type: str | None = None
    file_suffix: str | None = None

    def __init__(self, body: bytes, charset: str, walker: Walker) -> None:
        self._codec = charsets.codec_of(charset)
        self._body = body
        self._data = charsets.to_utf8(body, self._codec)
        self._walker = walker
        self._found: Sequence[Spot] = ()
        self._stops: list[int] | None = None

    def surrogates(self, scanner: Finder) -> set[str]:
        """Canonical surrogates anywhere inside."""
        self._found = scanner.find(self._data)
        return {hit.canonical for hit in self._found}

    def render(self, show: Show, net: Net | None) -> bytes:
        """The text with its surrogates rendered in the charset it came in."""
        if not self._found and net is None:
            return self._body
        edits = self._quick(show) if net is None and self._codec == "utf-8" else None
        if edits is not None:
            return splice(self._data, edits)
        return charsets.from_utf8(self._walked(self._found, show, net, []), self._codec)

    def _quick(self, show: Show) -> list[Edit] | None:
        """Edits that need no look at the language; None where it needs one."""
        return None

    def _walked(self, found: Sequence[Spot], show: Show, net: Net | None, edits: list[Edit]) -> bytes:
        data = self._data
        walk = Walk(show, net, self._codec, walk_inner)
        walk.edits = edits
        hits = _hits(data, found)
        walk.stops = self._stops
        self._walker(Layer(data), hits, walk)
        return walk.spliced(data)


class JsonPage(TextualPage):
    """JSON, one document or several (JSON lines, JSONP)."""

    def __init__(self, body: bytes, charset: str, found: Sequence[Spot] = ()) -> None:
        super().__init__(body, charset, walk_json)
        self._found = found

    def render(self, show: Show, net: Net | None) -> bytes:
        """The text with its surrogates rendered; only strings that need it are looked into."""
        if self._codec == "utf-8" and (self._found or net is not None) and not self._split():
            prepared = [_ready(hit.canonical, show(hit.canonical)) for hit in self._found]
            rendered = render_json(self._data, self._found, prepared, net, walk_inner)
            if rendered is not None:
                return rendered
        return super().render(show, net)

    def _split(self) -> bool:
        """Whether a surrogate stands in two strings, or has tags inside; asked first, so that each is shown once."""
        data = self._data
        return any(b'"' in (raw := data[hit.start : hit.end]) or b"<" in raw for hit in self._found)


class HtmlPage(TextualPage):
    """An HTML document or fragment."""

    def __init__(self, body: bytes, charset: str) -> None:
        super().__init__(body, charset, walk_html)

    def render(self, show: Show, net: Net | None) -> bytes:
        """The page rendered; the recognisers see only what could hold something for them."""
        if net is None:
            return super().render(show, net)
        self._stops = None if isinstance(net, Thorough) else stops_of(self._data, self._found)
        if self._stops == []:
            net = None
        return charsets.from_utf8(self._walked(self._found, show, net, []), self._codec)

    def _quick(self, show: Show) -> list[Edit] | None:
        return splice_html(self._data, self._found, show)


class StillPage:
    """A body that nothing is put into: images, style sheets, unknown binaries."""

    media_type: str | None = None
    file_suffix: str | None = None

    def __init__(self, body: bytes) -> None:
        self._body = body

    def surrogates(self, scanner: Finder) -> set[str]:
        """None: nothing in it would be rendered."""
        return set()

    def render(self, show: Show, net: Net | None) -> bytes:
        """The body itself."""
        return self._body


def json_body(data: bytes, found: Sequence[Spot], prepared: Sequence[Ready | None], net: Net | None) -> bytes | None:
    """A JSON body in UTF-8 whose surrogates were found and prepared already; None where it has to be a page."""
    return render_json(data, found, prepared, net, walk_inner)


def open_page(media: Media, body: bytes, charset: str, limits: Limits) -> Page:
    """The page for a body that has its content coding undone; charset "" means that nobody named one.

    Raises BodyUnreadable, BodyMalformed, BodyTooLarge, DecompressionLimit.
    """
    charset = charset or charset_of(None, media, body)
    match media:
        case Media.JSON:
            return JsonPage(body, charset)
        case Media.HTML:
            return HtmlPage(body, charset)
        case Media.SCRIPT:
            return TextualPage(body, charset, walk_script)
        case Media.TEXT | Media.FORM:
            return TextualPage(body, charset, walk_text)
        case Media.CSV:
            return TextualPage(body, charset, walk_table)
        case Media.XML:
            return TextualPage(body, charset, walk_xml)
        case Media.VCARD:
            return VcardPage(body, charset)
        case Media.XLS:
            return XlsPage(body, limits)
        case Media.XLSX:
            return ZipPage(body, limits, _office_part)
        case Media.ZIP:
            return ZipPage(body, limits, lambda entry: _entry(entry, limits))
        case _:
            return StillPage(body)


def _hits(data: bytes, found: Sequence[Spot]) -> list[Hit]:
    """What was found as walkers take it; long tables hold tens of thousands."""
    percent = b"%" in data
    hits: list[Hit] = []
    for spot in found:
        start, end = spot.start, spot.end
        hits.append((start, end, Found(spot.canonical, spot.upper, percent and b"%" in data[start:end])))
    return hits


def _ready(canonical: str, shown: Shown | None) -> Ready | None:
    return None if shown is None else ready(canonical, shown)


def _office_part(entry: Entry) -> Page | None:
    """The page of one part of an office document: everything in it that is XML."""
    name = entry.info.filename.lower()
    if not name.endswith((".xml", ".rels", ".vml")) or name == "[content_types].xml":
        return None
    return TextualPage(entry.data, charset_of(None, Media.XML, entry.data), walk_xml)


def _entry(entry: Entry, limits: Limits) -> Page | None:
    """The page of a file in an archive; archives in archives stay as they are."""
    media = sniff(None, entry.info.filename, entry.data)
    if media in (Media.ZIP, Media.XLS, Media.OPAQUE, Media.IMAGE) or entry.info.is_dir():
        return None
    return open_page(media, entry.data, "", limits)
