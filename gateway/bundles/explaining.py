"""Why somebody may see or do something: what is asked about a field, a kind or an operation, and the rows behind it."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.access.store import UserStore
from gateway.access.user import login_key
from gateway.bundles.desk import PolicyDesk
from gateway.database import Pool
from policies.enforcer import Bundle, Enforcer
from policies.expectation import concrete
from policies.operation import CONSOLE_OPERATIONS, Action, FieldSpec
from policies.reasons import Ruling, ruling
from policies.taxonomy import Kind

_OF_DATA = (
    ("clear", "own"),
    ("masked", "own"),
    ("clear", "other"),
    ("masked", "other"),
    ("write", "any"),
    ("search", "any"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """One thing Casbin is asked; obj has a concrete kind."""

    obj: str
    right: str
    scope: str

    def __str__(self) -> str:
        """The question as a line begins."""
        return f"{self.obj} {self.right}" + ("" if self.scope == "any" else f" {self.scope}")


def questions(
    what: str, action: str, fields: Mapping[tuple[str, str], FieldSpec], operations: Collection[str]
) -> list[Question]:
    """All questions about `what`; none when there is no such thing. Free text is asked about by every kind."""
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
    return [Question(obj, right, scope) for obj in objects for right, scope in _OF_DATA]


class NothingToExplain(Exception):  # noqa: N818 - an outcome the person reads
    """What was named is not there. what: "bundle", "who" or "what"; known: the names there are instead, of roles."""

    permanent = True

    def __init__(self, what: str, sentence: str, known: Collection[str] = ()) -> None:
        super().__init__(sentence)
        self.what = what
        self.known = tuple(sorted(known))


@dataclass(frozen=True, slots=True)
class Explained:
    """Whose roles were asked about, and each question with its answer."""

    roles: tuple[str, ...]
    answers: Sequence[tuple[Question, Ruling]]


async def explain(desk: PolicyDesk, pool: Pool, who: str, what: str, action: str, number: int = 0) -> Explained:
    """Every answer about `what` for a login, or for roles with commas between; number: of a bundle, 0 for the one in
    force.

    Raises NothingToExplain, PolicyInvalid, StoreUnavailable, OSError.
    """
    if number:
        found = await desk.store.find(desk.tenant, number)
        if found is None:
            raise NothingToExplain("bundle", f"There is no bundle {number}.")
        rows = found.rows
    else:
        rows = await desk.in_force()
    profile = desk.profile
    bundle = await asyncio.to_thread(Enforcer(profile.field_specs, profile.operation_ids).load, rows)
    roles = await _roles(pool, desk.tenant, who, bundle.named)
    asked = questions(what, action, profile.field_specs, profile.operation_ids)
    if not asked:
        raise NothingToExplain("what", f"There is no {what} in the profile {profile.name} or the console.")
    return Explained(roles, await asyncio.to_thread(_answered, bundle, rows, desk.tenant, roles, asked))


def _answered(
    bundle: Bundle, rows: str, tenant: str, roles: tuple[str, ...], asked: Sequence[Question]
) -> list[tuple[Question, Ruling]]:
    return [(one, ruling(bundle, rows, tenant, roles, one.obj, one.right, one.scope)) for one in asked]


async def _roles(pool: Pool, tenant: str, who: str, known: frozenset[str]) -> tuple[str, ...]:
    factors = await UserStore(pool).factors(tenant, key=login_key(who))
    if factors is not None:
        return factors.user.roles
    roles = tuple(name.strip() for name in who.split(","))
    if not set(roles) <= known:
        told = f"There is no login and no role {who}; roles: {', '.join(sorted(known))}"
        raise NothingToExplain("who", told, known)
    return roles
