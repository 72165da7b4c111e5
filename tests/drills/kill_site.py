"""What the kill drill kills: a small CRM, an embedded PostgreSQL, `crmgate serve`; each started again after its end."""

import asyncio
import contextlib
import itertools
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyotp

from gateway.access.users import Profile
from gateway.accounts import open_accounts
from gateway.database import EmbeddedPostgres
from gateway.demo import children
from gateway.demo.children import Child
from gateway.first_steps import ensure_secrets
from gateway.opening import embedded_folder, open_database
from gateway.settings import Settings
from gateway.settings_file import read_settings

TENANT = "main"
HERE = Path(__file__).parent
WAIT_S = 240.0
PROGRAM: tuple[str | Path, ...] = ("-m", "gateway.cli")


class DrillFault(Exception):  # noqa: N818 - names what is at fault
    """The drill cannot be run or goes no further."""

    permanent = True


@dataclass(slots=True)
class Site:
    """A running installation. logins: role → password and TOTP secret."""

    settings: Settings
    dsn: str
    port: int
    logins: dict[str, tuple[str, str]]
    node: Child
    _start: Callable[[], Child] = field(repr=False)

    def kill_node(self) -> None:
        """SIGKILL of every process of the gateway, then a new one."""
        os.killpg(self.node.process.pid, signal.SIGKILL)
        self.node.process.wait()
        self.node = self._start()

    def kill_database(self) -> None:
        """SIGKILL of the postmaster and all its backends; the gateway has to start the server again."""
        server = EmbeddedPostgres(embedded_folder(self.settings))
        pids = processes_of(server)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def await_that(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait until it holds. Raises: DrillFault with `otherwise`."""
    until = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > until:
            raise DrillFault(otherwise)
        time.sleep(0.02)


def processes_of(server: EmbeddedPostgres) -> list[int]:
    """The postmaster, first, and its backends."""
    postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
    found = [postmaster]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _stat(int(entry.name))[1:2] == [str(postmaster)]:
            found.append(int(entry.name))
    return found


def _stat(pid: int) -> list[str]:
    """State, parent and what follows of /proc/PID/stat; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


@contextlib.contextmanager
def site(program: Sequence[str | Path] = PROGRAM) -> Iterator[Site]:
    """An installation in a folder of its own; program: what python runs as `crmgate`."""
    folder = Path(tempfile.mkdtemp(prefix="crmgate-kill-"))
    folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
    port, console_port, upstream_port = (children.free_port() for _ in range(3))
    file = folder / "crmgate.toml"
    file.write_text(f"""
        state = "state"
        [gateway]
        listen = "127.0.0.1:{port}"
        tls = false
        [network]
        trusted_proxies = ["127.0.0.1/32"]
        [console]
        listen = "127.0.0.1:{console_port}"
        public_url = "http://console.localhost:{console_port}"
        tls = false
        [audit]
        checkpoint_seconds = 1
        [tenant.{TENANT}]
        upstream = "http://127.0.0.1:{upstream_port}"
        public_url = "http://crm.localhost:{port}"
        profile = "{HERE / "kill.yaml"}"
        policy = "{HERE.parent / "bench" / "bench.csv"}"
    """)
    settings = read_settings(file)
    ensure_secrets(settings)
    starts = itertools.count(1)

    def start() -> Child:
        command: list[str | Path] = [sys.executable, *program, "serve", "--config", file]
        child = children.start("crmgate", command, folder / f"crmgate-{next(starts)}.log", folder)
        children.wait_for_port(child, port, WAIT_S)
        return child

    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        command: list[str | Path] = [sys.executable, "-m", "tests.drills.kill_upstream", str(upstream_port)]
        upstream = children.start("upstream", command, folder / "up.log", Path.cwd())
        stack.callback(upstream.stop)
        children.wait_for_port(upstream, upstream_port)
        database = open_database(settings)
        stack.callback(database.close)
        logins = asyncio.run(_accounts(settings, database.dsn))
        made = Site(settings, database.dsn, port, logins, start(), start)
        stack.callback(lambda: made.node.stop())
        yield made


async def _accounts(settings: Settings, dsn: str) -> dict[str, tuple[str, str]]:
    made = {}
    async with open_accounts(settings, TENANT, dsn) as accounts:
        for role in ("writer", "reader"):
            password, secret = secrets.token_urlsafe(24), pyotp.random_base32(32)
            user = await accounts.users.create(TENANT, role, Profile(role, (role,)))
            await accounts.users.provision(user, password, secret)
            made[role] = (password, secret)
    return made
