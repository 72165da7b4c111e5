"""Reset of lost factors by two people: one starts it, another approves, and neither is whose account it is.

Whoever resets an account hands its owner a link that sets new factors, and so could take the account over. Two people
have to agree to that. What was started waits a day; nothing changes for the account until it is approved.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from gateway.access.reset_store import ResetRow, ResetStore
from gateway.access.tokens import Randomness, new_id
from gateway.access.user import AppUser
from gateway.access.users import Users

WAITING_LIFETIME = timedelta(hours=24)


class ResetRefused(Exception):  # noqa: N818 - an outcome the page reports
    """Not this step by this person now; `problem` is `own-account`, `reset-waiting`, `reset-gone` or `reset-same`."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Resets:
    """Both steps; who may take them is the caller's to ask."""

    def __init__(
        self, store: ResetStore, users: Users, *, clock: Callable[[], datetime], randomness: Randomness
    ) -> None:
        self._store = store
        self._users = users
        self._clock = clock
        self._randomness = randomness

    async def waiting(self, user: AppUser) -> ResetRow | None:
        """The reset of this account that waits for a second person."""
        return await self._store.waiting(user.tenant, user.id, self._clock())

    async def check_start(self, user: AppUser, by: str) -> None:
        """Raise what `start` would raise, and change nothing."""
        if user.id == by:
            raise ResetRefused("own-account")
        if await self.waiting(user) is not None:
            raise ResetRefused("reset-waiting")

    async def start(self, user: AppUser, by: str) -> None:
        """The first person starts it. by: id of their account. Raises ResetRefused, StoreUnavailable."""
        await self.check_start(user, by)
        now, name = self._clock(), new_id("r", self._randomness)
        if not await self._store.start(user.tenant, name, user.id, by, now, now + WAITING_LIFETIME):
            raise ResetRefused("reset-waiting")

    async def check_approval(self, user: AppUser, by: str) -> ResetRow:
        """The reset `approve` would take; raises what it would raise."""
        if user.id == by:
            raise ResetRefused("own-account")
        waiting = await self.waiting(user)
        if waiting is None:
            raise ResetRefused("reset-gone")
        if waiting.started_by == by:
            raise ResetRefused("reset-same")
        return waiting

    async def approve(self, user: AppUser, by: str) -> tuple[str, datetime]:
        """A second person agrees: factors are forgotten, sessions end; the invitation's token and expiry.

        Raises ResetRefused, StoreUnavailable.
        """
        waiting = await self.check_approval(user, by)
        if not await self._store.approve(user.tenant, waiting.id, by, self._clock()):
            raise ResetRefused("reset-gone")
        return await self._users.reset(user, by)

    async def withdraw(self, user: AppUser) -> None:
        """Take back what waits; raises ResetRefused, StoreUnavailable."""
        waiting = await self.waiting(user)
        if waiting is None or not await self._store.withdraw(user.tenant, waiting.id):
            raise ResetRefused("reset-gone")
