"""Refusals of nobody known, counted instead of written one by one, so that a flood cannot fill the trail.

One entry per address, reason and minute says how many there were. The number of keys is bounded: beyond it the
address is left out, and beyond that nothing is lost either, because the remaining key always exists. A count that
could not be written stays and is tried again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from audit.entry import AuditEntry
from audit.log import AuditLog, AuditUnavailable

KEYS_LIMIT = 10_000
FLUSH_S = 5.0
MANY_ADDRESSES = "*"


@dataclass(slots=True)
class _Count:
    count: int
    first: datetime
    last: datetime
    status: int


class RefusalCounter:
    """Counts in memory; `due` hands out the entries of the minutes that are over.

    new_id: makes the id of an entry. keys_limit: how many (tenant, address, reason, minute) are told apart.
    """

    def __init__(self, new_id: Callable[[], str], *, keys_limit: int = KEYS_LIMIT) -> None:
        self._new_id = new_id
        self._keys_limit = keys_limit
        self._counts: dict[tuple[str, str, str, datetime], _Count] = {}

    def note(self, tenant: str, address: str, reason: str, status: int, at: datetime) -> None:
        """Count one refusal."""
        minute = at.replace(second=0, microsecond=0)
        key = (tenant, address, reason, minute)
        found = self._counts.get(key)
        if found is None and len(self._counts) >= self._keys_limit:
            key = (tenant, MANY_ADDRESSES, reason, minute)
            found = self._counts.get(key)
        if found is None:
            self._counts[key] = _Count(1, at, at, status)
            return
        found.count += 1
        found.last = at

    def due(self, now: datetime, *, everything: bool = False) -> list[AuditEntry]:
        """Take out the entries of the minutes that are over (all of them at the end of the process)."""
        current = now.replace(second=0, microsecond=0)
        keys = [key for key in self._counts if everything or key[3] < current]
        return [self._entry(key, self._counts.pop(key), now) for key in keys]

    def put_back(self, entry: AuditEntry) -> None:
        """Count again what could not be written."""
        first = datetime.fromisoformat(entry.fields["first"])
        minute = first.replace(second=0, microsecond=0)
        key = (entry.tenant, entry.client, entry.reason, minute)
        last = datetime.fromisoformat(entry.fields["last"])
        found = self._counts.setdefault(key, _Count(0, first, last, entry.status))
        found.count += entry.fields["count"]

    async def run(self, log: AuditLog, now: Callable[[], datetime], every_s: float = FLUSH_S) -> None:
        """Write what is due, without end; on cancellation write what is left."""
        try:
            while True:
                await asyncio.sleep(every_s)
                await self.flush(log, now())
        finally:
            await self.flush(log, now(), everything=True)

    async def flush(self, log: AuditLog, now: datetime, *, everything: bool = False) -> None:
        """Write what is due; what cannot be written is kept for the next time."""
        waiting = deque(self.due(now, everything=everything))
        try:
            while waiting:
                entry = waiting.popleft()
                try:
                    await log.append(entry)
                except AuditUnavailable:
                    self.put_back(entry)
        finally:
            for entry in waiting:  # it was cancelled; the entry it waited for is with the log
                self.put_back(entry)

    def _entry(self, key: tuple[str, str, str, datetime], found: _Count, now: datetime) -> AuditEntry:
        tenant, address, reason, _minute = key
        return AuditEntry(
            at=now,
            client=address,
            fields={"count": found.count, "first": _stamp(found.first), "last": _stamp(found.last)},
            id=self._new_id(),
            kind="refusal-count",
            reason=reason,
            status=found.status,
            tenant=tenant,
        )


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
