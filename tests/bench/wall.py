"""`make bench-wall`: what row-level security costs. Hot statements in two databases, turn by turn; the ratio counts.

One database is as crmgate makes it; the other has the same rows, no policies, and transactions that name no tenant.
"""

import argparse
import asyncio
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool
from rich.console import Console
from rich.table import Table

from gateway.access.session_store import SessionStore
from gateway.database import EmbeddedPostgres, Pool, migrate, open_pool
from gateway.store import RecordStore
from kms.connections import Connection
from kms.store import Store

ROWS = 20_000  # of each table and tenant
TENANTS = ("a", "b")
GOAL = 1.5
FILL = (
    "INSERT INTO vault (tenant, surrogate, kind, deterministic, equal_term, equal_key, normaliser, seal_key, blob)"
    " SELECT {t}, 's' || i, 'phone', true, decode(md5(i::text), 'hex'), '\\x01020304', 1, '\\x01020304', '\\x00'"
    " FROM generate_series(1, {n}) i",
    "INSERT INTO vault_origin (tenant, surrogate, entity, field, record)"
    " SELECT {t}, 's' || i, 'contact', 'phone', i::text FROM generate_series(1, {n}) i",
    "INSERT INTO vault_index (tenant, surrogate, kind, purpose, key, version, terms)"
    " SELECT {t}, 's' || i, 'phone', 'prefix', '\\x01020304', '1', ARRAY[i, i + 1000000]::bigint[]"
    " FROM generate_series(1, {n}) i",
    "INSERT INTO crm_record SELECT {t}, 'contact', i::text, 'u', now() FROM generate_series(1, {n}) i",
    "INSERT INTO app_user (tenant, id, login, login_key, created_at)"
    " SELECT {t}, {t} || i, 'l' || i, 'l' || i, now() FROM generate_series(1, {n}) i",
    "INSERT INTO app_session (tenant, id, token_hash, user_id, audience, client, opened_at, seen_at, expires_at,"
    " proved_at) SELECT {t}, {t} || i, decode(md5({t} || i), 'hex'), {t} || i, 'crm', 'c', now(), now(),"
    " now() + interval '1h', now() FROM generate_series(1, {n}) i",
)
Asked = Callable[[Pool], Awaitable[object]]


class BarePool(Pool):
    """A pool as it was before: the transaction begins with its first statement and is nobody's."""

    @asynccontextmanager
    async def of(
        self, tenant: str, *, timeout_s: float | None = None, pipelined: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection."""
        async with AsyncConnectionPool.connection(self, timeout=timeout_s) as connection:
            if not pipelined:
                yield connection
                return
            async with connection.pipeline():
                yield connection


async def _search(pool: Pool) -> list[object]:
    async with pool.of("a") as connection:
        cursor = await connection.execute(
            "SELECT surrogate FROM vault_index WHERE tenant = %s AND kind = 'phone' AND purpose = 'prefix'"
            " AND terms @> %s::bigint[]",
            ("a", [77]),
        )
        return list(await cursor.fetchall())


FIFTY = [f"s{number}" for number in range(1, 51)]
HOT: dict[str, Asked] = {
    "vault: 50 entries": lambda pool: Store(pool).entries("a", FIFTY),
    "vault: 1 entry": lambda pool: Store(pool).entries("a", FIFTY[:1]),
    "a session by its token": lambda pool: SessionStore(pool).by_token(
        hashlib.md5(b"a7", usedforsecurity=False).digest(), datetime.now(UTC)
    ),
    "owners of 50 records": lambda pool: RecordStore(pool).select("a", [("contact", one[1:]) for one in FIFTY]),
    "blind index": _search,
}


def _fill(dsn: str) -> None:
    with psycopg.connect(dsn, options="-c crmgate.tenant=*") as connection:
        for tenant in TENANTS:
            for statement in FILL:
                query = sql.SQL(statement).format(t=sql.Literal(tenant), n=sql.Literal(ROWS))  # type: ignore[arg-type]
                connection.execute(query)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _take_down(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        for (name,) in connection.execute("SELECT DISTINCT polrelid::regclass::text FROM pg_policy").fetchall():
            for change in ("NO FORCE", "DISABLE"):
                connection.execute(f"ALTER TABLE {name} {change} ROW LEVEL SECURITY".encode())


async def _turns(walled: Pool, bare: Pool, asked: Asked, turns: int) -> tuple[float, float, float]:
    """Microseconds a call without the wall and with it, and their ratio.

    Call by call in turn, and the fifth part that was quickest: what else the machine does then falls out of both.
    """
    spent: dict[Pool, list[float]] = {bare: [], walled: []}
    for pool in (bare, walled):
        for _ in range(10):  # until the statements are prepared
            assert await asked(pool)
    for _ in range(turns):
        for pool, times in spent.items():
            started = time.perf_counter()
            await asked(pool)
            times.append((time.perf_counter() - started) * 1e6)
    without, with_it = (statistics.median(sorted(spent[pool])[: turns // 5]) for pool in (bare, walled))
    return without, with_it, with_it / without


async def _measure(dsn: str, plain: str, turns: int) -> dict[str, tuple[float, float, float]]:
    walled, bare = await open_pool(dsn, max_size=1), await open_pool(plain, max_size=1, kind=BarePool)
    try:
        return {title: await _turns(walled, bare, asked, turns) for title, asked in HOT.items()}
    finally:
        await walled.close()
        await bare.close()


def main() -> int:
    """Print the figures; exit code 1 when a statement costs more than the goal."""
    parser = argparse.ArgumentParser(prog="make bench-wall", description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory(prefix="crmgate-bench-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "pg", {"fsync": "off", "synchronous_commit": "off"}) as server:
            plain = make_conninfo(server.dsn, dbname="plain")
            with psycopg.connect(server.admin_dsn, autocommit=True) as connection:
                connection.execute("CREATE DATABASE plain OWNER crmgate")
            for dsn in (server.dsn, plain):
                migrate(dsn)
                _fill(dsn)
            _take_down(plain)
            found = asyncio.run(_measure(server.dsn, plain, turns))
    table = Table("statement", "without, µs", "with, µs", "ratio", title="Row-level security")
    for title, (without, with_it, ratio) in found.items():
        table.add_row(title, f"{without:.0f}", f"{with_it:.0f}", f"{ratio:.2f}")
    console = Console(highlight=False)
    console.print(table)
    worst = max(ratio for _, _, ratio in found.values())
    console.print(f"the most expensive: {worst:.2f} (goal: {GOAL} at most)")
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
