"""What the fuzzing drill and its short form feed: every reader of bodies, addresses and queries, with what has to hold.

A target takes bytes. It may end in one of the declared faults, in nothing else. What holds besides: a request that
nobody changes keeps its bytes; where its personal leaves are replaced, none of them can be read from what goes to the
CRM; a page without surrogates keeps its bytes; no output is out of proportion.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import httptools

from gateway.block import Block
from gateway.body import csv, form, json, json_lines, multipart, multipart_http, text, vcard, xlsx, xml_request
from gateway.body.coding import decode_all
from gateway.body.enclosed import find_enclosed
from gateway.body.fault import BodyFault
from gateway.body.header import render_disposition
from gateway.body.leaf import Container
from gateway.body.limits import Limits
from gateway.body.media import Media, charset_of, sniff, sniff_upload
from gateway.body.page import Page, open_page
from gateway.body.path import open_path
from gateway.body.xls import XlsPage
from gateway.headers import answer_fields
from gateway.refusal import Refusal
from policies.condition import Asked, Unreadable
from policies.decision import Form
from policies.matcher import plain_path
from policies.query.language import parse
from policies.query.parsed import QueryInvalid
from policies.soap import called_in
from policies.xml_document import XmlInvalid
from privacy.render import Shown
from tests.drills import fuzz_sheets

CLEAR = "13800138000"
NAME, PHONE, SECRET = "Zqabcdefghijklmn", "+88871234567890", "SECRETVALUE"
LIMITS = Limits(
    body=1 << 20, inflated=4 << 20, ratio_floor=1 << 18, leaves=5_000, parts=50, upload=1 << 20, entries=50, depth=32
)
_FAULTS = (BodyFault, Refusal, XmlInvalid, QueryInvalid, Unreadable)
_SURROGATES = re.compile(rb"(?P<name>Zqabcdefghijklmn)|(?P<phone>\+88871234567890)")
_MOST_TIMES, _MOST_MORE = 40, 200_000


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a surrogate stands."""

    start: int
    end: int
    canonical: str
    upper: bool = False


class Finder:
    """Finds the two surrogates of this drill."""

    def find(self, data: bytes) -> list[Hit]:
        """In the order in which they stand."""
        return [Hit(*one.span(), NAME if one["name"] else PHONE) for one in _SURROGATES.finditer(data)]


def hide(text: str) -> list[tuple[int, int, str]]:
    """Recognises the one clear value of this drill."""
    return [(one.start(), one.end(), "138****8000") for one in re.finditer(CLEAR, text)]


def _require_small(data: bytes, made: bytes) -> None:
    assert len(made) <= len(data) * _MOST_TIMES + _MOST_MORE, "out of proportion"


def request(
    opener: Callable[[bytes], Container], *, exact: bool = True, strict: bool = True
) -> Callable[[bytes], None]:
    """The target of a request's opener.

    exact: whether a body that nobody changes keeps its bytes. strict: whether its format is so strict that a replaced
    value changes nothing else; what is quoted wrongly in a table or card is quoted rightly afterwards.
    """

    def run(data: bytes) -> None:
        document = opener(data)
        untouched = document.encode()
        assert not exact or untouched == data, "bytes changed"
        _require_small(data, untouched)
        changes = [leaf for leaf in document.leaves if CLEAR in leaf.text]
        for leaf in changes:
            leaf.new = leaf.text.replace(CLEAR, NAME)
        if not changes:
            return
        sent = document.encode()
        _require_small(data, sent)
        again = opener(sent)
        assert not any(CLEAR in leaf.text for leaf in again.leaves), "a value is still there"
        assert not strict or len(again.leaves) == len(document.leaves), "another document"

    return run


def page(media: Media) -> Callable[[bytes], None]:
    """The target of an answer's page."""
    return opened_page(lambda data: open_page(media, data, charset_of(None, media, data), LIMITS))


def opened_page(opener: Callable[[bytes], Page]) -> Callable[[bytes], None]:
    """The target of what opens a page."""

    def run(data: bytes) -> None:
        finder = Finder()
        opened = opener(data)
        found = opened.surrogates(finder)
        if not found and opened.media_type is None:
            assert opened.render(lambda _: None, None) == data, "bytes changed"
        hidden = {one: Shown(Form.HIDDEN, one, "\u2022" * 6) for one in found}
        for show, net in ((hidden.get, None), (hidden.get, hide), (lambda _: None, hide)):
            again = opener(data)
            again.surrogates(finder)
            _require_small(data, again.render(show, net))

    return run


def _multipart(data: bytes) -> None:
    async def run() -> None:
        upload = await multipart.read(_once(data), "multipart/form-data; boundary=limit", LIMITS, entropy=lambda _: "e")
        try:
            for leaf in upload.fields.leaves:
                leaf.new = leaf.text.replace(CLEAR, NAME)
            spool = await upload.assemble()
        except BaseException:
            await upload.close()
            raise
        sent = b"".join([chunk async for chunk in spool.chunks()])
        assert len(sent) == spool.length
        await spool.close()
        again = await multipart.read(_once(sent), upload.content_type, LIMITS, entropy=lambda _: "f")
        assert [leaf.path for leaf in again.fields.leaves] == [leaf.path for leaf in upload.fields.leaves]
        assert not any(CLEAR in leaf.text for leaf in again.fields.leaves), "a value is still there"
        await again.close()

    asyncio.run(run())


async def _once(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 97):
        yield data[at : at + 97]


def _batch(data: bytes) -> None:
    found = multipart_http.read("multipart/mixed; boundary=limit", data)
    content_type, sent = multipart_http.write(found, lambda _: "e")
    again = multipart_http.read(content_type, sent)
    assert [one.body.rstrip() for one in again] == [one.body.rstrip() for one in found]  # parts lose blank lines


def _conditions(data: bytes) -> None:
    for content_type in ("application/json", "application/x-ndjson", "application/x-www-form-urlencoded", "text/xml"):
        asked = Asked({}, data.decode("latin-1"), data, content_type)
        for read in (_document, _xml, _field, _parameter):
            try:
                read(asked)
            except Unreadable:
                continue
    called_in(Asked({}, "", data, "text/xml").xml)


def _document(asked: Asked) -> object:
    return asked.document


def _xml(asked: Asked) -> object:
    return asked.xml


def _field(asked: Asked) -> str | None:
    return asked.field("a")


def _parameter(asked: Asked) -> str | None:
    return asked.parameter("a")


def _queries(data: bytes) -> None:
    query = data.decode("utf-8", "replace")
    for language in ("soql", "coql", "xoql", "odata", "zoho"):
        for option in (
            ("$filter", "$orderby", "$expand", "$apply", "criteria") if language in ("odata", "zoho") else ("q",)
        ):
            try:
                parse(language, query, option=option, table="Contact")
            except QueryInvalid:
                continue


def _addresses(data: bytes) -> None:
    path = "/" + data.decode("latin-1")
    plain_path(path)
    try:
        assert open_path(path, [("contacts(email='{}')", "{}")]).encode().decode("latin-1") == path
    except BodyFault:
        plain_path(path.swapcase())
    parsed = form.open_query(data.decode("latin-1"), LIMITS)
    assert parsed.encode() == data


def _sniffing(data: bytes) -> None:
    head, _, body = data.partition(b"\n")
    declared = head.decode("latin-1")
    sniff(declared, declared, body)
    media = sniff_upload(declared, declared, body)
    charset_of(declared, media, body)
    render_disposition(declared, Finder().find(head), {NAME: Shown(Form.CLEAR, SECRET, SECRET)}.get)
    list(find_enclosed(body))


def _codings(data: bytes) -> None:
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, br"):
        try:
            assert len(decode_all(coding, data, LIMITS)) <= LIMITS.inflated
        except BodyFault:
            continue


class _Answers:
    """What httptools tells of an answer."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""
        self.fields.append((name.lower(), value))


def _heads(data: bytes) -> None:
    for parser in (httptools.HttpRequestParser, httptools.HttpResponseParser):
        told = _Answers()
        try:
            parser(told).feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            continue
        try:
            Block(told.fields)
        except Refusal:
            continue
        answer_fields(told.fields)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "request.json": request(lambda data: json.open_json(data, LIMITS)),
    "request.lines": request(lambda data: json_lines.open_lines(data, LIMITS)),
    "request.form": request(lambda data: form.open_form(data, "utf-8", LIMITS)),
    "request.xml": request(lambda data: xml_request.open_xml(data, "text/xml", LIMITS), exact=False),
    "request.csv": request(lambda data: csv.open_csv(data, "", LIMITS), strict=False),
    "request.vcard": request(lambda data: vcard.open_vcard(data, "", LIMITS), strict=False),
    "request.text": request(lambda data: text.open_text(data, "", LIMITS)),
    "request.xlsx": request(lambda data: xlsx.open_xlsx(data, LIMITS)),
    "request.multipart": _multipart,
    "request.batch": _batch,
    "request.address": _addresses,
    "request.conditions": _conditions,
    "request.queries": _queries,
    "request.sniffing": _sniffing,
    "codings": _codings,
    "heads": _heads,
    "page.json": page(Media.JSON),
    "page.html": page(Media.HTML),
    "page.script": page(Media.SCRIPT),
    "page.text": page(Media.TEXT),
    "page.csv": page(Media.CSV),
    "page.xml": page(Media.XML),
    "page.vcard": page(Media.VCARD),
    "page.xls": page(Media.XLS),
    "page.sheets": opened_page(lambda data: XlsPage(data, LIMITS, fuzz_sheets.read_sheets)),
    "page.xlsx": page(Media.XLSX),
    "page.zip": page(Media.ZIP),
}


def run(name: str, data: bytes) -> bool:
    """One example; True where it was read, False where it was refused. Raises whatever should not happen."""
    try:
        TARGETS[name](data)
    except _FAULTS:
        return False
    return True
