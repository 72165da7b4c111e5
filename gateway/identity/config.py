"""[tenant.NAME.identity] of the settings: how the CRM learns who a person is.

Plain values, read once by gateway.settings_file. Without the section everything a person's browser sends to the CRM's
own sign-in passes, as it does without crmgate.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.toml_tree import SettingInvalid, read_section, setting

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,63}")
_DATABASE = re.compile(r"[A-Za-z0-9_.-]{0,128}")
# Fields that the gateway builds itself, or that frame a message: an identity there would break the request.
_TAKEN = frozenset(
    (
        "host", "origin", "referer", "cookie", "content-length", "content-type", "content-encoding", "accept-encoding",
        "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect", "range", "date",
    )
)  # fmt: skip


class IdentityMode(StrEnum):
    """How the CRM learns who a person is."""

    PASS_THROUGH = "pass-through"  # noqa: S105 - a name, not a secret
    HEADER = "header"
    JWT = "jwt"
    STORED = "stored"
    OIDC = "oidc"


class LoginSource(StrEnum):
    """Where the CRM's name of a person comes from, for header and jwt."""

    TOLD = "told"
    SAME = "same"


class Algorithm(StrEnum):
    """What signs tokens."""

    RS256 = "RS256"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """[[tenant.NAME.identity.client]]: a CRM that lets people in by crmgate as its OpenID provider."""

    id: str = setting(..., "client id, as the CRM is told it")
    redirect_uris: tuple[str, ...] = setting(
        ..., "addresses of the CRM that codes may be sent to, exactly as it sends them"
    )
    secret_file: Path | None = setting(None, "file with the client secret; without it the client is public")
    subject: str = setting("login", "what `sub` is: login (the CRM login, as for header) or id (crmgate's own)")


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """[tenant.NAME.identity]."""

    mode: IdentityMode = setting(
        IdentityMode.PASS_THROUGH, "how the CRM learns who a person is: pass-through, header, jwt, stored or oidc"
    )
    header: str = setting("", "header, jwt: name of the field the CRM reads; default: X-Remote-User, Authorization")
    login: LoginSource = setting(
        LoginSource.TOLD,
        "header, jwt, oidc: told (crmgate user crm-login) or same (the CRM knows people by the name they have here)",
    )
    audience: str = setting("", "jwt: who the token is for; the CRM has to compare it")
    issuer: str = setting("", "jwt: who says so; default: public_url of the CRM")
    algorithm: Algorithm = setting(Algorithm.ES256, "jwt, oidc: RS256 or ES256")
    lifetime_s: float = setting(60.0, "jwt: seconds that a token is good for", least=10)
    token_s: float = setting(
        300.0, "oidc: seconds that tokens are good for; clients take what ends within a minute for ended", least=120
    )
    key_file: Path | None = setting(
        None, "jwt, oidc: PEM of the signing key; default: keys of our own, sealed and renewed"
    )
    key_days: int = setting(90, "jwt, oidc: days after which a signing key of our own is replaced", least=1)
    database: str = setting(
        "", "stored, api_clients: name of the CRM's database, where its addresses hold one (Tryton)"
    )
    wait_s: float = setting(900.0, "stored: seconds until a password that the CRM refused is tried once more", least=30)
    api_clients: bool = setting(False, "programs may come in with a credential of crmgate (crmgate client add)")
    clients: tuple[RelyingParty, ...] = ()

    @property
    def field(self) -> str:
        """Name of the header that the CRM reads, as it is sent."""
        return self.header or ("Authorization" if self.mode is IdentityMode.JWT else "X-Remote-User")

    @property
    def is_active(self) -> bool:
        """Whether anything differs from passing through."""
        return self.mode is not IdentityMode.PASS_THROUGH or self.api_clients


def read_identity(raw: object, name: str, folder: Path) -> IdentitySettings:
    """The section from its TOML table; raises SettingInvalid. name: the dotted name of the section."""
    if not isinstance(raw, Mapping):
        raise SettingInvalid(name, f"must be a section: write [{name}]")
    plain = {key: value for key, value in raw.items() if key != "client"}
    if "clients" in plain:
        raise SettingInvalid(f"{name}.clients", f"write one [[{name}.client]] for each")
    made = read_section(IdentitySettings, plain, name, folder, ("client",))
    clients = _clients(raw.get("client", []), f"{name}.client", folder)
    _check(made, clients, name)
    return replace(made, clients=clients)


def _clients(raw: Any, name: str, folder: Path) -> tuple[RelyingParty, ...]:
    if not isinstance(raw, list):
        raise SettingInvalid(name, f"write one [[{name}]] for each client")
    made = tuple(read_section(RelyingParty, one, f"{name}.{number}", folder) for number, one in enumerate(raw, 1))
    if len({one.id for one in made}) != len(made):
        raise SettingInvalid(name, "two clients have the same id")
    for number, one in enumerate(made, 1):
        if not re.fullmatch(r"[A-Za-z0-9._~-]{1,100}", one.id):
            raise SettingInvalid(f"{name}.{number}.id", "letters, digits and - . _ ~ only")
        if one.subject not in ("login", "id"):
            raise SettingInvalid(f"{name}.{number}.subject", f"must be login or id, not {one.subject!r}")
        if not one.redirect_uris:
            raise SettingInvalid(f"{name}.{number}.redirect_uris", "name at least one address")
        for uri in one.redirect_uris:
            parts = urlsplit(uri)
            local = parts.hostname in ("127.0.0.1", "localhost", "::1")
            if (
                parts.fragment
                or not parts.hostname
                or not (parts.scheme == "https" or (parts.scheme == "http" and local))
            ):
                raise SettingInvalid(f"{name}.{number}.redirect_uris", f"must be https and without #, not {uri!r}")
    return made


def _check(made: IdentitySettings, clients: tuple[RelyingParty, ...], name: str) -> None:
    if made.header and (_HEADER.fullmatch(made.header) is None or made.header.lower() in _TAKEN):
        raise SettingInvalid(f"{name}.header", f"cannot be used as the field that names a person: {made.header!r}")
    if made.header.lower() == "authorization" and made.mode is IdentityMode.HEADER:
        raise SettingInvalid(f"{name}.header", 'Authorization holds a token, not a name: use mode = "jwt"')
    if made.mode is IdentityMode.JWT and not made.audience:
        raise SettingInvalid(f"{name}.audience", "is needed: a token for nobody in particular is good everywhere")
    if bool(clients) != (made.mode is IdentityMode.OIDC):
        raise SettingInvalid(f"{name}.client", f'mode = "oidc" and at least one [[{name}.client]] go together')
    if _DATABASE.fullmatch(made.database) is None:
        raise SettingInvalid(f"{name}.database", "letters, digits and - . _ only")
