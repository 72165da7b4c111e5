"""Break-glass: a role that somebody takes for a few hours because there is no time to ask for it.

A second person agrees, and it begins at once; or nobody does, and it begins after a delay in which everybody who could
object is told: an alarm in the trail, and a line on every page of the console of those who watch. Nothing opens before
it is in the trail that it does. It ends by the clock, on every node, or earlier by anybody with the right.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from audit.entry import AuditEntry
from audit.log import AuditUnavailable
from gateway.access.emergency_store import Emergency, EmergencyStore
from gateway.access.tokens import Randomness, new_id
from gateway.access.user import AppUser
from gateway.access.users import Users
from kms.store import StoreUnavailable

LONGEST = timedelta(hours=8)
SHORTEST_DELAY = timedelta(minutes=5)
REASONS = ("system-down", "data-incident", "customer-harm", "keeper-away", "drill")
OPERATION = "access.emergency"
TAG = "access:break-glass"
"""Every alarm about emergency roles has a reason that begins like this."""
TICK_S = 1.0

log = structlog.get_logger(__name__)


class EmergencyRefused(Exception):  # noqa: N818 - an outcome the page reports
    """Not this step by this person now.

    `problem` is `role-unknown`, `role-held`, `reason`, `hours`, `waiting`, `gone`, `own` or `duties-joined`.
    """

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class EmergencyRules:
    """most: how long one lasts at most; delay: how long the alarm goes out before one opens that nobody agreed to."""

    most: timedelta = timedelta(hours=2)
    delay: timedelta = timedelta(minutes=15)


class Trail(Protocol):
    """The audit log."""

    def append(self, entry: AuditEntry) -> Awaitable[int]:
        """Durable when this returns. Raises AuditUnavailable."""
        ...


class Emergencies:
    """The steps, and the clock that opens and ends; who may take them is the caller's to ask."""

    def __init__(
        self,
        store: EmergencyStore,
        users: Users,
        trail: Trail,
        *,
        clock: Callable[[], datetime],
        randomness: Randomness,
        rules: EmergencyRules,
    ) -> None:
        self._store = store
        self._users = users
        self._trail = trail
        self._clock = clock
        self._randomness = randomness
        self.rules = rules

    @property
    def roles(self) -> Collection[str]:
        """Roles there are."""
        return self._users.roles

    async def current(self, tenant: str) -> Sequence[Emergency]:
        """Those that wait or are open; raises StoreUnavailable."""
        now = self._clock()
        return [one for one in await self._store.current(tenant) if one.ends_at > now]

    async def past(self, tenant: str) -> Sequence[Emergency]:
        """The latest that are over."""
        return await self._store.past(tenant)

    async def ask(self, user: AppUser, role: str, lasts: timedelta, reason: str, client: str = "") -> Emergency:
        """Somebody takes a role for a while; it waits, and the alarm is out.

        Raises EmergencyRefused, AuditUnavailable, StoreUnavailable.
        """
        if role not in self._users.roles:
            raise EmergencyRefused("role-unknown")
        if role in user.assigned:
            raise EmergencyRefused("role-held")
        if reason not in REASONS:
            raise EmergencyRefused("reason")
        if not timedelta(0) < lasts <= min(self.rules.most, LONGEST):
            raise EmergencyRefused("hours")
        if self._users.giving.joins(user.tenant, {*user.roles, role}):
            raise EmergencyRefused("duties-joined")
        await self.tick()
        if any(one.user_id == user.id for one in await self._store.current(user.tenant)):
            raise EmergencyRefused("waiting")
        now = self._clock()
        starts = now + max(self.rules.delay, SHORTEST_DELAY)
        name = new_id("e", self._randomness)
        wish = Emergency(
            user.tenant, name, user.id, user.login, role, reason, now, lasts, starts, starts + lasts, "", None, "", None
        )
        await self._alarm("asked", wish, user.id, user.login, client, minutes=int((starts - now).total_seconds() // 60))
        if not await self._store.ask(wish):
            raise EmergencyRefused("waiting")
        return wish

    async def approve(self, tenant: str, name: str, by: AppUser, client: str = "") -> Emergency:
        """A second person agrees: it opens at once.

        Raises EmergencyRefused, AuditUnavailable, StoreUnavailable.
        """
        found = await self._found(tenant, name)
        if found.user_id == by.id:
            await self._alarm("refused", found, by.id, by.login, client)
            raise EmergencyRefused("own")
        if found.opened_at is not None or found.approved_by:
            raise EmergencyRefused("gone")
        await self._alarm("approved", found, by.id, by.login, client)
        if not await self._store.approve(tenant, name, by.id, self._clock()):
            raise EmergencyRefused("gone")
        await self.tick()
        return found

    async def end(self, tenant: str, name: str, by: AppUser, client: str = "") -> Emergency:
        """End it before its time, or object to one that waits.

        Raises EmergencyRefused, AuditUnavailable, StoreUnavailable.
        """
        found = await self._found(tenant, name)
        await self._alarm("ended", found, by.id, by.login, client)
        if not await self._store.end(tenant, name, by.id, self._clock()):
            raise EmergencyRefused("gone")
        await self._users.rights_changed(found.user_id)
        return found

    async def tick(self) -> None:
        """Open what is to open and note what is over; raises AuditUnavailable, StoreUnavailable."""
        while True:
            now = self._clock()
            async with self._store.due(now) as due:
                if due is None:
                    return
                one = due.emergency
                joined = due.account_open and await self._joins(one)
                due.opens = one.opened_at is None and one.ends_at > now and due.account_open and not joined
                # In the trail first: what cannot be written down stays shut, and is tried again.
                await self._alarm("opened" if due.opens else "over", one, one.user_id, one.login, "")
            await self._users.rights_changed(one.user_id)

    async def follow(self) -> None:
        """Keep the clock, until cancelled."""
        while True:
            try:
                await self.tick()
            except (AuditUnavailable, StoreUnavailable) as fault:
                log.warning("emergency-roles-postponed", fault=type(fault).__name__)
            except Exception as fault:
                log.error("emergency-roles-failed", fault=type(fault).__name__)
            await asyncio.sleep(TICK_S)

    async def _joins(self, one: Emergency) -> bool:
        user = await self._users.get(one.tenant, one.user_id)
        return user is None or self._users.giving.joins(one.tenant, {*user.roles, one.role})

    async def _found(self, tenant: str, name: str) -> Emergency:
        await self.tick()
        found = await self._store.find(tenant, name)
        if found is None:
            raise EmergencyRefused("gone")
        return found

    async def _alarm(
        self, step: str, one: Emergency, actor: str, login: str, client: str, *, minutes: int | None = None
    ) -> None:
        hours = f"hours.{one.lasts.total_seconds() / 3600:g}"
        detail = [one.reason, hours] + ([] if minutes is None else [f"opens-in-minutes.{minutes}"])
        fields: dict[str, Any] = {"target": one.user_id, "roles": [one.role], "emergency": one.id, "detail": detail}
        await self._trail.append(
            AuditEntry(
                id=new_id("a", self._randomness),
                at=self._clock(),
                tenant=one.tenant,
                kind="alarm",
                actor=actor,
                actor_login=login,
                client=client,
                entity="user",
                operation=OPERATION,
                reason=f"{TAG}:{step}",
                fields=fields,
            )
        )
