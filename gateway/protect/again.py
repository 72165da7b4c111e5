"""Records that an import may have changed: read again by the gateway itself, so that what it brought is bound to them.

An import's answer names no records, and those it updates are not new, so no look at what is new finds them. But its
rows hold values that stood in these records before, such as an address. So the records in which something stands that
waits for its record in a young import are looked at, ever more rarely, because an import may be a job of hours. Nothing
of an import is bound before all of them were read: a value that stands in two places is nobody's.
"""

import time
from collections.abc import Callable, Collection, Mapping

from gateway.standing import IMPORTED
from kms.tokens import SurrogateVault

FIRST_S = 2.0  # between the first two looks for one import, twice as long each time
WITHIN_S = 86_400.0  # after a day nobody waits any more
AT_ONCE = 200  # records of one look
_MOST = 20_000  # records of all imports
RecordKey = tuple[str, str]  # entity, record
Place = tuple[str, str, str]  # entity, field, record


class Seen:
    """What looks found. places: surrogate → where it stands; makers: (entity, record) → who made it, for the CRM."""

    def __init__(self) -> None:
        self.places: dict[str, set[Place]] = {}
        self.makers: dict[RecordKey, str] = {}
        self.read: dict[Place, set[str]] = {}
        """Fields of records that were read again, with all that stands in them."""

    def made_by(self, surrogate: str, maker: str) -> set[Place]:
        """Places of a surrogate in records that one person made."""
        return {place for place in self.places[surrogate] if self.makers.get((place[0], place[2])) == maker}


class Again:
    """Chooses which records are read again, and keeps what was seen until all of them were; one for each CRM.

    clock: monotonic seconds.
    """

    def __init__(self, vault: SurrogateVault, tenant: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._vault = vault
        self._tenant = tenant
        self._clock = clock
        self._pauses: dict[str, tuple[float, float]] = {}  # cell → next look, its pause
        self._left: dict[str, dict[RecordKey, None]] = {}  # cell → records of this pass that were not read yet
        self._seen = Seen()

    @property
    def pending(self) -> Collection[str]:
        """Cells of imports not all of whose records were read yet."""
        return self._left.keys()

    async def next(self, entities: Collection[str], *, every: bool) -> tuple[list[RecordKey], Seen]:
        """Records, (entity, record), to be read now, and what was seen so far; raises StoreUnavailable.

        every: look for each import, whatever its pause: something new may hold what waits, and all places count.
        """
        if not self._left:
            self._seen = Seen()
        met: dict[str, dict[RecordKey, None]] = {}
        for cell, entity, record in await self._vault.met_again(self._tenant, IMPORTED, WITHIN_S, _MOST):
            if entity in entities:
                met.setdefault(cell, {})[entity, record] = None
        now = self._clock()
        for cell in self._pauses.keys() - met.keys():
            del self._pauses[cell]
        for cell, records in met.items():
            if cell in self._left or (not every and self._pauses.get(cell, (now, 0.0))[0] > now):
                continue
            pause = 2 * self._pauses[cell][1] if cell in self._pauses else FIRST_S
            self._pauses[cell] = now + pause, pause
            self._left[cell] = dict(records)
        chosen: dict[RecordKey, None] = {}
        for records in self._left.values():
            chosen.update(dict.fromkeys(list(records)[: max(0, AT_ONCE - len(chosen))]))
        for cell in list(self._left):
            for one in chosen:
                self._left[cell].pop(one, None)
            if not self._left[cell]:
                del self._left[cell]
        return list(chosen), self._seen

    async def bound(self, places: Collection[RecordKey]) -> set[tuple[str, Place]]:
        """(surrogate, place) of what is known to stand in these records already; raises StoreUnavailable."""
        held = await self._vault.standing_in(self._tenant, sorted(places), IMPORTED)
        return {
            (entry.surrogate, (entity, name, record))
            for (entity, record), some in held.items()
            for name, entry, _ in some
        }

    async def settle(self, read: Mapping[Place, Collection[str]]) -> None:
        """These fields hold just what was read in them; raises StoreUnavailable."""
        await self._vault.hold(self._tenant, read)
