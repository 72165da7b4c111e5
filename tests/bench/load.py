"""One measurement: wrk against a contender, with the CPU the contender spent meanwhile."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.process import BenchFault, cpu_seconds

_UNITS = {"us": 1.0, "ms": 1_000.0, "s": 1_000_000.0, "m": 60_000_000.0}


@dataclass(frozen=True, slots=True)
class Measure:
    """requests: completed; p50, p99: µs; cpu: µs per request by part ("proxy", "postgres")."""

    requests: int
    per_second: float
    p50: float
    p99: float
    cpu: Mapping[str, float] = field(default_factory=dict)


def measure(
    url: str,
    headers: Mapping[str, str],
    connections: int,
    seconds: int,
    core: int,
    parts: Mapping[str, Sequence[int]],
) -> Measure:
    """Load a URL with keep-alive connections from one thread. Raises: BenchFault when an answer was not 2xx."""
    before = {name: cpu_seconds(pids) for name, pids in parts.items()}
    command = [
        "taskset",
        "-c",
        str(core),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "--timeout",
        "30s",
    ]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    ended = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + 60)
    after = {name: cpu_seconds(pids) for name, pids in parts.items()}
    out = ended.stdout
    done = re.search(r"(\d+) requests in", out)
    if ended.returncode or not done or not int(done[1]):
        raise BenchFault(f"wrk failed on {url}:\n{out}\n{ended.stderr}")
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: .*", out)
    if failed or broken:
        raise BenchFault(f"{url}: {failed[0] if failed else ''} {broken[0] if broken else ''}")
    requests = int(done[1])
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    return Measure(
        requests,
        float(rate[1]) if rate else 0.0,
        _percentile(out, 50),
        _percentile(out, 99),
        {name: (after[name] - before[name]) / requests * 1e6 for name in parts},
    )


def _percentile(out: str, which: int) -> float:
    found = re.search(rf"^\s+{which}%\s+([\d.]+)(us|ms|s|m)\s*$", out, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
