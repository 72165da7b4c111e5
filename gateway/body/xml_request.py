"""XML requests: every text and attribute is a leaf; what does not change keeps its bytes, but for comments.

Comments are emptied: no CRM reads them, and a value could stand in one. Read in one way only (policies.xml_document):
no document type, no entities, no processing instruction, one encoding that everything agrees on.
"""

from collections.abc import Sequence

from gateway.body import charset as charsets
from gateway.body.fault import BodyFault, BodyMalformed, BodyTooDeep, BodyTooLarge, BodyUnreadable
from gateway.body.layer import Edit, splice
from gateway.body.leaf import Leaf, changed
from gateway.body.limits import Limits
from policies.xml_document import XmlInvalid, XmlLeaf, charset_of, read_xml
from privacy.render import Context, encode, narrow


class XmlRequest:
    """An XML request body whose texts and attributes can be replaced."""

    def __init__(self, data: bytes, codec: str, leaves: Sequence[XmlLeaf], comments: Sequence[tuple[int, int]]) -> None:
        self._data = data
        self._codec = codec
        self._places = leaves
        self._comments = comments
        self.leaves = [Leaf(one.path, one.text, None, one.siblings) for one in leaves]

    def encode(self) -> bytes:
        """The document with every changed text escaped for its place."""
        edits: list[Edit] = [(start, end, b"") for start, end in self._comments if start < end]
        edits += [
            (place.start, place.end, _written(leaf.new or "", place, self._codec))
            for leaf, place in zip(self.leaves, self._places, strict=True)
            if changed(leaf)
        ]
        return charsets.from_utf8(splice(self._data, edits), self._codec)


def open_xml(data: bytes, content_type: str, limits: Limits | None = None) -> XmlRequest:
    """Opens one document; raises BodyMalformed, BodyTooDeep, BodyTooLarge, BodyUnreadable."""
    limits = limits or Limits()
    if len(data) > limits.body:
        raise BodyTooLarge("xml-size")
    try:
        label = charset_of(content_type, data)
        codec = "utf-16" if label == "utf-16" else charsets.codec_of(label)
        if codec == "latin-1" and label not in ("iso-8859-1", "latin-1", "latin1"):
            raise BodyUnreadable("charset")  # a name nobody knows
        if codec == "utf-16":
            codec = "utf-16-le" if data.startswith(b"\xff\xfe") else "utf-16-be"
        inside = charsets.to_utf8(data, codec)
        document = read_xml(inside, limits.depth, limits.leaves)
    except XmlInvalid as invalid:
        raise _fault(invalid.problem) from None
    return XmlRequest(inside, codec, document.leaves, document.comments)


def _fault(problem: str) -> BodyFault:
    if problem == "xml-depth":
        return BodyTooDeep(problem)
    return BodyTooLarge(problem) if problem == "xml-leaves" else BodyMalformed(problem)


def _written(text: str, place: XmlLeaf, codec: str) -> bytes:
    context = Context.XML_ATTRIBUTE if place.attribute else Context.XML_TEXT
    written = encode(text, context)
    if codec != "utf-8" and not written.isascii():
        written = narrow(written, context, codec)
    data = written.encode("utf-8", "surrogatepass")
    return b">" + data + place.closing if place.closing else data
