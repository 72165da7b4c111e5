"""Identity towards each CRM, built from the settings: what the pipeline asks, and what the pages reach."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from audit.log import AuditLog
from gateway.access.deps import AccessDeps
from gateway.access.sessions import Sessions
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.database import Pool as Database
from gateway.exchange import Principal
from gateway.identity.api_client import Admission
from gateway.identity.asserted import Asserted, KnownLogins
from gateway.identity.carried import CarriedSessions
from gateway.identity.config import IdentityMode, IdentitySettings
from gateway.identity.crm_login import CrmLogins
from gateway.identity.deps import IdentityDeps
from gateway.identity.events import IdentityTrail
from gateway.identity.face import Identity
from gateway.identity.sealing import IdentitySealer
from gateway.identity.signing_key import SigningKeys, read_key
from gateway.identity.store import IdentityStore
from gateway.installation import Installation
from gateway.network import Tenant
from gateway.opening import sealing_of
from gateway.settings import Settings
from gateway.toml_tree import SettingInvalid
from kms.keyring import Keyring
from kms.store import StoreUnavailable

USES_S = 5.0
_SIGNING = frozenset({IdentityMode.JWT, IdentityMode.OIDC})


@dataclass(frozen=True, slots=True)
class Identities:
    """Of all tenants. faces: those whose identity is not passed through; sweeps, closing: of a server. uses: write down
    when programs came in last."""

    faces: Mapping[str, Identity]
    logins: CrmLogins
    trail: IdentityTrail
    stored: Mapping[str, CarriedSessions]
    keys: Mapping[str, SigningKeys]
    sweeps: Sequence[Callable[[datetime], Awaitable[None]]]
    closing: Sequence[Callable[[], Awaitable[None]]]
    uses: Sequence[Callable[[], Awaitable[None]]] = ()

    def of(self, tenant: Tenant) -> Tenant:
        """The tenant with its identity."""
        return replace(tenant, identity=self.faces.get(tenant.name))

    async def follow_uses(self) -> None:
        """Write down when programs came in last, every few seconds and at the end."""
        try:
            while True:
                await asyncio.sleep(USES_S)
                await self._note_uses()
        finally:
            await self._note_uses()

    async def _note_uses(self) -> None:
        for note in self.uses:
            with contextlib.suppress(StoreUnavailable):  # it stays in memory until the next time
                await note()

    async def leave(self, principal: Principal, client: str) -> None:
        """End what is carried for a gateway session that ends; raises AuditUnavailable."""
        carried = self.stored.get(principal.tenant)
        if carried is not None:
            await carried.leave(principal, client)

    def deps(self, access: AccessDeps) -> IdentityDeps:
        """Dependencies of the pages."""
        return IdentityDeps(access, self.logins, self.trail, self.stored, self.keys)


def logins_of(settings: Settings, database: Database, keyring: Keyring) -> CrmLogins:
    """CRM logins over one database."""
    sealer = IdentitySealer(keyring, secrets.token_bytes, partial(sealing_of, settings))
    return CrmLogins(IdentityStore(database), sealer)


def identities_of(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    audit: AuditLog,
    sessions: Sessions,
    installations: Mapping[str, Installation],
    tenants: Sequence[Tenant],
) -> Identities:
    """Identity of every tenant; raises SettingInvalid for keys and profiles that cannot be used."""
    store, logins = IdentityStore(database), logins_of(settings, database, keyring)
    sealer = IdentitySealer(keyring, secrets.token_bytes, partial(sealing_of, settings))
    trail = IdentityTrail(audit, utc_now, lambda: new_id("a", secrets.token_bytes))
    faces: dict[str, Identity] = {}
    stored: dict[str, CarriedSessions] = {}
    carried: list[CarriedSessions] = []
    uses: list[Callable[[], Awaitable[None]]] = []
    keys: dict[str, SigningKeys] = {}
    for tenant in tenants:
        name, wanted = tenant.name, settings.identity_of(tenant.name)
        if not wanted.is_active:
            continue
        people = wanted.mode is IdentityMode.STORED
        if wanted.mode in _SIGNING:
            keys[name] = _keys(name, wanted, store, sealer)
        one = None
        if people or wanted.api_clients:
            _require_carried(name, wanted, installations[name])
            wait = timedelta(seconds=wanted.wait_s)
            one = CarriedSessions(
                name, installations[name], tenant.pool, logins, sessions, trail, utc_now, wanted.database, wait
            )
            carried.append(one)
            if people:
                stored[name] = one
        asserted = None
        if wanted.mode in (IdentityMode.HEADER, IdentityMode.JWT):
            known = KnownLogins(name, wanted.login, logins, utc_now)
            public = settings.tenants[name].public_url.rstrip("/")
            asserted = Asserted(wanted, public, known, keys.get(name), utc_now)
        admission = Admission(name, store, logins, utc_now) if wanted.api_clients else None
        if admission is not None:
            uses.append(admission.note_uses)
        faces[name] = Identity(
            private=frozenset({"authorization", *installations[name].session_cookies}),
            asserted=asserted,
            carried=one,
            people=people,
            admission=admission,
            ends=sessions.end,
        )
    return Identities(
        faces, logins, trail, stored, keys, [one.sweep for one in carried], [one.close for one in carried], uses
    )


def _keys(name: str, wanted: IdentitySettings, store: IdentityStore, sealer: IdentitySealer) -> SigningKeys:
    given = None
    if wanted.key_file is not None:
        given = read_key(wanted.key_file, wanted.algorithm, f"tenant.{name}.identity.key_file")
    lifetime = timedelta(seconds=max(wanted.lifetime_s, wanted.token_s))
    return SigningKeys(
        name, wanted.algorithm, store, sealer, utc_now, secrets.token_bytes, wanted.key_days, lifetime, given
    )


def _require_carried(name: str, wanted: IdentitySettings, installation: Installation) -> None:
    carried = installation.current.carried
    section = f"tenant.{name}.identity"
    if carried is None:
        raise SettingInvalid(section, "the CRM's profile does not say how to sign in for somebody (carried)")
    if carried.asks_for_database and not wanted.database:
        raise SettingInvalid(f"{section}.database", "is needed: this CRM has the name of its database in its addresses")
