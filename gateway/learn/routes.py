"""Routes that were seen become operations: what each one does, on which kind of record, and whether it was accepted."""

from collections import Counter
from dataclasses import dataclass, field

from gateway.learn.choices import Choices
from gateway.learn.document import Document
from gateway.learn.evidence import FORM, JSON_IN, QUERY, Evidence, Route
from gateway.learn.naming import entity_of, verb_of
from gateway.learn.proposal import Decision
from gateway.learn.route import folded
from gateway.learn.vocabulary import vocabulary

WRITES = frozenset({"create", "update", "delete", "import"})
_SAID = frozenset({"login", "logout", "export", "import", "search"})
_IDS = ("{n}", "{uuid}", "{hex24}", "{salesforce}")


@dataclass(slots=True)
class Found:
    """One route and what it does. sources: the routes as they were seen that this one stands for."""

    method: str
    template: str
    action: str
    entity: str
    route: Route
    sources: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """`METHOD template`."""
        return f"{self.method} {self.template}"


def routes_of(evidence: Evidence) -> list[Found]:
    """Every route that the CRM answered, words that are one of many folded into one."""
    whole = folded({key.partition(" ")[2] for key in evidence.routes})
    merged: dict[str, Found] = {}
    for key, route in evidence.routes.items():
        method, _, template = key.partition(" ")
        method = "GET" if method == "HEAD" else method
        name = f"{method} {whole[template]}"
        if name not in merged:
            merged[name] = Found(method, whole[template], "", entity_of(whole[template]), Route())
        merged[name].route.add(route)
        merged[name].sources.append(key)
    return [one for one in merged.values() if any(status[0] in "23" for status in one.route.statuses)]


def classified(evidence: Evidence, document: Document, choices: Choices) -> tuple[list[Found], list[str]]:
    """(what becomes an operation, what stays refused): a write counts when its meaning is sure or somebody decided."""
    kept, unknown = [], []
    for found in routes_of(evidence):
        if "rpc" in found.route.answers:
            continue
        seen = _action(found, evidence)
        # A document calls every POST a creation; what its path and its answers say comes first.
        found.action = seen if seen in _SAID else document.actions.get(found.key, "") or seen
        if found.action:
            kept.append(found)
        else:
            unknown.append(found.key)
    if unknown:
        asked = Decision(
            "unknown-writes",
            f"Kinds of requests that may change something, while nothing says what: {len(unknown)}. Let them through?",
            {"no": "refuse them", "yes": "let them through, their texts looked into"},
            "no",
            3.0 + len(unknown) / 100,
            tuple(unknown[:40]),
            {"count": str(len(unknown))},
        )
        if choices.get(asked) == "yes":
            for found in routes_of(evidence):
                if found.key in unknown:
                    found.action = "other"
                    kept.append(found)
            unknown = []
    return kept, sorted(unknown)


def _action(found: Found, evidence: Evidence) -> str:
    """What a route does; "" where a write does not say it."""
    verb = verb_of(found.template)
    if verb in ("login", "logout"):
        return verb
    if found.route.answers["secret"] or sets_password(found, evidence) or gives_credential(found.route):
        return "login" if found.method == "POST" and verb not in ("create", "update") else "update"
    if found.method == "GET":
        return _reading(found, verb, evidence)
    if found.method == "DELETE":
        return "delete"
    if verb in WRITES:
        return str(verb)
    if found.method in ("PUT", "PATCH"):
        return "update"
    named = found.template.rpartition("/")[2] in _IDS
    if any(lead.rpartition("/")[2] in _IDS for lead in found.route.leads) and not named:
        return "create"
    if found.route.statuses["201"] or (found.route.answers["id"] and not named):
        return "create"
    if verb in ("search", "export", "list") and not found.route.leads:
        return str(verb)
    return "update" if named and _fields(found, evidence) else ""


def _reading(found: Found, verb: str | None, evidence: Evidence) -> str:
    if verb == "export" or found.route.files or found.route.media.keys() & {"csv", "xlsx", "xls", "vcard"}:
        return "export"
    if verb == "search":
        return "search"
    if found.template.rpartition("/")[2] in _IDS or verb in WRITES or verb == "read":
        return "read"
    return "list"


def gives_credential(route: Route) -> bool:
    """Whether an answer of the route held what later requests carried as their credential."""
    return any(note.startswith("token|") for note in route.answers)


def sets_password(found: Found, evidence: Evidence) -> bool:
    """Whether requests of a route, or a form that was shown for it, have a password in them."""
    return found.route.answers["secret"] > 0 or any(
        control.type == "password" for source in found.sources for control in evidence.forms.get(source, {}).values()
    )


def _fields(found: Found, evidence: Evidence) -> bool:
    return any(place[1] in found.sources and place[0] in (FORM, JSON_IN) for place in evidence.places)


def redirects(found: Found, evidence: Evidence) -> list[str]:
    """Fields and parameters of a route by which a request could choose where the answer leads."""
    names = Counter(
        place[2] for place in evidence.places if place[1] in found.sources and place[0] in (FORM, QUERY)
    )  # fmt: skip
    for source in found.sources:
        names.update(evidence.forms.get(source, {}).keys())
    return sorted(name for name in names if name.lower() in vocabulary().redirects)
