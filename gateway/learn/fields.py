"""Fields of records: what forms and calls write, with the kind that their names, labels and values point to."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.learn.choices import Choices
from gateway.learn.document import Document
from gateway.learn.evidence import Control, Evidence
from gateway.learn.guess import MIXED, UNKNOWN, Guess, guess
from gateway.learn.naming import name_of
from gateway.learn.proposal import Decision, Field
from gateway.learn.value import Stat
from gateway.learn.vocabulary import UNSURE

DECLARED = ("name", "email", "phone", "address", "id_card", "bank_card")
# Types of form fields that people do not write text into.
CHOSEN = frozenset({
    "hidden", "checkbox", "radio", "select", "submit", "button", "reset", "image", "password", "file", "number", "date",
    "datetime-local", "time", "color", "range", "month", "week",
})  # fmt: skip
# What a field holds when its text decides: the two kinds whose shape a rule can go by.
BY_SHAPE = ("email", "phone")
_ROW = re.compile(r"(?<=[-_.\[])(?:\d{1,4}|__prefix__|__index__)(?=[-_.\]])")
_CONTACT_KINDS = frozenset({"email", "phone", "address", "birth_date"})
KINDS_ASKED = {
    "name": "a name: always replaced", "address": "an address: always replaced", "email": "an e-mail address",
    "phone": "a phone number", "text": "free text: its personal parts are replaced", "plain": "nothing personal",
}  # fmt: skip


@dataclass(slots=True)
class Candidate:
    """One name in the writes of an entity. path: how a rule selects it; stat: its values wherever they were seen."""

    name: str
    path: tuple[str, ...]
    stat: Stat = field(default_factory=Stat)
    labels: list[str] = field(default_factory=list)
    control: str = ""
    longest: int = 0
    places: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RuleSet:
    """Rules of one entity's writes, and what was found on the way. dates: fields with dates of birth."""

    entity: str
    rules: list[dict[str, object]] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)


def add_control(candidate: Candidate, control: Control) -> None:
    """Take in what a page told about the field."""
    candidate.control = candidate.control or control.type
    candidate.longest = candidate.longest or control.longest
    if control.label and control.label not in candidate.labels:
        candidate.labels.append(control.label)


def decided(
    entity: str, candidates: Iterable[Candidate], document: Document, choices: Choices, *, people: bool = False
) -> RuleSet:
    """Rules and fields of one entity. people: it is known to be about people or companies."""
    found = RuleSet(entity)
    guessed = [(one, _guessed(one, document)) for one in candidates]
    people = people or any(one.kind in _CONTACT_KINDS or one.kind == MIXED for _, one in guessed)
    for candidate, one in sorted(guessed, key=lambda pair: pair[0].path):
        if candidate.control in CHOSEN and not (candidate.control == "date" and one.kind == "birth_date"):
            found.untouched.append(candidate.path[0])
            continue
        if one.kind in ("secret", "token"):
            found.untouched.append(candidate.path[0])
            continue
        kind = _asked(entity, candidate, one, people, choices)
        if kind == "birth_date":
            found.dates.append(f"{entity}.{candidate.name}")
        elif kind == MIXED:
            found.rules.append(_by_shape(entity, candidate, one, found))
        elif kind in DECLARED:
            found.fields.append(_field(entity, candidate, kind, one))
            found.rules.append({"select": _select(candidate.path), "field": f".{name_of(candidate.name)}"})
        elif kind == "text":
            found.rules.append({"select": _select(candidate.path), "field": "text"})
        else:
            found.plain.append(candidate.name)
    return found


def _guessed(candidate: Candidate, document: Document) -> Guess:
    told = document.told(candidate.name)
    if told == "date":
        told = ""
    return guess(candidate.name, candidate.labels, candidate.stat, told, candidate.control)


def _asked(entity: str, candidate: Candidate, one: Guess, people: bool, choices: Choices) -> str:
    """The kind that counts: what is sure goes through, the rest is asked, the most sensitive being the default."""
    if one.kind == UNSURE:
        # A record with a phone or an address is somebody; what it is called is a name.
        one.confidence = 0.7 if people else 0.35
        one.reasons.append(
            "the record also holds ways to reach somebody" if people else "it may be the name of a thing"
        )
        return choices.get(_question(entity, candidate, "name", 2.0 if people else 1.5)) if not people else "name"
    if one.kind == UNKNOWN:
        return choices.get(_question(entity, candidate, "name" if people else "text", 1.0))
    if one.kind in ("plain", "place", "text", "birth_date", MIXED) or one.confidence >= 0.55:
        return one.kind
    return choices.get(_question(entity, candidate, one.kind, 2.5))


def _question(entity: str, candidate: Candidate, default: str, weight: float) -> Decision:
    label = f" (“{candidate.labels[0]}”)" if candidate.labels else ""
    return Decision(
        f"kind.{entity}.{name_of(candidate.name)}",
        f"What is the field “{candidate.name}”{label} of “{entity}”?",
        KINDS_ASKED,
        default,
        weight + min(0.9, candidate.stat.seen / 100),
        tuple(candidate.stat.samples),
        {"field": candidate.name, "entity": entity},
    )


def _field(entity: str, candidate: Candidate, kind: str, one: Guess, suffix: str = "") -> Field:
    return Field(
        entity, name_of(candidate.name) + suffix, kind, one.confidence, one.reasons, list(candidate.stat.samples),
        candidate.places[:6], candidate.labels, candidate.longest, candidate.stat.seen, candidate.name,
    )  # fmt: skip


def _by_shape(entity: str, candidate: Candidate, one: Guess, found: RuleSet) -> dict[str, object]:
    """A column that holds several kinds: each value says which."""
    shape = {}
    for kind in BY_SHAPE if set(BY_SHAPE) & set(candidate.stat.kinds) else ():
        found.fields.append(_field(entity, candidate, kind, one, f"_{kind}"))
        shape[kind] = f".{name_of(candidate.name)}_{kind}"
    return {"select": _select(candidate.path), **({"shape": shape} if shape else {}), "field": "text"}


def _select(path: Sequence[str]) -> str | list[str]:
    return path[0] if len(path) == 1 else list(path)


def _of_rows(name: str) -> str:
    """A form field with the number of its row, or what stands for it in the empty row, as one for all rows."""
    return _ROW.sub("*", name)


def from_forms(evidence: Evidence, sources: Sequence[str], wheres: Mapping[str, str]) -> list[Candidate]:
    """What the routes of one entity write. wheres: part of a request or form → how it is called to people."""
    found: dict[tuple[str, ...], Candidate] = {}
    for source in sources:
        for told, control in evidence.forms.get(source, {}).items():
            name = _of_rows(told)
            add_control(found.setdefault((name,), Candidate(name, (name,))), control)
    for (where, route, name), stat in evidence.places.items():
        if where not in wheres or route not in sources:
            continue
        path = tuple(name.split("/")) if where == "json" else (_of_rows(name),)
        last = next((step for step in reversed(path) if step != "*"), path[-1])
        one = found.setdefault(path, Candidate(last, path))
        one.stat.add(stat)
        one.places.append(f"{wheres[where]} {name} of {route}")
    return [one for one in found.values() if one.path != ("*",)]
