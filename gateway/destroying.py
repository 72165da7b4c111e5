"""Destruction of keys as people do it: who they are, whether they may, the trail, and the signed record at the end.

Each step is in the audit trail before it is taken (kms.destruction takes it), and again with its outcome where it can
fail. The record is a signed note (Ed25519, the key of the checkpoints) that names keys, tenant, people and times.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

from audit.note import Signer
from gateway.key_step import (
    APPROVE,
    CANCEL,
    CLIENT,
    REQUEST,
    Credentials,
    Policy,
    Proving,
    Trail,
    entry,
    prove,
    record_name,
    stamp,
    text_of,
)
from kms.custody import CustodyRefused, KeyCustody, RootKey
from kms.destruction import WHOLE_TENANT, Destruction, DestructionRefused, Destructions, Person, State
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable


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
        step = entry(
            self._tenant, "keys.destroy", reason, destruction_id, person, fields, self._clock(), self._new_id("a")
        )
        await self._trail.append(step)

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
            f"requested: {stamp(done.requested_at)} by {_who(done.requested_by)}",
            f"approved: {stamp(done.approved_at)} by {_who(done.approved_by)}",
            f"waited until: {stamp(done.due_at)}",
            f"destroyed: {stamp(self._clock())} by the operator {self._operator}",
            f"still readable with: {_COPIES_WHOLE if whole else _COPIES_FIELD}",
        ]
        return text_of(lines)


_COPIES_WHOLE = "copies of the key store (server storage or keyring file) made before, while they are kept"
_COPIES_FIELD = "copies of the database made before together with the key of the tenant, while they are kept"


def _who(person: Person) -> str:
    return f"{person.login} ({person.id})"
