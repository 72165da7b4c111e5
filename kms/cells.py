"""Cells: whole values sealed in the CRM's own column, each bound to one record.

A cell of a known record is bound to it directly. On create the record is not known: such a cell carries a random id,
which is bound by `bind` with the CRM's answer to the create or with our own read-back (never by another user's read).
A bound id is refused under a second record; an id not bound yet opens nowhere. What does not open is None, for whatever
reason: the caller shows it as hidden and must not save it back.
Empty text stays empty (a ciphertext would count as filled), null is refused, 0 and false are sealed.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from kms import cell as text_form
from kms.cell_store import CellRow, CellStore
from kms.envelope import CELL_BYTES, NONCE_BYTES, Context, EnvelopeInvalid, FieldKey, Sealing, cell_id, key_id
from kms.keyring import Keyring
from kms.original import Value, open_value, seal_value
from kms.suites.aes_siv import AES_256_SIV

APPLICATION = "cell"
PURPOSE = "seal"


class Cells:
    """Cells of all tenants; one per process.

    sealing: how a tenant seals new values; most: bindings remembered (they never change); entropy: n random bytes.
    """

    def __init__(
        self,
        store: CellStore,
        keyring: Keyring,
        sealing: Callable[[str], Sealing],
        *,
        most: int = 50_000,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._sealing = sealing
        self._most = most
        self._entropy = entropy
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
    ) -> list[str]:
        """Texts for (value, record) pairs; record None: not known yet.

        deterministic: AES-256-SIV, where the profile accepts that equality shows; such cells are bound to the field
        only. Raises KeysUnavailable, ValueRefused, SuiteRetired.
        """
        key = await self._keyring.field_key(tenant, scope_of(entity, field), PURPOSE)
        sealing = self._sealing(tenant)
        if deterministic:
            sealing = Sealing(AES_256_SIV, sealing.committed)
        made = []
        for value, record in values:
            if value == "":
                made.append("")
                continue
            context = Context(tenant, APPLICATION, entity, field, record or "")
            if not record and not deterministic:
                context = Context(tenant, APPLICATION, entity, field, cell=self._entropy(CELL_BYTES))
            blob = seal_value(key, value, context, self._entropy(NONCE_BYTES), pad_to=pad_to, sealing=sealing)
            made.append(text_form.write(blob))
        return made

    async def open(self, tenant: str, entity: str, field: str, cells: Sequence[tuple[str, str]]) -> list[Value | None]:
        """Values of (text, record) pairs in order; None for what is no cell of this field of this record.

        Raises KeysUnavailable, StoreUnavailable.
        """
        blobs = [text_form.read(text) for text, _ in cells]
        present = [blob for blob in blobs if blob is not None]
        gone: set[bytes] = set()  # keys that were destroyed: their cells stay as the CRM has them
        keys = await self._keyring.by_id(tenant, {key_id(blob) for blob in present}, gone) if present else {}
        bound = await self._places(tenant, {one for blob in present if (one := cell_id(blob)) is not None})
        opened: list[Value | None] = []
        for blob, (_, record) in zip(blobs, cells, strict=True):
            if blob is None or key_id(blob) in gone:
                opened.append(None)
                continue
            one = cell_id(blob)
            if one is not None and (not record or bound.get(one) != CellRow(entity, field, record)):
                self.damaged += 1
                opened.append(None)
                continue
            context = Context(tenant, APPLICATION, entity, field, record if one is None else "", one)
            opened.append(self._open(keys, blob, context))
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
        rows = {
            one: CellRow(entity, field, record)
            for one, blob in blobs.items()
            if self._open(keys, blob, Context(tenant, APPLICATION, entity, field, cell=one)) is not None
        }
        if rows:
            await self._store.bind_cells(tenant, rows)

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

    def _open(self, keys: dict[bytes, FieldKey], blob: bytes, context: Context) -> Value | None:
        try:
            return open_value(keys, blob, context)
        except EnvelopeInvalid:
            self.damaged += 1
            return None

    async def _places(self, tenant: str, cells: set[bytes]) -> dict[bytes, CellRow]:
        found = {one: row for one in cells if (row := self._bound.get((tenant, one))) is not None}
        missing = [one for one in cells if one not in found]
        if missing:
            read = await self._store.cells(tenant, missing)
            for one, row in read.items():
                self._bound[(tenant, one)] = row
            while len(self._bound) > self._most:
                self._bound.popitem(last=False)
            found |= read
        return found


def scope_of(entity: str, field: str) -> str:
    """The scope of the keys of a field: each field has its own."""
    return f"{APPLICATION}/{entity}/{field}"
