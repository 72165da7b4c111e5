"""A person who may pass the gateway, as a value, and how logins are compared.

Staff accounts only: a user is never a data subject of the CRM. Logins are compared by compatibility form and case-fold,
so that `Li.Wei` and `ｌｉ.ｗｅｉ` cannot be two people.
"""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from policies.placement import placements, roles_alone

LOGIN_MAX_CHARS = 200
NAME_MAX_CHARS = 200


@dataclass(frozen=True, slots=True)
class AppUser:
    """One user. has_password and has_second_factor say what is set up, never what it is.

    crm_user: the CRM's own key of this person ("" when nobody told us), compared with record owners; language: `en`,
    `zh_Hans` or "" for "as the browser says". roles: everything the policy knows the person by, departments
    (`dept:…`) and positions (`position:…`) included; `assigned` are the roles alone. directory: name of the directory
    that checks the password, "" where crmgate does.
    """

    id: str
    tenant: str
    login: str
    display_name: str
    roles: tuple[str, ...]
    crm_user: str
    language: str
    disabled: bool
    has_password: bool
    has_second_factor: bool
    created_at: datetime
    directory: str = ""

    @property
    def ready(self) -> bool:
        """Whether both factors are there: a password here or in a directory, and a second one."""
        return (self.has_password or bool(self.directory)) and self.has_second_factor

    @property
    def assigned(self) -> tuple[str, ...]:
        """The roles, without departments and positions."""
        return roles_alone(self.roles)

    @property
    def placements(self) -> tuple[str, ...]:
        """Departments and positions."""
        return placements(self.roles)

    @property
    def name(self) -> str:
        """What to call the person: the display name, or the login where none was given."""
        return self.display_name or self.login


@dataclass(frozen=True, slots=True)
class Factors:
    """What the database holds to check both factors of one user; never leaves gateway.access."""

    user: AppUser
    password_hash: str | None
    totp_secret: bytes | None
    password_changed_at: datetime | None


def login_key(login: str) -> str:
    """The form in which logins are compared; "" for what can be no login (empty, too long, control characters).

    No user has the key "", so looking it up finds nobody.
    """
    key = unicodedata.normalize("NFKC", login).strip().casefold()
    if not key or len(key) > LOGIN_MAX_CHARS or not printable(key):
        return ""
    return key


def printable(text: str) -> bool:
    """Whether a text has neither control characters, line breaks, lone surrogates nor invisible direction marks."""
    return all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in text)
