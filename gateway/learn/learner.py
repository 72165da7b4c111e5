"""Learning and drift in the serving gateway: exchanges are handed over after their answer left, and looked at later.

Nothing here may slow or break an exchange: `note` only puts into a bounded queue and drops what does not fit; a thread
looks. While a tenant is not watched, an exchange costs one look into an empty mapping.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime

import orjson
import structlog

from audit.beside import end
from gateway.exchange import Exchange
from gateway.learn.drift import Undeclared, endpoint_of
from gateway.learn.store import LearnStore
from gateway.learn.watcher import MOST_BODY, Seen, Watcher
from kms.store import StoreUnavailable
from policies.operation import UNMATCHED_READ, UNMATCHED_WRITE
from policies.profile import Profile

POLL_S, MOST_WAITING, MOST_WAITING_BYTES, KEY_BYTES, AT_ONCE = 1.0, 500, 48 * 1024 * 1024, 32, 20
WRITE_EVERY = 3  # turns
MOST_UNREAD = 2  # answers with something undeclared that are looked at in a turn: drift is noticed by samples
UNDESCRIBED = "generic"
"""The profile whose tenants are learnt; it declares nothing, so nothing drifts from it."""

log = structlog.get_logger(__name__)


class Learner:
    """One per process. protected: tenant → the kind that a text stands for, or None; profiles: tenant → its profile."""

    def __init__(
        self,
        store: LearnStore,
        protected: Callable[[str], Callable[[str], str | None]],
        profiles: Callable[[str], Profile],
        clock: Callable[[], datetime],
        process: str,
    ) -> None:
        self._store, self._clock, self._process = store, clock, process
        self._protected, self._profiles = protected, profiles
        self.watched: Mapping[str, tuple[str, Watcher]] = {}
        self._waiting: deque[tuple[str, Seen]] = deque()
        self._bytes = 0
        self._paths: deque[tuple[str, str, str]] = deque(maxlen=MOST_WAITING)  # under load the oldest go
        self._drift: dict[str, Counter[tuple[str, str, str]]] = {}
        self._unread: deque[tuple[str, str, Seen]] = deque()
        self._changed: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    # -- called by the pipeline: quick, and never raises ------------------------------------------------------

    def note(self, exchange: Exchange, target: str, content_type: str, body: bytes | None, status: int,
             fields: list[tuple[str, str]], answer: bytes) -> None:  # fmt: skip
        """One exchange that ended well. body None: nobody read it."""
        tenant = exchange.tenant
        if tenant in self.watched:
            self._queue(self._waiting, tenant, exchange, target, content_type, body or b"", status, fields, answer)
        elif exchange.operation is UNMATCHED_READ and status < 400:
            self._count(exchange)

    def caught(self, exchange: Exchange, status: int, fields: list[tuple[str, str]], answer: bytes) -> None:
        """Recognisers caught values in this answer that no rule and no surrogate covered."""
        if len(self._unread) >= MOST_UNREAD or len(answer) > MOST_BODY or exchange.tenant in self.watched:
            return
        if self._profiles(exchange.tenant).name != UNDESCRIBED:
            seen = Seen(exchange.head.method, exchange.head.path, "", b"", status, tuple(fields), answer)
            entity = exchange.operation.entity if exchange.operation is not None else ""
            self._unread.append((exchange.tenant, entity, seen))

    def refused(self, exchange: Exchange) -> None:
        """A write that no profile describes was refused."""
        if exchange.operation is UNMATCHED_WRITE and exchange.tenant not in self.watched:
            self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        if self._profiles(exchange.tenant).name != UNDESCRIBED:
            self._paths.append((exchange.tenant, exchange.head.method, exchange.head.path))

    def _queue(self, waiting: deque[tuple[str, Seen]], tenant: str, exchange: Exchange, target: str, content_type: str,
               body: bytes, status: int, fields: list[tuple[str, str]], answer: bytes) -> None:  # fmt: skip
        size = len(body) + len(answer)
        if len(waiting) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            self.watched[tenant][1].evidence.dropped += 1
            return
        self._bytes += size
        head = exchange.head
        authorization = head.named.get("authorization", "")
        seen = Seen(
            head.method,
            target,
            content_type,
            body,
            status,
            tuple(fields),
            answer,
            authorization,
            exchange.crm_user or "",
        )
        waiting.append((tenant, seen))

    # -- in the background ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Look for runs, and go on."""
        await self._follow()
        self._task = asyncio.create_task(self._run(), name="learning")

    async def close(self) -> None:
        """Write down what is left, end."""
        if self._task is not None:
            await end(self._task)
            await self._work()
            await self._write()

    async def _run(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(POLL_S)
            turn += 1
            try:
                await self._work()
                if turn % WRITE_EVERY == 0:
                    await self._write()
                await self._follow()
            except Exception as fault:
                # Learning is never worth an exchange, nor the end of itself.
                log.warning("learning-failed", fault=type(fault).__name__)

    async def _follow(self) -> None:
        """Runs that began or ended; a key lives as long as its run does here."""
        try:
            running = await self._store.watching(self._clock())
            for tenant in [one for one, (run, _) in self.watched.items() if running.get(one) != run]:
                await self._keep(tenant)
        except StoreUnavailable:
            return
        known = self.watched
        self.watched = {
            tenant: known[tenant] if tenant in known and known[tenant][0] == run else self._begun(tenant, run)
            for tenant, run in running.items()
        }

    def _begun(self, tenant: str, run: str) -> tuple[str, Watcher]:
        return run, Watcher(secrets.token_bytes(KEY_BYTES), self._protected(tenant))

    async def _work(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            self._bytes -= sum(len(seen.body) + len(seen.answer) for _, seen in some)
            await asyncio.to_thread(self._look, some, self.watched)
        while self._paths:
            tenant, method, path = self._paths.popleft()
            counted = self._drift.setdefault(tenant, Counter())
            if len(counted) < MOST_WAITING:
                counted[("endpoint", f"{method} {endpoint_of(path)}", "")] += 1
        while self._unread:
            tenant, entity, seen = self._unread.popleft()
            found = await asyncio.to_thread(Undeclared(self._profiles(tenant), entity).fields, seen)
            self._drift.setdefault(tenant, Counter()).update(found)

    def _look(self, some: list[tuple[str, Seen]], watched: Mapping[str, tuple[str, Watcher]]) -> None:
        for tenant, seen in some:
            if tenant not in watched:
                continue
            watcher = watched[tenant][1]
            try:
                watcher.note(seen)
            except Exception as fault:
                watcher.evidence.dropped += 1
                log.warning("learning-skipped", fault=type(fault).__name__)
            self._changed.add(tenant)

    async def _write(self) -> None:
        for tenant in list(self.watched):
            await self._keep(tenant)
        for tenant in list(self._drift):
            counted = self._drift.pop(tenant)
            if counted and self._profiles(tenant).name != UNDESCRIBED:
                await self._store.add_drift(tenant, counted, self._clock())

    async def _keep(self, tenant: str) -> None:
        """Write down what was seen of one tenant since the last time."""
        if tenant not in self._changed:
            return
        self._changed.discard(tenant)
        run, watcher = self.watched[tenant]
        evidence = await asyncio.to_thread(lambda: orjson.dumps(watcher.snapshot().plain()).decode())
        await self._store.put_evidence(tenant, run, self._process, evidence, self._clock())
