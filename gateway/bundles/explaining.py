"""Why somebody may see or do something: what is asked about a field, a kind or an operation, and the rows behind it."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.access.store import UserStore
from gateway.access.user import login_key
from gateway.bundles.desk import PolicyDesk
from gateway.database import Pool
from policies.criterion import NOTHING, TEAM, Facts, asked_scope
from policies.enforcer import Bundle, Enforcer
from policies.expectation import concrete
from policies.operation import CONSOLE_OPERATIONS, Action, FieldSpec
from policies.placement import departments
from policies.reasons import Ruling, ruling
from policies.taxonomy import Kind

_SCOPES = ("own", "other")
_OF_RECORDS = ("clear", "masked", "export", "reveal")
_OF_ALL = ("write", "search")


@dataclass(frozen=True, slots=True)
class Question:
    """One thing Casbin is asked; obj has a concrete kind."""

    obj: str
    right: str
    scope: str
    facts: Facts = field(default_factory=dict)

    @property
    def situation(self) -> str:
        """The scope with what is known, as Casbin is asked."""
        return asked_scope(self.scope, self.facts)

    def __str__(self) -> str:
        """The question as a line begins."""
        told = [f"{name}={one}" for name, values in self.facts.items() for one in values or ("",)]
        return " ".join([self.obj, self.right, *([] if self.scope == "any" else [self.scope]), *told])


def questions(
    what: str,
    action: str,
    fields: Mapping[tuple[str, str], FieldSpec],
    operations: Collection[str],
    facts: Facts = NOTHING,
) -> list[Question]:
    """All questions about `what`; none when there is no such thing. Free text is asked about by every kind.

    facts: what is known of the record.
    """
    if what.startswith("op:"):
        name = what.removeprefix("op:")
        known = (name in operations or name in CONSOLE_OPERATIONS) and action in {one.value for one in Action}
        return [Question(what, action, "any")] if known else []
    named = what if what.startswith(("field:", "kind:")) else f"field:{what}"
    asked = concrete(named, fields)
    if asked is not None:
        objects = [asked]
    elif "#" not in named:
        objects = [found for kind in Kind if (found := concrete(f"{named}#{kind.value}", fields)) is not None]
    else:
        objects = []
    asked_of = [(right, scope) for scope in _SCOPES for right in _OF_RECORDS] + [(right, "any") for right in _OF_ALL]
    return [Question(obj, right, scope, facts) for obj in objects for right, scope in asked_of]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under which a decision is asked for.

    facts: what is known of the record; team: it is in the person's departments; at: POSIX seconds, None for now.
    """

    facts: Facts = field(default_factory=dict)
    team: bool = False
    at: float | None = None


USUAL = Circumstances()


class NothingToExplain(Exception):  # noqa: N818 - an outcome the person reads
    """What was named is not there. what: "bundle", "who" or "what"; known: the names there are instead, of roles.

    sentence: with the names of `values` in braces, as other languages have it, too.
    """

    permanent = True

    def __init__(self, what: str, sentence: str, known: Collection[str] = (), **values: object) -> None:
        super().__init__(sentence.format(**values))
        self.what = what
        self.known = tuple(sorted(known))
        self.sentence = sentence
        self.values = values


@dataclass(frozen=True, slots=True)
class Explained:
    """Whose roles were asked about, and each question with its answer."""

    roles: tuple[str, ...]
    answers: Sequence[tuple[Question, Ruling]]


async def explain(
    desk: PolicyDesk,
    pool: Pool,
    who: str,
    what: str,
    action: str,
    number: int = 0,
    circumstances: Circumstances = USUAL,
) -> Explained:
    """Every answer about `what` for a login, or for roles with commas between.

    number: of a bundle, 0 for that in force. Raises NothingToExplain, PolicyInvalid, StoreUnavailable, OSError.
    """
    if number:
        found = await desk.store.find(desk.tenant, number)
        if found is None:
            raise NothingToExplain("bundle", "There is no bundle {number}.", number=number)
        rows = found.rows
    else:
        rows = await desk.in_force()
    profile = desk.profile
    enforcer = Enforcer(profile.field_specs, profile.operation_ids, separated=desk.separated)
    bundle = await asyncio.to_thread(enforcer.load, rows)
    if circumstances.at is not None:
        bundle = bundle.at(circumstances.at)
    roles = await _roles(pool, desk.tenant, who, bundle.named)
    facts = {**circumstances.facts, **({TEAM: tuple(sorted(departments(roles)))} if circumstances.team else {})}
    asked = questions(what, action, profile.field_specs, profile.operation_ids, facts)
    if not asked:
        told = "There is no {asked} in the profile {profile} or the console."
        raise NothingToExplain("what", told, asked=what, profile=profile.name)
    return Explained(roles, await asyncio.to_thread(_answered, bundle, rows, desk.tenant, roles, asked))


def _answered(
    bundle: Bundle, rows: str, tenant: str, roles: tuple[str, ...], asked: Sequence[Question]
) -> list[tuple[Question, Ruling]]:
    return [(one, ruling(bundle, rows, tenant, roles, one.obj, one.right, one.situation)) for one in asked]


async def _roles(pool: Pool, tenant: str, who: str, known: frozenset[str]) -> tuple[str, ...]:
    factors = await UserStore(pool).factors(tenant, key=login_key(who))
    if factors is not None:
        return factors.user.roles
    roles = tuple(name.strip() for name in who.split(","))
    if not set(roles) <= known:
        told = "There is no login and no role {who}; roles: {names}"
        raise NothingToExplain("who", told, known, who=who, names=", ".join(sorted(known)))
    return roles
