"""The data plane is tested on the loop it runs on."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.database import Pool
from kms.local import LocalProvider
from kms.local_epochs import LocalEpochs
from kms.person_store import sqlite_store
from kms.persons import Persons
from tests.unit.gateway.glue import SECRET, TENANT, Glue, open_glue

DATA_PLANE = frozenset({"test_listener", "test_upstream", "test_pipeline"})


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Any] | None:
    """uvloop for the modules that open sockets; asyncio's own for everything else below this folder."""
    name = item.path.stem
    return {"uvloop": uvloop.new_event_loop} if name in DATA_PLANE else {"asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def keyring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed keyring file for all tests of the session."""
    path = tmp_path_factory.mktemp("keys") / "keyring"
    LocalProvider.create(path, SECRET)
    return path


@pytest.fixture(scope="session")
def epochs_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of epochs with a first one: making one takes a while on purpose."""
    path = tmp_path_factory.mktemp("epochs") / "persons.keyring"
    asyncio.run(LocalEpochs(path, SECRET).begin(TENANT))
    return path


@pytest.fixture
async def persons(epochs_path: Path, tmp_path: Path) -> AsyncIterator[Persons]:
    """Person keys in a SQLite file."""
    own = tmp_path / "persons.keyring"
    shutil.copy(epochs_path, own)
    keeper = LocalEpochs(own, SECRET)
    made = Persons(sqlite_store(tmp_path / "persons.db"), lambda _: keeper, clock=time.monotonic)
    yield made
    await made.close()


@pytest.fixture
async def creme(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    """The stages in front of a Creme, with the shipped policy."""
    async with open_glue(pool, keyring_path) as made:
        yield made


@pytest.fixture
async def tryton(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    """The stages in front of a Tryton, with the shipped policy."""
    async with open_glue(pool, keyring_path, "tryton") as made:
        yield made
