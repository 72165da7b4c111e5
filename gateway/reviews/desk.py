"""What people do in a review: look, start a round, decide item by item, have removals done, close it.

Whoever does it has `op:console.users` `update`, by both factors at the command line or signed in at the console with a
fresh proof. Each act is in the trail before it takes effect. Nobody decides about a role of their own or takes one from
themselves, and the last account that may change accounts keeps that right. Rows of the policy are not touched here: a
draft without them goes the way of every bundle.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from audit.entry import AuditEntry
from gateway.access.user import AppUser
from gateway.access.users import AccountRefused, Profile, Users
from gateway.bundles.bundle import Act
from gateway.bundles.desk import PolicyDesk
from gateway.bundles.replaying import ENTRIES_LIMIT, Tell, read_deeds
from gateway.database import Pool
from gateway.key_step import Credentials, Present, present
from gateway.reviews.round import Decided, Finding, Found, Item, Round, Sort
from gateway.reviews.store import ReviewStore, RoundOpen
from policies.enforcer import Bundle, Enforcer
from policies.simulation import Vocabulary
from policies.usage import RowUse, Usage, usage, without

DAYS = 90
OPERATION, CHANGE = "console.users", "update"


class ReviewRefused(Exception):  # noqa: N818 - an outcome the person reads
    """The step cannot be done. reason: an id for pages and trail."""

    permanent = True

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Done:
    """What removals came to. removed: roles taken; left: items that were not done; bundle: the draft, or None."""

    removed: int
    left: int
    bundle: int | None


@dataclass(frozen=True, slots=True)
class ReviewDesk:
    """The desk of one tenant; policy: where its bundles are worked on, with clock, trail and proving."""

    store: ReviewStore
    pool: Pool
    users: Users
    policy: PolicyDesk

    @property
    def tenant(self) -> str:
        """Whose accounts and policy these are."""
        return self.policy.tenant

    async def look(self, days: int = DAYS, *, limit: int = ENTRIES_LIMIT, tell: Tell = lambda _part: None) -> Found:
        """Who has what since when, and what was not used in the last days. Raises PolicyInvalid, StoreUnavailable."""
        now, desk = self.policy.clock(), self.policy
        reading = await read_deeds(self.pool, self.tenant, now, days, limit=limit, tell=tell, refused=False)
        users = [one for one in await self.users.list(self.tenant) if not one.disabled]
        held, seen = await self.store.held(self.tenant), await self.store.seen(self.tenant, reading.since)
        rows, profile = await desk.in_force(), desk.profile
        roles = {one.id: one.roles for one in users}
        vocabulary = Vocabulary(profile.actions, profile.field_specs)

        def judge() -> tuple[Bundle, Usage]:
            bundle = Enforcer(profile.field_specs, profile.operation_ids, separated=desk.separated).load(rows)
            return bundle, usage(reading.tally, roles, rows, self.tenant, vocabulary, now.timestamp())

        bundle, found = await asyncio.to_thread(judge)
        tell(1.0)
        sees = _Sees(bundle, found, held, seen, self.tenant, reading.since)
        people = [sees.finding(user, role) for user in users for role in user.roles]
        people.sort(key=lambda one: (not one.unused, one.login, one.role))
        unused = [_of_row(row) for row in found.rows if row.unused]
        return Found([*people, *unused], reading.since, reading.whole, days)

    async def start(self, given: Credentials | Present, found: Found) -> int:
        """Open a round about what was found; its number.

        Raises ReviewRefused, Attempt, NotAllowed, AuditUnavailable, StoreUnavailable.
        """
        who = await self._person(given, "review.start")
        await self._record("review.start", "started", who, "", detail=[f"items.{len(found.findings)}"])
        act = self._act(who)
        try:
            return await self.store.start(self.tenant, found.days, found.findings, act, whole=found.whole)
        except RoundOpen:
            raise ReviewRefused("review-open", "a round is open already: close it first") from None

    async def decide(self, given: Credentials | Present, number: int, decisions: dict[int, Decided]) -> int:
        """Note decisions about items; how many were noted. Raises as `start` does."""
        who = await self._person(given, "review.decide")
        await self._open(number)
        items = {one.number: one for one in await self.store.items(self.tenant, number)}
        noted = 0
        for place, decision in decisions.items():
            item = items.get(place)
            if item is None or (item.decision is decision and item.decided is not None):
                continue
            own = item.finding.sort is Sort.ROLE and item.finding.user_id == who.person.id
            reason = "own-item" if own else decision.value
            await self._record(
                "review.decide", reason, who, item.finding.user_id or str(number),
                roles=[item.finding.role], detail=[f"round.{number}", f"item.{place}"],
            )  # fmt: skip
            if own:
                raise ReviewRefused("own-item", "nobody decides about a role of their own")
            if not await self.store.decide(self.tenant, number, place, decision, self._act(who)):
                raise ReviewRefused("review-state", f"item {place} cannot be decided any more")
            noted += 1
        return noted

    async def remove(self, given: Credentials | Present, number: int) -> Done:
        """Take the roles that are to be removed, and draft a bundle without the rows that are. Raises as `start`."""
        who = await self._person(given, "review.remove")
        if await self.store.find(self.tenant, number) is None:
            raise ReviewRefused("review-state", f"there is no round {number}")
        waiting = [one for one in await self.store.items(self.tenant, number) if one.to_do]
        bundle = await self._draft(who, number, [one for one in waiting if one.finding.sort is Sort.ROW])
        removed = 0
        for item in waiting:
            if item.finding.sort is Sort.ROLE and await self._take(who, number, item):
                removed += 1
        left = sum(1 for one in await self.store.items(self.tenant, number) if one.to_do)
        return Done(removed, left, bundle)

    async def close(self, given: Credentials | Present, number: int) -> Round:
        """Close a round; what nobody decided stays undecided, and its report says so. Raises as `start` does."""
        who = await self._person(given, "review.close")
        found = await self._open(number)
        items = await self.store.items(self.tenant, number)
        counts = [f"{name}.{amount}" for name, amount in sums(items).items()]
        await self._record("review.close", "closed", who, str(number), detail=counts)
        if not await self.store.close(self.tenant, number, self._act(who)):
            raise ReviewRefused("review-state", f"round {number} is closed")
        return found

    async def _draft(self, who: Present, number: int, items: Sequence[Item]) -> int | None:
        if not items:
            return None
        stored = await self.policy.store.published(self.tenant)
        rows = without(await self.policy.in_force(), [one.finding.wording for one in items])
        checks = "" if stored is None else stored.checks
        made = await self.policy.draft(who, rows, checks, f"Review {number}: {len(items)} rows that nobody used")
        await self.store.drafted(self.tenant, number, made)
        await self.store.done(self.tenant, number, [one.number for one in items], self.policy.clock())
        return made

    async def _take(self, who: Present, number: int, item: Item) -> bool:
        """Take a role, department or position from somebody; False where it has to stay."""
        finding = item.finding
        user = await self.users.get(self.tenant, finding.user_id)
        if finding.user_id == who.person.id or (user is not None and await self._last(user, finding.role)):
            await self._record("review.remove", "role-kept", who, finding.user_id, roles=[finding.role])
            return False
        if user is not None and finding.role in user.roles:
            await self._record(
                "review.remove", "role-removed", who, user.id, roles=[finding.role], detail=[f"round.{number}"]
            )
            try:
                if finding.role in user.assigned:
                    kept = tuple(role for role in user.assigned if role != finding.role)
                    await self.users.change(user, Profile(user.display_name, kept, user.crm_user, user.language))
                else:
                    await self.users.place(user, [one for one in user.placements if one != finding.role])
            except AccountRefused as refused:
                await self._record("review.remove", refused.problem, who, user.id, roles=[finding.role])
                return False
        await self.store.done(self.tenant, number, [item.number], self.policy.clock())
        return True

    async def _last(self, user: AppUser, role: str) -> bool:
        """Whether nobody could change accounts any more without this role of this person."""
        bundle = Enforcer((), separated=self.policy.separated).load(await self.policy.in_force())

        def may(roles: Collection[str]) -> bool:
            return bundle.may(self.tenant, tuple(roles), OPERATION, CHANGE)

        if not may(user.roles):
            return False
        others = [one for one in await self.users.list(self.tenant) if one.id != user.id and not one.disabled]
        return not may([one for one in user.roles if one != role]) and not any(may(one.roles) for one in others)

    async def _open(self, number: int) -> Round:
        found = await self.store.find(self.tenant, number)
        if found is None or found.closed is not None:
            raise ReviewRefused("review-state", f"round {number} is {'closed' if found else 'not there'}")
        return found

    async def _person(self, given: Credentials | Present, operation: str) -> Present:
        policy = Enforcer((), separated=self.policy.separated).load(await self.policy.in_force())

        async def refused(who: Present, why: str) -> None:
            await self._record(operation, "refused", who, "", detail=[why])

        return await present(self.tenant, given, CHANGE, self.policy.proving, policy, refused, OPERATION)

    async def _record(self, operation: str, reason: str, by: Present, target: str, **more: Any) -> None:
        await self.policy.trail.append(
            AuditEntry(
                id=self.policy.new_id(),
                at=self.policy.clock(),
                tenant=self.tenant,
                kind="review",
                actor=by.person.id,
                actor_login=by.person.login,
                client=by.client,
                entity="review",
                operation=operation,
                reason=reason,
                fields={"target": target, **by.trace} | more,
            )
        )

    def _act(self, who: Present) -> Act:
        return Act(who.person.id, who.person.login, self.policy.clock())


def sums(items: Sequence[Item]) -> dict[str, int]:
    """How many items were kept, are to go, are gone, and were not looked at."""
    return {
        "keep": sum(1 for one in items if one.decision is Decided.KEEP),
        "remove": sum(1 for one in items if one.decision is Decided.REMOVE),
        "done": sum(1 for one in items if one.done_at is not None),
        "undecided": sum(1 for one in items if one.decision is None),
    }


@dataclass(frozen=True, slots=True)
class _Sees:
    """What is known about roles of people."""

    bundle: Bundle
    usage: Usage
    held: dict[tuple[str, str], tuple[datetime, bool]]
    seen: dict[str, datetime]
    tenant: str
    since: datetime

    def finding(self, user: AppUser, role: str) -> Finding:
        """What somebody's role comes to."""
        since, exact = self.held.get((user.id, role), (user.created_at, False))
        used = self.usage.roles.get((user.id, role))
        if self.bundle.may(self.tenant, (role,), "console.sign_in"):
            # Looking at pages of the console is in no trail: whoever was here with such a role may have used it.
            here = self.seen.get(user.id)
            used = here if used is None or (here is not None and here > used) else used
        long_enough = since <= self.since + timedelta(days=1)
        return Finding(Sort.ROLE, user.id, user.login, role, since, exact, used, used is None and long_enough)


def _of_row(row: RowUse) -> Finding:
    return Finding(Sort.ROW, "", "", row.role, None, True, None, True, row.text, row.holders)
