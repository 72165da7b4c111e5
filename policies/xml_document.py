"""XML as conditions and selectors read it: strictly, once, every text and attribute with its place.

expat judges whether a document is well-formed; what it accepts is cut into tokens here, because only then it is known
which bytes a text stands in. Refused is what two readers could read differently: document types, processing
instructions, text beside elements, encodings that disagree.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from xml.parsers import expat

from policies.steps import ONE_OR_NONE, ends_alike, matches, named_last

MOST_DEPTH, MOST_LEAVES = 64, 200_000
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([A-Za-z0-9_:.+-]{1,40})""", re.I)
_DECLARATION = re.compile(rb"""\A<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_:.+-]{1,40})["']""")
_TOKEN = re.compile(
    rb"<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>"
    rb"|</([^\s>]++)\s*+>|<([^\s/>!?]++)((?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+)>"
)
_ATTRIBUTE = re.compile(rb"""([^\s=/"'<>]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""")
_REFERENCE = re.compile(r"&(?:#x[0-9a-fA-F]{1,8}|#[0-9]{1,8}|amp|lt|gt|quot|apos);")
_INNER = re.compile(r"<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>")


class XmlInvalid(ValueError):  # noqa: N818 - a state of the document
    """A document that cannot be read in one way only; problem: a stable id."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(slots=True)
class XmlLeaf:
    """A text or an attribute. path: local names from the root, a decimal index behind each that stands several times.

    start, end: the bytes that hold it; closing: what an element written `<a/>` needs behind a text, else b"".
    siblings: other texts of the same element by their names.
    """

    path: tuple[str, ...]
    text: str
    start: int
    end: int
    closing: bytes = b""
    siblings: Mapping[str, str] = field(default_factory=dict)

    @property
    def attribute(self) -> bool:
        """Whether it is an attribute."""
        return self.path[-1].startswith("@")


@dataclass(slots=True)
class XmlDocument:
    """One document. comments: where they stand; root, inner: (namespace, local name) of the root, and of the elements
    two steps below it by the name of what they are in."""

    leaves: list[XmlLeaf]
    comments: list[tuple[int, int]]
    root: tuple[str, str]
    inner: list[tuple[tuple[str, str], tuple[str, str]]]


@dataclass(slots=True)
class _Element:
    """An element that is being read."""

    name: str
    namespace: str
    spaces: Mapping[str, str]
    attributes: list[tuple[str, str, int, int]]
    start: int
    end: int = 0
    closing: bytes = b""
    children: list["_Element"] = field(default_factory=list)


def charset_of(content_type: str, body: bytes) -> str:
    """The one charset that byte order mark, declaration and content type agree on; raises XmlInvalid.

    Where nobody says anything it is UTF-8 (XML 1.0, section 4.3.3).
    """
    mark = next((name for bom, name in _BOMS if body.startswith(bom)), "")
    named = _CHARSET.search(content_type)
    plain = body[3:] if mark == "utf-8" else body
    declared = _DECLARATION.match(plain if mark != "utf-16" else _ascii_of(body))
    found = {
        _spelled(one) for one in (mark, named[1] if named else "", declared[1].decode() if declared else "") if one
    }
    if len(found) > 1:
        raise XmlInvalid("xml-encoding")
    label = found.pop() if found else "utf-8"
    if label == "utf-16" and not mark:
        raise XmlInvalid("xml-encoding")  # which of its two orders, nobody says
    return label


def _ascii_of(body: bytes) -> bytes:
    return body[2:].replace(b"\0", b"")[:400]


def _spelled(label: str) -> str:
    lowered = label.lower().replace("_", "-")
    return {"utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "utf-16le": "utf-16", "utf-16be": "utf-16"}.get(
        lowered, lowered
    )


def read_xml(data: bytes, depth: int = MOST_DEPTH, leaves: int = MOST_LEAVES) -> XmlDocument:
    """A document in UTF-8, whatever its declaration says; raises XmlInvalid."""
    _require_well_formed(data, depth)
    root, comments = _tree(data)
    found: list[XmlLeaf] = []
    for leaf in _leaves(root, (root.name,), {}, data):
        found.append(leaf)
        if len(found) > leaves:
            raise XmlInvalid("xml-leaves")
    inner = [
        ((child.namespace, child.name), (one.namespace, one.name)) for child in root.children for one in child.children
    ]
    # An element without children has none inside, and has to be seen all the same: an empty Body is no operation.
    return XmlDocument(found, comments, (root.namespace, root.name), inner)


def _require_well_formed(data: bytes, depth: int) -> None:
    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = False
    level = 0

    def doctype(*_: object) -> int:
        raise XmlInvalid("xml-doctype")

    def instruction(*_: object) -> None:
        raise XmlInvalid("xml-instruction")

    def start(_name: str, _attributes: object) -> None:
        nonlocal level
        level += 1
        if level > depth:
            raise XmlInvalid("xml-depth")

    def end(_name: str) -> None:
        nonlocal level
        level -= 1

    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = doctype
    parser.ExternalEntityRefHandler = doctype
    parser.ProcessingInstructionHandler = instruction
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        raise XmlInvalid("xml") from None


def _tree(data: bytes) -> tuple[_Element, list[tuple[int, int]]]:
    """The elements of a document that is known to be well-formed, and where its comments stand."""
    top = _Element("", "", {"": "", "xml": "http://www.w3.org/XML/1998/namespace"}, [], 0)
    stack = [top]
    comments: list[tuple[int, int]] = []
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    mixed = False  # text since the last tag
    for token in _TOKEN.finditer(data):
        start, last = token.span()
        mixed = mixed or (not data[at:start].isspace() and at < start)
        at = last
        if token.start(1) >= 0:
            closed = stack.pop()
            if mixed and closed.children:
                raise XmlInvalid("xml-mixed")
            closed.end = start
            mixed = False
        elif token.start(2) >= 0:
            if mixed:
                raise XmlInvalid("xml-mixed")
            element = _opened(token, stack[-1].spaces)
            stack[-1].children.append(element)
            if not element.closing:
                stack.append(element)
        elif data.startswith(b"<!--", start):
            comments.append((start + 4, last - 3))
        elif data.startswith(b"<![CDATA[", start):
            mixed = True
    if len(top.children) != 1 or len(stack) != 1:
        raise XmlInvalid("xml")
    return top.children[0], comments


def _opened(token: re.Match[bytes], outer: Mapping[str, str]) -> _Element:
    inside = token.group(3)
    empty = inside.endswith(b"/")
    base = token.start(3)
    found = [
        (one.group(1).decode(), one.group(one.lastindex or 2), base + one.start(one.lastindex or 2))
        for one in _ATTRIBUTE.finditer(inside)
    ]
    spaces = outer
    declared = {
        name.partition(":")[2]: _attribute_text(value)
        for name, value, _ in found
        if name == "xmlns" or name.startswith("xmlns:")
    }
    if declared:
        spaces = {**outer, **declared}
    raw = token.group(2).decode()
    prefix, colon, local = raw.partition(":")
    attributes = [
        (name.rpartition(":")[2], _attribute_text(value), start, start + len(value))
        for name, value, start in found
        if name != "xmlns" and not name.startswith("xmlns:")
    ]
    end = token.end()
    namespace = spaces.get(prefix if colon else "", "")
    closing = b"</" + token.group(2) + b">" if empty else b""
    return _Element(local if colon else raw, namespace, spaces, attributes, end, end, closing)


def _leaves(element: _Element, path: tuple[str, ...], siblings: Mapping[str, str], data: bytes) -> Iterator[XmlLeaf]:
    counted = Counter(name for name, *_ in element.attributes)
    for number, (name, text, start, end) in enumerate(element.attributes):
        step = (f"@{name}",) if counted[name] == 1 else (f"@{name}", str(number))
        yield XmlLeaf((*path, *step), text, start, end, b"", siblings)
    if not element.children:
        start = element.start - 2 if element.closing else element.start
        text = "" if element.closing else _text(data[element.start : element.end])
        yield XmlLeaf(path, text, start, element.end, element.closing, siblings)
        return
    names = Counter(child.name for child in element.children)
    texts = {
        child.name: _text(data[child.start : child.end])
        for child in element.children
        if not child.children and names[child.name] == 1 and not child.closing
    }
    seen: Counter[str] = Counter()
    for child in element.children:
        step = (child.name,) if names[child.name] == 1 else (child.name, str(seen[child.name]))
        seen[child.name] += 1
        yield from _leaves(child, (*path, *step), texts, data)


def _text(raw: bytes) -> str:
    """What stands between two tags: comments gone, CDATA as it is, references and line ends resolved."""
    text = raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    if "<" not in text:
        return _resolved(text)
    parts, at = [], 0
    for match in _INNER.finditer(text):
        parts += [_resolved(text[at : match.start()]), match.group(1) or ""]
        at = match.end()
    return "".join((*parts, _resolved(text[at:])))


def _resolved(text: str) -> str:
    return _REFERENCE.sub(lambda found: _character(found[0]), text) if "&" in text else text


def _character(reference: str) -> str:
    if reference.startswith("&#"):  # html.unescape would read some numbers as windows-1252
        return chr(int(reference[3:-1], 16) if reference[2] == "x" else int(reference[2:-1]))
    return unescape(reference)


def _attribute_text(raw: bytes) -> str:
    text = raw.decode("utf-8").replace("\r\n", "\n")
    return _resolved(text.replace("\n", " ").replace("\r", " ").replace("\t", " "))


def element_selector(text: str) -> tuple[str, ...]:
    """`Envelope/Body/create/sObjects/LastName` as a selector; `**` any steps, `@name` an attribute."""
    steps: list[str] = []
    for step in text.strip("/").split("/"):
        steps += [step] if step == "**" else [step, ONE_OR_NONE]
    return tuple(steps)


def texts_at(document: XmlDocument, selector: Sequence[str]) -> list[str]:
    """Every text at a place, in the order of the document."""
    return [
        leaf.text
        for leaf in document.leaves
        if (selector[-1] != ONE_OR_NONE or ends_alike(selector, named_last(leaf.path))) and matches(selector, leaf.path)
    ]
