"""The `graphql:` section of a proposed profile: top-level fields with their arguments, and the types these lead to.

Only what its names and types say for sure is mapped. A query left out is for those who see everything, a mutation left
out is refused to all, and so is an argument or a field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.learn.choices import Choices
from gateway.learn.document import Document
from gateway.learn.evidence import JSON_IN, Evidence
from gateway.learn.fields import RuleSet
from gateway.learn.naming import path_of
from gateway.learn.schema import ENUM, INPUT, Member, Schema
from gateway.learn.schema_types import PLAIN, Types, is_plain, seen_values, types_of
from gateway.learn.value import ID
from gateway.learn.vocabulary import vocabulary, words_of

_OPERATORS = {
    "eq": "equal", "equals": "equal", "equalto": "equal", "in": "among", "oneof": "among", "like": "like",
    "ilike": "like", "startswith": "prefix", "beginswith": "prefix", "endswith": "suffix", "contains": "contains",
    "icontains": "contains",
}  # fmt: skip
_CONNECTIVES = frozenset({"and", "or", "not"})
_PAGING = frozenset({"first", "last", "limit", "offset", "skip", "take", "page", "perpage", "pagesize"})
_CURSORS = frozenset({"after", "before"})
_FILTERS, _ORDERS, _GROUPS = (
    frozenset({"filter", "where", "filters"}),
    frozenset({"order", "sort"}),
    frozenset({"group"}),
)
_UNSURE_VERBS = frozenset({"merge", "upsert", "or", "restore", "import", "set", "trash"})
_ERRORS = ("errors", "userErrors")


@dataclass(slots=True)
class Graphql:
    """What is proposed. routes: those of the endpoint, which are no operations; sets: fields by kind of record;
    id_shape: of record ids, "" for numbers."""

    routes: frozenset[str]
    section: dict[str, Any]
    sets: list[RuleSet]
    id_shape: str


def graphql_of(evidence: Evidence, document: Document, choices: Choices) -> Graphql | None:
    """The section; None where no document told a schema, or nothing was asked of an endpoint."""
    routes = frozenset(
        route for where, route, name in evidence.places if where == JSON_IN and name in ("query", "*/query")
    )
    paths = sorted({path for one in routes if (path := path_of(one.partition(" ")[2], names_record=False))})
    if not paths or not document.schema.types:
        return None
    types = types_of(document.schema, evidence, routes, choices)
    section = _Section(document.schema, types).run()
    if not section["types"] or not (section["queries"] or section["mutations"]):
        return None
    ways = frozenset(f"{method} {one.partition(' ')[2]}" for one in routes for method in ("GET", "POST"))
    return Graphql(ways, {"paths": paths, **section}, types.sets, _id_shape(evidence, routes))


def _id_shape(evidence: Evidence, routes: frozenset[str]) -> str:
    stat = seen_values(evidence, routes).get("id")
    if stat is None or not stat.seen or stat.shapes[ID] != stat.seen:
        return ""
    return {36: "uuid", 24: "hex24"}.get(stat.longest, "") if stat.characters == stat.seen * stat.longest else ""


@dataclass(slots=True)
class _Section:
    """Put together once. inputs: input type → the type whose fields it names, "" where there are two of them."""

    schema: Schema
    types: Types
    inputs: dict[str, str] = field(default_factory=dict)
    means: dict[str, set[str]] = field(default_factory=dict)
    connectives: set[str] = field(default_factory=set)
    nested: set[str] = field(default_factory=set)
    operators: dict[str, set[str]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

    def run(self) -> dict[str, Any]:
        for settled in (False, True):  # the first time to see which input names whose fields
            self.ids = set()
            queries = self._roots(self.schema.query, mutation=False)
            mutations = self._roots(self.schema.mutation, mutation=True)
            types = self._reached([*queries.values(), *mutations.values()])
            if settled:
                break
        operators = {name: sorted(some) for name, some in sorted(self.operators.items())}
        if not {"equal", "among"} & set(operators):
            operators = {}
        found: dict[str, Any] = {"arguments": self._paging(), "connectives": sorted(self.connectives)}
        found |= {"operators": operators, "nested": sorted(self.nested)}
        found = {key: value for key, value in found.items() if value}
        return {**found, "types": types, "queries": queries, "mutations": mutations}

    # -- top-level fields --------------------------------------------------------------------------------------

    def _roots(self, name: str, *, mutation: bool) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for key, member in self.schema.roots(name).items() if name else ():
            record, way = self.types.lead(member.type)
            action = _verb(key) if mutation else self._asking(key, member, record)
            if not record or not action:
                continue
            arguments = self._arguments(member, record, mutation=mutation)
            if mutation and not self._is_whole(member, arguments, action):
                continue
            entity = self.types.entities[record]
            root: dict[str, Any] = {"id": self._id(f"{entity}.{action}"), "entity": entity, "action": action}
            root |= {"type": member.type, **({"arguments": arguments} if arguments else {})}
            if action == "create":
                root["record"] = [*way, "id"]
            if mutation:
                payload = self.schema.types[member.type].members
                errors = [one for one in _ERRORS if one in payload and payload[one].listed]
                root |= {"failed": errors[:1]} if errors else {}
            found[key] = root
        return found

    def _id(self, wanted: str) -> str:
        number, name = 1, wanted
        while name in self.ids:
            number += 1
            name = f"{wanted}_{number}"
        self.ids.add(name)
        return name

    def _asking(self, key: str, member: Member, record: str) -> str:
        if vocabulary().action(key) == "search":
            return "search"
        return "read" if member.type == record and not member.listed else "list"

    def _is_whole(self, member: Member, arguments: Mapping[str, Any], action: str) -> bool:
        """Whether every argument of a mutation is understood, and it names the record it changes."""
        if set(member.arguments) - set(arguments):
            return False
        return action == "create" or "record" in arguments.values()

    # -- arguments ---------------------------------------------------------------------------------------------

    def _arguments(self, member: Member, record: str, *, mutation: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, kind in member.arguments.items():
            meant = self._argument(name, kind, record, mutation=mutation)
            if meant is not None:
                found[name] = meant
        return found

    def _argument(self, name: str, kind: str, record: str, *, mutation: bool) -> str | dict[str, str] | None:
        words = words_of(name)
        about = {*words, *words_of(kind)}
        match self.schema.kind(kind):
            case "INPUT_OBJECT":
                if about & _ORDERS:
                    means = "order"
                elif set(words) & _FILTERS:
                    means = "filter"
                elif mutation:
                    means = "input"
                else:
                    return None
                return {means: kind} if self._assign(kind, record, means) else None
            case "ENUM":
                means = "group" if set(words) & _GROUPS else "order" if set(words) & _ORDERS else ""
                return {means: record} if means else None
        if words in (("id",), ("ids",)) and kind in ("ID", "UUID", "String", "Int"):
            return "record"
        return PLAIN if _is_paging(name, kind) else None

    def _paging(self) -> dict[str, str]:
        """Arguments that only say which page, where they are that wherever they stand."""
        kinds: dict[str, set[str]] = {}
        for one in self.schema.types.values():
            for member in one.members.values():
                for name, kind in member.arguments.items():
                    kinds.setdefault(name, set()).add(kind)
        return {name: PLAIN for name, some in sorted(kinds.items()) if all(_is_paging(name, kind) for kind in some)}

    def _assign(self, name: str, to: str, means: str) -> bool:
        """Say whose fields an input names and what for; whether it is one type's only."""
        known = self.inputs.get(name)
        self.means.setdefault(name, set()).add(means)
        if known is not None:
            if known != to:
                self.inputs[name] = ""
            return self.inputs[name] == to
        self.inputs[name] = to
        for key, member in self.schema.types[name].members.items():
            below = self._below(name, key, member)
            if below:
                self._assign(member.type, below, means)
        return True

    def _below(self, name: str, key: str, member: Member) -> str:
        """The type whose fields an input inside another one names, "" where it names none."""
        if self.schema.kind(member.type) != INPUT:
            return ""
        to, means = self.inputs[name], self.means[name]
        if not to:
            return ""
        if member.type == name and key.strip("_").lower() in _CONNECTIVES:
            self.connectives.add(key)
            return ""
        told = self.schema.types[to].members.get(key)
        if told is not None:
            below = dict(self.types.objects(to)).get(key, "")
            if not below and (to, key) in self.types.maps and "filter" in means:
                self._operator(member.type)
            if below and below not in self.types.entities and self.types.lead(below)[0]:
                below = self.types.lead(below)[0]  # a list of records: the record itself
            return below
        if key == "create" and "input" in means:
            self.nested.add(key)
            return to
        return ""

    def _operator(self, name: str) -> None:
        """Names of comparisons that a profile knows; every other one counts as the strictest."""
        for key, member in self.schema.types[name].members.items():
            bare = "".join(words_of(key))
            if bare in ("is", "isnull") and (self.schema.kind(member.type) == ENUM or member.type == "Boolean"):
                self.operators.setdefault("empty", set()).add(key)
            elif bare in _OPERATORS:
                self.operators.setdefault(_OPERATORS[bare], set()).add(key)

    # -- types -------------------------------------------------------------------------------------------------

    def _reached(self, roots: list[dict[str, Any]]) -> dict[str, Any]:
        """The entries of all types that the top-level fields lead to."""
        waiting = [root["type"] for root in roots] + [one for root in roots for one in _named(root)]
        found: dict[str, Any] = {}
        while waiting:
            name = waiting.pop(0)
            if name in found or name not in self.schema.types:
                continue
            found[name] = entry = self._input(name) if self.schema.kind(name) == INPUT else self._object(name)
            for one in entry.get("fields", {}).values():
                if isinstance(one, dict):
                    waiting += [one["type"], *_named(one)]
        return found

    def _object(self, name: str) -> dict[str, Any]:
        plain: list[str] = []
        fields: dict[str, Any] = {}
        leads = dict(self.types.objects(name))
        for key, member in self.schema.types[name].members.items():
            if key in leads:
                record = self.types.lead(leads[key])[0]
                arguments = self._arguments(member, record, mutation=False) if record else {}
                fields[key] = {"type": leads[key], **({"arguments": arguments} if arguments else {})}
            elif (told := self.types.maps.get((name, key))) == PLAIN:
                plain.append(key)
            elif told:
                fields[key] = told
        return _entry(fields, plain)

    def _input(self, name: str) -> dict[str, Any]:
        to, writes = self.inputs.get(name, ""), self.means.get(name) == {"input"}
        plain: list[str] = []
        fields: dict[str, Any] = {}
        for key, member in self.schema.types[name].members.items() if to else ():
            if key in self.connectives:
                continue
            if key in self.nested and self.schema.kind(member.type) == INPUT:
                inner = self._input(member.type)  # a profile takes what stands under such a key for the object itself
                plain += inner.get("plain", [])
                fields |= inner.get("fields", {})
                continue
            told = self.types.maps.get((to, key), "")
            inside = self._below(name, key, member)
            if inside and self.inputs.get(member.type) == inside:
                fields[key] = {"type": member.type}
            elif told == PLAIN and (
                self.schema.kind(member.type) in (INPUT, ENUM) or member.type == self._type(to, key)
            ):
                plain.append(key)
            elif told and told != PLAIN:
                fields[key] = told
            elif not told and is_plain(self.schema, key, member.type):
                plain.append(key)
            elif writes and self.schema.kind(member.type) not in (INPUT, ENUM):
                # What is written and nobody can tell apart is looked into as a note is, unless its name says more.
                fields[key] = self.types.field_of(self.types.entities.get(to, ""), key) or "text"
        return _entry(fields, plain)

    def _type(self, name: str, key: str) -> str:
        return self.schema.types[name].members[key].type


def _entry(fields: dict[str, Any], plain: list[str]) -> dict[str, Any]:
    return {
        **({"plain": sorted(set(plain) - {"id"})} if set(plain) - {"id"} else {}),
        **({"fields": fields} if fields else {}),
    }


def _named(entry: Mapping[str, Any]) -> list[str]:
    """The types that arguments name."""
    return [kind for one in entry.get("arguments", {}).values() if isinstance(one, dict) for kind in one.values()]


def _is_paging(name: str, kind: str) -> bool:
    bare = name.replace("_", "").lower()
    return (bare in _PAGING and kind == "Int") or (bare in _CURSORS and kind in ("String", "ID", "Int"))


def _verb(key: str) -> str:
    """What the name of a mutation says it does, in its first word or its last; "" where it is not sure."""
    words = words_of(key)
    if not words or set(words) & _UNSURE_VERBS:
        return ""
    told = [action for one in (words[0], words[-1]) if (action := vocabulary().action(one))]
    return told[0] if told and told[0] in ("create", "update", "delete") else ""
