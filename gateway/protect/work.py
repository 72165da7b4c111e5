"""The steps of protecting, undoing and verifying: one record each, every one of which may be done again after a crash.

Order of a record: vault entries durable, row "placed" with what it held before (sealed), audit entry, CRM, read back,
row "done". Whatever stops in between is repaired by reading the record again and comparing keyed digests; so nothing is
done twice and nothing is lost. Values are in memory only while their record is at hand.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.protect.change import Change, Changer, NotRestorable
from gateway.protect.judge import State
from gateway.protect.reading import CrmDriver, CrmRefused, CrmUnreachable, Listed, Reading, RecordChanged
from gateway.protect.store import ProtectStore, Row
from policies.walk import Walk, WalkEntity

ATTEMPTS = 5
DONE = ("done", "refused", "gone", "skipped")


class Trail(Protocol):
    """Where every use of the service credential is written before it happens."""

    def __call__(self, operation: str, entity: str, record: str, fields: Mapping[str, Any]) -> Awaitable[None]: ...


class Pace:
    """At most so many writes a second; rate 0 means no limit."""

    def __init__(self, rate: float, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._gap = 1 / rate if rate > 0 else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next write may go."""
        if not self._gap:
            return
        now = self._clock()
        wait = self._next - now
        self._next = max(now, self._next) + self._gap
        if wait > 0:
            await self._sleep(wait)


@dataclass(slots=True)
class Checked:
    """What `verify` or the end of `undo` found: counts of fields.

    held: as the run left them; changed: changed since, still protected; clear: clear again; missing: the record is
    gone; unknown: records that no run knows.
    """

    held: int = 0
    changed: int = 0
    clear: int = 0
    missing: int = 0
    unknown: int = 0
    places: dict[str, int] = field(default_factory=dict)


class Work:
    """Works on the records of one tenant; one at a time."""

    def __init__(
        self,
        tenant: str,
        walk: Walk,
        driver: CrmDriver,
        changer: Changer,
        store: ProtectStore,
        trail: Trail,
        pace: Pace,
    ) -> None:
        self.tenant = tenant
        self.walk = walk
        self.driver = driver
        self.changer = changer
        self.store = store
        self.trail = trail
        self._pace = pace

    # -- finding -----------------------------------------------------------------------------------------------

    async def gather(self, run: str, step: int, place: str) -> Listed:
        """Note the records of one page of a list; raises CrmUnreachable, CrmSignInRefused."""
        entity = self.walk.entities[step]
        listed = await self.driver.page(entity, place)
        await self.trail("protect.list", entity.entity, "", {"count": len(listed.ids)})
        listed.new = await self.store.found(self.tenant, run, step, entity.entity, listed.ids)
        return listed

    async def index(self, run: str, row: Row) -> None:
        """Read a record and put its names and addresses into the vault."""
        entity = self.walk.entity(row.entity)
        reading = await self._read(entity, row.record)
        if reading is None or reading.skipped:
            row.state = "gone" if reading is None else "skipped"
        else:
            await self.changer.index(reading)
            row.state = "indexed"
        await self.store.keep(self.tenant, run, row)

    # -- protecting --------------------------------------------------------------------------------------------

    async def protect(self, run: str, entity_name: str, record: str) -> str:
        """Protect one record; its state afterwards. Raises CrmUnreachable, KeysUnavailable, StoreUnavailable."""
        row = await self.store.row(self.tenant, run, entity_name, record)
        if row is None or row.state in DONE:
            return row.state if row is not None else "gone"
        entity = self.walk.entity(entity_name)
        for _ in range(ATTEMPTS):
            try:
                await self._protect_once(run, row, entity)
                return row.state
            except RecordChanged:
                continue
            except CrmRefused as fault:
                if not self._narrowed(row, fault):
                    row.state, row.kept = "refused", None
                    row.misfits |= dict.fromkeys(fault.fields or ["record"], fault.problem)
                    row.fields = {}
                    await self.store.keep(self.tenant, run, row)
                    return row.state
        raise CrmUnreachable("a record keeps changing while it is being protected")

    async def _protect_once(self, run: str, row: Row, entity: WalkEntity) -> None:
        reading = await self._read(entity, row.record)
        if reading is None or reading.skipped:
            row.state, row.kept = ("gone" if reading is None else "skipped"), None
            await self.store.keep(self.tenant, run, row)
            return
        settled: dict[str, Any] = {}
        if row.state == "placed":
            settled, reading = await self._repair(row, reading)
        change = await self.changer.change(reading)
        self._leave_out(row, change)
        row.misfits |= change.misfits
        row.fields = {**settled, **change.fields}
        if change.new:
            row.state, row.kept = "placed", change.kept
            await self.store.keep(self.tenant, run, row, write=True)
            written = sorted(".".join(change.fields[name]["field"][:2]) for name in change.new)
            await self._write("protect.write", reading, change.new, {"written": written, "tokenised": change.counts})
            await self._check(row, entity, reading, change)
        row.state, row.kept = "done", None
        await self.store.keep(self.tenant, run, row)

    async def _check(self, row: Row, entity: WalkEntity, before: Reading, change: Change) -> None:
        """Read back; what the CRM did not store as it was sent gets its old value again and is reported."""
        back = await self._read(entity, row.record)
        if back is None:
            raise RecordChanged
        damaged: dict[str, str] = {}
        for name, sent in change.new.items():
            got = back.fields.get(name)
            problem = self._difference(sent, got)
            if got is not None and not problem:
                row.fields[name] = await self.changer.noted(row.fields[name], back, name, got)
                continue
            row.misfits[name] = problem or "not-stored"
            damaged[name] = before.fields[name]
            del row.fields[name]
        for name in before.fields.keys() - change.new.keys():
            if back.fields.get(name) != before.fields[name]:
                row.misfits.setdefault(name, "changed-by-crm")
        if damaged:
            old = {name: text for name, text in damaged.items() if name in back.fields}
            await self._write("protect.put_back", back, old, {"written": sorted(old)})
            await self._require_back(entity, row, old)

    async def _require_back(self, entity: WalkEntity, row: Row, wanted: Mapping[str, str]) -> None:
        again = await self._read(entity, row.record)
        if again is None or any(again.fields.get(name, "").strip() != text.strip() for name, text in wanted.items()):
            raise CrmUnreachable("the CRM kept neither the surrogate nor the value that was there")

    async def _repair(self, row: Row, reading: Reading) -> tuple[dict[str, Any], Reading]:
        """After a crash between vault and "done": what is written already stays, what was damaged is put back."""
        kept = await self.changer.kept(row, reading)
        settled: dict[str, Any] = {}
        broken: dict[str, str] = {}
        for name, given in row.fields.items():
            got = reading.fields.get(name)
            if got is None or await self.changer.stands(row, reading, name) == "before":
                continue
            if await self.changer.stands(row, reading, name) == "after":
                settled[name] = given
            elif name in kept:
                before, sent = kept[name]
                problem = self._difference(sent, got)
                if not problem:
                    settled[name] = await self.changer.noted(given, reading, name, got)
                elif self._is_damaged(sent, got):
                    broken[name] = before
                    row.misfits[name] = problem
        if broken:
            await self._write("protect.put_back", reading, broken, {"written": sorted(broken)})
            await self._require_back(reading.entity, row, broken)
            again = await self._read(reading.entity, row.record)
            if again is None:
                raise RecordChanged
            reading = again
        return settled, reading

    async def _write(self, operation: str, reading: Reading, new: Mapping[str, str], fields: Mapping[str, Any]) -> None:
        """Audit, wait for the turn, write; in this order."""
        await self.trail(operation, reading.entity.entity, reading.record, fields)
        await self._pace.turn()
        await self.driver.write(reading, new)

    def _is_damaged(self, sent: str, got: str) -> bool:
        """Whether the CRM made this of what was sent; else somebody typed it."""
        return not got or self._difference(sent, got) in ("truncated", "changed-case")

    def _difference(self, sent: str, got: str | None) -> str:
        """Why what came back is not what was sent; "" when it is, or differs in nothing but spelling of surrogates."""
        if got == sent:
            return ""
        if got is None:
            return "not-stored"
        if self.walk.trims and got == sent.strip():
            return ""
        if self.changer.canonical(got) == self.changer.canonical(sent) != [] and len(got) >= len(sent.strip()):
            return ""
        if got and sent.startswith(got):
            return "truncated"
        if got.casefold() == sent.casefold():
            return "changed-case"
        if got.strip() == sent.strip():
            return "trimmed"
        return "not-stored"

    def _leave_out(self, row: Row, change: Change) -> None:
        """Fields that did not fit before are not tried again in this run."""
        for name in list(change.new):
            if name in row.misfits:
                del change.new[name]
                del change.fields[name]

    def _narrowed(self, row: Row, fault: CrmRefused) -> bool:
        """Whether the record can be tried again without the fields the CRM complains about."""
        named = [name for name in fault.fields if name in row.fields and name not in row.misfits]
        row.misfits |= dict.fromkeys(named, "refused-by-crm")
        row.fields = {name: given for name, given in row.fields.items() if name not in named}
        return bool(named)

    # -- the way back ------------------------------------------------------------------------------------------

    async def undo(self, run: str, entity_name: str, record: str) -> str:
        """Restore one record and prove it; its state afterwards."""
        row = await self.store.row(self.tenant, run, entity_name, record)
        if row is None or row.state not in ("done", "placed", "undoing"):
            return row.state if row is not None else "gone"
        entity = self.walk.entity(entity_name)
        for _ in range(ATTEMPTS):
            try:
                await self._undo_once(run, row, entity)
                return row.state
            except RecordChanged:
                continue
            except CrmRefused as fault:
                row.state, row.misfits = "differs", dict.fromkeys(fault.fields or ["record"], f"undo-{fault.problem}")
                await self.store.keep(self.tenant, run, row)
                return row.state
        raise CrmUnreachable("a record keeps changing while it is being restored")

    async def _undo_once(self, run: str, row: Row, entity: WalkEntity) -> None:
        reading = await self._read(entity, row.record)
        if reading is None:
            row.state = "gone"
            await self.store.keep(self.tenant, run, row)
            return
        new: dict[str, str] = {}
        proved: set[str] = set()
        misfits: dict[str, str] = {}
        kept = await self.changer.kept(row, reading)
        for name in row.fields:
            if name not in reading.fields or await self.changer.is_before(row, reading, name):
                continue
            try:
                if name in kept and self._is_damaged(kept[name][1], reading.fields[name]):
                    back, sure = kept[name][0], True
                else:
                    back, sure = await self.changer.before(row, reading, name)
            except NotRestorable as fault:
                misfits[name] = f"undo-{fault.problem}"
                continue
            if back != reading.fields[name]:
                new[name] = back
            if sure:
                proved.add(name)
        if new:
            row.state = "undoing"
            await self.store.keep(self.tenant, run, row, write=True)
            written = sorted({".".join(row.fields[name]["field"][:2]) for name in new})
            await self._write("protect.undo", reading, new, {"written": written})
        await self._close_undo(run, row, entity, misfits, proved, new)

    async def _close_undo(
        self, run: str, row: Row, entity: WalkEntity, misfits: dict[str, str], proved: set[str], new: Mapping[str, str]
    ) -> None:
        back = await self._read(entity, row.record)
        if back is None:
            row.state = "gone"
        else:
            for name in proved:
                if not await self.changer.is_before(row, back, name):
                    trimmed = back.fields.get(name, "").strip() == new.get(name, "").strip()
                    misfits[name] = "undo-trimmed" if trimmed else "undo-not-stored"
            for name in new.keys() - proved:
                # What is kept outside the CRM is forgotten afterwards, so it has to be in the CRM now.
                if "form" in row.fields[name] and back.fields.get(name) != new[name]:
                    misfits[name] = "undo-not-stored"
            if left := self.changer.left(row, back):
                misfits["record"] = f"undo-left:{left}"
            row.state = "differs" if misfits else "restored"
        row.misfits, row.kept = misfits, None
        await self.store.keep(self.tenant, run, row)

    # -- verifying ---------------------------------------------------------------------------------------------

    async def verify(self, run: str) -> Checked:
        """Read every record of a run again and compare."""
        checked = Checked()
        async for row in self.store.rows(self.tenant, run, ("done", "refused")):
            reading = await self._read(self.walk.entity(row.entity), row.record)
            if reading is None:
                checked.missing += len(row.fields)
                continue
            judged = await self.changer.judge(reading, look_up=True)
            for name, (spec, one) in judged.items():
                if one.state is State.CLEAR and name not in row.misfits:
                    checked.clear += 1
                    place = f"{spec.entity}.{spec.name}"
                    checked.places[place] = checked.places.get(place, 0) + 1
                elif name in row.fields and await self.changer.stands(row, reading, name) == "after":
                    checked.held += 1
                elif name in row.fields:
                    checked.changed += 1
        return checked

    async def _read(self, entity: WalkEntity, record: str) -> Reading | None:
        return await self.driver.read(entity, record)


def steady(rate: float) -> Pace:
    """The pace of the wall clock."""
    return Pace(rate, asyncio.get_running_loop().time, asyncio.sleep)
