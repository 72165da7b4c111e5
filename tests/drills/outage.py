"""The outage drill: a real OpenBao goes away under load and comes back; what was served, refused and lost meanwhile.

`python -m tests.drills.outage [SECONDS] [--hang]` runs `crmgate serve` in front of the bench upstream, with keys in an
OpenBao that stores on disk and an AppRole login whose tokens end during the outage. People read and create records all
the time. It prints a table and exits with 1 when anything was lost, when pages without protected values were refused,
or when the gateway did not recover by itself. Lost is: an acknowledged record whose values do not come back, a refused
one that the CRM has nevertheless, an answer that is neither right nor a refusal. The end-to-end test is the short form.
"""

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.access.users import Profile
from gateway.accounts import open_accounts
from gateway.demo import children
from gateway.demo.children import Child
from gateway.first_steps import ensure_secrets
from gateway.opening import open_database
from gateway.settings_file import read_settings
from tests.bench.people import record
from tests.real.kept_bao import KeptBao, kept_bao

SECONDS = 120.0
TENANT = "main"
BENCH = Path(__file__).parents[1] / "bench"
POLICY = """
    path "transit/keys/crmgate-*" { capabilities = ["create", "update", "read"] }
    path "transit/encrypt/crmgate-*" { capabilities = ["create", "update"] }
    path "transit/decrypt/crmgate-*" { capabilities = ["create", "update"] }
"""
RECOVERY_S = 60.0
PAUSE_S = 0.05
READ, CREATE, PLAIN = "read", "create", "no protected value"


class DrillFault(Exception):  # noqa: N818 - names what is at fault
    """The drill cannot be run."""

    permanent = True


@dataclass(slots=True)
class Seen:
    """One exchange: when it began and ended, what was asked, how it ended ("served", "refused", what was wrong)."""

    since: float
    at: float
    kind: str
    end: str


@dataclass(slots=True)
class Site:
    """A running gateway with its logins; created: number of the record in the CRM → number of the person in it."""

    port: int
    gateway: Child
    headers: dict[str, dict[str, str]]
    seen: list[Seen] = field(default_factory=list)
    created: dict[int, int] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def call(
        self, connection: http.client.HTTPConnection, method: str, path: str, who: str, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """One exchange through the gateway."""
        more = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, body, {**self.headers[who], **more})
        answer = connection.getresponse()
        return answer.status, answer.read()


@dataclass(frozen=True, slots=True)
class Result:
    """What the drill found; times in seconds since the outage began.

    away_s to outage_s: the server was surely away; back_s: when it surely was back (it answers before its start is
    seen to be over); recovered_s: after it was back.
    """

    seen: list[Seen]
    away_s: float
    outage_s: float
    back_s: float
    cache_s: float
    lost: list[str]
    recovered_s: float | None

    def count(self, kind: str, end: str, since: float, until: float) -> int:
        """Exchanges of a kind that ended like this and lie within a span of time."""
        return sum(
            1 for one in self.seen if one.kind == kind and one.end == end and since <= one.since and one.at < until
        )

    @property
    def ended_s(self) -> float:
        """When the last key in memory had surely ended: it was opened before the server went."""
        return self.away_s + self.cache_s

    @property
    def faults(self) -> list[str]:
        """Why the drill failed; empty when it did not."""
        found = list(self.lost)
        if self.recovered_s is None:
            found.append(f"no recovery within {RECOVERY_S:.0f} s after the server was back")
        if self.count(PLAIN, "refused", float("-inf"), float("inf")):
            found.append("a page without protected values was refused")
        if not self.count(READ, "served", 0, self.ended_s):
            found.append("nothing was served from the keys in memory")
        for kind in (READ, CREATE):
            if self.outage_s > self.ended_s and self.count(kind, "served", self.ended_s, self.outage_s):
                found.append("values were served after keys in memory had ended")
        return found


@contextlib.contextmanager
def site(server: KeptBao, cache_s: float, token_ttl_s: int) -> Iterator[Site]:
    """Bench upstream, database, accounts and gateway, with keys in this server."""
    folder = Path(tempfile.mkdtemp(prefix="crmgate-outage-"))
    folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
    port, console_port, upstream_port = (children.free_port() for _ in range(3))
    role_id = _approle(server, folder / "secret-id", token_ttl_s)
    file = folder / "crmgate.toml"
    file.write_text(f"""
        state = "state"
        [gateway]
        listen = "127.0.0.1:{port}"
        tls = false
        [console]
        listen = "127.0.0.1:{console_port}"
        public_url = "http://console.localhost:{console_port}"
        tls = false
        [tenant.{TENANT}]
        upstream = "http://127.0.0.1:{upstream_port}"
        public_url = "http://crm.localhost:{port}"
        profile = "{BENCH / "bench.yaml"}"
        policy = "{BENCH / "bench.csv"}"
        [keys]
        provider = "openbao"
        address = "{server.address}"
        login = "approle"
        role_id = "{role_id}"
        secret_id_file = "secret-id"
        timeout_s = 2
        cache_s = {cache_s}
    """)
    settings = read_settings(file)
    ensure_secrets(settings)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        upstream = children.start(
            "upstream",
            [sys.executable, "-m", "tests.bench.upstream", str(upstream_port)],
            folder / "up.log",
            Path.cwd(),
        )
        stack.callback(upstream.stop)
        children.wait_for_port(upstream, upstream_port)
        database = open_database(settings)
        stack.callback(database.close)
        logins = asyncio.run(_accounts(settings, database.dsn))
        command: list[str | Path] = [sys.executable, "-m", "gateway.cli", "serve", "--config", file]
        gateway = children.start("crmgate", command, folder / "crmgate.log", folder)
        stack.callback(gateway.stop)
        children.wait_for_port(gateway, port)
        headers = {role: _sign_in(port, role, *given) for role, given in logins.items()}
        yield Site(port, gateway, headers)


def _approle(server: KeptBao, file: Path, token_ttl_s: int) -> str:
    with server.client() as client:
        client.sys.create_or_update_policy("crmgate", POLICY)
        client.sys.enable_auth_method("approle")
        ttl = f"{token_ttl_s}s"
        client.auth.approle.create_or_update_approle(
            "crmgate", token_policies=["crmgate"], token_ttl=ttl, token_max_ttl="1h"
        )
        file.write_text(client.auth.approle.generate_secret_id("crmgate")["data"]["secret_id"])
        file.chmod(0o600)
        return str(client.auth.approle.read_role_id("crmgate")["data"]["role_id"])


async def _accounts(settings: Any, dsn: str) -> dict[str, tuple[str, str]]:
    made = {}
    async with open_accounts(settings, TENANT, dsn) as accounts:
        for role in ("writer", "reader"):
            password, secret = secrets.token_urlsafe(24), pyotp.random_base32(32)
            user = await accounts.users.create(TENANT, role, Profile(role, (role,)))
            await accounts.users.provision(user, password, secret)
            made[role] = (password, secret)
    return made


def _sign_in(port: int, login: str, password: str, secret: str) -> dict[str, str]:
    host = {"Host": f"crm.localhost:{port}", "Origin": f"http://crm.localhost:{port}"}
    body = json.dumps({"login": login, "password": password, "code": pyotp.TOTP(secret).now()}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/.crmgate/api/sign-in", body, {**host, "Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    cookie = (answer.getheader("set-cookie") or "").split(";")[0]
    connection.close()
    if answer.status != 200 or not cookie:
        raise DrillFault(f"the sign-in answers {answer.status}")
    return {**host, "Cookie": cookie}


def _work(at: Site, kind: str, began: float, done: threading.Event) -> None:
    """One person who does one thing again and again."""
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=30)
    while not done.wait(PAUSE_S):
        number, since = next(at.numbers) if kind == CREATE else 0, time.monotonic() - began
        try:
            end = _create(at, connection, number) if kind == CREATE else _look(at, connection, kind)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            end = type(fault).__name__
            connection.close()
        at.seen.append(Seen(since, time.monotonic() - began, kind, end))
    connection.close()


def _create(at: Site, connection: http.client.HTTPConnection, number: int) -> str:
    status, body = at.call(connection, "POST", "/records", "writer", json.dumps(record(number)).encode())
    if status == 201:
        at.created[json.loads(body)["id"]] = number
        return "served"
    if status == 503:
        at.refused.add(number)
        return "refused"
    return f"status {status}"


def _look(at: Site, connection: http.client.HTTPConnection, kind: str) -> str:
    path, who = ("/record", "reader") if kind == READ else ("/nothing-personal", "writer")
    status, body = at.call(connection, "GET", path, who)
    if status == 503:
        return "refused"
    if kind == PLAIN:
        return "served" if (status, body) == (404, b"{}") else f"status {status}"
    if status != 200:
        return f"status {status}"
    found = json.loads(body)
    clear = record(at.created[found["id"]])
    return "served" if all(found[name] == clear[name] for name in ("name", "address")) else "wrong value"


def run(outage_s: float, cache_s: float, *, hang: bool = False) -> Result:
    """The whole drill; raises DrillFault."""
    with kept_bao() as server, site(server, cache_s, max(2, int(outage_s / 4))) as at:
        connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=30)
        for _ in range(5):
            if _create(at, connection, next(at.numbers)) != "served":
                raise DrillFault("the gateway does not take records")
        connection.close()
        pid, done, began = at.gateway.process.pid, threading.Event(), time.monotonic() + 1.0
        workers = [
            threading.Thread(target=_work, args=(at, kind, began, done)) for kind in (READ, READ, CREATE, CREATE, PLAIN)
        ]
        for worker in workers:
            worker.start()
        time.sleep(1.0)
        _away(server, hang=hang)
        away = time.monotonic() - began
        time.sleep(outage_s)
        returning = time.monotonic() - began
        _back(server, hang=hang)
        back = time.monotonic() - began
        recovered = _recovered(at, back, began)
        done.set()
        for worker in workers:
            worker.join()
        if at.gateway.process.pid != pid or at.gateway.process.poll() is not None:
            recovered = None
        lost = [] if recovered is None else _lost(at)
        lost += [f"{count} answers to {kind}: {end}" for (kind, end), count in _odd(at.seen).items()]
        return Result(at.seen, away, returning, back, cache_s, lost, recovered)


def _away(server: KeptBao, *, hang: bool) -> None:
    assert server.process is not None
    if hang:
        server.process.send_signal(signal.SIGSTOP)
    else:
        server.stop()


def _back(server: KeptBao, *, hang: bool) -> None:
    assert server.process is not None
    if hang:
        server.process.send_signal(signal.SIGCONT)
    else:
        server.start()


def _recovered(at: Site, back: float, began: float) -> float | None:
    """Seconds until reading and creating work again."""
    until = time.monotonic() + RECOVERY_S
    while time.monotonic() < until:
        ends = {one.kind: one for one in at.seen[-400:] if one.at > back and one.end == "served"}
        if {READ, CREATE} <= ends.keys():
            time.sleep(1.0)
            return max(
                0.0, min(one.at for one in at.seen if one.at > back and one.kind == READ and one.end == "served") - back
            )
        time.sleep(0.1)
    return None


def _lost(at: Site) -> list[str]:
    """What is missing or too much after the recovery: every acknowledged record, and no refused one."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)) as connection:
        status, body = at.call(connection, "GET", "/list", "reader")
    if status != 200:
        return [f"the list answers {status} after the recovery"]
    listed = {one["id"]: one for one in json.loads(body)}
    names = {number: record(number)["name"] for number in at.created.values()}
    lost = [
        f"record {one} does not come back"
        for one, number in at.created.items()
        if one not in listed or listed[one]["name"] != names[number]
    ]
    if len(listed) != len(at.created):
        lost.append(f"the CRM holds {len(listed)} records, {len(at.created)} were acknowledged")
    return lost


def _odd(seen: list[Seen]) -> Counter[tuple[str, str]]:
    return Counter((one.kind, one.end) for one in seen if one.end not in ("served", "refused"))


def show(result: Result, console: Console, *, hang: bool) -> None:
    """The table."""
    what = "hangs" if hang else "is stopped"
    title = f"OpenBao {what} for {result.outage_s:.0f} s; opened keys live for {result.cache_s:.0f} s"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("", "time", READ, CREATE, PLAIN, "refused (503)"):
        table.add_column(name, justify="right" if name and name != "time" else "left")
    spans = (
        ("before", float("-inf"), 0.0),
        ("away, keys in memory until they end", 0.0, min(result.ended_s, result.outage_s)),
        ("away, no keys", min(result.ended_s, result.outage_s), result.outage_s),
        ("coming back", result.outage_s, result.back_s),
        ("back", result.back_s, float("inf")),
    )
    for name, since, until in spans:
        served = [str(result.count(kind, "served", since, until)) for kind in (READ, CREATE, PLAIN)]
        refused = " + ".join(f"{result.count(kind, 'refused', since, until)} {kind}" for kind in (READ, CREATE))
        span = "" if until <= 0 or until == float("inf") else f"{since:.0f}-{until:.0f} s"
        table.add_row(name, span, *served, refused)
    console.print(table)
    recovered = "never" if result.recovered_s is None else f"{result.recovered_s:.1f} s after the server was back"
    console.print(f"recovered without a restart: {recovered}")
    console.print(f"lost: {len(result.lost)}")
    for fault in result.faults:
        console.print(f"  {fault}", style="red", markup=False)


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS)
    parser.add_argument("--hang", action="store_true", help="the server stays silent instead of going away")
    given = parser.parse_args()
    result = run(given.seconds, max(2.0, given.seconds / 4), hang=given.hang)
    show(result, Console(width=120), hang=given.hang)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
