"""What works beside everything else: its one task, begun and ended in one way."""

import asyncio
from abc import ABC, abstractmethod

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout


class Beside(ABC):
    """Something that runs in the background from `start` to `close`."""

    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; the first round runs at once."""
        self._task = asyncio.create_task(self._run(), name=type(self).__name__)

    async def close(self) -> None:
        """Stop where it is; whatever it raised before is nobody's any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
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
