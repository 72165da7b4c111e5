"""Cells: whole values sealed in the CRM's own column, each bound to one record.

A cell of a known record is bound to it directly. On create the record is not known: such a cell carries a random id,
which is bound by `bind` with the CRM's answer to the create or with our own read-back (never by another user's read).
A bound id is refused under a second record; an id not bound yet opens nowhere. What does not open is None, for whatever
reason: the caller shows it as hidden and must not save it back.
Each new one has a value key (kms.cell_keys), so that erasing its record's holder ends every copy of it; those of before
open with the field key alone, and say so.
Empty text stays empty (a ciphertext would count as filled), null is refused, 0 and false are sealed.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from kms import cell as text_form
from kms.cell_keys import CellHolding, CellKeys, value_keys_of
from kms.cell_store import CellRow, CellStore
from kms.envelope import (
    CELL_BYTES,
    NONCE_BYTES,
    Context,
    EnvelopeInvalid,
    FieldKey,
    Sealing,
    cell_id,
    is_held,
    key_id,
)
from kms.keyring import Keyring
from kms.original import Value, open_value, seal_value
from kms.persons import Persons
from kms.suites.aes_siv import AES_256_SIV
from kms.value_key import derived

APPLICATION = "cell"
PURPOSE = "seal"


class Cells:
    """Cells of all tenants; one per process.

    sealing: how a tenant seals new values; most: bindings remembered (they never change); entropy: n random bytes;
    persons: whose keys hold new cells, None: nobody's.
    """

    def __init__(
        self,
        store: CellStore,
        keyring: Keyring,
        sealing: Callable[[str], Sealing],
        *,
        most: int = 50_000,
        entropy: Callable[[int], bytes] = os.urandom,
        persons: Persons | None = None,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._sealing = sealing
        self._most = most
        self._entropy = entropy
        self._holding = None if persons is None else CellHolding(store, persons, entropy)
        self._bound: OrderedDict[tuple[str, bytes], CellRow] = OrderedDict()
        self.damaged = 0
        """Cells met that did not open; each stayed as it is."""

    async def seal(
        self,
        tenant: str,
        entity: str,
        field: str,
        values: Iterable[tuple[Value, str | None]],
        *,
        pad_to: int = 16,
        deterministic: bool = False,
        exchange: str = "",
    ) -> list[str]:
        """Texts for (value, record) pairs; record None: not known yet.

        exchange: who writes, and whose answer tells a record that is not known; cells of an exchange have ids, so that
        they are found wherever they stand, and are bound before they open.

        deterministic: AES-256-SIV, where the profile accepts that equality shows; such cells are bound to the field
        only, and have no value key. Raises KeysUnavailable, StoreUnavailable, ValueRefused, SuiteRetired.
        """
        key = await self._keyring.field_key(tenant, scope_of(entity, field), PURPOSE)
        sealing = self._sealing(tenant)
        if deterministic:
            sealing = Sealing(AES_256_SIV, sealing.committed)
        given = list(values)
        ids = await self._noted(tenant, entity, field, given, exchange) if not deterministic else {}
        made = []
        for number, (value, record) in enumerate(given):
            if value == "":
                made.append("")
                continue
            if number in ids:
                cell, value_key = ids[number]
                context = Context(tenant, APPLICATION, entity, field, cell=cell)
                own, nonce = derived(key, value_key), self._entropy(NONCE_BYTES)
                blob = seal_value(own, value, context, nonce, pad_to=pad_to, sealing=sealing, held=True)
                made.append(text_form.write(blob))
                continue
            context = Context(tenant, APPLICATION, entity, field, record or "")
            if (not record or exchange) and not deterministic:
                context = Context(tenant, APPLICATION, entity, field, cell=self._entropy(CELL_BYTES))
            blob = seal_value(key, value, context, self._entropy(NONCE_BYTES), pad_to=pad_to, sealing=sealing)
            made.append(text_form.write(blob))
        return made

    async def _noted(
        self, tenant: str, entity: str, field: str, values: Sequence[tuple[Value, str | None]], exchange: str
    ) -> dict[int, tuple[bytes, bytes]]:
        """Id and value key of each new cell, by its number; none where nobody holds any."""
        if self._holding is None:
            return {}
        made: dict[int, tuple[bytes, bytes]] = {}
        for record in dict.fromkeys(record or "" for value, record in values if value != ""):
            numbers = [number for number, (value, one) in enumerate(values) if value != "" and (one or "") == record]
            cells = [self._entropy(CELL_BYTES) for _ in numbers]
            keys = await self._holding.note(tenant, cells, CellRow(entity, field, record), exchange)
            made |= {number: (cell, keys[cell]) for number, cell in zip(numbers, cells, strict=True)}
        return made

    async def open(self, tenant: str, entity: str, field: str, cells: Sequence[tuple[str, str]]) -> list[Value | None]:
        """Values of (text, record) pairs in order; None for what is no cell of this field of this record.

        None, too, for a cell whose holders were erased, and one whose field's keys were destroyed. Raises
        KeysUnavailable, also where a value key is missing that nobody destroyed; StoreUnavailable.
        """
        blobs = [text_form.read(text) for text, _ in cells]
        present = [blob for blob in blobs if blob is not None]
        gone: set[bytes] = set()  # keys that were destroyed: their cells stay as the CRM has them
        keys = await self._keyring.by_id(tenant, {key_id(blob) for blob in present}, gone) if present else {}
        bound = await self._places(tenant, {one for blob in present if (one := cell_id(blob)) is not None})
        held = {one for blob in present if is_held(blob) and (one := cell_id(blob)) is not None}
        values = await value_keys_of(self._holding, tenant, {one: row for one, row in bound.items() if one in held})
        opened: list[Value | None] = []
        for blob, (_, record) in zip(blobs, cells, strict=True):
            one = cell_id(blob) if blob is not None else None
            if blob is None or key_id(blob) in gone or one in values.erased:
                opened.append(None)
                continue
            if one is not None and (not record or bound.get(one) != CellRow(entity, field, record)):
                self.damaged += 1
                opened.append(None)
                continue
            context = Context(tenant, APPLICATION, entity, field, record if one is None else "", one)
            opened.append(self._open(keys, values, blob, context))
        return opened

    async def bind(self, tenant: str, entity: str, field: str, record: str, texts: Sequence[str]) -> None:
        """Bind the cells among these texts, which the CRM holds in this field of this record, all or none.

        Only what opens as a cell of this field is bound. Raises OriginConflict when one belongs to another record;
        KeysUnavailable, StoreUnavailable.
        """
        if not record:
            raise ValueError("binding needs a record")
        blobs = {one: blob for text in texts if (blob := text_form.read(text)) and (one := cell_id(blob)) is not None}
        keys = await self._keyring.by_id(tenant, {key_id(blob) for blob in blobs.values()}) if blobs else {}
        noted = [one for one, blob in blobs.items() if is_held(blob)]
        values = CellKeys()
        if noted:
            values = await value_keys_of(self._holding, tenant, await self._store.cells(tenant, noted))
        rows = {
            one: CellRow(entity, field, record)
            for one, blob in blobs.items()
            if self._open(keys, values, blob, Context(tenant, APPLICATION, entity, field, cell=one)) is not None
        }
        if rows:
            await self._store.bind_cells(tenant, rows)

    async def give_up(self, tenant: str, texts: Iterable[str]) -> None:
        """Forget new cells that the CRM surely did not take; raises StoreUnavailable."""
        blobs = [blob for text in texts if (blob := text_form.read(text)) is not None and is_held(blob)]
        if ids := [one for blob in blobs if (one := cell_id(blob)) is not None]:
            await self._store.give_up_cells(tenant, ids)

    async def stand(self, tenant: str, entity: str, field: str, record: str, text: str) -> None:
        """Note that the CRM holds this bound cell in this field of this record now; text "": nothing any more.

        Raises StoreUnavailable.
        """
        blob = text_form.read(text)
        one = cell_id(blob) if blob is not None else None
        await self._store.stand_cell(tenant, CellRow(entity, field, record), one, blob)

    async def standing(self, tenant: str, entity: str, field: str, record: str) -> str | None:
        """The cell this field of this record holds now; raises StoreUnavailable."""
        blob = await self._store.standing_cell(tenant, CellRow(entity, field, record))
        return text_form.write(blob) if blob is not None else None

    async def places(self, tenant: str, texts: Iterable[str]) -> dict[str, CellRow]:
        """Where these cells belong, by text; those that are no cells or are not bound are absent.

        Raises StoreUnavailable.
        """
        ids = {text: one for text in texts if (blob := text_form.read(text)) and (one := cell_id(blob)) is not None}
        bound = await self._places(tenant, set(ids.values())) if ids else {}
        return {text: row for text, one in ids.items() if (row := bound.get(one)) is not None and row.record}

    def _open(self, keys: Mapping[bytes, FieldKey], values: CellKeys, blob: bytes, context: Context) -> Value | None:
        held, key = is_held(blob), keys.get(key_id(blob))
        if held and key is not None:
            own = values.opening(cell_id(blob), key)
            keys = {own.id: own} if own is not None else {}
        try:
            return open_value(keys, blob, context, held=held)
        except EnvelopeInvalid:
            self.damaged += 1
            return None

    async def _places(self, tenant: str, cells: set[bytes]) -> dict[bytes, CellRow]:
        found = {one: row for one in cells if (row := self._bound.get((tenant, one))) is not None}
        missing = [one for one in cells if one not in found]
        if missing:
            read = await self._store.cells(tenant, missing)
            for one, row in read.items():
                if row.record:  # one that waits is not bound for good
                    self._bound[(tenant, one)] = row
            while len(self._bound) > self._most:
                self._bound.popitem(last=False)
            found |= read
        return found


def scope_of(entity: str, field: str) -> str:
    """The scope of the keys of a field: each field has its own."""
    return f"{APPLICATION}/{entity}/{field}"
