"""The steps of protecting, undoing and verifying: some records together, each of which may be done again after a crash.

Order of a record: vault entries durable, row "placed" with what it held before (sealed), audit entry, CRM, read back,
row "done". Whatever stops in between is repaired by reading the record again and comparing keyed digests; so nothing is
done twice and nothing is lost. Vault and progress are written for all of them at once, the CRM for each by itself.
Values are in memory only while their records are at hand.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.protect.change import Change, Changer, NotRestorable
from gateway.protect.judge import State
from gateway.protect.pace import Pace
from gateway.protect.reading import CrmDriver, CrmRefused, CrmUnreachable, Listed, Reading, RecordChanged
from gateway.protect.several import several
from gateway.protect.store import ProtectStore, Row
from policies.walk import Walk, WalkEntity

ATTEMPTS = 5


class Trail(Protocol):
    """Where every use of the service credential is written before it happens."""

    def __call__(self, operation: str, entity: str, record: str, fields: Mapping[str, Any]) -> Awaitable[None]: ...


@dataclass(slots=True)
class Checked:
    """What `verify` or the end of `undo` found: counts of fields.

    held: as the run left them; changed: changed since, still protected; clear: clear again; left: clear because they
    did not fit; missing: the record is gone; unknown: records that no run knows.
    """

    held: int = 0
    changed: int = 0
    clear: int = 0
    left: int = 0
    missing: int = 0
    unknown: int = 0
    places: dict[str, int] = field(default_factory=dict)


class Work:
    """Works on the records of one tenant."""

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

    @property
    def batch(self) -> int:
        """How many records are worked on together: what is best for the CRM, and no more than a second's writes."""
        return max(1, min(self.driver.batch, int(self._pace.rate))) if self._pace.rate else self.driver.batch

    # -- finding -----------------------------------------------------------------------------------------------

    async def gather(self, run: str, step: int, place: str) -> Listed:
        """Note the records of one page of a list; raises CrmUnreachable, CrmSignInRefused."""
        entity = self.walk.entities[step]
        listed = await self.driver.page(entity, place)
        await self.trail("protect.list", entity.entity, "", {"count": len(listed.ids)})
        listed.new = await self.store.found(self.tenant, run, step, entity.entity, listed.ids)
        return listed

    async def index(self, run: str, rows: Sequence[Row]) -> None:
        """Read records and put their names and addresses into the vault."""
        readings = await self._read_all(rows)
        await self.changer.index([one for one in readings if one is not None and not one.skipped])
        for row, reading in zip(rows, readings, strict=True):
            row.state = _ended(reading) or "indexed"
        await self.store.keep(self.tenant, run, rows)

    # -- protecting --------------------------------------------------------------------------------------------

    async def protect(self, run: str, rows: Sequence[Row]) -> None:
        """Protect these records; raises CrmUnreachable, KeysUnavailable, StoreUnavailable."""
        await self._until_done(rows, lambda waiting: self._protect_once(run, waiting))

    async def _until_done(self, rows: Sequence[Row], once: Callable[[Sequence[Row]], Awaitable[Sequence[Row]]]) -> None:
        """Do what `once` does until it names no record that has to be done again."""
        for _ in range(ATTEMPTS):
            if not rows:
                return
            rows = await once(rows)
        if rows:
            raise CrmUnreachable("a record keeps changing while it is worked on")

    async def _protect_once(self, run: str, rows: Sequence[Row]) -> Sequence[Row]:
        """One attempt; the rows that have to be tried again."""
        opened = await several(rows, self._opened, self.driver.at_once)
        changes = await self.changer.change([one.reading for one in opened if one.reading is not None])
        again, over, writing = [one.row for one in opened if one.changed], [], []
        given = iter(changes)
        for one in opened:
            row = one.row
            if one.reading is None:
                over += [] if one.changed else [row]
                continue
            change = next(given)
            self._leave_out(row, change)
            row.misfits |= change.misfits
            row.fields = {**one.settled, **change.fields}
            if change.new:
                row.state, row.kept = "placed", change.kept
                writing.append((row, one.reading, change))
            else:
                row.state, row.kept = "done", None
                over.append(row)
        await self.store.keep(self.tenant, run, [row for row, _, _ in writing], write=True)
        told = await several(writing, lambda one: self._write_checked(*one), self.driver.at_once)
        again += [row for (row, _, _), done in zip(writing, told, strict=True) if not done]
        over += [row for (row, _, _), done in zip(writing, told, strict=True) if done]
        await self.store.keep(self.tenant, run, over)
        return again

    async def _opened(self, row: Row) -> "_Opened":
        """A record as it stands, mended where a crash left it between vault and "done"."""
        reading = await self.driver.read(self.walk.entity(row.entity), row.record)
        ended = _ended(reading)
        if reading is None or ended:
            row.state, row.kept = ended, None
            return _Opened(row)
        if row.state != "placed":
            return _Opened(row, reading)
        try:
            settled, reading = await self._repair(row, reading)
        except RecordChanged:
            return _Opened(row, changed=True)
        return _Opened(row, reading, settled)

    async def _write_checked(self, row: Row, reading: Reading, change: Change) -> bool:
        """Write one record and read it back; whether it is over, or has to be tried again."""
        written = sorted(".".join(change.fields[name]["field"][:2]) for name in change.new)
        try:
            await self._write("protect.write", reading, change.new, {"written": written, "tokenised": change.counts})
            await self._check(row, reading.entity, reading, change)
        except RecordChanged:
            return False
        except CrmRefused as fault:
            if self._narrowed(row, fault):
                return False
            row.misfits |= dict.fromkeys(fault.fields or ["record"], fault.problem)
            row.state, row.kept, row.fields = "refused", None, {}
            return True
        row.state, row.kept = "done", None
        return True

    async def _check(self, row: Row, entity: WalkEntity, before: Reading, change: Change) -> None:
        """Read back; what the CRM did not store as it was sent gets its old value again and is reported."""
        back = await self.driver.read(entity, row.record)
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
        again = await self.driver.read(entity, row.record)
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
            again = await self.driver.read(reading.entity, row.record)
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

    async def undo(self, run: str, rows: Sequence[Row]) -> None:
        """Restore these records and prove it."""
        await self._until_done(rows, lambda waiting: self._undo_once(run, waiting))

    async def _undo_once(self, run: str, rows: Sequence[Row]) -> Sequence[Row]:
        """One attempt; the rows that have to be tried again."""
        await self.changer.warm(rows)
        backs = await several(rows, self._way_back, self.driver.at_once)
        writing = [one for one in backs if one.new]
        for one in writing:
            one.row.state = "undoing"
        await self.store.keep(self.tenant, run, [one.row for one in writing], write=True)
        told = await several(backs, self._put_back, self.driver.at_once)
        await self.store.keep(self.tenant, run, [one.row for one, done in zip(backs, told, strict=True) if done])
        return [one.row for one, done in zip(backs, told, strict=True) if not done]

    async def _way_back(self, row: Row) -> "_Back":
        """What has to be written so that a record holds again what it held."""
        found = _Back(row, await self.driver.read(self.walk.entity(row.entity), row.record))
        reading = found.reading
        if reading is None:
            return found
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
                found.misfits[name] = f"undo-{fault.problem}"
                continue
            if back != reading.fields[name]:
                found.new[name] = back
            if sure:
                found.proved.add(name)
        return found

    async def _put_back(self, one: "_Back") -> bool:
        """Write a record and see whether it holds what it held; whether it is over, or has to be tried again."""
        row, reading = one.row, one.reading
        if reading is None:
            row.state = "gone"
            return True
        try:
            if one.new:
                written = sorted({".".join(row.fields[name]["field"][:2]) for name in one.new})
                await self._write("protect.undo", reading, one.new, {"written": written})
            await self._close_undo(one, reading)
        except RecordChanged:
            return False
        except CrmRefused as fault:
            row.state, row.misfits = "differs", dict.fromkeys(fault.fields or ["record"], f"undo-{fault.problem}")
        return True

    async def _close_undo(self, one: "_Back", reading: Reading) -> None:
        row, misfits = one.row, one.misfits
        back = await self.driver.read(reading.entity, row.record) if one.new else reading
        if back is None:
            row.state = "gone"
        else:
            for name in one.proved:
                if not await self.changer.is_before(row, back, name):
                    trimmed = back.fields.get(name, "").strip() == one.new.get(name, "").strip()
                    misfits[name] = "undo-trimmed" if trimmed else "undo-not-stored"
            for name in one.new.keys() - one.proved:
                # What is kept outside the CRM is forgotten afterwards, so it has to be in the CRM now.
                if "form" in row.fields[name] and back.fields.get(name) != one.new[name]:
                    misfits[name] = "undo-not-stored"
            if left := self.changer.left(row, back):
                misfits["record"] = f"undo-left:{left}"
            row.state = "differs" if misfits else "restored"
        row.misfits, row.kept = misfits, None

    # -- verifying ---------------------------------------------------------------------------------------------

    async def verify(self, run: str) -> Checked:
        """Read every record of a run again and compare."""
        checked = Checked()
        rows: list[Row] = []
        async for row in self.store.rows(self.tenant, run, ("done", "refused")):
            rows.append(row)
            if len(rows) == self.driver.batch:
                await self._verify(rows, checked)
                rows = []
        await self._verify(rows, checked)
        return checked

    async def _verify(self, rows: Sequence[Row], checked: Checked) -> None:
        found: list[tuple[Row, Reading]] = []
        for row, reading in zip(rows, await self._read_all(rows), strict=True):
            if reading is None:
                checked.missing += len(row.fields)
            else:
                found.append((row, reading))
        judged = await self.changer.judge([reading for _, reading in found], look_up=True)
        for (row, reading), fields in zip(found, judged, strict=True):
            for name, (spec, one) in fields.items():
                if one.state is State.UNFIT or (one.state is State.CLEAR and name in row.misfits):
                    checked.left += 1
                elif one.state is State.CLEAR:
                    checked.clear += 1
                    place = f"{spec.entity}.{spec.name}"
                    checked.places[place] = checked.places.get(place, 0) + 1
                elif name in row.fields and await self.changer.stands(row, reading, name) == "after":
                    checked.held += 1
                elif name in row.fields:
                    checked.changed += 1

    async def _read_all(self, rows: Sequence[Row]) -> list[Reading | None]:
        return await several(
            rows, lambda row: self.driver.read(self.walk.entity(row.entity), row.record), self.driver.at_once
        )


@dataclass(slots=True)
class _Opened:
    """A record about to be protected. reading: None when it is over or changed; settled: fields that are done."""

    row: Row
    reading: Reading | None = None
    settled: dict[str, Any] = field(default_factory=dict)
    changed: bool = False


@dataclass(slots=True)
class _Back:
    """The way back of a record. new: what to write; proved: fields whose old text is certain; misfits: name → why."""

    row: Row
    reading: Reading | None
    new: dict[str, str] = field(default_factory=dict, repr=False)
    proved: set[str] = field(default_factory=set)
    misfits: dict[str, str] = field(default_factory=dict)


def _ended(reading: Reading | None) -> str:
    """The state of a row whose record is gone or is left alone, else ""."""
    return "gone" if reading is None else "skipped" if reading.skipped else ""
