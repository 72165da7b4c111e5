"""What each vault entry shows to one viewer, remembered as long as it holds.

A verdict holds for this very entry (its origins included), this view and CRM user, and no longer than the knowledge
about owners it rests on: until that has to be read again, or until any owner changed. What depends on the exchange
itself (the spelling in the record at hand, values typed in it) is settled each time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.body.shortcut import Ready, ready
from gateway.exchange import Exchange
from gateway.facts import RecordFacts, asks_team
from gateway.records import Records
from gateway.settle import NO_FACTS, NOWHERE, records_of, settle
from kms.tokens import Origin, VaultEntry
from policies.decision import FieldView, Form
from privacy import mask
from privacy.render import Shown

Key = tuple[str, str, str, str]
"""Entity, field, record or "", name of the form."""
PLACEHOLDER = "••••••"  # six bullets whatever the length: the length of a hidden value is not shown either
_ALWAYS = datetime.max.replace(tzinfo=UTC)
_MOST = 100_000  # verdicts, and shown values, of all viewers together


class Viewer(NamedTuple):
    """What rendering needs to know of the person who asked."""

    view: FieldView
    tenant: str
    crm_user: str | None
    mask_char: str
    facts: RecordFacts = NO_FACTS


class Verdict(NamedTuple):
    """How an entry is shown and until when.

    shown, ready: None where the exchange decides how it is spelled; counted: key of the trail; beside: keys of the
    other fields of the same record that hold this value, so that whoever saw it saw those, too.
    """

    entry: VaultEntry
    until: datetime
    form: Form
    shown: Shown | None
    counted: Key
    ready: Ready | None
    beside: tuple[Key, ...] = ()


@dataclass(slots=True)
class _Held:
    """Verdicts for one viewer; the view itself keeps its identity from being given to another."""

    view: FieldView
    generation: int
    verdicts: dict[str, Verdict] = field(default_factory=dict)


class Verdicts:
    """Verdicts of one process; nothing in it outlives the vault entry it was made of being replaced."""

    def __init__(self, records: Records, clock: Callable[[], datetime]) -> None:
        self._records = records
        self._clock = clock
        self._viewers: dict[tuple[int, str, str | None, str], _Held] = {}
        self._size = 0
        self._shown: dict[tuple[str, Form, str, str], Shown] = {}

    async def of(self, viewer: Viewer, entries: Mapping[str, VaultEntry]) -> dict[str, Verdict]:
        """The verdict of every entry, by surrogate; raises StoreUnavailable when an owner cannot be asked for."""
        now = self._clock()
        if viewer.view.criteria:
            return await self._of_records(viewer, entries, now)
        known = self._held(viewer).verdicts
        table: dict[str, Verdict] = {}
        missing: list[str] = []
        for canonical, entry in entries.items():
            verdict = known.get(canonical)
            if verdict is not None and verdict[0] is entry and verdict[1] > now:
                table[canonical] = verdict
            else:
                missing.append(canonical)
        if missing:
            generation = self._records.generation
            if _asks(viewer):
                await self._records.load(viewer.tenant, records_of(entries[one] for one in missing), now)
            changed = self._records.generation != generation
            self._settle(viewer, entries, entries if changed else missing, table)
        return table

    async def _of_records(self, viewer: Viewer, entries: Mapping[str, VaultEntry], now: datetime) -> dict[str, Verdict]:
        """The same where it depends on what this very answer tells of records: nothing of it is remembered."""
        wanted = records_of(entries.values())
        await self._records.load(viewer.tenant, wanted, now, team=asks_team(viewer.view))
        return {canonical: self._verdict(viewer, entry, self._clock()) for canonical, entry in entries.items()}

    def known(
        self,
        view: FieldView,
        tenant: str,
        crm_user: str | None,
        mask_char: str,
        found: Sequence[str],
        entries: Mapping[str, VaultEntry],
    ) -> list[Verdict] | None:
        """The verdicts of these surrogates in order, where every one is remembered and holds; None otherwise."""
        held = self._viewers.get((id(view), tenant, crm_user, mask_char))
        if held is None or held.generation != self._records.generation:
            return None
        now = self._clock()
        known = held.verdicts
        verdicts: list[Verdict] = []
        add = verdicts.append
        for canonical in found:
            verdict = known.get(canonical)
            if verdict is None or verdict[0] is not entries.get(canonical) or verdict[1] <= now:
                return None
            add(verdict)
        return verdicts

    def shown(self, entry: VaultEntry, form: Form, exchange: Exchange, mask_char: str) -> Shown:
        """The entry in one form, spelled as in the record the exchange is about."""
        return self._written(entry, form, spelling(entry, exchange), mask_char)

    def _held(self, viewer: Viewer) -> _Held:
        key = (id(viewer.view), viewer.tenant, viewer.crm_user, viewer.mask_char)
        held = self._viewers.get(key)
        generation = self._records.generation
        if held is None or held.generation != generation:
            if held is not None:
                self._size -= len(held.verdicts)
            held = self._viewers[key] = _Held(viewer.view, generation)
        return held

    def _settle(
        self, viewer: Viewer, entries: Mapping[str, VaultEntry], wanted: Iterable[str], table: dict[str, Verdict]
    ) -> None:
        """Decide anew for these entries; what their owners say was loaded just now."""
        now = self._clock()
        if self._size > _MOST or len(self._viewers) > _MOST:
            self._viewers.clear()
            self._size = 0
        known = self._held(viewer).verdicts
        self._size -= len(known)
        for canonical in wanted:
            table[canonical] = known[canonical] = self._verdict(viewer, entries[canonical], now)
        self._size += len(known)

    def _verdict(self, viewer: Viewer, entry: VaultEntry, now: datetime) -> Verdict:
        if viewer.view.sees_everything:
            form, origin = Form.CLEAR, entry.origins[0] if entry.origins else NOWHERE
        else:
            form, origin = settle(entry, viewer.view, self._records, viewer.tenant, viewer.crm_user, now, viewer.facts)
        until = _ALWAYS
        if _asks(viewer):
            for entity, record in records_of([entry]):
                until = min(until, self._records.until(viewer.tenant, entity, record, now))
        shown = None if entry.spellings else self._written(entry, form, entry.clear, viewer.mask_char)
        counted = (origin.entity, origin.field, origin.record or "", form.name)
        prepared = None if shown is None else ready(entry.surrogate, shown)
        return Verdict(entry, until, form, shown, counted, prepared, _beside(entry, origin, form))

    def _written(self, entry: VaultEntry, form: Form, text: str, mask_char: str) -> Shown:
        key = (entry.surrogate, form, mask_char, text)
        shown = self._shown.get(key)
        if shown is None:
            if len(self._shown) > _MOST:
                self._shown.clear()
            shown = self._shown[key] = _written(entry, form, text, mask_char)
        return shown


def spelling(entry: VaultEntry, exchange: Exchange) -> str:
    """The value as it was typed into the record this exchange is about, else as everywhere, else as first typed."""
    operation = exchange.operation
    if entry.spellings and operation is not None and operation.record:
        for origin in entry.origins:
            if origin.entity == operation.entity and origin.record == operation.record:
                return entry.spellings.get((origin.entity, origin.field, origin.record), entry.clear)
    if not entry.spellings:
        return entry.clear
    places = [(one.entity, one.field, one.record) for one in entry.origins if one.record is not None]
    spelled = {entry.spellings.get(place, entry.clear) for place in places}
    return spelled.pop() if len(spelled) == 1 else entry.clear


def _beside(entry: VaultEntry, by: Origin, form: Form) -> tuple[Key, ...]:
    """Keys of the other fields of the record: of other records nobody says that this person was looking at them."""
    if len(entry.origins) < 2 or not by.record:
        return ()
    fields = {one.field for one in entry.origins if (one.entity, one.record) == (by.entity, by.record)} - {by.field}
    return tuple((by.entity, field, by.record, form.name) for field in sorted(fields))


def _asks(viewer: Viewer) -> bool:
    """Whether it matters to this viewer who owns a record."""
    return viewer.crm_user is not None and not viewer.view.sees_everything


def _written(entry: VaultEntry, form: Form, text: str, mask_char: str) -> Shown:
    if form is Form.HIDDEN:
        return Shown(form, PLACEHOLDER, entry.surrogate)
    if form is Form.CLEAR:
        return Shown(form, text, text)
    return Shown(form, mask.mask(entry.kind, text, char=mask_char), mask.wire_mask(entry.kind, text, entry.surrogate))
