"""Fixtures shared by all tests: one embedded PostgreSQL a session, a fresh migrated database a test."""

import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from gateway.database import ROLE, EmbeddedPostgres, Pool, migrate, open_pool
from kms.connections import EVERY, Connection

# The same examples each time, so that a red run is about the change at hand; `--hypothesis-profile=default` explores.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


def pytest_configure() -> None:
    """Programs that tests start shall end by Ctrl-C also where whoever started the tests ignores it, as `nohup … &`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A test's name says no bytes: archives hold the time, and processes that share the work need equal names."""
    return argname if isinstance(val, bytes) else None


class OpenPool(Pool):
    """As crmgate opens it, and tests' own SQL, which no tenant does, sees every row: `pool.connection()`."""

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[Connection]:
        """A transaction over the rows of all tenants; nothing of crmgate itself calls this."""
        async with self.of(EVERY, timeout_s=timeout) as connection:
            yield connection


def unwalled(dsn: str) -> str:
    """A connection string for tests' own SQL, which sees the rows of all tenants."""
    return make_conninfo(dsn, options=f"-c crmgate.tenant={EVERY}")


TEMPLATE = "crmgate_template"
# What a test writes may be lost with the machine; it must be fast.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The embedded server of this test session, in a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="crmgate-test-pg-"))
    server = EmbeddedPostgres(folder, FAST)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_dsn(postgres: EmbeddedPostgres) -> str:
    """Administrator's connection string of the session's server, with the migrated template database made."""
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
        owner = sql.Identifier(ROLE)
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(TEMPLATE), owner))
    migrate(make_conninfo(postgres.dsn, dbname=TEMPLATE))
    return postgres.admin_dsn


@pytest.fixture
def dsn(postgres_dsn: str, postgres: EmbeddedPostgres) -> Iterator[str]:
    """Connection string of a fresh, migrated, empty database; dropped afterwards whoever is still connected."""
    name = f"t_{uuid.uuid4().hex}"
    database = sql.Identifier(name)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                database, sql.Identifier(TEMPLATE), sql.Identifier(ROLE)
            )
        )
    yield make_conninfo(postgres.dsn, dbname=name)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    """An open pool on a fresh, migrated, empty database."""
    opened = await open_pool(dsn, max_size=8, kind=OpenPool)
    yield opened
    await opened.close()
