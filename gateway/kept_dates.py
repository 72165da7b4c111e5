"""The way in for dates that are kept beside the CRM, which gets a placeholder: the day of a generation.

A new date is offered under a generation that its record does not have, so what stands in the CRM afterwards tells which
date it took, whether or not its answer came. What comes back as it was shown, placeholder or mask, keeps what stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from gateway.body.leaf import Leaf
from gateway.exchange import Exchange, Kept
from gateway.refusal import FIELD_NOT_WRITABLE, MASK_RETURNED, NEEDS_RECORD, VALUE_INVALID, Reason, Refusal
from gateway.sight import Sight
from gateway.typed import merges
from gateway.unchanged import shown_text
from gateway.verdict import PLACEHOLDER
from kms.beside import Beside, Candidate, GenerationsUsed, standing
from policies.date_format import read_date
from policies.decision import Form
from policies.operation import FieldSpec, StorageForm
from policies.placeholder import DAYS, generation, placeholder
from policies.profile import Action
from privacy import mask

Stored = Mapping[str, Sequence[Candidate]]


class KeptDates:
    """Keeps what comes in for fields of the form `beside`; one per process."""

    def __init__(self, beside: Beside, sight: Sight) -> None:
        self._beside = beside
        self._sight = sight

    async def take(
        self,
        exchange: Exchange,
        leaf: Leaf,
        spec: FieldSpec,
        records: Sequence[str],
        mask_char: str,
        *,
        writes: bool,
        path: tuple[str, ...] | None = None,
    ) -> None:
        """Set `leaf.new` where the CRM must get something else; raises Refusal, KeysUnavailable, StoreUnavailable.

        path: where the leaf stands in the body itself (Target.path).
        """
        text, first = leaf.text.strip(), spec.placeholder
        assert first is not None
        stored = await self._stored(exchange, spec, records) if writes else {}
        may = self._sight.may_write(exchange, spec, records)
        if any(len(some) > 1 or not some[0].accepted for some in stored.values() if some) and (
            not may or (exchange.showing is not None and _comes_back(spec, text))
        ):
            reason = MASK_RETURNED if may else FIELD_NOT_WRITABLE
            stored = await self._told(exchange, spec, stored, path, reason)
            if not stored and _comes_back(spec, text):
                raise Refusal(reason, fields=(spec.name,))  # the field is empty: no date of before comes back
        if stored and merges(exchange.operation):
            await self._beside.store.note_leaving(exchange.tenant, records, [spec.entity])  # all but one of them end
        if not text:
            if writes:
                self._empty(exchange, spec, stored, may=may)
            return
        if text == PLACEHOLDER or mask.looks_masked(text):
            came = await self._masked(exchange, spec, records, stored, text, mask_char)
            leaf.new = spec.dates[0].write(placeholder(first, came))
            return
        found = read_date(spec.dates, text)
        if found is None:
            if any(sign.isdigit() for sign in text):
                raise Refusal(VALUE_INVALID, detail="date", fields=(spec.name,))
            return  # no date in any spelling: the CRM's own validator says so, with the form intact
        day, spelled = found
        number = generation(first, day)
        if number is not None:
            if writes:
                leaf.new = spelled.write(placeholder(first, await self._back(exchange, spec, records, stored, number)))
            return
        exchange.retyped[spec.entity, spec.name] = text
        number = await self._keep(exchange, spec, records, stored, day) if writes else 0
        leaf.new = spelled.write(placeholder(first, number))

    @staticmethod
    async def _told(
        exchange: Exchange, spec: FieldSpec, stored: Stored, path: tuple[str, ...] | None, reason: Reason
    ) -> Stored:
        """Which of several dates stands, where nobody else is sure: the CRM says it, asked with this person's session.

        None of them in an empty field. It counts for this write alone. What comes back might bring an old date back, so
        where the CRM does not tell it is refused.
        """
        held = await shown_text(exchange, path) if len(stored) == 1 else None
        if held is not None and not held.strip():
            return {}
        found = read_date(spec.dates, held.strip()) if held is not None else None
        number = generation(spec.placeholder, found[0]) if found is not None and spec.placeholder is not None else None
        ((record, some),) = stored.items() if len(stored) == 1 else (("", ()),)
        stands = standing(some, number) if number is not None else None
        if stands is None:
            raise Refusal(reason, fields=(spec.name,))
        return {record: [Candidate(stands.generation, stands.value, accepted=True)]}

    # -- a new date ----------------------------------------------------------------------------------------------

    async def _keep(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], stored: Stored, day: date
    ) -> int:
        """The generation that the CRM gets for a date."""
        if not self._sight.may_write(exchange, spec, records):
            return await self._unchanged(exchange, spec, records, stored, day)
        exchange.written.append((spec.entity, spec.name, str(spec.kind)))
        if not records:
            self._require_bound(exchange, spec)
            await self._beside.keep(exchange.tenant, spec.entity, spec.name, day, record=None, cell=exchange.id)
            exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, "", waiting=exchange.id))
            return 0
        if merges(exchange.operation):
            for some in stored.values():
                if (same := _alone(some)) is not None and same.value == day:
                    return await self._merged(exchange, spec, records, stored, same)
        if len(records) == 1 and (same := _alone(stored.get(records[0], ()))) is not None and same.value == day:
            return same.generation
        return await self._offer(exchange, spec, records, day)

    async def _offer(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], day: date, wanted: int | None = None
    ) -> int:
        """One generation for all records that are written; of several the CRM may take some, as what stands tells."""
        try:
            number = await self._beside.offer(exchange.tenant, spec.entity, spec.name, day, records, DAYS, wanted)
        except GenerationsUsed:
            raise Refusal(NEEDS_RECORD, fields=(spec.name,)) from None
        sure = len(records) == 1 or merges(exchange.operation)
        new = (Kept(spec.entity, spec.name, record, generation=number, sure=sure) for record in records)
        exchange.kept = (*exchange.kept, *new)
        return number

    async def _unchanged(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], stored: Stored, day: date
    ) -> int:
        """The generation of a date that somebody who may not write it has sent back as it was shown."""
        numbers = []
        for record in records:
            same = next((one for one in stored.get(record, ()) if one.value == day), None)
            if same is None or await self._sight.form_at(exchange, spec, record) is not Form.CLEAR:
                raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
            numbers.append(same.generation)
        if len(set(numbers)) != 1:  # no record, or one text that would have to be two placeholders
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        return numbers[0]

    # -- what comes back -----------------------------------------------------------------------------------------

    async def _back(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], stored: Stored, number: int
    ) -> int:
        """A placeholder came back: every record keeps what it has. The generation for the CRM."""
        if not records:
            if number:
                raise Refusal(VALUE_INVALID, detail="date", fields=(spec.name,))
            # A number may be used again after a deletion: nothing of then may stand behind this placeholder.
            exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, ""))
            return number
        if merges(exchange.operation):
            return await self._share(exchange, spec, records, stored, number)
        some = [stored.get(record, ()) for record in records]
        if len(some) > 1:
            if any(len(one) > 1 for one in some):
                raise Refusal(NEEDS_RECORD, fields=(spec.name,))
            return number
        return _standing_number(some[0], number, spec)

    async def _share(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], stored: Stored, number: int
    ) -> int:
        """Records that are merged share what one of them has, because the CRM decides which of them stays."""
        filled = [record for record in records if record in stored]
        if not filled or len(filled) == len(records):
            return number
        shared = next((one for one in stored[filled[0]] if one.generation == number), stored[filled[0]][0])
        return await self._merged(exchange, spec, records, stored, shared)

    async def _merged(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], stored: Stored, one: Candidate
    ) -> int:
        """The date of one record for all that are merged, behind its own placeholder; it stays as it is there."""
        assert isinstance(one.value, date)
        others = {record: stored.get(record, ()) for record in records}
        rest = [record for record, some in others.items() if one not in some]
        if any(other.generation == one.generation for record in rest for other in others[record]):
            return await self._offer(exchange, spec, records, one.value)
        return await self._offer(exchange, spec, rest, one.value, wanted=one.generation) if rest else one.generation

    async def _masked(
        self,
        exchange: Exchange,
        spec: FieldSpec,
        records: Sequence[str],
        stored: Stored,
        text: str,
        mask_char: str,
    ) -> int:
        """The generation that a readable mask or six bullets stand for; raises MASK_RETURNED unless it is one.

        It is no oracle: only what the person may see is compared.
        """
        numbers = []
        for record in records:
            fitting = [
                one for one in stored.get(record, ()) if text == PLACEHOLDER or _masks(spec, one, mask_char) == text
            ]
            seen = text == PLACEHOLDER or await self._sight.form_at(exchange, spec, record) is not Form.HIDDEN
            if len(fitting) != 1 or not seen:
                raise Refusal(MASK_RETURNED, fields=(spec.name,))
            numbers.append(fitting[0].generation)
        if len(set(numbers)) != 1:
            raise Refusal(MASK_RETURNED, fields=(spec.name,))
        return numbers[0]

    def _empty(self, exchange: Exchange, spec: FieldSpec, stored: Stored, *, may: bool) -> None:
        if stored and not may:
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        if len(stored) > 1 and not merges(exchange.operation):
            # Of several records the CRM may empty some, and an empty field names no generation.
            raise Refusal(NEEDS_RECORD, fields=(spec.name,))
        ended = (
            Kept(spec.entity, spec.name, record, generation=one.generation, emptied=True)
            for record, some in stored.items()
            for one in some
            if one.accepted
        )
        exchange.kept = (*exchange.kept, *ended)

    async def _stored(self, exchange: Exchange, spec: FieldSpec, records: Sequence[str]) -> Stored:
        if not records:
            return {}
        found = await self._beside.candidates(exchange.tenant, spec.entity, spec.name, records)
        return {record: [one for one in some if isinstance(one.value, date)] for record, some in found.items()}

    @staticmethod
    def _require_bound(exchange: Exchange, spec: FieldSpec) -> None:
        operation = exchange.operation
        creates = operation is not None and operation.action is Action.CREATE and operation.binds
        if not creates or operation is None or operation.entity != spec.entity:
            raise Refusal(NEEDS_RECORD, fields=(spec.name,))

    # -- after the answer ----------------------------------------------------------------------------------------

    async def accepted(self, exchange: Exchange, one: Kept, record: str) -> None:
        """The CRM accepted the write that this was part of; raises KeysUnavailable, StoreUnavailable."""
        tenant = exchange.tenant
        if one.waiting:
            await self._beside.bind(tenant, one.waiting, one.entity, record)
        elif one.generation is None or one.emptied:
            await self._beside.forget(tenant, one.entity, one.field, record, one.generation)
        elif one.sure:
            await self._beside.accept(tenant, one.entity, one.field, [record], one.generation)

    async def refused(self, exchange: Exchange) -> None:
        """The CRM refused it: what was there stays; raises StoreUnavailable."""
        tenant = exchange.tenant
        await self._beside.give_up(tenant, [one.waiting for one in exchange.kept if one.waiting])
        for one in exchange.kept:
            if one.generation is not None and one.sure and not one.emptied:
                await self._beside.withdraw(tenant, one.entity, one.field, [one.record], one.generation)

    async def copy(self, exchange: Exchange, fields: Iterable[FieldSpec], made: tuple[str, str]) -> None:
        """A record was copied: dates that this person sees on the source stand beside the copy as well.

        Others stay behind: on a copy of his own everybody would see more. Raises KeysUnavailable, StoreUnavailable.
        """
        operation = exchange.operation
        if operation is None or len(operation.touched) != 1:
            return
        (source,), (entity, record) = operation.touched, made
        for spec in fields:
            if spec.form is not StorageForm.BESIDE or spec.entity != entity:
                continue
            stored = (await self._stored(exchange, spec, [source])).get(source, ())
            if not stored or await self._sight.form_at(exchange, spec, source) is not Form.CLEAR:
                continue
            for one in reversed(stored):  # the copy has the placeholder of its source; the one accepted last comes last
                await self._beside.keep(
                    exchange.tenant, entity, spec.name, one.value, record=record, cell="", generation=one.generation
                )

    async def leaving(self, exchange: Exchange, fields: Iterable[FieldSpec], some_record: str) -> None:
        """Records are asked to be deleted; whether they are gone tells only the gateway's own look (arrivals).

        some_record: the entity of operations on records of any kind. Raises StoreUnavailable.
        """
        operation = exchange.operation
        if operation is None:
            return
        records = [operation.record] if operation.record is not None else list(operation.records)
        entities = {spec.entity for spec in fields if spec.form is StorageForm.BESIDE}
        entities &= entities if operation.entity == some_record else {operation.entity}
        if records and entities:
            await self._beside.store.note_leaving(exchange.tenant, records, sorted(entities))


def _comes_back(spec: FieldSpec, text: str) -> bool:
    """Whether a text stands for the date that a record has, as a mask or as the day of a generation."""
    if text == PLACEHOLDER or mask.looks_masked(text):
        return True
    found = read_date(spec.dates, text)
    return found is not None and spec.placeholder is not None and generation(spec.placeholder, found[0]) is not None


def _alone(some: Sequence[Candidate]) -> Candidate | None:
    """The value that stands for sure: the only one, and accepted."""
    return some[0] if len(some) == 1 and some[0].accepted else None


def _standing_number(some: Sequence[Candidate], number: int, spec: FieldSpec) -> int:
    """The generation that stands in a record whose form came back with this one; raises MASK_RETURNED when unsure."""
    if any(one.generation == number for one in some) or not any(one.accepted for one in some):
        return number
    if len(some) > 1:
        raise Refusal(MASK_RETURNED, fields=(spec.name,))  # an old page, and a newer value of which nobody is sure
    return some[0].generation


def _masks(spec: FieldSpec, one: Candidate, mask_char: str) -> str:
    assert isinstance(one.value, date)
    return mask.mask(str(spec.kind), one.value.isoformat(), char=mask_char)
