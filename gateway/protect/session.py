"""The session of the service credential, for several tasks at once: one of them signs in, the others wait for it."""

import asyncio
from collections.abc import Awaitable, Callable


class Session:
    """Counts sign-ins; number 0 means that there is no session. Errors are those of `sign_in`."""

    def __init__(self, sign_in: Callable[[], Awaitable[None]]) -> None:
        self.number = 0
        self._last = 0
        self._sign_in = sign_in
        self._lock = asyncio.Lock()

    async def current(self) -> int:
        """The number of the session, signing in where there is none."""
        return self.number or await self.instead_of(0)

    async def instead_of(self, number: int) -> int:
        """Another session than this one, which the CRM does not know any more."""
        async with self._lock:
            if self.number in (0, number):
                self.number = 0
                await self._sign_in()
                self._last += 1
                self.number = self._last
            return self.number

    def ended(self, number: int) -> None:
        """The CRM does not know this session any more; the next use signs in."""
        if self.number == number:
            self.number = 0
