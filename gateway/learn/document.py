"""What a CRM says about itself: an OpenAPI document, a GraphQL introspection result, OData metadata.

Only names, types and formats are taken; a name is read by the vocabulary like any other, a format counts as told.
What a document does not say is not made up.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import orjson
import yaml

from gateway.learn.naming import name_of
from gateway.learn.schema import Schema, read_schema

FORMATS = {
    "email": "email", "idn-email": "email", "phone": "phone", "tel": "phone", "date": "date", "date-time": "plain",
    "uuid": "plain", "uri": "plain", "url": "plain", "password": "secret", "binary": "plain", "byte": "plain",
    "ipv4": "plain", "decimal": "plain", "int64": "plain", "int32": "plain",
}  # fmt: skip
GRAPHQL_KINDS = {"EmailAddress": "email", "Email": "email", "PhoneNumber": "phone", "Phone": "phone"}
"""Scalars whose name tells a kind."""
MOST_BYTES, DEEPEST, MOST_FIELDS = 32 * 1024 * 1024, 6, 20_000
_PARAMETER = re.compile(r"\{[^}]*\}")
_METHODS = {"get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE"}


class DocumentInvalid(ValueError):  # noqa: N818 - says what is wrong
    """A document of no known kind; the text says which are known."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Told:
    """One field as a document has it. kind: of the taxonomy, plain, secret, date, or "" where only its name is told."""

    entity: str
    name: str
    kind: str = ""
    longest: int = 0
    label: str = ""


@dataclass(slots=True)
class Document:
    """What was read. actions: "METHOD template" → action; schema: of GraphQL."""

    kind: str = ""
    fields: list[Told] = field(default_factory=list)
    actions: dict[str, str] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)

    def told(self, name: str) -> str:
        """The kind of fields of this name, "" where the document does not say it or contradicts itself."""
        kinds = {one.kind for one in self.fields if one.name == name and one.kind}
        return kinds.pop() if len(kinds) == 1 else ""

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        fields = [[one.entity, one.name, one.kind, one.longest, one.label] for one in self.fields]
        return {"kind": self.kind, "fields": fields, "actions": self.actions, "schema": self.schema.plain()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Document":
        """From JSON."""
        return cls(
            plain["kind"],
            [Told(*one) for one in plain["fields"]],
            dict(plain["actions"]),
            Schema.of(plain.get("schema", {})),
        )


def describes(tree: object) -> bool:
    """Whether a JSON document describes an interface."""
    if not isinstance(tree, dict):
        return False
    if isinstance(tree.get("paths"), dict) and ("openapi" in tree or "swagger" in tree):
        return True
    schema = tree.get("data", tree)
    return isinstance(schema, dict) and isinstance(schema.get("__schema"), dict)


def read_document(data: bytes) -> Document:
    """A document of any of the three kinds; raises DocumentInvalid."""
    if len(data) > MOST_BYTES:
        raise DocumentInvalid(f"The document has more than {MOST_BYTES // 1024 // 1024} MB.")
    start = data.lstrip()[:1]
    if start == b"<":
        return _odata(data)
    source: Any
    try:
        if start == b"{":
            source = orjson.loads(data)
        else:
            source = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe either way
    except (orjson.JSONDecodeError, yaml.YAMLError, UnicodeDecodeError):
        raise DocumentInvalid("The document is neither JSON, YAML nor XML.") from None
    if isinstance(source, dict) and describes(source):
        return _openapi(source) if "paths" in source else _graphql(source.get("data", source)["__schema"])
    raise DocumentInvalid("Known are OpenAPI documents, GraphQL introspection results and OData $metadata.")


# -- OpenAPI ---------------------------------------------------------------------------------------------------


def _openapi(source: Mapping[str, Any]) -> Document:
    found = Document("openapi")
    schemas = source.get("components", {}).get("schemas", {}) or source.get("definitions", {})
    for name, schema in schemas.items() if isinstance(schemas, dict) else ():
        for key, about in _properties(schema, source, 0):
            if len(found.fields) < MOST_FIELDS:
                found.fields.append(_told(name_of(name), key, about))
    for path, methods in source["paths"].items():
        for method, about in methods.items() if isinstance(methods, dict) else ():
            if method in _METHODS and isinstance(about, dict):
                found.actions.update(_action_of(_METHODS[method], str(path), about))
    return found


def _properties(schema: Any, source: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(schema, dict) or depth > DEEPEST:
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        yield from _properties(_resolved(reference, source), source, depth + 1)
    for part in schema.get("allOf", ()):
        yield from _properties(part, source, depth + 1)
    properties = schema.get("properties")
    for key, about in properties.items() if isinstance(properties, dict) else ():
        if isinstance(about, dict):
            yield str(key), about


def _resolved(reference: str, source: Mapping[str, Any]) -> Any:
    at: Any = source
    for step in reference.removeprefix("#/").split("/"):
        at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
    return at


def _told(entity: str, name: str, about: Mapping[str, Any]) -> Told:
    kind = FORMATS.get(str(about.get("format", "")), "")
    if about.get("enum") or about.get("type") in ("integer", "number", "boolean"):
        kind = "plain"
    longest = about.get("maxLength")
    label = about.get("title")
    return Told(entity, name, kind, longest if isinstance(longest, int) else 0, label if isinstance(label, str) else "")


def _action_of(method: str, path: str, about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The action of an operation whose id says it in the usual ending, for each shape its ids may have."""
    last = str(about.get("operationId", "")).rpartition("_")[2]
    action = {"list": "list", "retrieve": "read", "create": "create", "update": "update", "destroy": "delete"}.get(
        last, ""
    )
    if not action:
        return
    if method == "PATCH":
        action = "update"
    plain = path.rstrip("/") or "/"
    shapes = ("{n}", "{uuid}", "{hex24}", "{salesforce}") if "{" in plain else ("",)
    for shape in shapes:
        yield f"{method} {_PARAMETER.sub(shape, plain)}", action


# -- GraphQL ---------------------------------------------------------------------------------------------------


def _graphql(schema: Mapping[str, Any]) -> Document:
    found = Document("graphql", schema=read_schema(schema))
    for one in schema.get("types", ()):
        if not isinstance(one, dict) or str(one.get("name", "__")).startswith("__"):
            continue
        for about in [*(one.get("fields") or ()), *(one.get("inputFields") or ())]:
            scalar = _scalar(about.get("type"))
            kind = "date" if scalar == "Date" else GRAPHQL_KINDS.get(scalar, "")
            if scalar in ("Int", "Float", "Boolean", "ID", "DateTime", "UUID"):
                kind = "plain"
            if len(found.fields) < MOST_FIELDS and scalar:
                found.fields.append(Told(name_of(one["name"]), str(about.get("name", "")), kind))
    return found


def _scalar(about: Any) -> str:
    """The scalar type behind lists and marks of required values; "" for objects."""
    for _ in range(DEEPEST):
        if not isinstance(about, dict):
            return ""
        if about.get("kind") == "SCALAR":
            return str(about.get("name", ""))
        about = about.get("ofType")
    return ""


# -- OData -----------------------------------------------------------------------------------------------------

_DOCTYPE = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_TAG = re.compile(rb"<(/?)(?:\w+:)?(EntityType|ComplexType|Property)\b([^>]*?)(/?)>")
_ATTRIBUTE = re.compile(rb"([\w.:]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


def _odata(data: bytes) -> Document:
    """Entity types and properties. Tags are read as they stand: no entity of XML is resolved, no file fetched."""
    if _DOCTYPE.search(data):
        raise DocumentInvalid("The metadata declares entities of XML; such a document is not read.")
    if b"EntityType" not in data:
        raise DocumentInvalid("The XML is no OData $metadata: it has no EntityType.")
    found, entity = Document("odata"), ""
    for closing, tag, raw, _ in _TAG.findall(data):
        if tag != b"Property":
            entity = "" if closing else _attributes(raw).get("Name", "")
            continue
        about = _attributes(raw)
        if not entity or not about.get("Name"):
            continue
        kind = {"Edm.Date": "date", "Edm.String": ""}.get(about.get("Type", ""), "plain")
        longest = about.get("MaxLength", "")
        found.fields.append(Told(name_of(entity), about["Name"], kind, int(longest) if longest.isdecimal() else 0, ""))
    return found


def _attributes(raw: bytes) -> dict[str, str]:
    return {
        name.decode("ascii", "replace"): unescape((one or other).decode("utf-8", "replace"))
        for name, one, other in _ATTRIBUTE.findall(raw)
    }
