"""Conditions by which the query and the body of a request say what it does, where its URL does not.

`Asked` is one request, read at most once and strictly: UTF-8, declared as what it is, no key and no deciding parameter
twice. Whatever two readers could read differently is `Unreadable`, and an unreadable request is never matched.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from policies.soap import Called, compile_called, declares_xml
from policies.xml_document import XmlDocument, XmlInvalid, charset_of, read_xml

T = TypeVar("T")

Wanted = frozenset[str | None]

ANY = "*"
"""A condition that takes every value but none."""
_MOST_FIELDS = 5000
_MISSING = object()
JSON_LINES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
    | {"application/json-lines", "application/jsonlines", "application/json-seq", "application/stream+json"}
)
"""Types of bodies that hold several JSON documents, read as one list."""


class Unreadable(ValueError):  # noqa: N818 - a state of the request
    """The request cannot be read in one way only."""

    permanent = True


class Asked:
    """One request as conditions read it. parameters: of its path; query: raw; body: None where it was not read."""

    __slots__ = ("_document", "_form", "_pairs", "_xml", "body", "content_type", "parameters", "query")

    def __init__(self, parameters: Mapping[str, str], query: str, body: bytes | None, content_type: str) -> None:
        self.parameters, self.query, self.body, self.content_type = parameters, query, body, content_type
        self._document: Any = _MISSING
        self._form: dict[str, list[str]] | None = None
        self._pairs: dict[str, list[str]] | None = None
        self._xml: XmlDocument | None = None

    @property
    def xml(self) -> XmlDocument:
        """The XML body, in UTF-8; raises Unreadable for anything else."""
        if self._xml is None:
            if not declares_xml(self.content_type):
                raise Unreadable("media type")
            try:
                if charset_of(self.content_type, self.body or b"") != "utf-8":
                    raise Unreadable("charset")
                self._xml = read_xml(self.body or b"")
            except XmlInvalid as invalid:
                raise Unreadable(invalid.problem) from None
        return self._xml

    @property
    def document(self) -> Any:
        """The JSON body; raises Unreadable for anything else, an empty one and the same key twice included."""
        if self._document is _MISSING:
            if self.content_type.partition(";")[0].strip().lower() in JSON_LINES:
                self._document = read_lines(self.body or b"")
                return self._document
            if not _declares(self.content_type, "json"):
                raise Unreadable("media type")
            self._document = read_document(self.body or b"")
        return self._document

    def at(self, pointer: Sequence[str]) -> Any:
        """What stands at a place of the JSON body, None where nothing does; raises Unreadable."""
        return value_at(self.document, pointer)

    def field(self, name: str) -> str | None:
        """The value of a form field, None without one; raises Unreadable where there are several."""
        if not self.body:
            return None
        if self._form is None:
            if not _declares(self.content_type, "x-www-form-urlencoded"):
                raise Unreadable("media type")
            self._form = _pairs(self.body.decode("latin-1"))
        return _only(self._form, name)

    def parameter(self, name: str) -> str | None:
        """The value of a query parameter, None without one; raises Unreadable where there are several."""
        if self._pairs is None:
            self._pairs = _pairs(self.query)
        return _only(self._pairs, name)


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to stand where; all of it holds together.

    json: (path of keys, values), form, query: (name, values). None: nothing may stand there; "*": something has to;
    "{}" and "[]": any object, any list. soap: see policies.soap.
    """

    json: tuple[tuple[tuple[str, ...], Wanted], ...] = ()
    form: tuple[tuple[str, Wanted], ...] = ()
    query: tuple[tuple[str, Wanted], ...] = ()
    soap: Called | None = None

    @property
    def reads_body(self) -> bool:
        """Whether it can only be told with the body."""
        return bool(self.json or self.form or self.soap)

    def holds(self, asked: Asked) -> bool:
        """Whether a request meets it; raises Unreadable."""
        return (
            all(_fits(asked.parameter(name), values) for name, values in self.query)
            and all(_fits(_scalar(asked.at(pointer)), values) for pointer, values in self.json)
            and all(_fits(asked.field(name), values) for name, values in self.form)
            and (self.soap is None or _called(self.soap, asked))
        )


def _called(soap: Called, asked: Asked) -> bool:
    try:
        return soap.fits(asked.xml)
    except XmlInvalid as invalid:
        raise Unreadable(invalid.problem) from None


ALWAYS = Condition()


def chosen(choices: Iterable[tuple[Condition, T]], asked: Asked) -> T | None:
    """The first choice whose condition holds; None where none does; raises Unreadable."""
    return next((choice for condition, choice in choices if condition.holds(asked)), None)


def compile_condition(source: Mapping[str, Any]) -> Condition:
    """A `when:` of a profile."""
    return Condition(
        tuple((pointer_of(pointer), _values(wanted)) for pointer, wanted in source.get("json", {}).items()),
        tuple((name, _values(wanted)) for name, wanted in source.get("form", {}).items()),
        tuple((name, _values(wanted)) for name, wanted in source.get("query", {}).items()),
        compile_called(source["soap"]) if "soap" in source else None,
    )


def compile_places(source: Mapping[str, Any]) -> Condition:
    """A condition on a JSON document alone: pointer → wanted values."""
    return Condition(json=tuple((pointer_of(pointer), _values(wanted)) for pointer, wanted in source.items()))


def fits(condition: Condition, document: Any) -> bool:
    """Whether a JSON document meets the JSON part of a condition."""
    return all(_fits(_scalar(value_at(document, pointer)), values) for pointer, values in condition.json)


def joined_at(document: Any, pointers: Sequence[Sequence[str]]) -> str | None:
    """The scalars at several places as one text, each preceded by its length; None where one is missing."""
    found = [value_at(document, pointer) for pointer in pointers]
    if not all(isinstance(one, str | int) and str(one) for one in found):
        return None
    return "".join(f"{len(str(one))}:{one}" for one in found)


def pointer_of(text: str) -> tuple[str, ...]:
    """The steps of a JSON pointer (RFC 6901); "" is the whole document."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def read_document(body: bytes) -> Any:
    """A JSON document; raises Unreadable for what is none and for one that two readers could read differently."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unreadable("json") from None


def read_lines(body: bytes) -> list[Any]:
    """Documents one a line, or each behind a record separator, as one list; raises Unreadable."""
    lines = body.split(b"\x1e" if b"\x1e" in body else b"\n")
    return [read_document(line) for line in lines if line.strip()]


def write_document(value: Any) -> bytes:
    """A JSON document that was read with `read_document`, whatever its numbers and texts are."""
    return json.dumps(value).encode("ascii")


def value_at(value: Any, pointer: Sequence[str]) -> Any:
    """What stands at a path of keys and indexes; None where nothing does."""
    for step in pointer:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def values_at(value: Any, pointer: Sequence[str]) -> list[str]:
    """Every text or whole number at a place, of a list each; a step "*" stands for every element of a list."""
    if pointer and pointer[0] == "*":
        return [one for item in value for one in values_at(item, pointer[1:])] if isinstance(value, list) else []
    if pointer:
        return values_at(value_at(value, pointer[:1]), pointer[1:])
    listed = value if isinstance(value, list) else [value]
    return [str(one) for one in listed if isinstance(one, str | int) and not isinstance(one, bool)]


def _values(wanted: Any) -> Wanted:
    return frozenset(_spelled(one) for one in (wanted if isinstance(wanted, list) else [wanted]))


def _spelled(value: str | int | None) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fits(value: str | None, values: Wanted) -> bool:
    return value in values or (value is not None and ANY in values)


def _scalar(value: Any) -> str | None:
    """A text, whole number or truth value as text; a container as its brackets; a fraction equals no value at all."""
    if value is None or isinstance(value, str | int):
        return _spelled(value)
    return "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else "\0"


def _declares(content_type: str, kind: str) -> bool:
    """Whether a content type is application/KIND (or `+KIND`) in UTF-8."""
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if media != f"application/{kind}" and not media.endswith(f"+{kind}"):
        return False
    lowered = parameters.replace(" ", "").replace('"', "").lower()
    return "charset=" not in lowered or "charset=utf-8" in lowered or "charset=utf8" in lowered


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _pairs(text: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise Unreadable("parameters") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _only(pairs: Mapping[str, list[str]], name: str) -> str | None:
    values = set(pairs.get(name, ()))
    if len(values) > 1:
        raise Unreadable("parameter says two things")
    return values.pop() if values else None
