"""The daily sweep of person keys: once a day for each CRM, told in the trail, and tried again after a fault."""

from datetime import UTC, datetime, timedelta

import pytest

from audit.entry import AuditEntry
from gateway.orphans import OrphanSweep
from kms.orphans import Swept
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Keys:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.away = False

    async def sweep(self, tenant: str, now: datetime) -> Swept:
        if self.away:
            raise KeysUnavailable("person-store", "away")
        self.calls.append(tenant)
        return Swept(3, 2 if tenant == "one" else 0)


class Trail:
    """Entries in memory."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def append(self, entry: AuditEntry) -> int:
        self.entries.append(entry)
        return len(self.entries)


async def test_each_crm_is_swept_once_a_day_and_what_went_is_in_the_trail() -> None:
    keys, trail = Keys(), Trail()
    sweep = OrphanSweep(keys, ["one", "two"], trail, lambda: "a-1").sweep
    for hours in (0, 1, 23, 24, 25):
        await sweep(NOW + timedelta(hours=hours))
    assert keys.calls == ["one", "two"] * 2
    assert [(one.tenant, one.operation, one.reason, one.fields["count"]) for one in trail.entries] == [
        ("one", "keys.person", "unnamed", 2)
    ] * 2


async def test_a_store_that_is_away_is_asked_again() -> None:
    keys = Keys()
    sweep = OrphanSweep(keys, ["one"], Trail(), lambda: "a-1").sweep
    keys.away = True
    with pytest.raises(StoreUnavailable):
        await sweep(NOW)
    keys.away = False
    await sweep(NOW + timedelta(hours=1))
    assert keys.calls == ["one"]
