"""DuckDB with the rows of one tenant, and closed off: no file but the named ones, no setting, no extension."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from audit.event_row import EVENT, SIGHT
from audit.sql.narrowing import MOMENTS, NUMBERS
from audit.sql.statement import SCHEMA

# Segments do not keep what can be computed (RFC 6962, section 2.1).
_LEAF = "unhex(sha256('\\x00'::BLOB || body)) AS leaf"
_SCHEMAS: Mapping[str, pa.Schema] = {"event": EVENT, "sight": SIGHT}


@dataclass(frozen=True, slots=True)
class Room:
    """What a statement may use: memory in megabytes, threads."""

    memory_mb: int = 512
    threads: int = 2


class Engine:
    """One database in memory for one statement. Nothing spills to disk: there is no temporary folder."""

    def __init__(self, room: Room) -> None:
        self._db = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{room.memory_mb}MB",
                "python_enable_replacements": "false",
                "temp_directory": "",
                "threads": room.threads,
            },
        )
        self._db.execute("SET TimeZone = 'UTC'")
        self._db.execute("SET enable_progress_bar = true")
        self._db.execute("SET enable_progress_bar_print = false")
        self._db.execute(f"CREATE SCHEMA {SCHEMA}")
        for name, schema in _SCHEMAS.items():
            self._db.register("shape", schema.empty_table())
            self._db.execute(f"CREATE TABLE {SCHEMA}.hot_{name} AS SELECT * FROM shape")  # noqa: S608 - our own names
            self._db.unregister("shape")

    def add(self, rows: Mapping[str, pa.Table]) -> None:
        """Take in rows of the database. Raises: duckdb.Error."""
        for name, table in rows.items():
            self._db.register("batch", table)
            self._db.execute(f"INSERT INTO {SCHEMA}.hot_{name} SELECT * FROM batch")  # noqa: S608
            self._db.unregister("batch")

    def close_off(self, files: Mapping[str, Sequence[Path]]) -> None:
        """Make `event` and `sight` of hot rows and files, and lock everything else away. Raises: duckdb.Error."""
        allowed = [str(file) for group in files.values() for file in group]
        self._db.execute(f"SET allowed_paths = [{', '.join(map(_quoted, allowed))}]")
        for name, schema in _SCHEMAS.items():
            columns = ", ".join(f'"{field}"' for field in schema.names)
            view = f"SELECT {columns} FROM {SCHEMA}.hot_{name}"  # noqa: S608 - our own names
            cold = ", ".join(_quoted(str(file)) for file in files.get(name, ()))
            if cold:
                stored = columns.replace('"leaf"', _LEAF)
                view += f" UNION ALL SELECT {stored} FROM read_parquet([{cold}], hive_partitioning = false)"  # noqa: S608
            self._db.execute(f"CREATE VIEW {SCHEMA}.{name} AS {view}")
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

    def constant(self, expression: str, column: str) -> Any:
        """The value of a constant of a checked statement as it would be compared with a column; None for none."""
        kind = "TIMESTAMPTZ" if column in MOMENTS else "BIGINT" if column in NUMBERS else "VARCHAR"
        told = f"epoch_us(CAST(({expression}) AS {kind}))" if column in MOMENTS else f"CAST(({expression}) AS {kind})"
        try:
            value = self._db.execute(f"SELECT {told}").fetchall()[0][0]
        except duckdb.Error:
            return None
        if value is None or column not in MOMENTS:
            return value
        try:
            return datetime.fromtimestamp(value // 1_000_000, UTC).replace(microsecond=value % 1_000_000)
        except (OverflowError, ValueError, OSError):
            return None

    def run(self, statement: str) -> pa.Table:
        """The result of a checked statement. Raises: duckdb.Error."""
        return self._db.sql(statement).to_arrow_table()

    def progress(self) -> float | None:
        """Part of the statement that is done, 0 to 1; None while DuckDB does not know."""
        part = self._db.query_progress()
        return part / 100 if part >= 0 else None

    def interrupt(self) -> None:
        """Stop the statement that runs; may be called from any thread."""
        self._db.interrupt()

    def close(self) -> None:
        """Give everything back."""
        self._db.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
