"""A keyring over a real local provider and a real PostgreSQL, for what seals values."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.database import Pool
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.store import Store

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(scope="session")
def keyring_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keyring") / "keyring"
    LocalProvider.create(path, PASSPHRASE)
    return path


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
