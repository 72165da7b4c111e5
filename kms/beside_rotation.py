"""Rotation of the keys of values beside the CRM; what has no value key yet gets one on the way.

A row keeps its value key and is sealed anew under the field key of now and that, by compare-and-set. A row of before
value keys is wrapped for the holder of its record, which a transaction finds or makes as for any write.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from kms.beside import APPLICATION, PAD_TO, SEAL, Beside, place_of, scope_of
from kms.beside_store import BesideRow, replace_beside
from kms.envelope import NONCE_BYTES, EnvelopeInvalid, FieldKey, Sealing, key_id
from kms.holder_store import Place
from kms.holding import ValueKeys
from kms.keyring import Keyring
from kms.original import Value, seal_value
from kms.rotation import End, Renewed
from kms.value_key import sealing


class BesideMover:
    """`kms.rotation.Mover` of vault_beside. entropy: n random bytes; how: how a tenant seals what is new."""

    def __init__(
        self, beside: Beside, keyring: Keyring, entropy: Callable[[int], bytes], how: Callable[[str], Sealing]
    ) -> None:
        self._beside = beside
        self._keyring = keyring
        self._entropy = entropy
        self._how = how

    def end(self, scope: str, purpose: str) -> End | None:
        """Nothing is left under the old key."""
        return End.RETIRED if purpose == SEAL and _field(scope) is not None else None

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """Rows of a field."""
        return await self._beside.store.count_beside(tenant, *_required(scope))

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Seal the next rows anew; after: JSON of record, cell and generation of the last one, "" for the first.

        Raises KeysUnavailable, StoreUnavailable.
        """
        record, cell, generation = json.loads(after) if after else ("", "", -1)
        rows = await self._beside.store.every_beside(tenant, *_required(scope), (record, cell, generation), most)
        done, damaged = await self._beside.with_current_keys(tenant, lambda: self._anew(tenant, scope, rows))
        last = rows[-1] if len(rows) == most else None
        following = None if last is None else json.dumps([last.record, last.cell, last.generation])
        return Renewed(following, len(rows), done, damaged, 0)

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int:
        """Rows that name a key."""
        return await self._beside.store.count_beside(tenant, *_required(scope), key)

    async def _anew(self, tenant: str, scope: str, rows: Sequence[BesideRow]) -> tuple[int, int]:
        """How many were sealed anew, and how many do not open; what is erased or destroyed is left as it is."""
        self._keyring.refresh(tenant)  # no notice of other processes is needed to write under the key of now
        key = await self._keyring.field_key(tenant, scope, SEAL)
        holding = self._beside.holding
        todo = [row for row in rows if key_id(row.blob) != key.id or (row.holder is None and holding is not None)]
        if not todo:
            return 0, 0
        gone: set[bytes] = set()
        keys = await self._keyring.by_id(tenant, {key_id(row.blob) for row in todo}, gone)
        values = await self._beside.value_keys(tenant, todo)
        opened: list[tuple[BesideRow, Value]] = []
        damaged = 0
        for row in todo:
            if key_id(row.blob) in gone or row.name in values.erased:
                continue
            try:
                opened.append((row, self._beside.opened(tenant, row, keys, values)))
            except EnvelopeInvalid:
                damaged += 1
        return await self._replaced(tenant, key, opened, values), damaged

    async def _replaced(
        self, tenant: str, key: FieldKey, opened: Sequence[tuple[BesideRow, Value]], values: ValueKeys
    ) -> int:
        holding = self._beside.holding
        unheld = {_place(row) for row, _ in opened if row.holder is None}
        async with self._beside.store.work(tenant) as work:
            check = await work.under({key.id})
            asked = await holding.ask(work, unheld) if holding is not None and unheld else None
            await check()
            held = await holding.opened(tenant, asked) if holding is not None and asked is not None else None
            made: list[tuple[BesideRow, BesideRow]] = []
            for row, value in opened:
                if row.holder is None:
                    made.append((row, self._beside.sealed(tenant, row, value, key, held)))
                    continue
                place = place_of(tenant, row.entity, row.field, row.record, row.cell)
                under, nonce = sealing(key, values.keys[row.name]), self._entropy(NONCE_BYTES)
                blob = seal_value(under, value, place, nonce, pad_to=PAD_TO, sealing=self._how(tenant))
                made.append((row, replace(row, blob=blob)))
            return await replace_beside(work.connection, tenant, made)


def _place(row: BesideRow) -> Place:
    return Place(row.entity, row.record, "" if row.record else row.cell)


def _field(scope: str) -> tuple[str, str] | None:
    """Entity and field of a scope of this form."""
    application, _, rest = scope.partition("/")
    entity, slash, name = rest.partition("/")
    return (entity, name) if application == APPLICATION and slash and scope == scope_of(entity, name) else None


def _required(scope: str) -> tuple[str, str]:
    found = _field(scope)
    assert found is not None, "the mover is asked for its own scopes only"
    return found
