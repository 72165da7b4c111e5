"""The stage of the page tests, with an administrator on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kms.connections import Pool
from tests.unit.gateway.access.world import Clock, Enrolled
from tests.unit.gateway.console.stage import Browser, Stage, make_stage


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stage(pool: Pool, dsn: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Stage]:
    made = await make_stage(pool, dsn, tmp_path, clock)
    yield made
    await made.audit.close()


@pytest.fixture
async def gao(stage: Stage) -> Enrolled:
    """Gao Ning, the administrator."""
    return await stage.enrol("gao.ning", "administrator")


@pytest.fixture
async def admin(stage: Stage, gao: Enrolled) -> Browser:
    """A browser in which the administrator is signed in to the console."""
    return await stage.signed_in(gao)
