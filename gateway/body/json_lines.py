"""Several JSON documents in one request: one a line (JSON lines), or each behind a record separator (RFC 7464).

Every document is opened as strictly as a single one; the number of the line is the first step of its paths, as if all
of them stood in one list. What does not change keeps its bytes, line ends included.
"""

import re

from gateway.body.fault import BodyMalformed, BodyTooLarge
from gateway.body.json import JsonDocument, open_json
from gateway.body.leaf import Leaf
from gateway.body.limits import Limits

_LINE = re.compile(rb"[^\n]+")
_RECORD = re.compile(rb"[^\x1e]+")


class JsonLines:
    """The documents of one body; leaves and blanks as those of one document that is a list."""

    def __init__(self, data: bytes, documents: list[tuple[int, int, JsonDocument]]) -> None:
        self._data = data
        self._documents = documents
        self.leaves: list[Leaf] = []
        self.blanks: list[Leaf] = []
        for number, (_, _, document) in enumerate(documents):
            for leaf in (*document.leaves, *document.blanks):
                leaf.path = (str(number), *leaf.path)
            self.leaves += document.leaves
            self.blanks += document.blanks

    def encode(self) -> bytes:
        """The body with every changed leaf replaced."""
        parts, at = [], 0
        for start, end, document in self._documents:
            parts += [self._data[at:start], document.encode()]
            at = end
        return b"".join((*parts, self._data[at:]))


def open_lines(data: bytes, limits: Limits | None = None) -> JsonLines:
    """Opens a body of JSON lines or records; raises BodyMalformed, BodyTooDeep, BodyTooLarge."""
    limits = limits or Limits()
    if len(data) > limits.body:
        raise BodyTooLarge("json-size")
    records = b"\x1e" in data
    if records and data[: data.index(b"\x1e")].strip():
        raise BodyMalformed("json-sequence")
    documents: list[tuple[int, int, JsonDocument]] = []
    left = limits.leaves
    for match in (_RECORD if records else _LINE).finditer(data):
        start, end = match.span()
        if data[start:end].isspace():
            continue
        if end - start > 1 and b"\r" in data[start : end - 1]:
            raise BodyMalformed("json-line")  # some readers end a line at a bare carriage return
        document = open_json(data[start:end], limits)
        left -= len(document.leaves) + len(document.blanks) + 1
        if left < 0:
            raise BodyTooLarge("json-leaves")
        documents.append((start, end, document))
    return JsonLines(data, documents)
