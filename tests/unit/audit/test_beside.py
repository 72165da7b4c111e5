"""What works beside everything else begins, rests and ends in one way."""

import asyncio

import pytest
from psycopg import OperationalError
from structlog.testing import capture_logs

from audit.beside import Rounds


class Counted(Rounds):
    """Fails in its first rounds, then says that it came through."""

    def __init__(self, failing: list[Exception]) -> None:
        super().__init__(0, "counted-failed")
        self.failing = failing
        self.rounds = 0
        self.through = asyncio.Event()

    async def round(self) -> None:
        self.rounds += 1
        if self.failing:
            raise self.failing.pop(0)
        self.through.set()


async def test_a_database_that_is_away_ends_no_rounds_and_is_told() -> None:
    counted = Counted([OperationalError("host=secret"), OperationalError("again")])
    with capture_logs() as told:
        await counted.start()
        async with asyncio.timeout(10):
            await counted.through.wait()
        await counted.close()
    assert [(one["event"], one["fault"]) for one in told] == [("counted-failed", "OperationalError")] * 2
    assert "secret" not in str(told)


async def test_nothing_runs_after_the_end() -> None:
    counted = Counted([])
    await counted.start()
    async with asyncio.timeout(10):
        await counted.through.wait()
    await counted.close()
    done = counted.rounds
    for _ in range(10):
        await asyncio.sleep(0)
    assert counted.rounds == done
    await counted.close()


async def test_what_never_began_can_be_ended() -> None:
    await Counted([]).close()


async def test_what_broke_is_ended_without_a_word() -> None:
    counted = Counted([RuntimeError("broken")])
    await counted.start()
    while counted.rounds == 0:
        await asyncio.sleep(0)
    await counted.close()
    assert not counted.through.is_set()


def test_what_has_no_round_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Rounds(1, "none")  # type: ignore[abstract]
