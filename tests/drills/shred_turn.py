"""One command of the shredding drill in a process of its own, which kills itself with SIGKILL at a given step.

`python -m tests.drills.shred_turn SETTINGS DSN STEP RECORD`: erase RECORD where one is given, then turn the epoch.
STEP: "" to come to the end, or the name of a method and which call of it to die after, for example rewrap:2.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.settings_file import read_settings
from gateway.shredding_desk import open_shredding
from kms.destruction import Person
from kms.local_epochs import LocalEpochs
from kms.person_store import PersonTables
from kms.vault_epochs import TransitEpochs

TENANT = "main"
BY = Person("u-drill", "drill")
PAGE = 10


def die_after(step: str) -> None:
    """Replace a method by one that ends this process once it has done its work for the n-th time."""
    name, _, count = step.partition(":")
    left = [int(count or 1)]
    for owner in (PersonTables, LocalEpochs, TransitEpochs):
        original: Callable[..., Awaitable[Any]] | None = getattr(owner, name, None)
        if original is None:
            continue

        async def dying(self: object, *given: Any, original: Any = original) -> Any:
            done = await original(self, *given)
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        setattr(owner, name, dying)


async def run(file: Path, dsn: str, record: str) -> None:
    """Erase and turn."""
    async with open_shredding(read_settings(file), TENANT, dsn) as desk:
        desk.shredding._turn._page = PAGE
        if record:
            entity, _, number = record.partition("/")
            await desk.shredding.erase([(entity, number)], "DRILL-1", BY)
        await desk.shredding.turn(BY)


if __name__ == "__main__":
    given_file, given_dsn, given_step, given_record = sys.argv[1:]
    if given_step:
        die_after(given_step)
    asyncio.run(run(Path(given_file), given_dsn, given_record))
