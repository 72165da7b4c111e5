"""Outside anchors: signed checkpoints brought to places where no right in the database reaches.

Each anchor gets the newest checkpoint of every tenant when it is due, all of them at the same time and each with a
limit of its own; what fails or hangs is said in its state and tried again, and nothing else waits for it. A tree size
that an anchor has is *published*.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from audit import store
from audit.archive import Archive, ArchiveUnavailable, NoArchive, SegmentBroken
from audit.beside import Rounds
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.proof import EntryDropped, StoredLogBroken, prove_growth

LIMIT_S = 30.0
_NONE = NoArchive()


class AnchorFailed(Exception):  # noqa: N818 - an outcome
    """The anchor does not have the checkpoint; the text says why, without a secret. Trying again may help."""

    permanent = False


class AnchorContradicts(AnchorFailed):
    """The anchor holds what our log does not lead to: the log was cut off, rolled back or rewritten, or it lies."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Published:
    """What is handed to an anchor. grow: proof that a log of so many entries is the beginning of this one.

    `grow` raises AnchorContradicts when the log has no signed checkpoint of that size that leads here.
    """

    tenant: str
    checkpoint: Checkpoint
    note: str
    grow: Callable[[int], Awaitable[list[bytes]]]


class Anchor(Protocol):
    """A place for checkpoints."""

    @property
    def name(self) -> str:
        """What people call it; shown on the health page."""

    @property
    def every_s(self) -> float:
        """How often it wants one."""

    @property
    def outside(self) -> bool:
        """Whether it is out of reach for somebody who owns this machine."""

    async def keep(self, published: Published) -> None:
        """Keep it durably, and check what proves that. Raises: AnchorFailed, AnchorContradicts, OSError."""


@dataclass(slots=True)
class AnchorState:
    """What one anchor has of one tenant.

    size: entries covered; at: when it took them; fault: why it has no newer ones; told: that it contradicts was told
    and it has taken nothing since.
    """

    name: str
    outside: bool
    every_s: float
    size: int = 0
    at: datetime | None = None
    tried_at: datetime | None = None
    fault: str = ""
    contradicts: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An anchor holds what a tenant's log does not lead to. size: of the log that was brought to it."""

    tenant: str
    anchor: str
    size: int


class Anchors(Rounds):
    """Brings checkpoints out in the background.

    told: called once when an anchor begins to contradict, may not raise.
    """

    def __init__(
        self,
        pool: store.Pool,
        verifier: Verifier,
        anchors: Sequence[Anchor],
        *,
        now: Callable[[], datetime],
        interval_s: float,
        limit_s: float = LIMIT_S,
        archive: Archive = _NONE,
        told: Callable[[Contradiction], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(interval_s, "audit.anchors-failed")
        self._pool = pool
        self._verifier = verifier
        self._anchors = anchors
        self._now = now
        self._limit_s = limit_s
        self._archive = archive
        self._told = told
        self._states: dict[tuple[str, str], AnchorState] = {}

    def states(self, tenant: str) -> list[AnchorState]:
        """What each anchor has of a tenant's log."""
        return [self._state(anchor, tenant) for anchor in self._anchors]

    def published(self, tenant: str) -> int:
        """Entries that at least one anchor covers."""
        return max((state.size for state in self.states(tenant)), default=0)

    async def round(self) -> None:
        """Bring out what is due. Raises: psycopg errors, PoolTimeout, PoolClosed."""
        async with self._pool.of(store.EVERY) as connection:
            names = await store.tenants(connection)
            latest = {tenant: await store.latest_checkpoint(connection, tenant) for tenant in names}
        for tenant, stored in latest.items():
            if stored is None:
                continue
            try:
                checkpoint = self._verifier.open_checkpoint(stored.note, origin_of(tenant))
            except NoteInvalid:
                continue  # The watch says so; nothing unsigned goes out.
            published = Published(tenant, checkpoint, stored.note, self._grower(tenant, checkpoint))
            await asyncio.gather(*(self._bring(anchor, published) for anchor in self._anchors))

    async def _bring(self, anchor: Anchor, published: Published) -> None:
        state, now = self._state(anchor, published.tenant), self._now()
        early = state.tried_at is not None and (now - state.tried_at).total_seconds() < anchor.every_s
        if early or published.checkpoint.size == state.size:
            return
        state.tried_at = now
        fault, contradicts = "", False
        try:
            async with asyncio.timeout(self._limit_s):
                await anchor.keep(published)
        except AnchorFailed as failed:
            fault, contradicts = str(failed), isinstance(failed, AnchorContradicts)
        except TimeoutError:
            fault = f"no answer within {self._limit_s:g} s"
        except Exception as failed:  # An anchor may not end the others, whatever it does.
            fault = type(failed).__name__
        if fault:
            if fault != state.fault:
                structlog.get_logger().error("audit.anchor-failed", anchor=anchor.name, fault=fault)
            state.fault, state.contradicts = fault, contradicts
            if contradicts:
                await self._tell(state, published)
            return
        state.size, state.at, state.fault = published.checkpoint.size, self._now(), ""
        state.contradicts = state.told = False

    async def _tell(self, state: AnchorState, published: Published) -> None:
        """Once, not at every round: an entry about it makes the log grow, and what grows is brought out again."""
        if not state.told and self._told is not None:
            state.told = True
            await self._told(Contradiction(published.tenant, state.name, published.checkpoint.size))

    def _state(self, anchor: Anchor, tenant: str) -> AnchorState:
        fresh = AnchorState(anchor.name, anchor.outside, anchor.every_s)
        return self._states.setdefault((anchor.name, tenant), fresh)

    def _grower(self, tenant: str, new: Checkpoint) -> Callable[[int], Awaitable[list[bytes]]]:
        async def grow(size: int) -> list[bytes]:
            if size > new.size:
                raise AnchorContradicts(f"it has seen {size} entries, the log has {new.size}")
            async with self._pool.of(tenant) as connection:
                await store.snapshot(connection)
                kept = await store.checkpoint_within(connection, tenant, size - 1, size) if size else None
                try:
                    if size and kept is None:
                        raise AnchorContradicts(f"it has a checkpoint at {size} that is gone here")
                    old = self._verifier.open_checkpoint(kept.note, new.origin) if kept else Checkpoint("", 0, b"")
                    return await prove_growth(connection, tenant, old, new, self._archive) if size else []
                except (NoteInvalid, StoredLogBroken) as fault:
                    raise AnchorContradicts(f"growth from {size} cannot be proved: {fault}") from None
                except (EntryDropped, SegmentBroken, ArchiveUnavailable) as fault:
                    raise AnchorFailed(f"growth from {size} needs the archive: {type(fault).__name__}") from None

        return grow
