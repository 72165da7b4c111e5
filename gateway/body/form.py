"""URL-encoded forms and query strings: fields in order, duplicates kept, untouched fields byte-identical.

Percent-encoding is undone as the URL standard says (section 5.1): `+` is a space, a broken escape stands for itself.
Refused: values that are not UTF-8, because a CRM might read them as something else than what was looked at.
"""

import re
from urllib.parse import quote, quote_plus, unquote_to_bytes

from gateway.body.charset import codec_of
from gateway.body.fault import BodyMalformed, BodyTooLarge
from gateway.body.leaf import NO_SIBLINGS, Leaf, changed
from gateway.body.limits import Limits

_PAIR = re.compile(r"[^&]+")


class FormDocument:
    """Fields of a form or query; leaf paths are the field name alone."""

    def __init__(self, raw: str, leaves: list[Leaf], spans: list[tuple[int, int]], *, plus: bool) -> None:
        self.leaves = leaves
        self._raw = raw
        self._spans = spans
        self._plus = plus
        self.added: list[tuple[str, str]] = []
        """Fields that stand at the end of the form when it is written."""

    @property
    def text(self) -> str:
        """The encoded form with every changed value written anew."""
        parts: list[str] = []
        at = 0
        for leaf, (start, end) in zip(self.leaves, self._spans, strict=True):
            if changed(leaf) and leaf.new is not None:
                value = self._encoded(leaf.new)
                parts += [self._raw[at:start], "" if self._raw[start - 1 : start] == "=" else "=", value]
                at = end
        parts.append(self._raw[at:])
        text = "".join(parts)
        for name, value in self.added:
            text += f"{'&' if text else ''}{self._encoded(name)}={self._encoded(value)}"
        return text

    def _encoded(self, text: str) -> str:
        return quote_plus(text) if self._plus else quote(text, safe="")

    def encode(self) -> bytes:
        """The same as bytes."""
        return self.text.encode("latin-1")


def open_form(data: bytes, charset: str = "", limits: Limits | None = None) -> FormDocument:
    """Opens an application/x-www-form-urlencoded body; raises BodyMalformed, BodyTooLarge.

    Another charset than UTF-8 is refused: the URL standard knows no other (section 5).
    """
    if charset and codec_of(charset) not in ("utf-8", "latin-1"):
        raise BodyMalformed("form-charset")
    limits = limits or Limits()
    if len(data) > limits.body:
        raise BodyTooLarge("form-size")
    return _open(data.decode("latin-1"), limits, plus=True)


def open_query(query: str, limits: Limits | None = None) -> FormDocument:
    """Opens a raw query string (without `?`), as received; changed values are percent-encoded, spaces as `%20`."""
    return _open(query, limits or Limits(), plus=False)


def _open(raw: str, limits: Limits, *, plus: bool) -> FormDocument:
    leaves: list[Leaf] = []
    spans: list[tuple[int, int]] = []
    for match in _PAIR.finditer(raw):
        pair, start = match.group(), match.start()
        equals = pair.find("=")
        name = pair if equals < 0 else pair[:equals]
        first = start + (len(pair) if equals < 0 else equals + 1)
        leaves.append(Leaf((_decoded(name),), _decoded(raw[first : match.end()]), None, NO_SIBLINGS))
        spans.append((first, match.end()))
        if len(leaves) > limits.leaves:
            raise BodyTooLarge("form-fields")
    return FormDocument(raw, leaves, spans, plus=plus)


def _decoded(raw: str) -> str:
    try:
        return unquote_to_bytes(raw.replace("+", " ").encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise BodyMalformed("form-charset") from None
