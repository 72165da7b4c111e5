"""A database of IT's own as deploy/postgresql/README.md says: one account owns the tables, another serves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from audit.entry import AuditEntry
from audit.log import AuditLog
from gateway.database import EmbeddedPostgres, open_pool
from gateway.durable import Durable
from gateway.job import Job, Slice, State
from gateway.opening import open_database
from gateway.settings_file import build_settings
from gateway.store import RecordStore

GUIDE = Path(__file__).resolve().parents[2] / "deploy" / "postgresql" / "README.md"
NOW = datetime(2026, 11, 27, tzinfo=UTC)


@dataclass(frozen=True)
class Two:
    """Connection strings of both accounts."""

    owner: str
    serve: str


@pytest.fixture(scope="module")
def two(postgres: EmbeddedPostgres) -> Iterator[Two]:
    """The statements of the guide, in a database and with accounts named so that nothing else has them."""
    first = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0]
    text = re.sub(r"--.*", "", first).replace("crmgate_", "two_").replace("DATABASE crmgate", "DATABASE two_accounts")
    as_admin, as_owner = text.split("\\c crmgate two_owner\n")
    owner = make_conninfo(postgres.admin_dsn, dbname="two_accounts", user="two_owner")
    for dsn, script in ((postgres.admin_dsn, as_admin), (owner, as_owner)):
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement.encode())
    yield Two(owner, make_conninfo(owner, user="two_serve"))
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE two_accounts WITH (FORCE)")
        connection.execute("DROP ROLE two_serve, two_owner")


@pytest.fixture(scope="module")
def served(two: Two, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The serving account's connection string, after crmgate has opened the database as the settings say."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "serve.dsn").write_text(two.serve)
    (folder / "owner.dsn").write_text(two.owner)
    raw = {
        "database": {"dsn_file": "serve.dsn", "owner_dsn_file": "owner.dsn"},
        "tenant": {"main": {"upstream": "http://127.0.0.1:1", "public_url": "https://crm.example"}},
    }
    database = open_database(build_settings(raw, folder / "crmgate.toml"))
    assert database.dsn == two.serve
    open_database(build_settings(raw, folder / "crmgate.toml"))  # and again, with nothing to upgrade
    return database.dsn


def test_the_serving_account_owns_no_table_with_a_tenant_and_is_bound(served: str) -> None:
    with psycopg.connect(served) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert owners == [("two_owner",)]
        rights = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert rights == (False, False, False)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE app_user DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE app_user NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY crmgate_tenant ON app_user",
        "CREATE POLICY open ON app_user USING (true)",
        "ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_append_only",
        "DROP TRIGGER policy_bundle_row ON policy_bundle",
        "TRUNCATE app_user CASCADE",
        "DROP TABLE app_user CASCADE",
        "SET ROLE two_owner",
        "SET session_replication_role = replica",
        "ALTER ROLE two_serve BYPASSRLS",
    ],
)
def test_the_serving_account_cannot_take_the_wall_down(served: str, statement: str) -> None:
    with psycopg.connect(served) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


async def test_records_and_the_trail_work(served: str) -> None:
    pool = await open_pool(served, max_size=2)
    log = AuditLog(served)
    await log.start()
    try:
        store = RecordStore(pool)
        await store.upsert("main", [("contact", "1")], "u1", NOW)
        assert await store.select("main", [("contact", "1")]) == {("contact", "1"): ("u1", NOW)}
        assert await store.select("other", [("contact", "1")]) == {}
        entry = AuditEntry(
            actor="u1", at=NOW, entity="contact", exchange="x", fields={}, id="e1", kind="decision",
            operation="contact.read", reason="allowed", record="1", status=200, tenant="main",
        )  # fmt: skip
        assert await log.append(entry) == 0
    finally:
        await log.close()
        await pool.close()


async def test_durable_work_makes_its_own_schema(served: str) -> None:
    async def slice_(job: Job) -> Slice:
        return Slice(1, 1, 1, finished=True)

    pool = await open_pool(served, max_size=4)
    durable = Durable(served, pool, poll_s=0.05)
    durable.register("once", slice_)
    try:
        await durable.start()
        await durable.begin("j1", "once", "main", {})
        assert (await durable.wait("j1", every_s=0.05)).state is State.DONE
    finally:
        await durable.close()
        await pool.close()
