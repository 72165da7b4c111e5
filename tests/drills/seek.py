"""Seeks known values in bytes, whatever was done to them on the way: the oracle of the leak drill.

A body is unfolded into every reading a curious person would try (HTML, URL and JSON unescaped, tags removed,
separators of numbers removed, base64 decoded, archives unpacked, gzip opened, UTF-16 read) and each reading is scanned
for all values at once.
"""

import base64
import binascii
import gzip
import html
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import hyperscan

READINGS = (
    "as it is",
    "HTML unescaped",
    "HTML unescaped twice",
    "URL unescaped",
    "JSON unescaped",
    "JSON, then HTML unescaped",
    "tags removed",
    "separators removed",
    "base64 decoded",
    "quoted-printable decoded",
    "UTF-16 read",
    "unpacked",
)
# A character beyond the basic plane is written as a pair of escapes, which only together are a character.
_JSON_ESCAPE = re.compile(
    rb"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\([\"\\/nrtbf'])"
)
_TAG = re.compile(rb"<[^<>]{0,400}>")
_SEPARATORS = re.compile(
    rb"(?:[ \t\r\n\-.()/\xa0']|\xc2\xa0|\xe2\x80[\x80-\x95\xaf]|\xe3\x80\x80|&nbsp;|&#8209;)+(?=[0-9])"
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_QUOTED = re.compile(rb"=([0-9A-F]{2})")
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Sought:
    """One value that must not be seen. kind: e-mail, phone, ID, card, name, address; owner: whose record it is in."""

    value: str
    kind: str
    owner: str = ""


class Seeker:
    """Finds which of the sought values stand in a body; case does not matter."""

    def __init__(self, sought: Iterable[Sought]) -> None:
        self.sought = list(sought)
        expressions, ids = [], []
        for number, one in enumerate(self.sought):
            for spelling in _spellings(one):
                expressions.append(re.escape(spelling).encode())
                ids.append(number)
        self._database = hyperscan.Database()
        flags = [hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH] * len(expressions)
        self._database.compile(expressions=expressions, ids=ids, elements=len(expressions), flags=flags)

    def find_plain(self, body: bytes) -> set[Sought]:
        """The sought values that the bytes show as they are."""
        return self._scan([body])

    def find(self, body: bytes) -> set[Sought]:
        """The sought values that some reading of the body shows."""
        return self._scan(readings(body))

    def _scan(self, bodies: Iterable[bytes]) -> set[Sought]:
        found: set[int] = set()

        def note(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            found.add(number)

        for reading in bodies:
            self._database.scan(reading, match_event_handler=note)
        return {self.sought[number] for number in found}


def _spellings(one: Sought) -> set[str]:
    """Other ways the same value is written: digits only, national and international."""
    value = one.value
    out = {value}
    if one.kind in {"phone", "ID", "card"}:
        digits = re.sub(r"[^0-9Xx]", "", value)
        out.add(digits)
        if one.kind == "phone" and digits.startswith("86") and len(digits) == 13:
            out.add(digits[2:])
    return {spelling for spelling in out if len(spelling) >= 2}


def readings(body: bytes, depth: int = 0) -> Iterator[bytes]:
    """Every reading of a body, itself first."""
    seen: set[bytes] = set()
    todo = [body]
    for _ in range(_ROUNDS):
        todo = [new for old in todo for new in _once(old) if new not in seen and not seen.add(new)]  # type: ignore[func-returns-value]
        yield from todo
    if depth < 3:
        for inner in _unpacked(body):
            yield from readings(inner, depth + 1)


def _once(body: bytes) -> Iterator[bytes]:
    yield body
    if b"&" in body:
        once = html.unescape(body.decode("utf-8", "replace"))
        yield once.encode("utf-8", "replace")
        if "&" in once:
            yield html.unescape(once).encode("utf-8", "replace")
    if b"%" in body:
        yield unquote_to_bytes(body)
    if b"\\" in body:
        yield _JSON_ESCAPE.sub(_unescaped, body)
    if b"<" in body:
        yield _TAG.sub(b"", body)
    if any(48 <= byte <= 57 for byte in body[:1_000_000]):
        yield _SEPARATORS.sub(b"", body)
    if b"=" in body and _QUOTED.search(body):
        yield _QUOTED.sub(lambda match: bytes.fromhex(match.group(1).decode()), body)
    decoded = b"\n".join(_decoded(body))
    if decoded:
        yield decoded
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        yield body.decode("utf-16", "replace").encode("utf-8", "replace")


def _unescaped(match: re.Match[bytes]) -> bytes:
    high, low, unit, byte, sign = match.groups()
    if high:
        return bytes.fromhex((high + low).decode()).decode("utf-16-be").encode()
    if unit:
        return chr(int(unit, 16)).encode("utf-8", "replace")
    if byte:
        return bytes.fromhex(byte.decode())
    return sign if sign in b"\"\\/'" else b" "


def _decoded(body: bytes) -> Iterator[bytes]:
    for match in _BASE64.finditer(body):
        run = match.group().rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        if len(run) > 400_000:
            continue
        for start in range(4):
            part = run[start : start + (len(run) - start) // 4 * 4]
            try:
                yield base64.b64decode(part, validate=True)
            except binascii.Error:
                continue


def _unpacked(body: bytes) -> Iterator[bytes]:
    if body[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                for name in archive.namelist():
                    yield name.encode("utf-8", "replace")
                    yield archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError):
            return
    if body[:2] == b"\x1f\x8b":
        try:
            yield gzip.decompress(body)
        except (OSError, zlib.error, EOFError):
            return
