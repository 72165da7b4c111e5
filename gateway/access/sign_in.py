"""The two steps of a sign-in, each counted before it is verified.

Nothing works after the password alone (ASVS 6.3.3, 6.3.4): the first step gives a half-open sign-in, a short-lived row
with a token of its own that opens no page but the one asking for the code. The second step takes the code's time step
in one SQL statement, so that a code succeeds once however many nodes and parallel requests try it (6.5.1), and only
then a session is opened. Another provider's word stands in for the password and for nothing else. Unknown login, wrong
password, closed account: one outcome, one message, one cost.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.access import throttle, totp
from gateway.access.elsewhere import Elsewhere, NotLinked
from gateway.access.factor import FactorWrong
from gateway.access.gate import Gate, NotAdmitted
from gateway.access.link_store import LinkStore
from gateway.access.password_check import OwnPasswords, PasswordCheck, PasswordCheckUnavailable
from gateway.access.password_rules import USUAL, PasswordRules
from gateway.access.passwords import Passwords, PasswordWrong
from gateway.access.sealer import Sealer, totp_context
from gateway.access.sessions import AUDIENCE_CRM, NoSession, Sessions, SessionsFull
from gateway.access.store import UserStore
from gateway.access.throttle import Brakes, Locked
from gateway.access.throttle_store import ThrottleStore
from gateway.access.tokens import Randomness, digest, new_token, well_formed
from gateway.access.user import AppUser, Factors, login_key

HALF_OPEN_LIFETIME = timedelta(minutes=5)
HALF_OPEN_ATTEMPTS = 5
RENEWAL_LIFETIME = timedelta(minutes=10)
RENEWAL_ATTEMPTS = 20  # each costs hashes; somebody who reads what is asked for needs two or three

# Verifies another second factor than the app's code and uses it up; raises FactorWrong.
OtherFactor = Callable[[AppUser], Awaitable[None]]
# Judges and hashes the password this person chose, given the hash of the one in use; raises PasswordRefused.
NewPassword = Callable[[AppUser, str | None], Awaitable[str]]


class SecondFactorMissing(Exception):  # noqa: N818 - an outcome the page explains
    """The password was right but no second factor is enrolled: the administrator has to send an invitation."""

    permanent = True


class ProgramsRefused(Exception):  # noqa: N818
    """Both factors are right, but sessions here need a device, which a program has not."""

    permanent = True


class HalfOpenExpired(Exception):  # noqa: N818
    """The half-open sign-in has expired, was used, or its attempts are used up: start with the password again."""

    permanent = True


class PasswordExpired(Exception):  # noqa: N818
    """Both factors are right, but the password is too old: nothing opens before another one is chosen.

    token: of the half-open sign-in that takes the new password, "" where none was made.
    """

    permanent = True

    def __init__(self, token: str = "") -> None:
        super().__init__("password-expired")
        self.token = token


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """After the right password: the token of the half-open sign-in (for its own cookie) and whose it is."""

    token: str
    user: AppUser


@dataclass(frozen=True, slots=True)
class SignedIn:
    """After both factors: the session's cookie token, whose it is, where to go, when it ends at the latest."""

    token: str
    user: AppUser
    next_path: str
    expires_at: datetime


class Attempt(Exception):  # noqa: N818 - carries who tried, for the audit trail, around the outcome itself
    """An attempt that failed, with the account it was about (None when the login is nobody's)."""

    permanent = True

    def __init__(self, outcome: Exception, user: AppUser | None) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome
        self.user = user


class SignIn:
    """Both steps over the stores; one object per process."""

    def __init__(
        self,
        store: UserStore,
        sessions: Sessions,
        attempts: ThrottleStore,
        *,
        passwords: Passwords,
        sealer: Sealer,
        clock: Callable[[], datetime],
        randomness: Randomness,
        gate: Gate,
        links: LinkStore,
        brakes: Brakes | None = None,
        rules: PasswordRules = USUAL,
        check: PasswordCheck | None = None,
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._links = links
        self._sessions = sessions
        self._passwords = passwords
        self._sealer = sealer
        self._clock = clock
        self._randomness = randomness
        self._brakes = brakes or Brakes()
        self._gate = gate
        self._rules = rules
        self._check: PasswordCheck = check or OwnPasswords(passwords)

    async def password_step(
        self, tenant: str, login: str, password: str, client: str, *, next_path: str = "/", audience: str = AUDIENCE_CRM
    ) -> HalfOpen:
        """Verify the password and open the second step.

        Raises Attempt around Locked, PasswordWrong, PasswordCheckUnavailable or SecondFactorMissing; StoreUnavailable.
        """
        factors, through = await self._check_password(tenant, login, password, client)
        token = new_token(self._randomness)
        now = self._clock()
        await self._store.insert_sign_in(
            tenant, digest(token), factors.user.id, audience, next_path, now, now + HALF_OPEN_LIFETIME, through=through
        )
        return HalfOpen(token, factors.user)

    async def elsewhere_step(
        self,
        tenant: str,
        identity: Elsewhere,
        client: str,
        *,
        next_path: str = "/",
        audience: str = AUDIENCE_CRM,
        counted: bool = False,
    ) -> HalfOpen:
        """Open the second step for whoever another provider vouches for; its word replaces the password only.

        The caller has verified that word. counted: the caller has counted this attempt before it asked the provider
        (`brake`). Raises Attempt around Locked, NotLinked (unknown identity and closed account alike) or
        SecondFactorMissing; StoreUnavailable.
        """
        factors = await self._check_elsewhere(tenant, identity, client, counted=counted)
        token = new_token(self._randomness)
        now = self._clock()
        await self._store.insert_sign_in(
            tenant,
            digest(token),
            factors.user.id,
            audience,
            next_path,
            now,
            now + HALF_OPEN_LIFETIME,
            through=identity,
        )
        return HalfOpen(token, factors.user)

    async def elsewhere_at_once(
        self, tenant: str, identity: Elsewhere, client: str, *, next_path: str = "/", audience: str = AUDIENCE_CRM
    ) -> SignedIn:
        """Open the session at once, where the provider proved a second factor and the settings let that count.

        Raises Attempt around Locked, NotLinked, SecondFactorMissing or NotAdmitted; HalfOpenExpired; StoreUnavailable.
        """
        factors = await self._check_elsewhere(tenant, identity, client, counted=False)
        return await self._open(factors.user, client, next_path, audience, counted=1, through=identity)

    async def _check_elsewhere(self, tenant: str, identity: Elsewhere, client: str, *, counted: bool) -> Factors:
        owner = await self._links.owner(tenant, identity)
        factors = None if owner is None else await self._store.factors(tenant, user_id=owner)
        known = None if factors is None else factors.user
        if not counted:
            key = identity.brake_key if known is None else login_key(known.login)
            await self._brake(tenant, key, client, known)
        if factors is None or factors.user.disabled:
            raise Attempt(NotLinked(), known)
        if factors.totp_secret is None:
            raise Attempt(SecondFactorMissing(), factors.user)
        return factors

    async def code_step(
        self, tenant: str, half_open: str, code: str, client: str, *, audience: str = AUDIENCE_CRM
    ) -> SignedIn:
        """Verify the code of a half-open sign-in and open the session.

        Raises HalfOpenExpired; Attempt around Locked, CodeWrong, CodeReplayed, NotAdmitted or PasswordExpired;
        KeysUnavailable; StoreUnavailable.
        """
        return await self._second_step(tenant, half_open, client, audience, lambda held: self._check_code(held, code))

    async def other_step(
        self, tenant: str, half_open: str, check: OtherFactor, client: str, *, audience: str = AUDIENCE_CRM
    ) -> SignedIn:
        """Finish a half-open sign-in with a recovery code or a passkey; counted and braked as codes are.

        Raises HalfOpenExpired; Attempt around Locked or what `check` raises; StoreUnavailable.
        """
        return await self._second_step(tenant, half_open, client, audience, lambda held: _other(held.user, check))

    async def _second_step(
        self, tenant: str, half_open: str, client: str, audience: str, check: Callable[[Factors], Awaitable[None]]
    ) -> SignedIn:
        now = self._clock()
        token_hash = digest(half_open)
        found = (
            await self._store.attempt_sign_in(tenant, token_hash, audience, now, HALF_OPEN_ATTEMPTS)
            if well_formed(half_open)
            else None
        )
        factors = None if found is None else await self._store.factors(tenant, user_id=found.user_id)
        if found is None or factors is None or factors.user.disabled:
            raise HalfOpenExpired
        if factors.user.directory and found.through is None:  # linked since: this sign-in knew crmgate's own password
            raise HalfOpenExpired
        await self._brake(tenant, login_key(factors.user.login), client, factors.user)
        await check(factors)
        if not await self._store.take_sign_in(tenant, token_hash):
            raise HalfOpenExpired
        # Only where the password was used does its age matter.
        if found.through is None and self._rules.expired(factors.password_changed_at, now):
            await self._admit(factors.user, client, audience)
            raise Attempt(PasswordExpired(await self._renewal(factors.user, audience, found.next_path)), factors.user)
        return await self._open(factors.user, client, found.next_path, audience, counted=2, through=found.through)

    async def renewal_step(
        self, tenant: str, token: str, choose: NewPassword, client: str, *, audience: str = AUDIENCE_CRM
    ) -> SignedIn:
        """Take a new password from whoever passed both factors with an expired one, and only then open the session.

        Raises HalfOpenExpired; PasswordRefused (it may be tried again); Attempt around NotAdmitted; StoreUnavailable.
        """
        now, token_hash = self._clock(), digest(token)
        found = (
            await self._store.attempt_sign_in(tenant, token_hash, audience, now, RENEWAL_ATTEMPTS, renews=True)
            if well_formed(token)
            else None
        )
        factors = None if found is None else await self._store.factors(tenant, user_id=found.user_id)
        if found is None or factors is None or factors.user.disabled or factors.totp_secret is None:
            raise HalfOpenExpired
        if not self._rules.expired(factors.password_changed_at, now):  # changed since: this sign-in knew the old one
            raise HalfOpenExpired
        await self._admit(factors.user, client, audience)
        hashed = await choose(factors.user, factors.password_hash)
        if not await self._store.take_sign_in(tenant, token_hash):
            raise HalfOpenExpired
        await self._store.set_password(tenant, factors.user.id, hashed, now, kept=self._rules.kept)
        await self._store.drop_sign_ins(tenant, factors.user.id)
        await self._sessions.end_all(factors.user.id, "password-changed")
        return await self._open(factors.user, client, found.next_path, audience, counted=2)

    async def _renewal(self, user: AppUser, audience: str, next_path: str) -> str:
        token, now = new_token(self._randomness), self._clock()
        await self._store.insert_sign_in(
            user.tenant, digest(token), user.id, audience, next_path, now, now + RENEWAL_LIFETIME, renews=True
        )
        return token

    async def at_once(
        self, tenant: str, login: str, password: str, code: str, client: str, *, audience: str = AUDIENCE_CRM
    ) -> SignedIn:
        """Both factors in one call, for API clients; the same brakes and rules.

        Raises Attempt around Locked, PasswordWrong, PasswordCheckUnavailable, SecondFactorMissing, CodeWrong,
        CodeReplayed, NotAdmitted, PasswordExpired or ProgramsRefused.
        """
        factors, through = await self._check_password(tenant, login, password, client)
        await self._check_code(factors, code)
        await self._admit(factors.user, client, audience)
        self._require_fresh(factors, through)
        if not self._sessions.devices.programs_allowed:
            raise Attempt(ProgramsRefused(), factors.user)
        return await self._open(factors.user, client, "/", audience, counted=1, through=through, by_program=True)

    async def prove(
        self, tenant: str, login: str, password: str, code: str, client: str, other: OtherFactor | None = None
    ) -> AppUser:
        """Both factors without a session, for one act that needs to know who does it; the same brakes and rules.

        other: what verifies the second factor where it is not the app's code. Raises Attempt as `at_once` does, or
        around what `other` raises.
        """
        factors, through = await self._check_password(tenant, login, password, client)
        await (self._check_code(factors, code) if other is None else _other(factors.user, other))
        self._require_fresh(factors, through)
        await self._forgive(factors.user, client, self._clock(), counted=1)
        return factors.user

    async def prove_factor(
        self,
        tenant: str,
        user_id: str,
        code: str,
        client: str,
        *,
        other: OtherFactor | None = None,
        password: str | None = None,
    ) -> AppUser:
        """A second factor of somebody who has a session, with the password too where it is given; the same brakes.

        Raises HalfOpenExpired for an account that is closed or gone; Attempt as `at_once` does, or around what `other`
        raises; StoreUnavailable.
        """
        factors = await self._store.factors(tenant, user_id=user_id)
        if factors is None or factors.user.disabled:
            raise HalfOpenExpired
        await self._brake(tenant, login_key(factors.user.login), client, factors.user)
        if password is not None:
            try:
                await self._check.verify(tenant, factors.user, factors.password_hash, password)
            except (PasswordWrong, PasswordCheckUnavailable) as outcome:
                raise Attempt(outcome, factors.user) from outcome
        await (self._check_code(factors, code) if other is None else _other(factors.user, other))
        await self._forgive(factors.user, client, self._clock(), counted=1)
        return factors.user

    async def brake(self, tenant: str, login: str, client: str) -> None:
        """Count an attempt at a secret of a signed-in person (own password); raises Locked."""
        try:
            await self._brake(tenant, login_key(login), client, None)
        except Attempt as attempt:
            raise attempt.outcome from attempt

    async def _check_password(
        self, tenant: str, login: str, password: str, client: str
    ) -> tuple[Factors, Elsewhere | None]:
        """The account whose password this is, and the identity in a directory that stood in for it, if one did."""
        key = login_key(login)
        factors = await self._store.factors(tenant, key=key)
        known = None if factors is None else factors.user
        await self._brake(tenant, key or login[:256], client, known)
        usable = factors if factors is not None and not factors.user.disabled else None
        user, stored = (None, None) if usable is None else (usable.user, usable.password_hash)
        try:
            through = await self._check.verify(tenant, user, stored, password)
        except (PasswordWrong, PasswordCheckUnavailable) as outcome:
            raise Attempt(outcome, known) from outcome
        if usable is None:  # the check of nobody has raised; this tells the type checker so, and fails closed
            raise Attempt(PasswordWrong(), known)
        if usable.totp_secret is None:
            raise Attempt(SecondFactorMissing(), usable.user)
        if through is None and stored is not None and self._passwords.outdated(stored):
            await self._store.renew_hash(tenant, usable.user.id, stored, await self._passwords.hash(password))
        return usable, through

    async def _check_code(self, factors: Factors, code: str) -> None:
        user = factors.user
        if factors.totp_secret is None:
            raise Attempt(SecondFactorMissing(), user)
        secret = await self._sealer.open(user.tenant, factors.totp_secret, totp_context(user.id))
        try:
            step = totp.match(secret.decode("ascii"), code, self._clock())
        except totp.CodeWrong as outcome:
            raise Attempt(outcome, user) from outcome
        if not await self._store.use_totp_step(user.tenant, user.id, step):
            raise Attempt(totp.CodeReplayed(), user)

    async def _open(
        self,
        user: AppUser,
        client: str,
        next_path: str,
        audience: str,
        *,
        counted: int,
        through: Elsewhere | None = None,
        by_program: bool = False,
    ) -> SignedIn:
        """Open the session and give back the attempts this sign-in was counted with."""
        now = self._clock()
        await self._admit(user, client, audience)
        try:
            token = await self._sessions.open(
                user, client, now, audience=audience, through=through, by_program=by_program
            )
        except NoSession as fault:
            raise HalfOpenExpired from fault
        except SessionsFull as full:
            raise Attempt(full, user) from full
        await self._forgive(user, client, now, counted=counted)
        if through is not None:
            await self._links.note_use(user.tenant, through, now)
        return SignedIn(token, user, next_path, now + self._sessions.timeouts.absolute)

    async def _admit(self, user: AppUser, client: str, audience: str) -> None:
        try:
            await self._gate.admit(user, audience, client, self._clock())
        except NotAdmitted as outcome:
            raise Attempt(outcome, user) from outcome

    def _require_fresh(self, factors: Factors, through: Elsewhere | None) -> None:
        if through is None and self._rules.expired(factors.password_changed_at, self._clock()):
            raise Attempt(PasswordExpired(), factors.user)

    async def _forgive(self, user: AppUser, client: str, now: datetime, *, counted: int) -> None:
        """Give back the attempts a success was counted with."""
        key, source = login_key(user.login), throttle.source_of(client)
        digests = throttle.keys(key, source)
        known = await self._known(user.tenant, key, source, now)
        await self._attempts.forgive(
            user.tenant,
            ("pair", digests["pair"]),
            [] if known else [(dimension, digests[dimension]) for dimension in ("source", "login")],
            counted,
        )
        await self._attempts.know_source(user.tenant, user.id, source, now)

    async def _brake(self, tenant: str, key: str, client: str, user: AppUser | None) -> None:
        """Count the attempt in every dimension that applies; raises Attempt(Locked) when one of them holds."""
        now = self._clock()
        source = throttle.source_of(client)
        digests = throttle.keys(key, source)
        known = await self._known(tenant, key, source, now)
        chosen = self._brakes
        for brake in (chosen.pair,) if known else (chosen.pair, chosen.source, chosen.login):
            wait = await self._attempts.count_attempt(tenant, brake, digests[brake.dimension], now)
            if wait is not None:
                raise Attempt(Locked(max(1, int(wait.total_seconds()))), user)

    async def _known(self, tenant: str, key: str, source: str, now: datetime) -> bool:
        if login_key(key) != key:  # what can be no login has no owner, and may be no text for the database either
            return False
        since = now - timedelta(days=throttle.KNOWN_SOURCE_DAYS)
        return await self._attempts.source_known(tenant, key, source, since)


async def _other(user: AppUser, check: OtherFactor) -> None:
    """Another factor's outcome, with whose attempt it was."""
    try:
        await check(user)
    except FactorWrong as outcome:
        raise Attempt(outcome, user) from outcome
