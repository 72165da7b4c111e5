"""Where statements of auditors are asked: on record, bounded in number, followed and stopped by their id.

What a statement returned is kept in the memory of this process for ten minutes, for nobody but who asked.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from audit.archive import Archive
from audit.beside import end
from audit.sql.answer import Answer, Asked, Busy, Limits, QueryFailed
from audit.sql.engine_store import Room
from audit.sql.refused import StatementRefused
from audit.sql.run import run_query
from gateway.query_people import Named, nobody
from gateway.settings import AuditSettings

OPERATION = "audit.query"
PER_PERSON, PER_TENANT, PER_PROCESS = 1, 3, 6
KEPT_S = 600.0
KEPT_PER_PERSON, KEPT = 2, 12

Note = Callable[[str, int, Mapping[str, Any]], Awaitable[None]]
"""Puts an event on record for who asks: reason, status, fields; raises AuditUnavailable."""
Person = tuple[str, str]
"""Tenant and account."""


def query_limits(settings: AuditSettings) -> Limits:
    """What a statement may use."""
    most = max(settings.query_rows, Limits().most_rows)
    room = Room(memory_mb=settings.query_memory_mb)
    return Limits(rows=settings.query_rows, most_rows=most, seconds=float(settings.query_seconds), room=room)


@dataclass
class Asking:
    """A statement that runs or ran. step, part: how far it is; ended: by the loop's clock, None while it runs."""

    id: str
    person: Person
    statement: str
    task: "asyncio.Task[Answer] | None" = None
    step: str = "start"
    part: float = 0.0
    ended: float | None = None

    def tell(self, step: str, part: float) -> None:
        """How far it is."""
        self.step, self.part = step, part

    @property
    def done(self) -> bool:
        """Whether there is an answer, or why there is none."""
        return self.task is not None and self.task.done()


@dataclass
class QueryDesk:
    """The statements of one process. new_id: of a statement, not to be guessed; named: who `person()` means."""

    conninfo: str
    archive: Archive
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    limits: Limits = field(default_factory=Limits)
    named: Named = nobody
    _running: Counter[Person | str] = field(default_factory=Counter)
    _asked: dict[str, Asking] = field(default_factory=dict)

    async def answer(
        self, person: Person, statement: str, note: Note, tell: Callable[[str, float], None] = lambda *_: None
    ) -> Answer:
        """The answer to a statement, on record before and after. Cancelling stops it.

        Raises: Busy, StatementRefused, QueryFailed, AuditUnavailable.
        """
        tenant = person[0]

        async def record(asked: Asked) -> None:
            meant = {"records": list(asked.persons)} if asked.persons else {}
            await note("query-asked", 200, {"statement": list(asked.shape), "detail": list(asked.tables)} | meant)

        async with self._turn(person):
            try:
                found = await run_query(
                    self.conninfo, tenant, statement,
                    archive=self.archive, record=record, now=self.clock(), limits=self.limits, tell=tell,
                    persons=partial(self.named, tenant),
                )  # fmt: skip
            except StatementRefused as refused:
                await note("query-refused", 422, {"detail": [refused.reason]})
                raise
            except QueryFailed as failed:
                await note("query-failed", 503, {"detail": [failed.reason]})
                raise
            except asyncio.CancelledError:
                await asyncio.shield(note("query-cancelled", 499, {}))
                raise
            await note("query-answered", 200, {"rows": found.table.num_rows})
            return found

    @asynccontextmanager
    async def _turn(self, person: Person) -> AsyncIterator[None]:
        tenant = person[0]
        bounds = ((person, PER_PERSON, "person"), (tenant, PER_TENANT, "tenant"), ("", PER_PROCESS, "tenant"))
        for key, most, whose in bounds:
            if self._running[key] >= most:
                raise Busy(whose)
        self._running.update((person, tenant, ""))
        try:
            yield
        finally:
            self._running.subtract((person, tenant, ""))
            self._running += Counter()  # forget who has none left

    def begin(self, person: Person, statement: str, note: Note) -> Asking:
        """Ask in the background."""
        asking = Asking(self.new_id(), person, statement)
        asking.task = asyncio.create_task(self.answer(person, statement, note, asking.tell))
        asking.task.add_done_callback(lambda task: _ended(asking, task))
        self._asked[asking.id] = asking
        self._forget()
        return asking

    def find(self, person: Person, number: str) -> Asking | None:
        """What somebody asked; None for what is over for long, or somebody else's."""
        self._forget()
        asking = self._asked.get(number)
        return asking if asking is not None and asking.person == person else None

    async def cancel(self, person: Person, number: str) -> None:
        """Stop what somebody asked, and wait until it has stopped."""
        asking = self.find(person, number)
        if asking is not None and asking.task is not None and not asking.task.done():
            await end(asking.task)

    async def close(self) -> None:
        """Stop everything."""
        tasks = [one.task for one in self._asked.values() if one.task is not None]
        await end(*tasks)
        self._asked.clear()

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        ended = sorted(
            (one for one in self._asked.values() if one.ended is not None), key=lambda one: -(one.ended or 0)
        )
        kept: Counter[Person] = Counter()
        for place, one in enumerate(ended):
            kept[one.person] += 1
            if place >= KEPT or kept[one.person] > KEPT_PER_PERSON or now - (one.ended or 0) > KEPT_S:
                del self._asked[one.id]


def _ended(asking: Asking, task: "asyncio.Task[Answer]") -> None:
    asking.ended = asyncio.get_running_loop().time()
    if not task.cancelled():
        task.exception()  # shown by who looks; else the loop would log it, with what the engine quotes
