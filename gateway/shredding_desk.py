"""Opens what `crmgate keys person` works with, and later whatever carries out an approved plan to erase a person."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from audit.log import AuditLog
from audit.note import ensure_signer
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.bundles.installing import policy_in_force
from gateway.database import open_pool
from gateway.digits_left import DigitsLeft
from gateway.key_config import KeyStore, PersonStoreKind
from gateway.key_custody import sign_in_of
from gateway.key_step import APPROVE, Credentials, Policy, Proving, Trail, entry, prove
from gateway.opening import open_keyring
from gateway.person_keys import open_persons
from gateway.protect.store import ProtectStore
from gateway.settings import Settings
from gateway.shredding import Shredding
from gateway.shredding_store import ShreddingStore
from kms.destruction import Person
from kms.digit_store import DigitStore
from kms.epoch_turn import EpochTurn
from kms.persons import Persons
from kms.shredding import Shredder
from kms.store import Store
from policies.profile import load_profile


@dataclass(slots=True)
class ShreddingDesk:
    """The parts for one tenant. proved: who identified already in this command."""

    tenant: str
    persons: Persons
    shredder: Shredder
    shredding: Shredding
    store_name: str
    proving: Proving
    policy: Policy
    trail: Trail
    proved: Person | None = field(default=None)

    async def prove(self, given: Credentials) -> Person:
        """Who this is, with the right to erase. Raises Attempt, NotAllowed, KeysUnavailable, AuditUnavailable."""
        self.proved = await prove(self.tenant, given, APPROVE, self.proving, self.policy, self._refused)
        return self.proved

    def _refused(self, who: Person, why: str) -> Awaitable[int]:
        fields = {"target": self.tenant, "detail": [why]}
        name = new_id("a", secrets.token_bytes)
        return self.trail.append(entry(self.tenant, "keys.person", "refused", "", who, fields, utc_now(), name))


@contextlib.asynccontextmanager
async def open_shredding(
    settings: Settings, tenant: str, dsn: str, token_file: Path | None = None
) -> AsyncIterator[ShreddingDesk]:
    """The parts over an open database; token_file: an operator's token for turning the epoch.

    Raises DatabaseUnavailable, KeysUnavailable, AuditUnavailable, KeyFileInvalid, PolicyInvalid, ProfileInvalid,
    SettingInvalid.
    """
    signer = ensure_signer(settings.checkpoint_key_path)
    profile = load_profile(settings.tenants[tenant].profile)
    fields = [(spec.entity, spec.name) for spec in profile.digit_fields]
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=4)
        stack.push_async_callback(pool.close)
        policy = await policy_in_force(
            pool, tenant, settings.tenants[tenant].policy, separated=settings.access.separated
        )
        keyring = open_keyring(settings, pool)
        stack.push_async_callback(keyring.close)
        persons = open_persons(settings, token_file)
        stack.push_async_callback(persons.close)
        log = await stack.enter_async_context(AuditLog(dsn))

        async def epoch() -> int:
            persons.epoch_changed(tenant)
            return (await persons.current(tenant)).number

        shredder = Shredder(Store(pool), persons, utc_now)
        local = settings.keys_of(tenant).provider is KeyStore.LOCAL
        shredding = Shredding(
            tenant,
            shredder,
            EpochTurn(persons, utc_now),
            epoch,
            ShreddingStore(pool),
            ProtectStore(pool),
            trail=log,
            signer=signer,
            keeper="the file of the epoch keys" if local else "OpenBao or Vault",
            backup_days=settings.persons.backup_days,
            clock=utc_now,
            new_id=partial(new_id, randomness=secrets.token_bytes),
            digits=DigitsLeft(DigitStore(pool), fields).told,
        )
        sqlite = settings.persons.store is PersonStoreKind.SQLITE
        yield ShreddingDesk(
            tenant,
            persons,
            shredder,
            shredding,
            str(settings.person_store_path) if sqlite else "PostgreSQL (persons.dsn_file)",
            sign_in_of(settings, pool, keyring),
            policy,
            log,
        )
