"""A process that seals, prunes and drops until there is nothing more to do, and dies after so many files or rows.

Started by the tests of archiving: `dsn`, folder, job, and how many steps to take before SIGKILL (0: never).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from audit.cold.folder import FolderArchive
from audit.cold.pruning import Pruner
from audit.cold.retention import Retention
from audit.cold.sealing import Sealer
from audit.note import Signer
from gateway.archiving import KIND, ArchiveWork
from gateway.database import open_pool
from gateway.durable import Durable
from gateway.job import Json

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
SIGNER = Signer(bytes(range(32)))


class Mortal(FolderArchive):
    """A folder that counts what is asked of it."""

    left = 0

    def step(self) -> None:
        """One step nearer to the end."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def put(self, name: str, source: Path, sha256: str, keep_until: datetime) -> str:
        """Write, then step."""
        version = super().put(name, source, sha256, keep_until)
        self.step()
        return version

    def fetch(self, name: str, version: str, target: Path) -> None:
        """Read, then step."""
        super().fetch(name, version, target)
        self.step()


async def main(arguments: Sequence[str]) -> None:
    """Begin the job, or find it begun, and work until it is done."""
    dsn, folder, job, left = arguments
    pool = await open_pool(dsn, max_size=4)
    stored = Mortal(Path(folder) / "archive", lambda: NOW)
    stored.left = int(left)
    scratch = Path(folder) / "scratch"

    async def record(tenant: str, operation: str, target: str, more: Mapping[str, Json]) -> None:
        print(operation, target, flush=True)
        stored.step()

    work = ArchiveWork(
        Sealer(pool, stored, SIGNER, scratch, Retention(), lambda: NOW, entries=8),
        Pruner(pool, stored, SIGNER.verifier, scratch, Retention(), lambda: NOW, hot_days=90),
        record,
    )
    durable = Durable(dsn, pool, poll_s=0.05, sweep_s=0.2)
    durable.register(KIND, work.slice)
    await durable.start()
    await durable.begin(job, KIND, "demo", {})
    ended = await durable.wait(job, every_s=0.05)
    print("ended", ended.state, ended.problem, flush=True)
    await durable.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
