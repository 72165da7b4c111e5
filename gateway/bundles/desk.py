"""What people do to policy bundles: draft, propose, publish, ask for an earlier one again.

Whoever does it proves both factors and has the right under the policy in force. Each act is in the audit trail before
it takes effect. Nobody publishes what he drafted, and nothing that may not come into force is proposed or published.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from audit.entry import AuditEntry
from gateway.bundles.bundle import Act, State, StoredBundle, Wording
from gateway.bundles.store import BundleStore
from gateway.key_step import CLIENT, Credentials, Proving, Trail, prove
from kms.destruction import Person
from policies.admission import APPROVE, DRAFT, POLICY_OPERATION, admitted
from policies.difference import difference
from policies.enforcer import Enforcer
from policies.profile import Profile
from policies.rows import PolicyInvalid

ROWS_LIMIT = 4 * 1024 * 1024
CHECKS_LIMIT = 1024 * 1024
NOTE_LIMIT = 1000


class BundleRefused(Exception):  # noqa: N818 - an outcome the person reads
    """The step cannot be done on this bundle. reason: an id for the audit trail."""

    permanent = True

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Text(Protocol):
    """The rows in force (gateway.bundles.installing.policy_text)."""

    def __call__(self) -> Awaitable[str]:
        """Raises StoreUnavailable, OSError."""
        ...


class Accounts(Protocol):
    """What accounts there are (gateway.access.store.UserStore.role_sets)."""

    def __call__(self, tenant: str, /) -> Awaitable[Collection[tuple[str, ...]]]:
        """The roles of each, departments and positions included; raises StoreUnavailable."""
        ...


async def _no_accounts(_tenant: str) -> Collection[tuple[str, ...]]:
    return ()


@dataclass(frozen=True, slots=True)
class PolicyDesk:
    """The desk of one tenant. in_force: the rows that decide who may; profile: what rows and checks are about.

    separated: no bundle may join two duties of administrators, in a role or in one of the accounts (their roles).
    """

    tenant: str
    store: BundleStore
    proving: Proving
    trail: Trail
    in_force: Text
    profile: Profile
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    separated: bool = False
    accounts: Accounts = _no_accounts

    async def judge(self, rows: str, checks: str) -> str:
        """The version of a bundle that may come into force. Raises PolicyInvalid, StoreUnavailable."""
        profile = self.profile
        accounts = {roles for roles in await self.accounts(self.tenant) if roles} if self.separated else ()
        bundle = await asyncio.to_thread(
            admitted,
            rows,
            checks,
            self.tenant,
            profile.field_specs,
            profile.operation_ids,
            self.clock().timestamp(),
            separated=self.separated,
            accounts=accounts,
        )
        return bundle.version

    async def draft(self, given: Credentials, rows: str, checks: str, note: str) -> int:
        """Add a draft, which may still be wrong; its number.

        Raises BundleRefused, Attempt, NotAllowed, AuditUnavailable, StoreUnavailable.
        """
        too_long = len(rows) > ROWS_LIMIT or len(checks) > CHECKS_LIMIT or len(note) > NOTE_LIMIT
        if too_long or "\0" in rows + checks + note:
            raise BundleRefused("policy-text", "the text is too long or holds characters that no text has")
        person = await self._person(given, DRAFT, "policy.draft")
        wording = Wording(rows, checks, _version(rows), note)
        await self._record("policy.draft", "drafted", person, wording.digest, version=wording.version)
        return await self.store.draft(self.tenant, wording, self._act(person))

    async def propose(self, given: Credentials, number: int) -> StoredBundle:
        """Propose a draft that may come into force.

        Raises PolicyInvalid, BundleRefused, Attempt, NotAllowed, AuditUnavailable, StoreUnavailable.
        """
        person = await self._person(given, DRAFT, "policy.propose")
        found = await self._find(number, State.DRAFT, person, "policy.propose")
        await self._admit(found, person, "policy.propose")
        await self._record("policy.propose", "proposed", person, str(number), version=found.version)
        if not await self.store.propose(self.tenant, number, self._act(person)):
            raise BundleRefused("policy-state", f"bundle {number} is no draft any more")
        return found

    async def publish(self, given: Credentials, number: int) -> StoredBundle:
        """Put what somebody else drafted into force, on every node. Raises as `propose` does."""
        person = await self._person(given, APPROVE, "policy.publish")
        found = await self._find(number, State.PROPOSED, person, "policy.publish")
        if found.drafted.by == person.id:
            await self._record("policy.publish", "four-eyes", person, str(number), version=found.version)
            raise BundleRefused("four-eyes", f"{person.login} drafted bundle {number}: somebody else publishes it")
        await self._admit(found, person, "policy.publish")
        current = await self.store.published(self.tenant)
        diff = difference(await self.in_force() if current is None else current.rows, found.rows)
        replaces = None if current is None else current.number
        more = {"change": list(diff.signed), "detail": [f"replaces.{replaces or 0}", f"sha256.{found.digest}"]}
        await self._record("policy.publish", "published", person, str(number), version=found.version, more=more)
        if not await self.store.publish(self.tenant, number, replaces, self._act(person)):
            await self._record("policy.publish", "policy-state", person, str(number), version=found.version)
            raise BundleRefused("policy-state", f"another bundle came into force; look again and publish {number} anew")
        return found

    async def restore(self, given: Credentials, number: int, note: str) -> int:
        """Propose an earlier bundle anew, for somebody else to publish; the number of the new one.

        Raises as `propose` does.
        """
        person = await self._person(given, DRAFT, "policy.rollback")
        found = await self._find(number, State.RETIRED, person, "policy.rollback")
        await self._admit(found, person, "policy.rollback")
        await self._record("policy.rollback", "proposed", person, str(number), version=found.version)
        wording = Wording(found.rows, found.checks, found.version, note[:NOTE_LIMIT], restores=number)
        made = await self.store.draft(self.tenant, wording, self._act(person))
        await self.store.propose(self.tenant, made, self._act(person))
        return made

    async def _find(self, number: int, state: State, person: Person, operation: str) -> StoredBundle:
        found = await self.store.find(self.tenant, number)
        if found is None or found.state is not state or not found.whole:
            await self._record(operation, "policy-state", person, str(number))
            told = "not there" if found is None else found.state if found.whole else "not what was stored"
            raise BundleRefused("policy-state", f"bundle {number} is {told}; it has to be {state}")
        return found

    async def _admit(self, found: StoredBundle, person: Person, operation: str) -> None:
        try:
            await self.judge(found.rows, found.checks)
        except PolicyInvalid:
            await self._record(operation, "policy-invalid", person, str(found.number), version=found.version)
            raise

    async def _person(self, given: Credentials, action: str, operation: str) -> Person:
        policy = Enforcer((), separated=self.separated).load(await self.in_force())

        async def refused(who: Person, why: str) -> None:
            await self._record(operation, "refused", who, "", more={"detail": [why]})

        return await prove(self.tenant, given, action, self.proving, policy, refused, POLICY_OPERATION)

    async def _record(
        self,
        operation: str,
        reason: str,
        by: Person,
        target: str,
        *,
        version: str = "",
        more: dict[str, Any] | None = None,
    ) -> None:
        await self.trail.append(
            AuditEntry(
                id=self.new_id(),
                at=self.clock(),
                tenant=self.tenant,
                kind="policy",
                actor=by.id,
                actor_login=by.login,
                client=CLIENT,
                entity="policy",
                operation=operation,
                policy=version,
                reason=reason,
                fields={"target": target} | (more or {}),
            )
        )

    def _act(self, person: Person) -> Act:
        return Act(person.id, person.login, self.clock())


def _version(rows: str) -> str:
    try:
        return Enforcer(()).load(rows).version
    except PolicyInvalid:
        return ""
