"""Gateway users as recipients of mail, by login."""

from typing import Protocol

from gateway.access.user import AppUser


class Logins(Protocol):
    """gateway.access.users.Users."""

    async def by_login(self, tenant: str, login: str) -> AppUser | None:
        """The user with this login; raises StoreUnavailable."""


class Staff:
    """Open accounts only: who left the company has no rights over values any more."""

    def __init__(self, users: Logins) -> None:
        self._users = users

    async def find(self, tenant: str, login: str) -> AppUser | None:
        """The user with this login, None where there is none or the account is closed."""
        user = await self._users.by_login(tenant, login)
        return None if user is None or user.disabled else user
