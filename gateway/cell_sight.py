"""Cells in answers: found wherever they stand, opened only where they belong, shown by the rights over their field.

A cell belongs to one field of one record. It opens on a page of that record and at places that the profile says show
that field of that record; met at a place of another record (somebody moved it in the CRM's database), it opens nowhere
on that page. What does not open, or was cut by the CRM, is six bullets to people and itself to programs and forms.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from gateway.body.layer import Finder, Spot
from gateway.exchange import Exchange
from gateway.sight import Sight
from gateway.verdict import PLACEHOLDER
from kms.cell_store import CellRow
from kms.cells import Cells
from policies.decision import Form
from policies.operation import FieldSpec
from privacy import mask
from privacy.render import Shown

_CELL = re.compile(rb"(?:~|%7[Ee])(G1\.[A-Za-z0-9_-]{32,})")
_ANY_ENTITY = "record"  # entity of operations on records of any kind

Specs = Mapping[tuple[str, str], FieldSpec]


class _Found(NamedTuple):
    """A cell in bytes, as kms.scanner gives surrogates."""

    start: int
    end: int
    canonical: str
    upper: bool = False


class WithCells:
    """A finder of surrogates that finds cells as well."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder

    def find(self, data: bytes) -> Sequence[Spot]:
        """Surrogates and cells in order; what stands inside a cell is part of it."""
        hits = self._finder.find(data)
        cells = cells_in(data)
        if not cells:
            return hits
        apart = [hit for hit in hits if all(hit.end <= one.start or one.end <= hit.start for one in cells)]
        return sorted([*apart, *cells], key=lambda one: one.start)


def cells_in(data: bytes) -> Sequence[Spot]:
    """What may be cells in these bytes."""
    if b"G1." not in data:
        return ()
    return [_Found(match.start(), match.end(), "~" + match[1].decode("ascii")) for match in _CELL.finditer(data)]


class CellSight:
    """Says how cells are shown to the person of an exchange; one per process. specs: tenant → declared fields."""

    def __init__(self, cells: Cells, sight: Sight, specs: Callable[[str], Specs]) -> None:
        self._cells = cells
        self._sight = sight
        self._specs = specs

    async def of(self, exchange: Exchange, texts: Iterable[str], mask_char: str) -> dict[str, tuple[Shown, CellRow]]:
        """How each of these texts is shown, and what is counted; raises KeysUnavailable, StoreUnavailable."""
        wanted = list(dict.fromkeys(texts))
        rows = await self._cells.places(exchange.tenant, wanted)
        specs = self._specs(exchange.tenant)
        return {text: await self._one(exchange, text, rows.get(text), specs, mask_char) for text in wanted}

    async def _one(
        self, exchange: Exchange, text: str, row: CellRow | None, specs: Specs, mask_char: str
    ) -> tuple[Shown, CellRow]:
        mine = next((one for one in exchange.kept if one.cell == text), None)
        typed = exchange.retyped.get((mine.entity, mine.field)) if mine is not None else None
        if mine is not None and typed is not None:
            # The person typed it in this very request, and corrects it in the form shown again.
            return Shown(Form.CLEAR, typed, typed), CellRow(mine.entity, mine.field, mine.record)
        spec = specs.get((row.entity, row.field)) if row is not None else None
        if row is None or spec is None or not _belongs(exchange, text, row):
            return Shown(Form.HIDDEN, PLACEHOLDER, text), row or CellRow("", "", "")
        form = await self._sight.form_at(exchange, spec, row.record)
        if form is Form.HIDDEN:
            return Shown(form, PLACEHOLDER, text), row
        (value,) = await self._cells.open(exchange.tenant, row.entity, row.field, [(text, row.record)])
        if not isinstance(value, str):
            return Shown(Form.HIDDEN, PLACEHOLDER, text), row
        if form is Form.MASKED:
            shown = mask.mask(str(spec.kind), value, char=mask_char) if spec.kind is not None else PLACEHOLDER
            return Shown(form, shown, text), row
        return Shown(form, value, value), row


def _belongs(exchange: Exchange, text: str, row: CellRow) -> bool:
    """Whether the page shows this cell as part of its own record."""
    place = (row.entity, row.field, row.record)
    met = exchange.cells_at.get(text)
    if met:
        return met == {place}
    operation = exchange.operation
    if operation is None or operation.entity not in (row.entity, _ANY_ENTITY):
        return False
    return row.record == operation.record
