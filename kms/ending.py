"""Ends tasks for certain. (The same as in audit.beside: neither floor may lean on the other.)"""

import asyncio
from typing import Any

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
