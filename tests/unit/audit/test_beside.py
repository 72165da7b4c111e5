"""What works beside everything else begins, rests and ends in one way."""

import asyncio
import contextlib

import pytest
from psycopg import OperationalError
from structlog.testing import capture_logs

from audit.beside import Beside, Rounds, end, together


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


class Deaf(Beside):
    """Loses the first word that it should end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def _run(self) -> None:
        self.begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()


async def test_what_loses_the_word_that_it_should_end_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.beside.end.__kwdefaults__", {"again_s": 0.01})
    deaf = Deaf()
    await deaf.start()
    await deaf.begun.wait()
    await deaf.close()
    assert deaf._task is None


async def test_of_several_works_all_end_when_one_ends_badly_and_it_is_told_which() -> None:
    ended = asyncio.Event()

    async def stays() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        raise OperationalError

    with pytest.raises(OperationalError):
        await together(stays(), fails())
    assert ended.is_set()
    ended.clear()
    task = asyncio.create_task(together(stays(), stays()))
    for _ in range(3):
        await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert ended.is_set()
