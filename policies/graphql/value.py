"""Values of a GraphQL request, wherever they stand: literals in the text, variables in the JSON beside it.

Both become one tree whose nodes know their place, so that what reads a filter need not know how it was sent.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import orjson
from graphql import language as gql

from policies.condition import Unreadable, read_document

DEEPEST = 64
"""Brackets inside one another, in text and variables: more than a client writes, less than recursion allows."""
MOST_VALUES = 100_000
_TOKEN = re.compile(rb'[ \t\r\n:,]*+(?:("(?:[^"\\]++|\\[\s\S])*")|([{}\[\]])|([^ \t\r\n:,\[\]{}"]++))')


class GraphqlUnreadable(ValueError):  # noqa: N818 - a state of the request
    """A request that is refused as it stands. problem: the id of the reason; what: the part, never a value."""

    permanent = True

    def __init__(self, problem: str, what: str = "") -> None:
        super().__init__(problem)
        self.problem, self.what = problem, what


class Shape(StrEnum):
    """What kind of value it is; OTHER: true, false, null, or a name (enum)."""

    TEXT = "text"
    NUMBER = "number"
    OTHER = "other"
    LIST = "list"
    OBJECT = "object"


class Site(NamedTuple):
    """A place. where: "text" (characters of the document) or "json" (bytes of the variables' document)."""

    where: str
    start: int
    end: int


@dataclass(slots=True, eq=False)
class Value:
    """One value. use: where the variable stands in the text that it came through, for the variable's own value only."""

    shape: Shape
    site: Site
    text: str = ""
    items: list["Value"] = field(default_factory=list)
    members: dict[str, "Value"] = field(default_factory=dict)
    variable: str = ""
    use: Site | None = None

    @property
    def is_null(self) -> bool:
        """Whether nothing is given."""
        return self.shape is Shape.OTHER and self.text == "null"

    def leaves(self) -> Iterator["Value"]:
        """Every text and number in it."""
        if self.shape in (Shape.TEXT, Shape.NUMBER):
            yield self
        for one in (*self.items, *self.members.values()):
            yield from one.leaves()


def read_json(data: bytes) -> Value:
    """A JSON document as a tree of values; raises GraphqlUnreadable for what two readers could read differently."""
    if not shallow(data):
        raise GraphqlUnreadable("graphql-too-complex", "depth")
    try:
        orjson.loads(data)
        read_document(data)
    except (orjson.JSONDecodeError, Unreadable, RecursionError):
        raise GraphqlUnreadable("graphql-unreadable", "json") from None
    root: Value | None = None
    count = 0
    stack: list[Value] = []
    keys: list[str | None] = []
    for match in _TOKEN.finditer(data):
        string, bracket, scalar = match.groups()
        if bracket is not None and bracket in b"}]":
            done = stack.pop()
            keys.pop()
            done.site = Site("json", done.site.start, match.end(2))
            continue
        top = stack[-1] if stack else None
        if string is not None and top is not None and top.shape is Shape.OBJECT and keys[-1] is None:
            keys[-1] = str(orjson.loads(string))
            continue
        count += 1
        if count > MOST_VALUES:
            raise GraphqlUnreadable("graphql-too-complex", "values")
        if string is not None:
            made = Value(Shape.TEXT, Site("json", *match.span(1)), str(orjson.loads(string)))
        elif bracket is not None:
            made = Value(Shape.OBJECT if bracket == b"{" else Shape.LIST, Site("json", match.start(2), 0))
        else:
            number = scalar[0] in b"-0123456789"
            made = Value(Shape.NUMBER if number else Shape.OTHER, Site("json", *match.span(3)), scalar.decode())
        if top is None:
            root = made
        elif top.shape is Shape.OBJECT:
            top.members[keys[-1] or ""] = made
            keys[-1] = None
        else:
            top.items.append(made)
        if bracket is not None:
            stack.append(made)
            keys.append(None)
    if root is None:
        raise GraphqlUnreadable("graphql-unreadable", "json")
    return root


def shallow(data: bytes) -> bool:
    """Whether brackets outside strings nest no deeper than `DEEPEST`."""
    depth = 0
    for match in _TOKEN.finditer(data):
        bracket = match.group(2)
        if bracket is not None:
            depth += 1 if bracket in b"{[" else -1
            if depth > DEEPEST:
                return False
    return True


def literal(node: gql.ValueNode, variables: Mapping[str, Value | None]) -> Value:
    """A literal as a tree. variables: those that the operation declares; None: without any value.

    Raises GraphqlUnreadable for a variable that nobody declares and for the same name twice in an object.
    """
    loc = node.loc
    assert loc is not None
    site = Site("text", loc.start, loc.end)
    if isinstance(node, gql.VariableNode):
        name = node.name.value
        if name not in variables:
            raise GraphqlUnreadable("graphql-unreadable", "variable")
        given = variables[name]
        if given is None:
            return Value(Shape.OTHER, site, "null", use=site, variable=name)
        return Value(given.shape, given.site, given.text, given.items, given.members, name, site)
    if isinstance(node, gql.StringValueNode):
        return Value(Shape.TEXT, site, node.value)
    if isinstance(node, gql.IntValueNode | gql.FloatValueNode):
        return Value(Shape.NUMBER, site, node.value)
    if isinstance(node, gql.ListValueNode):
        return Value(Shape.LIST, site, items=[literal(one, variables) for one in node.values])
    if isinstance(node, gql.ObjectValueNode):
        made = Value(Shape.OBJECT, site)
        for one in node.fields:
            if one.name.value in made.members:
                raise GraphqlUnreadable("graphql-unreadable", "twice")
            made.members[one.name.value] = literal(one.value, variables)
        return made
    if isinstance(node, gql.BooleanValueNode):
        return Value(Shape.OTHER, site, "true" if node.value else "false")
    if isinstance(node, gql.NullValueNode):
        return Value(Shape.OTHER, site, "null")
    if isinstance(node, gql.EnumValueNode):
        return Value(Shape.OTHER, site, node.value)
    raise GraphqlUnreadable("graphql-unreadable", "value")
