"""A GraphQL request as it comes over HTTP: in a JSON body, several in an array, in the address, or as a bare document.

Read strictly: what two servers could read differently, names a document by its hash only, or does more than ask and
change (subscriptions), is refused with the id of the reason.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl

from graphql import GraphQLError, Source
from graphql import language as gql

from policies.graphql.mapping import Bounds
from policies.graphql.value import DEEPEST, GraphqlUnreadable, Shape, Value, read_json

UNREADABLE, TOO_COMPLEX, PERSISTED, SUBSCRIPTION = (
    "graphql-unreadable",
    "graphql-too-complex",
    "graphql-persisted",
    "graphql-subscription",
)
MOST_CHARS = 200_000
_MEMBERS = frozenset({"query", "variables", "operationName", "extensions"})
_HASHES = frozenset({"id", "documentId", "document_id", "doc_id", "queryId", "hash", "sha256Hash"})


class Transport(StrEnum):
    """Where the document stands: in a JSON body, in the query of the address, or as the body itself."""

    JSON = "json"
    QUERY = "query"
    TEXT = "text"


@dataclass(slots=True, eq=False)
class Call:
    """One GraphQL request. query, variables, extensions: the values of the JSON that holds them, None without one.

    number: its place in a batch.
    """

    number: int
    text: str
    document: gql.DocumentNode
    name: str = ""
    query: Value | None = None
    variables: Value | None = None
    extensions: Value | None = None

    @property
    def operations(self) -> list[gql.OperationDefinitionNode]:
        """The operations of the document."""
        return [one for one in self.document.definitions if isinstance(one, gql.OperationDefinitionNode)]

    @property
    def fragments(self) -> dict[str, gql.FragmentDefinitionNode]:
        """The named fragments of the document."""
        found = (one for one in self.document.definitions if isinstance(one, gql.FragmentDefinitionNode))
        return {one.name.value: one for one in found}

    @property
    def executed(self) -> gql.OperationDefinitionNode:
        """The operation that the server runs."""
        found = [one for one in self.operations if not self.name or (one.name and one.name.value == self.name)]
        return found[0]


@dataclass(slots=True, eq=False)
class Read:
    """All of one HTTP request. document: the JSON that variables stand in; batched: the body is an array of calls."""

    transport: Transport
    calls: list[Call]
    document: bytes = b""
    batched: bool = False


def read_request(method: str, query: str, body: bytes | None, content_type: str, bounds: Bounds) -> Read:
    """The calls of one request; raises GraphqlUnreadable."""
    parameters = _parameters(query)
    if method != "POST":
        if body:
            raise GraphqlUnreadable(UNREADABLE, "body")
        return _from_query(parameters, bounds)
    if _MEMBERS & parameters.keys():
        raise GraphqlUnreadable(UNREADABLE, "address")
    media, _, rest = content_type.partition(";")
    charset = rest.replace(" ", "").replace('"', "").lower()
    if "charset=" in charset and "charset=utf-8" not in charset and "charset=utf8" not in charset:
        raise GraphqlUnreadable(UNREADABLE, "charset")
    match media.strip().lower():
        case "application/graphql":
            text = _decoded(body or b"")
            call = Call(0, text, parsed(text, bounds))
            _require_executable(call)
            return Read(Transport.TEXT, [call])
        case "application/json" | "application/graphql+json":
            return _from_json(body or b"", bounds)
        case _:
            raise GraphqlUnreadable(UNREADABLE, "media")


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise GraphqlUnreadable(UNREADABLE, "charset") from None


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=50, errors="strict")
    except ValueError:
        raise GraphqlUnreadable(UNREADABLE, "address") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise GraphqlUnreadable(UNREADABLE, "twice")
    return found


def _from_query(parameters: Mapping[str, str], bounds: Bounds) -> Read:
    _require_text(parameters.keys())
    if not parameters.keys() <= _MEMBERS:
        raise GraphqlUnreadable(UNREADABLE, "address")
    document = parameters.get("variables", "").encode()
    variables = read_json(document) if document.strip() else None
    extensions = parameters.get("extensions", "").encode()
    text = parameters["query"]
    call = Call(
        0,
        text,
        parsed(text, bounds),
        parameters.get("operationName", ""),
        None,
        _object(variables),
        _object(read_json(extensions)) if extensions.strip() else None,
    )
    _require_executable(call)
    if any(one.operation is not gql.OperationType.QUERY for one in call.operations):
        raise GraphqlUnreadable(UNREADABLE, "method")
    return Read(Transport.QUERY, [call], document)


def _from_json(body: bytes, bounds: Bounds) -> Read:
    root = read_json(body)
    batched = root.shape is Shape.LIST
    entries = root.items if batched else [root]
    if not entries:
        raise GraphqlUnreadable(UNREADABLE, "empty")
    if len(entries) > bounds.calls:
        raise GraphqlUnreadable(TOO_COMPLEX, "calls")
    return Read(Transport.JSON, [_call(number, one, bounds) for number, one in enumerate(entries)], body, batched)


def _call(number: int, entry: Value, bounds: Bounds) -> Call:
    if entry.shape is not Shape.OBJECT:
        raise GraphqlUnreadable(UNREADABLE, "call")
    members = entry.members
    _require_text([name for name, one in members.items() if not one.is_null])
    if not members.keys() <= _MEMBERS:
        raise GraphqlUnreadable(UNREADABLE, "member")
    query, name = members["query"], members.get("operationName")
    if query.shape is not Shape.TEXT or (name is not None and not name.is_null and name.shape is not Shape.TEXT):
        raise GraphqlUnreadable(UNREADABLE, "member")
    call = Call(
        number,
        query.text,
        parsed(query.text, bounds),
        name.text if name is not None and not name.is_null else "",
        query,
        _object(members.get("variables")),
        _object(members.get("extensions")),
    )
    _require_executable(call)
    return call


def _require_text(names: Iterable[str]) -> None:
    """A document named by its hash could be any: nothing can be said of it."""
    given = set(names)
    if "query" in given:
        return
    raise GraphqlUnreadable(PERSISTED if "extensions" in given or given & _HASHES else UNREADABLE, "text")


def _object(value: Value | None) -> Value | None:
    if value is None or value.is_null:
        return None
    if value.shape is not Shape.OBJECT:
        raise GraphqlUnreadable(UNREADABLE, "member")
    return value


def parsed(text: str, bounds: Bounds) -> gql.DocumentNode:
    """A document within its bounds; raises GraphqlUnreadable.

    Brackets and tokens are counted by the lexer before the parser, which calls itself, sees anything.
    """
    if len(text) > MOST_CHARS:
        raise GraphqlUnreadable(TOO_COMPLEX, "length")
    try:
        _require_bounded(text, bounds)
        document = gql.parse(text, allow_empty_selection_sets=False)
    except GraphQLError:
        raise GraphqlUnreadable(UNREADABLE, "text") from None
    except RecursionError:
        raise GraphqlUnreadable(TOO_COMPLEX, "depth") from None
    for one in document.definitions:
        if isinstance(one, gql.OperationDefinitionNode):
            if one.operation is gql.OperationType.SUBSCRIPTION:
                raise GraphqlUnreadable(SUBSCRIPTION)
        elif not isinstance(one, gql.FragmentDefinitionNode):
            raise GraphqlUnreadable(UNREADABLE, "definition")
    return document


def _require_bounded(text: str, bounds: Bounds) -> None:
    depth = count = 0
    lexer = gql.Lexer(Source(text))
    while True:
        token = lexer.advance()
        if token.kind is gql.TokenKind.EOF:
            return
        count += 1
        if token.kind in _OPENING:
            depth += 1
        elif token.kind in _CLOSING:
            depth -= 1
        if count > bounds.tokens:
            raise GraphqlUnreadable(TOO_COMPLEX, "tokens")
        if depth > DEEPEST:
            raise GraphqlUnreadable(TOO_COMPLEX, "depth")


_OPENING = frozenset({gql.TokenKind.BRACE_L, gql.TokenKind.BRACKET_L, gql.TokenKind.PAREN_L})
_CLOSING = frozenset({gql.TokenKind.BRACE_R, gql.TokenKind.BRACKET_R, gql.TokenKind.PAREN_R})


def _require_executable(call: Call) -> None:
    """One operation has to be meant, by its name where there are several."""
    names = [one.name.value if one.name else "" for one in call.operations]
    if not names or len(set(names)) != len(names) or (len(names) > 1 and "" in names):
        raise GraphqlUnreadable(UNREADABLE, "operation")
    if (call.name and call.name not in names) or (not call.name and len(names) > 1):
        raise GraphqlUnreadable(UNREADABLE, "operation")
    fragments = [one for one in call.document.definitions if isinstance(one, gql.FragmentDefinitionNode)]
    if len({one.name.value for one in fragments}) != len(fragments):
        raise GraphqlUnreadable(UNREADABLE, "fragment")


def comments(document: gql.DocumentNode) -> Iterator[tuple[int, int]]:
    """Where comments stand, from the sign to the end of the line."""
    token = document.loc.start_token if document.loc is not None else None
    while token is not None:
        if token.kind is gql.TokenKind.COMMENT:
            yield token.start, token.end
        token = token.next
