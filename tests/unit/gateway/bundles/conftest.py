"""Fixtures of policy bundles: a desk on a real database with a real audit trail, and accounts with both factors."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from audit.log import AuditLog
from gateway.database import Pool
from tests.unit.gateway.access.world import Clock
from tests.unit.gateway.bundles.office import Office, open_office


@pytest.fixture
async def office(pool: Pool, dsn: str, tmp_path: Path) -> AsyncIterator[Office]:
    """A started installation with three administrators and a seller."""
    log = AuditLog(dsn)
    await log.start()
    yield await open_office(pool, dsn, log, Clock(), tmp_path / "policy.csv")
    await log.close()
