"""The way in for fields that are not surrogates: dates kept beside the CRM, and whole values sealed as cells.

What is sealed here counts only once the CRM accepted the write (`Kept` on the exchange, settled by gateway.binding): a
refused form leaves what was there. What comes back as it was shown, whether placeholder, mask or the cell itself, keeps
the value. A value without a record of its own would be lost behind its placeholder, so such a write is refused.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date

from gateway.body.leaf import Leaf
from gateway.digits import DigitFields
from gateway.exchange import Exchange, Kept
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
from gateway.typed import writes_to_records
from gateway.verdict import PLACEHOLDER
from kms.beside import Beside
from kms.cells import Cells
from policies.date_format import read_date
from policies.decision import Form
from policies.operation import FieldSpec, StorageForm
from policies.profile import Action
from privacy import mask, validate

# Actions that write no value of a file; whatever else brings one cannot say whose it is.
_KNOWS_RECORDS = frozenset({Action.CREATE, Action.UPDATE, Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT})
_MERGES = "merges"  # of the extras of an operation: two records become one
_CELL = re.compile(r"~G1\.[A-Za-z0-9_-]{32}")  # what may be a cell, whole or cut


class KeptFields:
    """Seals what comes in for fields of the forms `beside` and `cell`; one per process."""

    def __init__(self, beside: Beside, cells: Cells, sight: Sight, digits: DigitFields | None = None) -> None:
        self._digits = digits
        self._beside = beside
        self._cells = cells
        self._sight = sight

    async def take(
        self, exchange: Exchange, leaf: Leaf, spec: FieldSpec, records: Sequence[str], mask_char: str, *, alone: bool
    ) -> None:
        """Set `leaf.new` where the CRM must get something else; records: those that are written, () where unknown.

        alone: whether the leaf is all that its field holds; else it only shows what a record holds. Raises Refusal,
        KeysUnavailable, StoreUnavailable.
        """
        operation = exchange.operation
        if spec.form is StorageForm.FF1:
            if self._digits is None:
                raise RuntimeError("nobody is there to seal digits that the profile declares")
            await self._digits.take(exchange, leaf, spec, records, mask_char, alone=alone)
            return
        if operation is None or operation.action not in _KNOWS_RECORDS:
            if leaf.text.strip():
                raise Refusal(NEEDS_RECORD, fields=(spec.name,))  # a row of a file: no answer will say which record
            return
        writes = alone and writes_to_records(operation)
        if spec.form is StorageForm.BESIDE:
            await self._date(exchange, leaf, spec, records, mask_char, writes=writes)
        else:
            await self._cell(exchange, leaf, spec, records, mask_char, writes=writes)

    # -- dates beside the CRM ------------------------------------------------------------------------------------

    async def _date(
        self,
        exchange: Exchange,
        leaf: Leaf,
        spec: FieldSpec,
        records: Sequence[str],
        mask_char: str,
        *,
        writes: bool,
    ) -> None:
        text = leaf.text.strip()
        assert spec.placeholder is not None
        stored = await self._stored(exchange, spec, records) if writes else {}
        if not text:
            if writes:
                self._empty(exchange, spec, list(stored), may=self._sight.may_write(exchange, spec))
            return
        if _is_mask(text):
            await self._require_mask_of(exchange, spec, records, stored, text, mask_char)
            leaf.new = spec.dates[0].write(spec.placeholder)
            return
        found = read_date(spec.dates, text)
        if found is None:
            if any(sign.isdigit() for sign in text):
                raise Refusal(VALUE_INVALID, detail="date", fields=(spec.name,))
            return  # no date in any spelling: the CRM's own validator says so, with the form intact
        day, spelled = found
        if day == spec.placeholder:
            if writes and records:
                await self._share(exchange, spec, records, stored)
            elif writes:
                # A number may be used again after a deletion: nothing of then may stand behind this placeholder.
                exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, ""))
            return
        leaf.new = spelled.write(spec.placeholder)
        exchange.retyped[spec.entity, spec.name] = text
        if writes:
            await self._keep_date(exchange, spec, records, stored, day)

    async def _keep_date(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], stored: dict[str, date], day: date
    ) -> None:
        if not self._sight.may_write(exchange, spec):
            for record in records:
                if stored.get(record) != day or await self._sight.form_at(exchange, spec, record) is not Form.CLEAR:
                    raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
            if not records:
                raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
            return
        self._require_one(exchange, spec, records)
        for record in self._places(exchange, spec, records):
            if record and stored.get(record) == day:
                continue
            await self._wait(exchange, spec, record, day)
        exchange.written.append((spec.entity, spec.name, str(spec.kind)))

    async def _wait(self, exchange: Exchange, spec: FieldSpec, record: str, day: date) -> None:
        waiting = f"{exchange.id}/{record}" if record else exchange.id
        await self._beside.keep(exchange.tenant, spec.entity, spec.name, day, record=None, cell=waiting)
        exchange.kept = (*exchange.kept, Kept(spec.entity, spec.name, record, waiting=waiting))

    async def _share(
        self, exchange: Exchange, spec: FieldSpec, records: Sequence[str], stored: dict[str, date]
    ) -> None:
        """The placeholder came back: every record keeps what it has. Records that are merged share what one of them
        has, because the CRM decides which of them stays."""
        operation = exchange.operation
        if operation is None or _MERGES not in operation.extra or not stored:
            return
        kept = next(stored[record] for record in records if record in stored)
        for record in records:
            if record not in stored:
                await self._wait(exchange, spec, record, kept)

    async def _require_mask_of(
        self,
        exchange: Exchange,
        spec: FieldSpec,
        records: Sequence[str],
        stored: dict[str, date],
        text: str,
        mask_char: str,
    ) -> None:
        """A readable mask is put back only where it is the mask of what stands there; raises MASK_RETURNED."""
        for record in records:
            held = stored.get(record)
            if held is None:
                raise Refusal(MASK_RETURNED, fields=(spec.name,))
            if text == PLACEHOLDER:
                continue
            fits = mask.mask(str(spec.kind), held.isoformat(), char=mask_char) == text
            if not fits or await self._sight.form_at(exchange, spec, record) is Form.HIDDEN:
                raise Refusal(MASK_RETURNED, fields=(spec.name,))
        if not records:
            raise Refusal(MASK_RETURNED, fields=(spec.name,))

    def _empty(self, exchange: Exchange, spec: FieldSpec, filled: Sequence[str], *, may: bool) -> None:
        if filled and not may:
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        self._require_one(exchange, spec, filled)
        exchange.kept = (*exchange.kept, *(Kept(spec.entity, spec.name, record) for record in filled))

    async def _stored(self, exchange: Exchange, spec: FieldSpec, records: Sequence[str]) -> dict[str, date]:
        if not records:
            return {}
        found = await self._beside.read(exchange.tenant, spec.entity, spec.name, records)
        return {record: day for record, day in found.items() if isinstance(day, date)}

    # -- cells ---------------------------------------------------------------------------------------------------

    async def _cell(
        self, exchange: Exchange, leaf: Leaf, spec: FieldSpec, records: Sequence[str], mask_char: str, *, writes: bool
    ) -> None:
        """A whole text: what was shown becomes the cell that stands there again, or a new text is sealed.

        Whatever else looks like a cell, ours or not, is refused alike: it tells nothing.
        """
        text, may = leaf.text.strip(), self._sight.may_write(exchange, spec)
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
        (made,) = await self._cells.seal(exchange.tenant, spec.entity, spec.name, [(leaf.text, None)])
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

    async def settle(self, exchange: Exchange, made: tuple[str, str] | None, *, accepted: bool) -> None:
        """What the CRM's answer means for what this write brought. made: (entity, record) of a create.

        Raises Refusal RECORD_UNKNOWN where the CRM made a record and does not say which; KeysUnavailable,
        StoreUnavailable.
        """
        tenant = exchange.tenant
        if not accepted:
            await self._beside.give_up(tenant, [one.waiting for one in exchange.kept if one.waiting])
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
            elif one.waiting:
                await self._beside.bind(tenant, one.waiting, one.entity, record)
            else:
                await self._beside.forget(tenant, one.entity, one.field, record)
                await self._cells.stand(tenant, one.entity, one.field, record, "")

    async def copy(self, exchange: Exchange, fields: Iterable[FieldSpec], made: tuple[str, str]) -> None:
        """A record was copied: dates that this person sees on the source stand beside the copy as well.

        Others stay behind: on a copy of his own everybody would see more. Raises KeysUnavailable, StoreUnavailable.
        """
        operation = exchange.operation
        if operation is None or len(operation.touched) != 1:
            return
        entity, record = made
        for spec in fields:
            if spec.form is not StorageForm.BESIDE or spec.entity != entity:
                continue
            held = (await self._stored(exchange, spec, operation.touched)).get(operation.touched[0])
            if held is not None and await self._sight.form_at(exchange, spec, operation.touched[0]) is Form.CLEAR:
                await self._beside.keep(exchange.tenant, entity, spec.name, held, record=record, cell="")

    # -- both ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _require_one(exchange: Exchange, spec: FieldSpec, records: Sequence[str]) -> None:
        """One record at a time: a CRM may take a bulk edit for some records and not for others, without saying so in
        its answer, and what stands in it afterwards looks the same."""
        operation = exchange.operation
        if len(records) > 1 and (operation is None or _MERGES not in operation.extra):
            raise Refusal(NEEDS_RECORD, fields=(spec.name,))

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
