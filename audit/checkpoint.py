"""The keeper signs a checkpoint of every log that has grown, every few seconds.

Each checkpoint goes on from the frontier of the one before, whose signature and root are checked first, so that two
of ours can never contradict each other. The newest note is kept in a file beside the key too: who removes the end of
the log and its checkpoints from the database is found out by it. The keeper refuses to sign when anything does not
fit and says so in `fault`, which health shows; the audit itself goes on. So it does while a key server is away:
`waiting` says so, and the next checkpoint covers all there is.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, unquote

import structlog
from psycopg import Error
from psycopg_pool import PoolClosed, PoolTimeout

from audit import store
from audit.beside import Beside
from audit.log import AuditUnavailable
from audit.note import Checkpoint, KeyFileInvalid, NoteInvalid, Signer, Verifier, origin_of
from audit.signing import CheckpointSigner, HandedOver, SigningUnavailable, hand_over, write_handover
from audit.tree import Frontier

INTERVAL_S = 3.0


class CheckpointRefused(Exception):  # noqa: N818 - a refusal to sign
    """Signing would contradict an earlier checkpoint; run the verification."""

    permanent = True


def _nobody() -> Signer:
    raise KeyFileInvalid("no file of it is known here")


class Keeper(Beside):
    """Signs checkpoints in the background; several workers may run one, the database lets one sign at a time.

    folder: where the newest note of each tenant is kept, beside the key; before: reads the key that signed before, for
    it to name the one that takes over; handed_over: puts that on record, and what it raises keeps the new key from
    signing.
    """

    def __init__(
        self,
        pool: store.Pool,
        signer: CheckpointSigner,
        folder: Path,
        *,
        now: Callable[[], datetime],
        interval_s: float = INTERVAL_S,
        before: Callable[[], Signer] = _nobody,
        handed_over: Callable[[HandedOver], Awaitable[None]] | None = None,
    ) -> None:
        self._before = before
        self._handed_over = handed_over
        self._pool = pool
        self._signer = signer
        self._folder = folder
        self._now = now
        self._interval_s = interval_s
        self.fault = ""
        self.waiting = ""

    async def start(self) -> None:
        """Begin; the first round runs at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await super().start()

    async def close(self) -> None:
        """Stop after a last round, so that a clean end leaves nothing unsigned."""
        if self._task is not None:
            await super().close()
            await self._round()

    async def seal(self, tenant: str) -> Checkpoint | None:
        """Sign and store a checkpoint if the log has grown; None when it has not or another worker is at it.

        Raises: CheckpointRefused, SigningUnavailable, psycopg errors; what `handed_over` raises.
        """
        await self._take_over(tenant)
        async with self._pool.of(tenant) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            # Else a database that commits late could lose what the note beside the key says was signed.
            await connection.execute("SET LOCAL synchronous_commit = on")
            if not await store.claim_sealing(connection, tenant):
                return None
            origin = origin_of(tenant)
            frontier = await self._resume(connection, tenant, origin)
            signed, size = frontier.size, await store.size(connection, tenant)
            if size < signed:
                raise CheckpointRefused(f"the log ends at {size} but {signed} entries were signed")
            if size == signed:
                return None
            while frontier.size < size:
                part = await store.next_leaves(connection, tenant, frontier.size, size)
                if not part:
                    raise CheckpointRefused(f"entry {frontier.size} is missing")
                frontier.extend(part)
            checkpoint = Checkpoint(origin, size, frontier.root())
            note = await self._signer.sign_note(checkpoint.text(), origin)
            stored = store.StoredCheckpoint(size, self._now(), note, frontier.to_bytes())
            await store.add_checkpoint(connection, tenant, stored)
        await asyncio.to_thread(write_newest, self._folder, tenant, note)
        return checkpoint

    async def _take_over(self, tenant: str) -> None:
        """Where another key signed before: once, it names this one beside its last checkpoint."""
        earlier, origin = self._signer.verifier.earlier, origin_of(tenant)
        if earlier is None or origin in earlier.upto:
            return
        async with self._pool.of(tenant) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if not await store.claim_sealing(connection, tenant):
                return
            done = await hand_over(connection, tenant, self._signer, self._before)
        if done is not None:
            if self._handed_over is not None:
                await self._handed_over(done)
            await asyncio.to_thread(write_handover, self._folder, tenant, done.note)
        earlier.upto[origin] = done.size if done is not None else 0

    async def _resume(self, connection: store.Connection, tenant: str, origin: str) -> Frontier:
        """The frontier to go on from, proved to be the one that was signed last."""
        verifier = self._signer.verifier
        kept = await asyncio.to_thread(read_newest, self._folder, tenant, verifier)
        latest = await store.latest_checkpoint(connection, tenant)
        if latest is None:
            if kept is not None:
                raise CheckpointRefused("the stored checkpoints are gone")
            return Frontier()
        try:
            signed = verifier.open_checkpoint(latest.note, origin)
            frontier = Frontier.from_bytes(signed.size, latest.frontier)
        except (NoteInvalid, ValueError):
            raise CheckpointRefused(f"the stored checkpoint at {latest.size} is not ours") from None
        if signed.size != latest.size or frontier.root() != signed.root:
            raise CheckpointRefused(f"the stored checkpoint at {latest.size} does not fit its frontier")
        if kept is not None and (kept.size > signed.size or (kept.size == signed.size and kept.root != signed.root)):
            raise CheckpointRefused(f"a checkpoint at {kept.size} was signed and is gone")
        return frontier

    async def _run(self) -> None:
        while True:
            await self._round()
            await asyncio.sleep(self._interval_s)

    async def _round(self) -> None:
        """Sign every log that can be signed: one that was tampered with may not keep the others unsigned."""
        faults: list[str] = []
        waiting = ""
        try:
            async with self._pool.of(store.EVERY) as connection:
                names = await store.tenants(connection)
            for tenant in names:
                try:
                    await self.seal(tenant)
                except (CheckpointRefused, NoteInvalid) as fault:
                    faults.append(str(fault) if isinstance(fault, CheckpointRefused) else type(fault).__name__)
        except SigningUnavailable as fault:
            waiting = str(fault)  # for every log alike
        except (Error, PoolTimeout, PoolClosed, OSError, AuditUnavailable) as fault:
            faults.append(type(fault).__name__)
        # The log itself goes on: its entries are durable, and the next round covers them.
        message = "; ".join(faults)
        if message and message != self.fault:
            structlog.get_logger().error("audit.checkpoint-failed", fault=message)
        if waiting and waiting != self.waiting:
            structlog.get_logger().error("audit.checkpoints-wait", fault=waiting)
        self.fault, self.waiting = message, waiting


def newest_path(folder: Path, tenant: str) -> Path:
    """The file of a tenant's newest note."""
    return folder / f"{quote(tenant, safe='')}.checkpoint"


def write_newest(folder: Path, tenant: str, note: str) -> None:
    """Replace the file of the newest note in one step; an end of the machine leaves the old one or the new one."""
    path = newest_path(folder, tenant)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_newest(folder: Path, tenant: str, verifier: Verifier) -> Checkpoint | None:
    """The checkpoint in the file, None when there is no file. Raises: CheckpointRefused when it is not ours."""
    try:
        note = newest_path(folder, tenant).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return verifier.open_checkpoint(note, origin_of(tenant))
    except NoteInvalid:
        raise CheckpointRefused("the note beside the key is not ours") from None


def kept_tenants(folder: Path) -> set[str]:
    """The tenants of which a newest note is kept."""
    return {unquote(path.stem) for path in folder.glob("*.checkpoint")}
