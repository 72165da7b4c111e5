"""Which container a body is: magic bytes first, then the declared type, then a look at the text.

MIME types of CRMs lie (XLSX sent as octet-stream, JSON as text/html), so the declared type only decides where the bytes
leave a choice. The answer is always the reading in which a rendered value does the least harm.
"""

import re
from enum import StrEnum
from functools import lru_cache

from policies.condition import JSON_LINES as JSON_LINES


class Media(StrEnum):
    """A container that the body package can look into, or a reason not to (IMAGE, CSS, OPAQUE)."""

    HTML = "html"
    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"
    XLS = "xls"
    XML = "xml"
    VCARD = "vcard"
    TEXT = "text"
    FORM = "form"
    MULTIPART = "multipart"
    ZIP = "zip"
    IMAGE = "image"
    SCRIPT = "script"
    CSS = "css"
    OPAQUE = "opaque"


SNIFF_BYTES = 4096
_DECLARED = {
    "text/html": Media.HTML,
    "application/xhtml+xml": Media.XML,
    "application/json": Media.JSON,
    "text/json": Media.JSON,
    **dict.fromkeys(JSON_LINES, Media.JSON),
    "text/csv": Media.CSV,
    "application/csv": Media.CSV,
    "text/x-csv": Media.CSV,
    "text/comma-separated-values": Media.CSV,
    "text/tab-separated-values": Media.CSV,
    "application/xml": Media.XML,
    "text/xml": Media.XML,
    "image/svg+xml": Media.XML,
    "text/vcard": Media.VCARD,
    "text/x-vcard": Media.VCARD,
    "text/directory": Media.VCARD,
    "text/calendar": Media.VCARD,
    "application/x-www-form-urlencoded": Media.FORM,
    "text/javascript": Media.SCRIPT,
    "application/javascript": Media.SCRIPT,
    "application/x-javascript": Media.SCRIPT,
    "application/ecmascript": Media.SCRIPT,
    "text/css": Media.CSS,
    "text/plain": Media.TEXT,
    "text/markdown": Media.TEXT,
}
# Declared as spreadsheets by CRMs that in fact send CSV, TSV or an HTML table.
_SPREADSHEET = frozenset(
    {
        "application/vnd.ms-excel",
        "application/excel",
        "application/msexcel",
        "application/x-excel",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }
)
_NO_TABLES = ("multipart/", "image/", "audio/", "video/", "font/")
_TEXT_STARTS = (b"{", b"[", b"<")
_JSON_STARTS = (b"{", b"[")
_IMAGE_MAGIC = (b"\x89PNG\r\n", b"GIF8", b"\xff\xd8\xff", b"BM", b"\0\0\1\0", b"II*\0", b"MM\0*")
_BINARY_MAGIC = (
    b"%PDF-",
    b"\x1f\x8b",
    b"Rar!",
    b"7z\xbc\xaf",
    b"\x7fELF",
    b"OggS",
    b"ID3",
    b"wOFF",
    b"wOF2",
    b"\0\1\0\0",
)
_HTML_START = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|table|div|span|p|script|style|form|ul|tr|td|a|b|br|h[1-6]|!--)[\s/>]?", re.I
)
_TAG = re.compile(rb"<[A-Za-z!/?]")
_XML_START = re.compile(rb"<\?xml[\s?]", re.I)
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.+-]{1,40})""", re.I)
_XML_CHARSET = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_:.+-]{1,40})["']""", re.I)
_CHARSET = re.compile(r""";\s*charset\s*=\s*(?:"([^"]{1,40})"|'([^']{1,40})'|([^\s;"']{1,40}))""", re.I)
_FILENAME = re.compile(r"""filename\*?\s*=\s*(?:"([^"]*)"|([^;\s]*))""", re.I)
_CLAIMED = frozenset({Media.CSV, Media.JSON, Media.VCARD, Media.XML, Media.HTML, Media.TEXT})
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_SUFFIX = {
    "csv": Media.CSV,
    "tsv": Media.CSV,
    "json": Media.JSON,
    "vcf": Media.VCARD,
    "ics": Media.VCARD,
    "xml": Media.XML,
    "svg": Media.XML,
    "html": Media.HTML,
    "htm": Media.HTML,
    "js": Media.SCRIPT,
    "css": Media.CSS,
    "txt": Media.TEXT,
}


@lru_cache(maxsize=256)
def essence(content_type: str) -> str:
    """Type and subtype in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_xml(content_type: str) -> bool:
    """Whether a request body calls itself XML, pictures apart; frameworks go by that, whatever its first bytes are."""
    kind = essence(content_type)
    return kind in ("text/xml", "application/xml") or (kind.endswith("+xml") and not kind.startswith("image/"))


def sniff(content_type: str | None, disposition: str | None, head: bytes) -> Media:
    """The container of a body; `head` is at least its first 4096 bytes (for ZIP containers better all of it)."""
    declared = essence(content_type or "")
    if declared == "application/json" and head[:1] in _JSON_STARTS and b"\0" not in head[:SNIFF_BYTES]:
        return Media.JSON  # what the rest would say of most answers of programs
    # No binary format and no byte order mark begins like JSON or markup: most answers do.
    binary = _by_magic(head) if head[:1] not in _TEXT_STARTS else None
    if binary is not None:
        return binary
    if declared.startswith("multipart/"):
        return Media.MULTIPART
    known = _DECLARED.get(declared)
    if known is None and declared.endswith("+json"):
        known = Media.JSON
    if known is None and declared.endswith("+xml"):
        known = Media.XML
    if known is None and declared.startswith(("image/", "audio/", "video/", "font/")):
        return Media.IMAGE
    return _by_text(known, declared, suffix(disposition), head)


def sniff_upload(content_type: str | None, disposition: str | None, head: bytes) -> Media:
    """As `sniff`, for what comes in: what calls itself a table, a card or a text is one, whatever it begins with.

    A CRM goes by the name, so `BMI,name` is no bitmap and one NUL does not make a table a binary nobody looks into.
    """
    media = sniff(content_type, disposition, head)
    if media not in (Media.IMAGE, Media.OPAQUE):
        return media
    declared, ending = essence(content_type or ""), suffix(disposition)
    by_type = _DECLARED.get(declared) or (Media.JSON if declared.endswith("+json") else None)
    named = by_type, _SUFFIX.get(ending)
    claimed = next((one for one in named if one in _CLAIMED), None)
    if claimed is None and (declared in _SPREADSHEET or ending in ("xls", "xlsx")):
        return Media.XLS
    return claimed or media


def may_be_table(content_type: str) -> bool:
    """Whether `sniff` could call a body of this declared type CSV."""
    declared = essence(content_type)
    known = _DECLARED.get(declared)
    elsewhere = declared.endswith(("+json", "+xml")) or declared.startswith(_NO_TABLES)
    return known in (Media.CSV, Media.TEXT) or (known is None and not elsewhere)


def suffix(disposition: str | None) -> str:
    """File suffix named in a Content-Disposition value (or in a bare file name), lower case, without the dot."""
    if not disposition:
        return ""
    match = _FILENAME.search(disposition)
    name = (match.group(1) or match.group(2) or "") if match else disposition
    return name.rpartition(".")[2].lower() if "." in name else ""


def _by_magic(head: bytes) -> Media | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        office = b"[Content_Types].xml" in head or b"xl/" in head or b"mimetypeapplication/vnd.oasis" in head
        return Media.XLSX if office else Media.ZIP
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") or head[:4] in (b"\x09\x08\x10\x00", b"\x09\x08\x08\x00"):
        return Media.XLS
    if head.startswith(_IMAGE_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return Media.IMAGE
    if head.startswith(_BINARY_MAGIC):
        return Media.OPAQUE
    return None


def _by_text(known: Media | None, declared: str, ending: str, head: bytes) -> Media:
    start = _printable(head)
    if start is None:
        return Media.IMAGE if known is Media.IMAGE else Media.OPAQUE
    stripped = start.lstrip(b" \t\r\n\0")
    if known in (Media.HTML, Media.TEXT, None) and declared not in _SPREADSHEET and _looks_json(stripped):
        return Media.JSON
    if stripped[:11].upper() == b"BEGIN:VCARD":
        return Media.VCARD
    if known is Media.TEXT and ending in _SUFFIX:
        known = _SUFFIX[ending]
    if known in (Media.TEXT, Media.CSV, Media.VCARD) or known is None:
        if _XML_START.match(stripped):
            return Media.XML
        if _HTML_START.match(stripped):
            return Media.HTML
    if known is not None:
        return known
    if ending in _SUFFIX:
        return _SUFFIX[ending]
    if declared in _SPREADSHEET or ending in ("xls", "xlsx"):
        return Media.CSV
    return Media.HTML if not declared and _TAG.search(stripped) else Media.TEXT


def _printable(head: bytes) -> bytes | None:
    """The first bytes as ASCII-compatible text without a byte order mark; None if they are binary."""
    for bom, name in _BOMS if head[:1] not in _TEXT_STARTS else ():
        if head.startswith(bom):
            if name == "utf-8":
                return head[3:]
            return head[2:].decode(name, "replace").encode()
    sample = head[:SNIFF_BYTES]
    return None if b"\0" in sample else sample


def _looks_json(start: bytes) -> bool:
    return start[:1] in (b"{", b"[") and re.match(rb"""[\[{]\s*(?:["\[{\]}0-9-]|true|false|null)""", start) is not None


def charset_of(content_type: str | None, media: Media, body: bytes) -> str:
    """The charset a client reads the body with: byte order mark, header, then what the document declares; else ""."""
    for bom, name in _BOMS if body[:1] not in _TEXT_STARTS else ():
        if body.startswith(bom):
            return name
    if media is Media.JSON:
        return "utf-8"  # RFC 8259, section 8.1
    match = _CHARSET.search(content_type or "")
    if match:
        return next(group for group in match.groups() if group).strip().lower()
    pattern = {Media.HTML: _META_CHARSET, Media.XML: _XML_CHARSET}.get(media)
    found = pattern.search(body, 0, SNIFF_BYTES) if pattern else None
    return found.group(1).decode("ascii").lower() if found else ""
