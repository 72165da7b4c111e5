"""`python -m tests.bench.audit_verify DSN TENANT VKEY`: verify a whole log in a process of its own; JSON on stdout.

Entries, seconds, CPU seconds of this process, and the largest memory it ever had, in MB.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from audit.note import Verifier
from audit.verify import verify


def largest_memory_mb() -> float:
    """Of this program; `getrusage` would tell that of the process it was forked from."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def main(dsn: str, tenant: str, vkey: str) -> None:
    """Verify and tell."""
    began, cpu = time.perf_counter(), time.process_time()
    verified = asyncio.run(verify(dsn, tenant, Verifier.from_vkey(vkey)[0]))
    told = {
        "entries": verified.entries,
        "signed": verified.signed,
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "memory_mb": largest_memory_mb(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
