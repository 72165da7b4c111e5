"""Plain text: one value as long as the whole body, in both directions."""

from collections.abc import Sequence

from gateway.body.charset import codec_of, fitted, from_utf8, to_utf8
from gateway.body.fault import BodyTooLarge
from gateway.body.layer import Hit, Layer, Walk
from gateway.body.leaf import Leaf, changed
from gateway.body.limits import Limits
from privacy.render import Context


def walk_text(layer: Layer, hits: Sequence[Hit], walk: Walk) -> None:
    """Renders the surrogates of a text that no program parses."""
    walk.place(layer, 0, len(layer.data), hits, Context.PLAIN, wire=False)


class TextDocument:
    """A text body with one leaf, whose path is empty."""

    def __init__(self, body: bytes, codec: str, leaf: Leaf) -> None:
        self.leaves = [leaf]
        self._body = body
        self._codec = codec

    def encode(self) -> bytes:
        """The text in its own charset."""
        leaf = self.leaves[0]
        if not changed(leaf) or leaf.new is None:
            return self._body
        return from_utf8(fitted(leaf.new, self._codec).encode("utf-8", "surrogateescape"), self._codec)


def open_text(data: bytes, charset: str = "", limits: Limits | None = None) -> TextDocument:
    """Opens a text; raises BodyTooLarge, BodyUnreadable. Broken UTF-8 is kept as it is."""
    if len(data) > (limits or Limits()).body:
        raise BodyTooLarge("text-size")
    codec = codec_of(charset)
    text = to_utf8(data, codec).decode("utf-8", "surrogateescape")
    return TextDocument(data, codec, Leaf((), text))
