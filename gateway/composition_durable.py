"""Durable work of a running gateway and of a command beside it: rotations, and the desk that asks for them."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

from audit.log import AuditLog
from gateway import archiving as archiving_jobs
from gateway import rewrap, rotation
from gateway.archiving import ArchiveWork
from gateway.composition_archive import Archiving
from gateway.database import Pool as Database
from gateway.database import open_pool
from gateway.durable import Durable
from gateway.job_store import JobStore
from gateway.opening import open_keyring, sealing_of
from gateway.person_keys import open_persons
from gateway.rewrap import TenantKeyWork
from gateway.rotation import FieldKeyWork
from gateway.rotation_desk import RotationDesk, recorder
from gateway.rotation_sealed import DigestMover, SealedMover
from gateway.rotation_store import SealedStore
from gateway.settings import Settings
from kms.beside import Beside
from kms.beside_rotation import BesideMover
from kms.cell_store import CellStore
from kms.digit_store import DigitStore
from kms.index_rotation import IndexMover
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.local_turn import LocalTurn
from kms.persons import Persons
from kms.rotation import Rotation
from kms.standing import CrmMover
from kms.store import Store as VaultStore
from kms.tenant_key import TenantKeys, Turning
from kms.tokens import SurrogateVault
from kms.vault import TransitProvider
from kms.vault_turn import TransitTurn

_OPENED = 1000  # entries in memory while their terms are made anew
COMMAND_POLL_S = 0.2  # a command waits for its work; a server has time


def rotation_of(settings: Settings, database: Database, keyring: Keyring, persons: Persons) -> Rotation:
    """Rotation of every field key."""
    how, store, sealed = partial(sealing_of, settings), CellStore(database), SealedStore(database)
    # Reads entries as they are stored, so it needs neither notices nor much of a memory.
    vault = SurrogateVault(database, keyring, most=_OPENED, sealing=how, persons=persons)
    beside = Beside(store, keyring, how, persons=persons)
    movers = (
        IndexMover(vault.index, vault),
        SealedMover(sealed, keyring, secrets.token_bytes, how),
        DigestMover(sealed),
        BesideMover(beside, keyring, secrets.token_bytes, how),
        CrmMover(store, DigitStore(database)),
    )
    return Rotation(VaultStore(database), keyring, secrets.token_bytes, how, movers, persons)


def tenant_keys_of(database: Database, keyring: Keyring) -> TenantKeys:
    """Rotation of the keys that field keys are wrapped under."""

    def turning(tenant: str) -> Turning:
        provider = keyring.provider_of(tenant)
        if isinstance(provider, LocalProvider):
            return LocalTurn(provider)
        assert isinstance(provider, TransitProvider)
        return TransitTurn(provider)

    return TenantKeys(VaultStore(database), keyring, turning)


@asynccontextmanager
async def open_durable(
    settings: Settings,
    dsn: str,
    database: Database,
    keyring: Keyring,
    persons: Persons,
    audit: AuditLog,
    poll_s: float = 1.0,
    archiving: Archiving | None = None,
) -> AsyncIterator[Durable]:
    """Durable work of this process, with every kind of job it can do; raises WorkflowsUnavailable."""
    durable = Durable(dsn, database, poll_s=poll_s)
    record = recorder(audit, secrets.token_bytes, "crmgate")
    durable.register(rotation.KIND, FieldKeyWork(rotation_of(settings, database, keyring, persons), record).slice)
    work = None
    if archiving is not None:
        work = ArchiveWork(
            archiving.sealer, archiving.pruner, recorder(audit, secrets.token_bytes, "crmgate", "", "audit")
        )
        durable.register(archiving_jobs.KIND, work.slice)
    durable.register(rewrap.KIND, TenantKeyWork(tenant_keys_of(database, keyring), record).slice)
    try:
        await durable.start()
        yield durable
    finally:
        await durable.close()
        if work is not None:
            await work.close()


@asynccontextmanager
async def open_desk(settings: Settings, dsn: str, tenant: str, actor: str, login: str) -> AsyncIterator[RotationDesk]:
    """A desk that asks other processes only; raises DatabaseUnavailable, KeysUnavailable, AuditUnavailable."""
    async with AsyncExitStack() as stack:
        yield (await _open_desk(stack, settings, dsn, tenant, actor, login))[0]


@asynccontextmanager
async def open_jobs(settings: Settings, dsn: str, tenant: str, actor: str, login: str) -> AsyncIterator[RotationDesk]:
    """A desk in a process that does the work, too; raises WorkflowsUnavailable as well."""
    async with AsyncExitStack() as stack:
        desk, database, keyring, persons, audit = await _open_desk(stack, settings, dsn, tenant, actor, login)
        durable = await stack.enter_async_context(
            open_durable(settings, dsn, database, keyring, persons, audit, COMMAND_POLL_S)
        )
        yield replace(desk, working=durable)


async def _open_desk(
    stack: AsyncExitStack, settings: Settings, dsn: str, tenant: str, actor: str, login: str
) -> tuple[RotationDesk, Database, Keyring, Persons, AuditLog]:
    database = await open_pool(dsn, max_size=4)
    stack.push_async_callback(database.close)
    audit = await stack.enter_async_context(AuditLog(dsn))
    keyring = open_keyring(settings, database)
    stack.push_async_callback(keyring.close)
    persons = open_persons(settings)
    stack.push_async_callback(persons.close)
    record = recorder(audit, secrets.token_bytes, actor, login)
    turned = tenant_keys_of(database, keyring)
    desk = RotationDesk(tenant, JobStore(database), rotation_of(settings, database, keyring, persons), turned, record)
    return desk, database, keyring, persons, audit
