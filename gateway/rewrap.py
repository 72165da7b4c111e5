"""Rotation of a tenant's key as durable work: a new version, every field key wrapped anew, the count, old ones closed.

Only wrappings change, so it takes seconds; it is a job all the same, because a kill between two of its steps must leave
neither a key without a wrapping nor an old version that is closed too early.
"""

import asyncio
from dataclasses import dataclass

from gateway.durable import Durable
from gateway.job import Job, Json, Slice
from gateway.rotation import Record
from kms.tenant_key import TenantKeys

KIND = "rewrap"
PAGE = 100
SETTLE_S = 15.0
"""Longer than any call of a provider: a field key that was being wrapped under the old version is stored by then."""


@dataclass(frozen=True, slots=True)
class _Cursor:
    """phase: "rotate", "walk" or "check"; after: id of the last key looked at, in hex; newest: the version made."""

    phase: str = "rotate"
    after: str = ""
    newest: int = 0
    changed: int = 0

    def json(self) -> dict[str, Json]:
        """What is kept in the row of the job."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, stored: Json) -> "_Cursor":
        """The cursor of a job; the first one when there is none."""
        return cls(**stored) if isinstance(stored, dict) else cls()  # type: ignore[arg-type]


class TenantKeyWork:
    """Does the slices of jobs of the kind `rewrap`."""

    def __init__(self, keys: TenantKeys, record: Record, settle_s: float = SETTLE_S) -> None:
        self._keys = keys
        self._record = record
        self._settle_s = settle_s

    async def slice(self, job: Job) -> Slice:
        """One step; see gateway.job.Work."""
        at = _Cursor.of(job.cursor)
        if at.phase == "rotate":
            return await self._rotate(job)
        if at.phase == "check":
            return await self._check(job, at)
        page = await self._keys.rewrap(job.tenant, at.newest, bytes.fromhex(at.after), job.quota(PAGE))
        phase, after = ("walk", page.after.hex()) if page.after is not None else ("check", "")
        moved = _Cursor(phase, after, at.newest, at.changed + page.changed)
        done = job.done + page.seen
        return Slice(moved.json(), done, max(job.total, done))

    async def _rotate(self, job: Job) -> Slice:
        old = int(str(job.arguments["from"]))
        await self._record(job.tenant, "keys.rotate.begin", "tenant-key", {"change": f"v{old}"})
        newest = await self._keys.rotate(job.tenant, old)
        return Slice(_Cursor("walk", "", newest).json(), 0, await self._keys.total(job.tenant))

    async def _check(self, job: Job, at: _Cursor) -> Slice:
        close = bool(job.arguments.get("close"))
        if close:
            await asyncio.sleep(self._settle_s)
        if await self._keys.left(job.tenant, at.newest):
            return Slice(_Cursor("walk", "", at.newest, at.changed).json(), 0, await self._keys.total(job.tenant))
        if close:
            await self._keys.close(job.tenant, at.newest)
        state = "closed" if close else "rotated"
        told: dict[str, Json] = {"change": f"v{at.newest}:{state}", "count": at.changed}
        await self._record(job.tenant, "keys.rotate.end", "tenant-key", told)
        return Slice(at.json(), job.done, job.done, finished=True)


async def begin(durable: Durable, keys: TenantKeys, tenant: str, *, close: bool) -> Job:
    """Begin the rotation of a tenant's key; from the same version twice is one job. Raises KeysUnavailable."""
    old = await keys.newest(tenant)
    arguments: dict[str, Json] = {"from": old, "close": close}
    return await durable.begin(f"{KIND}-{tenant}-v{old}", KIND, tenant, arguments)
