"""Programs that come in with a credential of the gateway: no session, no second factor, so everything else is narrow.

A token is shown once and kept as a digest. It is good for one CRM, until a date, from some networks, and where that is
demanded only together with one certificate. What it may do is what its roles may; towards the CRM it has a login of its
own. What is remembered of a client is believed for seconds only.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_network

from gateway.access.tokens import Randomness, digest, new_id, new_token
from gateway.exchange import Exchange, Head, Principal
from gateway.identity.crm_login import CrmLogins, checked
from gateway.identity.store import ClientRow, IdentityStore
from gateway.network import Allowlist
from gateway.refusal import AMBIGUOUS_FRAMING, CLIENT_NOT_HERE, CLIENT_UNKNOWN, Refusal
from gateway.toml_tree import Network

PREFIX = "crmgate_"
FIELD = "x-crmgate-client"
TTL = timedelta(seconds=3)
USE_PAUSE = timedelta(minutes=1)  # between two times that the last use of a client is written down
MOST = 10_000
LONGEST = timedelta(days=400)
_TOKEN = re.compile(r"crmgate_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CERTIFICATE = re.compile(r"[0-9a-f]{64}")


class ClientInvalid(ValueError):  # noqa: N818 - what somebody typed
    """A client that cannot be made like this; the text says why."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Wish:
    """What an administrator asks for. certificate: SHA-256 of the one it has to show, or ""."""

    name: str
    roles: tuple[str, ...]
    networks: tuple[Network, ...]
    certificate: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes different about a client; None stays as it is."""

    roles: tuple[str, ...] | None = None
    networks: tuple[Network, ...] | None = None
    certificate: str | None = None
    expires_at: datetime | None = None


class ApiClients:
    """The API clients of an installation, for the commands."""

    def __init__(self, store: IdentityStore, logins: CrmLogins, randomness: Randomness) -> None:
        self._store = store
        self._logins = logins
        self._randomness = randomness

    async def add(
        self, tenant: str, wish: Wish, known: Sequence[str], login: str, secret: str, now: datetime
    ) -> tuple[ClientRow, str]:
        """A new client and its token, shown once. known: the roles there are.

        Raises ClientInvalid, CrmLoginInvalid, NameTaken, KeysUnavailable, StoreUnavailable.
        """
        check_wish(wish, known, now)
        checked(login, secret)
        token = PREFIX + new_token(self._randomness)
        row = ClientRow(
            tenant,
            new_id("c", self._randomness),
            wish.name,
            tuple(sorted(set(wish.roles))),
            tuple(str(one) for one in wish.networks),
            wish.certificate,
            now,
            wish.expires_at,
        )
        # First the login: a client without one is refused, so a fault in between opens nothing.
        await self._logins.keep(tenant, row.id, login, secret, "command-line", now)
        await self._store.add_client(row, digest(token))
        return row, token

    async def list(self, tenant: str) -> Sequence[ClientRow]:
        """Every client, the newest first."""
        return await self._store.clients(tenant)

    async def change(
        self, tenant: str, name: str, change: Change, known: Sequence[str], now: datetime
    ) -> tuple[ClientRow, ClientRow] | None:
        """Change a good client of this name, which keeps its token; what it was and is. None where there is none.

        Running gateways know within seconds. Raises ClientInvalid, StoreUnavailable.
        """
        before, after = await self.changed(tenant, name, change, known, now) or (None, None)
        if before is None or after is None or not await self._store.change_client(after):
            return None
        return before, after

    async def changed(
        self, tenant: str, name: str, change: Change, known: Sequence[str], now: datetime
    ) -> tuple[ClientRow, ClientRow] | None:
        """What `change` would do, and nothing done; raises as it does."""
        before = next(
            (one for one in await self._store.clients(tenant) if one.name == name and not one.revoked_at), None
        )
        if before is None:
            return None
        networks = tuple(str(one) for one in change.networks) if change.networks is not None else before.networks
        after = replace(
            before,
            roles=before.roles if change.roles is None else tuple(sorted(set(change.roles))),
            networks=networks,
            certificate=before.certificate if change.certificate is None else change.certificate,
            expires_at=change.expires_at or before.expires_at,
        )
        asked = tuple(ip_network(one) for one in after.networks)
        check_wish(Wish(after.name, after.roles, asked, after.certificate, after.expires_at), known, now)
        return before, after

    async def revoke(self, tenant: str, name: str, now: datetime) -> ClientRow | None:
        """End the client of this name; None where none is good."""
        found = next(
            (one for one in await self._store.clients(tenant) if one.name == name and not one.revoked_at), None
        )
        if found is None or not await self._store.revoke_client(tenant, found.id, now):
            return None
        return found


def check_wish(wish: Wish, known: Sequence[str], now: datetime) -> None:
    """Raise ClientInvalid where a client cannot be made like this."""
    if _NAME.fullmatch(wish.name) is None:
        raise ClientInvalid("the name takes letters, digits and - . _, at most 64")
    if not wish.roles:
        raise ClientInvalid("name at least one role")
    if unknown := sorted(set(wish.roles) - set(known)):
        raise ClientInvalid(f"there is no role {', '.join(unknown)}")
    if not wish.networks and not wish.certificate:
        raise ClientInvalid("say where it comes from (--network), or which certificate it shows (--certificate)")
    if wish.certificate and _CERTIFICATE.fullmatch(wish.certificate) is None:
        raise ClientInvalid("the certificate is named by its SHA-256, 64 hexadecimal digits")
    if not now < wish.expires_at <= now + LONGEST:
        raise ClientInvalid(f"it may be good for {LONGEST.days} days at most")


def presented(head: Head) -> str:
    """The token of an API client in a request, "" for none; raises Refusal AMBIGUOUS_FRAMING for more than one."""
    found = list(head.all(FIELD))
    for value in head.all("authorization"):
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "bearer" and rest.strip().startswith(PREFIX):
            found.append(rest.strip())
    if len(found) > 1:
        raise Refusal(AMBIGUOUS_FRAMING, detail="credential")
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class _Known:
    row: ClientRow
    principal: Principal
    allowlist: Allowlist
    read_at: datetime


class Admission:
    """Lets the API clients of one tenant in."""

    def __init__(self, tenant: str, store: IdentityStore, logins: CrmLogins, clock: Callable[[], datetime]) -> None:
        self._tenant = tenant
        self._store = store
        self._logins = logins
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._used: dict[str, tuple[datetime, str]] = {}  # of clients that came in since it was last written down
        self._written: dict[str, datetime] = {}

    async def principal(self, token: str, exchange: Exchange, certificate: str) -> Principal:
        """Who presents this token.

        Raises Refusal CLIENT_UNKNOWN, CLIENT_NOT_HERE; StoreUnavailable. certificate: SHA-256 in hex of what the
        connection showed, or "".
        """
        if _TOKEN.fullmatch(token) is None:
            raise Refusal(CLIENT_UNKNOWN)
        now, key = self._clock(), digest(token)
        held = self._known.get(key)
        if held is None or not timedelta(0) <= now - held.read_at < TTL:
            held = await self._read(key, now)
        if held.row.revoked_at is not None or now >= held.row.expires_at:
            raise Refusal(CLIENT_UNKNOWN)
        if not held.allowlist.permits(exchange.client_address):
            raise Refusal(CLIENT_NOT_HERE)
        if held.row.certificate and held.row.certificate != certificate:
            raise Refusal(CLIENT_NOT_HERE)
        self._used[held.row.id] = now, exchange.client_address
        return held.principal

    async def note_uses(self) -> None:
        """Write down who came in last and when, each client at most once in USE_PAUSE; raises StoreUnavailable.

        Called in the background: a request only leaves its time in memory.
        """
        for client_id, (at, address) in list(self._used.items()):
            written = self._written.get(client_id)
            if written is not None and at - written < USE_PAUSE:
                continue
            await self._store.note_used(self._tenant, client_id, at, address, USE_PAUSE)
            self._written[client_id] = at
            if self._used.get(client_id) == (at, address):
                del self._used[client_id]

    async def _read(self, key: bytes, now: datetime) -> _Known:
        row = await self._store.client_by_token(self._tenant, key)
        if row is None:
            self._known.pop(key, None)
            raise Refusal(CLIENT_UNKNOWN)
        login = await self._logins.row(self._tenant, row.id)
        principal = Principal(
            id=row.id,
            login=row.name,
            roles=row.roles,
            tenant=self._tenant,
            session_id=row.id,
            crm_login="" if login is None else login.login,
        )
        networks = tuple(ip_network(text) for text in row.networks)
        held = _Known(row, principal, Allowlist(networks), now)
        self._known[key] = held
        self._known.move_to_end(key)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return held
