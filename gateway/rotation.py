"""Rotation of field keys as durable work: switch, walk over what is sealed, prove that nothing is left, retire.

Every slice may be done again after a kill: the switch is made once, a page changes only what is still under an old
key, and the end is the count in the database, not what the job remembers. Start and end are in the audit trail.
Where what is under a key cannot be moved (kms.rotation.End), the job ends with the switch and says what is left.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from gateway.durable import Durable
from gateway.job import Job, Json, Slice
from kms.rotation import End, Renewed, Rotation

KIND = "rotate"
PAGE = 200
SLICE_S = 1.0
MOST_PASSES = 3

Record = Callable[[str, str, str, Mapping[str, Json]], Awaitable[None]]
"""Writes an audit entry: tenant, operation, target, further fields; raises AuditUnavailable."""


class ValuesLeft(Exception):  # noqa: N818 - names what is wrong
    """Values stay under the old key: damaged entries, or two with an equal value. The old key stays live for them."""

    permanent = True
    problem = "values-left-under-the-old-key"


@dataclass(frozen=True, slots=True)
class _Cursor:
    """phase: "switch", "walk" or "check"; after: where the next page begins; run: whose passes these are.

    end: how it ended (kms.rotation.End), left: what was under the old key then, -1 where that cannot be told.
    """

    phase: str = "switch"
    after: str = ""
    run: int = 0
    passes: int = 0
    changed: int = 0
    damaged: int = 0
    lost: int = 0
    end: str = ""
    left: int = 0

    def json(self) -> dict[str, Json]:
        """What is kept in the row of the job."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, stored: Json) -> "_Cursor":
        """The cursor of a job; the first one when there is none."""
        return cls(**stored) if isinstance(stored, dict) else cls()  # type: ignore[arg-type]

    def moved(self, phase: str, after: str, more: Renewed | None = None) -> "_Cursor":
        """The cursor after a page."""
        changed, damaged, lost = (more.changed, more.damaged, more.lost) if more is not None else (0, 0, 0)
        return _Cursor(
            phase, after, self.run, self.passes, self.changed + changed, self.damaged + damaged, self.lost + lost
        )


class FieldKeyWork:
    """Does the slices of jobs of the kind `rotate`. clock: monotonic seconds."""

    def __init__(self, rotation: Rotation, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._rotation = rotation
        self._record = record
        self._clock = clock

    async def slice(self, job: Job) -> Slice:
        """About a second of work; see gateway.job.Work."""
        at = _Cursor.of(job.cursor)
        if at.phase == "switch":
            return await self._switch(job)
        if at.phase == "check":
            return await self._check(job, at)
        return await self._walk(job, at)

    async def _switch(self, job: Job) -> Slice:
        scope, purpose, old = _key_of(job)
        await self._record(job.tenant, "keys.rotate.begin", f"{scope}.{purpose}", {"change": old.hex()})
        await self._rotation.switch(job.tenant, scope, purpose, old)
        end = self._rotation.end(scope, purpose)
        if end is not End.RETIRED:
            left = await self._rotation.left(job.tenant, scope, purpose, old)
            at = _Cursor("check", run=job.run, end=end.value, left=-1 if left is None else left)
            await self._end(job, at)
            return Slice(at.json(), 0, 0, finished=True)
        total = await self._rotation.total(job.tenant, scope, purpose)
        return Slice(_Cursor("walk", run=job.run).json(), 0, total)

    async def _walk(self, job: Job, at: _Cursor) -> Slice:
        scope, purpose, _ = _key_of(job)
        until, done = self._clock() + SLICE_S, job.done
        quota = job.quota(10 * PAGE)
        while True:
            page = await self._rotation.renew(job.tenant, scope, purpose, at.after, min(PAGE, quota))
            done, quota = done + page.seen, quota - page.seen
            at = at.moved("walk" if page.after is not None else "check", page.after or "", page)
            if page.after is None or quota <= 0 or self._clock() >= until:
                return Slice(at.json(), done, max(job.total, done))

    async def _check(self, job: Job, at: _Cursor) -> Slice:
        scope, purpose, old = _key_of(job)
        left = await self._rotation.left(job.tenant, scope, purpose, old)
        if left == 0:
            await self._rotation.retire(job.tenant, old)
            at = replace(at, end=End.RETIRED.value, left=0)
            await self._end(job, at)
            return Slice(at.json(), job.done, job.done, finished=True)
        passes = at.passes + 1 if at.run == job.run else 1  # after a resume the administrator has done something
        if passes >= MOST_PASSES and at.run == job.run:
            raise ValuesLeft
        total = await self._rotation.total(job.tenant, scope, purpose)
        return Slice(_Cursor("walk", "", job.run, passes, at.changed).json(), 0, total)

    async def _end(self, job: Job, at: _Cursor) -> None:
        scope, purpose, old = _key_of(job)
        told: dict[str, Json] = {"change": f"{old.hex()}:{at.end}", "count": at.changed}
        omitted: dict[str, Json] = {"aliases": at.lost} if at.lost else {}
        if at.left:
            omitted["left"] = at.left if at.left > 0 else "unknown"
        if omitted:
            told["omitted"] = omitted
        await self._record(job.tenant, "keys.rotate.end", f"{scope}.{purpose}", told)


async def begin(
    durable: Durable, rotation: Rotation, tenant: str, scope: str, purpose: str, rate: float | None = None
) -> Job:
    """Begin the rotation of the current key; the same key twice is one job. Raises NotRotatable, StoreUnavailable."""
    old = (await rotation.current(tenant, scope, purpose)).hex()
    arguments: dict[str, Json] = {"scope": scope, "purpose": purpose, "old": old}
    return await durable.begin(f"{KIND}-{tenant}-{scope}-{purpose}-{old}", KIND, tenant, arguments, rate=rate)


async def begin_all(durable: Durable, rotation: Rotation, tenant: str, rate: float | None = None) -> list[Job]:
    """Begin the rotation of every field key that was ever used; raises NotRotatable for one that nobody covers."""
    used = await rotation.used(tenant)
    for scope, purpose in used:
        rotation.end(scope, purpose)  # before the first of them changes
    return [await begin(durable, rotation, tenant, scope, purpose, rate) for scope, purpose in used]


def _key_of(job: Job) -> tuple[str, str, bytes]:
    scope, purpose, old = (str(job.arguments[name]) for name in ("scope", "purpose", "old"))
    return scope, purpose, bytes.fromhex(old)
