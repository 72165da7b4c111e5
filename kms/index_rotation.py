"""Rotation of the keys of the blind index: terms of every value under the current key, those under old ones gone.

Surrogates and values stay as they are; only what a part of a value finds is made anew (kms.blind says how).
"""

from kms.blind import BlindIndex, Entries
from kms.index import PURPOSES
from kms.rotation import End, Renewed
from kms.surrogate import KINDS


class IndexMover:
    """`kms.rotation.Mover` of the purposes `prefix`, `suffix` and `part` of every kind. entries: who opens values."""

    def __init__(self, index: BlindIndex, entries: Entries) -> None:
        self._index = index
        self._entries = entries

    def end(self, scope: str, purpose: str) -> End | None:
        """Nothing is left under the old key."""
        return End.RETIRED if scope in KINDS and purpose in PURPOSES else None

    async def total(self, tenant: str, scope: str, purpose: str) -> int:
        """Entries of the kind."""
        return await self._index.total(tenant, scope)

    async def renew(self, tenant: str, scope: str, purpose: str, after: str, most: int) -> Renewed:
        """Move the next entries; those that do not open count as damaged and keep no term."""
        moved = await self._index.renew(self._entries, tenant, scope, purpose, after, most)
        return Renewed(moved.after, moved.seen, moved.moved, moved.closed, 0)

    async def left(self, tenant: str, scope: str, purpose: str, key: bytes) -> int:
        """Rows of terms under a key."""
        return await self._index.left(tenant, key)
