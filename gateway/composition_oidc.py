"""The OpenID provider of every CRM that has one, built from the settings."""

import secrets
from collections.abc import Mapping
from datetime import timedelta

from gateway.access.deps import AccessDeps
from gateway.accounts import utc_now
from gateway.app import Policies
from gateway.composition_identity import Identities
from gateway.database import Pool as Database
from gateway.identity.asserted import KnownLogins
from gateway.identity.config import IdentityMode, RelyingParty
from gateway.identity.oidc import BASE, Client, Provider
from gateway.identity.oidc_pages import OidcDeps, OidcHost
from gateway.identity.oidc_store import OidcStore
from gateway.opening import read_secret
from gateway.settings import Settings
from gateway.toml_tree import SettingInvalid
from policies.operation import Action, Operation

SECRET_MIN_CHARS = 32
SIGN_IN = Operation("auth.oidc", "auth", Action.LOGIN)


def oidc_of(
    settings: Settings, database: Database, access: AccessDeps, identities: Identities, policies: Policies
) -> OidcDeps:
    """What the endpoints reach; raises SettingInvalid for secrets that cannot be used."""
    hosts: dict[str, OidcHost] = {}
    for name in settings.tenants:
        wanted = settings.identity_of(name)
        if wanted.mode is not IdentityMode.OIDC:
            continue
        provider = Provider(
            settings.tenants[name].public_url.rstrip("/") + BASE,
            _clients(name, wanted.clients),
            wanted.algorithm,
            timedelta(seconds=wanted.token_s),
        )
        known = KnownLogins(name, wanted.login, identities.logins, utc_now)
        hosts[name] = OidcHost(provider, identities.keys[name], known, _Allowed(name, policies))
    return OidcDeps(access, identities.trail, OidcStore(database), secrets.token_bytes, hosts)


class _Allowed:
    """Whether roles may sign in to the CRM of a tenant."""

    def __init__(self, tenant: str, policies: Policies) -> None:
        self._tenant = tenant
        self._policies = policies

    def __call__(self, roles: tuple[str, ...]) -> bool:
        return self._policies.decide(self._tenant, roles, SIGN_IN).allowed is True


def _clients(tenant: str, parties: tuple[RelyingParty, ...]) -> Mapping[str, Client]:
    made = {}
    for number, one in enumerate(parties, 1):
        secret = ""
        if one.secret_file is not None:
            name = f"tenant.{tenant}.identity.client.{number}.secret_file"
            secret = read_secret(name, one.secret_file).decode("utf-8", "replace")
            if len(secret) < SECRET_MIN_CHARS:
                raise SettingInvalid(name, f"holds less than {SECRET_MIN_CHARS} characters")
        made[one.id] = Client(one, secret)
    return made
