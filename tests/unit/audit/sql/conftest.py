"""Two tenants with a trail of which the older part is sealed into Parquet files, and a way to ask it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.archive import Segment, Wanted
from audit.cold.segment_file import Draft
from audit.entry import AuditEntry, encode
from audit.log import AuditLog
from audit.sql.answer import Answer, Asked, Limits
from audit.sql.engine_store import Room
from audit.sql.run import run_query

AT = datetime(2026, 3, 4, tzinfo=UTC)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SMALL = Limits(rows=200, most_rows=2_000, seconds=120, room=Room(memory_mb=300, threads=1))


@dataclass
class Sealed:
    """Segments as they are, whatever is asked."""

    held: dict[str, list[Segment]] = field(default_factory=dict)
    asked: list[tuple[datetime | None, datetime | None]] = field(default_factory=list)

    async def segments(
        self,
        tenant: str,
        since: datetime | None = None,
        until: datetime | None = None,
        wanted: Sequence[Wanted] = ({},),
    ) -> list[Segment]:
        self.asked.append((since, until))
        return [
            one
            for one in self.held.get(tenant, [])
            if (since is None or one.at_last >= since) and (until is None or one.at_first < until)
        ]


def entry(tenant: str, number: int, **changes: Any) -> AuditEntry:
    """Person `number % 3` looks at record `number % 7` of a tenant, a minute after the one before."""
    record = f"{tenant}-r{number % 7}"
    plain: dict[str, Any] = {
        "actor": f"{tenant}-u{number % 3}",
        "actor_login": f"{tenant}.user{number % 3}",
        "at": AT + timedelta(minutes=number),
        "client": "192.0.2.1",
        "entity": "contact",
        "exchange": f"{tenant}-x{number}",
        "fields": {
            "shown": {
                "contact.phone": {record: {"clear" if number % 2 else "masked": 1}},
                "contact.email": {record: {"masked": 2}},
            },
            "device": f"d{number % 2}",
        },
        "id": f"{tenant}-e{number}",
        "kind": "decision",
        "operation": "contact.read",
        "reason": "allowed" if number % 5 else "field-hidden",
        "record": record,
        "status": 200 if number % 5 else 403,
        "tenant": tenant,
    }
    return AuditEntry(**{**plain, **changes})


def seal(folder: Path, tenant: str, entries: Sequence[AuditEntry], first: int) -> Segment:
    """A segment of entries, written as the archive writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = Draft(lambda _row: "five-years")
    draft.add((first + place, one.at, encode(one)) for place, one in enumerate(entries))
    event, sight = folder / f"{tenant}-{first}.event.parquet", folder / f"{tenant}-{first}.sight.parquet"
    draft.write(event, sight)
    assert draft.at_first is not None
    assert draft.at_last is not None
    return Segment(tenant, first, first + len(entries) - 1, draft.at_first, draft.at_last, event, sight)


@pytest.fixture
async def log(dsn: str) -> Any:
    opened = AuditLog(dsn)
    await opened.start()
    yield opened
    await opened.close()


@dataclass
class Trails:
    """What there is to ask: all entries by tenant, the archive, what was put on record."""

    dsn: str
    archive: Sealed
    entries: dict[str, list[AuditEntry]]
    recorded: list[Asked] = field(default_factory=list)

    async def ask(self, statement: str, tenant: str = "a", **more: Any) -> Answer:
        async def record(asked: Asked) -> None:
            self.recorded.append(asked)

        given: dict[str, Any] = {"archive": self.archive, "record": record, "now": NOW, "limits": SMALL}
        return await run_query(self.dsn, tenant, statement, **{**given, **more})

    async def rows(self, statement: str, tenant: str = "a", **more: Any) -> list[tuple[Any, ...]]:
        answer = await self.ask(statement, tenant, **more)
        return [tuple(row.values()) for row in answer.table.to_pylist()]


@pytest.fixture
async def trails(log: AuditLog, dsn: str, tmp_path: Path) -> Trails:
    """Entries 0 to 29 of tenants a and b in the database; 0 to 9 and 10 to 19 sealed, too."""
    archive = Sealed()
    entries = {tenant: [entry(tenant, number) for number in range(30)] for tenant in ("a", "b")}
    for tenant, made in entries.items():
        for one in made:
            await log.append(one)
        archive.held[tenant] = [seal(tmp_path / "cold", tenant, made[at : at + 10], at) for at in (0, 10)]
    return Trails(dsn, archive, entries)


Ask = Callable[..., Awaitable[Answer]]
