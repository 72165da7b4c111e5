"""Opened vault entries in memory: bounded, short-lived, and never longer than the key they were opened with.

Three times count: how long a clear value stays (minutes, at most as long as its key), how long its origins are taken
as true (seconds; notices shorten it), and how long a surrogate is taken as unknown. Only dictionary look-ups happen on
the way of a request.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from kms.entry import VaultEntry

_DROPPED = 10_000


class Slot(NamedTuple):
    """What is kept of one surrogate; entry None: the vault does not know it.

    fresh: clock time up to which origins are taken as true; until: up to which the clear value may be used.
    """

    entry: VaultEntry | None
    fresh: float
    until: float
    blob: bytes
    spellings: Mapping[bytes, str]


class OpenedEntries:
    """The cache of one process.

    most: entries of all tenants together; value_s, origin_s, unknown_s: seconds; clock: monotonic seconds.
    """

    def __init__(
        self, *, most: int, value_s: float, origin_s: float, unknown_s: float, clock: Callable[[], float]
    ) -> None:
        self._most = most
        self._value_s = value_s
        self._origin_s = origin_s
        self._unknown_s = unknown_s
        self._clock = clock
        self._tenants: dict[str, dict[str, Slot]] = {}
        self._size = 0
        self._dropped: dict[tuple[str, str], int] = {}
        self._all_dropped = 0
        self.generation = 0
        """Counts invalidations: what was read before one that concerns it is not kept after it."""

    def get(self, tenant: str, surrogates: Iterable[str]) -> tuple[dict[str, VaultEntry], list[str]]:
        """Entries that may be used now, and the surrogates that have to be read; known unknowns are in neither."""
        slots = self._tenants.get(tenant)
        if slots is None:
            return {}, list(surrogates)
        now = self._clock()
        found: dict[str, VaultEntry] = {}
        missing: list[str] = []
        for surrogate in surrogates:
            slot = slots.get(surrogate)
            if slot is None or slot[1] <= now:
                missing.append(surrogate)
            elif (entry := slot[0]) is not None:
                found[surrogate] = entry
        return found, missing

    def stale(self, tenant: str, surrogate: str) -> Slot | None:
        """A slot whose clear value may still be used although its origins have to be read again."""
        slot = self._tenants.get(tenant, {}).get(surrogate)
        return slot if slot is not None and slot.entry is not None and slot.until > self._clock() else None

    def may_keep(self, tenant: str, surrogate: str, since: int) -> bool:
        """Whether what was read at the generation `since` is still true."""
        return since >= self._all_dropped and self._dropped.get((tenant, surrogate), 0) <= since

    def keep(
        self, tenant: str, entry: VaultEntry, blob: bytes, spellings: Mapping[bytes, str], opened: float, until: float
    ) -> None:
        """Keep an entry read now; opened: when its value was opened, until: when its key ends."""
        until = min(until, opened + self._value_s)
        self._put(
            tenant, entry.surrogate, Slot(entry, min(self._clock() + self._origin_s, until), until, blob, spellings)
        )

    def keep_unknown(self, tenant: str, surrogate: str) -> None:
        """Remember for a short time that the vault does not know a surrogate."""
        until = self._clock() + self._unknown_s
        self._put(tenant, surrogate, Slot(None, until, until, b"", {}))

    def drop(self, tenant: str, surrogates: Iterable[str]) -> None:
        """Forget these entries: something about them changed."""
        self.generation += 1
        slots = self._tenants.get(tenant, {})
        if len(self._dropped) > _DROPPED:
            self._dropped.clear()
            self._all_dropped = self.generation
        for surrogate in surrogates:
            self._dropped[(tenant, surrogate)] = self.generation
            if slots.pop(surrogate, None) is not None:
                self._size -= 1

    def drop_all(self, tenant: str | None = None) -> None:
        """Forget everything of a tenant, or of all."""
        self.generation += 1
        self._all_dropped = self.generation
        self._dropped.clear()
        if tenant is None:
            self._tenants.clear()
        else:
            self._tenants.pop(tenant, None)
        self._size = sum(len(slots) for slots in self._tenants.values())

    def __len__(self) -> int:
        return self._size

    def _put(self, tenant: str, surrogate: str, slot: Slot) -> None:
        slots = self._tenants.setdefault(tenant, {})
        if slots.pop(surrogate, None) is not None:
            self._size -= 1
        while self._size >= self._most:
            full = slots or next(other for other in self._tenants.values() if other)
            full.pop(next(iter(full)))  # the one kept longest
            self._size -= 1
        slots[surrogate] = slot
        self._size += 1
