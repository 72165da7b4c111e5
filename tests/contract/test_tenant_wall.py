"""Row-level security between tenants: every table of the catalogue, and every way a connection may go wrong.

Rows of two tenants are made from the catalogue alone, so that a table nobody has thought of is tried as well.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from audit.store import EVERY as AUDIT_EVERY
from gateway.database import EmbeddedPostgres, Pool, migrate, open_pool
from gateway.migrations.wall import READ_BY_ALL
from kms.connections import EVERY, NOBODY, Connections, StoreUnavailable

A, B = "north", "south"
# Columns `tenant` that mean nothing of the kind: none. A table that stands here is one the wall does not cover.
NEVER_CHANGED = {"audit_entry", "audit_checkpoint", "policy_bundle"}
NOT_COVERED: dict[str, str] = {}


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def tables_with_tenant(dsn: str) -> list[str]:
    """Every table of every schema of crmgate's own that has a column `tenant`."""
    found = rows(
        dsn,
        """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
           WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'
           ORDER BY 1""",
    )
    return [str(name) for (name,) in found]


@dataclass(frozen=True)
class Peopled:
    """A database in which two tenants have one row in every table."""

    dsn: str
    tables: tuple[str, ...]

    def as_tenant(self, tenant: str | None) -> psycopg.Connection[tuple[object, ...]]:
        connection = psycopg.connect(self.dsn)
        if tenant is not None:
            connection.execute(sql.SQL("SET LOCAL crmgate.tenant = {}").format(sql.Literal(tenant)))
        return connection


@pytest.fixture(scope="module")
def peopled(postgres: EmbeddedPostgres, postgres_dsn: str) -> Peopled:
    """Rows of both tenants everywhere, put there with all rights and no constraint that a catalogue cannot explain."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE crmgate_template OWNER crmgate").format(sql.Identifier(name))
        )
    owner = make_conninfo(postgres.dsn, dbname=name)
    tables = tables_with_tenant(owner)
    with psycopg.connect(make_conninfo(postgres_dsn, dbname=name)) as connection:
        connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
        for table in tables:
            for (check,) in connection.execute(
                "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'", [table]
            ).fetchall():
                connection.execute(
                    sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(table), sql.Identifier(check))
                )
            for tenant in (A, B):
                connection.execute(*made_row(connection, table, tenant))
    return Peopled(owner, tuple(tables))


def made_row(
    connection: psycopg.Connection[tuple[object, ...]], table: str, tenant: str
) -> tuple[sql.Composed, dict[str, object]]:
    """An INSERT of some row: what the columns need and no more."""
    columns = connection.execute(
        """SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
           WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
             AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''""",
        [table],
    ).fetchall()
    values = {str(name): made_value(str(kind), tenant) for name, kind in columns} | {"tenant": tenant}
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    return query, values


def made_value(kind: str, tenant: str) -> object:
    if kind.endswith("[]"):
        return []
    if kind.startswith(("timestamp", "date")):
        return "2026-01-01"
    if kind in ("smallint", "integer", "bigint", "double precision", "real") or kind.startswith("numeric"):
        return 1
    plain = {"text": f"{tenant}-1", "bytea": tenant[:4].encode(), "boolean": False, "interval": "1 hour"}
    return Jsonb({}) if kind == "jsonb" else plain[kind]


def test_every_table_with_a_tenant_stands_behind_the_wall(peopled: Peopled) -> None:
    found = rows(
        peopled.dsn,
        """SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
                  (SELECT array_agg(p.polcmd::text ORDER BY p.polcmd::text) FROM pg_policy p WHERE p.polrelid = c.oid)
           FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')""",
    )
    state = {str(name): (on, forced, commands) for name, on, forced, commands in found}
    for table in set(peopled.tables) - NOT_COVERED.keys():
        expected = ["a", "d", "r", "w"] if table in READ_BY_ALL else ["*"]
        assert state[table] == (True, True, expected), table
    assert len(peopled.tables) >= 40
    assert set(NOT_COVERED) <= set(peopled.tables)


def test_the_policies_compare_with_the_tenant_that_was_named_and_check_what_is_written(peopled: Peopled) -> None:
    found = rows(
        peopled.dsn,
        """SELECT polrelid::regclass::text, polcmd::text, pg_get_expr(polqual, polrelid),
                  pg_get_expr(polwithcheck, polrelid), polpermissive, polroles::text FROM pg_policy""",
    )
    own = (
        "(((tenant = current_setting('crmgate.tenant'::text, true)) AND"
        " (current_setting('crmgate.tenant'::text, true) <> ''::text)) OR"
        " (current_setting('crmgate.tenant'::text, true) = '*'::text))"
    )
    expected = {"*": (own, own), "r": ("true", None), "a": (None, own), "w": (own, own), "d": (own, None)}
    for table, command, using, check, permissive, roles in found:
        assert (using, check) == expected[str(command)], table
        assert (permissive, roles) == (True, "{0}")
        assert command == "*" or table in READ_BY_ALL


def test_what_one_tenant_does_not_see_is_there(peopled: Peopled) -> None:
    with peopled.as_tenant(EVERY) as connection:
        for table in peopled.tables:
            query = sql.SQL("SELECT tenant FROM {} ORDER BY tenant").format(sql.Identifier(table))
            assert [tenant for (tenant,) in connection.execute(query)] == [A, B], table


@pytest.mark.parametrize("named", [None, "", NOBODY, "nor", "north ", "NORTH", "north' OR '1'='1", "%"])
def test_who_names_no_tenant_of_ours_sees_and_changes_nothing(peopled: Peopled, named: str | None) -> None:
    for table in peopled.tables:
        with peopled.as_tenant(named) as connection:
            expected = 2 if table in READ_BY_ALL else 0
            assert counted(connection, table) == expected, table
            assert changed(connection, table) == (0, 0), table
            connection.rollback()


def counted(connection: psycopg.Connection[tuple[object, ...]], table: str, where: str = "true") -> object:
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(sql.Identifier(table), sql.SQL(where))
    found = connection.execute(query).fetchone()
    assert found is not None
    return found[0]


def changed(connection: psycopg.Connection[tuple[object, ...]], table: str, where: str = "true") -> tuple[int, int]:
    """Rows that an UPDATE and a DELETE reach. The append-only triggers are for the whole statement, not for rows."""
    numbers = []
    for statement in ("UPDATE {} SET tenant = tenant WHERE {}", "DELETE FROM {} WHERE {}"):
        try:
            with connection.transaction():
                query = sql.SQL(statement).format(sql.Identifier(table), sql.SQL(where))
                numbers.append(connection.execute(query).rowcount)
        except psycopg.errors.InsufficientPrivilege:
            assert table in ("audit_entry", "audit_checkpoint", "audit_hold")
            numbers.append(0)
    return numbers[0], numbers[1]


def test_a_tenant_sees_its_own_rows_and_none_of_another(peopled: Peopled) -> None:
    for table in peopled.tables:
        with peopled.as_tenant(A) as connection:
            assert counted(connection, table, f"tenant = '{A}'") == 1, table
            assert counted(connection, table, f"tenant = '{B}'") == (1 if table in READ_BY_ALL else 0), table
            assert changed(connection, table, f"tenant = '{B}'") == (0, 0), table
            connection.rollback()


def test_a_tenant_writes_no_row_for_another(peopled: Peopled) -> None:
    for table in peopled.tables:
        with peopled.as_tenant(A) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                connection.execute(*made_row(connection, table, B))
            connection.rollback()


def test_a_tenant_gives_no_row_to_another(peopled: Peopled) -> None:
    for table in set(peopled.tables) - NEVER_CHANGED:
        with peopled.as_tenant(A) as connection:
            # Row triggers come first: what a table of its own accord never changes is refused by those.
            refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)
            with pytest.raises(refused, match=r"row-level security|never changed"):
                connection.execute(sql.SQL("UPDATE {} SET tenant = {}").format(sql.Identifier(table), sql.Literal(B)))
            connection.rollback()


def test_a_join_that_forgot_the_tenant_stays_inside(peopled: Peopled) -> None:
    with peopled.as_tenant(A) as connection:
        found = connection.execute("SELECT DISTINCT u.tenant FROM app_user u, app_session s, vault v").fetchall()
    assert found == [(A,)]


def test_the_account_that_owns_the_tables_is_bound_and_a_superuser_is_not(peopled: Peopled, postgres_dsn: str) -> None:
    with peopled.as_tenant(None) as connection:
        owner = connection.execute(
            "SELECT tableowner = current_user FROM pg_tables WHERE tablename = 'app_user'"
        ).fetchone()
        assert owner == (True,)
        assert counted(connection, "app_user") == 0
        database = connection.info.dbname
    with psycopg.connect(make_conninfo(postgres_dsn, dbname=database)) as connection:
        assert counted(connection, "app_user") == 2


def test_a_table_made_later_gets_the_wall_with_the_next_upgrade(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE newcomer (tenant text PRIMARY KEY); INSERT INTO newcomer VALUES ('north')")
        assert counted(connection, "newcomer") == 1
    migrate(dsn)
    with psycopg.connect(dsn) as connection:
        assert counted(connection, "newcomer") == 0


def test_the_marker_is_one() -> None:
    assert EVERY == AUDIT_EVERY


# -- the pool: a tenant ends with its block, whatever ended it ------------------------------------------------------


@pytest.fixture
async def strict(dsn: str) -> AsyncIterator[Pool]:
    """The pool as crmgate opens it, of one connection, so that every block gets what the one before left."""
    pool = await open_pool(dsn, max_size=1)
    async with pool.of(EVERY) as connection:
        for tenant in (A, B):
            await connection.execute(
                "INSERT INTO crm_record (tenant, entity, record, owner, seen_at)"
                " VALUES (%s, 'contact', '1', 'u', now())",
                (tenant,),
            )
    yield pool
    await pool.close()


async def seen(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> set[object]:
    cursor = await connection.execute("SELECT tenant FROM crm_record")
    return {tenant for (tenant,) in await cursor.fetchall()}


async def well(pool: Pool, tenant: str, pipelined: bool) -> None:
    async with pool.of(tenant, pipelined=pipelined) as connection:
        assert await seen(connection) == {tenant}


async def failed(pool: Pool, tenant: str, pipelined: bool) -> None:
    async def fail() -> None:
        async with pool.of(tenant, pipelined=pipelined) as connection:
            assert await seen(connection) == {tenant}
            await (await connection.execute("SELECT 1 / 0")).fetchone()

    with pytest.raises(psycopg.errors.DivisionByZero):
        await fail()


async def broken_off(pool: Pool, tenant: str, pipelined: bool) -> None:
    async def leave() -> None:
        async with pool.of(tenant, pipelined=pipelined) as connection:
            assert await seen(connection) == {tenant}
            raise LookupError

    with pytest.raises(LookupError):
        await leave()


async def committed_inside(pool: Pool, tenant: str, pipelined: bool) -> None:
    async with pool.of(tenant, pipelined=pipelined) as connection:
        assert await seen(connection) == {tenant}
        await connection.commit()
        assert await seen(connection) == set()  # the name ended with its transaction


async def cancelled(pool: Pool, tenant: str, pipelined: bool) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with pool.of(tenant, pipelined=pipelined) as connection:
            assert await seen(connection) == {tenant}
            inside.set()
            await (await connection.execute("SELECT pg_sleep(600)")).fetchone()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def savepoint_lost(pool: Pool, tenant: str, pipelined: bool) -> None:
    async with pool.of(tenant, pipelined=pipelined) as connection:
        with contextlib.suppress(LookupError):
            async with connection.transaction():
                await connection.execute("SELECT set_config('crmgate.tenant', %s, true)", (B if tenant == A else A,))
                raise LookupError
        assert await seen(connection) == {tenant}


Step = Callable[[Pool, str, bool], object]
STEPS: list[Step] = [well, failed, broken_off, committed_inside, cancelled, savepoint_lost]
_MANY = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from([A, B]), st.booleans()), min_size=1, max_size=8)


@given(steps=_MANY)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_block_leaves_its_tenant_to_the_next(strict: Pool, steps: list[tuple[Step, str, bool]]) -> None:
    for step, tenant, pipelined in steps:
        await step(strict, tenant, pipelined)  # type: ignore[misc]
        async with strict.connection() as connection:  # the pool's own, which names nobody
            assert await seen(connection) == set()
        for other in (A, B):
            await well(strict, other, not pipelined)


async def test_blocks_of_two_tenants_at_once_do_not_mix(dsn: str, strict: Pool) -> None:
    pool = await open_pool(dsn, max_size=4)
    try:
        await asyncio.gather(*(well(pool, (A, B)[number % 2], number % 3 == 0) for number in range(200)))
    finally:
        await pool.close()


@pytest.mark.parametrize("pipelined", [False, True])
async def test_no_name_is_no_connection(strict: Pool, pipelined: bool) -> None:
    with pytest.raises(StoreUnavailable):
        async with Connections(strict).connection("", pipelined=pipelined):
            raise AssertionError("there is a connection for nobody in particular")
    await well(strict, A, pipelined)


async def test_a_name_is_a_name_and_no_sql(strict: Pool) -> None:
    for name in ("x'; SET LOCAL crmgate.tenant = '*", "\\", "x\\'", "*x", "é'"):
        async with strict.of(name) as connection:
            assert await seen(connection) == set()
            found = await (await connection.execute("SELECT current_setting('crmgate.tenant')")).fetchone()
            assert found == (name,)
