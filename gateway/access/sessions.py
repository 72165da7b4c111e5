"""Sessions of people who passed both factors, and the CRM tokens that live inside them.

The cookie is an opaque 256-bit token, new at every authentication and at every later proof of a factor; the database
knows its SHA-256. A session ends by sign-out, by an administrator, by closing the account, after `idle` without
activity, after `absolute` in any case, and as the oldest of too many. An end reaches every process by NOTIFY and,
should that fail, within `ttl` (at most 1 s): what this process believes is in session_cache. Before its
end a session can be locked: by the person or after `lock` without activity; then it opens nothing until a factor is
proved.

A CRM token (session cookie or bearer token of the CRM) belongs to the person in whose gateway session it was first
seen: nobody else's session may use it, and after sign-out nobody's, even if the CRM would still take it.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import structlog
from psycopg import AsyncConnection
from psycopg import Error as PostgresError

from audit.beside import together
from gateway.access.device import DeviceRules, Lack
from gateway.access.elsewhere import Elsewhere
from gateway.access.open_answers import NoAnswers, OpenAnswers
from gateway.access.session_cache import Held, SessionCache
from gateway.access.session_outcome import DeviceNeeded, NoSession, SessionExpired, SessionLocked
from gateway.access.session_rules import Room, SessionsFull, State, Timeouts
from gateway.access.session_store import CHANNEL, SessionRow, SessionStore
from gateway.access.tokens import TOKEN_CHARS, Randomness, digest, new_id, new_token, well_formed
from gateway.access.user import AppUser
from gateway.exchange import Principal
from kms.connections import Pool
from kms.store import StoreUnavailable

__all__ = [
    "AUDIENCE_CONSOLE",
    "AUDIENCE_CRM",
    "DeviceNeeded",
    "NoSession",
    "SessionExpired",
    "SessionLocked",
    "Sessions",
    "SessionsFull",
    "Timeouts",
    "principal_of",
    "sessions_on",
]

AUDIENCE_CRM = "crm"
AUDIENCE_CONSOLE = "console"
RECONNECT_S = (0.5, 1.0, 2.0, 5.0)
LOOKS_PER_TTL = 3
UNSURE_LIMIT_S = 5.0
"""Answers on their way end when nobody could be asked for so long whether their sessions still are."""

log = structlog.get_logger(__name__)


class Sessions:
    """All sessions of this installation; one object per process, shared by data plane and console."""

    def __init__(
        self,
        store: SessionStore,
        *,
        clock: Callable[[], datetime],
        randomness: Randomness,
        timeouts: Timeouts | None = None,
        room: Room | None = None,
        devices: DeviceRules | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self.timeouts = timeouts or Timeouts()
        self._room = room or Room()
        self.devices = devices or DeviceRules()
        # Asked for with every request: read once.
        self._touch, self._quiet, self._ttl = self.timeouts.touch, self.timeouts.quiet, self.timeouts.ttl
        self._cache = SessionCache()
        self._held = self._cache.held
        self._used = self._cache.used
        self._noticed = asyncio.Event()
        self.answers: OpenAnswers = NoAnswers()

    async def open(
        self,
        user: AppUser,
        client: str,
        now: datetime,
        *,
        audience: str = AUDIENCE_CRM,
        through: Elsewhere | None = None,
        by_program: bool = False,
    ) -> str:
        """Open a session after both factors; its cookie token.

        through: the identity elsewhere it began with. by_program: it will have no device.

        Raises NoSession when the account was closed since or the link is gone, SessionsFull.
        """
        token = new_token(self._randomness)
        ended = await self._store.insert(
            user.tenant,
            new_id("s", self._randomness),
            digest(token),
            user.id,
            audience,
            client,
            now,
            now + self.timeouts.absolute,
            room=self._room,
            idle_since=now - self.timeouts.idle,
            through=through,
            by_program=by_program,
        )
        if ended is None:
            raise NoSession
        self._gone(ended)
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
        if len(cookie_token) != TOKEN_CHARS:  # only well-formed tokens are ever kept; this keeps junk from being hashed
            return None
        token_hash = digest(cookie_token)
        held = self._held.get(token_hash)
        if held is None:
            return None
        moment = now or self._clock()
        if moment - held.read_at >= self._ttl or moment < held.read_at:
            return None
        if (tenant is not None and held.row.tenant != tenant) or held.row.audience != audience:
            return None
        if moment - held.seen_at >= self._quiet or moment >= held.row.expires_at:
            return None
        if held.until is not None and moment >= held.until:
            return None
        if active:
            if moment - held.touched_at >= self._touch:
                return None
            held.seen_at = max(held.seen_at, moment)
        self._used.add(token_hash)
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
        """Who holds this cookie token.

        Raises NoSession, SessionExpired, SessionLocked, DeviceNeeded, StoreUnavailable.

        tenant: that of the host asked (None: any); audience: which host's cookie it is; active: False for background
        polling, which does not keep a session alive.
        """
        moment = now or self._clock()
        fast = self.cached(cookie_token, moment, tenant=tenant, audience=audience, active=active)
        if fast is not None:
            return fast
        generation = self._cache.generation
        row, seen_at = await self._read(cookie_token, moment, tenant, audience)
        token_hash = digest(cookie_token)
        lack = self._lack(row, moment)
        if lack is not None:
            raise DeviceNeeded(principal_of(row), lack)
        touched_at = row.seen_at
        if active:
            seen_at = moment
            if moment - row.seen_at >= self._touch:
                await self._store.touch(row.id, moment)
                touched_at = moment
        principal = principal_of(row)
        until = row.device_until if self.devices.bound and not row.by_program else None
        self._cache.keep(token_hash, Held(row, principal, moment, seen_at, touched_at, until), generation)
        self._used.add(token_hash)
        return principal

    async def bearer(self, cookie_token: str, now: datetime, *, tenant: str, audience: str) -> SessionRow:
        """The session of a cookie token, whatever its device has proved; for nothing but the proof of a device.

        Raises NoSession, SessionExpired, SessionLocked, StoreUnavailable. It keeps no session alive.
        """
        return (await self._read(cookie_token, now, tenant, audience))[0]

    async def _read(
        self, cookie_token: str, now: datetime, tenant: str | None, audience: str
    ) -> tuple[SessionRow, datetime]:
        """The row of a token, neither ended nor locked, and when it was last active as far as known."""
        if not well_formed(cookie_token):
            raise NoSession
        token_hash = digest(cookie_token)
        row = await self._store.by_token(token_hash, now)
        if row is None and self.devices.bound:
            row = await self._store.by_previous(token_hash, now)
        if row is None or row.audience != audience or (tenant is not None and row.tenant != tenant):
            self._held.pop(token_hash, None)
            raise NoSession
        held = self._held.get(token_hash)
        seen_at = row.seen_at if held is None else max(row.seen_at, held.seen_at)
        await self._require_active(row, seen_at, now)
        return row, seen_at

    async def use_device_proof(self, cookie_token: str) -> bool:
        """Whether a sensitive act may go on: where sessions are bound, its own proof came just before, and is used up.

        Raises StoreUnavailable.
        """
        if not self.devices.bound:
            return True
        return well_formed(cookie_token) and await self._store.use_device_proof(digest(cookie_token), self._clock())

    def _lack(self, row: SessionRow, now: datetime) -> Lack | None:
        return self.devices.lack(row.device, row.device_approved, row.device_until, row.by_program, now)

    async def _require_active(self, row: SessionRow, seen_at: datetime, now: datetime) -> None:
        state = self.timeouts.state(now, seen_at, row.expires_at, row.locked_at)
        if state is State.ACTIVE:
            return
        self.forget(row.id)
        if state is not State.LOCKED:
            raise SessionExpired(state.value)
        if row.locked_at is None:  # written down, so that it stays locked whatever another process saw meanwhile
            await self._store.lock(row.id, now)
        raise SessionLocked(principal_of(row))

    async def lock(self, session_id: str) -> bool:
        """Lock a session everywhere until its person proves a factor; whether it was open."""
        locked = await self._store.lock(session_id, self._clock())
        self._gone([session_id])
        return locked

    async def renew(self, session_id: str, cookie_token: str) -> str:
        """After a factor was proved: the session is open and fresh, under a new cookie token (ASVS 7.2.4).

        Raises NoSession when it has ended, or has another token by now.
        """
        token, now = new_token(self._randomness), self._clock()
        if not await self._store.renew(session_id, digest(cookie_token), digest(token), now, now - self.timeouts.idle):
            raise NoSession
        self.forget(session_id)
        return token

    async def end(self, session_id: str, reason: str = "signed-out", crm_tokens: Sequence[str] = ()) -> bool:
        """End one session and its CRM tokens everywhere; whether it was still live.

        crm_tokens: digests of further CRM tokens the browser presents, ended as well where they are this person's.
        """
        now = self._clock()
        if crm_tokens:
            await self._store.end_crm_tokens(session_id, crm_tokens, now)
        ended = await self._store.end(now, reason, session_id=session_id)
        self._gone([session_id])
        return bool(ended)

    async def end_all(self, user_id: str, reason: str = "ended-all", *, keep: str | None = None) -> int:
        """End every session of a user (except `keep`) with their CRM tokens; how many."""
        ended = await self._store.end(self._clock(), reason, user_id=user_id, keep=keep)
        self.forget(user_id)
        self._gone(ended)
        return len(ended)

    async def end_token(self, cookie_token: str, reason: str) -> None:
        """End the session of a cookie token, if it has one: the old token dies when a new one is issued."""
        if not well_formed(cookie_token):
            return
        row = await self._store.by_token(digest(cookie_token), self._clock())
        if row is not None:
            await self.end(row.id, reason)

    async def list(self, tenant: str, now: datetime, user_id: str | None = None) -> Sequence[SessionRow]:
        """Live sessions of a tenant or of one user, latest activity first (at most 500)."""
        return await self._store.live(tenant, now, now - self.timeouts.idle, user_id)

    async def live_principal(
        self, tenant: str, session_id: str, user_id: str, now: datetime, proven: datetime | None = None
    ) -> Principal | None:
        """Who a session of the CRM's host belongs to, read anew; None once it has ended or is locked.

        For what is done outside that host on behalf of the session; it does not keep the session alive. proven: when
        the device had to have proved itself, None for now. Raises StoreUnavailable.
        """
        for row in await self.list(tenant, now, user_id):
            if row.id == session_id and row.audience == AUDIENCE_CRM:
                state = self.timeouts.state(now, row.seen_at, row.expires_at, row.locked_at)
                return principal_of(row) if state is State.ACTIVE and self._lack(row, proven or now) is None else None
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
        now, cache = self._clock(), self._cache
        pair = (token_hash, session_id)
        until = cache.crm_tokens.get(pair)
        if until is not None and now < until:
            cache.used_tokens.add(pair)
            return True
        generation = cache.generation
        allowed = await self._store.claim_crm_token(session_id, token_hash, now)
        if allowed:
            cache.keep_crm_token(token_hash, session_id, now + self._ttl, generation)
            cache.used_tokens.add(pair)
        return allowed

    def forget(self, payload: str) -> None:
        """Drop what is believed about a session id or user id; "" drops everything."""
        self._cache.forget(payload)

    def ended(self, session_ids: Collection[str]) -> None:
        """These sessions were ended elsewhere in this process."""
        self._gone(session_ids)

    def _gone(self, session_ids: Collection[str]) -> None:
        """These sessions ended or were locked: nothing is believed of them, and nothing more goes out in them."""
        for session_id in session_ids:
            self.forget(session_id)
        self.answers.end_sessions(session_ids)

    async def confirm(self) -> None:
        """One look at the sessions in use, and at those that answers are on their way for; raises StoreUnavailable."""
        now, awaited = self._clock(), self.answers.sessions()
        live = await self._cache.confirm(self._store, now, now + self._ttl, awaited)
        self._gone([one for one in awaited if not self._stands(live.get(one), now)])

    def _stands(self, row: SessionRow | None, now: datetime) -> bool:
        # A long download is no activity, and need not be one.
        return row is not None and row.locked_at is None and now < row.expires_at

    async def follow(self, conninfo: str) -> None:
        """Hear of ends made by other processes, and look after them, until cancelled."""
        await together(self.listen(conninfo), self._look())

    async def listen(self, conninfo: str) -> None:
        """Hear of ends made by other processes; while the connection is lost, nothing is believed."""
        attempt = 0
        while True:
            try:
                async with await AsyncConnection.connect(conninfo, autocommit=True) as db:
                    await db.execute(f"LISTEN {CHANNEL}")
                    self.forget("")
                    self._cache.blind = False
                    attempt = 0
                    async for notice in db.notifies():
                        self.forget(notice.payload)
                        self._noticed.set()
            except (PostgresError, OSError) as fault:
                log.warning("session notices interrupted", error=type(fault).__name__)
            self._cache.blind = True
            self.forget("")
            await asyncio.sleep(RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)])
            attempt += 1

    async def _look(self) -> None:
        pause, sure = self._ttl.total_seconds() / LOOKS_PER_TTL, asyncio.get_running_loop().time()
        while True:
            try:
                # One that hangs is given up; what it would have confirmed runs out and is looked up by its own request.
                async with asyncio.timeout(UNSURE_LIMIT_S):
                    await self.confirm()
                sure = asyncio.get_running_loop().time()
            except (StoreUnavailable, TimeoutError) as fault:
                log.warning("sessions not confirmed", error=type(fault).__name__)
                if asyncio.get_running_loop().time() - sure >= UNSURE_LIMIT_S:
                    self.answers.end_sessions(self.answers.sessions())
            try:
                async with asyncio.timeout(pause):
                    await self._noticed.wait()
            except TimeoutError:
                pass
            self._noticed.clear()


def sessions_on(
    pool: Pool, clock: Callable[[], datetime], randomness: Randomness, timeouts: Timeouts | None = None
) -> Sessions:
    """Sessions kept in this database."""
    return Sessions(SessionStore(pool), clock=clock, randomness=randomness, timeouts=timeouts)


def principal_of(row: SessionRow) -> Principal:
    """Who passes in this session."""
    return Principal(
        id=row.user_id,
        login=row.login,
        roles=row.roles,
        tenant=row.tenant,
        session_id=row.id,
        language=row.language,
        crm_user=row.crm_user or None,
        crm_login=row.crm_login,
        networks=row.networks,
        proved_at=row.proved_at,
        emergency=row.emergency,
        device=row.device,
    )
