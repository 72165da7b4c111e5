"""The accounts of an installation as the commands use them: opened, changed, written into the audit trail, closed.

The server builds the same objects in gateway/app.py; this is the short life of one command beside it.
"""

import contextlib
import getpass
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from audit.entry import AuditEntry
from audit.log import AuditLog
from gateway.access.emergencies import Emergencies
from gateway.access.link_store import LinkStore
from gateway.access.recovery import RecoveryCodes
from gateway.access.resets import Resets
from gateway.access.role_changes import RoleChanges
from gateway.access.session_store import SessionStore
from gateway.access.sessions import Sessions
from gateway.access.sign_in import SignIn
from gateway.access.tokens import new_id
from gateway.access.user import AppUser
from gateway.access.users import Users
from gateway.account_parts import Ground, emergencies_of, parts_of
from gateway.bundles.installing import policy_in_force
from gateway.database import Pool, open_pool
from gateway.duties import AGREE, ASK, USERS
from gateway.opening import open_keyring
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
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=4)
        stack.push_async_callback(pool.close)
        keyring = open_keyring(settings, pool)
        stack.push_async_callback(keyring.close)
        log = await stack.enter_async_context(AuditLog(dsn))
        timeouts = timeouts_of(settings.access)
        sessions = Sessions(SessionStore(pool), clock=utc_now, randomness=secrets.token_bytes, timeouts=timeouts)
        policy = await policy_in_force(
            pool, tenant, settings.tenants[tenant].policy, separated=settings.access.separated
        )
        ground = Ground(settings, pool, keyring, utc_now, secrets.token_bytes)
        parts = parts_of(ground, sessions, lambda _tenant: policy, sorted(policy.roles))
        yield Accounts(
            tenant=tenant,
            users=parts.users,
            keyring=keyring,
            log=log,
            pool=pool,
            recovery=parts.recovery,
            resets=parts.resets,
            sign_in=parts.proving.sign_in,
            policy=policy,
            links=parts.proving.links,
            role_changes=parts.role_changes,
            emergencies=emergencies_of(ground, parts.users, log),
        )
