"""A process of its own over a shared database, for tests of what several processes do to each other."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.database import open_pool
from kms.index_rotation import IndexMover
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.rotation import Rotation
from kms.store import Store
from kms.tokens import SurrogateVault
from tests.unit.kms.conftest import PASSPHRASE

T = "acme"


@dataclass
class Process:
    """What one process has: keyring, vault, rotation."""

    keyring: Keyring
    vault: SurrogateVault
    rotation: Rotation


@asynccontextmanager
async def process(dsn: str, path: Path, *, deaf: bool = False, parts: bool = False) -> AsyncIterator[Process]:
    """deaf: it hears no notice, so it knows the keys it once read; parts: it rotates the keys of the index, too."""
    pool = await open_pool(dsn, max_size=6)
    store = Store(pool)
    keyring = Keyring(LocalProvider(path, PASSPHRASE), store, clock=time.monotonic)
    vault = SurrogateVault(pool, keyring)
    if not deaf:
        await vault.start(T)
    movers = (IndexMover(vault.index, vault),) if parts else ()
    yield Process(keyring, vault, Rotation(store, keyring, os.urandom, movers=movers))
    await vault.close()
    await keyring.close()
    await pool.close()
