"""How fast a CRM is written."""

import asyncio
from collections.abc import Awaitable, Callable


class Pace:
    """At most so many writes a second; rate 0 means no limit."""

    def __init__(self, rate: float, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self.rate = rate
        self._gap = 1 / rate if rate > 0 else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next write may go."""
        if not self._gap:
            return
        now = self._clock()
        wait = self._next - now
        self._next = max(now, self._next) + self._gap
        if wait > 0:
            await self._sleep(wait)


def steady(rate: float) -> Pace:
    """The pace of the wall clock."""
    return Pace(rate, asyncio.get_running_loop().time, asyncio.sleep)
