"""What one learning run has seen of a CRM, as counts by place; written to the store as JSON and added up over nodes.

Places, statistics and masks only. Which values are the same is known by keyed digests that never leave the process:
what is kept of them is how often two places held the same value.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gateway.learn.value import Stat

MOST_PLACES, MOST_ROUTES, MOST_COPIES = 6000, 2000, 4000
# Where a place is: parts of requests, of answers, of a call.
QUERY, FORM, JSON_IN, RPC_IN, DOMAIN = "query", "form", "json", "rpc", "domain"
SHOWN, CELL, COLUMN, LINK, JSON_OUT, RPC_OUT = "shown", "cell", "column", "link", "json_out", "rpc_out"
SLASH = "slash"  # among a route's answers: its address was written with one at the end
SELECTED = "selected"  # what a form that was shown had chosen

Place = tuple[str, str, str]
"""(where, route or call, name): the name of a field, a path of JSON keys with dots, a CSS selector, a column."""


@dataclass(slots=True)
class Route:
    """One method and path template. leads: template of the address an accepted write redirects to → times; ids: how
    many different numbers stood last in the path; names: of cookies that its answers set."""

    count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    media: Counter[str] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)
    leads: Counter[str] = field(default_factory=Counter)
    cookies: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    files: int = 0
    known_ids: int = 0

    def add(self, other: "Route") -> None:
        """Take another process's counts in."""
        self.count += other.count
        self.files += other.files
        self.known_ids += other.known_ids
        for name in ("statuses", "media", "bodies", "leads", "cookies", "answers"):
            getattr(self, name).update(getattr(other, name))

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {name: dict(v) if isinstance(v := getattr(self, name), Counter) else v for name in self.__slots__}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Route":
        """From JSON."""
        found = cls()
        for name, value in plain.items():
            setattr(found, name, Counter(value) if isinstance(value, dict) else value)
        return found


@dataclass(slots=True)
class Control:
    """A field of a form that a page shows: its type, its label, the longest text it takes (0: not told).

    marked: class of an element around it that has the field's name in it (`field-email`).
    """

    type: str
    label: str = ""
    longest: int = 0
    filled: int = 0
    marked: str = ""


@dataclass(slots=True)
class Call:
    """One method of a JSON-RPC. ids: position of a parameter that held record ids → times; steps: of a second one."""

    count: int = 0
    failed: int = 0
    secret: int = 0
    ids: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Evidence:
    """All of it. forms: "METHOD template" → name → control; copies: two places → values that stood in both.

    owners: place of something called an owner, and "own" or "other" → how often it named who was at work, or somebody
    else; constant: template up to a number that is part of most addresses → the number, "" where there are several.
    """

    exchanges: int = 0
    dropped: int = 0
    routes: dict[str, Route] = field(default_factory=dict)
    places: dict[Place, Stat] = field(default_factory=dict)
    forms: dict[str, dict[str, Control]] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    copies: Counter[tuple[Place, Place]] = field(default_factory=Counter)
    owners: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    constant: dict[str, str] = field(default_factory=dict)

    def place(self, where: str, route: str, name: str) -> Stat | None:
        """The statistics of a place, None when there are too many places already."""
        key = (where, route, name)
        stat = self.places.get(key)
        if stat is None and len(self.places) < MOST_PLACES:
            stat = self.places[key] = Stat()
        return stat

    def route(self, key: str) -> Route | None:
        """The counts of a route, None when there are too many already."""
        found = self.routes.get(key)
        if found is None and len(self.routes) < MOST_ROUTES:
            found = self.routes[key] = Route()
        return found

    def add(self, other: "Evidence") -> None:
        """Take in what another process saw."""
        self.exchanges += other.exchanges
        self.dropped += other.dropped
        for key, route in other.routes.items():
            if (mine := self.route(key)) is not None:
                mine.add(route)
        for place, stat in other.places.items():
            if (known := self.place(*place)) is not None:
                known.add(stat)
        for key, controls in other.forms.items():
            self.forms.setdefault(key, {}).update(controls)
        for name, call in other.calls.items():
            here = self.calls.setdefault(name, Call())
            here.count, here.failed = here.count + call.count, here.failed + call.failed
            here.secret += call.secret
            here.ids.update(call.ids)
            here.results.update(call.results)
            here.operators.update(call.operators)
        self.copies.update(other.copies)
        self.owners.update(other.owners)
        for prefix, text in other.constant.items():
            self.constant[prefix] = text if self.constant.get(prefix, text) == text else ""

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "exchanges": self.exchanges,
            "dropped": self.dropped,
            "routes": {key: route.plain() for key, route in self.routes.items()},
            "places": [[*place, stat.plain()] for place, stat in self.places.items()],
            "forms": {key: {name: [c.type, c.label, c.longest, c.filled, c.marked] for name, c in controls.items()}
                      for key, controls in self.forms.items()},
            "calls": {name: [c.count, c.failed, c.secret, dict(c.ids), dict(c.results), dict(c.operators)]
                      for name, c in self.calls.items()},
            "copies": [[*one, *other, count] for (one, other), count in self.copies.most_common(MOST_COPIES)],
            "constant": dict(self.constant),
            "owners": [[*place, count] for place, count in self.owners.items()],
        }  # fmt: skip

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Evidence":
        """From JSON."""
        found = cls(plain["exchanges"], plain["dropped"])
        found.routes = {key: Route.of(one) for key, one in plain["routes"].items()}
        found.places = {(w, r, n): Stat.of(stat) for w, r, n, stat in plain["places"]}
        found.forms = {
            key: {name: Control(*one) for name, one in controls.items()} for key, controls in plain["forms"].items()
        }
        found.calls = {
            name: Call(count, failed, secret, Counter(ids), Counter(results), Counter(operators))
            for name, (count, failed, secret, ids, results, operators) in plain["calls"].items()
        }
        found.copies = Counter({((a, b, c), (d, e, f)): count for a, b, c, d, e, f, count in plain["copies"]})
        found.constant = dict(plain.get("constant", {}))
        found.owners = Counter({(w, r, n, whose): count for w, r, n, whose, count in plain.get("owners", ())})
        return found
