"""CRM sessions that the gateway carries for people and programs: one for each gateway session, in memory only.

The browser never sees them. One task signs in while the others wait; a refused secret is not tried again before the
wait is over, so a CRM is never hammered; after an answer that makes no sense there is a pause. Every sign-in is in the
trail before the secret leaves.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn
from weakref import WeakValueDictionary

from audit.log import AuditUnavailable
from gateway.access.sessions import Sessions
from gateway.answer import Answer
from gateway.binding import signed_out
from gateway.exchange import Exchange, Principal
from gateway.identity.bearing import Bearing
from gateway.identity.crm_login import CrmLogins, CrmLoginUnusable
from gateway.identity.crm_session import (
    CrmLoginWrong,
    CrmSession,
    CrmSignInUnreadable,
    cookie_of,
    sign_in,
    sign_out,
)
from gateway.identity.events import SIGN_IN, SIGN_OUT, IdentityTrail
from gateway.identity.store import LoginRow
from gateway.installation import Installation
from gateway.protect.client import CrmClient
from gateway.protect.reading import CrmUnreachable
from gateway.refusal import (
    CRM_DOWN,
    CRM_LOGIN_MISSING,
    CRM_LOGIN_REFUSED,
    CRM_SESSION_LOST,
    CRM_SIGN_IN_HERE,
    CRM_SIGN_IN_UNREADABLE,
    Reason,
    Refusal,
)
from gateway.upstream import Pool
from kms.store import StoreUnavailable
from policies.carried import Carried
from policies.operation import Action

MOST = 20_000
PAUSE = timedelta(seconds=10)  # after an answer that is neither yes nor no
SIGN_OUT_S = 5.0
Again = Callable[[], Awaitable[Answer]]


@dataclass(slots=True)
class _Held:
    """One open session at the CRM. row: whose login it is, and when that was set."""

    principal: Principal
    row: LoginRow
    session: CrmSession = field(repr=False)
    bearing: Bearing = field(repr=False)
    used_at: datetime


class CarriedSessions:
    """All sessions at one CRM. database: of the settings; wait: until a refused secret is tried again."""

    def __init__(
        self,
        tenant: str,
        installation: Installation,
        pool: Pool,
        logins: CrmLogins,
        sessions: Sessions,
        trail: IdentityTrail,
        clock: Callable[[], datetime],
        database: str,
        wait: timedelta,
    ) -> None:
        self._tenant = tenant
        self._installation = installation
        self._pool = pool
        self._logins = logins
        self._sessions = sessions
        self._trail = trail
        self._clock = clock
        self._database = database
        self._wait = wait
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._count = 0
        self._pauses: dict[str, datetime] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def _carried(self) -> Carried:
        carried = self._installation.current.carried
        if carried is None:
            raise Refusal(CRM_SIGN_IN_UNREADABLE)
        return carried

    @property
    def takes_token(self) -> bool:
        """Whether the secret is a token of the CRM, not a password."""
        return self._carried.sign_in is None

    async def bear(self, exchange: Exchange) -> None:
        """Give the exchange the session of its principal, signing in where there is none.

        Raises Refusal CRM_SIGN_IN_HERE, CRM_LOGIN_MISSING, CRM_LOGIN_REFUSED, CRM_SIGN_IN_UNREADABLE, CRM_DOWN;
        KeysUnavailable, StoreUnavailable, AuditUnavailable.
        """
        principal, operation = exchange.principal, exchange.operation
        assert principal is not None
        if operation is not None and operation.action is Action.LOGIN:
            raise Refusal(CRM_SIGN_IN_HERE)
        held = self._held.get(principal.session_id)
        if held is None or held.row.login != principal.crm_login:
            held = await self._renewed(exchange, principal, None)
        self._use(exchange, principal, held)

    async def settle(self, exchange: Exchange, answer: Answer, again: Again | None) -> Answer:
        """Take the session's cookies out of an answer; where the CRM says signed out, sign in and ask once more.

        again: sends the same request with what the exchange bears then; None where its body is gone. Raises as `bear`
        does, and Refusal CRM_SESSION_LOST.
        """
        principal = exchange.principal
        assert principal is not None
        held = self._held.get(principal.session_id)
        if not self._ended(answer):
            self._take(held, answer)
            return answer
        answer.abandon()
        borne = 0 if exchange.bearing is None else exchange.bearing.number
        stale = held if held is not None and borne == held.bearing.number else None
        renewed = await self._renewed(exchange, principal, stale)
        if again is None:
            raise Refusal(CRM_SESSION_LOST)
        self._use(exchange, principal, renewed)
        answer = await again()
        if self._ended(answer):
            answer.abandon()
            self._drop(principal.session_id, renewed)
            self._pauses[principal.session_id] = self._clock() + PAUSE
            await self._failed(exchange, principal, renewed.row, CRM_SIGN_IN_UNREADABLE)
        self._take(self._held.get(principal.session_id), answer)
        return answer

    async def try_now(self, principal: Principal, client: str) -> Reason | None:
        """Sign in at once with what is stored, whatever was refused before; None when the CRM takes it.

        Raises KeysUnavailable, StoreUnavailable, AuditUnavailable.
        """
        async with self._lock(principal.session_id):
            self._held.pop(principal.session_id, None)
            row = await self._logins.row(self._tenant, principal.id)
            if row is None or row.blob is None:
                return CRM_LOGIN_MISSING
            try:
                await self._open(None, principal, row, client)
            except Refusal as refusal:
                return refusal.reason
            return None

    async def leave(self, principal: Principal, client: str = "") -> None:
        """End the CRM session of a gateway session at the CRM, too; raises AuditUnavailable."""
        held = self._held.pop(principal.session_id, None)
        if held is not None:
            await self._sign_out(held, client)

    async def sweep(self, now: datetime) -> None:
        """End what nobody used for as long as a gateway session may rest; one of the sweeps of a server.

        Raises StoreUnavailable where the trail is away: what it could not be told of is ended the next time.
        """
        idle = self._sessions.timeouts.idle
        for key, held in list(self._held.items()):
            if now - held.used_at >= idle:
                self._drop(key, held)
                try:
                    await self._sign_out(held, "")
                except AuditUnavailable as fault:
                    self._held.setdefault(key, held)
                    raise StoreUnavailable from fault
        self._pauses = {key: until for key, until in self._pauses.items() if until > now}

    async def close(self) -> None:
        """End all of them at the CRM, as far as it answers."""
        held, self._held = list(self._held.values()), OrderedDict()
        await asyncio.gather(*(self._sign_out(one, "") for one in held), return_exceptions=True)

    # -- one session -------------------------------------------------------------------------------------------

    def _use(self, exchange: Exchange, principal: Principal, held: _Held) -> None:
        held.used_at = self._clock()
        self._held.move_to_end(principal.session_id)
        exchange.bearing = held.bearing
        if principal.crm_login == held.row.login:
            exchange.crm_user = principal.crm_user or held.session.user or None
            return
        # What was known of another login counts for nothing.
        known = principal.crm_user if not principal.crm_login else None
        exchange.crm_user = known or held.session.user or None
        exchange.principal = replace(principal, crm_login=held.row.login, crm_user=exchange.crm_user)

    async def _renewed(self, exchange: Exchange, principal: Principal, stale: _Held | None) -> _Held:
        """A session instead of the stale one, or of none that fits what is stored."""
        async with self._lock(principal.session_id):
            held = self._held.get(principal.session_id)
            row = await self._logins.row(self._tenant, principal.id)
            if row is None or row.blob is None:
                await self._failed(exchange, principal, None, CRM_LOGIN_MISSING)
            if held is not None and held is not stale and held.row.set_at == row.set_at:
                return held
            now = self._clock()
            if row.refused_at is not None and now - row.refused_at < self._wait:
                raise Refusal(CRM_LOGIN_REFUSED)
            if self._pauses.get(principal.session_id, now) > now:
                raise Refusal(CRM_SIGN_IN_UNREADABLE)
            if held is not None:
                self._drop(principal.session_id, held)
                if held is not stale:  # somebody set another login
                    await self._sign_out(held, exchange.client_address)
            return await self._open(exchange, principal, row, exchange.client_address)

    async def _open(self, exchange: Exchange | None, principal: Principal, row: LoginRow, client: str) -> _Held:
        """Sign in; called under the lock of the session."""
        profile, carried = self._installation.current, self._carried
        try:
            secret = await self._logins.secret(self._tenant, row)
        except CrmLoginUnusable:
            await self._failed(exchange, principal, row, CRM_LOGIN_MISSING, client)
        said = {"crm_login": row.login, "exchange": exchange, "client": client}
        await self._trail.note(principal, SIGN_IN, "crm-signing-in", **said)  # type: ignore[arg-type]
        try:
            session = await sign_in(CrmClient(self._pool), profile, row.login, secret, self._database)
            bearing = session.bearing(carried)
        except CrmLoginWrong:
            await self._logins.note_refused(self._tenant, row, self._clock())
            await self._failed(exchange, principal, row, CRM_LOGIN_REFUSED, client)
        except (CrmSignInUnreadable, ValueError, KeyError):
            self._pauses[principal.session_id] = self._clock() + PAUSE
            await self._failed(exchange, principal, row, CRM_SIGN_IN_UNREADABLE, client)
        except CrmUnreachable:
            await self._failed(exchange, principal, row, CRM_DOWN, client)
        if row.refused_at is not None:
            await self._logins.note_refused(self._tenant, row, None)
        self._count += 1
        held = _Held(principal, row, session, replace(bearing, number=self._count), self._clock())
        await self._trail.note(principal, SIGN_IN, "crm-signed-in", **said)  # type: ignore[arg-type]
        await self._sessions.note_crm_identity(principal.session_id, row.login, session.user)
        self._held[principal.session_id] = held
        if len(self._held) > MOST:
            self._held.popitem(last=False)
        return held

    async def _failed(
        self, exchange: Exchange | None, principal: Principal, row: LoginRow | None, reason: Reason, client: str = ""
    ) -> NoReturn:
        """Put a refusal into the trail and raise it."""
        login = "" if row is None else row.login
        await self._trail.note(
            principal, SIGN_IN, reason.id, status=reason.status, crm_login=login, exchange=exchange, client=client
        )
        raise Refusal(reason)

    async def _sign_out(self, held: _Held, client: str) -> None:
        try:
            async with asyncio.timeout(SIGN_OUT_S):
                done = await sign_out(CrmClient(self._pool), self._carried, held.session)
        except (CrmUnreachable, TimeoutError, Refusal):
            done = False
        reason = "crm-signed-out" if done else "crm-sign-out-failed"
        await self._trail.note(held.principal, SIGN_OUT, reason, crm_login=held.row.login, client=client)

    def _ended(self, answer: Answer) -> bool:
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.fields]
        profile = self._installation.current
        return bool(profile.signed_out) and signed_out(profile, answer.status, fields)

    def _take(self, held: _Held | None, answer: Answer) -> None:
        """Keep the session's cookies to ourselves."""
        if not any(name == b"set-cookie" for name, _ in answer.fields):
            return
        private, mine = self._installation.session_cookies, set(self._carried.cookies)
        kept: list[tuple[bytes, bytes]] = []
        changed: dict[str, str] = {}
        for name, value in answer.fields:
            text = value.decode("latin-1")
            if name == b"set-cookie" and text.partition("=")[0].strip() in private:
                told = cookie_of(text)
                if told is not None and told[1] is not None and told[0] in mine:
                    changed[told[0]] = told[1]
                continue
            kept.append((name, value))
        answer.fields = kept
        if held is not None and changed:
            held.session = replace(held.session, cookies={**held.session.cookies, **changed})
            held.bearing = replace(held.session.bearing(self._carried), number=held.bearing.number)

    def _drop(self, key: str, held: _Held) -> None:
        if self._held.get(key) is held:
            del self._held[key]

    def _lock(self, key: str) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()
        return lock
