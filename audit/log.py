"""The audit log: appends entries durably, many at a time.

`submit` hands an entry over and returns a future that resolves with its index once the transaction is committed to
disk. Everything that arrives while one commit runs becomes the next batch, together with what comes within the next
few turns of the event loop; there is no waiting by the clock. The log fails
closed: when the queue is full, the database is away or a commit takes too long, the caller gets `AuditUnavailable`
and must refuse. After a timeout an entry may still have been written: the trail may say more than happened, never less.
After a lost connection nothing is taken before the last entry that was acknowledged is seen again.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable
from typing import Protocol, Self

import structlog

from audit.append_store import pack_batch
from audit.beside import end
from audit.entry import AuditEntry, EntryRefused, settle
from audit.tree import leaf_hash
from audit.writer import TailLost, Writer, WriterBroken

QUEUE_LIMIT_ENTRIES = 20_000
QUEUE_LIMIT_BYTES = 32 * 1024 * 1024
BATCH_LIMIT_ENTRIES = 512  # the reference measured no gain beyond 256
BATCH_LIMIT_BYTES = 4 * 1024 * 1024
QUIET_TURNS = 3  # turns of the loop (µs each when idle) that bring no entry: then a batch is sent
GATHER_TURNS = 30  # at most; under load this makes batches twice as large and halves the database's CPU
COMMIT_TIMEOUT_S = 5.0
RECONNECT_FIRST_S = 0.05
RECONNECT_LONGEST_S = 2.0


class AuditUnavailable(Exception):  # noqa: N818 - a state the caller answers with a refusal
    """The entry is not known to be durable: refuse, forward nothing. Trying again may help."""

    permanent = False


class Naming(Protocol):
    """Puts pseudonyms where an entry names persons; what it raises means that the entry is not written."""

    def at_once(self, entry: AuditEntry) -> AuditEntry | None:
        """The entry with pseudonyms that are in memory; None when one has to be asked for."""
        ...

    async def named(self, entry: AuditEntry) -> AuditEntry:
        """The entry with its pseudonyms."""
        ...


class _Batch:
    """Entries of one tenant that go into one transaction."""

    __slots__ = ("bodies", "entries", "futures", "last_leaf", "size_bytes", "tenant")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.entries: list[AuditEntry] = []
        self.bodies: list[bytes] = []
        self.futures: list[asyncio.Future[int]] = []
        self.last_leaf = b""
        self.size_bytes = 0


class AuditLog:
    """Group commit over one dedicated connection; belongs to the event loop that calls `start`.

    naming: who names persons; None in a process whose entries name none.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        naming: Naming | None = None,
        commit_timeout_s: float = COMMIT_TIMEOUT_S,
        queue_limit: int = QUEUE_LIMIT_ENTRIES,
    ) -> None:
        self._conninfo = conninfo
        self._naming = naming
        self._unnamed: set[asyncio.Task[None]] = set()
        self._commit_timeout_s = commit_timeout_s
        self._queue_limit = queue_limit
        self._waiting: deque[_Batch] = deque()
        self._filling: dict[str, _Batch] = {}
        self._queued = 0
        self._queued_bytes = 0
        self._under_way: _Batch | None = None
        self._tails: dict[str, tuple[int, bytes]] = {}  # the last entry of each tenant known to be committed
        self._deadline: asyncio.TimerHandle | None = None
        self._writer: Writer | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._scheduled = False
        self._closing = False
        self._idle: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def available(self) -> bool:
        """Whether an entry handed over now would be written."""
        return self._writer is not None and not self._closing

    @property
    def backlog(self) -> int:
        """Entries waiting for a commit, the running one included."""
        return self._queued + len(self._unnamed) + (len(self._under_way.entries) if self._under_way else 0)

    async def start(self) -> None:
        """Connect. Raises: AuditUnavailable."""
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        try:
            self._writer = await Writer.open(self._conninfo, self._committed, self._commit_timeout_s)
        except WriterBroken as fault:
            raise AuditUnavailable(str(fault)) from None

    async def __aenter__(self) -> Self:
        """Started; closed at the end. Raises: AuditUnavailable."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def submit(self, entry: AuditEntry) -> asyncio.Future[int]:
        """Queue an entry; the future resolves with its index after the commit, or fails with AuditUnavailable.

        Raises: AuditUnavailable at once when the log cannot take it; EntryRefused when it is no valid entry.
        """
        if self._closing:
            raise AuditUnavailable("the audit trail cannot be written now")
        if self._naming is not None:
            named = None
            with contextlib.suppress(Exception):  # raised again, and answered, where it is asked for
                named = self._naming.at_once(entry)
            if named is None:
                return self._name(entry, self._naming)
            entry = named
        return self._queue(entry)

    def _name(self, entry: AuditEntry, naming: Naming) -> asyncio.Future[int]:
        """Queue an entry once its pseudonyms are known."""
        if self._loop is None or self._writer is None or self._queued + len(self._unnamed) >= self._queue_limit:
            raise AuditUnavailable("the audit trail cannot be written now")
        future: asyncio.Future[int] = self._loop.create_future()

        async def work() -> None:
            try:
                async with asyncio.timeout(self._commit_timeout_s):
                    named = await naming.named(entry)
                index = await self._queue(named)
            except (AuditUnavailable, EntryRefused) as fault:
                _fail(future, fault)
            except asyncio.CancelledError:
                _fail(future, AuditUnavailable("the audit trail was closed"))
                raise
            except Exception:  # whatever it is: without a pseudonym there is no entry
                _fail(future, AuditUnavailable("the persons of an entry cannot be named now"))
            else:
                if not future.done():
                    future.set_result(index)

        task = self._loop.create_task(work(), name="audit naming")
        self._unnamed.add(task)
        task.add_done_callback(self._unnamed.discard)
        return future

    def _queue(self, entry: AuditEntry) -> asyncio.Future[int]:
        loop = self._loop
        if loop is None or self._writer is None:
            raise AuditUnavailable("the audit trail cannot be written now")
        if self._queued >= self._queue_limit or self._queued_bytes >= QUEUE_LIMIT_BYTES:
            raise AuditUnavailable("the queue of the audit trail is full")
        entry, body = settle(entry)
        batch = self._filling.get(entry.tenant)
        if batch is None or len(batch.entries) >= BATCH_LIMIT_ENTRIES or batch.size_bytes >= BATCH_LIMIT_BYTES:
            batch = self._filling[entry.tenant] = _Batch(entry.tenant)
            self._waiting.append(batch)
        future: asyncio.Future[int] = loop.create_future()
        batch.entries.append(entry)
        batch.bodies.append(body)
        batch.futures.append(future)
        batch.size_bytes += len(body)
        self._queued += 1
        self._queued_bytes += len(body)
        if not self._scheduled and self._under_way is None:
            self._begin_gathering(loop)
        return future

    def append(self, entry: AuditEntry) -> Awaitable[int]:
        """Write an entry durably; what is awaited gives its index. Raises: AuditUnavailable, EntryRefused."""
        return self.submit(entry)

    async def close(self) -> None:
        """Take no more entries, wait for those queued (at most the commit timeout), disconnect."""
        self._closing = True
        if self._reconnecting is not None:
            await end(self._reconnecting)
        if self._unnamed:
            _, late = await asyncio.wait(self._unnamed, timeout=self._commit_timeout_s)
            await end(*late)
        if self.backlog and self._idle is not None:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._commit_timeout_s):
                    await self._idle.wait()
        writer, self._writer = self._writer, None
        self._fail_everything("the audit trail was closed")
        if writer is not None:
            await writer.close()

    def _begin_gathering(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = True
        loop.call_soon(self._gather, loop, GATHER_TURNS, 0, self._queued)

    def _gather(self, loop: asyncio.AbstractEventLoop, turns: int, quiet: int, known: int) -> None:
        """Not at once: what is about to become ready belongs to the same commit."""
        quiet = quiet + 1 if self._queued == known else 0
        if quiet < QUIET_TURNS and turns > 0 and self._queued < BATCH_LIMIT_ENTRIES:
            loop.call_soon(self._gather, loop, turns - 1, quiet, self._queued)
        else:
            self._send_next()

    def _send_next(self) -> None:
        self._scheduled = False
        writer, loop = self._writer, self._loop
        if self._under_way is not None or not self._waiting or writer is None or loop is None:
            return
        batch = self._waiting.popleft()
        if self._filling.get(batch.tenant) is batch:
            del self._filling[batch.tenant]
        self._queued -= len(batch.entries)
        self._queued_bytes -= batch.size_bytes
        self._under_way = batch
        self._deadline = loop.call_later(self._commit_timeout_s, writer.abort, "the commit took too long")
        leaves = [leaf_hash(body) for body in batch.bodies]
        batch.last_leaf = leaves[-1]
        writer.send(pack_batch(batch.tenant, batch.entries, batch.bodies, leaves))

    def _committed(self, first: int, fault: WriterBroken | None) -> None:
        """Called by the writer when the batch under way has ended, and when the connection is lost between batches."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if fault is not None:
            self._lose_connection(str(fault))
            return
        batch, self._under_way = self._under_way, None
        if batch is not None:
            self._tails[batch.tenant] = (first + len(batch.entries) - 1, batch.last_leaf)
            for index, future in enumerate(batch.futures, first):
                if not future.done():
                    future.set_result(index)
        if not self._waiting:
            if self._idle is not None:
                self._idle.set()
        elif not self._scheduled and self._loop is not None:
            self._begin_gathering(self._loop)

    def _lose_connection(self, reason: str) -> None:
        writer, self._writer = self._writer, None
        self._fail_everything(reason)
        if self._loop is not None and not self._closing and self._reconnecting is None:
            self._reconnecting = self._loop.create_task(self._reconnect(writer))

    def _fail_everything(self, reason: str) -> None:
        batches = [*([self._under_way] if self._under_way else []), *self._waiting]
        self._under_way = None
        self._waiting.clear()
        self._filling.clear()
        self._queued = self._queued_bytes = 0
        for batch in batches:
            for future in batch.futures:
                if not future.done():
                    future.set_exception(AuditUnavailable(reason))
        if self._idle is not None:
            self._idle.set()

    async def _reconnect(self, broken: Writer | None) -> None:
        pause = RECONNECT_FIRST_S
        if broken is not None:
            await broken.close()
        while not self._closing:
            try:
                # What was acknowledged has to be there before more is: a server that crashed may have lost its end.
                self._writer = await Writer.open(self._conninfo, self._committed, self._commit_timeout_s, self._tails)
                break
            except WriterBroken as fault:
                if isinstance(fault, TailLost):
                    structlog.get_logger().error("audit.tail-lost", fault=str(fault))
                await asyncio.sleep(pause)
                pause = min(pause * 2, RECONNECT_LONGEST_S)
        self._reconnecting = None


def _fail(future: asyncio.Future[int], fault: Exception) -> None:
    if not future.done():
        future.set_exception(fault)
