"""What is told to stop stops, also when it loses the first word."""

import asyncio

from kms.ending import end


async def deaf(times: int, begun: asyncio.Event) -> None:
    """Loses so many cancellations, as a loop does whose cancellation came together with what it waited for."""
    begun.set()
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if times <= 0:
                raise
            times -= 1


async def fails() -> None:
    raise ValueError


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    begun = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(deaf(times, one)) for times, one in zip((0, 2), begun, strict=True)]
    for one in begun:
        await one.wait()
    await end(*tasks, again_s=0.01)
    assert all(task.cancelled() for task in tasks)


async def test_what_a_task_raised_is_nobodys_any_more() -> None:
    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end(task)
    await end(task, asyncio.create_task(fails()))
    await end()
