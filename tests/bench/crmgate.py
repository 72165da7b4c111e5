"""crmgate as a contender: `crmgate serve` as installed, everything on but a WAF, records created through itself.

The reader's session is opened by password and TOTP code as anybody's; the embedded PostgreSQL runs on the proxy's core
and is counted apart. With `profile` the same program runs under cProfile.
"""

import asyncio
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyotp
from rich import box
from rich.console import Console
from rich.table import Table

from audit.entry import AuditEntry
from audit.log import AuditLog
from gateway.access.users import Profile
from gateway.accounts import open_accounts
from gateway.first_steps import ensure_secrets
from gateway.opening import open_database
from gateway.settings_file import read_settings
from tests.bench.people import record
from tests.bench.process import START_S, BenchFault, free_port, start, stop, tree

TENANT = "main"
HERE = Path(__file__).parent
# A masked value in JSON goes out valid-shaped and carries its surrogate, so that a program may post it back.
MASKED = {
    "phone": re.compile(r"\+8889\d{8,12}"),
    "email": re.compile(r"p\.\w+@example\.org\.masked\.invalid"),
    "id_card": re.compile(r"110000\d{11}[\dX]"),
}
AUDIT_EVENTS = 20_000
AUDIT_CALLERS = 256
PROFILE_ROWS = 35
PACKAGES = ("gateway", "policies", "kms", "audit", "privacy")


class Crmgate:
    """One installation in a temporary folder."""

    name = "crmgate"

    def __init__(self, *, profile: bool = False) -> None:
        self.port, self.console_port = free_port(), free_port()
        self.host = "crm.localhost"
        self.headers: Mapping[str, str] = {}
        self.warm_start_s: float | None = None
        self.audit_rate: float | None = None
        self._profile = profile
        self._process: subprocess.Popen[bytes] | None = None
        self._database: Any = None
        self._logins: dict[str, tuple[str, str]] = {}

    def start(self, folder: Path, upstream: int, core: int) -> None:
        """Set up, make the accounts, start once cold and once warm, sign the reader in."""
        self._folder, self._core, self._log = folder, core, folder / "log"
        self._profile_file = folder / "profile"
        folder.chmod(0o755)
        file = folder / "crmgate.toml"
        file.write_text(f"""
            state = "state"
            [gateway]
            listen = "127.0.0.1:{self.port}"
            tls = false
            [console]
            listen = "127.0.0.1:{self.console_port}"
            public_url = "http://console.localhost:{self.console_port}"
            tls = false
            [tenant.{TENANT}]
            upstream = "http://127.0.0.1:{upstream}"
            public_url = "http://{self.host}:{self.port}"
            profile = "{HERE / "bench.yaml"}"
            policy = "{HERE / "bench.csv"}"
            [access]
            idle_minutes = 600
        """)
        settings = read_settings(file)
        ensure_secrets(settings)
        # Started here and on the proxy's core, so that its processes inherit the core.
        others = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            self._database = open_database(settings)
        finally:
            os.sched_setaffinity(0, others)
        self._postmaster = int((settings.database_folder / "data" / "postmaster.pid").read_text().split()[0])
        asyncio.run(self._make_accounts(settings))
        self.audit_rate = asyncio.run(_audit_rate(self._database.dsn))
        self._serve()
        self._stop_serving()
        self.warm_start_s = self._serve()

    def url(self, path: str) -> str:
        """Where wrk goes; the Host header says which CRM is meant."""
        return f"http://127.0.0.1:{self.port}{path}"

    def parts(self) -> Mapping[str, Sequence[int]]:
        """The gateway, and the PostgreSQL that only it uses."""
        assert self._process is not None
        return {"proxy": tree(self._process.pid), "postgres": tree(self._postmaster)}

    def seed(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Create the records through the gateway, then sign the reader in for the measurements."""
        headers = self._sign_in("writer")
        for number, one in enumerate(records, 1):
            status, body = self._call("POST", "/records", json.dumps(one).encode(), headers)
            if status != 201:
                log = self._log.read_text(errors="replace")[-1500:]
                raise BenchFault(f"creating record {number} through crmgate: {status} {body[:500]!r}\n{log}")
        self.headers = self._sign_in("reader")

    def check(self, path: str, body: bytes) -> None:
        """Two of five values open and three masked in every record, the rest untouched. Raises: BenchFault."""
        content = json.loads(body)
        records = content if isinstance(content, list) else [content]
        for found in records:
            clear = record(found["id"])
            whole = all(found[name] == clear[name] for name in ("name", "address", "stage", "turnover"))
            masked = all(shape.fullmatch(found[name]) for name, shape in MASKED.items())
            if not (whole and masked):
                raise BenchFault(f"crmgate rendered {path} wrongly: {body[:600]!r}")

    def stop(self) -> None:
        """End gateway and database."""
        if self._process is not None:
            self._stop_serving()
        if self._database is not None:
            self._database.close()

    def profile_load(self, load: Callable[[], object]) -> None:
        """Run a load with the profile on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        load()
        self._process.send_signal(signal.SIGUSR2)
        end = time.monotonic() + START_S
        while not self._profile_file.exists() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)

    def print_profile(self, console: Console, title: str) -> None:
        """Where the CPU time goes: own time by module, own time by function, and time in and below our functions."""
        content = json.loads(self._profile_file.read_text())
        self._profile_file.unlink()
        samples = content["samples"]
        modules: Counter[str] = Counter()
        for name, count in content["own"].items():
            modules[_module(name)] += count
        own = Counter({_short(name): count for name, count in content["own"].items()})
        below = Counter({_short(name): count for name, count in content["below"].items() if _is_ours(name)})
        table = Table(title=f"{title}: {samples} samples", box=box.SIMPLE_HEAD, title_justify="left")
        for heading in ("module, own time", "function, own time", "function with all it calls"):
            table.add_column(heading, no_wrap=True, max_width=38)
            table.add_column("", justify="right", no_wrap=True, min_width=6)
        columns = [counter.most_common(PROFILE_ROWS) for counter in (modules, own, below)]
        for row in zip_longest(*columns, fillvalue=("", 0)):
            cells = [cell for name, count in row for cell in (name, f"{count / samples:.1%}" if name else "")]
            table.add_row(*cells)
        console.print(table)

    async def _make_accounts(self, settings: Any) -> None:
        async with open_accounts(settings, TENANT, self._database.dsn) as accounts:
            for role in ("writer", "reader"):
                password = secrets.token_urlsafe(24)
                user = await accounts.users.create(TENANT, role, Profile(role, (role,)))
                secret = pyotp.random_base32(32)
                await accounts.users.provision(user, password, secret)
                self._logins[role] = (password, secret)

    def _sign_in(self, role: str) -> Mapping[str, str]:
        password, secret = self._logins[role]
        code = pyotp.TOTP(secret).now()
        host = {"Host": f"{self.host}:{self.port}"}
        body = json.dumps({"login": role, "password": password, "code": code}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/.crmgate/api/sign-in", body, {**host, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        cookie = (answer.getheader("set-cookie") or "").split(";")[0]
        connection.close()
        if answer.status != 200 or not cookie.startswith("__Host-crmgate="):
            raise BenchFault(f"signing {role} in: {answer.status} {text[:300]!r}")
        return {**host, "Cookie": cookie}

    def _call(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, {**headers, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def _serve(self) -> float:
        """Start `crmgate serve`; seconds until the first answer."""
        command: list[str | Path] = [sys.executable]
        if self._profile:
            command += ["-m", "tests.bench.profiled", self._profile_file]
        else:
            command += ["-c", "from gateway.cli import main; main()"]
        command += ["serve", "--config", self._folder / "crmgate.toml"]
        began = time.monotonic()
        self._process = start(command, self._core, self._log, folder=Path.cwd())
        while time.monotonic() - began < START_S and self._process.poll() is None:
            try:
                status, _ = self._call("GET", "/record", b"", {"Host": f"{self.host}:{self.port}"})
            except OSError:
                time.sleep(0.02)
                continue
            if status in (302, 303, 401):
                return time.monotonic() - began
            raise BenchFault(f"crmgate answers {status} to a visitor")
        raise BenchFault(f"crmgate does not start:\n{self._log.read_text(errors='replace')[-4000:]}")

    def _stop_serving(self) -> None:
        assert self._process is not None
        stop(self._process, signal.SIGINT)


def _is_ours(name: str) -> bool:
    return "site-packages" not in name and any(f"/{part}/" in name for part in PACKAGES)


def _module(name: str) -> str:
    file = name.split(":")[0]
    if _is_ours(name):
        return "/".join(Path(file).parts[-3:]) if Path(file).parts[-3] in PACKAGES else "/".join(Path(file).parts[-2:])
    if "site-packages/" in file:
        return file.split("site-packages/")[1].split("/")[0]
    return f"standard library {Path(file).name}"


def _short(name: str) -> str:
    file, _, rest = name.partition(":")
    return f"{Path(file).name}:{rest.partition(':')[2]}"


async def _audit_rate(dsn: str) -> float:
    """Durable events a second with 256 callers."""
    log = AuditLog(dsn)
    await log.start()
    shown = {f"contact.{name}": {"42": {"masked": 1}} for name in ("name", "phone", "email", "id_card", "address")}

    async def write(number: int) -> None:
        for _ in range(number):
            await log.append(
                AuditEntry(
                    actor="u1",
                    actor_login="bench",
                    at=datetime.now(UTC),
                    entity="contact",
                    exchange="x1",
                    id="e1",
                    fields={"shown": shown},
                    kind="decision",
                    method="GET",
                    operation="contact.read",
                    policy="p1",
                    reason="allowed",
                    record="42",
                    status=200,
                    tenant="bench-log",
                )
            )

    await write(10)
    began = time.perf_counter()
    await asyncio.gather(*(write(AUDIT_EVENTS // AUDIT_CALLERS) for _ in range(AUDIT_CALLERS)))
    rate = AUDIT_EVENTS // AUDIT_CALLERS * AUDIT_CALLERS / (time.perf_counter() - began)
    await log.close()
    return rate
