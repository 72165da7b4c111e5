"""Keys of what stands in the CRM itself: cells in its columns, its sealed files, digits under FF1.

A new key serves what is written from now on. What is in the CRM stays under the old one, which stays live: no rotation
here reads the CRM. `left` counts what is known to stand there, so that nobody is told that nothing does: every
different number that was made under the key (some may have been overwritten since), and every file and cell whose id
was noted before the change. Cells that were sealed for a known record are noted nowhere and are not in the count.
"""

from kms import cells, digits
from kms.cell_store import CellStore
from kms.digit_store import DigitStore
from kms.rotation import End, Renewed

FILES = "file"
_NOTED = (cells.APPLICATION, FILES)


class CrmMover:
    """`kms.rotation.Mover` that moves nothing and counts."""

    def __init__(self, store: CellStore, made: DigitStore) -> None:
        self._store = store
        self._made = made

    def end(self, scope: str, purpose: str) -> End | None:
        """The old key stays."""
        application, _, place = scope.partition("/")
        noted = application in _NOTED and purpose == cells.PURPOSE
        numbers = application == digits.SCOPE and purpose == digits.PURPOSE
        return End.STANDING if place and (noted or numbers) else None

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """Nothing is moved."""
        return 0

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Nothing is moved."""
        return Renewed(None, 0, 0, 0, 0)

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int:
        """Fields, cells and files that are known to be under a key; see above. Raises StoreUnavailable."""
        application, entity, field = scope.split("/", 2)
        if application == digits.SCOPE:
            return await self._made.under(tenant, entity, field, key)
        return await self._store.cells_before(tenant, entity, field, key)
