"""multipart/form-data uploads (RFC 7578): read as a stream, opened where data is in them, written again.

Form fields and all that can be read in files (gateway.body.data_file) become leaves; pictures and binaries go past into
an encrypted spool, so that an upload of any size takes bounded memory and its length is known before it is sent on.
Refused: everything two readers could split differently, and parts with a transfer encoding of their own.
"""

import re
import secrets
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from gateway.body.data_file import UNOPENED, kind_of, open_file
from gateway.body.fault import BodyMalformed, BodyTooLarge, BodyUnreadable
from gateway.body.leaf import Container, Leaf, changed
from gateway.body.limits import Limits
from gateway.body.media import SNIFF_BYTES, Media, essence, sniff_upload
from gateway.body.spool import SealedFile, Spooled, Transform, Transformed

_BOUNDARY = re.compile(r""";\s*boundary\s*=\s*(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))\s*(?=;|$)""", re.IGNORECASE)
# RFC 2046, section 5.1.1: bchars; a boundary does not end with a space.
_BCHARS = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]")
_PARAMETER = re.compile(rb""";[ \t]*([A-Za-z][A-Za-z0-9_*-]*)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))[ \t]*""")
_IDENTITY = frozenset({b"7bit", b"8bit", b"binary"})


@dataclass(slots=True)
class FilePart:
    """One part with a file name. container: its leaves if it was opened; filename: the name as a leaf of its own.

    transform: what its content goes through when the upload is sent on; for parts that are not opened.
    """

    name: str
    filename: Leaf
    content_type: str
    media: Media
    length: int
    container: Container | None = None
    transform: Transform | None = None


@dataclass(slots=True)
class _Part:
    headers: list[tuple[bytearray, bytearray]] = field(default_factory=list)
    name: str = ""
    filename: str | None = None
    content_type: str = ""
    held: bytearray | None = field(default_factory=bytearray)
    start: int = -1
    length: int = 0
    candidate: bool | None = None
    spooled_as: Media = Media.OPAQUE
    leaf: Leaf | None = None
    file: FilePart | None = None

    def read_headers(self) -> None:
        """Raises BodyMalformed, BodyUnreadable for a head that is not plainly that of a form part."""
        seen: set[bytes] = set()
        for raw_name, value in self.headers:
            name = bytes(raw_name).lower()
            if name in seen:
                raise BodyMalformed("multipart-header-twice")
            seen.add(name)
            if name == b"content-disposition":
                self._read_disposition(bytes(value))
            elif name == b"content-type":
                self.content_type = value.decode("latin-1")
            elif name == b"content-transfer-encoding" and bytes(value).strip().lower() not in _IDENTITY:
                raise BodyUnreadable("multipart-transfer-encoding")
        if b"content-disposition" not in seen:
            raise BodyMalformed("multipart-disposition")

    def _read_disposition(self, value: bytes) -> None:
        kind, _, _ = value.partition(b";")
        found: dict[bytes, bytes] = {}
        at = len(kind)
        while match := _PARAMETER.match(value, at):
            at = match.end()
            key = match.group(1).lower()
            if key in found:
                raise BodyMalformed("multipart-disposition")
            found[key] = match.group(3) if match.group(2) is None else match.group(2)
        if kind.strip().lower() != b"form-data" or value[at:].strip() or b"name" not in found:
            raise BodyMalformed("multipart-disposition")
        self.name = _text(found[b"name"])
        if "\\" in self.name:
            raise BodyMalformed("multipart-disposition")  # readers disagree on what it escapes
        if b"filename*" in found:
            charset, _, rest = found[b"filename*"].partition(b"'")
            if charset.lower() != b"utf-8":
                raise BodyMalformed("multipart-filename")
            self.filename = unquote(rest.partition(b"'")[2].decode("latin-1"), errors="strict")
        elif b"filename" in found:
            self.filename = _text(found[b"filename"])

    def head(self) -> bytes:
        """The header lines, written anew: of the disposition only what was read, so that no reader finds more in it."""
        disposition = f'form-data; name="{_quoted(self.name)}"'
        if self.file is not None:
            leaf = self.file.filename
            disposition += f'; filename="{_quoted(leaf.text if leaf.new is None else leaf.new)}"'
        lines = [b"Content-Disposition: " + disposition.encode() + b"\r\n"]
        lines += [
            bytes(name) + b": " + bytes(value) + b"\r\n"
            for name, value in self.headers
            if name.lower() == b"content-type"
        ]
        return b"".join(lines) + b"\r\n"

    def body(self) -> bytes:
        """The content as it is now, of a part that is held."""
        assert self.held is not None
        if self.leaf is not None and changed(self.leaf):
            return (self.leaf.new or "").encode("utf-8")
        if self.file is not None and self.file.container is not None:
            return self.file.container.encode()
        return bytes(self.held)


def _text(raw: bytes) -> str:
    """HTML standard, multipart/form-data encoding: quotes and line breaks in names come percent-encoded."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BodyMalformed("multipart-charset") from None
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@dataclass(slots=True)
class Fields:
    """The form fields and file names of an upload; leaf paths are (field name,) and (field name, "filename")."""

    leaves: list[Leaf]

    def encode(self) -> bytes:
        """Nothing: fields are written by `Upload.assemble`."""
        return b""


class Upload:
    """A whole upload that was read. Change leaves, then `assemble` once; `close` if it is not sent."""

    def __init__(self, boundary: str, parts: list[_Part], file: SealedFile) -> None:
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._boundary = boundary.encode("ascii")
        self._parts = parts
        self._file = file
        names = [part.file.filename for part in parts if part.file is not None and part.file.filename.text]
        self.fields = Fields([part.leaf for part in parts if part.leaf is not None] + names)
        self.files = [part.file for part in parts if part.file is not None]

    @property
    def data_parts(self) -> list[FilePart]:
        """The files that were opened."""
        return [file for file in self.files if file.container is not None]

    def leave_out(self, file: FilePart) -> None:
        """Send the upload on without the part of this file."""
        self._parts = [part for part in self._parts if part.file is not file]
        self.files = [one for one in self.files if one is not file]
        self.fields.leaves = [leaf for leaf in self.fields.leaves if leaf is not file.filename]

    async def assemble(self) -> Spooled:
        """The upload as it is now; raises BodyMalformed if a new value holds the boundary."""
        await self._file.flush()
        line = b"--" + self._boundary
        pieces: list[bytes | tuple[int, int] | Transformed] = []
        for part in self._parts:
            pieces.append(line + b"\r\n" + part.head())
            transform = None if part.file is None else part.file.transform
            if transform is not None:
                held = None if part.held is None else bytes(part.held)
                pieces.append(Transformed((part.start, part.length) if held is None else held, transform))
            elif part.held is None:
                pieces.append((part.start, part.length))
            else:
                body = part.body()
                if line in body:
                    raise BodyMalformed("multipart-boundary")
                pieces.append(body)
            pieces.append(b"\r\n")
        pieces.append(line + b"--\r\n")
        return Spooled(pieces, self._file)

    async def close(self) -> None:
        """Gives the space back; may be called twice."""
        self._file.close()


class _Reader:
    """Turns parser events into parts; those of one chunk are queued, because the spool is written asynchronously."""

    def __init__(self, boundary: bytes, limits: Limits, file: SealedFile) -> None:
        self.parts: list[_Part] = []
        self.ended = False
        self._limits = limits
        self._file = file
        self._held = 0
        self._events: list[Callable[[], None] | bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": lambda: self._events.append(self._begin),
                "on_header_begin": lambda: self._events.append(self._header),
                "on_header_field": lambda data, start, end: self._name(bytes(data[start:end])),
                "on_header_value": lambda data, start, end: self._value(bytes(data[start:end])),
                "on_headers_finished": lambda: self._events.append(self._headers_read),
                "on_part_data": lambda data, start, end: self._events.append(bytes(data[start:end])),
                "on_part_end": lambda: self._events.append(self._finish),
                "on_end": lambda: self._events.append(self._end),
            },
            max_header_size=limits.part_headers,
        )

    async def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise BodyMalformed("multipart") from None
        events, self._events = self._events, []
        for event in events:
            if isinstance(event, bytes):
                await self._data(event)
            else:
                event()

    def _begin(self) -> None:
        if len(self.parts) >= self._limits.parts:
            raise BodyTooLarge("multipart-parts")
        self.parts.append(_Part())

    def _header(self) -> None:
        self.parts[-1].headers.append((bytearray(), bytearray()))

    def _name(self, data: bytes) -> None:
        self._events.append(lambda: self.parts[-1].headers[-1][0].extend(data))

    def _value(self, data: bytes) -> None:
        self._events.append(lambda: self.parts[-1].headers[-1][1].extend(data))

    def _headers_read(self) -> None:
        self.parts[-1].read_headers()

    def _end(self) -> None:
        self.ended = True

    async def _data(self, data: bytes) -> None:
        part = self.parts[-1]
        part.length += len(data)
        if part.held is None:
            await self._file.append(data)
            return
        part.held += data
        self._held += len(data)
        if part.filename is None:
            if part.length > self._limits.field or self._held > 2 * self._limits.data_file:
                raise BodyTooLarge("multipart-field")
            return
        if part.candidate is None and part.length >= SNIFF_BYTES:
            part.candidate = _sniffed(part) not in UNOPENED
        most = self._limits.data_file if part.candidate is not False else self._limits.memory_file
        if part.length > most or self._held > self._limits.data_file:
            part.spooled_as = _sniffed(part)
            self._held -= len(part.held)
            part.start = self._file.length
            await self._file.append(bytes(part.held))
            part.held = None

    def _finish(self) -> None:
        part = self.parts[-1]
        if part.filename is None:
            assert part.held is not None
            try:
                part.leaf = Leaf((part.name,), part.held.decode("utf-8"))
            except UnicodeDecodeError:
                raise BodyMalformed("multipart-charset") from None
            return
        media = kind_of(_sniffed(part), bytes(part.held)) if part.held is not None else part.spooled_as
        leaf = Leaf((part.name, "filename"), part.filename)
        part.file = FilePart(part.name, leaf, part.content_type, media, part.length)
        if part.held and media not in UNOPENED:
            part.file.container = open_file(media, bytes(part.held), part.content_type, self._limits)


def _sniffed(part: _Part) -> Media:
    return sniff_upload(part.content_type, part.filename, bytes(part.held or b""))


async def read(
    chunks: AsyncIterable[bytes],
    content_type: str,
    limits: Limits | None = None,
    directory: Path | None = None,
    *,
    entropy: Callable[[int], str] = secrets.token_hex,
) -> Upload:
    """Reads a whole upload; raises BodyMalformed, BodyTooLarge, BodyUnreadable, BodyTooDeep, DecompressionLimit.

    It is sent on with a boundary of our own that nobody can foresee, and without a charset: some readers end a part at
    the client's boundary wherever it stands, and read the fields in the charset that the client names.
    """
    limits = limits or Limits()
    boundary = boundary_of(content_type)
    file = SealedFile(directory)
    try:
        reader = _Reader(boundary, limits, file)
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > limits.upload:
                raise BodyTooLarge("upload-size")
            await reader.feed(chunk)
        if not reader.ended:
            raise BodyMalformed("multipart-cut-off")
    except BaseException:
        file.close()
        raise
    return Upload(f"crmgate-{entropy(16)}", reader.parts, file)


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart/form-data type; raises BodyMalformed, BodyUnreadable for other multipart types."""
    if essence(content_type) != "multipart/form-data":
        raise BodyUnreadable("multipart-kind")
    found = _BOUNDARY.findall(content_type)
    if len(found) != 1:
        raise BodyMalformed("multipart-boundary")
    boundary: str = found[0][0] or found[0][1]
    if _BCHARS.fullmatch(boundary) is None:
        raise BodyMalformed("multipart-boundary")
    return boundary.encode("ascii")


async def spool(chunks: AsyncIterable[bytes], limits: Limits | None = None, directory: Path | None = None) -> Spooled:
    """A body that nothing looks into, kept until its length is known; raises BodyTooLarge."""
    limits = limits or Limits()
    file = SealedFile(directory)
    try:
        async for chunk in chunks:
            if file.length + len(chunk) > limits.upload:
                raise BodyTooLarge("upload-size")
            await file.append(chunk)
        await file.flush()
    except BaseException:
        file.close()
        raise
    return Spooled([(0, file.length)], file)
