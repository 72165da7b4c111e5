"""What the pages of other providers reach on one host."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.access.deps import AccessDeps, Door
from gateway.access.link_store import LinkStore
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from gateway.access.tokens import Randomness
from gateway.federation.store import FederationStore
from gateway.federation.vouched import Provider

TRIP_COOKIES: Mapping[str, str] = {
    AUDIENCE_CRM: "__Host-crmgate-elsewhere",
    AUDIENCE_CONSOLE: "__Host-crmgate-console-elsewhere",
}


@dataclass(frozen=True, slots=True)
class Entrance:
    """A provider as this installation knows it. tenants: whose people it vouches for."""

    door: Door
    provider: Provider
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FederationDeps:
    """entrances: name of a provider → the provider, those with a button on this host."""

    access: AccessDeps
    links: LinkStore
    store: FederationStore
    randomness: Randomness
    entrances: Mapping[str, Entrance]

    def entrance(self, tenant: str, name: str) -> Entrance | None:
        """The provider of this name, where it vouches for people of this tenant."""
        found = self.entrances.get(name)
        return found if found is not None and tenant in found.tenants else None
