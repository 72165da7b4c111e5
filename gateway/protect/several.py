"""Doing one thing for several items, so many at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


async def several(items: Sequence[_Item], do: Callable[[_Item], Awaitable[_Made]], at_once: int) -> list[_Made]:
    """What `do` makes of each item, in order. After a fault nothing more begins; it is raised when all have ended."""
    made: dict[int, _Made] = {}
    faults: list[Exception] = []
    waiting = iter(enumerate(items))

    async def take() -> None:
        for number, item in waiting:
            try:
                made[number] = await do(item)
            except Exception as fault:
                faults.append(fault)
            if faults:
                return

    await asyncio.gather(*(take() for _ in range(min(at_once, len(items)))))
    if faults:
        raise faults[0]
    return [made[number] for number in range(len(items))]
