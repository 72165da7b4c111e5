"""Other providers that people may sign in through, built from the settings."""

import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.access.deps import AccessDeps, Door
from gateway.access.link_store import LinkStore
from gateway.accounts import utc_now
from gateway.database import Pool as Database
from gateway.federation.config import Host, ProviderKind, ProviderSettings
from gateway.federation.deps import Entrance, FederationDeps
from gateway.federation.fetch import Fetcher
from gateway.federation.openid import OpenIdProvider
from gateway.federation.shaped import ShapedProvider
from gateway.federation.store import FederationStore
from gateway.federation.vouched import Provider
from gateway.opening import read_secret
from gateway.settings import Settings
from gateway.toml_tree import SettingInvalid


@dataclass(frozen=True, slots=True)
class Federation:
    """Providers of an installation, and where links to them are kept."""

    links: LinkStore
    store: FederationStore
    entrances: Mapping[str, tuple[Entrance, tuple[Host, ...]]]

    def known_to(self, access: AccessDeps, host: Host) -> AccessDeps:
        """Dependencies of a host's pages with the providers that have a button there."""
        at_host = self._at(host)

        def doors(tenant: str) -> list[Door]:
            return [one.door for one in at_host.values() if tenant in one.tenants]

        return replace(access, doors=doors, linked=self.links.links)

    def deps(self, access: AccessDeps, host: Host) -> FederationDeps:
        """What the pages of the providers reach on a host."""
        return FederationDeps(access, self.links, self.store, secrets.token_bytes, self._at(host))

    def _at(self, host: Host) -> Mapping[str, Entrance]:
        return {name: one for name, (one, hosts) in self.entrances.items() if host in hosts}


def federation_of(settings: Settings, database: Database) -> Federation:
    """Every provider of the settings; raises SettingInvalid for files that cannot be used. Nothing is fetched."""
    entrances = {}
    for number, one in enumerate(settings.sign_in.providers, 1):
        provider = provider_of(one, f"sign_in.provider.{number}")
        door = Door(one.name, one.linked_issuer, one.label, one.label_zh)
        entrances[one.name] = (Entrance(door, provider, one.tenants or tuple(settings.tenants)), one.hosts)
    return Federation(LinkStore(database), FederationStore(database), entrances)


def provider_of(one: ProviderSettings, name: str) -> Provider:
    """One provider; name: of its section. Raises SettingInvalid."""
    secret = ""
    if one.client_secret_file is not None:
        try:
            secret = read_secret(f"{name}.client_secret_file", one.client_secret_file).decode("ascii")
        except UnicodeDecodeError:
            raise SettingInvalid(f"{name}.client_secret_file", "holds something else than a secret") from None
        if not secret.isprintable() or not secret:
            raise SettingInvalid(f"{name}.client_secret_file", "must hold one line: the secret")
    try:
        fetcher = Fetcher(one.timeout_s, one.ca)
    except (OSError, ssl.SSLError) as fault:
        raise SettingInvalid(f"{name}.ca", f"cannot be used: {type(fault).__name__}") from fault
    if one.kind is ProviderKind.OPENID:
        return OpenIdProvider(one, secret, fetcher, utc_now)
    return ShapedProvider(one, secret, fetcher)
