"""Runs the Alembic revisions beside it against one database, under an advisory lock.

Revisions are plain SQL in `versions/`, one file per package in one chain; every one runs in a transaction of its own.
"""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from gateway.migrations import wall

# Any number will do as long as nothing else in this database takes the same advisory lock: "crmgate" in hexadecimal.
_LOCK = 0x63726D67617465


def upgrade(dsn: str) -> str:
    """Apply what is missing and return the revision the schema is at; raises psycopg.OperationalError."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            connection.commit()
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            # What a revision changes in rows is for all tenants.
            connection.execute(text("SET crmgate.tenant = '*'"))
            connection.commit()
            command.upgrade(config, "head")
            wall.put_up(connection)
            connection.commit()
            return MigrationContext.configure(connection).get_current_revision() or ""
    except OperationalError as fault:
        if isinstance(fault.orig, psycopg.OperationalError):
            raise fault.orig from fault
        raise
    finally:
        engine.dispose()
