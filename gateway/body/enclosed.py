"""Files enclosed in JSON as base64, in both directions: the bytes of a JSON-RPC and data URLs.

A file that stands in a JSON string is opened as if it had been uploaded or downloaded by itself; one in which nothing
changes keeps its bytes, line breaks included.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.body.data_file import kind_of, open_file
from gateway.body.fault import BodyTooLarge
from gateway.body.layer import Edit
from gateway.body.leaf import Container, Leaf, changed
from gateway.body.limits import Limits
from gateway.body.media import Media, sniff_upload

_DATA_URL = re.compile(r"data:([^;,\"]{0,100})(?:;[^;,\"]{0,100}){0,4};base64,", re.IGNORECASE)
_PAYLOAD = rb'((?:[A-Za-z0-9+/=]++|\\[nr/])+)"'
_SPOT = re.compile(
    rb'(?:"base64"\s*+:\s*+"|"data:([^;,"\\]{0,100}(?:\\/[^;,"\\]{0,100})?)(?:;[^;,"\\]{0,100}){0,4}?;base64,)'
    + _PAYLOAD,
    re.IGNORECASE,
)
_NAMES = ("name", "filename", "file_name")


@dataclass(slots=True)
class EnclosedFile:
    """A file in a leaf of a request. keys: the way to it; container: its leaves, None when it was not opened."""

    outer: Leaf
    keys: tuple[str, ...]
    prefix: str
    media: Media
    data: bytes
    container: Container | None

    def close(self) -> None:
        """Write the file back into its leaf when something in it changed."""
        if self.container is not None and any(changed(leaf) for leaf in self.container.leaves):
            self.outer.new = self.prefix + base64.b64encode(self.container.encode()).decode("ascii")


@dataclass(frozen=True, slots=True)
class Spot:
    """A file in an answer. start, end: of its base64 text; lines: whether that is broken into lines."""

    start: int
    end: int
    content_type: str
    data: bytes
    lines: bool

    def edit(self, data: bytes) -> Edit:
        """The answer's bytes from start to end for a file that became `data`."""
        if self.lines:
            return self.start, self.end, base64.encodebytes(data).replace(b"\n", b"\\n")
        return self.start, self.end, base64.b64encode(data)


def open_enclosed(leaf: Leaf, leaves: Mapping[tuple[str, ...], str], limits: Limits) -> EnclosedFile | None:
    """The file in a JSON leaf, None where there is none. leaves: all of the document; a name beside the file is used.

    Raises BodyTooLarge.
    """
    match = _DATA_URL.match(leaf.text) if leaf.text[:5].lower() == "data:" else None
    if match is None and not (
        leaf.path[-1:] == ("base64",) and leaf.siblings.get("__class__") in ("bytes", "bytearray")
    ):
        return None
    prefix = match.group() if match is not None else ""
    data = _decoded(leaf.text[len(prefix) :])
    if not data:
        return None
    if len(data) > limits.data_file:
        raise BodyTooLarge("enclosed-file")
    content_type = match.group(1) if match is not None else ""
    name = next((leaves[at] for at in _beside(leaf.path) if at in leaves), None)
    media = kind_of(sniff_upload(content_type, name, data), data)
    keys = leaf.path[:-1] if match is None else leaf.path
    return EnclosedFile(leaf, keys, prefix, media, data, open_file(media, data, content_type, limits))


def find_enclosed(body: bytes) -> Iterator[Spot]:
    """The files in a JSON answer, in order; what is no proper base64 is none."""
    for match in _SPOT.finditer(body):
        raw = match.group(2)
        data = _decoded(raw.replace(b"\\n", b"").replace(b"\\r", b"").replace(b"\\/", b"/").decode("ascii"))
        if data:
            declared = (match.group(1) or b"").replace(b"\\/", b"/").decode("latin-1")
            yield Spot(*match.span(2), declared, data, b"\\n" in raw)


def _beside(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where the name of a file stands: beside it, or beside the object that holds it."""
    for cut in (1, 2):
        for name in _NAMES:
            yield (*path[:-cut], name)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""
