"""A GraphQL request with other values in it: literals and variables change where they stand, all other signs stay.

A variable that is used in several places with different results keeps the value of those that did not change; the
others become literals. One that nobody uses any more loses its definition, because servers refuse it, and its value.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

import orjson
from graphql import language as gql
from graphql.language import visitor

from policies.graphql.request import Call, Read, Transport, comments
from policies.graphql.value import GraphqlUnreadable, Shape, Site, Value

UNMAPPED = "graphql-unmapped"
New = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""A text, a list of texts, or an object of one operator."""


class _Gone:
    """A use that stands in something that is replaced as a whole."""


GONE = _Gone()
_Proposed = New | _Gone | None


@dataclass(slots=True)
class Rewrite:
    """What becomes of the values of one request. read: the request; filled by `change`, used up by `written`."""

    read: Read
    proposed: dict[tuple[int, Site], list[tuple[Value, _Proposed]]] = field(default_factory=dict)

    def change(self, call: int, value: Value, new: _Proposed) -> None:
        """What one use of a value becomes; None: it stays as it is."""
        where = call if value.site.where == "text" else -1
        self.proposed.setdefault((where, value.site), []).append((value, new))
        if value.use is not None:
            self.uses.setdefault((where, value.site), []).append((call, value.use))

    uses: dict[tuple[int, Site], list[tuple[int, Site]]] = field(default_factory=dict)

    def body(self) -> bytes:
        """The body as it is now; raises GraphqlUnreadable where uses of a value contradict one another."""
        texts, document = self._now()
        read = self.read
        if read.transport is Transport.TEXT:
            return texts[0].encode()
        for call in read.calls:
            if call.query is not None and texts[call.number] != call.text:
                document[call.query.site] = _json(texts[call.number])
            if call.extensions is not None and "persistedQuery" in call.extensions.members:
                document[call.extensions.site] = "{}"  # a hash of another text than the one that goes on
        return _spliced(read.document, document)

    def address(self, query: str) -> str:
        """The query of the address with the document and its variables as they are now; raises GraphqlUnreadable."""
        texts, document = self._now()
        now = {"query": texts[0], "variables": _spliced(self.read.document, document).decode(), "extensions": "{}"}
        pairs = parse_qsl(query, keep_blank_values=True)
        return "&".join(f"{name}={quote(now.get(name, value), safe='')}" for name, value in pairs)

    def _now(self) -> tuple[dict[int, str], dict[Site, str]]:
        """The text of each call, and the edits of the JSON beside them."""
        edits: dict[int, dict[Site, str]] = {}
        for (where, site), proposals in self.proposed.items():
            self._settle(where, site, proposals, edits)
        texts = {call.number: self._text(call, edits.get(call.number, {})) for call in self.read.calls}
        return texts, edits.get(-1, {})

    def _settle(
        self,
        where: int,
        site: Site,
        proposals: Iterable[tuple[Value, _Proposed]],
        edits: dict[int, dict[Site, str]],
    ) -> None:
        staying = [(value, new) for value, new in proposals if new is not GONE]
        wanted = {_key(new) for _, new in staying}
        if not staying:
            _put(edits, where, site, _as_text(site, ""))
        elif len(wanted) == 1:
            new = staying[0][1]
            if new is not None and not isinstance(new, _Gone):
                _put(edits, where, site, _as_text(site, new))
        else:
            self._split(where, site, staying, edits)

    def _split(
        self,
        where: int,
        site: Site,
        staying: Sequence[tuple[Value, _Proposed]],
        edits: dict[int, dict[Site, str]],
    ) -> None:
        """Uses of one variable that want different values: those that change become literals."""
        calls = dict.fromkeys(self.uses.get((where, site), ()))
        of_use = {use: call for call, use in calls}
        if len(of_use) != len(calls) or any(value.use is None or value.shape is not Shape.TEXT for value, _ in staying):
            raise GraphqlUnreadable(UNMAPPED, "used twice")
        for value, new in staying:
            if new is not None and not isinstance(new, _Gone) and value.use is not None:
                _put(edits, of_use[value.use], value.use, _as_text(value.use, new))
        if all(new is not None for _, new in staying):
            _put(edits, where, site, _as_text(site, ""))

    def _text(self, call: Call, edits: Mapping[Site, str]) -> str:
        spans = dict(edits)
        covered = [(site.start, site.end) for site in edits]
        for span in _definitions(call.document, covered):
            spans = {site: new for site, new in spans.items() if not _inside(span, (site.start, site.end))}
            spans[Site("text", *span)] = ""
        for span in comments(call.document):
            spans[Site("text", *span)] = ""
        return _joined(call.text, sorted((site.start, site.end, new) for site, new in spans.items()))


def _put(edits: dict[int, dict[Site, str]], where: int, site: Site, new: str) -> None:
    known = edits.setdefault(where, {})
    if known.setdefault(site, new) != new:
        raise GraphqlUnreadable(UNMAPPED, "used twice")


def _key(new: _Proposed) -> object:
    return None if new is None else repr(new)


def _as_text(site: Site, new: New) -> str:
    if site.where == "json":
        return _json(new)
    if isinstance(new, str):
        return _json(new)
    if isinstance(new, Mapping):
        return "{" + ", ".join(f"{name}: {_as_text(site, one)}" for name, one in new.items()) + "}"
    return "[" + ", ".join(map(_json, new)) + "]"


def _json(value: New) -> str:
    return orjson.dumps(value).decode()


def _inside(outer: tuple[int, int], inner: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _definitions(document: gql.DocumentNode, covered: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where definitions of variables stand that nobody uses any more; with the brackets where none is left."""
    if not covered:
        return []
    left, gone = _variables(document, covered)
    unused = gone - left
    found = []
    for one in document.definitions:
        if not isinstance(one, gql.OperationDefinitionNode):
            continue
        defined = one.variable_definitions or ()
        dropped = [item for item in defined if item.variable.name.value in unused]
        if dropped and len(dropped) == len(defined):
            first, last = defined[0].loc, defined[-1].loc
            assert first is not None
            assert last is not None
            opening, closing = first.start_token.prev, last.end_token.next
            while closing is not None and closing.kind is not gql.TokenKind.PAREN_R:
                closing = closing.next
            while opening is not None and opening.kind is not gql.TokenKind.PAREN_L:
                opening = opening.prev
            assert opening is not None
            assert closing is not None
            found.append((opening.start, closing.end))
        else:
            found += [(item.loc.start, item.loc.end) for item in dropped if item.loc is not None]
    return found


def _variables(document: gql.DocumentNode, covered: Sequence[tuple[int, int]]) -> tuple[set[str], set[str]]:
    """(variables that are used outside what is replaced, those inside it)."""
    left: set[str] = set()
    gone: set[str] = set()

    class Uses(visitor.Visitor):
        def enter_variable_definition(self, *_: object) -> object:
            return visitor.SKIP

        def enter_variable(self, node: gql.VariableNode, *_: object) -> None:
            assert node.loc is not None
            span = (node.loc.start, node.loc.end)
            (gone if any(_inside(one, span) for one in covered) else left).add(node.name.value)

    visitor.visit(document, Uses())
    return left, gone


def _joined(text: str, edits: Sequence[tuple[int, int, str]]) -> str:
    parts: list[str] = []
    at = 0
    for start, end, new in edits:
        if start < at:
            raise GraphqlUnreadable(UNMAPPED, "used twice")
        parts += [text[at:start], new]
        at = end
    return "".join(parts) + text[at:]


def _spliced(data: bytes, edits: Mapping[Site, str]) -> bytes:
    parts: list[bytes] = []
    at = 0
    for site, new in sorted(edits.items()):
        if site.start < at:
            raise GraphqlUnreadable(UNMAPPED, "used twice")
        parts += [data[at : site.start], new.encode()]
        at = site.end
    return b"".join(parts) + data[at:]
