"""The way in for fields that are not surrogates: dates kept beside the CRM, and whole values sealed as cells.

What is sealed here counts only once the CRM accepted the write (`Kept` on the exchange, settled by gateway.binding): a
refused form leaves what was there. What comes back as it was shown, whether placeholder, mask or the cell itself, keeps
the value. A value without a record of its own would be lost behind its placeholder, so such a write is refused. Dates
are gateway.kept_dates.
"""

import re
from collections.abc import Iterable, Sequence

from gateway.body.leaf import Leaf
from gateway.digits import DigitFields
from gateway.exchange import Exchange, Kept
from gateway.kept_dates import KeptDates
from gateway.refusal import (
    FIELD_NOT_WRITABLE,
    MASK_RETURNED,
    NEEDS_RECORD,
    RECORD_UNKNOWN,
    VALUE_INVALID,
    VALUE_TOO_LONG,
    Refusal,
)
from gateway.sight import Sight, decided
from gateway.treatment import SOME_RECORD
from gateway.typed import merges, writes_to_records
from gateway.verdict import PLACEHOLDER
from kms.beside import Beside
from kms.cells import Cells
from policies.decision import Form
from policies.operation import FieldSpec, StorageForm
from policies.profile import Action
from privacy import mask, validate

# Actions that write no value of a file; whatever else brings one cannot say whose it is.
_KNOWS_RECORDS = frozenset({Action.CREATE, Action.UPDATE, Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT})
_CELL = re.compile(r"~?G1\.[A-Za-z0-9_-]{32}")  # what may be a cell, whole or cut at either end


class KeptFields:
    """Seals what comes in for fields of the forms `beside` and `cell`; one per process."""

    def __init__(self, beside: Beside, cells: Cells, sight: Sight, digits: DigitFields | None = None) -> None:
        self._digits = digits
        self._dates = KeptDates(beside, sight)
        self._cells = cells
        self._sight = sight

    async def take(
        self,
        exchange: Exchange,
        leaf: Leaf,
        spec: FieldSpec,
        records: Sequence[str],
        mask_char: str,
        *,
        alone: bool,
        path: tuple[str, ...] | None = None,
    ) -> None:
        """Set `leaf.new` where the CRM must get something else; records: those that are written, () where unknown.

        alone: whether the leaf is all that its field holds; else it only shows what a record holds. path: where it
        stands in the body itself (Target.path). Raises Refusal, KeysUnavailable, StoreUnavailable.
        """
        operation = exchange.operation
        if spec.form is StorageForm.FF1:
            if self._digits is None:
                raise RuntimeError("nobody is there to seal digits that the profile declares")
            await self._digits.take(exchange, leaf, spec, records, mask_char, alone=alone, path=path)
            return
        if operation is None or operation.action not in _KNOWS_RECORDS:
            if leaf.text.strip():
                raise Refusal(NEEDS_RECORD, fields=(spec.name,))  # a row of a file: no answer will say which record
            return
        writes = writes_to_records(operation)
        if writes and not alone and leaf.text.strip() and not merges(operation):
            raise Refusal(NEEDS_RECORD, fields=(spec.name,))  # one of several records that are written in one call
        writes = alone and writes
        if spec.form is StorageForm.BESIDE:
            await self._dates.take(exchange, leaf, spec, records, mask_char, writes=writes, path=path)
        else:
            await self._cell(exchange, leaf, spec, records, mask_char, writes=writes)

    # -- cells ---------------------------------------------------------------------------------------------------

    async def _cell(
        self, exchange: Exchange, leaf: Leaf, spec: FieldSpec, records: Sequence[str], mask_char: str, *, writes: bool
    ) -> None:
        """A whole text: what was shown becomes the cell that stands there again, or a new text is sealed.

        Whatever else looks like a cell, ours or not, is refused alike: it tells nothing.
        """
        text, may = leaf.text.strip(), self._sight.may_write(exchange, spec, records)
        if not text:
            if writes:
                await self._emptied(exchange, spec, records, may=may)
            return
        if _CELL.search(text):
            await self._comes_back(exchange, leaf, spec, records, may=may, writes=writes)
            return
        if writes and len(records) == 1 and await self._put_back(exchange, leaf, spec, records[0], mask_char):
            return
        if _is_mask(text) and not decided(exchange).view.sees_everything:
            raise Refusal(MASK_RETURNED, fields=(spec.name,))
        if not may:
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        _require_fitting(spec, leaf.text)
        exchange.retyped[spec.entity, spec.name] = leaf.text
        if not writes:
            leaf.new = ""  # a form that is only worked on: nothing of it is stored, and nothing leaves in clear
        elif len(records) > 1:
            raise Refusal(NEEDS_RECORD, fields=(spec.name,))  # a cell belongs to one record
        else:
            (record,) = self._places(exchange, spec, records)
            await self._seal(exchange, leaf, spec, record)

    async def _put_back(self, exchange: Exchange, leaf: Leaf, spec: FieldSpec, record: str, mask_char: str) -> bool:
        """Whether the text is how this person sees what stands there; then it becomes that cell again.

        It is no oracle: only what the person may see is compared.
        """
        standing = await self._cells.standing(exchange.tenant, spec.entity, spec.name, record)
        if standing is None:
            return False
        text, form = leaf.text, await self._sight.form_at(exchange, spec, record)
        same = text.strip() == PLACEHOLDER
        if not same and form is not Form.HIDDEN:
            (value,) = await self._cells.open(exchange.tenant, spec.entity, spec.name, [(standing, record)])
            if isinstance(value, str) and form is Form.CLEAR:
                same = _lines(value) == _lines(text)
            elif isinstance(value, str) and spec.kind is not None:
                same = mask.mask(str(spec.kind), value, char=mask_char) == text.strip()
        if same:
            leaf.new = standing
            exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, record, cell=standing))
        return same

    async def _seal(self, exchange: Exchange, leaf: Leaf, spec: FieldSpec, record: str) -> None:
        value = (leaf.text, record or None)
        (made,) = await self._cells.seal(exchange.tenant, spec.entity, spec.name, [value], exchange=exchange.id)
        if len(made) > spec.max_chars:
            raise Refusal(VALUE_TOO_LONG, detail="cell", fields=(spec.name,))
        if record:
            # Bound before it leaves: nobody else can have it, and no failure on the way can make it unreadable.
            await self._cells.bind(exchange.tenant, spec.entity, spec.name, record, [made])
        exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, record, cell=made))
        exchange.written.append((spec.entity, spec.name, str(spec.kind or "text")))
        leaf.new = made

    async def _comes_back(
        self, exchange: Exchange, leaf: Leaf, spec: FieldSpec, records: Sequence[str], *, may: bool, writes: bool
    ) -> None:
        tenant, text = exchange.tenant, leaf.text.strip()
        if len(records) != 1:
            raise Refusal(MASK_RETURNED, fields=(spec.name,))
        (value,) = await self._cells.open(tenant, spec.entity, spec.name, [(text, records[0])])
        if value is None:
            raise Refusal(MASK_RETURNED, fields=(spec.name,))
        if not may and await self._cells.standing(tenant, spec.entity, spec.name, records[0]) != text:
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        if writes:
            exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, records[0], cell=text))
        if leaf.text != text:
            leaf.new = text

    async def _emptied(self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], *, may: bool) -> None:
        for record in records:
            if await self._cells.standing(exchange.tenant, spec.entity, spec.name, record) is None:
                continue
            if not may:
                raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
            exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, record))

    # -- after the answer ------------------------------------------------------------------------------------------

    async def settle(
        self, exchange: Exchange, made: tuple[str, str] | None, *, accepted: bool, certain: bool = False
    ) -> None:
        """What the CRM's answer means for what this write brought. made: (entity, record) of a create.

        certain: a write that was not accepted was refused; else the CRM only failed, and may have it nevertheless.
        Raises Refusal RECORD_UNKNOWN where the CRM made a record and does not say which; KeysUnavailable,
        StoreUnavailable.
        """
        tenant = exchange.tenant
        if not accepted:
            if certain:
                await self._dates.refused(exchange)
                await self._cells.give_up(tenant, [one.cell for one in exchange.kept if one.cell and not one.record])
            return
        if self._digits is not None and any(one.digits for one in exchange.kept):
            await self._digits.note(tenant, exchange.kept, made)
        for one in exchange.kept:
            if one.digits:
                continue
            record = one.record or (made[1] if made is not None and made[0] == one.entity else "")
            if not record and (one.waiting or one.cell):
                raise Refusal(RECORD_UNKNOWN, fields=(one.field,))
            if not record:
                continue
            if one.cell:
                if not one.record:
                    await self._cells.bind(tenant, one.entity, one.field, record, [one.cell])
                await self._cells.stand(tenant, one.entity, one.field, record, one.cell)
            else:
                await self._dates.accepted(exchange, one, record)
                if one.generation is None and not one.waiting:  # emptied: it may have been a cell
                    await self._cells.stand(tenant, one.entity, one.field, record, "")

    async def copy(self, exchange: Exchange, fields: Iterable[FieldSpec], made: tuple[str, str]) -> None:
        """A record was copied; see gateway.kept_dates. Raises KeysUnavailable, StoreUnavailable."""
        await self._dates.copy(exchange, fields, made)

    async def leaving(self, exchange: Exchange, fields: Iterable[FieldSpec]) -> None:
        """Records are asked to be deleted; see gateway.kept_dates. Raises StoreUnavailable."""
        await self._dates.leaving(exchange, fields, SOME_RECORD)

    @staticmethod
    def _places(exchange: Exchange, spec: FieldSpec, records: Sequence[str]) -> Sequence[str]:
        """The records that are written, "" for the one a create makes; raises Refusal where no record will be known."""
        operation = exchange.operation
        if records:
            return records
        creates = operation is not None and operation.action is Action.CREATE and operation.binds
        if not creates or operation is None or operation.entity != spec.entity:
            raise Refusal(NEEDS_RECORD, fields=(spec.name,))
        return ("",)


def _require_fitting(spec: FieldSpec, text: str) -> None:
    try:
        validate.check(None if spec.kind is None else str(spec.kind), text, spec.max_chars)
    except validate.ValueRefused as fault:
        reason = VALUE_TOO_LONG if fault.problem == "too-long" else VALUE_INVALID
        raise Refusal(reason, detail=fault.problem, fields=(spec.name,)) from None


def _lines(text: str) -> str:
    """A text with one kind of line ends: forms write them their own way."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_mask(text: str) -> bool:
    return text == PLACEHOLDER or mask.looks_masked(text)
