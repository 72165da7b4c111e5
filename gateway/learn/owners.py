"""Whose a record is: fields that are called after somebody in charge and held the CRM user who was at work.

Counted is how often such a field named that user and how often somebody else; its value is not kept. What follows is
only proposed: an owner that is believed wrongly shows one person's customers to another.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.learn.choices import Choices
from gateway.learn.evidence import FORM, JSON_IN, JSON_OUT, RPC_OUT, SELECTED, SLASH, Evidence
from gateway.learn.naming import path_of
from gateway.learn.proposal import Decision
from gateway.learn.routes import Found
from gateway.learn.value import ID, NUMBER
from gateway.learn.vocabulary import vocabulary

_INNER = ("id", "pk", "uuid")
_DEEPEST = 4
_SURE = 0.8
_CALL, _AT_HAND = "model.", "/{db}/rpc/"  # a call goes to where the exchange at hand went
OWN, OTHER = "own", "other"


def owner_leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Texts and numbers of a document that may say whose a record is, with the keys that lead to each."""
    if not isinstance(value, dict) or len(path) >= _DEEPEST:
        return
    for key, inner in value.items():
        named = vocabulary().is_owner(key)
        if named and isinstance(inner, str | int) and not isinstance(inner, bool):
            yield (*path, key), str(inner)
        elif named and isinstance(inner, dict):
            for name in _INNER:
                told = inner.get(name)
                if isinstance(told, str | int) and not isinstance(told, bool):
                    yield (*path, key, name), str(told)
                    break
        elif isinstance(inner, dict):
            yield from owner_leaves(inner, (*path, key))


@dataclass(slots=True)
class Owners:
    """`owner` and `read_back` of a profile; empty where nothing was found or nobody confirmed it."""

    owner: dict[str, Any] = field(default_factory=dict)
    read_back: list[dict[str, Any]] = field(default_factory=list)


def owners_of(
    evidence: Evidence,
    routes: Sequence[Found],
    entities: frozenset[str],
    choices: Choices,
    calls: Mapping[str, Sequence[str]],
) -> Owners:
    """Who owns the records of these entities: those whose creates name the new record.

    calls: entity → methods of a JSON-RPC that read its records.
    """
    told = {
        entity: (_posted(evidence, routes, entity), _shown(evidence, routes, entity)) for entity in sorted(entities)
    }
    posted = {entity: names for entity, (names, _) in told.items() if names}
    shown = {entity: places for entity, (_, places) in told.items() if places}
    for entity, methods in calls.items():
        counted = _counted(evidence, (RPC_OUT,), set(methods))
        names = {name for (_, name), numbers in counted.items() if _sure(numbers) and _made(name)}
        if names:
            reader = next((one for one in methods if one.endswith(".read")), "")
            shown[entity] = {(name,): reader for name in names}
    # A field of the form counts before what an answer says: the person who enters a record may give it to another.
    chosen = posted or shown
    if not chosen:
        return Owners()
    facts = ", ".join(f"{entity}.{_words(one)}" for entity, one in sorted(chosen.items()))
    asked = Decision(
        "owners",
        f"These fields named whoever was at work each time: {facts}. Do they say whose a record is?",
        {"no": "no: nobody has records of their own, and roles that may see only those see nothing in clear",
         "yes": "yes: a record belongs to that person, whose role may see more of it"},
        "no",
        2.95,
        (),
        {"fields": facts},
    )  # fmt: skip
    if choices.get(asked) != "yes":
        return Owners()
    through = _through(evidence, routes, entities - set(chosen), frozenset(posted), choices)
    back = [one for entity in sorted(chosen) for one in _read_back(evidence, routes, entity, shown.get(entity, {}))]
    if posted:
        fields = sorted({name for names in posted.values() for name in names})
        owner: dict[str, Any] = {"source": "form", "fields": fields, "entities": sorted({*posted, *through})}
        return Owners(owner | ({"through": through} if through else {}), back)
    return Owners({"source": "actor", "entities": sorted(shown)}, back)


def _through(
    evidence: Evidence, routes: Sequence[Found], entities: frozenset[str], owned: frozenset[str], choices: Choices
) -> dict[str, dict[str, str]]:
    """Entity without an owner of its own → the field of its creates that names a record which has one."""
    found = {}
    for entity in sorted(entities):
        sources = {
            source for one in routes if one.entity == entity and one.action == "create" for source in one.sources
        }
        names = sorted(
            name for (where, route, name), stat in evidence.places.items()
            if where == FORM and route in sources and name in owned
            and stat.shapes[NUMBER] + stat.shapes[ID] == stat.seen > 0
        )  # fmt: skip
        if names:
            found[entity] = {"field": names[0], "entity": names[0]}
    if not found:
        return {}
    facts = ", ".join(f"{entity}.{one['field']}" for entity, one in found.items())
    asked = Decision(
        "owners-through",
        f"Records without an owner of their own name another record: {facts}. Do they belong to whom that belongs?",
        {"no": "no: they belong to nobody", "yes": "yes: its owner is theirs"},
        "no",
        2.94,
        (),
        {"fields": facts},
    )
    return found if choices.get(asked) == "yes" else {}


def _made(name: str) -> bool:
    """Whether a place says who made a record, which no request can choose."""
    return vocabulary().is_maker(name.replace("/", " "))


def _words(chosen: Any) -> str:
    return ", ".join(sorted(chosen) if isinstance(chosen, list) else sorted({_step(one) for one in chosen}))


def _step(path: Sequence[str]) -> str:
    """The key that says it, of the keys that lead there."""
    return next((one for one in path if vocabulary().is_owner(one)), path[-1])


def _posted(evidence: Evidence, routes: Sequence[Found], entity: str) -> list[str]:
    """Fields of creates that named whoever sent them."""
    sources = {source for one in routes if one.entity == entity and one.action == "create" for source in one.sources}
    counted = _counted(evidence, (FORM, JSON_IN), sources)
    return sorted({name for (_, name), numbers in counted.items() if "/" not in name and _sure(numbers)})


def _shown(evidence: Evidence, routes: Sequence[Found], entity: str) -> dict[tuple[str, ...], str]:
    """Path in the answer about one record → its template, where it named whoever had made it."""
    sources = {
        source: one.template
        for one in routes
        if one.entity == entity and one.action == "read" and one.method == "GET" and one.template.endswith("}")
        for source in one.sources
    }
    counted = _counted(evidence, (JSON_OUT,), set(sources))
    # Whoever made a record is told by the server; whom it was given to is a matter of its own.
    return {
        tuple(name.split("/")): sources[route]
        for (route, name), numbers in counted.items()
        if _sure(numbers) and _made(name)
    }


def _counted(evidence: Evidence, wheres: Sequence[str], sources: set[str]) -> dict[tuple[str, str], Counter[str]]:
    found: dict[tuple[str, str], Counter[str]] = {}
    for (where, route, name, whose), count in evidence.owners.items():
        if where in wheres and route in sources:
            found.setdefault((route, name), Counter())[whose] += count
    return found


def _sure(numbers: Counter[str]) -> bool:
    return numbers[OWN] >= 2 and numbers[OWN] >= _SURE * numbers.total()


def _read_back(
    evidence: Evidence, routes: Sequence[Found], entity: str, shown: dict[tuple[str, ...], str]
) -> list[dict[str, Any]]:
    """How the gateway reads the owner of one record itself."""
    for path, template in sorted(shown.items(), key=lambda one: (len(one[0]), one[0])):
        if template.startswith(_CALL):
            asked = f'{{"id":1,"method":"{template}","params":[[{{record}}],["{path[0]}"],{{}}]}}'
            told = {"entity": entity, "method": "POST", "path": _AT_HAND, "body": asked}
            return [{**told, "owner_path": ["result", "0", *path]}]
        address = _address(template, routes)
        if address:
            return [{"entity": entity, "method": "GET", "path": address, "owner_path": list(path)}]
    for one in routes:
        if one.entity != entity or one.action not in ("read", "update"):
            continue
        address = _address(one.template, routes)
        for source in one.sources:
            for where, route, name, whose in sorted(evidence.owners):
                plain = where == SELECTED and route == source and whose == OWN
                if plain and address and name.isidentifier():
                    css = {"selector": f"select[name={name}] option[selected]", "attribute": "value"}
                    return [{"entity": entity, "method": "GET", "path": address, "owner_css": css}]
    return []


def _address(template: str, routes: Sequence[Found]) -> str:
    """Where one record is read, written as its readers write it; "" where it needs more than the record's id."""
    path = path_of(template, names_record=True) if template else None
    if path is None or "{outer" in path or "{record}" not in path:
        return ""
    slashes = sum(one.route.answers[SLASH] for one in routes if one.template == template)
    return f"{path}/" if 2 * slashes > sum(one.route.count for one in routes if one.template == template) else path
