"""ZIP containers: entries are read under limits, rendered one by one, and written into a new archive.

Refused: encrypted entries, two entries of one name, entries outside the archive's directory, more entries or bytes than
the limits, and entries that inflate beyond the ratio. An archive in which nothing changes keeps its bytes.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.body.fault import BodyMalformed, BodyUnreadable, DecompressionLimit
from gateway.body.layer import Finder, Net, Show
from gateway.body.limits import Limits

_STEP_BYTES = 1024 * 1024
UTF8 = 0x800  # general purpose flag: the name is UTF-8
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Inside(Protocol):
    """The page of one entry."""

    def surrogates(self, scanner: Finder) -> set[str]: ...
    def render(self, show: Show, net: Net | None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive with its inflated bytes."""

    info: zipfile.ZipInfo
    data: bytes


def read_entries(body: bytes, limits: Limits) -> list[Entry]:
    """All entries; raises BodyMalformed, BodyUnreadable, DecompressionLimit."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            infos = archive.infolist()
            if len(infos) > limits.entries:
                raise DecompressionLimit("zip-entries")
            if len({info.filename for info in infos}) != len(infos):
                raise BodyMalformed("zip-duplicate-entry")
            left = limits.inflated
            entries = []
            for info in infos:
                data = _read(archive, info, left, limits)
                left -= len(data)
                entries.append(Entry(info, data))
            return entries
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError):
        raise BodyMalformed("zip") from None
    except (NotImplementedError, RuntimeError):
        raise BodyUnreadable("zip-method") from None


def names_in(body: bytes) -> list[str]:
    """The names of all entries; none where it is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError):
        return []


def name_of(info: zipfile.ZipInfo) -> str:
    """The name of an entry as people wrote it: without the mark for UTF-8 it often is UTF-8 or GB 18030."""
    if info.flag_bits & UTF8 or info.filename.isascii():
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for charset in ("utf-8", "gb18030"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    return info.filename


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: int, limits: Limits) -> bytes:
    if info.flag_bits & 0x1:
        raise BodyUnreadable("zip-encrypted")
    if info.compress_type not in _METHODS:
        raise BodyUnreadable("zip-method")
    parts = []
    size = 0
    with archive.open(info) as stream:
        while part := stream.read(_STEP_BYTES):
            size += len(part)
            if size > left:
                raise DecompressionLimit("zip-size")
            if size > limits.ratio_floor and size > info.compress_size * limits.ratio:
                raise DecompressionLimit("zip-ratio")
            parts.append(part)
    return b"".join(parts)


def write_entries(entries: Iterable[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """A new archive with the same names, times, attributes and order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for old, data in entries:
            info = zipfile.ZipInfo(name_of(old), old.date_time)
            info.external_attr = old.external_attr
            info.create_system = old.create_system
            info.compress_type = old.compress_type
            archive.writestr(info, data)
    return out.getvalue()


class ZipPage:
    """An archive in an answer; `opener` gives the page for an entry, or None for one that stays as it is."""

    media_type: str | None = None
    file_suffix: str | None = None

    def __init__(self, body: bytes, limits: Limits, opener: Callable[[Entry], Inside | None]) -> None:
        self._body = body
        self._pages: Sequence[tuple[Entry, Inside | None]] = [
            (entry, opener(entry)) for entry in read_entries(body, limits)
        ]

    def surrogates(self, scanner: Finder) -> set[str]:
        """Canonical surrogates in all entries that can be looked into."""
        found: set[str] = set()
        for _, page in self._pages:
            if page is not None:
                found |= page.surrogates(scanner)
        return found

    def render(self, show: Show, net: Net | None) -> bytes:
        """The archive with its entries rendered."""
        same = True
        out = []
        for entry, page in self._pages:
            data = entry.data if page is None else page.render(show, net)
            same = same and data == entry.data
            out.append((entry.info, data))
        return self._body if same else write_entries(out)
