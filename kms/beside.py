"""Values kept beside the CRM by record, for fields whose shape has no room: dates, and digits under FF1.

A date leaves the same placeholder in every record of the CRM and is sealed here. Digits stay in the CRM under FF1; what
is kept here is which key they are under and their checksum, compared before anything is shown. On create the record is
not known: the envelope waits under the exchange (`cell`), sealed for that, and `bind` seals it anew for its record, so
that a row moved to another record does not open.
Neither form announces itself in the CRM's answers: both are found by profile only.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from kms import fpe
from kms.cell_store import BesideRow, CellStore
from kms.envelope import NONCE_BYTES, Context, EnvelopeInvalid, FieldKey, Sealing, key_id
from kms.keyring import Keyring
from kms.original import Value, open_value, seal_value

APPLICATION = "beside"
WAITING = "beside waiting"
DIGITS, FF1 = "ff1", "ff1"
PLACEHOLDER = date(1900, 1, 1)
"""What stands in the CRM instead of a date unless the profile names another one: valid, and nobody's."""
PAD_TO = 32
_PIECE = 500


class Beside:
    """Dates and digits of all tenants; one per process. sealing: how a tenant seals new values."""

    def __init__(
        self,
        store: CellStore,
        keyring: Keyring,
        sealing: Callable[[str], Sealing],
        *,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._sealing = sealing
        self._entropy = entropy
        self.damaged = 0
        """Envelopes and digits met that did not open; each stayed hidden."""

    async def keep(self, tenant: str, entity: str, field: str, value: Value, *, record: str | None, cell: str) -> None:
        """Keep the value of a field; record None: it waits under `cell` (one for each new record) for `bind`.

        Raises KeysUnavailable, StoreUnavailable, ValueRefused, SuiteRetired.
        """
        if not record and not cell:
            raise ValueError("a value without a record needs a cell")
        await self._store.keep_beside(tenant, [await self._row(tenant, entity, field, value, record or "", cell)])

    async def keep_digits(
        self, tenant: str, entity: str, field: str, clear: str, *, record: str | None, cell: str
    ) -> str:
        """Keep what is needed to open digits again, and give the digits for the CRM; raises DigitsRefused, too."""
        key = await self._keyring.field_key(tenant, f"{DIGITS}/{entity}/{field}", FF1)
        place = Context(tenant, APPLICATION, entity, field)
        sealed = fpe.encrypt(key, clear, place)
        proof = key.id.hex() + fpe.checksum_of(key, clear, place).hex()
        await self.keep(tenant, entity, field, proof, record=record, cell=cell)
        return sealed

    async def bind(self, tenant: str, cell: str, entity: str, record: str) -> None:
        """Give what waits under a cell its record; raises KeysUnavailable, StoreUnavailable, EnvelopeInvalid."""
        if not cell or not record:
            raise ValueError("binding needs a cell and a record")
        waiting = await self._store.waiting_beside(tenant, cell, entity)
        if not waiting:
            return
        keys = await self._keyring.by_id(tenant, {key_id(row.blob) for row in waiting})
        settled = []
        for row in waiting:
            value = open_value(keys, row.blob, Context(tenant, WAITING, entity, row.field, cell))
            made = await self._row(tenant, entity, row.field, value, record, "")
            settled.append(replace(made, cell=cell))
        await self._store.settle_beside(tenant, settled)

    async def read(self, tenant: str, entity: str, field: str, records: Sequence[str]) -> dict[str, Value]:
        """Values by record; absent where none is kept or where it does not open.

        Raises KeysUnavailable, StoreUnavailable.
        """
        blobs = await self._store.beside(tenant, entity, field, records)
        gone: set[bytes] = set()  # keys that were destroyed: the placeholder is all there is
        keys = await self._keyring.by_id(tenant, {key_id(blob) for blob in blobs.values()}, gone) if blobs else {}
        opened = {}
        for record, blob in blobs.items():
            if key_id(blob) in gone:
                continue
            try:
                opened[record] = open_value(keys, blob, Context(tenant, APPLICATION, entity, field, record))
            except EnvelopeInvalid:
                self.damaged += 1
        return opened

    async def read_digits(self, tenant: str, entity: str, field: str, sealed: Mapping[str, str]) -> dict[str, str]:
        """Clear digits by record, from what the CRM holds by record; absent where they are not what was stored.

        Raises KeysUnavailable, StoreUnavailable.
        """
        proofs = await self.read(tenant, entity, field, list(sealed))
        stored = {record: bytes.fromhex(proof) for record, proof in proofs.items() if isinstance(proof, str)}
        gone: set[bytes] = set()
        keys = await self._keyring.by_id(tenant, {proof[:4] for proof in stored.values()}, gone) if stored else {}
        place = Context(tenant, APPLICATION, entity, field)
        opened = {}
        for record, proof in stored.items():
            if proof[:4] in gone:
                continue
            key: FieldKey | None = keys.get(proof[:4])
            try:
                if key is None:
                    raise fpe.ChecksumWrong
                opened[record] = fpe.open_checked(key, sealed[record], place, proof[4:])
            except (fpe.ChecksumWrong, fpe.DigitsRefused):
                self.damaged += 1
        return opened

    async def give_up(self, tenant: str, cells: Sequence[str]) -> None:
        """Delete what waits under these cells, because the CRM did not take it; raises StoreUnavailable."""
        await self._store.drop_waiting(tenant, cells)

    async def digits_under(self, tenant: str, entity: str, field: str, key: bytes) -> int:
        """In how many records a field stands in the CRM under an FF1 key; raises KeysUnavailable, StoreUnavailable.

        What is kept of them and does not open is counted, too: it may be.
        """
        count, after = 0, ("", "")
        while rows := await self._store.every_beside(tenant, entity, field, after, _PIECE):
            keys = await self._keyring.by_id(tenant, {key_id(row.blob) for row in rows}, set())
            for row in rows:
                try:
                    proof = open_value(keys, row.blob, place_of(tenant, entity, field, row.record, row.cell))
                except EnvelopeInvalid:
                    count += 1
                    continue
                count += isinstance(proof, str) and proof.startswith(key.hex())
            after = (rows[-1].record, rows[-1].cell)
        return count

    async def forget(self, tenant: str, entity: str, field: str, record: str) -> None:
        """Delete what is kept for a field of a record; raises StoreUnavailable."""
        await self._store.drop_beside(tenant, entity, field, record)

    async def _row(self, tenant: str, entity: str, field: str, value: Value, record: str, cell: str) -> BesideRow:
        key = await self._keyring.field_key(tenant, f"{APPLICATION}/{entity}/{field}", "seal")
        context = place_of(tenant, entity, field, record, cell)
        nonce = self._entropy(NONCE_BYTES)
        blob = seal_value(key, value, context, nonce, pad_to=PAD_TO, sealing=self._sealing(tenant))
        return BesideRow(entity, field, record, "" if record else cell, key.id, blob)


def place_of(tenant: str, entity: str, field: str, record: str, cell: str) -> Context:
    """What an envelope is bound to: its record, or the exchange that it waits under."""
    application, bound_to = (APPLICATION, record) if record else (WAITING, cell)
    return Context(tenant, application, entity, field, bound_to)
