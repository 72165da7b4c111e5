"""What an administrator changed in the settings file is in the trail, by name and without secrets."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from audit.catalogue import tag_of
from audit.entry import AuditEntry, decode, encode
from audit.log import AuditUnavailable
from gateway.settings import Settings
from gateway.settings_file import build_settings
from gateway.settings_seen import note_settings, told_settings
from gateway.settings_seen_store import SettingsSeenStore

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
TREE: dict[str, Any] = {
    "tenant": {
        "a": {"upstream": "http://127.0.0.1:9001", "public_url": "https://a.example:8443"},
        "b": {"upstream": "http://127.0.0.1:9002", "public_url": "https://b.example:8443"},
    },
}


class Trail:
    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.away = False

    async def append(self, entry: AuditEntry) -> int:
        if self.away:
            raise AuditUnavailable
        self.entries.append(entry)
        return len(self.entries) - 1


def settings(tmp_path: Path) -> Settings:
    read = build_settings(TREE, tmp_path / "crmgate.toml")
    return replace(read, database=replace(read.database, dsn="host=db password=swordfish"))  # as a dsn_file may say


def moved(before: Settings, tenant: str, upstream: str) -> Settings:
    changed = replace(before.tenants[tenant], upstream=upstream)
    return replace(before, tenants={**before.tenants, tenant: changed})


async def start(pool: Any, given: Settings, trail: Trail) -> None:
    numbers = count()
    await note_settings(given, SettingsSeenStore(pool), trail, lambda: AT, lambda: f"a-{next(numbers)}")


def test_every_setting_has_a_name_and_no_secret_is_among_them(tmp_path: Path) -> None:
    told = told_settings(settings(tmp_path), "a")
    assert told["tenant.upstream"] == "http://127.0.0.1:9001"
    assert told["database.dsn"] == "set"
    assert told["gateway.listen"] == "127.0.0.1:8443"
    assert told["access.idle_minutes"]
    assert "swordfish" not in str(told)
    assert "9002" not in str(told), "another CRM's settings are nobody's business here"


async def test_a_change_is_told_once_and_only_to_whom_it_is_about(pool: Any, tmp_path: Path) -> None:
    trail, first = Trail(), settings(tmp_path)
    await start(pool, first, trail)
    await start(pool, first, trail)
    assert trail.entries == []
    await start(pool, moved(first, "a", "http://127.0.0.1:9009"), trail)
    (entry,) = trail.entries
    content = decode(encode(entry))
    assert content["tenant"] == "a"
    assert tag_of(content) == "settings:file:changed"
    assert content["fields"]["change"] == [
        "-tenant.upstream=http://127.0.0.1:9001",
        "+tenant.upstream=http://127.0.0.1:9009",
    ]
    await start(pool, moved(first, "a", "http://127.0.0.1:9009"), trail)
    assert len(trail.entries) == 1


async def test_what_the_trail_did_not_take_is_told_at_the_next_start(pool: Any, tmp_path: Path) -> None:
    trail, first = Trail(), settings(tmp_path)
    await start(pool, first, trail)
    second, trail.away = moved(first, "b", "http://127.0.0.1:9008"), True
    with pytest.raises(AuditUnavailable):
        await start(pool, second, trail)
    trail.away = False
    await start(pool, second, trail)
    assert [one.tenant for one in trail.entries] == ["b"]


def test_an_address_with_a_password_in_it_is_only_known_to_be_set(tmp_path: Path) -> None:
    given = moved(settings(tmp_path), "a", "http://crm:hush@127.0.0.1:9001")
    assert told_settings(given, "a")["tenant.upstream"] == "set"
