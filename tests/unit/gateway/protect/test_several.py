"""Several at a time, in order; a fault ends it after what is under way."""

import asyncio

import pytest

from gateway.protect.reading import CrmSignInRefused
from gateway.protect.session import Session
from gateway.protect.several import several


async def test_results_keep_the_order_and_no_more_than_so_many_are_under_way() -> None:
    busy = most = 0

    async def double(number: int) -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        for _ in range(10 - number):
            await asyncio.sleep(0)
        busy -= 1
        return number * 2

    assert await several(range(10), double, 3) == [number * 2 for number in range(10)]
    assert most == 3
    assert await several([], double, 3) == []


async def test_after_a_fault_nothing_more_begins_and_what_is_under_way_ends() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def do(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)
        if number == 0:
            raise ConnectionError
        await asyncio.sleep(0)
        ended.append(number)

    with pytest.raises(ConnectionError):
        await several(range(10), do, 2)
    assert begun == [0, 1]
    assert ended == [1]


async def test_only_one_of_many_signs_in_and_a_lost_session_is_replaced_once() -> None:
    signed = 0

    async def sign_in() -> None:
        nonlocal signed
        signed += 1
        await asyncio.sleep(0)

    session = Session(sign_in)
    assert set(await asyncio.gather(*(session.current() for _ in range(5)))) == {1}
    assert set(await asyncio.gather(*(session.instead_of(1) for _ in range(5)))) == {2}
    session.ended(1)  # somebody noticed late that the first one was over
    assert await session.current() == 2
    session.ended(2)
    assert await session.current() == 3
    assert signed == 3


async def test_a_refused_sign_in_leaves_no_session() -> None:
    async def refuse() -> None:
        raise CrmSignInRefused("no")

    session = Session(refuse)
    with pytest.raises(CrmSignInRefused):
        await session.current()
    assert session.number == 0
