"""[[sign_in.directory]] of the settings: directories (LDAP, Active Directory) that check the passwords of their people.

Plain values, read once by gateway.settings_file. What crosses the wire is always under TLS: `ldaps://`, or `ldap://`
with StartTLS, which is then required. Clear text exists for tests on the same machine only, and has to be asked for.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from gateway.access.elsewhere import DIRECTORY_ISSUER
from gateway.directory.query import Template, TemplateInvalid
from gateway.tls import TlsFloor
from gateway.toml_tree import SettingInvalid, read_section, setting

PLACE = "sign_in.directory"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
PORTS = {"ldap": 389, "ldaps": 636}


class IdAttribute(StrEnum):
    """Where a directory keeps an id that is never given to another entry and stays when a person is renamed or moved.

    entryUUID is RFC 4530's (OpenLDAP, 389 DS, and others), objectGUID Active Directory's, nsUniqueId 389 DS's own,
    ipaUniqueID FreeIPA's. Mail addresses, logins and DNs change hands and are no choice.
    """

    ENTRY_UUID = "entryUUID"
    OBJECT_GUID = "objectGUID"
    NS_UNIQUE_ID = "nsUniqueId"
    IPA_UNIQUE_ID = "ipaUniqueID"


@dataclass(frozen=True, slots=True)
class DirectorySettings:
    """One [[sign_in.directory]]: where it is, how crmgate asks it, whom it finds."""

    name: str = setting(..., "a short name for it, as in `crmgate user add --directory NAME`; it stays")
    urls: tuple[str, ...] = setting(..., "its servers, asked in this order: ldaps://host, or ldap://host (StartTLS)")
    bind_dn: str = setting(..., "DN of the account crmgate looks people up with; reading is all it needs")
    bind_secret_file: Path = setting(..., "file with the password of that account, read at each look")
    base: str = setting(..., "DN below which people are, for example ou=people,dc=example,dc=org")
    filter: str = setting(..., "finds a person by login, for example (&(objectClass=person)(uid={login}))")
    tenants: tuple[str, ...] = setting((), "CRMs whose people it knows, as in [tenant.NAME]; empty means all")
    id_attribute: IdAttribute = setting(
        IdAttribute.ENTRY_UUID, "the id accounts are linked by: entryUUID, objectGUID, nsUniqueId or ipaUniqueID"
    )
    ca: Path | None = setting(None, "PEM file with the CA of its servers when it is not a public one")
    tls_minimum: TlsFloor = setting(TlsFloor.V1_2, "oldest TLS version that is spoken: 1.2 or 1.3")
    timeout_s: float = setting(5.0, "seconds one check may take, all in all", least=0.2)
    connect_timeout_s: float = setting(2.0, "seconds to reach one server, TLS included", least=0.1)
    at_a_time: int = setting(8, "checks at the same time, on each node", least=1)
    password_url: str = setting("", "https address where its people change their password; their account page names it")
    clear_text_on_loopback: bool = setting(False, "for tests only: ldap:// to this machine itself, without TLS")

    @property
    def issuer(self) -> str:
        """What stands in links as the issuer."""
        return f"{DIRECTORY_ISSUER}{self.name}"

    def serves(self, tenant: str) -> bool:
        """Whether the people of this CRM may be linked to it."""
        return not self.tenants or tenant in self.tenants


def read_directories(raw: object, folder: Path, tenants: Collection[str]) -> tuple[DirectorySettings, ...]:
    """All of them from the list of tables; raises SettingInvalid."""
    if not isinstance(raw, list) or not all(isinstance(one, Mapping) for one in raw):
        raise SettingInvalid(PLACE, f"write one section for each directory: [[{PLACE}]]")
    found = tuple(read_section(DirectorySettings, one, PLACE, folder) for one in raw)
    names = [one.name for one in found]
    for one in found:
        _check(one, tenants)
        if names.count(one.name) > 1:
            raise SettingInvalid(f"{PLACE}.name", f"{one.name!r} is taken by another directory")
    return found


def _check(one: DirectorySettings, tenants: Collection[str]) -> None:
    if not _NAME.fullmatch(one.name):
        raise SettingInvalid(f"{PLACE}.name", f"small letters, digits and -, at most 32, not {one.name!r}")
    place = f"{PLACE} {one.name}"
    for tenant in one.tenants:
        if tenant not in tenants:
            raise SettingInvalid(f"{place}.tenants", f"there is no [tenant.{tenant}]")
    if not one.urls:
        raise SettingInvalid(f"{place}.urls", "name at least one server, for example ldaps://ldap.example.org")
    for url in one.urls:
        _check_url(f"{place}.urls", url, clear=one.clear_text_on_loopback)
    for key in ("bind_dn", "base"):
        if not getattr(one, key).strip():
            raise SettingInvalid(f"{place}.{key}", "must not be empty: nobody is looked up without a name")
    if one.password_url and not one.password_url.startswith("https://"):
        raise SettingInvalid(f"{place}.password_url", f"must begin with https://, not {one.password_url!r}")
    try:
        Template(one.filter)
    except TemplateInvalid as fault:
        raise SettingInvalid(f"{place}.filter", f"{fault}, not {one.filter!r}") from None


def _check_url(name: str, url: str, *, clear: bool) -> None:
    parts = urlsplit(url)
    try:
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if (
        parts.scheme not in PORTS
        or not parts.hostname
        or not port_fits
        or parts.username
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise SettingInvalid(name, f"must be ldaps://host or ldap://host, with :port where it is another, not {url!r}")
    if clear and not (parts.scheme == "ldap" and is_loopback(parts)):
        raise SettingInvalid(
            name, f"clear_text_on_loopback is for ldap://127.0.0.1 and this machine only, not {url!r}: take it away"
        )


def is_loopback(parts: SplitResult) -> bool:
    """Whether an address is this machine itself, by number: names may be answered by others."""
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
