"""Sign-in and the accounts of a running gateway, for the pages of both hosts: the CRM's and the console's."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from audit.flood import RefusalCounter
from audit.log import AuditLog
from gateway.access.deps import AccessDeps
from gateway.access.device_store import DeviceStore
from gateway.access.devices import Devices
from gateway.access.factor_store import FactorStore
from gateway.access.passkeys import Passkeys
from gateway.access.session_store import SessionStore
from gateway.access.sessions import Sessions
from gateway.access.tokens import new_id
from gateway.access.users import Users
from gateway.account_parts import AccountParts, Ground, parts_of
from gateway.accounts import utc_now
from gateway.bundles.live import LiveBundles
from gateway.composition_identity import Identities
from gateway.console.look import Look
from gateway.database import Pool as Database
from gateway.directory.directory import Directory
from gateway.entry import Entry
from gateway.installation import Installation
from gateway.session_settings import devices_of, room_of, timeouts_of
from gateway.settings import Settings
from kms.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Accounts:
    """What sign-in on both hosts shares."""

    ground: Ground
    parts: AccountParts
    sessions: Sessions
    passkeys: Passkeys
    devices: Devices

    @property
    def users(self) -> Users:
        """The accounts themselves."""
        return self.parts.users

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Tenant → from where and when its people may come, where it has rules."""
        return self.parts.proving.entries

    def directories_of(self, tenant: str) -> Sequence[Directory]:
        """Those that check passwords of this tenant's people."""
        return [one for one in self.parts.proving.directories.values() if one.settings.serves(tenant)]


def accounts_of(settings: Settings, database: Database, keyring: Keyring, bundles: LiveBundles) -> Accounts:
    """Users, sessions and sign-in over one database; users are offered the roles of the bundles in force."""
    access, randomness = settings.access, secrets.token_bytes
    sessions = Sessions(
        SessionStore(database),
        clock=utc_now,
        randomness=randomness,
        timeouts=timeouts_of(access),
        room=room_of(access),
        devices=devices_of(access),
    )
    ground = Ground(settings, database, keyring, utc_now, randomness)
    parts = parts_of(ground, sessions, bundles.__getitem__, bundles.roles)

    def offer_roles() -> None:
        parts.users.roles = bundles.roles

    bundles.when_changed(offer_roles)
    return Accounts(
        ground,
        parts,
        sessions,
        Passkeys(FactorStore(database), clock=utc_now, randomness=randomness, product=access.issuer),
        Devices(DeviceStore(database), sessions, clock=utc_now, randomness=randomness),
    )


def shared_deps(
    settings: Settings, accounts: Accounts, audit: AuditLog, look: Look, refusals: RefusalCounter
) -> AccessDeps:
    """What the sign-in pages of both hosts have in common."""

    def count(tenant: str, client: str, reason: str, status: int) -> None:
        refusals.note(tenant, client, reason, status, utc_now())

    parts = accounts.parts
    return AccessDeps(
        sessions=accounts.sessions,
        users=parts.users,
        sign_in=parts.proving.sign_in,
        recovery=parts.recovery,
        passkeys=accounts.passkeys,
        resets=parts.resets,
        role_changes=parts.role_changes,
        gate=parts.proving.gate,
        audit=audit,
        look=look,
        clock=utc_now,
        new_id=lambda: new_id("a", secrets.token_bytes),
        count_refusal=count,
        proof_age=timedelta(minutes=settings.access.proof_minutes),
        unlock_password=settings.access.unlock_password,
        password_urls={one.name: one.password_url for one in settings.sign_in.directories if one.password_url},
        devices=accounts.devices,
    )


def access_deps(
    settings: Settings, shared: AccessDeps, installations: Mapping[str, Installation], identities: Identities
) -> AccessDeps:
    """Dependencies of the sign-in pages on the CRM's host."""
    return replace(
        shared,
        crm_cookies=lambda tenant: sorted(installations[tenant].session_cookies) if tenant in installations else (),
        leaving=identities.leave,
        crm_logins=frozenset(identities.stored),
        public_url=lambda tenant: settings.tenants[tenant].public_url if tenant in settings.tenants else "",
    )
