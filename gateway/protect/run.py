"""A whole run as durable work, forwards and backwards: slices of a second or two, each safe to do again after a kill.

The cursor says which part of the run is under way; which records are still to do stands in the progress table, so a
slice that is repeated finds what it did before.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.job import Job, Json, Slice
from gateway.protect.reading import Listed
from gateway.protect.store import Row
from gateway.protect.work import Checked, Work

INDEX, TODO, BACK = ("found",), ("indexed", "placed"), ("done", "placed", "undoing")
ENDED = ("done", "refused", "gone", "skipped", "restored", "differs")
BATCHES = 8  # read from the progress table at once
RETIRED = 500
SLICE_S = 2.0
ROUNDS = 20

Opening = Callable[[Job], Awaitable[Work]]
"""The steps for a job: its tenant, its way to the CRM, its rate."""


def kind_of(tenant: str, way: str) -> str:
    """The kind of these jobs; one a tenant and way, because a process reaches one CRM in one way."""
    return f"protect-{tenant}-{way}"


class RunJob:
    """Does the slices of protect and undo jobs. clock: monotonic seconds."""

    def __init__(self, opening: Opening, clock: Callable[[], float]) -> None:
        self._opening = opening
        self._clock = clock

    async def __call__(self, job: Job) -> Slice:
        """One slice; arguments: {"run": id, "undo": bool}."""
        work = await self._opening(job)
        run = str(job.arguments["run"])
        cursor: dict[str, Any] = dict(job.cursor) if isinstance(job.cursor, dict) else {}
        following = await (self._undo if job.arguments.get("undo") else self._protect)(work, run, cursor)
        done, total = await work.store.tally(work.tenant, run, ENDED)
        kept: Json = following
        return Slice(kept, done, total, finished=following is None)

    async def _protect(self, work: Work, run: str, cursor: dict[str, Any]) -> dict[str, Json] | None:
        phase = cursor.get("phase", "gather")
        if phase == "gather":
            return await self._gather(work, run, cursor)
        if phase == "index":
            more = await self._each(work, run, INDEX, lambda rows: work.index(run, rows))
            if not more:
                await work.store.move(work.tenant, run, "protecting")
            return {**cursor, "phase": "index" if more else "protect"}
        if await self._each(work, run, TODO, lambda rows: work.protect(run, rows)):
            return cursor
        if cursor.get("new") and int(cursor.get("round", 0)) + 1 < ROUNDS:
            return {"phase": "gather", "round": int(cursor.get("round", 0)) + 1}
        await work.store.move(work.tenant, run, "done")
        return None

    async def _gather(self, work: Work, run: str, cursor: dict[str, Any]) -> dict[str, Json]:
        """One page of one list. What came in while the run was under way is found by the next round."""
        step, page = int(cursor.get("step", 0)), str(cursor.get("page", ""))
        new, round_ = int(cursor.get("new", 0)), int(cursor.get("round", 0))
        listed: Listed = await work.gather(run, step, page)
        new += listed.new
        kept: dict[str, Json] = {"phase": "gather", "step": step, "page": listed.following, "new": new, "round": round_}
        if listed.following:
            return kept
        if step + 1 < len(work.walk.entities):
            return {**kept, "step": step + 1, "page": ""}
        return {"phase": "index", "new": new, "round": round_}

    async def _undo(self, work: Work, run: str, cursor: dict[str, Any]) -> dict[str, Json] | None:
        phase = cursor.get("phase", "open")
        if phase == "open":
            await work.store.move(work.tenant, run, "undoing")
            await work.store.reopen(work.tenant, run)
            return {"phase": "undo"}
        if phase == "undo":
            more = await self._each(work, run, BACK, lambda rows: work.undo(run, rows))
            return {"phase": "undo"} if more else {"phase": "retire", "after": None}
        counts = await work.store.counts(work.tenant, run)
        if any("differs" in states for states in counts.values()):
            return None  # spellings hang on the origins, so they stay while anything is not back
        after = cursor.get("after")
        rows = await work.store.after(work.tenant, run, ("restored",), after, RETIRED)
        await work.changer.retire(rows)
        if rows:
            return {"phase": "retire", "after": [rows[-1].step, rows[-1].record]}
        await work.store.move(work.tenant, run, "undone")
        return None

    async def _each(
        self, work: Work, run: str, states: tuple[str, ...], do: Callable[[Sequence[Row]], Awaitable[None]]
    ) -> bool:
        """The next records for about two seconds; whether there may be more."""
        until = self._clock() + SLICE_S
        rows = await work.store.todo(work.tenant, run, states, work.batch * BATCHES)
        if rows and states is INDEX:
            await work.trail("protect.read", rows[0].entity, "", {"count": len(rows)})
        for start in range(0, len(rows), work.batch):
            await do(rows[start : start + work.batch])
            if self._clock() > until:
                break
        return bool(rows)


async def verify_all(work: Work, runs: list[str]) -> Checked:
    """Every record of these runs, and how many records the CRM has that none of them knows."""
    total = Checked()
    known: set[tuple[str, str]] = set()
    for run in runs:
        checked = await work.verify(run)
        total.held += checked.held
        total.changed += checked.changed
        total.clear += checked.clear
        total.left += checked.left
        total.missing += checked.missing
        for place, number in checked.places.items():
            total.places[place] = total.places.get(place, 0) + number
        async for row in work.store.rows(work.tenant, run, (*ENDED, *TODO)):
            known.add((row.entity, row.record))
    for entity in work.walk.entities:
        page = ""
        while True:
            listed = await work.driver.page(entity, page)
            total.unknown += sum((entity.entity, one) not in known for one in listed.ids)
            page = listed.following
            if not page:
                break
    return total
