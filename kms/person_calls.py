"""Calls of the person store: an engine for each kind of database, threads of their own, a queue and a time limit."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from kms.provider import KeysUnavailable

_THREADS = 4
_BUSY_MS = 5000
_T = TypeVar("_T")
_READS = {"crmgate_reads": True}


def sqlite_engine(path: Path) -> sa.Engine:
    """An engine over a file for its owner only, made at first use."""
    engine = sa.create_engine(
        "sqlite+pysqlite://",
        creator=lambda: _open_file(path),
        poolclass=QueuePool,
        pool_size=_THREADS,
        hide_parameters=True,
    )

    # The driver would begin late and deferred: two writers could then lock each other out half way.
    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("crmgate_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _open_file(path: Path) -> Any:
    import sqlite3

    # Never opened and closed beside SQLite: closing a file gives up every lock that this process has on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
    for pragma in ("secure_delete = ON", "journal_mode = DELETE", "synchronous = EXTRA", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def postgres_engine(dsn: str) -> sa.Engine:
    """An engine over a connection string as libpq reads it."""
    return sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(dsn, connect_timeout=5),
        poolclass=QueuePool,
        pool_size=_THREADS,
        pool_pre_ping=True,
        hide_parameters=True,
    )


class PersonCalls:
    """Runs pieces of work over an engine. tables: made at the first call; queue and timeout_s: see PersonTables."""

    def __init__(self, engine: sa.Engine, tables: sa.MetaData, queue: Path | None, timeout_s: float) -> None:
        self._engine = engine
        self._tables = tables
        self._queue = queue
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="persons")
        self._made = False

    def close(self) -> None:
        """Let go of connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    def alone(self, connection: sa.Connection, what: str) -> None:
        """Nobody else begins an epoch of this tenant, or makes the tables, meanwhile (SQLite: nobody writes at all)."""
        if self._engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(what, 0))))

    def insert(self, table: sa.Table) -> Any:
        """An insert that leaves what is there as it is."""
        make = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        return make(table).on_conflict_do_nothing()

    def _work(self, work: Callable[[sa.Connection], _T], reads: bool) -> _T:
        if not self._made:
            with self._queued(reads=False), self._engine.begin() as connection:
                self.alone(connection, "tables")
                self._tables.create_all(connection)
            self._made = True
        with (
            self._queued(reads),
            self._engine.connect().execution_options(**(_READS if reads else {})) as connection,
            connection.begin(),
        ):
            return work(connection)

    @contextlib.contextmanager
    def _queued(self, reads: bool) -> Iterator[None]:
        if self._queue is None:
            yield
            return
        descriptor = os.open(self._queue, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if reads else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    async def run(self, work: Callable[[sa.Connection], _T], *, reads: bool = False) -> _T:
        """Run a piece of work in a thread; whatever goes wrong becomes KeysUnavailable without foreign text."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, self._work, work, reads)
        except (SQLAlchemyError, psycopg.Error, OSError, TimeoutError, RuntimeError) as fault:
            kind = type(fault).__name__
            raise KeysUnavailable("person-store", f"the store of person keys does not answer ({kind})") from None
