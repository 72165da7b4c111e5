"""Pieces of gateway.access on a real database: a clock that moves when told, cheap hashing, users ready to sign in."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pyotp
from argon2 import PasswordHasher

from gateway.access.device import DeviceRules
from gateway.access.device_store import DeviceStore
from gateway.access.devices import Devices
from gateway.access.factor_store import FactorStore
from gateway.access.gate import Gate
from gateway.access.link_store import LinkStore
from gateway.access.passkeys import Passkeys
from gateway.access.password_rules import USUAL, PasswordRules
from gateway.access.passwords import Passwords
from gateway.access.place_store import PlaceStore
from gateway.access.recovery import Cost, RecoveryCodes
from gateway.access.reset_store import ResetStore
from gateway.access.resets import Resets
from gateway.access.role_change_store import RoleChangeStore
from gateway.access.role_changes import RoleChanges
from gateway.access.session_store import SessionStore
from gateway.access.sessions import Sessions
from gateway.access.sign_in import SignIn
from gateway.access.store import UserStore
from gateway.access.throttle_store import ThrottleStore
from gateway.access.user import AppUser
from gateway.access.users import Profile, Users
from gateway.directory.check import DirectoryCheck
from gateway.directory.directory import Directory
from kms.connections import Pool

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PASSWORD = "quiet lantern river 52"
ROLES = ("sales", "manager", "auditor", "dpo", "administrator")
# For tests only: the cheapest Argon2id there is.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=16, salt_len=8)
CHEAP_CODES = Cost(passes=1, memory_kib=8, lanes=1)


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> datetime:
        self.now += timedelta(**delta)
        return self.now


class FakeSealer:
    """Binds to the context and hides the bytes, as the real one does, without keys."""

    async def seal(self, tenant: str, plaintext: bytes, context: bytes) -> bytes:
        return tenant.encode() + b"/" + context + b"/" + bytes(255 - byte for byte in plaintext)

    async def open(self, tenant: str, sealed: bytes, context: bytes) -> bytes:
        prefix = tenant.encode() + b"/" + context + b"/"
        assert sealed.startswith(prefix)
        return bytes(255 - byte for byte in sealed.removeprefix(prefix))


def _administrates(_tenant: str, roles: Sequence[str]) -> bool:
    return "administrator" in roles


@dataclass
class Access:
    """Everything one process holds."""

    store: UserStore
    sessions: Sessions
    users: Users
    sign_in: SignIn
    clock: Clock
    recovery: RecoveryCodes
    passkeys: Passkeys
    resets: Resets
    role_changes: RoleChanges
    gate: Gate
    links: LinkStore
    devices: Devices

    def code(self, secret: str, steps: int = 0) -> str:
        return pyotp.TOTP(secret).generate_otp(int(self.clock().timestamp()) // 30 + steps)


def build(
    pool: Pool,
    clock: Clock,
    rules: PasswordRules = USUAL,
    directories: Mapping[str, Directory] = MappingProxyType({}),
    devices: DeviceRules | None = None,
) -> Access:
    store = UserStore(pool)
    sessions = Sessions(SessionStore(pool), clock=clock, randomness=secrets.token_bytes, devices=devices)
    passwords = Passwords(CHEAP)
    common = {
        "passwords": passwords,
        "sealer": FakeSealer(),
        "clock": clock,
        "randomness": secrets.token_bytes,
    }
    users = Users(store, sessions, roles=ROLES, rules=rules, **common)
    gate, links = Gate(PlaceStore(pool), {}), LinkStore(pool)
    factors, random = FactorStore(pool), secrets.token_bytes
    return Access(
        store,
        sessions,
        users,
        SignIn(
            store,
            sessions,
            ThrottleStore(pool),
            gate=gate,
            links=links,
            rules=rules,
            check=DirectoryCheck(directories, passwords, links),
            **common,
        ),
        clock,
        RecoveryCodes(factors, clock=clock, randomness=random, cost=CHEAP_CODES),
        Passkeys(factors, clock=clock, randomness=random),
        Resets(ResetStore(pool), users, clock=clock, randomness=random),
        RoleChanges(RoleChangeStore(pool), users, clock=clock, randomness=random, may_ask=_administrates),
        gate,
        links,
        Devices(DeviceStore(pool), sessions, clock=clock, randomness=secrets.token_bytes),
    )


@dataclass
class Enrolled:
    """A user with both factors and what the person knows."""

    user: AppUser
    password: str
    secret: str


async def enrol_in(access: Access, login: str, *roles: str, tenant: str = "t1") -> Enrolled:
    """A user who is ready to sign in."""
    user = await access.users.create(tenant, login, Profile(roles=roles or ("sales",)))
    secret = pyotp.random_base32()
    await access.users.provision(user, PASSWORD, secret)
    return Enrolled(user, PASSWORD, secret)
