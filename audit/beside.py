"""What works beside everything else: its one task, begun and ended in one way, and tasks ended for certain."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout

AGAIN_S = 5.0


async def end(*tasks: "asyncio.Task[Any]", again_s: float = AGAIN_S) -> None:
    """Cancel tasks until they have ended; what they raise is nobody's any more.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, with which psycopg's pool waits, loses a cancellation
    that comes together with what it waits for, and a loop that was told to stop would go on for ever (bpo-37658).
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
    await asyncio.gather(*tasks, return_exceptions=True)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Work on all at once until one ends badly or this is cancelled; then all have ended. Raises what that one raised.

    A task group would do, but it cancels its tasks once only, see `end`.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await end(*tasks)


class Beside(ABC):
    """Something that runs in the background from `start` to `close`."""

    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; the first round runs at once."""
        self._task = asyncio.create_task(self._run(), name=type(self).__name__)

    async def close(self) -> None:
        """Stop where it is; whatever it raised before is nobody's any more."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    @abstractmethod
    async def _run(self) -> None:
        """The work; it does not end by itself."""


class Rounds(Beside):
    """Something that does a round and rests, again and again. failed: event of the log when the database is away."""

    def __init__(self, rest_s: float, failed: str) -> None:
        self._rest_s = rest_s
        self._failed = failed

    @abstractmethod
    async def round(self) -> None:
        """One round. Raises: psycopg errors, PoolTimeout, PoolClosed."""

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except (Error, PoolTimeout, PoolClosed) as fault:
                structlog.get_logger().error(self._failed, fault=type(fault).__name__)
            await asyncio.sleep(self._rest_s)
