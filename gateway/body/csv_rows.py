"""A table that comes in chunks, cut at ends of rows into groups that can be looked into one by one.

A row ends where `gateway.body.csv` would say so of the whole table, whatever comes later: what more bytes could change
(an open quote, a carriage return at the end) waits for them. So a table is cut at other places when its chunks are
others, and never read otherwise.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.body.charset import codec_of, from_utf8
from gateway.body.csv import SAMPLE_BYTES, SEPARATORS, labels_of, pattern, preamble, separator_of
from gateway.body.fault import BodyMalformed, BodyTooLarge, BodyUnreadable

GROUP_BYTES = 128 * 1024
ROW_BYTES = 4 * 1024 * 1024
# Of a table in UTF-16, so much makes the sample that the separator is taken from.
HEAD_BYTES = 3 * SAMPLE_BYTES
# Charsets in which a stretch of ASCII is read alike alone and within the rest.
_CODECS = frozenset({"utf-8", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "gbk", "gb18030", "big5"})
_CLOSED = re.compile(rb'"(?:[^"]++|"")*+"')


@dataclass(frozen=True, slots=True)
class Outline:
    """What the beginning of a table tells. start: bytes in UTF-8 before the first row; header: all to its end."""

    codec: str
    separator: bytes
    start: int
    header: bytes
    labels: tuple[str, ...]


def outline_of(head: bytes, charset: str) -> Outline | None:
    """What the first `HEAD_BYTES` of a long table tell; None where it is not cut: unusual charset, separator, header.

    Raises BodyUnreadable.
    """
    codec = codec_of(charset)
    if codec not in _CODECS:
        return None
    data = _Decoding(codec).more(head)
    separator, start = separator_of(data), preamble(data)
    if separator not in SEPARATORS or len(data) < SAMPLE_BYTES:
        return None
    end = _Rows(separator).row(data, start)
    if end is None or (not charset and not _is_utf8(data[:end])):
        return None  # without a declared charset labels are read by a guess over all bytes (gateway.body.csv)
    return Outline(codec, separator, start, data[:end], tuple(labels_of(data[:end], separator)))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class RowGroups:
    """The groups of one table, each in its own charset; together they are the bytes that were fed."""

    def __init__(self, outline: Outline, group: int = GROUP_BYTES, row: int = ROW_BYTES) -> None:
        self._codec = outline.codec
        self._decoding = _Decoding(outline.codec)
        self._rows = _Rows(outline.separator)
        self._at = outline.start  # rows end before it, or nothing was looked at
        self._group, self._row = group, row
        self._wanted = max(group, len(outline.header))
        self._data = b""
        self._raw = b""  # of what is held, where it is not in UTF-8

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The groups that are complete with this chunk; raises BodyTooLarge, BodyMalformed, BodyUnreadable."""
        for first in range(0, len(chunk), self._group):
            self._take(chunk[first : first + self._group], final=False)
            if len(self._data) < self._wanted:
                continue
            end = self._rows.end(self._data, self._at)
            if end > self._at:
                yield self._cut(end)
            if len(self._data) - self._at > self._row:
                raise BodyTooLarge("csv-row")
            self._wanted = self._group + (len(self._data) if len(self._data) > self._group // 2 else 0)

    def finish(self) -> bytes:
        """The rows that are left at the end; raises BodyUnreadable."""
        self._take(b"", final=True)
        return self._cut(len(self._data))

    def _take(self, chunk: bytes, *, final: bool) -> None:
        self._data += self._decoding.more(chunk, final=final)
        if self._codec != "utf-8":
            self._raw += chunk

    def _cut(self, end: int) -> bytes:
        group, self._data, self._at = self._data[:end], self._data[end:], 0
        if self._codec == "utf-8":
            return group
        try:
            group = from_utf8(group, self._codec)
        except UnicodeError:
            raise BodyUnreadable("charset-lossy") from None
        if not self._raw.startswith(group):
            raise BodyUnreadable("charset-lossy")
        self._raw = self._raw[len(group) :]
        return group


class _Decoding:
    """A body that becomes UTF-8 as it comes; what is UTF-8 keeps every byte."""

    def __init__(self, codec: str) -> None:
        wide = codec != "utf-8"
        self._decoder = codecs.getincrementaldecoder(codec)("surrogateescape") if wide else None

    def more(self, chunk: bytes, *, final: bool = False) -> bytes:
        """What these bytes add; raises BodyUnreadable."""
        if self._decoder is None:
            return chunk
        try:
            return self._decoder.decode(chunk, final).encode("utf-8", "surrogatepass")
        except UnicodeError:
            raise BodyUnreadable("charset-lossy") from None


class _Rows:
    """Finds ends of rows that more bytes cannot change."""

    def __init__(self, separator: bytes) -> None:
        sep = re.escape(separator)
        cell = rb'(?:"(?:[^"]++|"")*+"(?=' + sep + rb'|[\r\n])|(?!")[^' + sep + rb"\r\n]*+)"
        row = rb"(?:" + cell + sep + rb")*+" + cell + rb"(?:\r\n|\n|\r(?=[^\n]))"
        self._regular = re.compile(rb"(?:" + row + rb")*+").match
        self._cell = pattern(separator).match
        self._separator = separator

    def end(self, data: bytes, at: int) -> int:
        """Where the last row ends that is certain; `at` is where one begins."""
        while True:
            found = self._regular(data, at)
            at = found.end() if found is not None else at
            end = self.row(data, at)
            if end is None:
                return at
            at = end

    def row(self, data: bytes, at: int) -> int | None:
        """Where the row ends that begins here; None where that is not certain."""
        size = len(data)
        while at < size:
            cell = self._cell(data, at)
            if cell is None:
                raise BodyMalformed("csv")
            if cell.end() == size and cell.group(3) not in (b"\n", b"\r\n"):
                return None
            if cell.start(1) < 0 and data[at] == ord('"'):
                closed = _CLOSED.match(data, at)
                if closed is None or closed.end() == size:
                    return None
            at = cell.end()
            if cell.group(3) != self._separator:
                return at
        return None
