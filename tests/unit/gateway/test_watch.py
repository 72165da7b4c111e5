"""Stages that overstay are ended; everything else is left alone."""

import asyncio

import pytest

from gateway.watch import Watch


async def test_a_stage_that_overstays_is_ended_and_named() -> None:
    watch = Watch(0.01)
    turn = watch.begin()
    turn.enter("audit", 0.02)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(5)
    assert turn.expired == "audit"
    assert turn.absorb()
    await asyncio.sleep(0)  # the cancellation is taken back
    turn.end()
    watch.stop()


async def test_a_stage_with_a_limit_of_its_own_is_left_alone() -> None:
    watch = Watch(0.01)
    turn = watch.begin()
    turn.enter("body", 0.01)
    turn.rest("upstream")
    await asyncio.sleep(0.05)
    assert not turn.absorb()
    turn.end()
    watch.stop()


async def test_nothing_ticks_while_nothing_is_watched() -> None:
    watch = Watch(0.01)
    watch.begin().end()
    await asyncio.sleep(0.03)
    assert watch._timer is None


def test_only_tasks_can_be_watched() -> None:
    async def inner() -> None:
        loop = asyncio.get_running_loop()
        failed = loop.create_future()

        def outside() -> None:
            try:
                Watch().begin()
            except RuntimeError:
                failed.set_result(True)

        loop.call_soon(outside)
        assert await failed

    asyncio.run(inner())


async def test_what_is_open_for_an_ended_session_is_ended_and_nothing_else() -> None:
    watch = Watch(0.01)
    turn = watch.begin()
    turn.session = "s-1"
    assert set(watch.sessions()) == {"s-1"}
    watch.end_sessions({"s-2"})
    await asyncio.sleep(0)
    watch.end_sessions({"s-1"})
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(5)
    assert turn.expired == "session"
    assert turn.absorb()
    turn.end()
    assert not watch.sessions()
    watch.stop()
