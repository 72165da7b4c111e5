"""Rights that two people give: one asks, another agrees, and neither is the one who gets them.

Until then nothing changes. What was asked for waits three days; it is agreed to as it was asked for, for an account
whose rights are still what they were then, and which its own person has set up: whoever makes an account sees its
invitation, and could otherwise sit in it when the roles arrive.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from gateway.access.giving import Giving, Rights, rights_of
from gateway.access.role_change_store import RoleChange, RoleChangeStore
from gateway.access.tokens import Randomness, new_id
from gateway.access.user import AppUser
from gateway.access.users import Users

WAITING_LIFETIME = timedelta(hours=72)
REASONS = ("new-person", "new-duty", "stands-in", "left-duty", "correction")
MayAsk = Callable[[str, Sequence[str]], bool]


class RoleChangeRefused(Exception):  # noqa: N818 - an outcome the page reports
    """Not this step by this person now.

    `problem` is `own-roles`, `change-waiting`, `change-gone`, `change-same`, `change-stale`, `change-reason`,
    `change-not-set-up`, `change-asker` or `duties-joined`.
    """

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class RoleChanges:
    """The steps; who may take them is the caller's to ask. may_ask: whether roles still have the right to ask."""

    def __init__(
        self,
        store: RoleChangeStore,
        users: Users,
        *,
        clock: Callable[[], datetime],
        randomness: Randomness,
        may_ask: MayAsk,
    ) -> None:
        self._store = store
        self._users = users
        self._clock = clock
        self._randomness = randomness
        self._may_ask = may_ask

    @property
    def giving(self) -> Giving:
        """What the settings say about giving rights."""
        return self._users.giving

    def needs_second(self, user: AppUser, after: Rights) -> bool:
        """Whether a second person has to agree before an account has these rights."""
        return self.giving.needs_second(user.tenant, rights_of(user), after)

    async def waiting(self, tenant: str) -> Sequence[RoleChange]:
        """All that waits for a second person."""
        return await self._store.waiting(tenant, self._clock())

    async def waiting_for(self, user: AppUser) -> RoleChange | None:
        """What waits for an account."""
        found = await self._store.waiting(user.tenant, self._clock(), user_id=user.id)
        return found[0] if found else None

    async def find(self, tenant: str, change_id: str) -> RoleChange:
        """One that waits; raises RoleChangeRefused."""
        found = await self._store.find(tenant, change_id, self._clock())
        if found is None:
            raise RoleChangeRefused("change-gone")
        return found

    def check_wish(self, tenant: str, after: Rights, reason: str) -> None:
        """Raise what would be wrong with asking for these rights for anybody."""
        if reason not in REASONS:
            raise RoleChangeRefused("change-reason")
        self._users.check_rights(after)
        if self.giving.joins(tenant, after.everything):
            raise RoleChangeRefused("duties-joined")

    async def check_ask(self, user: AppUser, after: Rights, by: str, reason: str) -> None:
        """Raise what `ask` would raise, and change nothing. by: id of the account that asks."""
        if user.id == by:
            raise RoleChangeRefused("own-roles")
        self.check_wish(user.tenant, after, reason)
        if await self.waiting_for(user) is not None:
            raise RoleChangeRefused("change-waiting")

    async def ask(self, user: AppUser, after: Rights, by: str, reason: str) -> str:
        """Ask that an account has these rights; the id of what waits.

        Raises RoleChangeRefused, AccountRefused, StoreUnavailable.
        """
        await self.check_ask(user, after, by, reason)
        now, name = self._clock(), new_id("g", self._randomness)
        change = RoleChange(
            user.tenant, name, user.id, user.login, rights_of(user), after, reason, by, "", now, now + WAITING_LIFETIME
        )
        if not await self._store.ask(change):
            raise RoleChangeRefused("change-waiting")
        return name

    async def check_approval(self, tenant: str, change_id: str, by: str) -> RoleChange:
        """The change `approve` would make; raises what it would raise."""
        change = await self.find(tenant, change_id)
        if change.user_id == by:
            raise RoleChangeRefused("own-roles")
        if change.asked_by == by:
            raise RoleChangeRefused("change-same")
        asker = await self._users.get(tenant, change.asked_by)
        if asker is None or asker.disabled or not self._may_ask(tenant, asker.roles):
            raise RoleChangeRefused("change-asker")
        user = await self._users.get(tenant, change.user_id)
        if user is None or user.disabled or not (user.has_password and user.has_second_factor):
            raise RoleChangeRefused("change-not-set-up")
        if rights_of(user) != change.before:
            raise RoleChangeRefused("change-stale")
        self._users.check_rights(change.after)
        if self.giving.joins(tenant, change.after.everything):
            raise RoleChangeRefused("duties-joined")
        return change

    async def approve(self, tenant: str, change_id: str, by: str) -> RoleChange:
        """A second person agrees: the account has the rights, open sessions follow at once.

        Raises RoleChangeRefused, AccountRefused, StoreUnavailable.
        """
        change = await self.check_approval(tenant, change_id, by)
        if not await self._store.approve(tenant, change_id, by, self._clock()):
            raise RoleChangeRefused("change-gone")
        await self._users.rights_changed(change.user_id)
        return change

    async def withdraw(self, tenant: str, change_id: str, by: str) -> None:
        """Take back what waits; raises RoleChangeRefused, StoreUnavailable."""
        if not await self._store.close(tenant, change_id, by, self._clock()):
            raise RoleChangeRefused("change-gone")
