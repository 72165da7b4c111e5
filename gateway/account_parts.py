"""What people's accounts are made of over one database, put together here for server and commands alike."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from audit.log import AuditLog
from gateway.access.emergencies import Emergencies
from gateway.access.emergency_store import EmergencyStore
from gateway.access.factor_store import FactorStore
from gateway.access.gate import Gate
from gateway.access.link_store import LinkStore
from gateway.access.passwords import Passwords
from gateway.access.place_store import PlaceStore
from gateway.access.recovery import RecoveryCodes
from gateway.access.reset_store import ResetStore
from gateway.access.resets import Resets
from gateway.access.role_change_store import RoleChangeStore
from gateway.access.role_changes import RoleChanges
from gateway.access.sessions import Sessions
from gateway.access.sign_in import SignIn
from gateway.access.store import UserStore
from gateway.access.throttle_store import ThrottleStore
from gateway.access.tokens import Randomness
from gateway.access.users import Users
from gateway.database import Pool
from gateway.directory.check import DirectoryCheck, open_directories
from gateway.directory.directory import Directory
from gateway.duties import asking_of, emergency_rules_of, giving_of
from gateway.entry import Entry
from gateway.entry_config import entries_of
from gateway.opening import sealing_of
from gateway.password_words import breach_file_of, context_of, rules_of
from gateway.sealing import KeyringSealer
from gateway.settings import Settings
from kms.keyring import Keyring
from policies.enforcer import Bundle


@dataclass(frozen=True, slots=True)
class Ground:
    """What they stand on. clock: UTC."""

    settings: Settings
    pool: Pool
    keyring: Keyring
    clock: Callable[[], datetime]
    randomness: Randomness


@dataclass(frozen=True, slots=True)
class Proving:
    """Who checks that somebody is who they say, and what that takes."""

    sign_in: SignIn
    passwords: Passwords
    sealer: KeyringSealer
    links: LinkStore
    gate: Gate
    entries: Mapping[str, Entry]
    directories: Mapping[str, Directory]


@dataclass(frozen=True, slots=True)
class AccountParts:
    """The accounts, and what is done to them."""

    proving: Proving
    users: Users
    recovery: RecoveryCodes
    resets: Resets
    role_changes: RoleChanges


def proving_of(ground: Ground, sessions: Sessions) -> Proving:
    """Both steps of a sign-in; raises SettingInvalid."""
    settings, pool = ground.settings, ground.pool
    passwords, links = Passwords(), LinkStore(pool)
    sealer = KeyringSealer(ground.keyring, ground.randomness, partial(sealing_of, settings))
    entries, directories = entries_of(settings.tenant_entry), open_directories(settings.sign_in.directories)
    gate = Gate(PlaceStore(pool), entries)
    sign_in = SignIn(
        UserStore(pool),
        sessions,
        ThrottleStore(pool),
        passwords=passwords,
        sealer=sealer,
        clock=ground.clock,
        randomness=ground.randomness,
        gate=gate,
        links=links,
        check=DirectoryCheck(directories, passwords, links),
        rules=rules_of(settings),
    )
    return Proving(sign_in, passwords, sealer, links, gate, entries, directories)


def parts_of(
    ground: Ground, sessions: Sessions, policy_of: Callable[[str], Bundle], roles: Collection[str]
) -> AccountParts:
    """All of it. policy_of: tenant → the policy in force now; roles: that there are. Raises SettingInvalid."""
    settings, pool, clock, randomness = ground.settings, ground.pool, ground.clock, ground.randomness
    proving = proving_of(ground, sessions)
    users = Users(
        UserStore(pool),
        sessions,
        passwords=proving.passwords,
        sealer=proving.sealer,
        clock=clock,
        randomness=randomness,
        roles=roles,
        issuer=settings.access.issuer,
        context_words=context_of(settings),
        breached=breach_file_of(settings),
        rules=rules_of(settings),
        giving=giving_of(settings.access, policy_of, clock),
    )
    return AccountParts(
        proving,
        users,
        RecoveryCodes(FactorStore(pool), clock=clock, randomness=randomness),
        Resets(ResetStore(pool), users, clock=clock, randomness=randomness),
        RoleChanges(RoleChangeStore(pool), users, clock=clock, randomness=randomness, may_ask=asking_of(policy_of)),
    )


def emergencies_of(ground: Ground, users: Users, log: AuditLog) -> Emergencies:
    """Roles for a few hours when there is no time to ask for them."""
    return Emergencies(
        EmergencyStore(ground.pool),
        users,
        log,
        clock=ground.clock,
        randomness=ground.randomness,
        rules=emergency_rules_of(ground.settings.access),
    )
