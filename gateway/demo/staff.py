"""The people who work in the demo: made once, kept in a file only its owner may read.

Passwords and second-factor secrets are random; they open this demo only.
"""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.access import totp
from gateway.demo.crm import CrmUser

ROLES = (
    ("wang.manager", "manager", "Fang", "Wang"),
    ("lin.sales", "sales", "Tao", "Lin"),
    ("zhou.auditor", "auditor", "Min", "Zhou"),
    ("sun.dpo", "dpo", "Yue", "Sun"),
    ("ma.admin", "administrator", "Jun", "Ma"),
)
WITH_CRM = ("manager", "sales")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of staff. crm_password: "" for those who have no account in the CRM."""

    login: str
    role: str
    first_name: str
    last_name: str
    password: str
    secret: str
    crm_password: str

    @property
    def crm_user(self) -> CrmUser:
        """The same person inside the CRM."""
        return CrmUser(self.login, self.crm_password, False, self.first_name, self.last_name)


@dataclass(frozen=True, slots=True)
class Staff:
    """Everybody, and the CRM's own administrator."""

    members: tuple[Member, ...]
    crm_admin: CrmUser

    def crm_users(self) -> Sequence[CrmUser]:
        """Accounts that the CRM needs."""
        return [self.crm_admin, *(member.crm_user for member in self.members if member.crm_password)]

    def one(self, role: str) -> Member:
        """The member with this role."""
        return next(member for member in self.members if member.role == role)


def load_staff(file: Path, crm_admin: str) -> Staff:
    """The staff in `file`, made and written with mode 0600 when it is not there."""
    if not file.exists():
        _write(file, _make(crm_admin))
    told = json.loads(file.read_text())
    return Staff(tuple(Member(**member) for member in told["members"]), CrmUser(**told["crm_admin"]))


def _make(crm_admin: str) -> Staff:
    members = tuple(
        Member(
            login,
            role,
            first,
            last,
            _password(),
            totp.new_secret(secrets.token_bytes),
            _password() if role in WITH_CRM else "",
        )
        for login, role, first, last in ROLES
    )
    return Staff(members, CrmUser(crm_admin, _password(), True, "Rui", "Deng"))


def _password() -> str:
    """Sixteen characters that people can type, without those they mix up."""
    letters = "abcdefghijkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def _write(file: Path, staff: Staff) -> None:
    told = {"members": [asdict(member) for member in staff.members], "crm_admin": asdict(staff.crm_admin)}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(told, out, indent=2)
