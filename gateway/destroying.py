"""Destruction of keys as people do it: who they are, whether they may, the trail, and the signed record at the end.

Each step is in the audit trail before it is taken (kms.destruction takes it), and again with its outcome where it can
fail. The record is a signed note (Ed25519, the key of the checkpoints) that names keys, tenant, people and times.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from audit.entry import AuditEntry
from audit.note import Signer
from gateway.access.sign_in import Attempt
from gateway.access.user import AppUser
from kms.custody import CustodyRefused, KeyCustody, RootKey
from kms.destruction import WHOLE_TENANT, Destruction, DestructionRefused, Destructions, Person, State
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable

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
) -> Person:
    """Who this is, with the right to the step; refused: told of everybody else. Raises Attempt, NotAllowed."""
    try:
        user = await proving.prove(tenant, given.login, given.password, given.code, CLIENT)
    except Attempt as attempt:
        known = attempt.user  # what was typed as a login of nobody may be a password and is not written down
        who = Person("", "") if known is None else Person(known.id, known.login)
        await refused(who, type(attempt.outcome).__name__)
        raise
    person = Person(user.id, user.login)
    if not policy.may(tenant, user.roles, OPERATION, action):
        await refused(person, f"{OPERATION}.{action}")
        raise NotAllowed(f"{user.login} does not have the right {OPERATION} {action}")
    return person


class Destroying:
    """The steps for one tenant. operator: name of the account at the machine, for steps that need no sign-in."""

    def __init__(
        self,
        tenant: str,
        steps: Destructions,
        custody: KeyCustody,
        *,
        proving: Proving,
        policy: Policy,
        trail: Trail,
        signer: Signer,
        provider: str,
        operator: str,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
    ) -> None:
        self._tenant = tenant
        self._steps = steps
        self._custody = custody
        self._proving = proving
        self._policy = policy
        self._trail = trail
        self._signer = signer
        self._provider = provider
        self._operator = operator
        self._clock = clock
        self._new_id = new_id

    async def request(self, scope: str, given: Credentials) -> Destruction:
        """The first person asks for the keys of a scope, or ("") for the tenant's key.

        Raises Attempt, NotAllowed, DestructionRefused, CustodyRefused, AuditUnavailable, KeysUnavailable.
        """
        person = await self._prove(given, REQUEST)
        await self._steps.check_request(self._tenant, scope)
        own_id = self._new_id("d")
        await self._note("requested", own_id, scope, person)
        with_id = self._steps.request(self._tenant, own_id, scope, person)
        return await self._taken(with_id, own_id, scope, person)

    async def approve(self, destruction_id: str, given: Credentials) -> Destruction:
        """Another person agrees, and the wait begins."""
        person = await self._prove(given, APPROVE)
        found = await self._steps.find(self._tenant, destruction_id)
        self._steps.check_approval(found, person)
        await self._note("approved", found.id, found.scope, person)
        return await self._taken(self._steps.approve(self._tenant, found.id, person), found.id, found.scope, person)

    async def cancel(self, destruction_id: str, given: Credentials) -> Destruction:
        """Take it back before it is executed.

        Second factors are sealed under the tenant's key. When that is set aside it is taken back for the moment of
        proving, and set aside again unless the destruction is cancelled.
        """
        found = await self._steps.find(self._tenant, destruction_id)
        aside = found.suspended and found.state is State.APPROVED
        if aside:
            await self._custody.restore(self._tenant)
        cancelled = False
        try:
            person = await self._prove(given, CANCEL)
            await self._note("cancelled", found.id, found.scope, person)
            step = self._steps.cancel(self._tenant, found.id, person)
            done = await self._taken(step, found.id, found.scope, person)
            cancelled = True
            return done
        finally:
            if aside and not cancelled:
                await self._custody.suspend(self._tenant)

    async def execute(self, destruction_id: str) -> Destruction:
        """Destroy what two people agreed on, once the wait is over; may be repeated after any failure.

        Raises DestructionRefused, CustodyRefused, AuditUnavailable, KeysUnavailable, StoreUnavailable.
        """
        begun = await self._steps.begin(self._tenant, destruction_id)
        operator = Person(CLIENT, self._operator)
        await self._note("executing", begun.id, begun.scope, operator)
        # Once a first attempt got as far as the key itself, it can no longer be described.
        about = await self._custody.describe(self._tenant)
        try:
            ids = await self._steps.execute(begun)
        except (KeysUnavailable, CustodyRefused, StoreUnavailable) as fault:
            await self._note("failed", begun.id, begun.scope, operator, [type(fault).__name__])
            raise
        record = self._signer.sign(self._record(begun, about, ids), record_name(self._tenant))
        await self._note("destroyed", begun.id, begun.scope, operator, [one.hex() for one in ids])
        return await self._steps.finish(begun, record)

    async def _taken(
        self, step: Awaitable[Destruction], destruction_id: str, scope: str, person: Person
    ) -> Destruction:
        """Take a step that is in the trail already; the trail also says when it could not be taken."""
        try:
            return await step
        except (DestructionRefused, CustodyRefused) as refused:
            await self._note("refused", destruction_id, scope, person, [refused.problem])
            raise

    async def _prove(self, given: Credentials, action: str) -> Person:
        def refused(who: Person, why: str) -> Awaitable[None]:
            return self._note("refused", "", "", who, [why])

        return await prove(self._tenant, given, action, self._proving, self._policy, refused)

    async def _note(
        self, reason: str, destruction_id: str, scope: str, person: Person, detail: list[str] | None = None
    ) -> None:
        fields: dict[str, object] = {"target": scope or self._tenant, "change": "field" if scope else "tenant"}
        if detail:
            fields["detail"] = detail
        await self._trail.append(
            AuditEntry(
                actor=person.id,
                actor_login=person.login,
                at=self._clock(),
                client=CLIENT,
                entity="key",
                fields=fields,
                id=self._new_id("a"),
                kind="keys",
                operation="keys.destroy",
                reason=reason,
                record=destruction_id,
                tenant=self._tenant,
            )
        )

    def _record(self, done: Destruction, about: RootKey, ids: list[bytes]) -> str:
        if done.approved_by is None or done.approved_at is None or done.due_at is None:
            raise DestructionRefused("destruction-state", "it was never approved")
        whole = done.scope == WHOLE_TENANT
        scope = "all fields: the key of the tenant itself" if whole else done.scope
        lines = [
            "crmgate record of a key destruction",
            f"tenant: {done.tenant}",
            f"destruction: {done.id}",
            f"scope: {scope}",
            f"provider: {self._provider}, key {about.name}" + (", destroyed" if whole else ", kept"),
            f"field keys: {' '.join(one.hex() for one in ids) or 'none'}",
            f"requested: {_stamp(done.requested_at)} by {_who(done.requested_by)}",
            f"approved: {_stamp(done.approved_at)} by {_who(done.approved_by)}",
            f"waited until: {_stamp(done.due_at)}",
            f"destroyed: {_stamp(self._clock())} by the operator {self._operator}",
            f"still readable with: {_COPIES_WHOLE if whole else _COPIES_FIELD}",
        ]
        return "".join("".join(letter for letter in line if letter >= " ") + "\n" for line in lines)


_COPIES_WHOLE = "copies of the key store (server storage or keyring file) made before, while they are kept"
_COPIES_FIELD = "copies of the database made before together with the key of the tenant, while they are kept"


def record_name(tenant: str) -> str:
    """The key name records of a tenant are signed under."""
    return f"crmgate-keys/{tenant}"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _who(person: Person) -> str:
    return f"{person.login} ({person.id})"
