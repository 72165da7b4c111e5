"""The embedded server and the migrations, on the real PostgreSQL of the wheel."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from gateway.database import DatabaseUnavailable, EmbeddedPostgres, Pool, migrate, open_pool


def test_dsn_is_postgresql_18_without_special_rights(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('listen_addresses'), rolsuper"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (18, "", False)


def test_migrating_twice_changes_nothing(dsn: str) -> None:
    with ThreadPoolExecutor(3) as workers:
        revisions = list(workers.map(migrate, [dsn] * 3))
    assert len(set(revisions)) == 1
    assert revisions[0].startswith("0")


def test_migration_from_an_empty_database(postgres: EmbeddedPostgres) -> None:
    assert migrate(postgres.dsn) == migrate(postgres.dsn)


async def test_pool_answers(pool: Pool) -> None:
    async with pool.connection() as connection:
        row = await (await connection.execute("SELECT 1")).fetchone()
    assert row == (1,)


async def test_unreachable_database_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable) as told:
        await open_pool(f"host={tmp_path} user=x dbname=x", timeout_s=0.3)
    assert not told.value.permanent
    with pytest.raises(DatabaseUnavailable):
        migrate(f"host={tmp_path} user=x dbname=x")


def test_second_user_of_the_folder_keeps_the_server_alive(postgres: EmbeddedPostgres) -> None:
    script = (
        "import sys; from pathlib import Path; from gateway.database import EmbeddedPostgres\n"
        "with EmbeddedPostgres(Path(sys.argv[1])) as server: print(server.dsn)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(postgres.folder)], check=True, capture_output=True, text=True, timeout=60
    )
    assert told.stdout.strip() == postgres.dsn
    with psycopg.connect(postgres.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_folder_with_a_long_name_gets_a_short_socket_folder(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("x" * 90))
    assert str(server.folder) not in server.dsn
