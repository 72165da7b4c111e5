"""What a GraphQL request asks for: every value in it by what it means, every name by which it filters or orders.

Each top-level field is a part of its own, with an operation, a record and rights, as if it came alone. Fragments are
followed, variables are put in; `@skip` and `@include` count as if everything were included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphql import language as gql

from policies.graphql.arguments import Arguments
from policies.graphql.mapping import (
    SCHEMA,
    Argument,
    GraphqlMap,
    Introspection,
    RootMap,
    TypeMap,
    strongest,
)
from policies.graphql.part import By, Part, Path, Shown, Unknown, Used
from policies.graphql.request import TOO_COMPLEX, UNREADABLE, Call, Read, read_request
from policies.graphql.value import GraphqlUnreadable, Shape, Value, literal
from policies.operation import (
    REFUSED_READ,
    UNMATCHED_READ,
    UNMATCHED_WRITE,
    Action,
    Operation,
    with_record,
)
from policies.record_id import RecordIds

UNMAPPED, INTROSPECTION = "graphql-unmapped", "graphql-introspection"
ROOM = 100_000
"""Signs of values that a request may repeat beyond twice its own length."""
_CONDITIONS = frozenset({"include", "skip"})


@dataclass(slots=True, eq=False)
class Asked:
    """One request, read. problem: the reason id where it is refused as it stands; introspects: asks for the schema.

    unused: default values of variables that have another value; rest: values of variables that nobody uses.
    """

    mapping: GraphqlMap
    problem: str = ""
    what: str = ""
    read: Read | None = None
    parts: list[Part] = field(default_factory=list)
    introspects: bool = False
    unused: list[tuple[int, Value]] = field(default_factory=list)
    rest: list[tuple[int, Path, Value]] = field(default_factory=list)

    @property
    def operation(self) -> Operation:
        """By what the whole request is known to policy and trail."""
        if self.problem:
            return UNMATCHED_WRITE
        found = strongest([part.operation for part in self.parts])
        return found if len(self.parts) == 1 else with_record(found, None, binds=False)


def ask(mapping: GraphqlMap, ids: RecordIds, method: str, query: str, body: bytes | None, content_type: str) -> Asked:
    """What a request asks for; never raises, what cannot be read has a problem."""
    asked = Asked(mapping)
    try:
        asked.read = read_request(method, query, body, content_type, mapping.bounds)
        work = _Work(2 * len(body or query) + ROOM)
        for call in asked.read.calls:
            for operation in call.operations:
                _Walker(asked, call, operation, ids, work).run()
            spread = _spread(call.document)
            if set(call.fragments) - spread:
                raise GraphqlUnreadable(UNREADABLE, "fragment")
        if asked.introspects and mapping.introspection is Introspection.NONE:
            raise GraphqlUnreadable(INTROSPECTION)
    except GraphqlUnreadable as fault:
        return Asked(mapping, fault.problem, fault.what)
    except RecursionError:
        return Asked(mapping, TOO_COMPLEX, "depth")
    return asked


def _spread(node: gql.Node) -> set[str]:
    """Names of all fragments that a document spreads."""
    found: set[str] = set()
    stack: list[gql.Node] = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, gql.FragmentSpreadNode):
            found.add(one.name.value)
        elif isinstance(one, gql.DocumentNode):
            stack += one.definitions
        else:
            inner = getattr(one, "selection_set", None)
            stack += inner.selections if inner is not None else ()
    return found


@dataclass(slots=True)
class _Work:
    """What reading one request has cost so far. room: signs of values that may be read, repetitions included.

    A fragment that is spread often repeats its arguments, and a variable that is used often its value.
    """

    room: int
    fields: int = 0
    aliases: int = 0

    def take(self, signs: int) -> None:
        """Read so many signs; raises GraphqlUnreadable."""
        self.room -= signs
        if self.room < 0:
            raise GraphqlUnreadable(TOO_COMPLEX, "values")


class _Variables(dict[str, Value | None]):
    """Values of variables by name. read: the names that were asked for."""

    def __init__(self, work: _Work) -> None:
        super().__init__()
        self.read: set[str] = set()
        self._work = work

    def __getitem__(self, name: str) -> Value | None:
        self.read.add(name)
        value = super().__getitem__(name)
        if value is not None:
            self._work.take(value.site.end - value.site.start)
        return value


class _Walker:
    """Walks one operation; used once."""

    def __init__(
        self, asked: Asked, call: Call, operation: gql.OperationDefinitionNode, ids: RecordIds, work: _Work
    ) -> None:
        self.asked, self.map, self.call, self.operation, self.ids = asked, asked.mapping, call, operation, ids
        self.work = work
        self.fragments = call.fragments
        self.variables = _Variables(work)
        self.keys: set[str] = set()
        self.part = Part(call.number, "", SCHEMA, executed=False)
        self.mutation = operation.operation is gql.OperationType.MUTATION

    def run(self) -> None:
        self._declare()
        mutation = self.mutation
        self._directives(self.operation.directives)
        self._roots(self.operation.selection_set, self.map.mutations if mutation else self.map.queries, (), mutation)
        if self.variables.keys() - self.variables.read:
            raise GraphqlUnreadable(UNREADABLE, "variable")  # servers refuse it, too, and nothing says what it holds

    def _declare(self) -> None:
        given = self.call.variables.members if self.call.variables is not None else {}
        for one in self.operation.variable_definitions or ():
            name = one.variable.name.value
            if name in self.variables or one.directives:
                raise GraphqlUnreadable(UNREADABLE, "variable")
            default = literal(one.default_value, {}) if one.default_value is not None else None
            if name in given and default is not None:
                self.asked.unused.append((self.call.number, default))
            self.variables[name] = given.get(name, default)
        if self.operation is self.call.executed:
            declared = self.variables.keys()
            spare = {name: value for name, value in given.items() if name not in declared}
            self.asked.rest += [
                (self.call.number, (name,), one) for name, value in spare.items() for one in value.leaves()
            ]

    def _roots(
        self, selections: gql.SelectionSetNode, roots: Mapping[str, RootMap], spreading: tuple[str, ...], mutation: bool
    ) -> None:
        for node in selections.selections:
            self._directives(node.directives)
            if isinstance(node, gql.FieldNode):
                self._root(node, roots.get(node.name.value), mutation=mutation)
            else:
                inner, inside, _ = self._fragment(node, spreading)
                self._roots(inner, roots, inside, mutation)

    def _root(self, node: gql.FieldNode, root: RootMap | None, *, mutation: bool) -> None:
        name = node.name.value
        self._count(node, 1)
        if name == "__typename":
            if node.arguments or node.selection_set is not None:
                raise GraphqlUnreadable(UNREADABLE, "typename")
            return
        if name in ("__schema", "__type"):
            self.asked.introspects = True
            self._ignored(node)
            return
        key = node.alias.value if node.alias is not None else name
        executed = self.operation is self.call.executed
        other = UNMATCHED_WRITE if mutation else REFUSED_READ if self.map.closed else UNMATCHED_READ
        operation = root.operation if root is not None else other
        self.part = part = Part(self.call.number, key, operation, executed)
        if mutation and key in self.keys:
            raise GraphqlUnreadable(UNREADABLE, "twice")  # the server would run one of the two
        self.keys.add(key)
        self.asked.parts.append(part)
        if root is None:
            part.unknown.append((Unknown.FIELD, name))
        self._arguments(node, root.arguments if root is not None else {})
        if node.selection_set is not None:
            kind = self.map.types.get(root.type) if root is not None else None
            self._selections(node.selection_set, kind, part.shown, 2, ())
        ids = tuple(part.records)
        if operation.action is Action.CREATE:
            part.operation = with_record(operation, None, touched=ids) if ids else operation
        elif ids:
            part.operation = with_record(operation, ids[0] if len(ids) == 1 else None, ids)
        if root is not None:
            part.record = _keys(part.shown, root.record)
            part.failures, part.failed = bool(root.failed), _keys(part.shown, root.failed)

    def _selections(
        self,
        selections: gql.SelectionSetNode,
        kind: TypeMap | None,
        shown: Shown,
        depth: int,
        spreading: tuple[str, ...],
    ) -> None:
        for node in selections.selections:
            self._directives(node.directives)
            if isinstance(node, gql.FieldNode):
                self._field(node, kind, shown, depth, spreading)
            else:
                inner, inside, condition = self._fragment(node, spreading)
                here = kind if condition is None or (kind is not None and kind.name == condition) else None
                here = here or (self.map.types.get(condition) if condition is not None else None)
                self._selections(inner, here, shown, depth, inside)

    def _field(
        self, node: gql.FieldNode, kind: TypeMap | None, shown: Shown, depth: int, spreading: tuple[str, ...]
    ) -> None:
        name = node.name.value
        self._count(node, depth)
        if name == "__typename":
            if node.arguments or node.selection_set is not None:
                raise GraphqlUnreadable(UNREADABLE, "typename")
            return
        known = kind.fields.get(name) if kind is not None else None
        key = node.alias.value if node.alias is not None else name
        place = shown.member(key, name)
        if known is None and (kind is None or not kind.is_plain(name)):
            self.part.unknown.append((Unknown.FIELD, name))
        if known is not None and known.aggregate:
            self.part.used.append(Used(By.AGGREGATE, name, known.spec))
        elif known is not None and known.spec is not None:
            place.specs.append(known.spec)
        self._arguments(node, known.arguments if known is not None else {})
        if node.selection_set is not None:
            below = self.map.types.get(known.type) if known is not None and known.type else None
            self._selections(node.selection_set, below, place, depth + 1, spreading)

    def _ignored(self, node: gql.FieldNode) -> None:
        """A selection of the schema: only its size and its arguments count."""
        self.part = Part(self.call.number, "", SCHEMA, executed=False)
        self._arguments(node, {})
        if node.selection_set is not None:
            self._selections(node.selection_set, None, Shown(), 2, ())
        self.asked.rest += [(self.call.number, path, value) for path, value in self.part.loose]

    def _fragment(
        self, node: gql.SelectionNode, spreading: tuple[str, ...]
    ) -> tuple[gql.SelectionSetNode, tuple[str, ...], str | None]:
        """(selections, fragments on the way, type condition) of an inline or named fragment."""
        if isinstance(node, gql.InlineFragmentNode):
            condition = node.type_condition.name.value if node.type_condition is not None else None
            return node.selection_set, spreading, condition
        assert isinstance(node, gql.FragmentSpreadNode)
        name = node.name.value
        found = self.fragments.get(name)
        if found is None or name in spreading:
            raise GraphqlUnreadable(UNREADABLE, "fragment")
        if len(spreading) > self.map.bounds.depth:
            raise GraphqlUnreadable(TOO_COMPLEX, "depth")
        if found.variable_definitions:
            raise GraphqlUnreadable(UNREADABLE, "fragment")
        self._directives(found.directives)
        self.work.fields += 1  # fragments that hold nothing but fragments are bounded, too
        self._require_few()
        return found.selection_set, (*spreading, name), found.type_condition.name.value

    def _count(self, node: gql.FieldNode, depth: int) -> None:
        self.work.fields += 1
        self.work.aliases += node.alias is not None
        if depth > self.map.bounds.depth:
            raise GraphqlUnreadable(TOO_COMPLEX, "depth")
        self._require_few()

    def _require_few(self) -> None:
        if self.work.fields > self.map.bounds.fields:
            raise GraphqlUnreadable(TOO_COMPLEX, "fields")
        if self.work.aliases > self.map.bounds.aliases:
            raise GraphqlUnreadable(TOO_COMPLEX, "aliases")

    def _directives(self, directives: Sequence[gql.DirectiveNode] | None) -> None:
        """Only conditions: another directive may move values or change what the answer is."""
        for one in directives or ():
            if one.name.value not in _CONDITIONS:
                raise GraphqlUnreadable(UNMAPPED, "directive")
            for argument in one.arguments or ():
                value = literal(argument.value, self.variables)
                if argument.name.value != "if" or value.shape is not Shape.OTHER:
                    raise GraphqlUnreadable(UNREADABLE, "directive")

    def _arguments(self, node: gql.FieldNode, known: Mapping[str, Argument]) -> None:
        seen: set[str] = set()
        arguments = Arguments(self.map, self.ids, self.part, mutation=self.mutation)
        for one in node.arguments or ():
            name = one.name.value
            if name in seen:
                raise GraphqlUnreadable(UNREADABLE, "twice")
            seen.add(name)
            if one.loc is not None:
                self.work.take(one.loc.end - one.loc.start)
            means = known.get(name) or self.map.arguments.get(name)
            arguments.read((name,), literal(one.value, self.variables), means)


def _keys(shown: Shown, names: Sequence[str]) -> tuple[str, ...]:
    """The response keys that lead along these fields; empty where the request did not ask for one of them."""
    keys: list[str] = []
    place: Shown | None = shown
    for name in names:
        key = place.key_of(name) if place is not None else None
        if key is None or place is None:
            return ()
        keys.append(key)
        place = place.members.get(key)
    return tuple(keys)
