"""What recorded work would be under another bundle: who would gain or lose what, over what people really did.

Pure comparison. What was done is gathered by person, operation and field (`Tally`); two bundles are asked about each
with the roles the person has now; only differences come out. The trail keeps the name of an operation, not its action,
and the form of a value, not whose record it was: every action the operation may have is asked, and own and other
records are told apart where the recorded form leaves only one of them. Rules are those of the moment given.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from policies.decision import FieldRule, FieldView, Form
from policies.enforcer import Bundle
from policies.operation import Action, FieldSpec, Operation
from policies.taxonomy import Kind

DO, SEE, WRITE = "do", "see", "write"
KEYS_LIMIT = 200_000
"""Distinct (person, operation, field) that are kept; more are counted as left out."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing somebody did. what: DO, SEE or WRITE; field: ENTITY.FIELD of what was seen or written; how: the form in
    which it was seen, or the operation's action where it is known, else ""."""

    person: str
    operation: str
    what: str
    field: str = ""
    how: str = ""


@dataclass(slots=True)
class Times:
    """How often, and when last."""

    count: int
    last: datetime

    def add(self, count: int, last: datetime) -> None:
        """Count more of the same."""
        self.count += count
        self.last = max(self.last, last)


class Tally:
    """Deeds with their times; bounded."""

    def __init__(self, limit: int = KEYS_LIMIT) -> None:
        self.deeds: dict[Deed, Times] = {}
        self.left_out = 0
        self._limit = limit

    def add(self, deed: Deed, at: datetime, count: int = 1) -> None:
        """Count a deed."""
        times = self.deeds.get(deed)
        if times is not None:
            times.add(count, at)
        elif len(self.deeds) < self._limit:
            self.deeds[deed] = Times(count, at)
        else:
            self.left_out += 1

    @property
    def people(self) -> frozenset[str]:
        """Ids of everybody who did something."""
        return frozenset(deed.person for deed in self.deeds)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. what: `op:ID` or `field:ENTITY.FIELD`; right: an action, SEE or WRITE; scope: "own", "other" or
    "any"; kind: of data inside a free text or ""; before, after: "allowed", "refused", "clear", "masked", "hidden".
    """

    what: str
    right: str
    scope: str
    kind: str
    before: str
    after: str

    @property
    def gain(self) -> bool:
        """Whether more would be possible."""
        return _ORDER[self.after] > _ORDER[self.before]


_WORDS = {False: "refused", True: "allowed"}
_ORDER = {"refused": 0, "hidden": 0, "masked": 1, "allowed": 2, "clear": 2}


@dataclass(frozen=True, slots=True)
class Affected:
    """Somebody whom a change concerns: how often they did it in the period, and when last."""

    person: str
    count: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A change for everybody with the same roles who did the thing; the most frequent first."""

    roles: tuple[str, ...]
    change: Change
    people: tuple[Affected, ...]

    @property
    def count(self) -> int:
        """How often it was done in all."""
        return sum(one.count for one in self.people)

    @property
    def last(self) -> datetime:
        """When it was done last."""
        return max(one.last for one in self.people)


@dataclass(frozen=True, slots=True)
class Simulated:
    """Losses first, the most frequent first. asked: deeds that were compared; gone: deeds of people without roles now;
    unknown: deeds about operations or fields that the profile does not have any more."""

    lines: tuple[Line, ...]
    asked: int
    gone: int
    unknown: int

    @property
    def gains(self) -> tuple[Line, ...]:
        """Lines of what would be possible and is not."""
        return tuple(line for line in self.lines if line.change.gain)

    @property
    def losses(self) -> tuple[Line, ...]:
        """Lines of what is possible and would not be."""
        return tuple(line for line in self.lines if not line.change.gain)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What deeds are about. actions: operation → the actions it may have; fields: those of the profile."""

    actions: Mapping[str, Collection[Action]]
    fields: Mapping[tuple[str, str], FieldSpec]


def simulate(
    tally: Tally,
    roles_of: Mapping[str, tuple[str, ...]],
    before: Bundle,
    after: Bundle,
    tenant: str,
    vocabulary: Vocabulary,
    tell: Callable[[int], None] = lambda _done: None,
) -> Simulated:
    """Compare two bundles over what was done. roles_of: person → roles now; tell: deeds done so far."""
    found: dict[tuple[tuple[str, ...], Change], dict[str, Times]] = {}
    asked = gone = unknown = 0
    known: dict[tuple[tuple[str, ...], Deed], tuple[Change, ...] | None] = {}
    for done, (deed, times) in enumerate(tally.deeds.items()):
        if done % 500 == 0:
            tell(done)
        roles = roles_of.get(deed.person)
        if roles is None:
            gone += 1
            continue
        key = (roles, replace(deed, person=""))
        if key not in known:
            known[key] = _changes(deed, roles, before, after, tenant, vocabulary)
        changes = known[key]
        if changes is None:
            unknown += 1
            continue
        asked += 1
        for change in changes:
            affected = found.setdefault((roles, change), {})
            if deed.person in affected:
                affected[deed.person].add(times.count, times.last)
            else:
                affected[deed.person] = replace(times)
    lines = [_line(roles, change, people) for (roles, change), people in found.items()]
    lines.sort(key=lambda line: (line.change.gain, -line.count, line.change.what, line.change.right, line.roles))
    return Simulated(tuple(lines), asked, gone, unknown)


def _line(roles: tuple[str, ...], change: Change, people: Mapping[str, Times]) -> Line:
    affected = [Affected(person, one.count, one.last) for person, one in people.items()]
    return Line(roles, change, tuple(sorted(affected, key=lambda one: (-one.count, one.person))))


def _changes(
    deed: Deed,
    roles: tuple[str, ...],
    before: Bundle,
    after: Bundle,
    tenant: str,
    vocabulary: Vocabulary,
) -> tuple[Change, ...] | None:
    """What would be different for these roles; None for what the profile does not know."""
    if deed.what == DO:
        actions = {Action(deed.how)} if deed.how else set(vocabulary.actions.get(deed.operation, ()))
        if not actions:
            return None
        done = []
        for action in sorted(actions):
            was, will = (_WORDS[one.may(tenant, roles, deed.operation, action.value)] for one in (before, after))
            if was != will:
                done.append(Change(f"op:{deed.operation}", action.value, "any", "", was, will))
        return tuple(done)
    entity, _, name = deed.field.partition(".")
    spec = vocabulary.fields.get((entity, name))
    if spec is None:
        return None
    views = [_view(bundle, tenant, roles, deed, vocabulary) for bundle in (before, after)]
    kinds = list(Kind) if spec.kind is None else [spec.kind]
    found: list[Change] = []
    for kind in kinds:
        then, now = (view.rule(entity, name, kind.value) for view in views)
        in_text = kind.value if spec.kind is None else ""
        if deed.what == WRITE:
            found.extend(_writing(deed.field, in_text, then, now))
        else:
            found.extend(_seeing(deed.field, in_text, deed.how, then, now))
    return tuple(found)


def _view(bundle: Bundle, tenant: str, roles: tuple[str, ...], deed: Deed, vocabulary: Vocabulary) -> FieldView:
    """The view of exports where the operation is one."""
    exports = Action.EXPORT in vocabulary.actions.get(deed.operation, ())
    if not exports:
        return bundle.view(tenant, roles)
    return bundle.decide(tenant, roles, Operation(deed.operation, "", Action.EXPORT)).view


def _writing(name: str, kind: str, then: FieldRule, now: FieldRule) -> Iterator[Change]:
    if then.writable is not now.writable:
        yield Change(f"field:{name}", WRITE, "any", kind, _WORDS[then.writable], _WORDS[now.writable])


def _seeing(name: str, kind: str, seen: str, then: FieldRule, now: FieldRule) -> Iterator[Change]:
    sides = {"own": (then.own, now.own), "other": (then.other, now.other)}
    if then.own is not then.other and not kind:
        # What was seen is only what one of the two shows: it was a record of that sort.
        sides = {scope: pair for scope, pair in sides.items() if _word(pair[0]) == seen} or sides
    if len(sides) == 2 and sides["own"] == sides["other"]:
        sides = {"any": sides["own"]}
    for scope, (was, will) in sides.items():
        if was is not will:
            yield Change(f"field:{name}", SEE, scope, kind, _word(was), _word(will))


def _word(form: Form) -> str:
    return form.name.lower()
