"""What administrators and people themselves do to accounts; each change ends what it must end.

An administrator starts everything and never chooses a secret: a new or reset account gets an invitation, a link that
works once and for a limited time, with which the person chooses the password and enrols an authenticator app
(ASVS 6.4.1, 6.4.6). Both factors are set together, so there is never an account that is open with one of them.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.access import totp
from gateway.access.breached import BreachFile
from gateway.access.giving import Giving, Rights, rights_of
from gateway.access.password_rules import USUAL, PasswordRules
from gateway.access.passwords import PasswordRefused, Passwords, PasswordWrong, check_new_password
from gateway.access.sealer import Sealer, totp_context
from gateway.access.sessions import Sessions
from gateway.access.store import LoginTaken, UserStore
from gateway.access.tokens import Randomness, digest, new_id, new_token, well_formed
from gateway.access.user import LOGIN_MAX_CHARS, NAME_MAX_CHARS, AppUser, login_key, printable
from policies.placement import is_placement

INVITATION_LIFETIME = timedelta(hours=48)
LANGUAGES = ("en", "zh_Hans")
_CRM_USER = re.compile(r"[^\s\x00-\x1f\x7f]{0,200}")


class AccountRefused(Exception):  # noqa: N818 - an outcome the form reports
    """An account cannot be made or changed like this; `problem` is an id such as `login-invalid` or `role-unknown`."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class InvitationInvalid(Exception):  # noqa: N818
    """The link was used, has expired, was replaced by a newer one, or never existed: ask for another."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the invited person sees before choosing a password: who it is for and the secret for the app."""

    user: AppUser
    secret: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What an administrator may say about a user."""

    display_name: str = ""
    roles: tuple[str, ...] = ()
    crm_user: str = ""
    language: str = ""


class Users:
    """Accounts of one installation.

    roles: ids of the roles there are; issuer: name shown in the authenticator app; context_words: words a password must
    not lean on (product and company name). breached: file of passwords that are known to others; rules: what else is
    asked of new ones. giving: what is asked of changes that give somebody rights.
    """

    def __init__(
        self,
        store: UserStore,
        sessions: Sessions,
        *,
        passwords: Passwords,
        sealer: Sealer,
        clock: Callable[[], datetime],
        randomness: Randomness,
        roles: Collection[str],
        issuer: str = "crmgate",
        context_words: Sequence[str] = ("crmgate",),
        breached: BreachFile | None = None,
        rules: PasswordRules = USUAL,
        giving: Giving | None = None,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._sealer = sealer
        self._clock = clock
        self._randomness = randomness
        self.roles = tuple(roles)
        self.issuer = issuer
        self._context_words = tuple(context_words)
        self._breached = breached
        self.rules = rules
        self.giving = giving or Giving()

    async def list(self, tenant: str) -> Sequence[AppUser]:
        """Every account, open ones first, by login."""
        return await self._store.users(tenant)

    async def get(self, tenant: str, user_id: str) -> AppUser | None:
        """One account by id."""
        return await self._store.user(tenant, user_id)

    async def by_login(self, tenant: str, login: str) -> AppUser | None:
        """One account by login, however it is spelled."""
        found = await self._store.factors(tenant, key=login_key(login))
        return None if found is None else found.user

    async def invited(self, tenant: str) -> dict[str, datetime]:
        """User id → until when the invitation works."""
        return await self._store.invited(tenant, self._clock())

    async def check_new(self, tenant: str, login: str, profile: Profile, *, alone: bool = False) -> None:
        """Raise what `create` would raise, and change nothing."""
        self._check(profile)
        given = Rights(tuple(profile.roles), (), profile.crm_user.strip())
        self._check_given(tenant, Rights((), (), ""), given, alone=alone)
        if not login_key(login) or len(login.strip()) > LOGIN_MAX_CHARS or any(c.isspace() for c in login.strip()):
            raise AccountRefused("login-invalid")
        if await self.by_login(tenant, login) is not None:
            raise LoginTaken

    async def create(self, tenant: str, login: str, profile: Profile, *, alone: bool = False) -> AppUser:
        """Make an account that nobody can use before an invitation is taken up; raises AccountRefused, LoginTaken.

        alone: with rights although they take two people, for installations that do not have them yet.
        """
        await self.check_new(tenant, login, profile, alone=alone)
        login = login.strip()
        user = AppUser(
            id=new_id("u", self._randomness),
            tenant=tenant,
            login=login,
            display_name=profile.display_name.strip(),
            roles=tuple(sorted(set(profile.roles))),
            crm_user=profile.crm_user.strip(),
            language=profile.language,
            disabled=False,
            has_password=False,
            has_second_factor=False,
            created_at=self._clock(),
        )
        await self._store.insert_user(user)
        return user

    async def change(self, user: AppUser, profile: Profile, *, alone: bool = False) -> None:
        """Change roles, name, CRM key, language; open sessions follow at once, on every node. alone: see `create`."""
        self._check(profile)
        before = rights_of(user)
        after = Rights(tuple(sorted(set(profile.roles))), before.placements, profile.crm_user.strip())
        self._check_given(user.tenant, before, after, alone=alone)
        if not await self._store.update_profile(
            user,
            display_name=profile.display_name.strip(),
            roles=after.roles,
            crm_user=after.crm_user,
            language=profile.language,
        ):
            raise AccountRefused("changed-meanwhile")
        await self._sessions.changed(user.id)

    async def place(self, user: AppUser, placements: Collection[str], *, alone: bool = False) -> None:
        """Set departments and positions; open sessions follow at once. alone: see `create`. Raises AccountRefused."""
        if not all(map(is_placement, placements)):
            raise AccountRefused("placement-invalid")
        before = rights_of(user)
        after = replace(before, placements=tuple(sorted(set(placements))))
        self._check_given(user.tenant, before, after, alone=alone)
        if not await self._store.set_placements(user, after.placements):
            raise AccountRefused("changed-meanwhile")
        await self._sessions.changed(user.id)

    def check_rights(self, rights: Rights) -> None:
        """Raise AccountRefused unless an account can have these rights, whoever gives them."""
        self._check(Profile(roles=rights.roles, crm_user=rights.crm_user))
        if not all(map(is_placement, rights.placements)):
            raise AccountRefused("placement-invalid")

    async def rights_changed(self, user_id: str) -> None:
        """Tell every process that the rights of an account are others now."""
        await self._sessions.changed(user_id)

    async def choose_language(self, tenant: str, user_id: str, language: str) -> None:
        """The person's own choice of language."""
        if language not in LANGUAGES:
            raise AccountRefused("language-unknown")
        await self._store.set_language(tenant, user_id, language)
        await self._sessions.changed(user_id)

    async def disable(self, user: AppUser) -> None:
        """Close the account: every session and half-open sign-in ends."""
        await self._store.set_disabled(user.tenant, user.id, disabled=True)
        await self._store.drop_sign_ins(user.tenant, user.id)
        await self._sessions.end_all(user.id, "account-closed")

    async def enable(self, user: AppUser) -> None:
        """Reopen the account with the factors it had."""
        await self._store.set_disabled(user.tenant, user.id, disabled=False)

    async def end_sessions(self, user: AppUser, reason: str) -> None:
        """End every session of a person."""
        await self._sessions.end_all(user.id, reason)

    async def leave_password(self, user: AppUser) -> None:
        """Forget crmgate's own password of somebody whose directory checks it from now on; what it opened ends."""
        await self._store.forget_password(user.tenant, user.id)
        await self._store.drop_sign_ins(user.tenant, user.id)
        await self._sessions.end_all(user.id, "password-changed")

    async def invite(self, user: AppUser, invited_by: str) -> tuple[str, datetime]:
        """A new invitation token and its expiry; earlier links stop working, the factors stay until it is used.

        The token is shown once and kept only as a digest.
        """
        now = self._clock()
        token = new_token(self._randomness)
        secret = totp.new_secret(self._randomness)
        sealed = await self._sealer.seal(user.tenant, secret.encode("ascii"), totp_context(user.id))
        expires = now + INVITATION_LIFETIME
        await self._store.insert_invitation(user.tenant, digest(token), user.id, sealed, invited_by, now, expires)
        return token, expires

    async def reset(self, user: AppUser, invited_by: str) -> tuple[str, datetime]:
        """Forget both factors, end every session, and give an invitation: for a lost phone or a leaked password."""
        await self._store.clear_factors(user.tenant, user.id, self._clock(), kept=self.rules.kept)
        await self._store.drop_sign_ins(user.tenant, user.id)
        await self._sessions.end_all(user.id, "factors-reset")
        return await self.invite(user, invited_by)

    async def invitation(self, tenant: str, token: str) -> Invitation:
        """What stands behind an invitation link; raises InvitationInvalid."""
        found = await self._store.invitation(tenant, digest(token), self._clock()) if well_formed(token) else None
        if found is None:
            raise InvitationInvalid
        user, sealed = found
        secret = await self._sealer.open(tenant, sealed, totp_context(user.id))
        return Invitation(user, secret.decode("ascii"))

    async def accept(self, tenant: str, token: str, password: str, code: str) -> AppUser:
        """Use an invitation: set both factors after the app's first code proved that it is set up.

        An account whose password a directory checks gets its second factor only. Raises InvitationInvalid,
        PasswordRefused, CodeWrong. The code used here cannot be used again to sign in.
        """
        invitation = await self.invitation(tenant, token)
        user, now = invitation.user, self._clock()
        if not user.directory:
            self._check_password(user, password)
        step = totp.match(invitation.secret, code, now)
        password_hash = None
        if not user.directory:
            factors = await self._store.factors(tenant, user_id=user.id)
            password_hash = await self.accepted(user, password, None if factors is None else factors.password_hash)
        sealed = await self._sealer.seal(tenant, invitation.secret.encode("ascii"), totp_context(user.id))
        if not await self._store.take_invitation(tenant, digest(token), now):
            raise InvitationInvalid
        await self._store.set_factors(
            tenant,
            user.id,
            password_hash=password_hash,
            totp_secret=sealed,
            last_totp_step=step,
            now=now,
            kept=self.rules.kept,
        )
        await self._sessions.end_all(user.id, "factors-changed")
        return user

    async def change_password(self, tenant: str, user_id: str, current: str, new: str, *, keep_session: str) -> None:
        """The person's own change: needs the current password, ends the person's other sessions (ASVS 6.2.3, 7.4.3).

        Raises PasswordWrong, PasswordRefused.
        """
        factors = await self._store.factors(tenant, user_id=user_id)
        if factors is None or factors.user.disabled:
            raise PasswordWrong
        if factors.user.directory:
            raise PasswordRefused("in-directory")
        await self._passwords.verify(factors.password_hash, current)
        hashed = await self.accepted(factors.user, new, factors.password_hash)
        await self._store.set_password(tenant, user_id, hashed, self._clock(), kept=self.rules.kept)
        await self._sessions.end_all(user_id, "password-changed", keep=keep_session)

    async def provision(self, user: AppUser, password: str, secret: str) -> None:
        """Set both factors without an invitation: for demonstrations and tests, never offered in the console."""
        sealed = await self._sealer.seal(user.tenant, secret.encode("ascii"), totp_context(user.id))
        await self._store.set_factors(
            user.tenant,
            user.id,
            password_hash=await self._passwords.hash(password),
            totp_secret=sealed,
            last_totp_step=0,
            now=self._clock(),
            kept=self.rules.kept,
        )

    async def accepted(self, user: AppUser, password: str, stored: str | None) -> str:
        """The hash of a new password this person may use; raises PasswordRefused. stored: that of the one in use."""
        self._check_password(user, password)
        if self.rules.kept:
            for hashed in filter(None, (stored, *await self._store.earlier_hashes(user.tenant, user.id))):
                try:
                    await self._passwords.verify(hashed, password)
                except PasswordWrong:
                    continue
                raise PasswordRefused("used-before")
        return await self._passwords.hash(password)

    def _check_password(self, user: AppUser, password: str) -> None:
        check_new_password(password, self._words(user), self._breached, self.rules)

    def _check(self, profile: Profile) -> None:
        if any(role not in self.roles for role in profile.roles):
            raise AccountRefused("role-unknown")
        if len(profile.display_name) > NAME_MAX_CHARS or not printable(profile.display_name):
            raise AccountRefused("name-invalid")
        if not _CRM_USER.fullmatch(profile.crm_user.strip()):
            raise AccountRefused("crm-user-invalid")
        if profile.language and profile.language not in LANGUAGES:
            raise AccountRefused("language-unknown")

    def _check_given(self, tenant: str, before: Rights, after: Rights, *, alone: bool) -> None:
        if after.everything != before.everything and self.giving.joins(tenant, after.everything):
            raise AccountRefused("duties-joined")
        if not alone and self.giving.needs_second(tenant, before, after):
            raise AccountRefused("two-people")

    def _words(self, user: AppUser) -> Sequence[str]:
        return (user.login, user.display_name, self.issuer, *self._context_words)
