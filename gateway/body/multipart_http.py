"""multipart/mixed batches of HTTP messages (OData `$batch`): read strictly, written anew from what was read.

Parts are application/http messages or one level of multipart/mixed (a change set). Nothing of the original framing is
sent on: the CRM reads exactly the parts that were read here, under a boundary that nobody could foresee.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from gateway.body.fault import BodyMalformed, BodyTooLarge
from gateway.body.media import essence

MOST_PARTS = 1000
_HEADER_BYTES = 16 * 1024
_BOUNDARY = re.compile(r"""(?:^|[;\s])boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))\s*(?=;|$)""", re.IGNORECASE)
_BCHARS = re.compile(r"[0-9A-Za-z'()+_,./:=?-]+")
_REQUEST = re.compile(rb"([A-Z]{3,10}) ([!-~]+) HTTP/1\.1\Z")
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [^\r\n]*)?\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*\Z")
_IDENTITY = frozenset({"", "binary", "8bit", "7bit"})

Lines = list[tuple[str, str]]


@dataclass(slots=True)
class Http:
    """One message.

    mime: fields of its part; start: request line or status line without its end; fields: of the message; body: its
    bytes. place: number of its part at the top of the batch; group: it stands in a change set there.
    """

    mime: Lines
    start: bytes
    fields: Lines
    body: bytes
    place: int = 0
    group: bool = False

    def first(self, name: str) -> str:
        """The first value of a field of the message, "" without one."""
        return next((value for key, value in self.fields if key == name), "")

    @property
    def request(self) -> tuple[str, str]:
        """(method, target) of a request; raises BodyMalformed."""
        found = _REQUEST.match(self.start)
        if found is None:
            raise BodyMalformed("batch-request")
        return found[1].decode(), found[2].decode()

    @property
    def status(self) -> int:
        """The status of an answer; raises BodyMalformed."""
        found = _STATUS.match(self.start)
        if found is None:
            raise BodyMalformed("batch-answer")
        return int(found[1])

    def encode(self) -> bytes:
        """The whole part, fields of its own included."""
        lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
        lines += [f"Content-ID: {value}" for key, value in self.mime if key == "content-id"]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.start + b"\r\n"
        head += b"".join(f"{key}: {value}\r\n".encode("latin-1") for key, value in self.fields)
        return head + b"\r\n" + self.body  # no length: addresses in it may still be mapped, the delimiter ends it


@dataclass(slots=True)
class _Part:
    headers: list[tuple[bytearray, bytearray]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)

    @property
    def mime(self) -> Lines:
        return _fields(bytes(name) + b":" + bytes(value) for name, value in self.headers)


def is_batch(content_type: str) -> bool:
    """Whether a body is declared as one."""
    return essence(content_type) == "multipart/mixed"


def read(content_type: str, data: bytes, *, framed: bool = True) -> list[Http]:
    """Every message of a batch in order; raises BodyMalformed, BodyTooLarge.

    framed: whether lengths that parts tell have to be right; those of an answer are from before its URLs were mapped.
    """
    found: list[Http] = []
    for place, part in enumerate(_split(content_type, data)):
        mime = part.mime
        kind = _only(mime, "content-type")
        if is_batch(kind):
            for one in _split(kind, bytes(part.data)):
                found.append(_message(one, place, group=True, framed=framed))
        else:
            found.append(_message(part, place, group=False, framed=framed))
        if len(found) > MOST_PARTS:
            raise BodyTooLarge("batch-parts")
    return found


def write(messages: Sequence[Http], entropy: Callable[[int], str]) -> tuple[str, bytes]:
    """(content type, body) of a batch; raises BodyMalformed if a part holds the new boundary."""
    outer, inner = f"batch_crmgate{entropy(16)}", f"changeset_crmgate{entropy(16)}"
    out: list[bytes] = []
    place = -1
    open_group = False
    for one in messages:
        data = one.encode()
        if outer.encode() in data or inner.encode() in data:
            raise BodyMalformed("batch-boundary")
        if one.place != place or not one.group:
            if open_group:
                out.append(f"--{inner}--\r\n\r\n".encode())
            out.append(f"--{outer}\r\n".encode())
            if one.group:
                out.append(f"Content-Type: multipart/mixed; boundary={inner}\r\n\r\n".encode())
            place, open_group = one.place, one.group
        if one.group:
            out.append(f"--{inner}\r\n".encode())
        out += [data, b"\r\n"]
    if open_group:
        out.append(f"--{inner}--\r\n\r\n".encode())
    out.append(f"--{outer}--\r\n".encode())
    return f"multipart/mixed; boundary={outer}", b"".join(out)


def _message(part: _Part, place: int, *, group: bool, framed: bool) -> Http:
    mime = part.mime
    if essence(_only(mime, "content-type")) != "application/http":
        raise BodyMalformed("batch-part")
    if _only(mime, "content-transfer-encoding").lower() not in _IDENTITY:
        raise BodyMalformed("batch-part-encoding")
    head, mark, body = bytes(part.data).partition(b"\r\n\r\n")
    if not mark:
        head, body = head.removesuffix(b"\r\n"), b""
    start, *lines = head.split(b"\r\n")
    fields = _fields(lines)
    if any(key == "transfer-encoding" for key, _ in fields):
        raise BodyMalformed("batch-framing")
    length = _only(fields, "content-length") if framed else ""
    if length:
        if not (length.isascii() and length.isdecimal()) or int(length) > len(body) or body[int(length) :].strip():
            raise BodyMalformed("batch-framing")
        body = body[: int(length)]
    elif body.endswith(b"\r\n"):
        body = body[:-2]  # the line break that writers put before the next delimiter
    fields = [(key, value) for key, value in fields if key != "content-length"]
    return Http(mime, start, fields, body, place, group)


def _split(content_type: str, data: bytes) -> list[_Part]:
    found = _BOUNDARY.findall(content_type)
    boundary = (found[0][0] or found[0][1]) if len(found) == 1 else ""
    if _BCHARS.fullmatch(boundary) is None:
        raise BodyMalformed("batch-boundary")
    parts: list[_Part] = []
    ended: list[bool] = []

    def begin() -> None:
        if len(parts) >= MOST_PARTS:
            raise BodyTooLarge("batch-parts")
        parts.append(_Part())

    parser = MultipartParser(
        boundary.encode("ascii"),
        {
            "on_part_begin": begin,
            "on_header_begin": lambda: parts[-1].headers.append((bytearray(), bytearray())),
            "on_header_field": lambda data, start, end: parts[-1].headers[-1][0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: parts[-1].headers[-1][1].extend(data[start:end]),
            "on_part_data": lambda data, start, end: parts[-1].data.extend(data[start:end]),
            "on_end": lambda: ended.append(True),
        },
        max_header_size=_HEADER_BYTES,
    )
    try:
        parser.write(data)
    except FormParserError:
        raise BodyMalformed("batch") from None
    if not ended or not parts:
        raise BodyMalformed("batch-cut-off")
    return parts


def _fields(lines: Iterable[bytes]) -> Lines:
    out: Lines = []
    for line in lines:
        found = _FIELD.match(line)
        if found is None:
            raise BodyMalformed("batch-field")
        out.append((found[1].decode("ascii").lower(), found[2].decode("latin-1")))
    return out


def _only(fields: Lines, name: str) -> str:
    values = [value for key, value in fields if key == name]
    if len(values) > 1:
        raise BodyMalformed("batch-field-twice")
    return values[0].strip() if values else ""
