"""What a profile says of a GraphQL schema: types, their fields, arguments, and what each top-level field does.

One entry of a type serves answers, filters, orders and inputs, because schemas name the fields of a type alike in all
four. What no entry names is unknown and counts as the most sensitive.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from policies.operation import Action, FieldSpec, Operation, StorageForm

SCHEMA = Operation("graphql.schema", "schema", Action.READ)
"""What asks for the schema only."""
TEXT = "text"


class Compare(StrEnum):
    """What an operator of a filter does; RANGE is every operator that the profile does not name."""

    EQUAL = "equal"
    AMONG = "among"
    LIKE = "like"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    CONTAINS = "contains"
    EMPTY = "empty"
    RANGE = "range"


class Means(StrEnum):
    """What an argument is."""

    PLAIN = "plain"
    RECORD = "record"
    FILTER = "filter"
    ORDER = "order"
    GROUP = "group"
    INPUT = "input"
    FIELD = "field"
    SEARCH = "search"


class Introspection(StrEnum):
    """Who may ask for the schema: nobody, who sees everything, or everybody."""

    NONE = "none"
    EVERYTHING = "everything"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. type: of FILTER, ORDER, GROUP and INPUT; fields: of FIELD (one) and SEARCH."""

    means: Means
    type: str = ""
    fields: tuple[FieldSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldMap:
    """One field of a type. spec: None with `text` for free text of no declared field; type: of a relation or part.

    aggregate: the answer is computed from values of `spec`.
    """

    spec: FieldSpec | None = None
    text: bool = False
    type: str = ""
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    aggregate: bool = False


@dataclass(frozen=True, slots=True)
class TypeMap:
    """One type. id: the field that holds the record's id; plain: patterns of fields that hold nothing personal."""

    name: str
    fields: Mapping[str, FieldMap]
    plain: tuple[str, ...] = ()
    id: str = "id"

    def is_plain(self, name: str) -> bool:
        """Whether a field holds nothing personal."""
        return name == self.id or any(fnmatchcase(name, pattern) for pattern in self.plain)


@dataclass(frozen=True, slots=True)
class RootMap:
    """One top-level field. operation: what it is for policy and trail; record: names of the fields that lead from its
    answer to the id of a new record; failed: those that lead to what is empty only where the call did something."""

    operation: Operation
    type: str
    arguments: Mapping[str, Argument]
    record: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Most of a request. tokens: of its text; depth, fields, aliases: fragments expanded; calls: of a batch."""

    tokens: int = 5000
    depth: int = 24
    aliases: int = 100
    fields: int = 2000
    calls: int = 20


@dataclass(frozen=True, slots=True)
class GraphqlMap:
    """All that a profile says of one GraphQL endpoint.

    operators: name → what it does. joined: the sign between column and operator in names such as `email__eq`. nested:
    keys of inputs around the object of a relation. closed: queries that no entry describes are refused.
    """

    paths: tuple[str, ...]
    queries: Mapping[str, RootMap]
    mutations: Mapping[str, RootMap]
    types: Mapping[str, TypeMap]
    introspection: Introspection = Introspection.EVERYTHING
    bounds: Bounds = field(default_factory=Bounds)
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    connectives: frozenset[str] = frozenset()
    operators: Mapping[str, Compare] = field(default_factory=dict)
    joined: str = ""
    nested: frozenset[str] = frozenset()
    closed: bool = False

    def operator(self, compare: Compare) -> str:
        """The first name of a comparison, "" where the endpoint has none."""
        return next((name for name, one in self.operators.items() if one is compare), "")

    @property
    def operations(self) -> list[Operation]:
        """Every operation."""
        return [SCHEMA, *(root.operation for root in (*self.queries.values(), *self.mutations.values()))]


Resolve = Callable[[str | None, str, str], FieldSpec | None]


def compile_graphql(
    source: Mapping[str, Any], resolve: Resolve, problems: list[str], *, closed: bool = False
) -> GraphqlMap:
    """The `graphql:` of a validated profile. resolve: (name, entity, place) → field; problems: gets what is wrong."""
    return _Compiler(source, resolve, problems, closed).run()


@dataclass(slots=True)
class _Compiler:
    source: Mapping[str, Any]
    resolve: Resolve
    problems: list[str]
    closed: bool

    def run(self) -> GraphqlMap:
        source = self.source
        operators = {name: Compare(what) for what, names in source.get("operators", {}).items() for name in names}
        if operators and not {Compare.EQUAL, Compare.AMONG} & set(operators.values()):
            self.problems.append("graphql: operators name neither `equal` nor `among`, so nothing could be asked for")
        types = {name: self._type(name, entry) for name, entry in source.get("types", {}).items()}
        return GraphqlMap(
            tuple(source["paths"]),
            {name: self._root(name, entry) for name, entry in source.get("queries", {}).items()},
            {name: self._root(name, entry) for name, entry in source.get("mutations", {}).items()},
            types,
            Introspection(source.get("introspection", "everything")),
            Bounds(**source.get("limits", {})),
            self._arguments(source.get("arguments", {}), "", "graphql.arguments"),
            frozenset(source.get("connectives", ())),
            operators,
            source.get("joined", ""),
            frozenset(source.get("nested", ())),
            self.closed,
        )

    def _type(self, name: str, entry: Mapping[str, Any]) -> TypeMap:
        place = f"graphql type {name}"
        fields = {key: self._field(one, place) for key, one in entry.get("fields", {}).items()}
        return TypeMap(name, fields, tuple(entry.get("plain", ())), entry.get("id", "id"))

    def _field(self, entry: Any, place: str) -> FieldMap:
        if isinstance(entry, str):
            return FieldMap(text=True) if entry == TEXT else FieldMap(self._spec(entry, place))
        arguments = self._arguments(entry.get("arguments", {}), "", place)
        if "type" in entry:
            return FieldMap(type=self._known(entry["type"], place), arguments=arguments)
        named = entry.get("aggregate") or entry["field"]
        if named == TEXT:
            return FieldMap(text=True, arguments=arguments)
        return FieldMap(self._spec(named, place), arguments=arguments, aggregate="aggregate" in entry)

    def _spec(self, name: str, place: str) -> FieldSpec | None:
        spec = self.resolve(name, "", place)
        if spec is not None and spec.form is not StorageForm.SURROGATE:
            self.problems.append(f"{place}: field {name} has form {spec.form}, but GraphQL takes surrogates only")
        return spec

    def _known(self, name: str, place: str) -> str:
        if name not in self.source.get("types", {}):
            self.problems.append(f"{place}: type {name!r} is not declared")
        return name

    def _arguments(self, source: Mapping[str, Any], entity: str, place: str) -> dict[str, Argument]:
        return {name: self._argument(entry, entity, f"{place}, argument {name}") for name, entry in source.items()}

    def _argument(self, entry: Any, entity: str, place: str) -> Argument:
        if isinstance(entry, str):
            return Argument(Means(entry))
        ((what, told),) = entry.items()
        means = Means(what)
        if means in (Means.FIELD, Means.SEARCH):
            found = [self.resolve(one, entity, place) for one in ([told] if isinstance(told, str) else told)]
            return Argument(means, fields=tuple(spec for spec in found if spec is not None))
        return Argument(means, self._known(told, place))

    def _root(self, name: str, entry: Mapping[str, Any]) -> RootMap:
        place = f"graphql field {name}"
        entity = entry["entity"]
        operation = Operation(entry["id"], entity, Action(entry["action"]), granted_write=entry.get("granted", True))
        kind = entry.get("type", "")
        return RootMap(
            operation,
            self._known(kind, place) if kind else "",
            self._arguments(entry.get("arguments", {}), entity, place),
            tuple(entry.get("record", ())),
            tuple(entry.get("failed", ())),
        )


def strongest(operations: Sequence[Operation]) -> Operation:
    """The operation by which a request of several is known: the first that writes, else the first."""
    reads = (Action.READ, Action.LIST, Action.SEARCH)
    return next((one for one in operations if one.action not in reads), operations[0] if operations else SCHEMA)
