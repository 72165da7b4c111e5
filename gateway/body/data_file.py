"""Files that come in: each opened as what it is, so that nothing that can be read reaches the CRM unread.

What is in a table, a card, JSON or XML is judged by its label, as the columns of an import are; what people read (text,
pages, documents of a word processor) is judged as a note. Only pictures and unknown binaries are not looked into.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import unquote

from gateway.body.archive import open_archive
from gateway.body.csv import open_csv
from gateway.body.fault import BodyFault, BodyMalformed, BodyTooDeep, BodyUnreadable
from gateway.body.json import JsonDocument, open_json
from gateway.body.json_lines import JsonLines, open_lines
from gateway.body.leaf import Container, Leaf
from gateway.body.limits import Limits
from gateway.body.media import Media, charset_of, sniff_upload
from gateway.body.text import TextDocument, open_text
from gateway.body.vcard import open_vcard
from gateway.body.xlsx import has_sheets, open_xlsx
from gateway.body.xml_request import XmlRequest, open_xml
from privacy import recognise

UNOPENED = frozenset({Media.IMAGE, Media.OPAQUE})
_LIMITED = frozenset({Media.CSV, Media.XLSX, Media.VCARD, Media.JSON})
_MOST_NESTED = 3  # archives in archives
_MARKUP_LEAVES = 5  # times as many: most attributes of a document of a word processor are measures
_GENERIC = frozenset({"value", "values", "text", "first", "last", "given", "family", "number", "address", "formatted"})
_SVG = re.compile(rb"<svg[\s>]")
_TABLE = re.compile(r"<table[\s>/]", re.IGNORECASE)
_INLINE = re.compile(
    r"</?(?:a|abbr|b|big|code|em|font|i|mark|small|span|strong|sub|sup|u|wbr)(?:\s[^>]*)?/?>|<!--.*?-->",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<[^>]*>")
_LINK = ("mailto:", "tel:", "sms:")


class Chosen:
    """A container of which only some leaves are values."""

    def __init__(self, whole: Container, leaves: Sequence[Leaf]) -> None:
        self.leaves = leaves
        self._whole = whole

    def encode(self) -> bytes:
        """The whole of it."""
        return self._whole.encode()


def kind_of(media: Media, data: bytes) -> Media:
    """What an archive is that looks like a workbook: one that merely has one inside looks the same."""
    return Media.ZIP if media is Media.XLSX and not has_sheets(data) else media


def open_file(media: Media, data: bytes, content_type: str, limits: Limits) -> Container | None:
    """As `open_data`; None for what is not what it seems, which must not go on unless it is sealed.

    Raises BodyTooDeep, BodyTooLarge, DecompressionLimit for tables, cards and JSON.
    """
    try:
        return open_data(media, data, content_type, limits)
    except (BodyMalformed, BodyUnreadable):
        return None
    except BodyFault:
        if media in _LIMITED:
            raise
        return None


def open_data(media: Media, data: bytes, content_type: str, limits: Limits, depth: int = 0) -> Container | None:
    """The leaves of a file, labelled as a table is; None for pictures and unknown binaries. depth: archives around it.

    Raises BodyMalformed, BodyTooDeep, BodyTooLarge, BodyUnreadable, DecompressionLimit.
    """
    if media in UNOPENED:
        return None
    charset = charset_of(content_type, media, data)
    match media:
        case Media.CSV:
            return open_csv(data, charset, limits)
        case Media.XLSX:
            return open_xlsx(data, limits)
        case Media.VCARD:
            return open_vcard(data, charset, limits)
        case Media.JSON:
            return _open_json(data, limits)
        case Media.XML:
            return _open_xml(data, content_type, charset, limits)
        case Media.ZIP:
            if depth >= _MOST_NESTED:
                raise BodyTooDeep("zip-depth")
            return open_archive(data, limits, partial(_open_member, depth + 1))
        case Media.XLS:
            raise BodyUnreadable("xls")
        case Media.HTML:
            return _open_markup(data, charset, limits)
        case _:
            return _open_note(data, charset, limits)


def _open_member(depth: int, name: str, data: bytes, limits: Limits, office: bool) -> Container | None:
    if office:
        return _texts(open_xml(data, "", replace(limits, leaves=limits.leaves * _MARKUP_LEAVES)))
    return open_data(kind_of(sniff_upload("", name, data), data), data, "", limits, depth)


def _open_note(data: bytes, charset: str, limits: Limits) -> TextDocument:
    if b"\0" in data and not charset.startswith(("utf-16", "utf-32")):
        raise BodyUnreadable("text-binary")  # in a charset that nobody named
    return open_text(data, charset, limits)


def _open_markup(data: bytes, charset: str, limits: Limits) -> TextDocument:
    """A page as the text it is written in; tables, and values that only a browser would put together, are refused."""
    document = _open_note(data, charset, limits)
    raw = document.leaves[0].text
    if _TABLE.search(raw):
        raise BodyUnreadable("html-table")
    plain = _TAG.sub("\n", _INLINE.sub("", raw))
    if _values((html.unescape(plain), unquote(html.unescape(raw)))) - _values((raw,)):
        raise BodyUnreadable("html-hidden")
    return document


def _values(texts: Iterable[str]) -> set[str]:
    return {text[one.start : one.end] for text in texts for one in recognise.find(text)}


def _open_xml(data: bytes, content_type: str, charset: str, limits: Limits) -> Container:
    if _SVG.search(data[:4096]) is None:
        document = open_xml(data, content_type if "charset" in content_type else "", limits)
        return Chosen(document, _labelled(document.leaves))
    try:
        return _texts(open_xml(data, "", replace(limits, leaves=limits.leaves * _MARKUP_LEAVES)))
    except (BodyMalformed, BodyUnreadable):  # a picture all the same, as drawing programs write it
        return _open_markup(data, charset, limits)


def _open_json(data: bytes, limits: Limits) -> Container:
    document: JsonDocument | JsonLines
    try:
        document = open_json(data, limits)
    except BodyMalformed:
        document = open_lines(data, limits)
    if any(recognise.whole(step) for leaf in (*document.leaves, *document.blanks) for step in set(leaf.path)):
        raise BodyUnreadable("json-names")
    if any(_in_row(leaf) for leaf in document.leaves):
        raise BodyUnreadable("json-rows")  # their labels stand in another row
    return Chosen(document, _labelled(document.leaves))


def _in_row(leaf: Leaf) -> bool:
    """Whether it is a text in a list of lists."""
    return not leaf.bare and len(leaf.path) > 1 and leaf.path[-1].isdecimal() and leaf.path[-2].isdecimal()


def _labelled(leaves: Iterable[Leaf]) -> list[Leaf]:
    """Leaves of a tree under the nearest name that says what they are, as cells stand under the label of a column."""
    out = []
    for leaf in leaves:
        names = [step.lstrip("@") for step in leaf.path if not step.isdecimal()]
        generic = len(names) > 1 and names[-1].lower() in _GENERIC and not leaf.bare
        leaf.path = (names[-2 if generic else -1], *leaf.path) if names else ()
        out.append(leaf)
    return out


def _texts(document: XmlRequest) -> Chosen:
    """What people read of a document or a drawing: its texts and the addresses that its links write to."""
    chosen = [leaf for leaf in document.leaves if leaf.text.strip() and _is_read(leaf)]
    paragraphs: dict[tuple[str, ...], list[str]] = {}
    for leaf in chosen:
        at = max((index for index, step in enumerate(leaf.path) if step in ("p", "text")), default=len(leaf.path) - 1)
        end = at + 2 if leaf.path[at + 1 : at + 2] and leaf.path[at + 1].isdecimal() else at + 1
        paragraphs.setdefault(leaf.path[:end], []).append(leaf.text)
    for parts in paragraphs.values():
        if len(parts) > 1 and _values(("".join(parts),)) - _values(parts):
            raise BodyUnreadable("text-runs")  # a value that is written in pieces
    for leaf in chosen:
        leaf.path = ()
    return Chosen(document, chosen)


def _is_read(leaf: Leaf) -> bool:
    return not leaf.path[-2 if leaf.path[-1].isdecimal() and len(leaf.path) > 1 else -1].startswith("@") or (
        leaf.text.lower().startswith(_LINK)
    )
