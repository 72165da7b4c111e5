"""vCard and iCalendar in both directions: lines are unfolded first, and folded again where they were touched.

RFC 6350 section 3.2 and RFC 5545 section 3.1: a line break followed by a space or tab is no line break. Values of
vCard 2.1 in quoted-printable are decoded for reading and written back so. Untouched lines keep their bytes.
"""

import quopri
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.body.charset import codec_of, fitted, from_utf8, to_utf8
from gateway.body.fault import BodyTooLarge, BodyUnreadable
from gateway.body.layer import Edit, Finder, Found, Layer, Net, Show, Spot, Walk, splice, unescaped
from gateway.body.leaf import Leaf, changed
from gateway.body.limits import Limits
from gateway.body.nested import walk_inner
from privacy.render import Context, encode

FOLD_BYTES = 75  # RFC 6350, section 3.2: octets of a line without its break
_LINE = re.compile(rb"[^\r\n]*+(?:(?:\r\n|\n|\r)[ \t][^\r\n]*+)*(\r\n|\n|\r|\Z)")
_FOLD = re.compile(rb"(?:\r\n|\n|\r)[ \t]")
_PHYSICAL = re.compile(rb"[^\r\n]*+(?:\r\n|\n|\r|\Z)")
_ESCAPE = re.compile(rb"\\[\\,;:nN]")
_HEAD = re.compile(rb'((?:[A-Za-z0-9-]+\.)?([A-Za-z0-9-]+)((?:;(?:[^":;]++|"[^"]*+")*)*)):')
_QUOTED_PRINTABLE = re.compile(rb"(?:^|;)(?:ENCODING=)?QUOTED-PRINTABLE(?:;|$)", re.IGNORECASE)
_BASE64 = re.compile(rb"(?:^|;)(?:ENCODING=)?(?:BASE64|B)(?:;|$)", re.IGNORECASE)
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/=]+")
_SCHEME = re.compile(rb"(?:tel|mailto|sms):", re.IGNORECASE)
_PARAMETER = re.compile(rb';([A-Za-z0-9-]+)=("[^"]*"|[^;:"]*)')
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_CHARSET = re.compile(rb";CHARSET=\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_ENDING = re.compile(r"[\x00-\x1f\x7f\";:,]")
_NAMING = frozenset({"CN", "LABEL", "EMAIL", "SENT-BY", "DELEGATED-FROM", "DELEGATED-TO", "MEMBER"})
_TECHNICAL = frozenset({"BEGIN", "END", "VERSION", "UID", "REV", "PRODID"})
# Properties of a card (RFC 6350, section 6) as the column labels that mean the same.
LABELS = {
    "FN": "name",
    "N": "name",
    "NICKNAME": "name",
    "TEL": "phone",
    "EMAIL": "email",
    "ADR": "address",
    "ORG": "company",
    "NOTE": "note",
    "CN": "name",  # parameters of calendars and of addresses
    "LABEL": "address",
}
_PARTS = {
    "N": ("family", "given", "additional", "prefix", "suffix"),
    "ADR": ("box", "extended", "street", "city", "region", "code", "country"),
}


@dataclass(slots=True)
class _Line:
    """One logical line. start, end: in the file, with its break; text: unfolded; head: where the value begins in it."""

    start: int
    end: int
    text: bytes
    name: str
    head: int
    quoted: bool
    ending: bytes
    codec: str = "utf-8"

    def value(self) -> bytes:
        raw = self.text[self.head :]
        raw = quopri.decodestring(raw) if self.quoted else raw
        return raw if self.codec == "utf-8" else raw.decode(self.codec).encode()

    def written(self, value: bytes) -> bytes:
        """The line with another value, folded."""
        if self.codec != "utf-8":
            value = fitted(value.decode("utf-8", "replace"), self.codec).encode(self.codec, "replace")
        if self.quoted:
            value = quopri.encodestring(value, quotetabs=True).replace(b"=\n", b"").replace(b"\n", b"=0D=0A")
            return self.text[: self.head] + _folded_quoted(value, self.ending or b"\r\n") + self.ending
        return _folded(self.text[: self.head] + value, self.ending or b"\r\n") + self.ending

    def is_binary(self) -> bool:
        """Whether the value is a picture, sound or key; raises BodyUnreadable for a text that is coded like one."""
        raw = self.text[self.head :]
        if _BASE64.search(self.text[: self.head].rstrip(b":").partition(b";")[2]) is None:
            return raw[:5].lower() == b"data:" and self.name in ("PHOTO", "LOGO", "SOUND", "KEY")
        try:
            readable = _CONTROL.search(b64decode(raw).decode("utf-8")) is None
        except ValueError:
            readable = False
        if readable and raw.strip():
            raise BodyUnreadable("vcard-coded")
        return True

    def parameters(self, siblings: Mapping[str, str]) -> "list[_Named]":
        """The parameters that name somebody."""
        found = []
        for match in _PARAMETER.finditer(self.text, 0, self.head) if b"=" in self.text[: self.head] else ():
            name = match.group(1).decode("ascii").upper()
            if name in _NAMING or name.startswith("X-"):
                raw = match.group(2).strip(b'"')
                scheme = _SCHEME.match(raw)
                start = match.start(2) + match.group(2).startswith(b'"') + (scheme.end() if scheme else 0)
                value = raw[scheme.end() :] if scheme else raw
                leaf = Leaf((name,), value.decode("utf-8", "surrogateescape"), None, siblings)
                found.append(_Named(self, start, start + len(value), leaf))
        return found


@dataclass(slots=True)
class _Named:
    """A parameter of a line. start, end: of its value, without quotes, in the unfolded line."""

    line: _Line
    start: int
    end: int
    leaf: Leaf

    def edit(self) -> Edit:
        """What replaces it: without the signs that would end it or its line."""
        new = _ENDING.sub(" ", self.leaf.new or "").encode("utf-8", "surrogateescape")
        return self.start, self.end, new


def _unescape(escape: bytes) -> bytes:
    return b"\n" if escape in (b"\\n", b"\\N") else escape[1:]


def _folded(line: bytes, ending: bytes) -> bytes:
    """Folded at 75 octets, never inside a character."""
    out: list[bytes] = []
    room = FOLD_BYTES
    while len(line) > room:
        cut = room
        while cut > 1 and line[cut] & 0xC0 == 0x80:
            cut -= 1
        out.append(line[:cut])
        line = line[cut:]
        room = FOLD_BYTES - 1
    out.append(line)
    return (ending + b" ").join(out)


def _folded_quoted(value: bytes, ending: bytes) -> bytes:
    pieces = re.findall(rb"(?:=[0-9A-F]{2}|[^=]){1,20}", value)
    return (b"=" + ending).join(pieces)


def _lines(data: bytes) -> list[_Line]:
    lines: list[_Line] = []
    at, size = 0, len(data)
    while at < size:
        match = _LINE.match(data, at)
        end = match.end() if match else size
        raw = data[at:end]
        head = _HEAD.match(raw)
        quoted = head is not None and _QUOTED_PRINTABLE.search(head.group(3)) is not None
        while quoted and end < size and data[end - 3 : end].rstrip(b"\r\n").endswith(b"="):
            following = _PHYSICAL.match(data, end)
            end = following.end() if following else size
        raw = data[at:end]
        ending = next((e for e in (b"\r\n", b"\n", b"\r") if raw.endswith(e)), b"")
        text = raw[: len(raw) - len(ending)]
        text = re.sub(rb"=(?:\r\n|\n)", b"", text) if quoted else _FOLD.sub(b"", text)
        head = _HEAD.match(text)
        name = head.group(2).decode("ascii").upper() if head else ""
        value = head.end() if head else 0
        if head and not quoted and (scheme := _SCHEME.match(text, value)):
            value = scheme.end()  # an address that is written as a link
        line = _Line(at, end, text, name, value, quoted, ending)
        line.codec = _own_codec(line)
        lines.append(line)
        at = end
    return lines


def _own_codec(line: _Line) -> str:
    """The charset that a line of version 2.1 names for itself, where its value is not UTF-8 all the same."""
    named = _CHARSET.search(line.text, 0, line.head)
    if named is None:
        return "utf-8"
    raw = line.value()
    for codec in (codec_of(named.group(1).decode("ascii")), "utf-8"):
        try:
            if raw.decode(codec) and (line.quoted or codec == "utf-8" or not _is_utf8(raw)):
                return codec
        except UnicodeDecodeError:
            continue
    return "utf-8"


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class VcardPage:
    """A card or calendar in an answer."""

    media_type: str | None = None
    file_suffix: str | None = None

    def __init__(self, body: bytes, charset: str) -> None:
        self._codec = codec_of(charset)
        self._body = body
        self._data = to_utf8(body, self._codec)
        self._lines = _lines(self._data)
        self._found: list[Sequence[Spot]] = []

    def surrogates(self, scanner: Finder) -> set[str]:
        """Canonical surrogates in the values of all lines."""
        self._found = [scanner.find(line.value()) for line in self._lines]
        return {hit.canonical for hits in self._found for hit in hits}

    def render(self, show: Show, net: Net | None) -> bytes:
        """The file with its lines rendered; lines that changed are folded anew."""
        edits = []
        found = self._found or [()] * len(self._lines)
        for line, hits in zip(self._lines, found, strict=True):
            if not hits and (net is None or not line.name or line.name in ("UID", "PHOTO", "LOGO", "REV", "PRODID")):
                continue
            value = line.value()
            walk = Walk(show, net, "utf-8", walk_inner)
            inside = unescaped(Layer(value), 0, len(value), _ESCAPE, _unescape, Context.VCARD_TEXT)
            here = inside.down([(hit.start, hit.end, Found(hit.canonical, hit.upper)) for hit in hits])
            walk.place(inside, 0, len(inside.data), here, Context.PLAIN, wire=False)
            new = walk.spliced(value)
            if new != value:
                edits.append((line.start, line.end, line.written(new)))
        return from_utf8(splice(self._data, edits), self._codec) if edits else self._body


class VcardDocument:
    """Imported cards; leaf paths are the property, for N and ADR with the component, or a parameter that names one.

    A line that is no property is a text without a path: what is in no card may still be read.
    """

    def __init__(self, data: bytes, codec: str, lines: list[tuple[_Line, list[Leaf]]], named: list[_Named]) -> None:
        self._named = named
        self.leaves = [leaf for _, leaves in lines for leaf in leaves] + [one.leaf for one in named]
        self._data = data
        self._codec = codec
        self._lines = lines

    def encode(self) -> bytes:
        """The file with every changed line written and folded anew."""
        edits = []
        heads: dict[int, list[_Named]] = {}
        for one in self._named:
            if changed(one.leaf):
                heads.setdefault(one.line.start, []).append(one)
        for line, leaves in self._lines:
            touched = any(changed(leaf) for leaf in leaves)
            if not touched and line.start not in heads:
                continue
            texts = [leaf.text if leaf.new is None else leaf.new for leaf in leaves]
            value = ";".join(encode(text, Context.VCARD_TEXT) if line.name else text for text in texts)
            written = value.encode("utf-8", "surrogateescape") if touched else line.value()
            head = splice(line.text[: line.head], [one.edit() for one in heads.get(line.start, ())])
            edits.append((line.start, line.end, replace(line, text=head, head=len(head)).written(written)))
        try:
            return from_utf8(splice(self._data, edits), self._codec)
        except UnicodeEncodeError:
            raise BodyUnreadable("vcard-charset") from None


def open_vcard(data: bytes, charset: str = "", limits: Limits | None = None) -> VcardDocument:
    """Opens vCard or iCalendar; raises BodyTooLarge, BodyUnreadable."""
    limits = limits or Limits()
    if len(data) > limits.body:
        raise BodyTooLarge("vcard-size")
    codec = codec_of(charset)
    text = to_utf8(data, codec)
    lines: list[tuple[_Line, list[Leaf]]] = []
    siblings: dict[str, str] = {}
    count = 0
    named: list[_Named] = []
    coded = False
    for line in _lines(text):
        if line.name == "BEGIN":
            siblings = {}
        blank = not line.name and not line.text.strip()
        if blank or (coded and not line.name and _BASE64_LINE.fullmatch(line.text.strip())):
            coded = coded and not blank
            continue  # cards of version 2.1 break the lines of a picture without folding them
        coded = line.is_binary()
        if coded or line.name in _TECHNICAL:
            continue
        named += line.parameters(siblings)
        parts = _PARTS.get(line.name)
        values = re.findall(rb"(?:[^\\;]|\\[\s\S])*(?:;|\Z)", line.value())[:-1] if parts else [line.value()]
        leaves = []
        for index, raw in enumerate(values):
            value = _ESCAPE.sub(lambda m: _unescape(m.group()), raw.removesuffix(b";") if parts else raw)
            step = (parts[index] if index < len(parts) else str(index),) if parts else ()
            leaf = Leaf(
                (line.name, *step) if line.name else (), value.decode("utf-8", "surrogateescape"), None, siblings
            )
            if line.name:
                siblings.setdefault("/".join(leaf.path), leaf.text)
            leaves.append(leaf)
        count += len(leaves)
        if count > limits.leaves:
            raise BodyTooLarge("vcard-lines")
        lines.append((line, leaves))
    return VcardDocument(text, codec, lines, named)
