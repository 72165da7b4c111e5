"""Who says whether a password is right: crmgate itself, or the directory an account is linked to.

A linked account has no password of crmgate's that could count: where its directory cannot be asked, nobody comes in.
"""

from typing import Protocol

from gateway.access.elsewhere import Elsewhere
from gateway.access.passwords import Passwords, PasswordWrong
from gateway.access.user import AppUser


class PasswordRefusedElsewhere(PasswordWrong):
    """A directory does not take the password. directory: its name; reason: why, as an id for the trail.

    Told outside like any wrong password.
    """

    def __init__(self, directory: str, reason: str) -> None:
        super().__init__(reason)
        self.directory = directory
        self.reason = reason


class PasswordCheckUnavailable(Exception):  # noqa: N818 - an outcome the page explains
    """The directory cannot be asked, so this password is not known to be right. reason: why, as an id for the trail."""

    permanent = False

    def __init__(self, directory: str, reason: str) -> None:
        super().__init__(reason)
        self.directory = directory
        self.reason = reason


class PasswordCheck(Protocol):
    """Verifies a password, in about the same time for everybody."""

    async def verify(self, tenant: str, user: AppUser | None, stored: str | None, password: str) -> Elsewhere | None:
        """The identity in a directory that stood in for the password; None where crmgate's own was right.

        user, stored: None for unknown logins and closed accounts. Raises PasswordWrong, PasswordCheckUnavailable,
        StoreUnavailable.
        """


class OwnPasswords:
    """Where there is no directory."""

    def __init__(self, passwords: Passwords) -> None:
        self._passwords = passwords

    async def verify(self, _tenant: str, user: AppUser | None, stored: str | None, password: str) -> Elsewhere | None:
        """As PasswordCheck says; an account that is linked to a directory is refused here."""
        if user is not None and user.directory:
            raise PasswordCheckUnavailable(user.directory, "not-configured")
        await self._passwords.verify(stored, password)
        return None
