"""Value keys of cells and files: made when one is noted, opened through whoever holds it, gone with the last holder.

A cell or a file is ciphertext in the CRM, in its backups and in its exports, out of our reach. Its key comes from the
field key and from a value key that is kept here only, wrapped for its holder like those of vault entries (kms.holding).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kms.cell_store import CellRow, CellStore, name_of, note_held
from kms.envelope import FieldKey
from kms.holder_store import EntriesErased, HoldersChanged, Place
from kms.holding import Holding, no_persons
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.value_key import KEY_BYTES, derived

_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class CellKeys:
    """Value keys by cell id, and which cells nothing opens any more because whoever held them was erased.

    What is in neither has no value key, or none that opens: it was changed in the store.
    """

    keys: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    erased: set[bytes] = field(default_factory=set)

    def opening(self, cell: bytes | None, key: FieldKey) -> FieldKey | None:
        """The key of a cell that says it is held."""
        value = self.keys.get(cell) if cell is not None else None
        return derived(key, value) if value is not None else None


class CellHolding:
    """Makes and opens value keys of cells and files; one per process. entropy: n random bytes."""

    def __init__(self, store: CellStore, persons: Persons, entropy: Callable[[int], bytes]) -> None:
        self._store = store
        self._holding = Holding(store, persons, entropy)
        self._entropy = entropy

    async def note(self, tenant: str, cells: Sequence[bytes], row: CellRow, exchange: str) -> dict[bytes, bytes]:
        """Note new cells of one field, and give each a value key that is durable when this returns.

        exchange: whose answer will tell the record, where `row` has none. Raises OriginConflict (an id was used
        before), KeysUnavailable, StoreUnavailable.
        """
        if not row.record and not exchange:
            raise ValueError("a value key needs a holder: a record, or the exchange that makes it")
        place = Place(row.entity, row.record, exchange)
        made = {cell: self._entropy(KEY_BYTES) for cell in cells}
        for _ in range(_ATTEMPTS if made else 0):
            try:
                await self._written(tenant, made, row, place)
            except EntriesErased as met:
                await self._holding.erase_again(tenant, met)
            except HoldersChanged:
                continue
            else:
                return made
        if made:
            raise KeysUnavailable("keys-changing", "holders are erased faster than can be written for them")
        return made

    async def _written(self, tenant: str, made: Mapping[bytes, bytes], row: CellRow, place: Place) -> None:
        async with self._store.work(tenant) as work:
            # The holder is locked until the end, so that nobody erases it in between.
            held = await self._holding.opened(tenant, await self._holding.ask(work, [place]))
            wraps = {
                cell: self._holding.wraps(tenant, held, name_of(cell), key, [place])[0] for cell, key in made.items()
            }
            await note_held(work.connection, tenant, dict.fromkeys(made, row), wraps)

    async def value_keys(self, tenant: str, rows: Mapping[bytes, CellRow]) -> CellKeys:
        """Value keys of these cells, those without one left out; what looks erased is asked of the store again.

        Raises StoreUnavailable, and KeysUnavailable also where a key is missing that nobody destroyed.
        """
        found = await self._opened(tenant, rows)
        # A row in memory may be older than a holder that was added since.
        if old := [cell for cell in found.erased if not rows[cell].erased]:
            again = await self._opened(tenant, await self._store.cells(tenant, old))
            found.erased.difference_update(old)
            found.erased.update(again.erased)
            found.keys.update(again.keys)
        return found

    async def _opened(self, tenant: str, rows: Mapping[bytes, CellRow]) -> CellKeys:
        held = {cell: row for cell, row in rows.items() if row.held}
        gone = {cell for cell, row in held.items() if row.erased}
        if any(not row.wraps for cell, row in held.items() if cell not in gone):
            raise KeysUnavailable("value-key-missing", "a value key of a cell or a file is not in the vault")
        wraps = {name_of(cell): row.wraps for cell, row in held.items() if cell not in gone}
        found = await self._holding.value_keys(tenant, wraps) if wraps else None
        if found is None:
            return CellKeys({}, gone)
        names = {name_of(cell): cell for cell in held}
        return CellKeys(
            {names[name]: key for name, key in found.keys.items()}, gone | {names[name] for name in found.erased}
        )


async def value_keys_of(holding: CellHolding | None, tenant: str, rows: Mapping[bytes, CellRow]) -> CellKeys:
    """The same where perhaps nobody said where person keys are; raises KeysUnavailable then, if any is needed."""
    if holding is not None:
        return await holding.value_keys(tenant, rows)
    if any(row.held for row in rows.values()):
        raise no_persons()
    return CellKeys()
