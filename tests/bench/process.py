"""Processes of the benchmark: started on one core, waited for, measured through /proc, stopped."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
START_S = 60.0


class BenchFault(Exception):  # noqa: N818 - names what is at fault
    """The benchmark cannot go on; the message says what is missing or wrong."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    command: Sequence[str | Path], core: int, log: Path, *, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command pinned to a core; its output goes to a file."""
    # An installation has its bytecode; with this variable every start would compile it anew.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("ab") as out:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={**inherited, **(environment or {})},
        )


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the process listens."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    tail = log.read_text(errors="replace")[-3000:]
    raise BenchFault(f"{process.args!r} does not listen on {port}:\n{tail}")


def stop(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """End a process, by force after ten seconds."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes and of their children that ended."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            ticks += sum(int(fields[place]) for place in (11, 12, 13, 14))
    return ticks / TICK


def memory_mb(pids: Sequence[int]) -> float:
    """Resident memory of these processes, shared pages counted once each process."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: state is 0, parent 1, utime 11, stime 12, cutime 13, cstime 14."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []
