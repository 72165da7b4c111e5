"""`python -m tests.bench`: crmgate beside nginx and mitmproxy, in one run on the same upstream. See README.md."""

import argparse
import dataclasses
import http.client
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from tests.bench import figures
from tests.bench.contenders import Contender, Mitmproxy, Nginx
from tests.bench.crmgate import Crmgate
from tests.bench.decision import decision_us
from tests.bench.figures import CRMGATE, MITMPROXY, NGINX, Goal, Summary
from tests.bench.load import Measure, measure
from tests.bench.people import record
from tests.bench.process import BenchFault, free_port, memory_mb, start, stop, wait_for_port

LOAD_CORE, PROXY_CORE = 0, 1
CONNECTIONS = 32
RECORDS = 100
LOADS = (("record", "/record", CONNECTIONS), ("list", "/list", CONNECTIONS), ("one", "/record", 1))
TITLES = {
    "record": "One record of 2 KB, 32 connections",
    "list": "A list of 100 records with 500 surrogates (58 KB), 32 connections",
    "one": "One record of 2 KB, 1 connection (latency)",
}


def main() -> int:
    """Run the benchmark; exit code 0 when every floor due now is met, 1 when not, 2 when it could not run."""
    options = _options()
    console = Console(width=max(Console().width, 150))
    try:
        _check_machine()
        with tempfile.TemporaryDirectory(prefix="crmgate-bench-") as folder:
            # The database server may run under an account of its own, which has to get in.
            Path(folder).chmod(0o755)
            return _run(options, Path(folder), console)
    except BenchFault as fault:
        console.print(f"bench: {fault}", markup=False, style="red")
        return 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="2 rounds of 2 seconds")
    parser.add_argument("--only", default=",".join((NGINX, MITMPROXY, CRMGATE)), help="contenders, comma separated")
    parser.add_argument("--profile", action="store_true", help="say where crmgate's time goes, instead of comparing")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if options.profile:
        options.only = CRMGATE
    if options.short:
        options.rounds, options.seconds = 2, 2
    return options


def _check_machine() -> None:
    missing = [name for name in ("wrk", "taskset") if not shutil.which(name)]
    if not Path("/usr/sbin/nginx").exists():
        missing.append("nginx")
    if missing:
        raise BenchFault(f"missing: {', '.join(missing)} (Debian: apt-get install wrk nginx-light util-linux)")
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchFault("two cores are needed: one for the load, one for the proxy")


def _run(options: argparse.Namespace, folder: Path, console: Console) -> int:
    port = free_port()
    upstream_log = folder / "upstream.log"
    command = [sys.executable, "-m", "tests.bench.upstream", str(port)]
    upstream = start(command, LOAD_CORE, upstream_log, folder=Path.cwd())
    chosen: dict[str, Contender] = {}
    for name, make in ((NGINX, Nginx), (MITMPROXY, Mitmproxy), (CRMGATE, lambda: Crmgate(profile=options.profile))):
        if name in options.only.split(","):
            chosen[name] = make()
    try:
        wait_for_port(upstream, port, upstream_log)
        for name, contender in chosen.items():
            (folder / name).mkdir()
            console.print(f"starting {name} …", style="dim")
            contender.start(folder / name, port, PROXY_CORE)
        gate = chosen.get(CRMGATE)
        _seed(port, gate if isinstance(gate, Crmgate) else None)
        for contender in chosen.values():
            for path in ("/record", "/list"):
                body = fetch(contender, path)
                contender.check(path, body)
                console.print(f"{contender.name} {path}: {len(body):,} bytes", style="dim")
        if isinstance(gate, Crmgate) and options.profile:
            _profile(gate, options.seconds, console)
            return 0
        idle = memory_mb(gate.parts()["proxy"]) if gate else None
        rounds = _measure(options, chosen, port, console)
        loaded = memory_mb(gate.parts()["proxy"]) if gate else None
    finally:
        for contender in chosen.values():
            contender.stop()
        stop(upstream)
    found = {load: {name: figures.summarise(many) for name, many in by.items()} for load, by in rounds.items()}
    for load, by in found.items():
        figures.print_load(console, TITLES[load], by)
    goals = _goals(found, gate if isinstance(gate, Crmgate) else None, idle, loaded)
    figures.print_goals(console, goals)
    if options.json:
        _write(options.json, found, goals)
    due = [goal for goal in goals if goal.note == "due now"]
    return 1 if any(goal.verdict == "missed" for goal in due) else 0


def _seed(port: int, gate: Crmgate | None) -> None:
    """Create the records: through crmgate, so that the upstream holds real surrogates, else directly."""
    if gate is not None:
        gate.seed([record(number) for number in range(1, RECORDS + 1)])
        return
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for number in range(1, RECORDS + 1):
        connection.request("POST", "/records", json.dumps(record(number)), {"Content-Type": "application/json"})
        connection.getresponse().read()
    connection.close()


def _profile(gate: Crmgate, seconds: int, console: Console) -> None:
    """Where the time of one record and of the list goes."""
    for load, path, connections in LOADS[:2]:
        measure(gate.url(path), gate.headers, connections, 2, LOAD_CORE, {})
        gate.profile_load(partial(measure, gate.url(path), gate.headers, connections, seconds, LOAD_CORE, {}))
        gate.print_profile(console, f"Where crmgate's time goes: {TITLES[load]}")


def fetch(contender: Contender, path: str) -> bytes:
    """One answer, as wrk would get it. Raises: BenchFault when it is not 200."""
    parts = urlsplit(contender.url(path))
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("GET", path, headers=dict(contender.headers))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise BenchFault(f"{contender.name} answers {answer.status} to {path}: {body[:300]!r}")
    return body


def _measure(
    options: argparse.Namespace, chosen: dict[str, Contender], upstream: int, console: Console
) -> dict[str, dict[str, list[Measure]]]:
    """All loads in alternated rounds; the order turns, so that nobody always comes first."""
    rounds: dict[str, dict[str, list[Measure]]] = {load: {name: [] for name in chosen} for load, _, _ in LOADS}
    rounds["one"]["direct"] = []
    names = list(chosen)
    for name, contender in chosen.items():
        for _, path, connections in LOADS:
            console.print(f"warming {name} {path} …", style="dim")
            measure(contender.url(path), contender.headers, connections, 2, LOAD_CORE, {})
    for turn in range(options.rounds):
        for load, path, connections in LOADS:
            order = names[turn % len(names) :] + names[: turn % len(names)]
            for name in order:
                contender = chosen[name]
                rounds[load][name].append(
                    measure(
                        contender.url(path),
                        contender.headers,
                        connections,
                        options.seconds,
                        LOAD_CORE,
                        contender.parts(),
                    )
                )
        url = f"http://127.0.0.1:{upstream}/record"
        rounds["one"]["direct"].append(measure(url, {}, 1, min(options.seconds, 2), LOAD_CORE, {}))
        console.print(f"round {turn + 1} of {options.rounds} done", style="dim")
    return rounds


def _goals(
    found: dict[str, dict[str, Summary]], gate: Crmgate | None, idle: float | None, loaded: float | None
) -> Sequence[Goal]:
    def ratio(load: str) -> float | None:
        mine, other = found[load].get(CRMGATE), found[load].get(NGINX)
        return mine.cpu / other.cpu if mine and other else None

    def fast(load: str) -> float | None:
        mine, other = found[load].get(CRMGATE), found[load].get(MITMPROXY)
        return mine.per_second / other.per_second if mine and other else None

    mine, direct = found["one"].get(CRMGATE), found["one"].get("direct")
    added = (mine.p50 - direct.p50) / 1000 if mine and direct else None
    later = "due later"
    decision = decision_us() if gate else None
    return (
        Goal("2 KB record: throughput against mitmproxy", 15, 25, fast("record"), "x", True, "due now"),
        Goal("2 KB record: CPU against nginx (PostgreSQL apart)", 4, 2.5, ratio("record"), "x", note=later),
        Goal("list of 100, 500 surrogates: CPU against nginx", 20, 6, ratio("list"), "x", note=later),
        Goal("added median latency, 1 connection, durable audit", 1.5, 0.8, added, " ms", note=later),
        Goal("memory of the worker, idle", 200, 120, idle, " MB", note=later),
        Goal("memory of the worker, under load", 400, 250, loaded, " MB", note=later),
        Goal("start-up to first answer, warm store", 5, 2, gate.warm_start_s if gate else None, " s", note=later),
        Goal("audit: durable events a second", 30_000, 100_000, gate.audit_rate if gate else None, "", True, later),
        Goal("two workers against one", 1.5, 1.8, None, "x", True, later),
        Goal("policy decision at 10 000 rules", 10, 1, decision, " µs", note=later),
        Goal("with the WAF: GET and POST against nginx + ModSecurity", 1, 0.25, None, "x", note=later),
    )  # fmt: skip


def _write(path: Path, found: dict[str, dict[str, Summary]], goals: Sequence[Goal]) -> None:
    content = {
        "loads": {load: {name: dataclasses.asdict(one) for name, one in by.items()} for load, by in found.items()},
        "goals": [{**dataclasses.asdict(goal), "verdict": goal.verdict} for goal in goals],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
