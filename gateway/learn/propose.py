"""From evidence to a proposed profile: the parts are put together, what is not sure is asked, each default is safe.

Pure: the same evidence, document and answers give the same proposal.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.learn import shown, sign_in
from gateway.learn.calls import Calls, calls_of
from gateway.learn.choices import Choices
from gateway.learn.comparisons import comparisons_of
from gateway.learn.constant import written_out
from gateway.learn.document import Document
from gateway.learn.evidence import FORM, JSON_IN, QUERY, RPC_IN, SHOWN, Evidence, Place
from gateway.learn.fields import RuleSet, decided, from_forms
from gateway.learn.graphql import Graphql, graphql_of
from gateway.learn.naming import name_of, path_of
from gateway.learn.owners import Owners, owners_of
from gateway.learn.proposal import Decision, Field, Operation, Proposal
from gateway.learn.routes import Found, classified, redirects
from gateway.learn.staff import staff_of
from gateway.learn.value import LONG_TEXT, WORDS
from gateway.learn.vocabulary import vocabulary

_WRITTEN = {FORM: "form field", SHOWN: "shown form field", JSON_IN: "JSON"}
_READING = ("list", "read", "search", "export")
_NEVER = frozenset({"password*", "csrf*", "*token", "*_token"})
# Shapes of record ids beside decimal numbers, as a profile names them.
_ID_SHAPES = ("uuid", "hex24", "salesforce")


@dataclass(slots=True)
class _Parts:
    """What is being put together."""

    sets: dict[str, RuleSet] = field(default_factory=dict)
    searches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    sources: dict[Place, Field] = field(default_factory=dict)
    routes: dict[str, list[str]] = field(default_factory=dict)
    staff: frozenset[str] = frozenset()
    owners: Owners = field(default_factory=Owners)
    graphql: Graphql | None = None

    @property
    def fields(self) -> list[Field]:
        return [one for each in self.sets.values() for one in each.fields]


def propose(name: str, evidence: Evidence, document: Document, answers: Mapping[str, str]) -> Proposal:
    """The proposed profile. name: of the profile; answers: decision → what was chosen."""
    choices, evidence = Choices(answers), written_out(evidence)
    routes, refused = classified(evidence, document, choices)
    parts = _Parts()
    parts.graphql = graphql_of(evidence, document, choices)
    if parts.graphql is not None:
        routes = [one for one in routes if not parts.graphql.routes & set(one.sources)]
        refused = [one for one in refused if one not in parts.graphql.routes]
    parts.staff = staff_of(evidence, routes, choices)
    _write_rules(evidence, document, choices, routes, parts)
    _operations(evidence, choices, routes, parts)
    parts.sets |= {f"graphql {one.entity}": one for one in parts.graphql.sets} if parts.graphql is not None else {}
    calls = calls_of(evidence, document, choices)
    if calls is not None:
        _with_calls(evidence, calls, parts)
        refused += calls.refused
    _unused_forms(evidence, routes, choices)
    _birth_dates(parts, choices)
    parts.owners = owners_of(evidence, routes, _bound(parts), choices, calls.reading() if calls is not None else {})
    fields = parts.fields
    shown.column_labels(evidence, fields, parts.sources)
    source = _source(name, evidence, routes, parts, calls)
    return Proposal(evidence.exchanges, fields, parts.operations, choices.asked(), refused, source, len(evidence.calls))


# -- what is written -------------------------------------------------------------------------------------------


def _write_rules(evidence: Evidence, document: Document, choices: Choices, routes: list[Found], parts: _Parts) -> None:
    """One rule set for each entity that something writes; a way to write without a create uses another one's fields."""
    writes: dict[str, list[Found]] = {}
    for one in routes:
        if one.action in ("create", "update", "import", "other"):
            writes.setdefault(one.entity, []).append(one)
    creating = {one.entity for one in routes if one.action == "create"}
    for entity in sorted(writes, key=lambda one: (one not in creating, one)):
        sources = [source for one in writes[entity] for source in one.sources]
        if entity in parts.staff:
            continue
        candidates = from_forms(evidence, sources, _WRITTEN)
        found = decided(entity, candidates, document, choices)
        if entity not in creating:
            _borrow(found, parts)
        parts.sets[entity] = found
        for place in evidence.places:
            if place[0] in _WRITTEN and place[1] in sources:
                for named in found.fields:
                    if named.source == place[2].rpartition("/")[2]:
                        parts.sources[place] = named


def _borrow(found: RuleSet, parts: _Parts) -> None:
    """Fields that a record type with a create declares already are that record's: a shared way to write it."""
    known: dict[str, list[Field]] = {}
    for other in parts.sets.values():
        for one in other.fields:
            known.setdefault(one.name, []).append(one)
    owners = Counter(one.entity for mine in found.fields for one in known.get(mine.name, ()) if one.kind == mine.kind)
    if not owners:
        return
    owner = owners.most_common(1)[0][0]
    taken = {one.name for one in found.fields if any(own.entity == owner for own in known.get(one.name, ()))}
    for rule in found.rules:
        if str(rule.get("field", "")).removeprefix(".") in taken and str(rule.get("field", "")).startswith("."):
            rule["field"] = f"{owner}{rule['field']}"
    found.fields = [one for one in found.fields if one.name not in taken]


# -- operations ------------------------------------------------------------------------------------------------


def _operations(evidence: Evidence, choices: Choices, routes: list[Found], parts: _Parts) -> None:
    grouped: dict[str, Operation] = {}
    for one in sorted(routes, key=lambda found: (found.entity, found.action, found.method, found.template)):
        path = path_of(one.template, names_record=one.action in ("read", "update", "delete", "export"))
        if path is None or one.template == "/{any}":
            continue
        searches = _searches(evidence, one, parts)
        rules = [one.entity] if one.entity in parts.sets and parts.sets[one.entity].rules else []
        if one.action not in ("create", "update", "import", "other"):
            rules = []
        answer = _answer(evidence, one, choices) if one.action == "create" else {}
        alone = one.action in ("login", "logout") or one.entity in parts.staff
        entity = "auth" if one.action in ("login", "logout") else one.entity
        shows_login = one.action == "login" and one.method == "GET"
        operation = Operation(
            "auth.page" if shows_login else f"{entity}.{one.action}", entity, one.action, [one.method], [path], rules,
            searches, answer, alone, one.route.count,
        )  # fmt: skip
        parts.routes.setdefault(_merge(grouped, operation), []).extend(one.sources)
    parts.operations = list(grouped.values())


def _merge(grouped: dict[str, Operation], new: Operation) -> str:
    """Id of the operation: routes that mean the same are one; those that differ in anything get a number behind it."""
    number = 1
    while True:
        name = new.id if number == 1 else f"{new.id}_{number}"
        known = grouped.get(name)
        if known is None:
            new.id = name
            grouped[name] = new
            return name
        same = (known.methods, known.rules, known.searches, known.answer, known.left_alone) == (
            new.methods, new.rules, new.searches, new.answer, new.left_alone,
        )  # fmt: skip
        if same:
            known.paths += [path for path in new.paths if path not in known.paths]
            known.count += new.count
            return name
        number += 1


def _searches(evidence: Evidence, found: Found, parts: _Parts) -> list[str]:
    """Parameters that hold what somebody looks for; the operand itself decides what it is."""
    if found.action not in (*_READING, "other"):
        return []
    names = {
        place[2] for place, stat in evidence.places.items()
        if place[0] == QUERY and place[1] in found.sources and _is_operand(place[2], stat.kinds.total(), stat.shapes)
    }  # fmt: skip
    if not names:
        return []
    selected = sorted(_patterns(names), key=str)
    key = "query_" + name_of("_".join(str(one) for one in selected))[:60]
    parts.searches[key] = [{"where": "query", "select": one} for one in selected]
    return [key]


def _is_operand(name: str, recognised: int, shapes: Counter[str]) -> bool:
    last = name.rpartition("/")[2]
    worded = shapes[WORDS] or shapes[LONG_TEXT]
    return bool(recognised or worded or ("/" not in name and (last in vocabulary().searches or "search" in last)))


def _patterns(names: set[str]) -> list[str | list[str]]:
    """Names with the same beginning become one pattern; JSON in a parameter is looked into wherever it holds text."""
    heads = Counter(_head(name) for name in names if "/" not in name and _head(name))
    found: list[str | list[str]] = []
    for name in names:
        if "/" in name:
            chosen: str | list[str] = [name.split("/")[0], "**"]
        else:
            chosen = f"{_head(name)}*" if heads[_head(name)] >= 2 else name
        if chosen not in found:
            found.append(chosen)
    return found


def _head(name: str) -> str:
    at = min((name.find(sign) for sign in "-_.[" if name.find(sign) > 2), default=-1)
    return name[: at + 1] if at > 0 else ""


def _answer(evidence: Evidence, found: Found, choices: Choices) -> dict[str, Any]:
    """How the answer to a create names its record; an address only if somebody says that no request can choose it."""
    if found.route.answers["id"]:
        return {"json": [["id"]]}
    if found.route.answers[f"id|{found.entity}"]:
        return {"json": [[found.entity, "id"]]}
    if not any(shown.is_record_page(lead) for lead in found.route.leads):
        return {}
    names = redirects(found, evidence)
    asked = Decision(
        "creates-by-address",
        "After a new record the CRM leads to its page. May a request choose another page by a parameter nobody used?",
        {"maybe": "new values belong to no record until it is known better: hidden from all who may not see everything",
         "no": "new values belong to the record of that page"},
        "maybe",
        2.8,
        (found.key, *names),
    )  # fmt: skip
    if choices.get(asked) == "maybe" or len(names) > 1:
        return {}
    multipart = any("multipart" in body for body in found.route.bodies)
    return {"location": True, **({"unless_part" if multipart else "unless": names[0]} if names else {})}


def _bound(parts: _Parts) -> frozenset[str]:
    """Entities whose creates name the new record: only those can have an owner."""
    return frozenset(one.entity for one in parts.operations if one.action == "create" and one.answer)


def _unused_forms(evidence: Evidence, routes: list[Found], choices: Choices) -> None:
    """Forms that pages showed and nobody sent stay refused; they are told, so that somebody can send them."""
    sent = {source for one in routes for source in one.sources}
    unused = sorted(key for key in evidence.forms if key not in sent and not key.startswith("GET "))
    if unused:
        choices.get(
            Decision(
                "unused-forms",
                f"Forms that were shown and never sent: {len(unused)}. To allow one, send it once while learning.",
                {"refuse": "they stay refused"},
                "refuse",
                0.5,
                tuple(unused[:40]),
                {"count": str(len(unused))},
            )
        )


def _birth_dates(parts: _Parts, choices: Choices) -> None:
    dates = sorted({one for each in parts.sets.values() for one in each.dates})
    if dates:
        choices.get(
            Decision(
                "birth-dates",
                f"{', '.join(dates)}: dates of birth need rules that learning cannot make. They stay clear.",
                {"clear": "they stay in the CRM as they are; describe them by hand (form beside) before going live"},
                "clear",
                2.9,
                tuple(dates),
                {"fields": ", ".join(dates)},
            )
        )


# -- the whole -------------------------------------------------------------------------------------------------


def _with_calls(evidence: Evidence, calls: Calls, parts: _Parts) -> None:
    for one in calls.sets:
        parts.sets[one.entity] = one
        for field_ in one.fields:
            for place in evidence.places:
                if place[0] == RPC_IN and place[2] == field_.source:
                    parts.sources.setdefault(place, field_)
    notes = RuleSet("notes")
    notes.rules = list(calls.notes)
    parts.sets["notes"] = notes
    parts.searches |= calls.searches


def _source(name: str, evidence: Evidence, routes: list[Found], parts: _Parts, calls: Calls | None) -> dict[str, Any]:
    fields: dict[str, dict[str, Any]] = {}
    for one in parts.fields:
        fields.setdefault(one.entity, {})[one.name] = _field_entry(one)
    _without_contradictions(fields)
    source: dict[str, Any] = {
        "profile": name_of(name),
        "title": f"{name} (learnt)",
        "version": "1",
        "protocol": "json-rpc" if calls is not None else "rest" if parts.graphql is not None else "html-forms",
        "origin_mode": "C",
        "websocket": False,
        "mask_char": "*",
        "opaque": "refuse-unless-everything",
        "fields": fields,
    }
    signed = sign_in.describe(evidence, parts.operations, lambda one: parts.routes.get(one.id, []))
    if signed["cookies"]:
        source["cookies"] = {"session": signed["cookies"]}
    source |= {key: signed[key] for key in ("credentials", "sign_in") if signed[key]}
    shape = _id_shape(evidence) or (parts.graphql.id_shape if parts.graphql is not None else "")
    if shape:
        source["record_ids"] = shape
    entities = {one.entity for one in parts.fields}
    pages = shown.record_pages(evidence, entities, {one.key for one in routes})
    if pages:
        source["record_pages"] = pages
    places = shown.places_of(evidence, parts.fields, parts.sources)
    titles = {entity: title for entity in sorted(set(pages.values())) if (title := _title_of(entity, parts.fields))}
    if titles:
        places["links"] = {"css": "a", "fields": titles}
    if calls is not None and calls.keys:
        places["keys"] = [{"entity": entity, "fields": named} for entity, named in calls.keys.items() if named]
    if places:
        source["places"] = places
    source["untouched"] = sorted({*_NEVER, *(one for each in parts.sets.values() for one in each.untouched)})
    source["rule_sets"] = {one.entity: one.rules for one in parts.sets.values() if one.rules}
    if parts.searches:
        source["search_sets"] = parts.searches
    source["operations"] = [one.source() for one in parts.operations]
    if calls is not None:
        called = [key.partition(" ")[2] for key, route in evidence.routes.items() if "rpc" in route.answers]
        paths = sorted({path for one in called if (path := path_of(one, names_record=False)) is not None})
        source["operations"].append({"id": "rpc", "entity": "rpc", "action": "other", "rpc": True, "paths": paths})
        source["rpc"] = {key: value for key, value in calls.rpc.items() if value or key != "calls"}
    if parts.graphql is not None:
        source["graphql"] = parts.graphql.section
        home = {"id": "page.home", "entity": "page", "action": "read", "methods": ["GET"], "paths": ["/"]}
        source["operations"] = source["operations"] or [home]
        source["unmatched_reads"] = "deny"  # a query at an address in another spelling
    if parts.owners.owner:
        source["owner"] = parts.owners.owner
        if shape == "uuid":
            source["global_record_ids"] = True
    derived = shown.derived_keys(evidence, parts.fields)
    if derived:
        source["derived"] = derived
    if parts.owners.read_back:
        source["read_back"] = parts.owners.read_back
    compared = comparisons_of(parts.fields, shown.named_cells(places), parts.searches, calls=calls is not None)
    if compared:
        source["comparisons"] = compared
    source["accepted"] = _accepted(routes, calls)
    source["known_limits"] = _limits(parts)
    return source


def _field_entry(one: Field) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": one.kind}
    if one.longest >= 10:
        entry["max"] = min(one.longest, 65535)
    if one.labels:
        entry["labels"] = list(dict.fromkeys(one.labels))
    return entry


def _without_contradictions(fields: dict[str, dict[str, Any]]) -> None:
    """A label that stands for two kinds says nothing: it goes from both."""
    kinds: dict[str, set[str]] = {}
    for named in fields.values():
        for entry in named.values():
            for label in entry.get("labels", ()):
                kinds.setdefault(" ".join(label.casefold().split()), set()).add(entry["kind"])
    for named in fields.values():
        for entry in named.values():
            labels = [one for one in entry.get("labels", ()) if len(kinds[" ".join(one.casefold().split())]) == 1]
            if labels:
                entry["labels"] = labels
            else:
                entry.pop("labels", None)


def _id_shape(evidence: Evidence) -> str:
    counted: Counter[str] = Counter()
    for key, route in evidence.routes.items():
        for shape in _ID_SHAPES:
            counted[shape] += route.count * key.count(f"{{{shape}}}")
        counted["number"] += route.count * key.count("{n}")
    best = counted.most_common(1)
    return best[0][0] if best and best[0][1] and best[0][0] != "number" else ""


def _title_of(entity: str, fields: list[Field]) -> str:
    """The field that links to a record say: its name, the last name first."""
    names = [one for one in fields if one.entity == entity and one.kind == "name" and "*" not in one.source]
    best = next((one for one in names if "last" in one.name or "sur" in one.name), names[0] if names else None)
    return best.id if best is not None else ""


def _accepted(routes: list[Found], calls: Calls | None) -> list[dict[str, Any]]:
    """How an answer says that a write took effect: a redirect, or JSON; a form shown again does not."""
    if calls is not None:
        return [{"status": 200, "json_without": "error"}]
    found: list[dict[str, Any]] = []
    statuses = {
        int(status) for one in routes if one.action in ("create", "update", "delete") for status in one.route.statuses
    }
    found += [{"status": status} for status in sorted(statuses) if status in (201, 204, 301, 302, 303)]
    found += [{"status": 200, "media": "application/json"}, {"status": 200, "media": "text/plain"}]
    return found


def _limits(parts: _Parts) -> list[str]:
    owned = ", ".join(parts.owners.owner.get("entities", ()))
    found = [
        "Learnt from what passed while somebody watched: what nobody did then is refused (writes) or scanned (reads).",
        f"Owners were learnt of: {owned}. Whether the CRM shows a record to others is its own affair."
        if owned
        else "No record has an owner, so roles that may see only their own records see none of their values in clear.",
        "City, postal code, country and dates of birth are not replaced.",
        "What the CRM held before is not protected: describe `walk` by hand, then use crmgate protect.",
    ]
    if parts.graphql is not None:
        found[0] = (
            "Learnt from a schema and from what passed: what neither explains is refused, reads as well as writes."
        )
        found.append("Of GraphQL, dates of birth and numbers with personal names are for those who see everything.")
    dates = sorted({one for each in parts.sets.values() for one in each.dates})
    return found + ([f"Dates of birth stay clear: {', '.join(dates)}."] if dates else [])
