"""A GraphQL schema as an introspection result tells it: types with their fields, arguments and values.

Names and types only; what the result does not say, or says twice, is not there. Bounded, whatever the document holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

DEEPEST, MOST_TYPES, MOST_MEMBERS = 6, 3000, 20_000
OBJECT, INTERFACE, UNION, INPUT, ENUM, SCALAR = "OBJECT", "INTERFACE", "UNION", "INPUT_OBJECT", "ENUM", "SCALAR"
_KINDS = frozenset({OBJECT, INTERFACE, UNION, INPUT, ENUM, SCALAR})


@dataclass(slots=True)
class Member:
    """One field. type: name of its type, without lists and marks of required values; arguments: name → type."""

    type: str
    listed: bool = False
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class SchemaType:
    """One type. members: of objects, interfaces and inputs; values: of an enum."""

    name: str
    kind: str
    members: dict[str, Member] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Schema:
    """All of it. query, mutation: names of the types of top-level fields, "" where there is none."""

    query: str = ""
    mutation: str = ""
    types: dict[str, SchemaType] = field(default_factory=dict)

    def kind(self, name: str) -> str:
        """The kind of a type, "" for one that is not described."""
        found = self.types.get(name)
        return found.kind if found is not None else ""

    def roots(self, name: str) -> dict[str, Member]:
        """The top-level fields of a type of them."""
        found = self.types.get(name)
        return found.members if found is not None else {}

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        types = {
            name: [one.kind, {key: [m.type, m.listed, m.arguments] for key, m in one.members.items()}, one.values]
            for name, one in self.types.items()
        }
        return {"query": self.query, "mutation": self.mutation, "types": types}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Schema":
        """From JSON."""
        types = {
            name: SchemaType(name, kind, {key: Member(*one) for key, one in members.items()}, list(values))
            for name, (kind, members, values) in plain.get("types", {}).items()
        }
        return cls(plain.get("query", ""), plain.get("mutation", ""), types)


def read_schema(source: Mapping[str, Any]) -> Schema:
    """The `__schema` of an introspection result; parts of another shape are left out."""
    schema, left = Schema(_name(source.get("queryType")), _name(source.get("mutationType"))), MOST_MEMBERS
    for one in _dicts(source.get("types")):
        name, kind = _name(one), one.get("kind", OBJECT)
        if not name or name.startswith("__") or kind not in _KINDS or name in schema.types:
            continue
        made = SchemaType(name, kind)
        for about in (*_dicts(one.get("fields")), *_dicts(one.get("inputFields"))):
            type_, listed = _named(about.get("type"))
            if left > 0 and _name(about) and type_:
                left -= 1
                arguments = {_name(arg): _named(arg.get("type"))[0] for arg in _dicts(about.get("args")) if _name(arg)}
                made.members[_name(about)] = Member(type_, listed, arguments)
        made.values = [_name(value) for value in _dicts(one.get("enumValues"))][:1000]
        if len(schema.types) < MOST_TYPES:
            schema.types[name] = made
    return schema


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _name(about: object) -> str:
    name = about.get("name") if isinstance(about, dict) else None
    return name if isinstance(name, str) and name.isascii() and name.isidentifier() else ""


def _named(about: object) -> tuple[str, bool]:
    """(the name behind lists and marks of required values, whether there is a list); ("", False) where none is told."""
    listed = False
    for _ in range(DEEPEST):
        if not isinstance(about, dict):
            break
        inner = about.get("ofType")
        if not isinstance(inner, dict):
            return _name(about), listed
        listed = listed or about.get("kind") == "LIST"
        about = inner
    return "", False
