"""Budgets of what somebody may learn about values he does not see: that one is taken, that a search finds one.

An answer that a value is taken is counted *before* the CRM is asked and given back when it says nothing of the kind, so
that a burst of parallel tries is counted too and a used budget refuses whatever the CRM would say. A search is counted
in memory and brought to the shared count within a second, so that no search waits for it. Who sees the values anyway is
not counted. The try that uses a budget up puts an alarm into the trail; the console's health page shows it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from audit.beside import end
from audit.entry import AuditEntry
from audit.log import AuditUnavailable
from gateway.batch_answer import says_taken
from gateway.entries import describe
from gateway.exchange import Exchange
from gateway.guess_store import Count
from gateway.refusal import SEARCH_BUDGET, UNIQUENESS_BUDGET, Refusal
from kms.store import StoreUnavailable
from policies.decision import FieldView, Form
from policies.operation import WRITES, Action
from policies.unique import tells

UNIQUENESS, SEARCH = "uniqueness", "search"
TOLD = "uniqueness-told"
FLUSH_S = 0.5
log = structlog.get_logger(__name__)


class Counts(Protocol):
    """gateway.guess_store.GuessStore."""

    async def add(self, counts: Sequence[Count]) -> list[int]:
        """Count; how many there are now."""
        ...


class Trail(Protocol):
    """audit.log.AuditLog."""

    def append(self, entry: AuditEntry) -> Awaitable[int]:
        """The index of the entry, once it is durable; raises AuditUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Budgets:
    """How often in an hour one person may be told."""

    uniqueness: int
    searches: int


@dataclass(frozen=True, slots=True)
class Reserved:
    """Tries of one request that are counted already. now: the count with them."""

    count: Count
    now: int


class Guesses:
    """Counts for one process; `close` brings what is left to the shared count."""

    def __init__(
        self, store: Counts, trail: Trail, budgets: Budgets, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._store, self._trail, self._budgets = store, trail, budgets
        self._clock, self._new_id = clock, new_id
        self._pending: dict[tuple[str, str, datetime], int] = {}
        self._known: dict[tuple[str, str, datetime], int] = {}
        self._last: dict[tuple[str, str, datetime], Exchange] = {}
        self._alarms: list[AuditEntry] = []
        self._flushing: asyncio.Task[None] | None = None
        self._bringing = asyncio.Lock()

    # -- searches --------------------------------------------------------------------------------------------------

    def search(self, exchange: Exchange) -> None:
        """Count a search for values that the person does not see; raises Refusal SEARCH_BUDGET."""
        view = _view(exchange)
        if exchange.principal is None or view is None or all(_sees(view, kind) for kind in exchange.searched):
            return
        key = (exchange.tenant, exchange.principal.id, _hour(self._clock()))
        if self._known.get(key, 0) + self._pending.get(key, 0) >= self._budgets.searches:
            raise Refusal(SEARCH_BUDGET)
        self._pending[key] = self._pending.get(key, 0) + 1
        self._last[key] = exchange
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        while self._pending or self._alarms:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except (StoreUnavailable, AuditUnavailable) as fault:
                # Nothing passes without the database; what is counted here stays and is tried again.
                log.error("guesses-not-shared", fault=type(fault).__name__)

    async def flush(self) -> None:
        """Bring what is counted here to the shared count; raises StoreUnavailable, AuditUnavailable."""
        async with self._bringing:  # else two would bring the same
            await self._flush()

    async def _flush(self) -> None:
        given, hour = dict(self._pending), _hour(self._clock())
        if given:
            keys = list(given)
            now = await self._store.add([Count(key[0], key[1], SEARCH, key[2], given[key]) for key in keys])
            for key, times in zip(keys, now, strict=True):
                self._known[key] = times
                self._pending[key] -= given[key]
                if not self._pending[key]:
                    del self._pending[key]
                exchange = self._last.pop(key, None)
                if exchange is not None and times - given[key] < self._budgets.searches <= times:
                    self._alarms.append(self._alarm(exchange, SEARCH, SEARCH_BUDGET.id, times))
        self._known = {key: times for key, times in self._known.items() if key[2] == hour}
        while self._alarms:
            await self._trail.append(self._alarms[0])
            del self._alarms[0]

    async def close(self) -> None:
        """Bring the rest to the shared count; what cannot be is lost, and said so in the log."""
        if self._flushing is not None:
            await end(self._flushing)
        try:
            await self.flush()
        except (StoreUnavailable, AuditUnavailable) as fault:
            log.error("guesses-not-shared", fault=type(fault).__name__)

    # -- values that are taken -------------------------------------------------------------------------------------

    async def reserve(self, exchange: Exchange) -> Reserved | None:
        """Count the tries of a request before the CRM sees it; None where its answer tells this person nothing new.

        Raises Refusal UNIQUENESS_BUDGET, StoreUnavailable.
        """
        tries = sum(map(_may_guess, exchange.batch.exchanges if exchange.batch is not None else (exchange,)))
        if not tries or exchange.principal is None:
            return None
        count = Count(exchange.tenant, exchange.principal.id, UNIQUENESS, _hour(self._clock()), tries)
        (now,) = await self._store.add([count])
        if now > self._budgets.uniqueness:
            await self._store.add([_back(count)])
            raise Refusal(UNIQUENESS_BUDGET)
        return Reserved(count, now)

    async def give_back(self, reserved: Reserved) -> None:
        """The CRM said nothing; raises StoreUnavailable."""
        await self._store.add([_back(reserved.count)])

    async def told(
        self, exchange: Exchange, reserved: Reserved | None, status: int, body: bytes, content_type: str = ""
    ) -> None:
        """What the CRM said, before anybody hears it; content_type: of its answer.

        Raises Refusal UNIQUENESS_BUDGET, StoreUnavailable, AuditUnavailable.
        """
        operation, principal = exchange.operation, exchange.principal
        if principal is None or operation is None:
            return
        if reserved is not None:
            batch = exchange.batch
            taken = says_taken(batch, status, content_type, body) if batch else tells(operation.unique, status, body)
            if not taken:
                await self._store.add([_back(reserved.count)])
                return
        else:
            if operation.unique is not None or not _conflicts(exchange) or not tells(None, status, body):
                return
            count = Count(exchange.tenant, principal.id, UNIQUENESS, _hour(self._clock()), 1)
            (now,) = await self._store.add([count])
            reserved = Reserved(count, now)
            if now > self._budgets.uniqueness:
                raise Refusal(UNIQUENESS_BUDGET)
        await self._trail.append(self._event(exchange, UNIQUENESS, TOLD, reserved.now, status))
        if reserved.now - reserved.count.times < self._budgets.uniqueness <= reserved.now:
            await self._trail.append(self._alarm(exchange, UNIQUENESS, UNIQUENESS_BUDGET.id, reserved.now))

    def _alarm(self, exchange: Exchange, sort: str, reason: str, times: int) -> AuditEntry:
        return self._event(exchange, sort, reason, times, 0, kind="alarm")

    def _event(
        self, exchange: Exchange, sort: str, reason: str, times: int, status: int, kind: str = "guess"
    ) -> AuditEntry:
        entry = describe(exchange, self._new_id(), kind, reason, status)
        entry.at = self._clock()
        entry.path_shape = ""
        traced = exchange.principal.trace if exchange.principal is not None else {}
        entry.fields = {"count": times, "detail": sort, **traced}
        return entry


def _back(count: Count) -> Count:
    return Count(count.tenant, count.actor, count.sort, count.hour, -count.times)


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)


def _view(exchange: Exchange) -> FieldView | None:
    """The person's view, where it hides anything."""
    decision = exchange.decision
    return None if decision is None or decision.view.sees_everything else decision.view


def _sees(view: FieldView, kind: str) -> bool:
    rule = view.by_kind.get(kind)
    return rule is not None and rule.own is rule.other is Form.CLEAR


def _may_guess(exchange: Exchange) -> bool:
    """Whether a write brings a value of a unique field that the person does not see in every record.

    A read of what the CRM takes for equal needs no value: he wrote it before.
    """
    view, operation = _view(exchange), exchange.operation
    if view is None or operation is None or operation.unique is None:
        return False
    if operation.action not in WRITES:
        return any(_hides(view, *one) for one in operation.unique.fields)
    return any(
        (entity, name) in operation.unique.fields and _hides(view, entity, name) for entity, name, _ in exchange.written
    )


def _hides(view: FieldView, entity: str, name: str) -> bool:
    rule = view.rules.get((entity, name))
    return rule is None or not rule.own is rule.other is Form.CLEAR


def _conflicts(exchange: Exchange) -> bool:
    """Whether an undeclared conflict may be about a value of somebody whom the person does not see."""
    operation = exchange.operation
    writes = operation is not None and operation.action in (Action.CREATE, Action.UPDATE)
    return writes and bool(exchange.written) and _view(exchange) is not None
