"""One mail, opened: which surrogates stand in it, and the same mail with shown values in their place.

Everything nobody has to touch stays as it came. A changed part is written in base64, so that no value can end a part or
a line. What cannot be opened (signed and encrypted parts, pictures, archives, PDF, other charsets than those we know)
keeps its surrogates, which is never more than the CRM itself knows.
"""

import base64
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from email import policy
from email.errors import MessageError
from email.generator import BytesGenerator
from email.message import Message
from email.parser import BytesParser
from typing import TypeAlias

from gateway.body import charset as charsets
from gateway.body import media
from gateway.body.fault import BodyFault
from gateway.body.html import walk_html
from gateway.body.json import walk_json
from gateway.body.layer import Finder, Net, Show, Spot
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.page import Page, TextualPage, open_page
from gateway.egress import header
from policies.decision import Form
from privacy.render import Context, Shown, encode

PARTS = 500
DEPTH = 20
SEALED = frozenset({"multipart/signed", "multipart/encrypted"})
CLOSED = frozenset({Media.IMAGE, Media.OPAQUE, Media.ZIP, Media.XLS, Media.MULTIPART, Media.CSS, Media.SCRIPT})
# Nobody but the CRM may know of blind copies; a signature over what we change would be wrong.
DROPPED = frozenset({"bcc", "resent-bcc", "dkim-signature", "domainkey-signature", "return-path"})
_LINK = re.compile(rb"(?:[a-z][a-z0-9+.-]{1,20}:)//[^\s<>\"']*", re.IGNORECASE)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_FILE_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\"\\/;<>|:*?%]")
_POLICY = policy.compat32.clone(linesep="\r\n")

AnyMessage: TypeAlias = "Message[str, str]"
Fields = list[tuple[str, str]]


Opener = Callable[[Media, bytes, str, Limits], Page]


def open_whole(kind: Media, data: bytes, charset: str, limits: Limits) -> Page:
    """A page of which every text is looked into; `open_page` passes over those that no recogniser could find in."""
    charset = charset or media.charset_of(None, kind, data)
    if kind is Media.HTML:
        return TextualPage(data, charset, walk_html)
    return TextualPage(data, charset, walk_json) if kind is Media.JSON else open_page(kind, data, charset, limits)


class LetterUnreadable(Exception):  # noqa: N818 - names what it is
    """The mail cannot be read for certain (too many parts, too deep, broken); it must not go on."""

    permanent = True


class Letter:
    """One mail; rendering changes it, so that each recipient needs one of his own."""

    def __init__(
        self, raw: bytes, limits: Limits, sealed: Collection[str] = SEALED, opener: Opener = open_page
    ) -> None:
        """sealed: types of parts that are not looked into, because a change would make them worthless.

        opener: `open_page`, or `open_whole` where clear values are sought that no recogniser knows (names).
        """
        self._limits, self._opener = limits, opener
        try:
            self._message: AnyMessage = BytesParser(policy=_POLICY).parsebytes(raw)
            self._parts = list(_parts(self._message, sealed))
        except (MessageError, RecursionError, ValueError) as fault:
            raise LetterUnreadable("not a mail") from fault
        self._pages: list[tuple[AnyMessage, Page, bytes, bool]] = []
        for part in self._parts:
            opened = self._open(part)
            if opened is not None:
                self._pages.append(opened)

    @property
    def message_id(self) -> str:
        """The Message-ID as it stands, "" without one."""
        return str(self._message.get("message-id", "")).strip()

    @property
    def hops(self) -> int:
        """How many servers have handed it on."""
        return len(self._message.get_all("received", []))

    def content(self) -> Iterator[bytes]:
        """What makes it this mail and no other, without dates, ids and boundaries that every attempt has anew."""
        for name in ("subject", "from", "to"):
            yield str(self._message.get(name, "")).encode("utf-8", "surrogateescape")
        for part in self._parts:
            if not part.is_multipart():
                yield part.get_content_type().encode()
                yield _payload(part)

    def surrogates(self, scanner: Finder) -> set[str]:
        """Canonical surrogates anywhere it can be rendered."""
        found: set[str] = set()

        def look(text: str) -> str:
            found.update(hit.canonical for hit in scanner.find(text.encode("utf-8", "surrogateescape")))
            return text

        for fields in (self._fields_of(part) for part in self._parts):
            for name, value in fields:
                _changed(name, value, look, look, look, None)
        for part in self._parts:
            look(_file_name(part))
        for _, page, _, _ in self._pages:
            found |= page.surrogates(scanner)
        return found

    def render(self, scanner: Finder, show: Show) -> None:
        """Put shown values in the place of surrogates."""

        def text(given: str) -> str:
            return _spliced(given, scanner, show, None)

        def address(given: str) -> str:
            return _spliced(given, scanner, lambda one: _whole(show(one)), None)

        self._change(text, text, address, None)
        self._change_bodies(scanner, show, None)

    def replace(
        self, scanner: Finder, net: Net, phrase: header.Change, address: header.Change, other: header.Change
    ) -> None:
        """Put what `net` finds in the place of clear values; surrogates stay.

        phrase, address: display names and addresses of address fields; other: the raw text of all other fields.
        """

        def text(given: str) -> str:
            return _spliced(given, scanner, lambda _: None, net)

        self._change(text, phrase, address, other)
        self._change_bodies(scanner, lambda _: None, net)

    def _change(
        self, text: header.Change, phrase: header.Change, address: header.Change, other: header.Change | None
    ) -> None:
        for part in self._parts:
            fields = self._fields_of(part)
            self._set_fields(part, [(name, _changed(name, v, text, phrase, address, other)) for name, v in fields])
            name = _file_name(part)
            if name and (new := text(name)) != name:
                _set_file_name(part, new)

    def _change_bodies(self, scanner: Finder, show: Show, net: Net | None) -> None:
        for part, page, before, inline in self._pages:
            page.surrogates(scanner)
            after = page.render(show, net)
            if after != before:
                _set_body(part, after, inline=inline)

    def change_fields(self, change: Callable[[Fields], Fields]) -> None:
        """Change the fields of the mail itself; names and raw values in order."""
        self._set_fields(self._message, change(self._fields_of(self._message)))

    def encode(self) -> bytes:
        """The mail as it goes out; raises LetterUnreadable where it cannot be written."""
        out = io.BytesIO()
        try:
            BytesGenerator(out, mangle_from_=False, maxheaderlen=0, policy=_POLICY).flatten(self._message)
        except (MessageError, UnicodeError, ValueError, RecursionError, KeyError, AttributeError, TypeError) as fault:
            raise LetterUnreadable("a mail that cannot be written") from fault
        return out.getvalue()

    def _fields_of(self, part: AnyMessage) -> Fields:
        return [(name, str(value)) for name, value in part.raw_items()]

    def _set_fields(self, part: AnyMessage, fields: Fields) -> None:
        if fields == self._fields_of(part):
            return
        for name in {name.lower() for name, _ in fields} | {name.lower() for name in part.keys()}:  # noqa: SIM118
            del part[name]
        for name, value in fields:
            part[name] = value

    def _open(self, part: AnyMessage) -> tuple[AnyMessage, Page, bytes, bool] | None:
        """The page of a leaf, None where it keeps what it has; inline: read by people as it stands."""
        if part.is_multipart():
            return None
        data = _payload(part)
        declared = part.get_content_type()
        attached = part.get_content_disposition() == "attachment" or bool(_file_name(part))
        given = str(part.get("content-type", "text/plain"))
        kind = media.sniff(given, _file_name(part) or None, data)
        if not attached and declared in ("text/plain", "text/html"):
            kind = Media.HTML if declared == "text/html" else Media.TEXT
        if kind in CLOSED or not data:
            return None
        charset = media.charset_of(given, kind, data)
        inline = not attached and kind in (Media.TEXT, Media.HTML)
        try:
            if inline:  # what the charset lacks must not become a question mark: it is sent in UTF-8 when it changes
                data, charset = charsets.to_utf8(data, charsets.codec_of(charset)), "utf-8"
            return part, self._opener(kind, data, charset, self._limits), data, inline
        except BodyFault:
            return None


class OutsideLinks:
    """A scanner that leaves alone what stands in the address of a page or picture, in any part of a mail.

    Mail programs make links of such addresses and fetch some by themselves; a value in one would go to its server.
    """

    def __init__(self, scanner: Finder) -> None:
        self._scanner = scanner

    def find(self, data: bytes) -> Sequence[Spot]:
        """Surrogates outside of links."""
        hits = self._scanner.find(data)
        if not hits or b"://" not in data:
            return hits
        links = [match.span() for match in _LINK.finditer(data)]
        return [hit for hit in hits if not any(start <= hit.start < end for start, end in links)]


def _parts(message: AnyMessage, sealed: Collection[str]) -> Iterator[AnyMessage]:
    """The mail and every part of it that may be looked into, outermost first."""
    count = 0
    waiting: list[tuple[AnyMessage, int]] = [(message, 0)]
    while waiting:
        part, level = waiting.pop()
        count += 1
        if count > PARTS or level > DEPTH:
            raise LetterUnreadable("too many parts")
        yield part
        if part.get_content_type() in sealed or not part.is_multipart():
            continue
        inner = part.get_payload()
        if isinstance(inner, Sequence) and not isinstance(inner, str):
            waiting += [(one, level + 1) for one in reversed(inner) if isinstance(one, Message)]


def _payload(part: AnyMessage) -> bytes:
    if part.is_multipart():
        return b""
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _changed(
    name: str,
    value: str,
    text: header.Change,
    phrase: header.Change,
    address: header.Change,
    other: header.Change | None,
) -> str:
    key = name.lower()
    if key in header.TEXT_FIELDS:
        return header.change_text(value, name, text)
    if key in header.ADDRESS_FIELDS:
        changed = header.change_addresses(value, phrase, address)
        if other is None or header.addresses_of(value) is not None:
            return changed
    return value if other is None or key in header.STRUCTURAL else other(value)


def _whole(shown: Shown | None) -> Shown | None:
    """In an address a mask would be the address of somebody else: only a clear one takes the place of a surrogate."""
    return shown if shown is not None and shown.form is Form.CLEAR else None


def _spliced(given: str, scanner: Finder, show: Show, net: Net | None) -> str:
    data = given.encode("utf-8", "surrogateescape")
    out, at = [], 0

    def plain(start: int, end: int) -> str:
        part = data[start:end].decode("utf-8", "surrogateescape")
        for first, last, new in sorted(net(part) if net is not None else [], reverse=True):
            part = part[:first] + new + part[last:]
        return part

    for hit in scanner.find(data):
        shown: Shown | None = show(hit.canonical)
        if shown is not None:
            out += [plain(at, hit.start), encode(shown.text, Context.HEADER)]
            at = hit.end
    return "".join([*out, plain(at, len(data))])


def _file_name(part: AnyMessage) -> str:
    try:
        name = part.get_filename("") or ""
        return header.decoded(header.unfolded(name))
    except (ValueError, LookupError, TypeError):
        return ""


def _set_file_name(part: AnyMessage, name: str) -> None:
    safe = _FILE_UNSAFE.sub("_", name)
    charset = "" if safe.isascii() else "utf-8"
    for field, parameter in (("Content-Disposition", "filename"), ("Content-Type", "name")):
        if part.get_param(parameter, header=field) is not None:
            part.set_param(parameter, safe, header=field, charset=charset or None, replace=True)


def _set_body(part: AnyMessage, data: bytes, *, inline: bool) -> None:
    if inline and "content-type" in part:
        part.set_param("charset", "utf-8", replace=True)
    elif inline:
        part["Content-Type"] = 'text/plain; charset="utf-8"'
    if "mime-version" not in part:
        part["MIME-Version"] = "1.0"  # without it a mail program need not decode what we write (RFC 2045, section 4)
    if part.get_content_maintype() == "text":
        data = _LINE_END.sub(b"\r\n", data)
    if "content-transfer-encoding" in part:
        part.replace_header("content-transfer-encoding", "base64")
    else:
        part["Content-Transfer-Encoding"] = "base64"
    part.set_payload(base64.encodebytes(data).decode("ascii").replace("\n", "\r\n"))
