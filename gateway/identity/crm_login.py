"""Whom the CRM knows a person or a program as, with its password or token where the gateway keeps one.

Secrets are sealed under the tenant's keys and bound to their holder; they never appear in a log, an error, a process
list or the settings file.
"""

import unicodedata
from datetime import datetime

from gateway.access.user import LOGIN_MAX_CHARS, printable
from gateway.identity.sealing import IdentitySealer
from gateway.identity.store import IdentityStore, LoginRow
from kms.envelope import EnvelopeInvalid

TABLE = "crm_login"
SECRET_MAX_CHARS = 1024


class CrmLoginInvalid(ValueError):  # noqa: N818 - what somebody typed
    """A CRM login or secret that cannot be one; `problem` is a stable id."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class CrmLoginUnusable(Exception):  # noqa: N818 - a state
    """What is stored does not open; it has to be entered anew."""

    permanent = True


class CrmLogins:
    """Keeps and opens the CRM logins of all tenants."""

    def __init__(self, store: IdentityStore, sealer: IdentitySealer) -> None:
        self._store = store
        self._sealer = sealer

    async def row(self, tenant: str, holder: str) -> LoginRow | None:
        """What is stored for a user or an API client; raises StoreUnavailable."""
        return await self._store.login(tenant, holder)

    async def keep(self, tenant: str, holder: str, login: str, secret: str | None, set_by: str, now: datetime) -> None:
        """Seal and store, instead of what was there; secret None: only the name is known.

        Raises CrmLoginInvalid, KeysUnavailable, StoreUnavailable.
        """
        name = checked(login, secret)
        blob = None
        if secret is not None:
            blob = await self._sealer.seal(tenant, TABLE, holder, secret.encode())
        await self._store.keep_login(tenant, holder, name, blob, set_by, now)

    async def secret(self, tenant: str, row: LoginRow) -> str:
        """The secret of a row that has one; raises CrmLoginUnusable, KeysUnavailable."""
        if row.blob is None:
            raise CrmLoginUnusable("no secret is stored")
        try:
            return (await self._sealer.open(tenant, TABLE, row.holder, row.blob)).decode()
        except EnvelopeInvalid:
            raise CrmLoginUnusable("the stored secret does not open") from None

    async def forget(self, tenant: str, holder: str) -> bool:
        """Delete what is stored; whether there was something."""
        return await self._store.drop_login(tenant, holder)

    async def note_refused(self, tenant: str, row: LoginRow, at: datetime | None) -> None:
        """The CRM refused this login (None: it took it)."""
        await self._store.note_refused(tenant, row.holder, row.set_at, at)


def checked(login: str, secret: str | None) -> str:
    """The login without spaces around it; raises CrmLoginInvalid."""
    name = unicodedata.normalize("NFC", login).strip()
    if not name or len(name) > LOGIN_MAX_CHARS or not printable(name):
        raise CrmLoginInvalid("crm-login-invalid")
    if secret is not None and (not secret or len(secret) > SECRET_MAX_CHARS or not printable(secret)):
        raise CrmLoginInvalid("crm-secret-invalid")
    return name
