"""Reading `crmgate.toml` into the tree of gateway.settings, and what one value alone cannot show to be wrong."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from gateway.anchor_config import read_anchors
from gateway.archive_config import read_archive, read_retention
from gateway.disclosure.config import read_reveal
from gateway.egress.config import read_egress
from gateway.entry_config import read_entry
from gateway.federation.config import read_sign_in
from gateway.identity.config import read_identity
from gateway.key_config import KeyLogin, KeySettings, KeyStore, PersonStoreKind, SealSuite
from gateway.settings import SECTIONS, CrmDatabase, Settings, TenantSettings
from gateway.siem_config import read_siem
from gateway.tls import require_ciphers
from gateway.toml_tree import SettingInvalid, read_section, setting
from kms.connections import EVERY, NOBODY
from policies.duty import THREE_ROLES

ANCHOR = "anchor"  # within [audit]: gateway.anchor_config
_ARCHIVE, _RETENTION = "archive", "retention"  # likewise, and gateway.archive_config
_WITHIN_AUDIT = (ANCHOR, _ARCHIVE, _RETENTION)
EGRESS = "egress"  # sections of its own: gateway.egress.config
SIEM = "siem"  # and gateway.siem_config
SIGN_IN = "sign_in"  # as well: gateway.federation.config
_WITHIN = ("keys", "identity", "entry", "reveal")  # sections inside [tenant.NAME]


def read_settings(file: Path) -> Settings:
    """Read and check the whole file; raises SettingInvalid with a sentence for people."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as fault:
        raise SettingInvalid("", f"cannot read {file}: {fault.strerror}") from fault
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise SettingInvalid("", f"{file} is not valid TOML: {fault}") from fault
    return build_settings(raw, file)


def build_settings(raw: Mapping[str, Any], file: Path) -> Settings:
    """The tree from an already parsed file; `file` gives the folder that relative paths count from."""
    folder = file.parent
    known = (*SECTIONS, EGRESS, SIEM, SIGN_IN)
    top = read_section(_Top, {name: value for name, value in raw.items() if name not in known}, "", folder, known)
    trail = raw.get("audit", {})
    within = {key: trail.get(key, {}) if isinstance(trail, Mapping) else {} for key in _WITHIN_AUDIT}
    if isinstance(trail, Mapping):
        trail = {key: one for key, one in trail.items() if key not in _WITHIN_AUDIT}
    own = {**raw, "audit": trail}
    parts = {
        name: read_section(kind, own.get(name, {}), name, folder) for name, kind in SECTIONS.items() if name != "tenant"
    }
    tenants_raw = raw.get("tenant", {})
    if not isinstance(tenants_raw, dict) or not all(isinstance(value, dict) for value in tenants_raw.values()):
        raise SettingInvalid("tenant", "write one section for each CRM, for example [tenant.main]")
    if reserved := sorted({"", EVERY, NOBODY} & tenants_raw.keys()):
        raise SettingInvalid(f"tenant.{reserved[0]!r}", "cannot be the name of a CRM; use letters, digits and dashes")
    own_keys = {name: value["keys"] for name, value in tenants_raw.items() if "keys" in value}
    tenants = {
        name: read_section(
            TenantSettings,
            {key: one for key, one in value.items() if key not in _WITHIN},
            f"tenant.{name}",
            folder,
            _WITHIN,
        )
        for name, value in tenants_raw.items()
    }
    if parts["access"].separated:
        # The usual policy has an administrator with every power, which is what separation is about.
        tenants = {name: replace(one, policy=one.policy or THREE_ROLES) for name, one in tenants.items()}
    tenant_keys = {
        name: _tenant_keys(raw.get("keys", {}), value, f"tenant.{name}.keys", folder)
        for name, value in own_keys.items()
    }
    tenant_identity = {
        name: read_identity(value["identity"], f"tenant.{name}.identity", folder)
        for name, value in tenants_raw.items()
        if "identity" in value
    }
    tenant_entry = {
        name: read_entry(value["entry"], f"tenant.{name}.entry", folder)
        for name, value in tenants_raw.items()
        if "entry" in value
    }
    tenant_reveal = {
        name: read_reveal(value["reveal"], f"tenant.{name}.reveal", folder)
        for name, value in tenants_raw.items()
        if "reveal" in value
    }
    settings = Settings(
        file=file,
        state=(folder / top.state).absolute(),
        tenants=MappingProxyType(tenants),
        tenant_keys=MappingProxyType(tenant_keys),
        tenant_identity=MappingProxyType(tenant_identity),
        tenant_entry=MappingProxyType(tenant_entry),
        tenant_reveal=MappingProxyType(tenant_reveal),
        anchors=read_anchors(within[ANCHOR], folder),
        archive=read_archive(within[_ARCHIVE], folder),
        retention=read_retention(within[_RETENTION], folder),
        egress=read_egress(raw.get(EGRESS, {}), folder, tenants),
        siem=read_siem(raw.get(SIEM, {}), folder, tenants),
        sign_in=read_sign_in(raw.get(SIGN_IN, {}), folder, tenants),
        **parts,
    )
    _check(settings)
    return settings


_FOR_ALL = ("cache_s", "destroy_after_hours")


def _tenant_keys(shared: Mapping[str, Any], own: object, name: str, folder: Path) -> KeySettings:
    """[keys] with what one tenant has otherwise."""
    if not isinstance(own, Mapping):
        raise SettingInvalid(name, f"must be a section: write [{name}]")
    for key in _FOR_ALL:
        if key in own:
            raise SettingInvalid(f"{name}.{key}", "is the same for all CRMs: set it in [keys]")
    return read_section(KeySettings, {**shared, **own}, name, folder)


@dataclass(frozen=True, slots=True)
class _Top:
    """Keys above all sections."""

    state: Path = setting(Path("state"), "folder for what crmgate keeps: keyring, certificates, embedded database")


def _check(settings: Settings) -> None:
    """What one value alone cannot show."""
    if not settings.tenants:
        raise SettingInvalid("tenant", 'name at least one CRM: [tenant.main] with upstream = "http://…"')
    hosts: dict[str, str] = {}
    for name, tenant in settings.tenants.items():
        _check_url(f"tenant.{name}.upstream", tenant.upstream, ("http", "https"))
        _check_url(
            f"tenant.{name}.public_url",
            tenant.public_url,
            ("http", "https") if not settings.gateway.tls else ("https",),
        )
        if tenant.host in hosts:
            raise SettingInvalid(
                f"tenant.{name}.public_url", f"{tenant.host} is taken by [tenant.{hosts[tenant.host]}]"
            )
        hosts[tenant.host] = name
        _check_upstream_tls(f"tenant.{name}", tenant)
        if (tenant.crm_database is CrmDatabase.UNKNOWN) != (tenant.crm_database_access is None):
            raise SettingInvalid(f"tenant.{name}.crm_database_access", "goes together with crm_database")
    _check_url(
        "console.public_url", settings.console.public_url, ("https", "http") if not settings.console.tls else ("https",)
    )
    names = {urlsplit(tenant.public_url).hostname: name for name, tenant in settings.tenants.items()}
    console = urlsplit(settings.console.public_url).hostname
    if console in names:
        # Cookies are shared by all ports of a host, so a page of the CRM could act in the console.
        raise SettingInvalid(
            "console.public_url", f"must not use the host of [tenant.{names[console]}]; ports share cookies"
        )
    _check_keys("keys", settings.keys)
    for name, keys in settings.tenant_keys.items():
        _check_keys(f"tenant.{name}.keys", keys)
    if settings.audit.watch_percent > 100:
        raise SettingInvalid("audit.watch_percent", "must be 100 at most")
    _check_dsn(settings.database.dsn)
    if (settings.persons.store is PersonStoreKind.POSTGRESQL) != (settings.persons.dsn_file is not None):
        raise SettingInvalid("persons.dsn_file", 'goes together with store = "postgresql"')
    for section, listener in (("gateway", settings.gateway), ("console", settings.console)):
        if (listener.tls_certificate is None) != (listener.tls_key is None):
            raise SettingInvalid(f"{section}.tls_key", "tls_certificate and tls_key go together")
        _check_ciphers(f"{section}.tls_ciphers", listener.tls_ciphers)


def _check_upstream_tls(section: str, tenant: TenantSettings) -> None:
    if (tenant.upstream_certificate is None) != (tenant.upstream_key is None):
        raise SettingInvalid(f"{section}.upstream_key", "upstream_certificate and upstream_key go together")
    if tenant.upstream_certificate is not None and not tenant.upstream.startswith("https:"):
        raise SettingInvalid(f"{section}.upstream_certificate", "is of use only with an upstream that begins https://")
    _check_ciphers(f"{section}.upstream_ciphers", tenant.upstream_ciphers)


def _check_ciphers(name: str, ciphers: str) -> None:
    try:
        require_ciphers(ciphers)
    except ValueError:
        raise SettingInvalid(name, f"names no cipher that OpenSSL has here: {ciphers!r}") from None


_NEEDED = {
    KeyLogin.TOKEN_FILE: ("token_file",),
    KeyLogin.APPROLE: ("role_id", "secret_id_file"),
    KeyLogin.KUBERNETES: ("role",),
}


def _check_keys(section: str, keys: KeySettings) -> None:
    if keys.suite is SealSuite.TRIPLE_DES and not keys.legacy_3des:
        raise SettingInvalid(
            f"{section}.suite", "3des-cbc-hmac only reads; encrypting with it needs legacy_3des = true"
        )
    if keys.provider is not KeyStore.OPENBAO:
        return
    _check_url(f"{section}.address", keys.address, ("http", "https"))
    for needed in _NEEDED[keys.login]:
        if not getattr(keys, needed):
            raise SettingInvalid(
                f"{section}.{needed}", f'is needed for provider = "openbao" with login = "{keys.login}"'
            )
    if (keys.client_certificate is None) != (keys.client_key is None):
        raise SettingInvalid(f"{section}.client_key", "client_certificate and client_key go together")


def _check_dsn(dsn: str) -> None:
    try:
        password = conninfo_to_dict(dsn).get("password")
    except ProgrammingError as fault:
        raise SettingInvalid("database.dsn", "is not a PostgreSQL connection string") from fault
    if password:
        raise SettingInvalid(
            "database.dsn", "must not hold a password: put the string into a file and name it in dsn_file"
        )


def _check_url(name: str, url: str, schemes: tuple[str, ...]) -> None:
    parts = urlsplit(url)
    try:
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if (
        parts.scheme not in schemes
        or not parts.hostname
        or not port_fits
        or parts.username
        or parts.query
        or parts.fragment
    ):
        raise SettingInvalid(name, f"must be an address such as {schemes[0]}://crm.example.org, not {url!r}")
    if parts.path not in ("", "/"):
        raise SettingInvalid(name, f"must end after the host: a path ({parts.path}) is not supported")
