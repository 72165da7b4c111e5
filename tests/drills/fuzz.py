"""Fuzzing of everything that reads what comes from outside: no crash, no hang, no value left in clear.

    make fuzz                     # half a minute a target, and half a minute under atheris where it is installed
    make fuzz SECONDS=300
    python -m tests.drills.fuzz --seconds 60 request.xml page.html

Each target runs in a process of its own, which is ended when it takes minutes longer than it should, so that a native
library that hangs or ends its process is a finding as well. What was found is in a folder that is named at the end.
"""

import argparse
import importlib.util
import logging
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.drills.fuzz_seeds import changed, everything, seeds
from tests.drills.fuzz_targets import TARGETS, run

WATCHDOG_SECONDS = 60
MEMORY_BYTES = 4 * 1024 * 1024 * 1024
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


class TooSlow(Exception):  # noqa: N818 - what became of an example
    """One example took longer than the watchdog allows."""


def _bark(*_: object) -> None:
    raise TooSlow


def mutate(name: str, seconds: float, folder: Path, seed: int) -> int:
    """Runs changed seeds for a while in this process; how many were run. Findings are files in the folder."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _bark)
    choose, bodies, others = random.Random(f"{name} {seed}"), seeds()[name], everything()
    last, known, count, read = folder / "last", set(), 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = changed(choose.choice(bodies), choose, others)
        last.write_bytes(data)  # what a native library ends the process with is here afterwards
        signal.alarm(WATCHDOG_SECONDS // 2)
        try:
            read += run(name, data)
        except Exception as fault:
            where = traceback.extract_tb(fault.__traceback__)[-1]
            if (where.filename, where.lineno) not in known:
                known.add((where.filename, where.lineno))
                (folder / f"found-{len(known)}").write_bytes(data)
                print(f"found {name} {type(fault).__name__} {Path(where.filename).name}:{where.lineno}", flush=True)
        signal.alarm(0)
        count += 1
    print(f"ran {count} {read}", flush=True)
    return len(known)


def _child(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Exit code and output of a process that is ended when it takes much longer than it should."""
    limit = seconds + 5 * WATCHDOG_SECONDS  # on a busy machine starting alone takes a minute
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False, text=True,
            errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, "silent"
    return done.returncode, done.stdout


def both(name: str, seconds: float, folder: Path) -> bool:
    """One target in both ways, told in one line each; whether nothing was found."""
    mine = folder / name
    mine.mkdir()
    code, said = _child(
        [sys.executable, "-m", "tests.drills.fuzz", "--one", name, "--seconds", str(seconds), str(mine)], seconds
    )
    ran = re.search(r"ran (\d+) (\d+)", said)
    print(f"{name:20} changed seeds {ran[1] if ran else '?':>9} run, {ran[2] if ran else '?':>9} read", end="")
    good = code == 0
    print("" if good else f"  FOUND (code {code})\n{said[-2000:]}", flush=True)
    if importlib.util.find_spec("atheris") is None:
        return good
    (mine / "corpus").mkdir()
    native = [sys.executable, "-m", "tests.drills.fuzz_native", name, str(int(seconds)), str(mine / "corpus")]
    code, said = _child(native, seconds)
    executed = _EXECUTED.search(said)
    print(f"{'':20} atheris       {executed[1] if executed else '?':>9} run", end="")
    print("" if code == 0 else f"  FOUND (code {code})\n{said[-3000:]}", flush=True)
    return good and code == 0


def main() -> int:
    """The drill; 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--one", default="")
    parser.add_argument("targets", nargs="*")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)  # python-multipart tells every odd byte
    if asked.one:
        return 1 if mutate(asked.one, asked.seconds, Path(asked.targets[0]), asked.seed) else 0
    folder = Path(tempfile.mkdtemp(prefix="crmgate-fuzz-"))
    results = [both(name, asked.seconds, folder) for name in asked.targets or TARGETS]
    print(f"{results.count(True)} of {len(results)} targets without a finding; what was run is in {folder}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
