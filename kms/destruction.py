"""Destruction of a tenant's key or of a field's keys: asked for by one person, approved by another, done after a wait.

    requested → approved → executing → destroyed
        └──────────┴→ cancelled

From the approval on, new values of a field are sealed under a new key, so that nothing written later is lost with the
old one, and a tenant's key is set aside where its provider can. Until the wait is over everything can be taken back.
Executing can be repeated after a crash: every step that was done stays done.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from kms.custody import CustodyRefused, KeyCustody, Wrapped
from kms.keyring import WrappedKey, bound_context

WHOLE_TENANT = ""
_KEPT_SCOPES: Mapping[str, str] = {
    "surrogate": "the key that surrogates are confirmed with",
    "gateway.access": "the key of everybody's second factor",
}


class State(StrEnum):
    """Where a destruction stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    EXECUTING = "executing"
    DESTROYED = "destroyed"
    CANCELLED = "cancelled"


class DestructionRefused(Exception):  # noqa: N818 - an outcome the person reads
    """The step cannot be taken; `problem` is a stable id, the text says why."""

    permanent = True

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Person:
    """A gateway user who identified with both factors: id and login."""

    id: str
    login: str


@dataclass(frozen=True, slots=True)
class Destruction:
    """One destruction as it stands; scope "" means the tenant's key, else the keys of that kind of field."""

    tenant: str
    id: str
    scope: str
    state: State
    requested_by: Person
    requested_at: datetime
    approved_by: Person | None
    approved_at: datetime | None
    due_at: datetime | None
    suspended: bool
    key_ids: tuple[bytes, ...]
    ended_at: datetime | None
    record: str


class DestructionStore(Protocol):
    """kms.destruction_store; every method is one transaction and raises StoreUnavailable."""

    async def find(self, tenant: str, destruction_id: str) -> Destruction | None:
        """One destruction."""
        ...

    async def open_request(self, tenant: str, destruction_id: str, scope: str, by: Person, at: datetime) -> bool:
        """Write a request; False when one for the same keys is open."""
        ...

    async def approve(
        self, tenant: str, destruction_id: str, by: Person, at: datetime, due_at: datetime
    ) -> Destruction | None:
        """From requested to approved by another person; the keys of the scope are noted and retired."""
        ...

    async def note_suspended(self, tenant: str, destruction_id: str) -> None:
        """The provider has set the tenant's key aside."""
        ...

    async def cancel(self, tenant: str, destruction_id: str, by: Person, at: datetime) -> Destruction | None:
        """From requested or approved to cancelled."""
        ...

    async def begin(self, tenant: str, destruction_id: str, at: datetime) -> Destruction | None:
        """From approved to executing, once the wait is over; what is executing already stays so."""
        ...

    async def erase_keys(self, tenant: str, ids: Sequence[bytes] | None, at: datetime) -> list[bytes]:
        """Empty stored field keys, all of a tenant when ids is None; the ids that are empty now."""
        ...

    async def finish(self, tenant: str, destruction_id: str, at: datetime, record: str) -> Destruction | None:
        """From executing to destroyed with the signed record."""
        ...

    async def scopes(self, tenant: str) -> list[str]:
        """Scopes that have keys which are not destroyed."""
        ...

    async def keys_of_others(self, tenant: str, provider: str) -> list[tuple[str, WrappedKey]]:
        """Stored keys of all other tenants that this provider wrapped."""
        ...


class Destructions:
    """The steps over a store and the custody of one tenant's provider.

    wait: between approval and execution; clock: aware UTC time.
    """

    def __init__(
        self,
        store: DestructionStore,
        custody: KeyCustody,
        provider: str,
        *,
        wait: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._custody = custody
        self._provider = provider
        self._wait = wait
        self._clock = clock

    async def find(self, tenant: str, destruction_id: str) -> Destruction:
        """One destruction. Raises DestructionRefused."""
        found = await self._store.find(tenant, destruction_id)
        if found is None:
            raise DestructionRefused("destruction-unknown", f"there is no destruction {destruction_id}")
        return found

    async def check_request(self, tenant: str, scope: str) -> None:
        """Whether these keys can be asked for. Raises DestructionRefused, CustodyRefused."""
        if scope in _KEPT_SCOPES:
            message = f"{scope} is {_KEPT_SCOPES[scope]}; only the key of the whole CRM can be destroyed with it"
            raise DestructionRefused("scope-kept", message)
        if scope == WHOLE_TENANT:
            about = await self._custody.describe(tenant)
            if about.origin == "owner":
                message = f"the key {about.name!r} is kept by its owner: it can only be destroyed there"
                raise CustodyRefused("key-external", message)
            return
        scopes = [one for one in await self._store.scopes(tenant) if one not in _KEPT_SCOPES]
        if scope not in scopes:
            message = f"there are no keys of {scope!r}; there are: {', '.join(scopes) or 'none'}"
            raise DestructionRefused("scope-unknown", message)

    async def request(self, tenant: str, destruction_id: str, scope: str, by: Person) -> Destruction:
        """The first person asks. Raises DestructionRefused, CustodyRefused."""
        await self.check_request(tenant, scope)
        if not await self._store.open_request(tenant, destruction_id, scope, by, self._clock()):
            raise DestructionRefused("destruction-open", "a destruction of these keys is open already")
        return await self.find(tenant, destruction_id)

    def check_approval(self, found: Destruction, by: Person) -> None:
        """Whether this person may be the second. Raises DestructionRefused."""
        if found.state is not State.REQUESTED:
            raise DestructionRefused("destruction-state", f"it is {found.state}, not requested")
        if by.id == found.requested_by.id:
            raise DestructionRefused("same-person", "the person who asked cannot approve; somebody else has to")

    async def approve(self, tenant: str, destruction_id: str, by: Person) -> Destruction:
        """The second person agrees; the wait begins. Raises DestructionRefused."""
        self.check_approval(await self.find(tenant, destruction_id), by)
        now = self._clock()
        found = await self._store.approve(tenant, destruction_id, by, now, now + self._wait)
        if found is None:
            raise DestructionRefused("destruction-state", "it was approved or cancelled by somebody else just now")
        if found.scope == WHOLE_TENANT and await self._custody.suspend(tenant):
            await self._store.note_suspended(tenant, destruction_id)
        return await self.find(tenant, destruction_id)

    async def cancel(self, tenant: str, destruction_id: str, by: Person) -> Destruction:
        """Anybody with the right takes it back. Raises DestructionRefused."""
        before = await self.find(tenant, destruction_id)
        if before.state not in (State.REQUESTED, State.APPROVED):
            raise DestructionRefused("destruction-state", f"it is {before.state} and can no longer be taken back")
        if before.suspended:
            await self._custody.restore(tenant)
        found = await self._store.cancel(tenant, destruction_id, by, self._clock())
        if found is None:
            raise DestructionRefused("destruction-state", "it is being executed and can no longer be taken back")
        return found

    async def begin(self, tenant: str, destruction_id: str) -> Destruction:
        """Claim a destruction whose wait is over. Raises DestructionRefused."""
        before = await self.find(tenant, destruction_id)
        found = await self._store.begin(tenant, destruction_id, self._clock())
        if found is not None:
            return found
        if before.state is State.APPROVED and before.due_at is not None:
            raise DestructionRefused(
                "destruction-waits", f"it may be executed from {before.due_at:%Y-%m-%d %H:%M} UTC on"
            )
        raise DestructionRefused("destruction-state", f"it is {before.state}, not approved")

    async def execute(self, begun: Destruction) -> list[bytes]:
        """Destroy what was begun; the ids of the field keys that are gone. Raises KeysUnavailable, CustodyRefused."""
        if begun.scope == WHOLE_TENANT:
            others = await self._store.keys_of_others(begun.tenant, self._provider)
            proofs = [Wrapped(of, key.wrapped, bound_context(of, key)) for of, key in others]
            await self._custody.destroy(begun.tenant, proofs)
        ids = None if begun.scope == WHOLE_TENANT else begun.key_ids
        return await self._store.erase_keys(begun.tenant, ids, self._clock())

    async def finish(self, begun: Destruction, record: str) -> Destruction:
        """Keep the signed record; the last step. Raises DestructionRefused."""
        found = await self._store.finish(begun.tenant, begun.id, self._clock(), record)
        if found is None:
            raise DestructionRefused("destruction-state", "it was finished by another command")
        return found
