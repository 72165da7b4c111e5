"""What every step on keys that a person takes at the command line shares: who takes it, the trail, the signed text."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from audit.entry import AuditEntry
from gateway.access.sign_in import Attempt
from gateway.access.user import AppUser
from kms.destruction import Person

OPERATION = "console.keys"
REQUEST, APPROVE, CANCEL = "create", "update", "delete"
CLIENT = "command-line"


class NotAllowed(Exception):  # noqa: N818 - an outcome the person reads
    """The policy does not give this person the right to the step."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a person gives to identify, for one step only."""

    login: str
    password: str
    code: str


@dataclass(frozen=True, slots=True)
class Present:
    """Who takes a step: proved by credentials, or signed in at the console with a fresh proof.

    client: where from; trace: session and browser (gateway.exchange.Principal.trace).
    """

    person: Person
    roles: tuple[str, ...]
    client: str
    trace: Mapping[str, str] = field(default_factory=dict)


class Proving(Protocol):
    """Checks both factors (gateway.access.sign_in.SignIn)."""

    async def prove(self, tenant: str, login: str, password: str, code: str, client: str) -> AppUser:
        """Who this is. Raises Attempt around the outcome, KeysUnavailable, StoreUnavailable."""
        ...


class Policy(Protocol):
    """Who may (policies.enforcer.Bundle)."""

    def may(self, tenant: str, roles: tuple[str, ...], operation: str, action: str) -> bool:
        """Whether one of these roles has the right."""
        ...


class Trail(Protocol):
    """The audit log."""

    def append(self, entry: AuditEntry) -> Awaitable[int]:
        """Durable when this returns. Raises AuditUnavailable."""
        ...


async def prove(
    tenant: str,
    given: Credentials,
    action: str,
    proving: Proving,
    policy: Policy,
    refused: Callable[[Person, str], Awaitable[object]],
    operation: str = OPERATION,
) -> Person:
    """Who this is, with the right to the step; refused: told of everybody else. Raises Attempt, NotAllowed."""
    user = await _proved(tenant, given, action, proving, policy, refused, operation)
    return Person(user.id, user.login)


async def _proved(
    tenant: str,
    given: Credentials,
    action: str,
    proving: Proving,
    policy: Policy,
    refused: Callable[[Person, str], Awaitable[object]],
    operation: str,
) -> AppUser:
    try:
        user = await proving.prove(tenant, given.login, given.password, given.code, CLIENT)
    except Attempt as attempt:
        known = attempt.user  # what was typed as a login of nobody may be a password and is not written down
        who = Person("", "") if known is None else Person(known.id, known.login)
        await refused(who, type(attempt.outcome).__name__)
        raise
    if not policy.may(tenant, user.roles, operation, action):
        await refused(Person(user.id, user.login), f"{operation}.{action}")
        raise NotAllowed(f"{user.login} does not have the right {operation} {action}")
    return user


async def present(
    tenant: str,
    given: Credentials | Present,
    action: str,
    proving: Proving,
    policy: Policy,
    refused: Callable[[Present, str], Awaitable[object]],
    operation: str,
) -> Present:
    """Who takes a step, with the right to it, by credentials or signed in at the console; as `prove` otherwise."""
    if isinstance(given, Credentials):

        async def told(who: Person, why: str) -> None:
            await refused(Present(who, (), CLIENT), why)

        user = await _proved(tenant, given, action, proving, policy, told, operation)
        return Present(Person(user.id, user.login), user.roles, CLIENT)
    if not policy.may(tenant, given.roles, operation, action):
        await refused(given, f"{operation}.{action}")
        raise NotAllowed(f"{given.person.login} does not have the right {operation} {action}")
    return given


def entry(
    tenant: str, operation: str, reason: str, record: str, by: Person, fields: dict[str, Any], at: datetime, name: str
) -> AuditEntry:
    """The entry of a step; record: the id of what is worked on, or ""; name: a fresh id."""
    return AuditEntry(
        actor=by.id,
        actor_login=by.login,
        at=at,
        client=CLIENT,
        entity="key",
        fields=fields,
        id=name,
        kind="keys",
        operation=operation,
        reason=reason,
        record=record,
        tenant=tenant,
    )


def record_name(tenant: str) -> str:
    """The key name records of a tenant are signed under."""
    return f"crmgate-keys/{tenant}"


def stamp(at: datetime) -> str:
    """A time as signed texts write it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def text_of(lines: Iterable[str]) -> str:
    """The text that is signed: what a provider or a person called something adds no line to it."""
    return "".join("".join(letter for letter in line if letter >= " ") + "\n" for line in lines)
