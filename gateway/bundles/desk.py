"""What people do to policy bundles: draft, propose, publish, ask for an earlier one again.

Whoever does it proves both factors, or is signed in at the console with a fresh proof of one, and has the right under
the policy in force. Each act is in the audit trail before
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
from gateway.key_step import Credentials, Present, Proving, Trail, present
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
    separated: bool
    accounts: Accounts

    async def judge(self, rows: str, checks: str) -> str:
        """The version of a bundle that may come into force. Raises PolicyInvalid, StoreUnavailable."""
        profile = self.profile
        accounts = await self.joined()
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

    async def joined(self) -> Collection[tuple[str, ...]]:
        """The roles of each account, where no bundle may join duties in one; raises StoreUnavailable."""
        return {roles for roles in await self.accounts(self.tenant) if roles} if self.separated else set()

    async def draft(self, given: Credentials | Present, rows: str, checks: str, note: str) -> int:
        """Add a draft, which may still be wrong; its number.

        Raises BundleRefused, Attempt, NotAllowed, AuditUnavailable, StoreUnavailable.
        """
        too_long = len(rows) > ROWS_LIMIT or len(checks) > CHECKS_LIMIT or len(note) > NOTE_LIMIT
        if too_long or "\0" in rows + checks + note:
            raise BundleRefused("policy-text", "the text is too long or holds characters that no text has")
        who = await self._person(given, DRAFT, "policy.draft")
        wording = Wording(rows, checks, _version(rows), note)
        await self._record("policy.draft", "drafted", who, wording.digest, version=wording.version)
        return await self.store.draft(self.tenant, wording, self._act(who))

    async def propose(self, given: Credentials | Present, number: int) -> StoredBundle:
        """Propose a draft that may come into force.

        Raises PolicyInvalid, BundleRefused, Attempt, NotAllowed, AuditUnavailable, StoreUnavailable.
        """
        who = await self._person(given, DRAFT, "policy.propose")
        found = await self._find(number, State.DRAFT, who, "policy.propose")
        await self._admit(found, who, "policy.propose")
        await self._record("policy.propose", "proposed", who, str(number), version=found.version)
        if not await self.store.propose(self.tenant, number, self._act(who)):
            raise BundleRefused("policy-state", f"bundle {number} is no draft any more")
        return found

    async def publish(self, given: Credentials | Present, number: int) -> StoredBundle:
        """Put what somebody else drafted into force, on every node. Raises as `propose` does."""
        who = await self._person(given, APPROVE, "policy.publish")
        found = await self._find(number, State.PROPOSED, who, "policy.publish")
        if found.drafted.by == who.person.id:
            await self._record("policy.publish", "four-eyes", who, str(number), version=found.version)
            raise BundleRefused("four-eyes", f"{who.person.login} drafted bundle {number}: somebody else publishes it")
        await self._admit(found, who, "policy.publish")
        current = await self.store.published(self.tenant)
        diff = difference(await self.in_force() if current is None else current.rows, found.rows)
        replaces = None if current is None else current.number
        more = {"change": list(diff.signed), "detail": [f"replaces.{replaces or 0}", f"sha256.{found.digest}"]}
        await self._record("policy.publish", "published", who, str(number), version=found.version, more=more)
        if not await self.store.publish(self.tenant, number, replaces, self._act(who)):
            await self._record("policy.publish", "policy-state", who, str(number), version=found.version)
            raise BundleRefused("policy-state", f"another bundle came into force; look again and publish {number} anew")
        return found

    async def restore(self, given: Credentials | Present, number: int, note: str) -> int:
        """Propose an earlier bundle anew, for somebody else to publish; the number of the new one.

        Raises as `propose` does.
        """
        who = await self._person(given, DRAFT, "policy.rollback")
        found = await self._find(number, State.RETIRED, who, "policy.rollback")
        await self._admit(found, who, "policy.rollback")
        await self._record("policy.rollback", "proposed", who, str(number), version=found.version)
        wording = Wording(found.rows, found.checks, found.version, note[:NOTE_LIMIT], restores=number)
        made = await self.store.draft(self.tenant, wording, self._act(who))
        await self.store.propose(self.tenant, made, self._act(who))
        return made

    async def _find(self, number: int, state: State, who: Present, operation: str) -> StoredBundle:
        found = await self.store.find(self.tenant, number)
        if found is None or found.state is not state or not found.whole:
            await self._record(operation, "policy-state", who, str(number))
            told = "not there" if found is None else found.state if found.whole else "not what was stored"
            raise BundleRefused("policy-state", f"bundle {number} is {told}; it has to be {state}")
        return found

    async def _admit(self, found: StoredBundle, who: Present, operation: str) -> None:
        try:
            await self.judge(found.rows, found.checks)
        except PolicyInvalid:
            await self._record(operation, "policy-invalid", who, str(found.number), version=found.version)
            raise

    async def _person(self, given: Credentials | Present, action: str, operation: str) -> Present:
        policy = Enforcer((), separated=self.separated).load(await self.in_force())

        async def refused(who: Present, why: str) -> None:
            await self._record(operation, "refused", who, "", more={"detail": [why]})

        return await present(self.tenant, given, action, self.proving, policy, refused, POLICY_OPERATION)

    async def _record(
        self,
        operation: str,
        reason: str,
        by: Present,
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
                actor=by.person.id,
                actor_login=by.person.login,
                client=by.client,
                entity="policy",
                operation=operation,
                policy=version,
                reason=reason,
                fields={"target": target, **by.trace} | (more or {}),
            )
        )

    def _act(self, who: Present) -> Act:
        return Act(who.person.id, who.person.login, self.clock())


def _version(rows: str) -> str:
    try:
        return Enforcer(()).load(rows).version
    except PolicyInvalid:
        return ""
