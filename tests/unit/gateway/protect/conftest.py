"""The steps of protecting over a CRM in memory, a real vault and a real database."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.database import Pool
from gateway.digits import means_something
from gateway.job import Job, State, Wanted
from gateway.protect.change import Changer
from gateway.protect.other_forms import OtherForms
from gateway.protect.reading import CrmDriver
from gateway.protect.run import RunJob
from gateway.protect.store import ProtectStore
from gateway.protect.work import Pace, Work
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.cells import Cells
from kms.digit_store import DigitStore
from kms.digits import Digits
from kms.envelope import DEFAULT
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.store import Store
from kms.tokens import SurrogateVault
from policies.walk import Walk
from tests.unit.gateway.glue import SECRET
from tests.unit.gateway.protect.crm import WALK

T = "acme"


@dataclass(slots=True)
class Bench:
    """What the steps work with. trail: (operation, entity, record) of every audit entry."""

    changer: Changer
    store: ProtectStore
    vault: SurrogateVault
    beside: Beside
    pool: Pool
    trail: list[tuple[str, str, str]] = field(default_factory=list)

    def work(self, driver: CrmDriver, walk: Walk = WALK) -> Work:
        """The steps over a CRM."""

        async def write(operation: str, entity: str, record: str, fields: Mapping[str, Any]) -> None:
            self.trail.append((operation, entity, record))

        async def sleep(_: float) -> None:
            return None

        return Work(T, walk, driver, self.changer, self.store, write, Pace(0, lambda: 0.0, sleep))

    async def others_held(self) -> int:
        """How many values are kept beside the CRM, or stand in it as cells."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT (SELECT count(*) FROM vault_beside) + (SELECT count(*) FROM vault_cell WHERE blob IS NOT NULL)"
            )
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def carry_out(self, work: Work, run: str, *, undo: bool = False) -> None:
        """All slices of a job, as the durable queue calls them."""

        async def opening(_: Job) -> Work:
            return work

        do, cursor = RunJob(opening, lambda: 0.0), None
        for _ in range(1000):
            made = await do(_job(run, cursor, undo))
            if made.finished:
                return
            cursor = made.cursor
        raise AssertionError("a run does not end")

    async def protect(self, driver: CrmDriver, run: str = "r1") -> Work:
        """A whole run."""
        work = self.work(driver)
        await self.store.begin(T, run, "interface", 0)
        await self.carry_out(work, run)
        return work


def _job(run: str, cursor: Any, undo: bool) -> Job:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Job(
        id=run, kind="protect", tenant=T, arguments={"run": run, "undo": undo}, cursor=cursor, state=State.RUNNING,
        wanted=Wanted.RUN, run=1, problem="", done=0, total=0, rate=None, active_s=0.0, created_at=now, updated_at=now,
        ended_at=None,
    )  # fmt: skip


@pytest.fixture
async def bench(pool: Pool, keyring_path: Path) -> AsyncIterator[Bench]:
    keyring = Keyring(LocalProvider(keyring_path, SECRET), Store(pool), clock=lambda: 0.0)
    vault = SurrogateVault(pool, keyring, clock=lambda: 0.0, value_s=300)
    scanner = await vault.start(T)
    store = CellStore(pool)
    beside = Beside(store, keyring, lambda _: DEFAULT)
    digits = Digits(DigitStore(pool), keyring, means_something)
    others = OtherForms(T, beside, Cells(store, keyring, lambda _: DEFAULT), digits)
    yield Bench(Changer(T, vault, keyring, scanner, os.urandom, others), ProtectStore(pool), vault, beside, pool)
    await vault.close()
    await keyring.close()


Make = Callable[[], Mapping[str, Mapping[str, str]]]
