"""Values beside the CRM of which nobody is sure, settled by the gateway's own look under the service credential.

An answer of the CRM that never came leaves open whether it took a date, and of which record a create was; an answer to
a deletion does not say whether the record is only in the trash. What the gateway itself reads says it: which
placeholder stands, that a record holds what an exchange brought, that it is gone. Nobody's page is evidence for it.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from gateway.protect.reading import CrmDriver, CrmRefused, Reading
from gateway.protect.work import Work
from gateway.standing import PASTED
from kms.beside import Beside
from kms.beside_store import BesideRow
from kms.tokens import OriginConflict, SurrogateVault
from policies.date_format import read_date
from policies.operation import FieldSpec, StorageForm
from policies.placeholder import generation
from policies.walk import WalkEntity

AT_ONCE = 20  # records of one turn
MOST = 500  # unsure records, and values of creates, that one turn chooses from
FIRST_S, LAST_S = 15.0, 3600.0  # between two looks at one record, twice as long each time
STAYS = timedelta(minutes=10)  # so long after somebody asked for its end a record is there: the CRM did not take that
Pauses = dict[tuple[str, str, datetime], tuple[float, float]]  # record and since when → next look (clock), its pause
Places = Mapping[str, set[tuple[str, str, str]]]  # surrogate → (entity, field, record)


class Looks(CrmDriver, Protocol):
    """A driver that can tell a record that is gone from one in the trash."""

    async def gone(self, entity: WalkEntity, record: str) -> bool:
        """Whether the CRM has no such record any more, not in its trash either; False where it cannot tell."""
        ...


class Doubts:
    """What is not sure in one tenant; made anew for each turn.

    pauses: what turns remember of records in the trash and the like, so that these are looked at ever more rarely;
    clock: monotonic seconds.
    """

    def __init__(
        self,
        work: Work,
        driver: Looks,
        vault: SurrogateVault,
        beside: Beside,
        pauses: Pauses | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._driver = driver
        self._vault = vault
        self._beside = beside
        self._pauses: Pauses = {} if pauses is None else pauses
        self._clock = clock
        self._stands: dict[tuple[str, str, str], int] = {}

    async def settle(self) -> int:
        """Look at some records; how many.

        Raises CrmUnreachable, CrmSignInRefused, StoreUnavailable, AuditUnavailable.
        """
        work = self._work
        walked = {one.entity for one in work.walk.entities}
        unsure = await self._beside.store.unsure(work.tenant, MOST)
        due = self._due([(*one, since) for one, since in unsure.items() if one[0] in walked])
        if due:
            await work.trail("arrivals.read", due[0][0], "", {"count": len(due)})
        for entity, record in due:
            await self._settle(entity, record)
        return len(due)

    def _due(self, unsure: list[tuple[str, str, datetime]]) -> list[tuple[str, str]]:
        """Those whose pause is over; what is asked for anew is another one."""
        now = self._clock()
        for one in self._pauses.keys() - set(unsure):
            del self._pauses[one]
        due = [one for one in unsure if self._pauses.get(one, (now, 0.0))[0] <= now][:AT_ONCE]
        for one in due:
            pause = min(2 * self._pauses[one][1] if one in self._pauses else FIRST_S, LAST_S)
            self._pauses[one] = now + pause, pause
        return [(entity, record) for entity, record, _ in due]

    async def _settle(self, entity: str, record: str) -> None:
        tenant, store = self._work.tenant, self._beside.store
        walked = self._work.walk.entity(entity)
        try:
            reading = await self._driver.read(walked, record)
            if reading is None:
                if await self._driver.gone(walked, record):
                    await store.drop_record(tenant, entity, record)
                return
        except CrmRefused:
            return
        await store.note_stays(tenant, entity, record, STAYS)
        for name, spec in self._dates(reading):
            text = reading.fields[name].strip()
            number = _generation(spec, text)
            if number is not None or not text:
                await self._beside.seen(tenant, entity, spec.name, record, number)

    def note(self, reading: Reading) -> None:
        """Remember which placeholders stand in a new record."""
        for name, spec in self._dates(reading):
            number = _generation(spec, reading.fields[name])
            if number is not None:
                self._stands[reading.entity.entity, spec.name, reading.record] = number

    async def bind(self, seen: Places) -> None:
        """Bind the creates whose answer never came to the one new record that holds everything they brought.

        As with imports, one of whose surrogates somebody has put somewhere who does not see its value is never bound.
        """
        tenant, store = self._work.tenant, self._beside.store
        waiting = await store.every_waiting(tenant, MOST) if seen else []
        if not waiting:
            return
        brought = await store.surrogates_of_cells(tenant, sorted({row.cell for row in waiting}))
        open_ = {(one, cell) for one, _, _, cell in await self._vault.waiting(tenant, list(seen), "", PASTED)}
        rows: dict[tuple[str, str], list[BesideRow]] = {}
        for row in waiting:
            rows.setdefault((row.cell, row.entity), []).append(row)
        for (cell, entity), some in rows.items():
            surrogates = brought.get((cell, entity), set())
            if not surrogates or not all((one, cell) in open_ for one in surrogates):
                continue
            record = _holder_of(surrogates, entity, seen)
            if record and await self._fits(some, entity, record):
                try:
                    await self._vault.bind(tenant, cell, entity, record)
                except OriginConflict:
                    continue
                await self._beside.bind(tenant, cell, entity, record)

    async def _fits(self, rows: list[BesideRow], entity: str, record: str) -> bool:
        """Whether a record holds the placeholders of these values, and nothing else is kept for it."""
        for row in rows:
            if self._stands.get((entity, row.field, record)) != row.generation:
                return False
            if await self._beside.store.beside(self._work.tenant, entity, row.field, [record]):
                return False
        return True

    def _dates(self, reading: Reading) -> list[tuple[str, FieldSpec]]:
        changer, entity = self._work.changer, reading.entity.entity
        return [
            (name, spec)
            for name, spec in changer.declared(reading).items()
            if spec.form is StorageForm.BESIDE and spec.entity == entity
        ]


def _generation(spec: FieldSpec, text: str) -> int | None:
    read = read_date(spec.dates, text)
    assert spec.placeholder is not None
    return None if read is None else generation(spec.placeholder, read[0])


def _holder_of(surrogates: set[str], entity: str, seen: Places) -> str:
    """The one new record that holds all of these, one of which no other new record holds; "" where there is none."""
    records = [{record for kind, _, record in seen.get(one, ()) if kind == entity} for one in surrogates]
    common = set.intersection(*records)
    return next(iter(common)) if len(common) == 1 and common in records else ""
