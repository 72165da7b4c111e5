"""Separation of duties (三员分立): powers of the console that no account holds together, and who would.

Three duties: system (runs the gateway and its accounts), security (says who may do what), audit (reads what the others
did). A power is a right to one action of one operation of the console. What counts is what Casbin grants, not what a
role is called, so inheritance, departments, positions and windows are seen, whatever rows say. GB/T 22239-2019 8.1.5.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from policies.operation import Action

THREE_ROLES = Path(__file__).with_name("three_roles.csv")
"""The shipped policy of installations that keep the duties apart."""


class Duty(StrEnum):
    """What an administrator is for."""

    SYSTEM = "system"
    SECURITY = "security"
    AUDIT = "audit"


_CHANGES = (Action.CREATE, Action.UPDATE, Action.DELETE)
_ACTS = (*_CHANGES, Action.OTHER)


def _powers() -> Iterator[tuple[tuple[str, str], Duty]]:
    for operation in ("console.settings", "console.keys", "console.sessions"):
        yield from (((operation, action.value), Duty.SYSTEM) for action in _ACTS)
    # Whoever asks for a change and whoever agrees to it have different duties, in both directions.
    yield from ((("console.users", action.value), Duty.SYSTEM) for action in _CHANGES)
    yield ("console.users", Action.OTHER.value), Duty.SECURITY
    yield from ((("console.policy", action.value), Duty.SECURITY) for action in _CHANGES)
    yield ("console.policy", Action.OTHER.value), Duty.SYSTEM
    yield ("console.emergency", Action.OTHER.value), Duty.SECURITY
    yield ("console.live", Action.READ.value), Duty.AUDIT
    yield from ((("console.audit", action.value), Duty.AUDIT) for action in (Action.READ, Action.EXPORT))


POWERS: Mapping[tuple[str, str], Duty] = MappingProxyType(dict(_powers()))
"""(operation, action) → the duty it belongs to. Looking at accounts, keys, health or the policy belongs to none."""


class Held(Protocol):
    """What is asked of a bundle (policies.enforcer.Bundle)."""

    @property
    def boundaries(self) -> Collection[float]:
        """Moments at which a row begins or ends."""
        ...

    @property
    def named(self) -> Collection[str]:
        """Every role, department and position there is."""
        ...

    def at(self, moment: float) -> "Held":
        """The same rows as they hold at one moment."""
        ...

    def about(self, *objects: str) -> "Held":
        """The rows about these objects."""
        ...

    def duties(self, tenant: str, roles: Collection[str]) -> frozenset[Duty]:
        """The duties these roles hold."""
        ...


@dataclass(frozen=True, slots=True)
class Joined:
    """Roles that hold more than one duty from a moment on; `since` in seconds since 1970, None: already."""

    roles: tuple[str, ...]
    duties: tuple[Duty, ...]
    since: float | None

    def __str__(self) -> str:
        """In plain words, in both languages."""
        who, what = ", ".join(self.roles), " + ".join(self.duties)
        when = "" if self.since is None else f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M} UTC"
        later, then = (f" from {when} on", f"自 {when} 起") if when else ("", "")
        return (
            f"{who} would hold powers of more than one administrator ({what}){later}: give them to different accounts"
            f" / {who}{then}将同时拥有多个管理员的权限（{what}）：请分给不同的账号"
        )


def powers_alone(bundle: Held) -> Held:
    """The rows of a bundle that say anything of powers: all that the questions of this module need."""
    return bundle.about(*sorted({f"op:{operation}" for operation, _ in POWERS}))


def joined(bundle: Held, tenant: str, roles: Collection[str], at: float) -> Joined | None:
    """The first moment from `at` on at which these roles, held by one account, join two duties; None for never.

    at: seconds since 1970. Windows of rows and inheritances are looked at until the last of them has ended.
    """
    return next(iter(_joined(powers_alone(bundle), tenant, [tuple(roles)], at)), None)


def joining(bundle: Held, tenant: str, at: float, accounts: Collection[tuple[str, ...]] = ()) -> list[Joined]:
    """Every role, department or position that joins duties by itself, and every account (its roles) that does."""
    narrow = powers_alone(bundle)
    return _joined(narrow, tenant, [*((name,) for name in sorted(narrow.named)), *sorted(set(accounts))], at)


def _joined(bundle: Held, tenant: str, each: Collection[tuple[str, ...]], at: float) -> list[Joined]:
    found: dict[tuple[str, ...], Joined] = {}
    for moment in (at, *(one for one in bundle.boundaries if one > at)):
        then = bundle.at(moment)
        for roles in each:
            if roles not in found and len(duties := then.duties(tenant, roles)) > 1:
                since = None if moment == at else moment
                found[roles] = Joined(tuple(sorted(roles)), tuple(sorted(duties)), since)
    return list(found.values())
