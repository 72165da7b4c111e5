"""Turning the epoch of person keys: a new one, what is left wrapped under it, the old one forgotten for good.

Every step can be repeated: a kill at any point, and `run` again comes to the end. Whoever adds keys meanwhile adds them
under the current epoch (the store checks that in the same transaction), and the old version of the keeper's key is
forgotten only when nothing is under it. A key that does not open stops the turn: nothing is forgotten then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kms.person import EpochState, PersonRow
from kms.persons import Persons, opened
from kms.provider import KeysUnavailable

PAGE = 500


@dataclass(frozen=True, slots=True)
class Turned:
    """What a turn came to. survivors: keys wrapped anew by this run; closed_at: when older epochs were forgotten."""

    epoch: int
    survivors: int
    closed_at: datetime


class EpochTurn:
    """Turns epochs. now: aware UTC time; page: keys at once."""

    def __init__(self, persons: Persons, now: Callable[[], datetime], page: int = PAGE) -> None:
        self._persons = persons
        self._now = now
        self._page = page

    async def unfinished(self, tenant: str) -> bool:
        """Whether a turn was begun and did not come to its end. Raises KeysUnavailable."""
        epochs = await self._persons.store.epochs(tenant)
        return any(one.state is EpochState.OLD for one in epochs)

    async def run(self, tenant: str, progress: Callable[[int], None] = lambda _: None) -> Turned:
        """Turn the epoch, or finish the turn that was begun. progress: keys left. Raises KeysUnavailable."""
        if not await self.unfinished(tenant):
            await self._switch(tenant)
        store = self._persons.store
        self._persons.epoch_changed(tenant)
        current = await self._persons.current(tenant)
        survivors = 0
        while page := await store.page(tenant, current.number, self._page):
            survivors += await self._rewrap(tenant, page)
            progress(await store.left(tenant, current.number))
        if await store.left(tenant, current.number):
            raise KeysUnavailable("person-store", "there are person keys under the old epoch that no page shows")
        await self._persons.keeper(tenant).trim(tenant, current.number)
        at = self._now()
        await store.close_epochs(tenant, current.number, at)
        return Turned(current.number, survivors, await self._closed_at(tenant) or at)

    async def _switch(self, tenant: str) -> None:
        old = (await self._persons.current(tenant)).number
        keeper = self._persons.keeper(tenant)
        await keeper.rotate(tenant, old)
        made = await self._persons.made_epoch(tenant)
        if made.number <= old:
            raise KeysUnavailable("provider-nonsense", "the keeper says that it made a version, and has not")
        await self._persons.store.switch(tenant, old, made, self._now())

    async def _rewrap(self, tenant: str, page: list[PersonRow]) -> int:
        current = await self._persons.current(tenant)
        moved: list[tuple[PersonRow, PersonRow]] = []
        for row in page:
            epoch = await self._persons.epoch(tenant, row.epoch)
            moved.append((row, self._persons.wrapped(current, tenant, row.holder, opened(epoch.key, tenant, row))))
        done = await self._persons.store.rewrap(tenant, moved)
        if not done:  # somebody else takes the same page, or erases its holders, just now
            await asyncio.sleep(0.05)
        return done

    async def _closed_at(self, tenant: str) -> datetime | None:
        times = [one.closed_at for one in await self._persons.store.epochs(tenant) if one.closed_at is not None]
        return max(times, default=None)
