"""What came into the CRM past the gateway: found within seconds by the gateway's own look at the newest records.

Records newer than the last one seen are read under the service credential. What is clear in them becomes surrogates, by
the same steps as `crmgate protect run` and under a run of their own, so that `undo` puts it back. Surrogates that an
import brought, and that nobody could bind, are bound to the record in which this very reading finds them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from gateway.protect.again import Again, Place, RecordKey, Seen
from gateway.protect.doubts import Doubts, Looks
from gateway.protect.judge import State
from gateway.protect.reading import CrmRefused, Listed, Reading
from gateway.protect.store import Row
from gateway.protect.work import Work
from gateway.records import ANY_ENTITY, Records
from gateway.standing import IMPORTED, PASTED, maker_of
from kms.tokens import Origin, OriginConflict, SurrogateVault
from policies.operation import StorageForm
from policies.walk import WalkEntity

RUN = "arrivals"
MOST = 500  # records of one turn
BEHIND = 200  # ids that may still be committed by the CRM after a later one was seen
_OPEN = ("gathering", "protecting", "undoing")


class NewestFirst(Looks, Protocol):
    """A driver that can ask for new records only."""

    async def newer(self, entity: WalkEntity, after: int, place: str) -> Listed:
        """One page of the records with a greater id; place as for `page`."""
        ...


class Arrivals:
    """Looks at what is new in one CRM.

    single: whether all kinds of records share one range of ids; made: whether the owner a reading tells is who made the
    record, whom nothing in a request can choose; doubts: values beside the CRM of which nobody is sure, None for none;
    again: records that imports may have changed, None for none; whole: whether a reading tells all that a record holds.
    """

    def __init__(
        self,
        work: Work,
        driver: NewestFirst,
        vault: SurrogateVault,
        records: Records,
        clock: Callable[[], datetime],
        *,
        single: bool,
        made: bool = False,
        doubts: Doubts | None = None,
        again: Again | None = None,
        whole: bool = True,
    ) -> None:
        self._work = work
        self._driver = driver
        self._vault = vault
        self._records = records
        self._clock = clock
        self._single = single
        self._made = made
        self._doubts = doubts
        self._again = again
        self._whole = whole

    async def turn(self) -> int:
        """Look once; how many records were new.

        Raises CrmUnreachable, CrmSignInRefused, KeysUnavailable, StoreUnavailable, AuditUnavailable.
        """
        work = self._work
        if not await self._may():
            return 0
        if self._doubts is not None:
            await self._doubts.settle()
        for step, entity in enumerate(work.walk.entities):
            if entity.newer or entity.object:
                await self._gather(step, entity)
        rows = await work.store.todo(work.tenant, RUN, ("found", "indexed", "placed"), MOST)
        again, seen = await self._met_again(every=bool(rows))
        if not rows and not again:
            return 0
        await work.trail(
            "arrivals.read", (rows[0].entity if rows else again[0][0]), "", {"count": len(rows) + len(again)}
        )
        clear = [row for row in rows if await self._look(row, seen)]
        for kind, record in again:
            await self._look_again(kind, record, seen)
        await self._bind(seen)
        if self._doubts is not None:
            await self._doubts.bind(seen.places)
        fresh = [row for row in clear if row.state == "found"]
        for start in range(0, len(fresh), work.batch):
            await work.index(RUN, fresh[start : start + work.batch])
        left = [row for row in clear if row.state in ("indexed", "placed")]
        for start in range(0, len(left), work.batch):
            await work.protect(RUN, left[start : start + work.batch])
        return len(rows)

    async def _may(self) -> bool:
        """Whether nobody else works on the records, and nobody took the protection back."""
        work = self._work
        runs = await work.store.runs(work.tenant)
        mine = next((one for one in runs if one.id == RUN), None)
        others = [one for one in runs if one.id != RUN]
        if any(one.state in _OPEN for one in others) or (others and others[0].state == "undone"):
            return False
        if mine is None:
            await work.store.begin(work.tenant, RUN, "interface", 0)
        if mine is None or mine.state == "gathering":
            await work.store.move(work.tenant, RUN, "done")
        return mine is None or mine.state in ("done", "gathering")

    async def _gather(self, step: int, entity: WalkEntity) -> None:
        work = self._work
        span = await work.store.span(work.tenant, RUN, entity.entity)
        if span is None:  # what stands there already is for `protect run`
            last = str(await newest(self._driver, entity))
            await work.store.found(work.tenant, RUN, step, entity.entity, [last])
            await work.store.keep(work.tenant, RUN, [Row(step, entity.entity, last, "skipped")])
            return
        first, last_seen = span
        ids: list[str] = []
        place = ""
        while True:
            listed = await self._driver.newer(entity, max(first, last_seen - BEHIND), place)
            ids += listed.ids
            place = listed.following
            if not place:
                break
        await work.store.found(work.tenant, RUN, step, entity.entity, ids)

    async def _look(self, row: Row, seen: Seen) -> bool:
        """Read one record, note the surrogates in it and its owner; whether something in it is clear."""
        work = self._work
        if row.state == "placed":
            return True  # what was under way when a process ended is settled first
        try:
            reading = await self._driver.read(work.walk.entity(row.entity), row.record)
        except CrmRefused as fault:
            row.state, row.misfits = "refused", {"record": fault.problem}
            await work.store.keep(work.tenant, RUN, [row])
            return False
        if reading is None or reading.skipped:
            row.state = "gone" if reading is None else "skipped"
            await work.store.keep(work.tenant, RUN, [row])
            return False
        await self._own(reading)
        if self._doubts is not None:
            self._doubts.note(reading)
        self._note(reading, seen)
        (judged,) = await work.changer.judge([reading], look_up=True)
        if any(one.state is State.CLEAR for _, one in judged.values()):
            return True
        row.state = "done"
        row.misfits = {name: one.why for name, (_, one) in judged.items() if one.state is State.UNFIT}
        await work.store.keep(work.tenant, RUN, [row])
        return False

    def _note(self, reading: Reading, seen: Seen, *, again: bool = False) -> None:
        """Remember which surrogates stand where; again: and that nothing else stands there."""
        changer = self._work.changer
        for name, spec in changer.declared(reading).items():
            origin = changer.origin(reading, spec)
            place = (origin.entity, origin.field, origin.record or "")
            found = changer.canonical(reading.fields[name])
            for surrogate in found:
                seen.places.setdefault(surrogate, set()).add(place)
            if again and self._whole and not reading.parent and spec.form is StorageForm.SURROGATE:
                seen.read.setdefault(place, set()).update(found)
            if self._made:
                seen.makers[origin.entity, origin.record or ""] = reading.owner

    async def _met_again(self, *, every: bool) -> tuple[list[RecordKey], Seen]:
        """Records that an import may have changed, and what earlier looks at those of the same import found."""
        if self._again is None:
            return [], Seen()
        walked = {one.entity for one in self._work.walk.entities}
        return await self._again.next(walked, every=every)

    async def _look_again(self, entity: str, record: str, seen: Seen) -> None:
        try:
            reading = await self._driver.read(self._work.walk.entity(entity), record)
        except CrmRefused:
            return
        if reading is not None and not reading.skipped:
            await self._own(reading)  # an import may give a record to somebody else
            self._note(reading, seen, again=True)

    async def _own(self, reading: Reading) -> None:
        if reading.owner and not reading.parent:
            keys = [(reading.entity.entity, reading.record)]
            keys += [(ANY_ENTITY, reading.record)] if self._single else []
            await self._records.note(self._work.tenant, keys, reading.owner, self._clock())

    async def _bind(self, seen: Seen) -> None:
        """Bind what an import brought to the new records that hold it.

        A surrogate that somebody who does not see its value has put anywhere is never bound: it may have been copied
        into a record of that person's own. Where the CRM tells who made a record, those count that the maker of the
        import made, and all of them do: who typed the value gains nothing by it. Else only one record may hold it.
        """
        tenant, again = self._work.tenant, self._again
        read = {(place[0], place[2]) for place in seen.read}
        known = await again.bound(read) if again is not None and read else set()
        pending = again.pending if again is not None else ()
        for surrogate, entity, field, cell in await self._vault.waiting(tenant, list(seen.places), IMPORTED, PASTED):
            if cell in pending:
                continue
            maker = maker_of(cell) if self._made else ""
            places = seen.made_by(surrogate, maker) if maker else seen.places[surrogate]
            mine = {place for place in places if place[0] == entity}
            if self._single and not mine:
                mine = places  # labels of a table are alike for several kinds of records
            records = sorted({record for _, _, record in mine}, key=lambda one: (len(one), one))
            new = {record for _, _, record in places if (surrogate, (entity, field, record)) not in known}
            if not mine or (not maker and new and len({record for _, _, record in places}) > 1):
                continue
            try:
                await self._vault.bind_surrogates(tenant, cell, entity, records[0], [surrogate])
            except OriginConflict:
                continue
            for place in _others(mine, (entity, field, records[0])):
                await self._vault.add_origin(tenant, surrogate, Origin(*place), cell)
        if again is not None and seen.read and not pending:
            await again.settle(seen.read)


def _others(places: set[Place], bound: Place) -> list[Place]:
    """Where else the same value of an import stands: in that field of other records, or in the one other field that the
    column went into."""
    fields = {field for _, field, _ in places}
    if bound[1] in fields:
        return sorted(place for place in places if place[1] == bound[1] and place != bound)
    return sorted(places) if len(fields) == 1 else []


async def newest(driver: NewestFirst, entity: WalkEntity) -> int:
    """The greatest id of a kind of record, 0 where there is none; asks twice for each binary digit of it."""

    async def is_after(number: int) -> bool:
        return bool((await driver.newer(entity, number, "")).ids)

    if not await is_after(0):
        return 0
    low, high = 0, 1
    while await is_after(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if await is_after(middle) else (low, middle)
    return high
