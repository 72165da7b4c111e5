"""Keys of what stands in the CRM itself: cells in its columns, its sealed files, digits under FF1.

A new key serves what is written from now on. What is in the CRM stays under the old one, which stays live: no rotation
here reads the CRM. `left` counts what is known to stand there, so that nobody is told that nothing does: every
different number that was made under the key (some may have been overwritten since), and every file and cell whose id
was noted before the change. Cells that were sealed for a known record are noted nowhere and are not in the count.
"""

from kms import beside, cells
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.digit_store import DigitStore
from kms.rotation import End, Renewed

FILES = "file"
_NOTED = (cells.APPLICATION, FILES)


class CrmMover:
    """`kms.rotation.Mover` that moves nothing and counts."""

    def __init__(self, store: CellStore, kept: Beside, made: DigitStore | None = None) -> None:
        self._made = made
        self._store = store
        self._beside = kept

    def end(self, scope: str, purpose: str) -> End | None:
        """The old key stays."""
        application, _, place = scope.partition("/")
        noted = application in _NOTED and purpose == cells.PURPOSE
        digits = application == beside.DIGITS and purpose == beside.FF1
        return End.STANDING if place and (noted or digits) else None

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """Nothing is moved."""
        return 0

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Nothing is moved."""
        return Renewed(None, 0, 0, 0, 0)

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int:
        """Fields, cells and files that are known to be under a key; see above. Raises StoreUnavailable."""
        application, entity, field = scope.split("/", 2)
        if application == beside.DIGITS:
            made = await self._made.under(tenant, entity, field, key) if self._made is not None else 0
            return made + await self._beside.digits_under(tenant, entity, field, key)
        return await self._store.cells_before(tenant, entity, field, key)
