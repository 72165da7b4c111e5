"""Opens what the commands on keys work with: the custody of a tenant's provider, and the destruction of its keys."""

import contextlib
import getpass
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from audit.log import AuditLog
from audit.note import ensure_signer
from gateway.access.session_store import SessionStore
from gateway.access.sessions import Sessions, Timeouts
from gateway.access.sign_in import SignIn
from gateway.access.tokens import new_id
from gateway.account_parts import Ground, proving_of
from gateway.accounts import utc_now
from gateway.database import Pool, open_pool
from gateway.destroying import Destroying
from gateway.key_config import KeyStore
from gateway.opening import open_keyring, open_keys, open_transit
from gateway.settings import Settings
from kms.custody import KeyCustody
from kms.destruction import Destructions
from kms.destruction_store import DestructionStore
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.local_custody import LocalCustody
from kms.vault import TransitProvider
from kms.vault_custody import TransitCustody

OPERATOR_S = 60.0


def open_custody(
    settings: Settings, tenant: str, token_file: Path | None = None
) -> tuple[TransitProvider | LocalProvider, KeyCustody]:
    """The provider of a tenant, to be closed, and its custody.

    token_file: an operator's token with the rights that the serving gateway should not have. Raises KeyringLocked.
    """
    keys = settings.keys_of(tenant)
    if keys.provider is KeyStore.LOCAL:
        provider = open_keys(settings, tenant)
        assert isinstance(provider, LocalProvider)
        return provider, LocalCustody(provider, tuple(settings.tenants))
    # An operator can wait: the first import lets the server make an RSA-4096 key, which takes it seconds.
    transit = open_transit(replace(keys, timeout_s=max(keys.timeout_s, OPERATOR_S)), token_file)
    return transit, TransitCustody(transit)


def wait_of(settings: Settings) -> timedelta:
    """How long a destruction waits: at least until no process can still hold the old keys as current ones."""
    return max(timedelta(hours=settings.keys.destroy_after_hours), timedelta(seconds=2 * settings.keys.cache_s))


def sign_in_of(settings: Settings, pool: Pool, keyring: Keyring) -> SignIn:
    """Checks both factors of whoever takes a step at the command line."""
    sessions = Sessions(
        SessionStore(pool),
        clock=utc_now,
        randomness=secrets.token_bytes,
        timeouts=Timeouts(idle=timedelta(minutes=1), absolute=timedelta(minutes=1)),
    )
    return proving_of(Ground(settings, pool, keyring, utc_now, secrets.token_bytes), sessions).sign_in


@contextlib.asynccontextmanager
async def open_destroying(
    settings: Settings, tenant: str, dsn: str, token_file: Path | None = None
) -> AsyncIterator[tuple[Destroying, DestructionStore]]:
    """The steps of destruction over an open database.

    Raises DatabaseUnavailable, KeyringLocked, AuditUnavailable, KeyFileInvalid, PolicyInvalid.
    """
    # The policy engine is not needed by any other command on keys.
    from gateway.bundles.installing import policy_in_force

    signer = ensure_signer(settings.checkpoint_key_path)
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=4)
        stack.push_async_callback(pool.close)
        policy = await policy_in_force(
            pool, tenant, settings.tenants[tenant].policy, separated=settings.access.separated
        )
        keyring = open_keyring(settings, pool)
        stack.push_async_callback(keyring.close)
        log = await stack.enter_async_context(AuditLog(dsn))
        provider, custody = open_custody(settings, tenant, token_file)
        stack.push_async_callback(provider.close)
        sign_in = sign_in_of(settings, pool, keyring)
        store = DestructionStore(pool)
        steps = Destructions(store, custody, provider.name, wait=wait_of(settings), clock=utc_now)
        yield (
            Destroying(
                tenant,
                steps,
                custody,
                proving=sign_in,
                policy=policy,
                trail=log,
                signer=signer,
                provider=provider.name,
                operator=getpass.getuser(),
                clock=utc_now,
                new_id=lambda kind: new_id(kind, secrets.token_bytes),
            ),
            store,
        )
