"""Types of a GraphQL schema as a profile maps them: records, parts of records, and what each of their fields holds.

A type with an id is a kind of record; one without, that leads to no record, is a part of the record that has it. What
neither its name nor its values explain is not mapped, so it is for those who see everything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.learn.choices import Choices
from gateway.learn.document import GRAPHQL_KINDS, Document, Told
from gateway.learn.evidence import JSON_IN, JSON_OUT, Evidence
from gateway.learn.fields import Candidate, RuleSet, decided
from gateway.learn.naming import name_of, singular
from gateway.learn.schema import ENUM, INTERFACE, OBJECT, SCALAR, Schema
from gateway.learn.value import Stat
from gateway.learn.vocabulary import PERSONAL, Meaning, vocabulary, words_of

PLAIN = "plain"
NUMBERS = frozenset(
    {"Int", "Float", "Boolean", "ID", "UUID", "DateTime", "Date", "Time", "BigInt", "Decimal", "Timestamp"}
)
CURSORS = frozenset({"cursor", "startCursor", "endCursor"})
_HIDDEN = frozenset({"secret", "token"})


def snake(name: str) -> str:
    """A name of a schema as profiles write it, in the singular: `additionalEmails` are e-mail addresses."""
    return name_of("_".join(singular(word) for word in words_of(name)))


def meaning_of(name: str) -> Meaning | None:
    """What a field of this name holds, be there one or several."""
    return vocabulary().meaning(name) or vocabulary().meaning(snake(name))


@dataclass(slots=True)
class Types:
    """What was found. entities: type → kind of record; maps: (type, field) → `entity.field`, "text" or PLAIN."""

    schema: Schema
    entities: dict[str, str] = field(default_factory=dict)
    maps: dict[tuple[str, str], str] = field(default_factory=dict)
    sets: list[RuleSet] = field(default_factory=list)

    def is_staff(self, name: str) -> bool:
        """Whether a type is about accounts of staff, which are left alone."""
        return bool(set(words_of(name)) & vocabulary().staff)

    def objects(self, name: str) -> Iterator[tuple[str, str]]:
        """(field, type) of the objects that a type leads to, staff left out."""
        found = self.schema.types.get(name)
        for key, member in found.members.items() if found is not None else ():
            if self.schema.kind(member.type) in (OBJECT, INTERFACE) and not self.is_staff(member.type):
                yield key, member.type

    def lead(self, name: str) -> tuple[str, tuple[str, ...]]:
        """(the only record type that a type is or leads to first, the fields on the way); ("", ()) without one."""
        level: dict[str, tuple[str, ...]] = {name: ()}
        for _ in range(4):
            found = [one for one in level if one in self.entities]
            if found:
                return (found[0], level[found[0]]) if len(found) == 1 else ("", ())
            level = {
                below: (*path, key) for one, path in level.items() for key, below in self.objects(one)
            }  # fmt: skip
        return "", ()

    def field_of(self, entity: str, name: str) -> str:
        """A declared field of an entity by its name in an input, "" without one."""
        wanted = f"{entity}.{snake(name)}"
        return wanted if wanted in self.maps.values() else ""


def types_of(schema: Schema, evidence: Evidence, routes: frozenset[str], choices: Choices) -> Types:
    """Records, parts and fields of a schema. routes: those of the endpoint, whose values tell more than names do."""
    found = Types(schema)
    for name, one in schema.types.items():
        if one.kind == OBJECT and "id" in one.members and not found.is_staff(name):
            found.entities[name] = snake(name)
    seen = seen_values(evidence, routes)
    owners: dict[str, set[str]] = {}
    for name in found.entities:
        for part in _parts(found, name):
            owners.setdefault(part, set()).add(name)
    for name, entity in found.entities.items():
        mine = [name, *(part for part, whose in owners.items() if whose == {name})]
        _describe(found, entity, mine, seen, choices)
    for name, one in schema.types.items():
        if one.kind in (OBJECT, INTERFACE) and not found.is_staff(name):
            for key, member in one.members.items():
                if (name, key) not in found.maps and is_plain(schema, key, member.type):
                    found.maps[name, key] = PLAIN
    return found


def is_plain(schema: Schema, name: str, kind: str) -> bool:
    """Whether a field cannot hold what people write, and its name names nothing personal."""
    if kind == "String" and name in CURSORS:
        return True
    meaning = meaning_of(name)
    number = schema.kind(kind) == ENUM or (kind in NUMBERS and schema.kind(kind) in (SCALAR, ""))
    told = [meaning]
    if schema.kind(kind) != ENUM and kind not in ("ID", "UUID"):  # the number of a fax is no number of things
        told += [meaning_of(word) for word in words_of(name)]
    return number and not any(one is not None and one.kind in (*PERSONAL, *_HIDDEN) for one in told)


def _parts(types: Types, name: str) -> set[str]:
    """Types without id below a type that lead to no record."""
    found: set[str] = set()
    waiting = [below for _, below in types.objects(name)]
    while waiting:
        one = waiting.pop()
        if one in found or "id" in types.schema.types[one].members or _reaches(types, one):
            continue
        found.add(one)
        waiting += [below for _, below in types.objects(one)]
    return found


def _reaches(types: Types, name: str) -> bool:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in types.entities or "id" in types.schema.types[one].members:
            return True
        if one not in seen:
            seen.add(one)
            waiting += [below for _, below in types.objects(one)]
    return False


def seen_values(evidence: Evidence, routes: frozenset[str]) -> dict[str, Stat]:
    """What values were seen under each name, in variables and answers of the endpoint."""
    found: dict[str, Stat] = {}
    for (where, route, name), stat in evidence.places.items():
        if where in (JSON_IN, JSON_OUT) and route in routes:
            last = next((step for step in reversed(name.split("/")) if step != "*"), "")
            found.setdefault(last, Stat()).add(stat)
    return found


def _describe(types: Types, entity: str, mine: list[str], seen: Mapping[str, Stat], choices: Choices) -> None:
    """The fields of one kind of record: those of its type and of its parts."""
    candidates: dict[tuple[str, str], Candidate] = {}
    told: list[Told] = []
    for name in mine:
        for key, member in types.schema.types[name].members.items():
            stat, meaning = seen.get(key, Stat()), meaning_of(key)
            text = member.type == "String" or member.type in GRAPHQL_KINDS
            if not text or key in CURSORS or (meaning is not None and meaning.kind in _HIDDEN):
                continue
            kind = GRAPHQL_KINDS.get(member.type, "")
            if meaning is None and not stat.seen and not kind:
                continue  # nothing says what it is
            called = snake(key)
            if any(one.name == called for one in candidates.values()):
                called = f"{snake(name)}_{called}"
            one = candidates[name, key] = Candidate(called, (name, key), places=[f"GraphQL {name}.{key}"])
            one.stat.add(stat)
            told += [Told(entity, called, kind)] if kind else []
    rules = decided(entity, candidates.values(), Document("graphql", told), choices)
    ruled: dict[tuple[str, ...], str] = {}
    for rule in rules.rules:
        select, named = rule["select"], str(rule["field"])
        ruled[tuple(select) if isinstance(select, list) else (str(select),)] = named
    for place in candidates:
        named = ruled.get(place, "")
        meaning = meaning_of(place[1])
        if named:
            types.maps[place] = f"{entity}{named}" if named.startswith(".") else named
        elif meaning is not None and meaning.kind in ("plain", "place") and not candidates[place].stat.kinds:
            types.maps[place] = PLAIN
    rules.rules = []  # the section says where they stand
    types.sets.append(rules)
