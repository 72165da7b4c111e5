"""Everything the sign-in pages reach, in one frozen value built by the composition; nothing is looked up globally.

Two of them exist in one process: one for the CRM's host, one for the console's; they differ in audience and home.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol

from starlette.requests import Request

from audit.entry import AuditEntry
from gateway.access.devices import Devices
from gateway.access.gate import Gate
from gateway.access.link_store import Link
from gateway.access.passkeys import Passkeys, Site, site_of
from gateway.access.recovery import RecoveryCodes
from gateway.access.resets import Resets
from gateway.access.role_changes import RoleChanges
from gateway.access.sessions import AUDIENCE_CRM, Sessions
from gateway.access.sign_in import SignIn
from gateway.access.users import Users
from gateway.console.look import Look
from gateway.exchange import Principal


class Trail(Protocol):
    """The writing side of the audit trail (audit.log.AuditLog)."""

    def append(self, entry: AuditEntry) -> Awaitable[int]:
        """Durable index of an entry; raises AuditUnavailable."""


@dataclass(frozen=True, slots=True)
class NavigationItem:
    """One entry of the console's navigation: address, translated name, id for `aria-current`."""

    href: str
    name: str
    id: str


def no_crm_cookies(_tenant: str) -> Sequence[str]:
    """For hosts without a CRM behind them."""
    return ()


async def nothing_carried(_principal: Principal, _client: str) -> None:
    """For hosts where a session here has no session at the CRM."""


def no_origin(_tenant: str) -> str:
    """For hosts whose public address nobody told; passkeys are not offered there."""
    return ""


@dataclass(frozen=True, slots=True)
class Door:
    """Another provider one may sign in through here: its name in the settings, its issuer, and what its button says."""

    name: str
    issuer: str
    label: str
    label_zh: str

    def says(self, language: str) -> str:
        """The label in a language."""
        return self.label_zh or self.label if language.startswith("zh") else self.label


def no_doors(_tenant: str) -> Sequence[Door]:
    """Where people sign in with their password only."""
    return ()


async def nothing_linked(_tenant: str, _user: str) -> Sequence[Link]:
    """Where no account is linked to other providers."""
    return ()


async def nothing_revealed(_tenant: str, _user: str) -> Sequence[Any]:
    """Where nothing can be revealed."""
    return ()


def no_navigation(_principal: Principal, _translate: Callable[[str], str]) -> Sequence[NavigationItem]:
    """For hosts without a console."""
    return ()


@dataclass(frozen=True, slots=True)
class AccessDeps:
    """Dependencies of the sign-in pages of one host.

    tenant: used when the listener put none into `scope["state"]["tenant"]`. count_refusal: (tenant, client, reason,
    status) for refusals of nobody known, so that a flood cannot fill the trail; without it each is appended.
    crm_cookies: tenant → names of the CRM's own session cookies, expired at sign-out. new_id: id of an audit entry.
    home: where to go without a wish. navigation: the console's pages this person may open. leaving: ends what hangs on
    a session that ends, for a client address. crm_logins: tenants whose people have their CRM login kept here.
    public_url: tenant → public address of this host, which passkeys are bound to.
    gate: whether a session may be used from here and now. proof_age: how old a proof of a factor may be where a fresh
    one is asked for. unlock_password: whether a locked session asks for the password, too. reveals: tenant and user id
    → what that person had revealed lately (gateway.disclosure.desk.LedgerLine). doors: tenant → other providers people
    may sign in through on this host. linked: tenant and user id → links of that account to such. password_urls:
    directory → where its people change their password. devices: None where nothing needs one.
    """

    sessions: Sessions
    users: Users
    sign_in: SignIn
    recovery: RecoveryCodes
    passkeys: Passkeys
    resets: Resets
    role_changes: RoleChanges
    gate: Gate
    audit: Trail
    look: Look
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    audience: str = AUDIENCE_CRM
    tenant: str = ""
    home: str = "/"
    count_refusal: Callable[[str, str, str, int], None] | None = None
    crm_cookies: Callable[[str], Sequence[str]] = no_crm_cookies
    navigation: Callable[[Principal, Callable[[str], str]], Sequence[NavigationItem]] = no_navigation
    leaving: Callable[[Principal, str], Awaitable[None]] = nothing_carried
    crm_logins: frozenset[str] = frozenset()
    public_url: Callable[[str], str] = no_origin
    proof_age: timedelta = timedelta(minutes=10)
    unlock_password: bool = False
    reveals: Callable[[str, str], Awaitable[Sequence[Any]]] = nothing_revealed
    doors: Callable[[str], Sequence[Door]] = no_doors
    linked: Callable[[str, str], Awaitable[Sequence[Link]]] = nothing_linked
    password_urls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    devices: Devices | None = None

    def tenant_of(self, scope: Mapping[str, Any]) -> str:
        """The tenant of a request, told by the listener."""
        told = scope.get("state", {}).get("tenant", "")
        return str(told) if told else self.tenant

    def site(self, request: Request) -> Site | None:
        """The host this request is for, as passkeys know it; None where they cannot be used."""
        return site_of(self.public_url(self.tenant_of(request.scope)), request.headers.get("host", ""))


def client_of(scope: Mapping[str, Any]) -> str:
    """The true client address, as the listener settled it."""
    client = scope.get("client")
    return str(client[0]) if client else ""
