"""Opens the store of person keys that the settings name, and the keepers of its epochs."""

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from gateway.key_config import KeySettings, KeyStore, PersonStoreKind
from gateway.named_people import NamedPeople
from gateway.naming import PersonNaming
from gateway.opening import open_transit, own_dsn, read_passphrase, read_secret
from gateway.settings import Settings
from gateway.toml_tree import SettingInvalid
from kms.connections import Pool
from kms.local_epochs import LocalEpochs
from kms.person import EpochKeeper, PersonStore
from kms.person_calls import postgres_engine
from kms.person_store import PersonTables, sqlite_store
from kms.persons import Persons
from kms.pseudonyms import Pseudonyms
from kms.store import Store
from kms.vault_epochs import TransitEpochs
from policies.profile import load_profile


def open_persons(settings: Settings, token_file: Path | None = None) -> Persons:
    """Person keys of every CRM, to be closed; not yet asked for anything.

    token_file: an operator's token, for turning an epoch. Raises SettingInvalid, KeyringLocked.
    """
    keepers: dict[KeySettings, EpochKeeper] = {}

    def keeper(tenant: str) -> EpochKeeper:
        keys = settings.keys_of(tenant)
        if keys not in keepers:
            keepers[keys] = open_keeper(settings, tenant, token_file)
        return keepers[keys]

    return Persons(open_person_store(settings), keeper, clock=time.monotonic, ttl_s=settings.keys.cache_s)


def pseudonyms_of(database: Pool, persons: Persons) -> Pseudonyms:
    """Pseudonyms of persons in the trail, over an open database and store of person keys."""
    return Pseudonyms(Store(database), persons, entropy=secrets.token_bytes, clock=time.monotonic)


@contextlib.asynccontextmanager
async def open_people(settings: Settings, tenant: str, database: Pool) -> AsyncIterator[NamedPeople]:
    """Whom the trail of a tenant means, for a command. Raises SettingInvalid, KeyringLocked, ProfileInvalid."""
    profile = load_profile(settings.tenants[tenant].profile)
    persons = open_persons(settings)
    try:
        pseudonyms = pseudonyms_of(database, persons)
        yield NamedPeople(pseudonyms, PersonNaming(pseudonyms, lambda _: profile).people)
    finally:
        await persons.close()


def open_keeper(settings: Settings, tenant: str, token_file: Path | None = None) -> EpochKeeper:
    """Who keeps the epochs of a tenant, to be closed. Raises KeyringLocked."""
    keys = settings.keys_of(tenant)
    if keys.provider is KeyStore.LOCAL:
        return LocalEpochs(settings.epochs_path, read_passphrase(settings, keys))
    return TransitEpochs(open_transit(keys, token_file))


def open_person_store(settings: Settings) -> PersonStore:
    """The store, to be closed. Raises SettingInvalid, also when it is the main database."""
    persons = settings.persons
    if persons.store is PersonStoreKind.SQLITE:
        path = settings.person_store_path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return sqlite_store(path)
    assert persons.dsn_file is not None
    dsn = read_secret("persons.dsn_file", persons.dsn_file).decode()
    if _where(dsn) == _where(own_dsn(settings)):
        raise SettingInvalid("persons.dsn_file", "must not be the main database: their backups would mix")
    return PersonTables(postgres_engine(dsn))


def _where(dsn: str) -> tuple[str, str, str]:
    try:
        parts = conninfo_to_dict(dsn)
    except ProgrammingError:
        raise SettingInvalid("persons.dsn_file", "does not hold a PostgreSQL connection string") from None
    return str(parts.get("host", "")), str(parts.get("port", "5432")), str(parts.get("dbname", ""))
