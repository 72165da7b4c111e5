"""The check of passwords where there are directories: linked accounts there, all others here, at the same cost.

Every wrong password of a CRM with a directory takes crmgate's own hash and one round with the directory, whether the
login is unknown, has a password here, or is linked: neither time nor an outage tells which logins are linked. A right
password of crmgate's own asks no directory. What is searched there is the login of the account, never what was typed:
people type passwords into that field.
"""

import contextlib
import ssl
from collections.abc import Iterable, Iterator, Mapping

from gateway.access.elsewhere import Elsewhere
from gateway.access.link_store import LinkStore
from gateway.access.password_check import PasswordCheckUnavailable, PasswordRefusedElsewhere
from gateway.access.passwords import Passwords, PasswordWrong
from gateway.access.user import AppUser
from gateway.directory.config import PLACE, DirectorySettings
from gateway.directory.directory import Directory
from gateway.directory.outcome import DirectoryRefused, DirectoryUnavailable
from gateway.toml_tree import SettingInvalid


def open_directories(settings: Iterable[DirectorySettings]) -> Mapping[str, Directory]:
    """Directories by name; raises SettingInvalid for a CA file that cannot be used."""
    made = {}
    for one in settings:
        try:
            made[one.name] = Directory(one)
        except (OSError, ssl.SSLError):
            raise SettingInvalid(f"{PLACE} {one.name}.ca", f"{one.ca} is no readable PEM file of a CA") from None
    return made


class DirectoryCheck:
    """A PasswordCheck over crmgate's own passwords and the directories of the settings."""

    def __init__(self, directories: Mapping[str, Directory], passwords: Passwords, links: LinkStore) -> None:
        self._directories = directories
        self._passwords = passwords
        self._links = links

    async def verify(self, tenant: str, user: AppUser | None, stored: str | None, password: str) -> Elsewhere | None:
        """As PasswordCheck says."""
        linked = user is not None and bool(user.directory)
        try:
            await self._passwords.verify(None if linked else stored, password)
        except PasswordWrong:
            pass
        else:
            if not linked:
                return None
        if user is not None and linked:
            return await self._ask(tenant, user, password)
        for directory in self._directories.values():
            if directory.settings.serves(tenant):
                with _told(directory.name):
                    await directory.pass_time()
                break
        raise PasswordWrong

    async def _ask(self, tenant: str, user: AppUser, password: str) -> Elsewhere:
        directory = self._directories.get(user.directory)
        identity = await self._links.in_directory(tenant, user.id)
        if directory is None or not directory.settings.serves(tenant) or identity is None:
            raise PasswordCheckUnavailable(user.directory, "not-configured")
        if identity.issuer != directory.settings.issuer:  # linked to another one since the account was read
            raise PasswordCheckUnavailable(user.directory, "not-configured")
        with _told(directory.name):
            await directory.check(user.login, identity.subject, password)
        return identity


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """A directory's outcome as what sign-in knows."""
    try:
        yield
    except DirectoryRefused as refused:
        raise PasswordRefusedElsewhere(name, refused.reason) from None
    except DirectoryUnavailable as fault:
        raise PasswordCheckUnavailable(name, fault.reason) from None
