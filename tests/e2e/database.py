"""The gateway's own database, as its role and as the server's administrator."""

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from gateway.database import DATABASE, EmbeddedPostgres
from gateway.opening import embedded_folder
from gateway.settings import Settings


def sql(settings: Settings, statement: str, *values: object) -> list[Any]:
    """Run one statement as the gateway's role, over the rows of all tenants."""
    dsn = make_conninfo(EmbeddedPostgres(embedded_folder(settings)).dsn, options="-c crmgate.tenant=*")
    return _run(dsn, statement, values)


def as_superuser(settings: Settings, *statements: tuple[str, tuple[object, ...]]) -> list[Any]:
    """Run statements in one transaction with all rights and no trigger; what the last one answers."""
    dsn = make_conninfo(EmbeddedPostgres(embedded_folder(settings)).admin_dsn, dbname=DATABASE)
    return _run(dsn, "SET session_replication_role = replica", (), *statements)


def _run(dsn: str, first: str, values: tuple[object, ...], *more: tuple[str, tuple[object, ...]]) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(first, values)  # type: ignore[call-overload]
        for statement, given in more:
            cursor = connection.execute(statement, given)  # type: ignore[call-overload]
        return list(cursor.fetchall()) if cursor.description else []
