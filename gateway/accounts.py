"""The accounts of an installation as the commands use them: opened, changed, written into the audit trail, closed.

The server builds the same objects in gateway/app.py; this is the short life of one command beside it.
"""

import contextlib
import getpass
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from audit.entry import AuditEntry
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
from gateway.access.session_store import SessionStore
from gateway.access.sessions import Sessions
from gateway.access.sign_in import SignIn
from gateway.access.store import UserStore
from gateway.access.tokens import new_id
from gateway.access.user import AppUser
from gateway.access.users import Users
from gateway.bundles.installing import policy_in_force
from gateway.database import Pool, open_pool
from gateway.directory.check import DirectoryCheck, open_directories
from gateway.duties import AGREE, ASK, USERS, asking_of, emergency_rules_of, giving_of
from gateway.entry_config import entries_of
from gateway.opening import open_keyring, sealing_of
from gateway.password_words import breach_file_of, context_of, rules_of
from gateway.sealing import KeyringSealer
from gateway.session_settings import timeouts_of
from gateway.settings import Settings
from kms.keyring import Keyring
from policies.enforcer import Bundle


def utc_now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Open accounts of one tenant."""

    tenant: str
    users: Users
    keyring: Keyring
    log: AuditLog
    pool: Pool
    recovery: RecoveryCodes
    resets: Resets
    sign_in: SignIn
    policy: Bundle
    links: LinkStore
    role_changes: RoleChanges
    emergencies: Emergencies

    def may_change(self, user: AppUser) -> bool:
        """Whether this person may change other people's accounts, and ask for their rights."""
        return self.policy.may(self.tenant, user.roles, USERS, ASK)

    def may_agree(self, user: AppUser) -> bool:
        """Whether this person may agree to rights that somebody else asked for."""
        return self.policy.may(self.tenant, user.roles, USERS, AGREE)

    async def record(
        self, operation: str, target: str, change: str | list[str] = "", by: AppUser | None = None
    ) -> None:
        """Write into the audit trail that somebody at this machine changed an account; by: who proved who they are."""
        fields = {"target": target} | ({"change": change} if change else {})
        entry = AuditEntry(
            id=new_id("a", secrets.token_bytes),
            at=utc_now(),
            tenant=self.tenant,
            kind="console",
            actor="command-line" if by is None else by.id,
            actor_login=getpass.getuser() if by is None else by.login,
            crm_user="",
            client="",
            method="",
            path_shape="",
            operation=operation,
            entity="user",
            record="",
            reason="done",
            status=0,
            policy="",
            fields=fields,
            exchange="",
        )
        await self.log.append(entry)


@contextlib.asynccontextmanager
async def open_accounts(settings: Settings, tenant: str, dsn: str) -> AsyncIterator[Accounts]:
    """Accounts of a tenant over an open database; raises DatabaseUnavailable, KeysUnavailable, AuditUnavailable."""
    pool = await open_pool(dsn, max_size=4)
    keyring = open_keyring(settings, pool)
    log = AuditLog(dsn)
    try:
        await log.start()
        timeouts = timeouts_of(settings.access)
        sessions = Sessions(SessionStore(pool), clock=utc_now, randomness=secrets.token_bytes, timeouts=timeouts)
        policy = await policy_in_force(
            pool, tenant, settings.tenants[tenant].policy, separated=settings.access.separated
        )
        store, passwords = UserStore(pool), Passwords()
        sealer = KeyringSealer(keyring, secrets.token_bytes, partial(sealing_of, settings))
        users = Users(
            store,
            sessions,
            passwords=passwords,
            sealer=sealer,
            clock=utc_now,
            randomness=secrets.token_bytes,
            roles=sorted(policy.roles),
            issuer=settings.access.issuer,
            context_words=context_of(settings),
            breached=breach_file_of(settings),
            rules=rules_of(settings),
            giving=giving_of(settings.access, lambda _tenant: policy, utc_now),
        )
        links = LinkStore(pool)
        sign_in = SignIn(
            store,
            sessions,
            passwords=passwords,
            sealer=sealer,
            clock=utc_now,
            randomness=secrets.token_bytes,
            gate=Gate(PlaceStore(pool), entries_of(settings.tenant_entry)),
            links=links,
            check=DirectoryCheck(open_directories(settings.sign_in.directories), passwords, links),
            rules=rules_of(settings),
        )
        recovery = RecoveryCodes(FactorStore(pool), clock=utc_now, randomness=secrets.token_bytes)
        resets = Resets(ResetStore(pool), users, clock=utc_now, randomness=secrets.token_bytes)
        role_changes = RoleChanges(
            RoleChangeStore(pool),
            users,
            clock=utc_now,
            randomness=secrets.token_bytes,
            may_ask=asking_of(lambda _tenant: policy),
        )
        emergencies = Emergencies(
            EmergencyStore(pool),
            users,
            log,
            clock=utc_now,
            randomness=secrets.token_bytes,
            rules=emergency_rules_of(settings.access),
        )
        yield Accounts(
            tenant, users, keyring, log, pool, recovery, resets, sign_in, policy, links, role_changes, emergencies
        )
    finally:
        await log.close()
        await keyring.close()
        await pool.close()
