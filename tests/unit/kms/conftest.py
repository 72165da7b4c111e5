"""A keyring over a real local provider and a real PostgreSQL, for what seals values."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.database import Pool
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.local_epochs import LocalEpochs
from kms.person_store import sqlite_store
from kms.persons import Persons
from kms.store import Store

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(scope="session")
def keyring_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keyring") / "keyring"
    LocalProvider.create(path, PASSPHRASE)
    return path


@pytest.fixture(scope="session")
def epochs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of epochs with a first one of the tenant `acme`: making one takes a while on purpose."""
    path = tmp_path_factory.mktemp("epochs") / "persons.keyring"
    asyncio.run(LocalEpochs(path, PASSPHRASE).begin("acme"))
    return path


MakePersons = Callable[[Callable[[], float]], Persons]


@pytest.fixture
async def make_persons(epochs_file: Path, tmp_path: Path) -> AsyncIterator[MakePersons]:
    """Person keys in one SQLite file and one file of epochs, for as many processes as are asked for; takes a clock."""
    own = tmp_path / "persons.keyring"
    shutil.copy(epochs_file, own)
    made: list[Persons] = []

    def make(clock: Callable[[], float]) -> Persons:
        keeper = LocalEpochs(own, PASSPHRASE)
        made.append(Persons(sqlite_store(tmp_path / "persons.db"), lambda _: keeper, clock=clock))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def persons(make_persons: MakePersons) -> Persons:
    """Those of one process."""
    return make_persons(time.monotonic)


class Failing(LocalProvider):
    """A local provider that can be made to fail."""

    broken = False

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        if self.broken:
            raise RuntimeError("no")
        return await super().unwrap(tenant, wrapped, context)


@pytest.fixture
def failing(keyring_file: Path) -> Failing:
    return Failing(keyring_file, PASSPHRASE)


@pytest.fixture
async def keyring(pool: Pool, failing: Failing) -> AsyncIterator[Keyring]:
    made = Keyring(failing, Store(pool), clock=time.monotonic)
    yield made
    await made.close()
