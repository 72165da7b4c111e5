"""A log on a fresh database, and entries to fill it with."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from audit.checkpoint import Keeper
from audit.entry import AuditEntry
from audit.log import AuditLog
from audit.note import Signer
from tests.conftest import unwalled

AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
SIGNER = Signer(bytes(range(32)))
Make = Callable[..., AuditEntry]


@pytest.fixture
def make() -> Make:
    """Makes entries with ids and times of their own."""
    numbers = count()

    def one(**changes: Any) -> AuditEntry:
        number = next(numbers)
        plain: dict[str, Any] = {
            "actor": "u1",
            "at": AT + timedelta(seconds=number),
            "entity": "contact",
            "exchange": f"x{number}",
            "fields": {"shown": {"contact.phone": {str(number): {"masked": 1}}}},
            "id": f"e{number}",
            "kind": "decision",
            "operation": "contact.read",
            "reason": "allowed",
            "record": str(number),
            "status": 200,
            "tenant": "demo",
        }
        return AuditEntry(**{**plain, **changes})

    return one


@pytest.fixture
async def log(dsn: str) -> AsyncIterator[AuditLog]:
    """A started log."""
    opened = AuditLog(dsn)
    await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def keeper(pool: Any, tmp_path: Path) -> Keeper:
    return Keeper(pool, SIGNER, tmp_path, now=lambda: AT, interval_s=0.05)


@pytest.fixture
async def filled(log: AuditLog, keeper: Keeper, make: Any) -> AuditLog:
    """Twenty entries, checkpoints at 5, 12 and 18."""
    for upto in (5, 12, 18, 20):
        while (await log.append(make())) < upto - 1:
            pass
        if upto != 20:
            assert (await keeper.seal("demo")) is not None
    return log


@pytest.fixture
def tamper(dsn: str) -> Callable[..., Any]:
    """What somebody with the database owner's rights can do."""

    async def change(*statements: Any) -> None:
        async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as connection:
            for table in ("audit_entry", "audit_checkpoint"):
                await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
            for statement in statements:
                await connection.execute(*(statement if isinstance(statement, tuple) else (statement,)))
            # Else the count, by which the watch is alarmed, comes when the session has ended, which takes its time.
            await connection.execute("SELECT pg_stat_force_next_flush()")

    return change
