"""Calls of a JSON-RPC become the `rpc` part of a profile: objects with their fields, verbs with what they do."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.learn.choices import Choices
from gateway.learn.document import Document
from gateway.learn.evidence import DOMAIN, RPC_IN, RPC_OUT, Call, Evidence
from gateway.learn.fields import Candidate, RuleSet, decided
from gateway.learn.naming import entity_of_object, name_of
from gateway.learn.proposal import Decision
from gateway.learn.value import LONG_TEXT, WORDS
from gateway.learn.vocabulary import PERSONAL, vocabulary, words_of

KINDS = ("model", "wizard", "report")
_WITH_IDS = ("read", "update", "delete", "export")
_TELLING = ("read", "search", "list")
_OPERATORS = ["=", "!=", "in", "not in", "like", "ilike", "not like", "not ilike"]


@dataclass(slots=True)
class Calls:
    """The `rpc` part, and what belongs to it elsewhere in the profile."""

    rpc: dict[str, Any]
    sets: list[RuleSet] = field(default_factory=list)
    searches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def reading(self) -> dict[str, list[str]]:
        """Entity → methods that read its records, where creates name the new record."""
        verbs = self.rpc["verbs"].get("model", {})
        if not any(one["action"] == "create" and "answer" in one for one in verbs.values()):
            return {}
        declared = {one.entity for one in self.sets}
        return {
            about["entity"]: [f"model.{name}.{verb}" for verb, one in verbs.items() if one["action"] in _TELLING]
            for name, about in self.rpc["objects"].items()
            if about["entity"] in declared
        }


def parts_of(method: str) -> tuple[str, str, str]:
    """Kind, object and verb of a method's name; kind and object are "" where it has no such parts."""
    kind, _, rest = method.partition(".")
    name, _, verb = rest.rpartition(".")
    return (kind, name, verb) if name and kind in KINDS else ("", "", method)


def calls_of(evidence: Evidence, document: Document, choices: Choices) -> Calls | None:
    """Everything that calls told; None where there were none."""
    answered = {name: call for name, call in evidence.calls.items() if call.failed < call.count or call.secret}
    if not answered:
        return None
    objects: dict[tuple[str, str], list[str]] = {}
    for method in answered:
        kind, name, _ = parts_of(method)
        if name:
            objects.setdefault((kind, name), []).append(method)
    found = Calls({"media_types": ["application/json"], "objects": {}, "verbs": {}, "calls": {}})
    _whole_names(answered, found, choices)
    _verbs(answered, found, choices)
    for (kind, name), methods in sorted(objects.items()):
        if kind == "model":
            _object(evidence, name, methods, found, document, choices, [one for _, one in objects])
    found.notes = _notes(evidence)
    found.searches["texts"] = [{"where": "json", "select": ["params", "0"], "strip": "%", "equality": _OPERATORS,
                                "columns": _text_columns(evidence, list(answered))}]  # fmt: skip
    found.rpc["other"] = {"entity": "record", "rules": ["notes"], "searches": ["texts"]}
    return found


def _whole_names(answered: Mapping[str, Call], found: Calls, choices: Choices) -> None:
    """Calls without object: sign-in and the like."""
    for method, call in sorted(answered.items()):
        kind, _, _ = parts_of(method)
        action = "login" if call.secret else vocabulary().action(method.rpartition(".")[2])
        if call.secret or action in ("login", "logout"):
            found.rpc["calls"][method] = {
                "id": f"auth.{action}",
                "entity": "auth",
                "action": action,
                "left_alone": True,
            }
        elif kind in KINDS:
            continue
        elif action in ("read", "list"):
            found.rpc["calls"][method] = {"id": f"server.{name_of(method)}", "entity": "server", "action": "read"}
        else:
            found.refused.append(method)


def _verbs(answered: Mapping[str, Call], found: Calls, choices: Choices) -> None:
    """What the verbs of all objects do, by kind of object."""
    seen: dict[tuple[str, str], Call] = {}
    for method, call in answered.items():
        kind, name, verb = parts_of(method)
        if name and not call.secret:
            total = seen.setdefault((kind, verb), Call())
            total.count += call.count
            total.ids.update(call.ids)
            total.results.update(call.results)
            total.operators.update(call.operators)
    unknown = []
    for (kind, verb), call in sorted(seen.items()):
        action = vocabulary().action(verb)
        if action is None or action in ("login", "logout"):
            unknown.append(f"{kind}: {verb}")
            continue
        found.rpc["verbs"].setdefault(kind, {})[verb] = _verb(verb, action, call)
    found.rpc["verbs"].setdefault("model", {})
    if unknown:
        asked = Decision(
            "unknown-verbs",
            f"Verbs of calls that may change something, while nothing says what: {len(unknown)}. Let them through?",
            {"no": "refuse them", "yes": "let them through, their texts looked into"}, "no", 3.0, tuple(unknown[:40]),
            {"count": str(len(unknown))},
        )  # fmt: skip
        if choices.get(asked) == "yes":
            for one in unknown:
                kind, _, verb = one.partition(": ")
                found.rpc["verbs"].setdefault(kind, {})[verb] = {"id": f"{{entity}}.{name_of(verb)}", "action": "other"}
        else:
            found.refused += unknown


def _verb(verb: str, action: str, call: Call) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": f"{{entity}}.{name_of(verb)}", "action": action}
    if call.operators or (action in ("search", "list") and not call.ids["0"]):
        entry |= {"looks_up": True, "action": "search" if action == "list" else action}
    elif action in _WITH_IDS and call.ids["0"]:
        entry["ids"] = 0
        if action == "update":
            entry["ids_step"] = 2  # further pairs of ids and values must not be taken for the first ones' values
    if action == "create" and call.results["ids"]:
        entry["answer"] = {"json": [["result"], []]}
    return entry


def _object(
    evidence: Evidence,
    name: str,
    methods: list[str],
    found: Calls,
    document: Document,
    choices: Choices,
    taken: list[str],
) -> None:
    entity = entity_of_object(name, taken)
    if not vocabulary().staff.isdisjoint(words_of(name)):
        found.rpc["objects"][name] = {"entity": entity, "rules": [], "left_alone": True}
        return
    candidates: dict[str, Candidate] = {}
    out: Counter[str] = Counter()
    for (where, method, key), stat in evidence.places.items():
        if method not in methods or where not in (RPC_IN, RPC_OUT):
            continue
        last = key.rpartition("/")[2]
        if where == RPC_OUT and (
            "/" in key or parts_of(method)[2] in ("fields_get", "fields_view_get", "view_toolbar_get")
        ):
            continue
        one = candidates.setdefault(last, Candidate(last, ("params", "**", last)))
        one.stat.add(stat)
        one.places.append(f"{'parameter' if where == RPC_IN else 'result'} {key} of {method}")
        out[last] += 1
    written = any(vocabulary().action(parts_of(one)[2]) in ("create", "update") for one in methods)
    personal = any(one.stat.kinds or _means_somebody(one.name) for one in candidates.values() if one.stat.seen)
    if not (personal or written):
        return
    known = [one for one in candidates.values() if one.name != "*" and (one.stat.textual or one.stat.shapes)]
    rules = decided(entity, known, document, choices)
    if not rules.fields:
        return
    found.sets.append(rules)
    found.searches[f"columns_{entity}"] = [_domain(evidence, methods, rules)]
    found.rpc["objects"][name] = {"entity": entity, "rules": [entity, "notes"], "searches": [f"columns_{entity}"]}
    found.keys[entity] = {one.source: f".{one.name}" for one in rules.fields if one.kind in ("name", "address")}


def _means_somebody(name: str) -> bool:
    meaning = vocabulary().meaning(name)
    return meaning is not None and meaning.kind in PERSONAL and meaning.weight > 0.8


def _domain(evidence: Evidence, methods: list[str], rules: RuleSet) -> dict[str, Any]:
    """Search conditions over the columns of one object."""
    columns: dict[str, str] = _text_columns(evidence, methods)
    for one in rules.fields:
        columns[one.source] = (
            "text" if columns.get(one.source) == "mixed" or one.name != name_of(one.source) else f".{one.name}"
        )
    return {"where": "json", "select": ["params", "0"], "strip": "%", "equality": _OPERATORS, "columns": columns}


def _text_columns(evidence: Evidence, methods: list[str]) -> dict[str, str]:
    """Columns that were compared with words or with something recognised: the operand decides what it is."""
    found = {"rec_name": "text", "name": "text", "display_name": "text"}
    for (where, method, column), stat in evidence.places.items():
        if where == DOMAIN and method in methods and (stat.kinds or stat.shapes[WORDS] or stat.shapes[LONG_TEXT]):
            found[column.rpartition(".")[2]] = "text"
    return found


def _notes(evidence: Evidence) -> list[dict[str, Any]]:
    """Keys of all calls that hold what people write: free text wherever no field is declared."""
    keys = {
        key for (where, _, key), stat in evidence.places.items()
        if where == RPC_IN and key != "*" and (stat.kinds or stat.shapes[WORDS] or stat.shapes[LONG_TEXT])
    }  # fmt: skip
    keys |= {"name", "description", "comment", "note", "notes", "message", "body", "subject", "content", "summary"}
    return [{"select": ["params", "**", key], "field": "text"} for key in sorted(keys)]
