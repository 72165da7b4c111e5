"""Person keys in memory and the turn of their epoch: bounded, failing closed, finished after a kill at any point."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from kms.epoch_turn import EpochTurn
from kms.local_epochs import LocalEpochs
from kms.person import Epoch, EpochState, PersonRow
from kms.person_store import PersonTables
from kms.persons import Persons
from kms.provider import KeysUnavailable
from tests.unit.kms.conftest import MakePersons

T = "acme"


def now() -> datetime:
    return datetime.now(UTC)


def holder(number: int) -> bytes:
    return number.to_bytes(16)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def persons(make_persons: MakePersons, clock: Clock) -> Persons:
    return make_persons(clock)


def _fails(*_: object, **__: object) -> Awaitable[Any]:
    raise RuntimeError("Zhang Wei")


async def test_keys_are_the_same_in_another_process(persons: Persons, make_persons: MakePersons, clock: Clock) -> None:
    made = await persons.make(T, [holder(1), holder(2)])
    found = await make_persons(clock).keys(T, [holder(1), holder(2), holder(3)])
    assert (found.keys, found.erased, found.missing) == (made, set(), {holder(3)})


async def test_nothing_is_asked_for_while_keys_are_in_memory(
    persons: Persons, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await persons.make(T, [holder(1)])
    monkeypatch.setattr(persons.store, "read", _fails)
    assert (await persons.keys(T, [holder(1)])).keys == made
    clock.now += 300
    with pytest.raises(RuntimeError):
        await persons.keys(T, [holder(1)])


async def test_memory_is_bounded(make_persons: MakePersons, clock: Clock) -> None:
    persons = make_persons(clock)
    persons._most = 3
    await persons.make(T, [holder(number) for number in range(9)])
    assert len(persons._held) == 3


async def test_without_its_keeper_nothing_opens_once_the_time_is_over(
    persons: Persons, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await persons.make(T, [holder(1)])
    monkeypatch.setattr(LocalEpochs, "unwrap", _fails)
    clock.now += 299
    persons._held.clear()
    assert (await persons.keys(T, [holder(1)])).keys == made
    assert persons.held(T, holder(1)) is not None
    clock.now += 1
    assert persons.held(T, holder(1)) is None
    for work in (lambda: persons.keys(T, [holder(1)]), lambda: persons.make(T, [holder(2)])):
        with pytest.raises(KeysUnavailable) as refused:
            await work()
        assert "Zhang" not in str(refused.value)


@pytest.mark.parametrize("answer", [b"", bytes(31), bytes(32), None, "text"])
async def test_nonsense_of_a_keeper_opens_nothing(
    persons: Persons, clock: Clock, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    await persons.make(T, [holder(1)])
    clock.now += 1000

    async def nonsense(*_: object) -> object:
        return answer

    monkeypatch.setattr(LocalEpochs, "unwrap", nonsense)
    with pytest.raises(KeysUnavailable):
        await persons.keys(T, [holder(1)])


async def test_a_keeper_that_hangs_is_given_up(persons: Persons, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    await persons.make(T, [holder(1)])
    clock.now += 1000
    persons._timeout_s = 0.05

    async def hang(*_: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(LocalEpochs, "unwrap", hang)
    with pytest.raises(KeysUnavailable) as refused:
        await persons.keys(T, [holder(1)])
    assert refused.value.problem == "provider-slow"


async def test_a_key_of_another_holder_or_a_changed_one_is_a_fault(persons: Persons) -> None:
    await persons.make(T, [holder(1), holder(2)])
    rows, _ = await persons.store.read(T, [holder(1), holder(2)])
    swapped = PersonRow(holder(1), 1, rows[holder(2)].wrapped)
    await persons.store.rewrap(T, [(rows[holder(1)], swapped)])
    persons.forget()
    with pytest.raises(KeysUnavailable) as refused:
        await persons.keys(T, [holder(1)])
    assert refused.value.problem == "person-key-damaged"


async def test_what_was_read_before_somebody_was_erased_is_not_kept(
    persons: Persons, monkeypatch: pytest.MonkeyPatch
) -> None:
    await persons.make(T, [holder(1)])
    persons.forget(T)
    read = persons.store.read

    async def slow(tenant: str, holders: Sequence[bytes]) -> object:
        found = await read(tenant, holders)
        persons.forget(T)
        return found

    monkeypatch.setattr(persons.store, "read", slow)
    await persons.keys(T, [holder(1)])
    assert persons.held(T, holder(1)) is None


async def test_forgetting_a_tenant_leaves_the_others(persons: Persons) -> None:
    await persons.make(T, [holder(1)])
    await persons.make("beta", [holder(1)])
    persons.forget("beta")
    assert persons.held(T, holder(1)) is not None
    assert persons.held("beta", holder(1)) is None


# The turn


class Killed(BaseException):
    """Instead of SIGKILL."""


_STEPS = ("rotate", "wrap", "switch", "rewrap", "trim", "close_epochs")


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("step", _STEPS)
async def test_a_turn_killed_at_any_step_runs_again_to_its_end(
    make_persons: MakePersons, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    persons = make_persons(clock)
    made = await persons.make(T, [holder(number) for number in range(7)])
    of: type = PersonTables if hasattr(PersonTables, step) and step != "begin" else LocalEpochs
    original: Callable[..., Awaitable[Any]] = getattr(of, step)

    async def killed(self: object, *given: Any) -> Any:
        if after:
            await original(self, *given)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(of, step, killed)
        with pytest.raises(Killed):
            await EpochTurn(persons, now, page=3).run(T)
    between = make_persons(clock)
    assert (await between.keys(T, made)).keys == made
    made |= await between.make(T, [holder(100)])
    again = make_persons(clock)
    await EpochTurn(again, now, page=3).run(T)
    fresh = make_persons(clock)
    assert (await fresh.keys(T, made)).keys == made
    epochs = await fresh.store.epochs(T)
    assert [one.state for one in epochs[:-1]] == [EpochState.CLOSED] * (len(epochs) - 1)
    assert await fresh.store.left(T, epochs[-1].number) == 0


async def test_writers_during_turns_lose_nothing(make_persons: MakePersons, clock: Clock) -> None:
    made: dict[bytes, bytes] = {}
    done = asyncio.Event()

    async def write(first: int) -> None:
        own, number = make_persons(clock), first
        while not done.is_set():
            made.update(await own.make(T, [holder(number)]))
            number += 10
            await asyncio.sleep(0)

    async def turn() -> None:
        turning = make_persons(clock)
        try:
            for _ in range(3):
                await EpochTurn(turning, now, page=5).run(T)
        finally:
            done.set()

    await make_persons(clock).make(T, [])
    await make_persons(clock).current(T)
    await asyncio.gather(turn(), write(1), write(2))
    fresh = make_persons(clock)
    assert (await fresh.keys(T, made)).keys == made
    assert (await fresh.store.epochs(T))[-1].number == 4


async def test_a_key_that_does_not_open_stops_the_turn_before_anything_is_forgotten(persons: Persons) -> None:
    made = await persons.make(T, [holder(1), holder(2)])
    rows, _ = await persons.store.read(T, [holder(2)])
    broken = PersonRow(holder(2), 1, os.urandom(60))
    await persons.store.rewrap(T, [(rows[holder(2)], broken)])
    with pytest.raises(KeysUnavailable):
        await EpochTurn(persons, now).run(T)
    persons.forget()
    assert (await persons.keys(T, [holder(1)])).keys == {holder(1): made[holder(1)]}
    assert (await persons.store.epochs(T))[0].state is EpochState.OLD


async def test_a_reader_meets_a_turn(persons: Persons, make_persons: MakePersons, clock: Clock) -> None:
    made = await persons.make(T, [holder(1)])
    reader = make_persons(clock)
    read = reader.store.read
    turned: list[int] = []

    async def overtaken(tenant: str, holders: Sequence[bytes]) -> Any:
        found = await read(tenant, holders)
        if not turned:
            turned.append((await EpochTurn(persons, now).run(T)).epoch)
        return found

    reader.store.read = overtaken  # type: ignore[method-assign,assignment]
    assert (await reader.keys(T, [holder(1)])).keys == made
    assert turned == [2]


async def test_a_store_without_a_current_epoch_is_refused(persons: Persons) -> None:
    await persons.store.begin(T, Epoch(1, b"x"), now())
    await persons.store.close_epochs(T, 2, now())
    with pytest.raises(KeysUnavailable):
        await persons.make(T, [holder(1)])
