"""The way in for numbers that stay digits in the CRM (form `ff1`), and the search for them.

Sealed digits carry no origin: whoever got them into a record of his own would read them there. So what was sealed
already may stand again only where the CRM shows it now, or where somebody puts it who sees the field of every record. A
clear number is sealed by whoever may write the field. A mask is put back only where it is that of what stands there.
"""

from collections.abc import Callable, Sequence

from gateway.body.leaf import Leaf
from gateway.exchange import Exchange, Kept
from gateway.parts import WILDCARDS
from gateway.refusal import (
    COPY_SHOWS_MORE,
    DIGITS_INVALID,
    FIELD_NOT_SEARCHABLE,
    FIELD_NOT_WRITABLE,
    MASK_RETURNED,
    SEARCH_WHOLE_ONLY,
    Reason,
    Refusal,
)
from gateway.sight import Sight, decided
from gateway.typed import merges, writes_to_records
from gateway.unchanged import shown_text
from gateway.verdict import PLACEHOLDER
from kms.digits import DigitField, Digits
from kms.fpe import DigitsRefused
from kms.marked_digits import Check, is_clear
from policies.decision import Form
from policies.operation import FieldSpec, Operation
from policies.profile import Action
from privacy import mask, recognise

HELD, EMPTY = "held", "empty"


def means_something(text: str) -> bool:
    """Whether digits that stand alone are taken for a phone, an identity number or a card."""
    return bool(recognise.find(text))


def digit_field(spec: FieldSpec) -> DigitField:
    """A declared field as kms.digits has it."""
    return DigitField(spec.entity, spec.name, Check(spec.check))


def number_of(spec: FieldSpec, text: str) -> str | None:
    """The number that a text is, as it is sealed; None where it has another length or a wrong check digit."""
    number = text.strip().upper()
    fits = len(number) in spec.digits and is_clear(Check(spec.check), number)
    return number if fits else None


def _everywhere(_tenant: str) -> bool:
    return True


class DigitFields:
    """Seals what comes in for fields of the form `ff1`; one per process. migrated: see gateway.parts."""

    def __init__(self, digits: Digits, sight: Sight, migrated: Callable[[str], bool] = _everywhere) -> None:
        self._digits = digits
        self._sight = sight
        self._migrated = migrated

    async def take(
        self,
        exchange: Exchange,
        leaf: Leaf,
        spec: FieldSpec,
        records: Sequence[str],
        mask_char: str,
        *,
        alone: bool,
        path: tuple[str, ...] | None,
    ) -> None:
        """Set `leaf.new` where the CRM must get something else; records: those that are written, () where unknown.

        alone: whether the leaf is all that its field holds. Raises Refusal, KeysUnavailable, StoreUnavailable.
        """
        writes = writes_to_records(exchange.operation)
        text, may = leaf.text.strip(), self._sight.may_write(exchange, spec, records)
        if not text:
            if writes and not may and not _is_create(exchange.operation):
                await self._require_same(exchange, leaf, spec, records, mask_char, path, FIELD_NOT_WRITABLE)
            elif writes and alone:
                self._note(exchange, spec, records, EMPTY)
            return
        number = number_of(spec, text)
        if not writes and number is None and await self._is_sealed(exchange, spec, text):
            return  # a form that is only worked on: nothing of it is stored
        if not may:
            await self._require_same(exchange, leaf, spec, records, mask_char, path, FIELD_NOT_WRITABLE)
        elif number is not None:
            await self._seal(exchange, leaf, spec, number)
            if writes and alone:
                self._note(exchange, spec, records, HELD)
        elif _is_mask(text):
            await self._require_same(exchange, leaf, spec, records, mask_char, path, MASK_RETURNED)
        elif await self._is_sealed(exchange, spec, text):
            if not self._sees_every(exchange, spec):
                await self._require_same(exchange, leaf, spec, records, mask_char, path, MASK_RETURNED)
            if leaf.new is None and leaf.text != text:
                leaf.new = text
        elif await self._same(exchange, leaf, spec, records, mask_char, path) is None:
            raise Refusal(DIGITS_INVALID, detail=_lengths(spec), fields=(spec.name,))

    async def ask(self, exchange: Exchange, leaf: Leaf, spec: FieldSpec) -> None:
        """Make a whole number that is searched for what the CRM knows it as.

        Sealed digits have no origin, so nobody can tell whose they are: who does not see the field of every record at
        least masked may not ask. Raises Refusal, KeysUnavailable, StoreUnavailable.
        """
        text = leaf.text.strip().strip(WILDCARDS).strip()
        if not text:
            return
        view, kind = decided(exchange).view, str(spec.kind)
        seen = view.sees_everything or view.form(spec.entity, spec.name, kind, bound=True, owned=False) >= Form.MASKED
        if not seen or not view.rule(spec.entity, spec.name, kind).searchable:
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=kind, fields=(spec.name,))
        if kind not in exchange.searched:
            exchange.searched.append(kind)
        number = number_of(spec, text)
        if number is None:
            if await self._is_sealed(exchange, spec, text):
                return
            raise Refusal(SEARCH_WHOLE_ONLY, detail=kind, fields=(spec.name,))
        field = digit_field(spec)
        sealed = await self._digits.sealed(exchange.tenant, field, number)
        if sealed is None and view.sees_everything and not self._migrated(exchange.tenant):
            return  # it was never sealed, so if the CRM has it, then in clear
        leaf.new = leaf.text.replace(text, sealed or await self._digits.nobodys(exchange.tenant, field, number))

    async def require_no_gain(self, exchange: Exchange, fields: Sequence[FieldSpec]) -> None:
        """Refuse a copy or merge whose result could show its maker more than the records it is made of.

        The CRM carries the digits along, and what stands in a record of one's own is seen by the rights over that
        record. Raises Refusal, StoreUnavailable.
        """
        operation, view = exchange.operation, decided(exchange).view
        sources = () if operation is None else operation.touched
        if operation is not None and merges(operation) and writes_to_records(operation):
            sources = (*sources, *operation.records)
        if not sources or view.sees_everything:
            return
        for spec in fields:
            most = view.form(spec.entity, spec.name, str(spec.kind), bound=True, owned=True)
            most = Form.CLEAR if view.criteria else most  # of a record that a criterion is true of more may be seen
            for record in sources:
                if await self._sight.form_at(exchange, spec, record) < most:
                    raise Refusal(COPY_SHOWS_MORE, fields=(spec.name,))

    async def note(self, tenant: str, kept: Sequence[Kept], made: tuple[str, str] | None) -> None:
        """An accepted write: in which records digits stand now, for counting. made: (entity, record) of a create."""
        places: dict[tuple[str, str, str], bool] = {}
        for one in kept:
            record = one.record or (made[1] if made is not None and made[0] == one.entity else "")
            if one.digits and record:
                places[one.entity, one.field, record] = one.digits == HELD
        if places:
            await self._digits.note(tenant, places)

    async def _seal(self, exchange: Exchange, leaf: Leaf, spec: FieldSpec, number: str) -> None:
        try:
            leaf.new = await self._digits.seal(exchange.tenant, digit_field(spec), number)
        except DigitsRefused:
            raise Refusal(DIGITS_INVALID, detail=_lengths(spec), fields=(spec.name,)) from None
        exchange.retyped[spec.entity, spec.name] = leaf.text
        exchange.written.append((spec.entity, spec.name, str(spec.kind)))

    async def _is_sealed(self, exchange: Exchange, spec: FieldSpec, text: str) -> bool:
        return bool(await self._digits.open(exchange.tenant, digit_field(spec), [text]))

    def _sees_every(self, exchange: Exchange, spec: FieldSpec) -> bool:
        """Whether the person sees such numbers wherever they stand, so that none of them tells him anything new."""
        view = decided(exchange).view
        forms = [view.form(spec.entity, spec.name, str(spec.kind), bound=bound, owned=False) for bound in (True, False)]
        return view.sees_everything or min(forms) is Form.CLEAR

    async def _require_same(
        self,
        exchange: Exchange,
        leaf: Leaf,
        spec: FieldSpec,
        records: Sequence[str],
        mask_char: str,
        path: tuple[str, ...] | None,
        reason: Reason,
    ) -> None:
        """Let go on what the CRM holds already, as the CRM holds it; else raise."""
        held = await self._same(exchange, leaf, spec, records, mask_char, path)
        if held is None:
            raise Refusal(reason, fields=(spec.name,))
        if held != leaf.text:
            leaf.new = held

    async def _same(
        self,
        exchange: Exchange,
        leaf: Leaf,
        spec: FieldSpec,
        records: Sequence[str],
        mask_char: str,
        path: tuple[str, ...] | None,
    ) -> str | None:
        """What the CRM holds, where a text says that to this person; None where it does not, or nobody can tell.

        It is no oracle: only what the person may see is compared.
        """
        held = await shown_text(exchange, path) if len(records) == 1 else None
        if held is None:
            return None
        text, there = leaf.text.strip(), held.strip()
        if text == there:
            return held
        form = await self._sight.form_at(exchange, spec, records[0])
        opened = (await self._digits.open(exchange.tenant, digit_field(spec), [there])).get(there, there)
        same = {Form.CLEAR: {opened}, Form.MASKED: {mask.mask(str(spec.kind), opened, char=mask_char), PLACEHOLDER}}
        return held if there and text in same.get(form, {PLACEHOLDER}) else None

    @staticmethod
    def _note(exchange: Exchange, spec: FieldSpec, records: Sequence[str], what: str) -> None:
        places = records or (("",) if _is_create(exchange.operation) else ())
        exchange.kept = (*exchange.kept, *(Kept(spec.entity, spec.name, one, digits=what) for one in places))


def _is_create(operation: Operation | None) -> bool:
    return operation is not None and operation.action is Action.CREATE


def _is_mask(text: str) -> bool:
    return text == PLACEHOLDER or mask.looks_masked(text)


def _lengths(spec: FieldSpec) -> str:
    return f"digits {'/'.join(map(str, spec.digits))}"
