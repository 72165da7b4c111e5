"""Dates kept before generations and value keys came: they are the accepted ones, and a way back loses none of those."""

import importlib.util
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from gateway import migrations
from gateway.migrations.runner import upgrade
from tests.conftest import unwalled

FOLDER = Path(next(iter(migrations.__path__)))


def back(dsn: str) -> None:
    """The schema as it was before this migration."""
    (file,) = (FOLDER / "versions").glob("*_beside.py")
    spec = importlib.util.spec_from_file_location("beside_migration", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(unwalled(dsn)), poolclass=NullPool)
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.downgrade(config, module.down_revision)
        connection.commit()
    engine.dispose()


def test_what_was_kept_before_is_accepted_and_what_waited_waits_still(dsn: str) -> None:
    back(dsn)
    with psycopg.connect(unwalled(dsn)) as connection:
        for record, cell in (("1", ""), ("", "x1")):
            connection.execute(
                "INSERT INTO vault_beside (tenant, entity, field, record, cell, seal_key, blob)"
                " VALUES ('t', 'contact', 'birthday', %s, %s, 'k', 'sealed')",
                (record, cell),
            )
    upgrade(dsn)
    with psycopg.connect(unwalled(dsn)) as connection:
        rows = connection.execute(
            "SELECT record, cell, generation, accepted_at = written_at, holder FROM vault_beside ORDER BY record"
        ).fetchall()
        assert rows == [("", "x1", 0, None, None), ("1", "", 0, True, None)]
        connection.execute(
            "INSERT INTO vault_beside (tenant, entity, field, record, generation, seal_key, blob, accepted_at) VALUES"
            " ('t', 'contact', 'birthday', '1', 1, 'k', 'newer', now() + interval '1 hour'),"
            " ('t', 'contact', 'birthday', '1', 2, 'k', 'offered', NULL)"
        )
    back(dsn)
    with psycopg.connect(unwalled(dsn)) as connection:
        rows = connection.execute("SELECT record, cell, blob FROM vault_beside ORDER BY record").fetchall()
    assert [(record, cell, bytes(blob)) for record, cell, blob in rows] == [("", "x1", b"sealed"), ("1", "", b"newer")]


def test_there_is_no_way_back_once_values_are_held(dsn: str) -> None:
    with psycopg.connect(unwalled(dsn)) as connection:
        connection.execute(
            "INSERT INTO vault_holder (tenant, id, entity, record) VALUES ('t', '0123456789abcdef', 'contact', '1')"
        )
        connection.execute(
            "INSERT INTO vault_beside (tenant, entity, field, record, seal_key, blob, holder, wrapped)"
            " VALUES ('t', 'contact', 'birthday', '1', 'k', 'sealed', '0123456789abcdef', 'wrapped')"
        )
    with pytest.raises(Exception, match="held by person keys"):
        back(dsn)
