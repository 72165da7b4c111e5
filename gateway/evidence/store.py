"""Every question that the probes ask a database; all of them only read.

MariaDB and MySQL are asked through the command-line client of the server, with a read-only account in a defaults file,
so that no password shows in a process list; it needs PROCESS, and any right on the schema of the CRM (REFERENCES).
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

QUERY_S = 20.0
CONNECT_S = 5

Row = Mapping[str, str]
Ask = Callable[[str], Sequence[Row]]

VERSION = "SELECT VERSION() AS version"
TABLES = (
    "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, ENGINE AS engine FROM information_schema.TABLES"
    " WHERE TABLE_TYPE = 'BASE TABLE'"
)
VARIABLES = "SHOW GLOBAL VARIABLES"
MARIADB_SPACES = (
    "SELECT NAME AS name, ENCRYPTION_SCHEME AS scheme, MIN_KEY_VERSION AS oldest, ROTATING_OR_FLUSHING AS busy"
    " FROM information_schema.INNODB_TABLESPACES_ENCRYPTION"
)
MARIADB_PLUGINS = (
    "SELECT PLUGIN_NAME AS name FROM information_schema.PLUGINS"
    " WHERE PLUGIN_TYPE = 'ENCRYPTION' AND PLUGIN_STATUS = 'ACTIVE'"
)
MYSQL_SPACES = "SELECT NAME AS name, ENCRYPTION AS encryption FROM information_schema.INNODB_TABLESPACES"


class ServerSilent(Exception):  # noqa: N818 - names what is wrong
    """A database server, or its client, gave no answer; `problem` is a sentence for the report, without names."""

    permanent = False

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class MysqlClient:
    """Asks through `mariadb` or `mysql`. defaults: a my.cnf with a [client] section, readable by this account only."""

    defaults: Path
    timeout_s: float = QUERY_S

    def __call__(self, statement: str) -> Sequence[Row]:
        """Rows by column name; raises ServerSilent."""
        program = shutil.which("mariadb") or shutil.which("mysql")
        if program is None:
            raise ServerSilent("no client program (mariadb or mysql) on this machine")
        command = [program, f"--defaults-file={self.defaults}", "--batch", "--raw", "--execute", statement]
        try:
            done = subprocess.run(command, capture_output=True, timeout=self.timeout_s, check=False)  # noqa: S603 - our own words
        except subprocess.TimeoutExpired:
            raise ServerSilent("no answer in time") from None
        except OSError:
            raise ServerSilent("the client program cannot be run") from None
        if done.returncode != 0:
            # "ERROR 1045 (28000): Access denied for user …": the number says it without the account.
            raise ServerSilent(f"error {[*done.stderr.decode('utf-8', 'replace').split(), '', '?'][1]}")
        return rows_of(done.stdout.decode("utf-8", "replace"))


def rows_of(text: str) -> list[Row]:
    """Rows of the client's batch output; an empty answer has none."""
    lines = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]] if lines else []


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """Where a PostgreSQL keeps its files. pid: of the process that serves us; folders: data, then tablespaces."""

    pid: int
    folders: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class PostgresLeg:
    """How a connection to a PostgreSQL was made. protocol, cipher: "" without TLS; host: "/…" for a socket."""

    protocol: str
    cipher: str
    mode: str
    host: str


@contextmanager
def postgres_place(dsn: str) -> Iterator[PostgresPlace]:
    """Ask a server where its files are; its process lives until the caller is done. Raises ServerSilent."""
    # The process that serves us ends with the connection, and its number may go to another: whoever looks at it
    # in /proc has to look while we are still connected.
    with ExitStack() as open_until_done:
        try:
            connection = psycopg.connect(dsn, connect_timeout=CONNECT_S, autocommit=True)
            open_until_done.callback(connection.close)
            row = connection.execute("SELECT pg_backend_pid(), current_setting('data_directory')").fetchone()
            spaces = connection.execute("SELECT pg_tablespace_location(oid) FROM pg_tablespace").fetchall()
            version = connection.info.parameter_status("server_version") or ""
        except psycopg.errors.InsufficientPrivilege:
            raise ServerSilent("this account may not read data_directory (grant pg_read_all_settings)") from None
        except (psycopg.Error, OSError):
            raise ServerSilent("the server does not answer") from None
        if row is None:
            raise ServerSilent("an answer of another shape")
        yield PostgresPlace(int(row[0]), (str(row[1]), *(str(one[0]) for one in spaces if one[0])), version)


def postgres_leg(dsn: str) -> PostgresLeg:
    """Ask a server how this very connection is protected; raises ServerSilent."""
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_S, autocommit=True) as connection:
            row = connection.execute(
                "SELECT version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"
            ).fetchone()
            info = connection.info
            mode = info.get_parameters().get("sslmode", "prefer")
            host = info.host if info.host.startswith("/") else info.hostaddr or info.host
    except (psycopg.Error, OSError):
        raise ServerSilent("the server does not answer") from None
    protocol, cipher = (str(row[0]), str(row[1])) if row is not None else ("", "")
    return PostgresLeg(protocol, cipher, mode, host)
