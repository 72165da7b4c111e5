"""Fixtures of reviews: the office of the bundles' tests with a review desk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from audit.log import AuditLog
from gateway.database import Pool
from gateway.reviews.desk import ReviewDesk
from gateway.reviews.store import ReviewStore
from tests.unit.gateway.access.world import Clock
from tests.unit.gateway.bundles.office import Office, open_office


@pytest.fixture
async def office(pool: Pool, dsn: str, tmp_path: Path) -> AsyncIterator[Office]:
    """A started installation with three administrators and a seller, whose roles are a year old."""
    log = AuditLog(dsn)
    await log.start()
    made = await open_office(pool, dsn, log, Clock(), tmp_path / "policy.csv")
    async with pool.connection() as db:
        await db.execute("UPDATE role_held SET since = %s", (made.clock().replace(year=made.clock().year - 1),))
    yield made
    await log.close()


@pytest.fixture
def desk(office: Office) -> ReviewDesk:
    """The desk of that tenant."""
    return ReviewDesk(ReviewStore(office.pool), office.pool, office.access.users, office.desk)
