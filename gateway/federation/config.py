"""[[sign_in.provider]] of the settings: who else may vouch for a person; [[sign_in.directory]] is gateway.directory's.

Plain values, read once by gateway.settings_file. Without the section people sign in with crmgate's password only.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from gateway.directory.config import DirectorySettings, read_directories
from gateway.toml_tree import SettingInvalid, read_section, setting

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PLAIN = re.compile(r"[\x21-\x7e]{1,300}")
LABEL_MAX_CHARS = 40
_WITHIN = ("provider", "directory")


class ProviderKind(StrEnum):
    """What is spoken with it."""

    OPENID = "openid"
    WECOM = "wecom"
    DINGTALK = "dingtalk"
    FEISHU = "feishu"


class Host(StrEnum):
    """Where its button stands."""

    CRM = "crm"
    CONSOLE = "console"


class SecondFactor(StrEnum):
    """Who asks for the second factor."""

    OWN = "own"
    PROVIDER = "provider"


class SigningAlgorithm(StrEnum):
    """Asymmetric ones only: whoever can verify a MAC can make one (RFC 8725, section 3.1)."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """[[sign_in.provider]]: one provider."""

    name: str = setting(..., "short name, for commands, addresses and the trail: small letters, digits and -")
    label: str = setting(..., "what the button calls it, in English")
    client_id: str = setting(..., "client id (wecom leaves it out: its CorpID counts)")
    label_zh: str = setting("", "what the button calls it, in Chinese; default: label")
    kind: ProviderKind = setting(ProviderKind.OPENID, "openid (OpenID Connect), wecom, dingtalk or feishu")
    issuer: str = setting("", "openid: the issuer, exactly as its discovery document says it")
    organisation: str = setting("", "wecom: CorpID; dingtalk: CorpId; feishu: tenant key; part of who people are")
    agent: str = setting("", "wecom: AgentId of the application")
    client_secret_file: Path | None = setting(None, "file with the client secret")
    scopes: tuple[str, ...] = setting((), 'openid: what is asked for beside "openid"')
    hosts: tuple[Host, ...] = setting((Host.CRM, Host.CONSOLE), "where its button stands: crm, console or both")
    tenants: tuple[str, ...] = setting((), "CRMs whose people it vouches for; empty means all")
    second_factor: SecondFactor = setting(
        SecondFactor.OWN, "own (crmgate asks for it) or provider (where amr or acr prove one; else crmgate asks)"
    )
    amr: tuple[str, ...] = setting(
        ("mfa",), "second_factor provider: values of amr of which one proves a second factor"
    )
    acr: tuple[str, ...] = setting((), "second_factor provider: values of acr of which each proves a second factor")
    algorithms: tuple[SigningAlgorithm, ...] = setting(
        (SigningAlgorithm.RS256, SigningAlgorithm.PS256, SigningAlgorithm.ES256), "openid: what may sign its tokens"
    )
    ca: Path | None = setting(None, "PEM file with its CA when that is not a public one")
    timeout_s: float = setting(5.0, "seconds to wait for one answer of it", least=0.5)
    authorize_url: str = setting("", "wecom, dingtalk, feishu: another address than the vendor's, for private clouds")
    api_url: str = setting("", "wecom, dingtalk, feishu: another address than the vendor's, for private clouds")

    @property
    def linked_issuer(self) -> str:
        """What stands in links as the issuer."""
        return self.issuer if self.kind is ProviderKind.OPENID else f"{self.kind}:{self.organisation}"


@dataclass(frozen=True, slots=True)
class SignInSettings:
    """[sign_in]."""

    providers: tuple[ProviderSettings, ...] = ()
    directories: tuple[DirectorySettings, ...] = ()

    @property
    def issuers(self) -> Mapping[str, str]:
        """Name of a provider or directory → what stands in links as its issuer."""
        listed = {one.name: one.linked_issuer for one in self.providers}
        return MappingProxyType(listed | {one.name: one.issuer for one in self.directories})


def read_sign_in(raw: object, folder: Path, tenants: Collection[str]) -> SignInSettings:
    """The section from its TOML table; raises SettingInvalid. tenants: names of the CRMs there are."""
    if not isinstance(raw, Mapping):
        raise SettingInvalid("sign_in", "must be a section: write [[sign_in.provider]]")
    own = {key: value for key, value in raw.items() if key not in _WITHIN}
    read_section(_Top, own, "sign_in", folder, _WITHIN)
    listed: Any = raw.get("provider", [])
    if not isinstance(listed, list):
        raise SettingInvalid("sign_in.provider", "write one [[sign_in.provider]] for each")
    made = []
    for number, table in enumerate(listed, 1):
        name = f"sign_in.provider.{number}"
        if isinstance(table, Mapping) and table.get("kind") == ProviderKind.WECOM and "client_id" not in table:
            table = {**table, "client_id": table.get("organisation", "")}
        one = read_section(ProviderSettings, table, name, folder)
        _check(one, name, tenants)
        made.append(one)
    directories = read_directories(raw.get("directory", []), folder, tenants)
    for what, values in (
        ("names", [*(one.name for one in made), *(one.name for one in directories)]),
        ("issuers", [one.linked_issuer for one in made]),
    ):
        if len(set(values)) != len(values):
            raise SettingInvalid("sign_in.provider", f"two providers have the same of these: {what}")
    return SignInSettings(tuple(made), directories)


@dataclass(frozen=True, slots=True)
class _Top:
    """[sign_in] has no keys of its own."""


def _check(one: ProviderSettings, name: str, tenants: Collection[str]) -> None:
    if _NAME.fullmatch(one.name) is None:
        raise SettingInvalid(f"{name}.name", f"small letters, digits and -, at most 32, not {one.name!r}")
    for key in ("label", "label_zh"):
        text = getattr(one, key)
        if len(text) > LABEL_MAX_CHARS or not text.isprintable() or (key == "label" and not text.strip()):
            raise SettingInvalid(f"{name}.{key}", f"one line of at most {LABEL_MAX_CHARS} characters")
    if _PLAIN.fullmatch(one.client_id) is None:
        raise SettingInvalid(f"{name}.client_id", "is the id that the provider gave crmgate")
    if not one.hosts:
        raise SettingInvalid(f"{name}.hosts", "name crm, console or both")
    for tenant in one.tenants:
        if tenant not in tenants:
            raise SettingInvalid(f"{name}.tenants", f"there is no [tenant.{tenant}]")
    if one.kind is ProviderKind.OPENID:
        _check_openid(one, name)
    else:
        _check_own_shape(one, name)


def _check_openid(one: ProviderSettings, name: str) -> None:
    require_https(f"{name}.issuer", one.issuer)
    for key in ("organisation", "agent", "authorize_url", "api_url"):
        if getattr(one, key):
            raise SettingInvalid(f"{name}.{key}", 'is not for kind = "openid"')
    if not one.algorithms:
        raise SettingInvalid(f"{name}.algorithms", "name at least one")
    if any(_PLAIN.fullmatch(scope) is None for scope in one.scopes):
        raise SettingInvalid(f"{name}.scopes", "are words without spaces")
    if one.second_factor is SecondFactor.PROVIDER and not (one.amr or one.acr):
        raise SettingInvalid(f"{name}.second_factor", "provider needs amr or acr: what proves a second factor there")


def _check_own_shape(one: ProviderSettings, name: str) -> None:
    if one.issuer:
        raise SettingInvalid(f"{name}.issuer", f"is told by kind and organisation: {one.kind}:…")
    if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", one.organisation) is None:
        raise SettingInvalid(f"{name}.organisation", "is needed: whose people these are")
    if one.client_secret_file is None:
        raise SettingInvalid(f"{name}.client_secret_file", "is needed")
    if (one.kind is ProviderKind.WECOM) != bool(one.agent):
        raise SettingInvalid(f"{name}.agent", 'goes together with kind = "wecom"')
    if one.second_factor is SecondFactor.PROVIDER:
        raise SettingInvalid(f"{name}.second_factor", f"{one.kind} tells of no second factor: it must be own")
    for key in ("authorize_url", "api_url"):
        if getattr(one, key):
            require_https(f"{name}.{key}", getattr(one, key))


def require_https(name: str, url: str) -> None:
    """Raise SettingInvalid for an address that is not https (loopback may be http) or has more than host and path."""
    parts = urlsplit(url)
    try:
        fits = parts.port is None or parts.port > 0
    except ValueError:
        fits = False
    local = parts.hostname in LOOPBACK
    if (
        not fits
        or not parts.hostname
        or not (parts.scheme == "https" or (parts.scheme == "http" and local))
        or parts.username
        or parts.query
        or parts.fragment
        or _PLAIN.fullmatch(url) is None
    ):
        raise SettingInvalid(name, f"must be an address such as https://id.example.org, not {url!r}")
