"""Sessions of people who passed both factors, and the CRM tokens that live inside them.

The cookie is an opaque 256-bit token, new at every authentication; the database knows its SHA-256. A session ends by
sign-out, by an administrator, by closing the account, after `idle` without activity and after `absolute` in any case.
Background polling (`active=False`) does not count as activity (ASVS 7.3.1). An end reaches every process by NOTIFY and,
should that fail, within `ttl` (at most 5 s) because nothing cached is believed longer.

A CRM token (session cookie or bearer token of the CRM) belongs to the person in whose gateway session it was first
seen: nobody else's session may use it, and after sign-out nobody's, even if the CRM would still take it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection
from psycopg import Error as PostgresError
from psycopg_pool import AsyncConnectionPool

from gateway.access.session_store import CHANNEL, SessionRow, SessionStore
from gateway.access.tokens import TOKEN_CHARS, Randomness, digest, new_id, new_token, well_formed
from gateway.access.user import AppUser
from gateway.exchange import Principal

AUDIENCE_CRM = "crm"
AUDIENCE_CONSOLE = "console"
CACHE_LIMIT = 20_000
CACHE_TTL_MAX = timedelta(seconds=5)
RECONNECT_S = (0.5, 1.0, 2.0, 5.0)

log = structlog.get_logger(__name__)


class NoSession(Exception):  # noqa: N818 - an outcome, not a fault
    """No cookie, an unknown token, or a session that was ended: sign in."""

    permanent = True


class SessionExpired(Exception):  # noqa: N818
    """The session ran into its idle or absolute timeout: sign in again. `by` is `idle` or `absolute`."""

    permanent = True

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


@dataclass(frozen=True, slots=True)
class Timeouts:
    """idle: without activity; absolute: since sign-in; ttl: how long a cached session is believed (at most 5 s)."""

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)
    ttl: timedelta = timedelta(seconds=3)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.ttl <= CACHE_TTL_MAX:
            raise ValueError("session cache ttl must be over 0 and at most 5 s")
        if not timedelta(0) < self.idle <= self.absolute:
            raise ValueError("idle timeout must be over 0 and at most the absolute one")

    @property
    def touch(self) -> timedelta:
        """How often activity is written down at most: a tenth of the idle timeout, at most every 30 s."""
        return min(timedelta(seconds=30), self.idle / 10)


@dataclass(slots=True)
class _Cached:
    row: SessionRow
    principal: Principal
    read_at: datetime
    seen_at: datetime
    touched_at: datetime


class Sessions:
    """All sessions of this installation; one object per process, shared by data plane and console."""

    def __init__(
        self,
        store: SessionStore,
        *,
        clock: Callable[[], datetime],
        randomness: Randomness,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self.timeouts = timeouts or Timeouts()
        self._touch = self.timeouts.touch
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        self._crm_tokens: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        # Counts invalidations, so that a row read before one arrived is not cached after it.
        self._generation = 0

    async def open(self, user: AppUser, client: str, now: datetime, *, audience: str = AUDIENCE_CRM) -> str:
        """Open a session after both factors; its cookie token. Raises NoSession when the account was closed since."""
        token = new_token(self._randomness)
        opened = await self._store.insert(
            user.tenant,
            new_id("s", self._randomness),
            digest(token),
            user.id,
            audience,
            client,
            now,
            now + self.timeouts.absolute,
        )
        if not opened:
            raise NoSession
        return token

    def cached(
        self,
        cookie_token: str,
        now: datetime | None = None,
        *,
        tenant: str | None = None,
        audience: str = AUDIENCE_CRM,
        active: bool = True,
    ) -> Principal | None:
        """The principal without touching the database, or None: then `principal` must be asked."""
        # Only well-formed tokens are ever kept; the length alone keeps junk from being hashed.
        held = self._cache.get(digest(cookie_token)) if len(cookie_token) == TOKEN_CHARS else None
        if held is None:
            return None
        moment = now or self._clock()
        timeouts = self.timeouts
        if moment - held.read_at >= timeouts.ttl or moment < held.read_at:
            return None
        if (tenant is not None and held.row.tenant != tenant) or held.row.audience != audience:
            return None
        if moment - held.seen_at >= timeouts.idle or moment >= held.row.expires_at:
            return None
        if active:
            if moment - held.touched_at >= self._touch:
                return None
            held.seen_at = max(held.seen_at, moment)
        return held.principal

    async def principal(
        self,
        cookie_token: str,
        now: datetime | None = None,
        *,
        tenant: str | None = None,
        audience: str = AUDIENCE_CRM,
        active: bool = True,
    ) -> Principal:
        """Who holds this cookie token. Raises NoSession, SessionExpired, StoreUnavailable.

        tenant: that of the host asked (None: any); audience: which host's cookie it is; active: False for background
        polling, which does not keep a session alive.
        """
        moment = now or self._clock()
        fast = self.cached(cookie_token, moment, tenant=tenant, audience=audience, active=active)
        if fast is not None:
            return fast
        if not well_formed(cookie_token):
            raise NoSession
        token_hash = digest(cookie_token)
        generation = self._generation
        row = await self._store.by_token(token_hash)
        if row is None or row.audience != audience or (tenant is not None and row.tenant != tenant):
            self._cache.pop(token_hash, None)
            raise NoSession
        held = self._cache.get(token_hash)
        seen_at = row.seen_at if held is None else max(row.seen_at, held.seen_at)
        await self._expire(row, seen_at, moment)
        touched_at = row.seen_at
        if active:
            seen_at = moment
            if moment - row.seen_at >= self.timeouts.touch:
                await self._store.touch(row.id, moment)
                touched_at = moment
        principal = _principal(row)
        if generation == self._generation:
            self._keep(token_hash, _Cached(row, principal, moment, seen_at, touched_at))
        return principal

    async def _expire(self, row: SessionRow, seen_at: datetime, now: datetime) -> None:
        by = "absolute" if now >= row.expires_at else "idle" if now - seen_at >= self.timeouts.idle else ""
        if by:
            self.forget(row.id)
            raise SessionExpired(by)

    async def end(self, session_id: str, reason: str = "signed-out", crm_tokens: Sequence[str] = ()) -> bool:
        """End one session and its CRM tokens everywhere; whether it was still live.

        crm_tokens: digests of further CRM tokens the browser presents, ended as well where they are this person's.
        """
        now = self._clock()
        if crm_tokens:
            await self._store.end_crm_tokens(session_id, crm_tokens, now)
        ended = await self._store.end(now, reason, session_id=session_id)
        self.forget(session_id)
        return bool(ended)

    async def end_all(self, user_id: str, reason: str = "ended-all", *, keep: str | None = None) -> int:
        """End every session of a user (except `keep`) with their CRM tokens; how many."""
        ended = await self._store.end(self._clock(), reason, user_id=user_id, keep=keep)
        self.forget(user_id)
        return len(ended)

    async def end_token(self, cookie_token: str, reason: str) -> None:
        """End the session of a cookie token, if it has one: the old token dies when a new one is issued."""
        if not well_formed(cookie_token):
            return
        row = await self._store.by_token(digest(cookie_token))
        if row is not None:
            await self.end(row.id, reason)

    async def list(self, tenant: str, now: datetime, user_id: str | None = None) -> Sequence[SessionRow]:
        """Live sessions of a tenant or of one user, latest activity first (at most 500)."""
        return await self._store.live(tenant, now, now - self.timeouts.idle, user_id)

    async def live_principal(self, tenant: str, session_id: str, user_id: str, now: datetime) -> Principal | None:
        """Who a session of the CRM's host belongs to, read anew; None once it has ended. Raises StoreUnavailable.

        For what is done outside that host on behalf of the session; it does not keep the session alive.
        """
        for row in await self.list(tenant, now, user_id):
            if row.id == session_id and row.audience == AUDIENCE_CRM:
                return _principal(row)
        return None

    async def changed(self, user_id: str) -> None:
        """Tell every process that roles, language or CRM key of a user changed."""
        self.forget(user_id)
        await self._store.notify(user_id)

    async def note_crm_identity(self, session_id: str, crm_login: str, crm_user: str) -> None:
        """Remember as whom this session signed in to the CRM ("" for unknown)."""
        await self._store.note_crm_identity(session_id, crm_login, crm_user)
        self.forget(session_id)

    async def note_crm_token(self, session_id: str, token_hash: str) -> None:
        """Bind a CRM token the CRM has just issued to this session's person."""
        await self._store.claim_crm_token(session_id, token_hash, self._clock())

    async def end_crm_tokens(self, session_id: str, token_hashes: Sequence[str]) -> None:
        """End CRM tokens with which this session's person signed out of the CRM, in every process."""
        await self._store.end_crm_tokens(session_id, token_hashes, self._clock())
        self.forget(session_id)
        await self._store.notify(session_id)

    async def crm_token_allowed(self, token_hash: str, session_id: str) -> bool:
        """Whether a CRM token may be used in this session; a token never seen before is bound to its person.

        token_hash: SHA-256 in hex of the CRM's session cookie or bearer token. Raises StoreUnavailable.
        """
        now = self._clock()
        until = self._crm_tokens.get((token_hash, session_id))
        if until is not None and now < until:
            return True
        generation = self._generation
        allowed = await self._store.claim_crm_token(session_id, token_hash, now)
        if allowed and generation == self._generation:
            self._crm_tokens[(token_hash, session_id)] = now + self.timeouts.ttl
            while len(self._crm_tokens) > CACHE_LIMIT:
                self._crm_tokens.popitem(last=False)
        return allowed

    def forget(self, payload: str) -> None:
        """Drop what is cached about a session id or user id; "" drops everything."""
        self._generation += 1
        gone = [k for k, held in self._cache.items() if payload in ("", held.row.id, held.row.user_id)]
        for key in gone:
            del self._cache[key]
        # A token may be cached under another session of the same person than the one that ended.
        self._crm_tokens.clear()

    def _keep(self, token_hash: bytes, held: _Cached) -> None:
        self._cache[token_hash] = held
        self._cache.move_to_end(token_hash)
        while len(self._cache) > CACHE_LIMIT:
            self._cache.popitem(last=False)

    async def listen(self, conninfo: str) -> None:
        """Follow ends made by other processes until cancelled; a lost connection drops the cache and reconnects."""
        attempt = 0
        while True:
            try:
                async with await AsyncConnection.connect(conninfo, autocommit=True) as db:
                    await db.execute(f"LISTEN {CHANNEL}")
                    self.forget("")
                    attempt = 0
                    async for notice in db.notifies():
                        self.forget(notice.payload)
            except (PostgresError, OSError) as fault:
                log.warning("session notices interrupted", error=type(fault).__name__)
            self.forget("")
            await asyncio.sleep(RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)])
            attempt += 1


def sessions_on(
    pool: AsyncConnectionPool, clock: Callable[[], datetime], randomness: Randomness, timeouts: Timeouts | None = None
) -> Sessions:
    """Sessions kept in this database."""
    return Sessions(SessionStore(pool), clock=clock, randomness=randomness, timeouts=timeouts)


def _principal(row: SessionRow) -> Principal:
    return Principal(
        id=row.user_id,
        login=row.login,
        roles=row.roles,
        tenant=row.tenant,
        session_id=row.id,
        language=row.language,
        crm_user=row.crm_user or None,
        crm_login=row.crm_login,
    )
