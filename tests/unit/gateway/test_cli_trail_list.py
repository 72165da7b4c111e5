"""Listing the trail by what happened: words for a wrong tag, and the catalogue at the command line."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.catalogue import catalogue, tag_of
from audit.entry import AuditEntry, decode, encode
from audit.log import AuditLog
from audit.query import Filters, StoredEntry, recent
from audit.tree import leaf_hash
from gateway.cli_audit import app
from gateway.cli_trail_list import find, line_of
from gateway.named_people import ERASED
from gateway.trail_reading import PROVE, note_reading

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_every_tag_is_shown_with_its_words() -> None:
    code, said = run("tags")
    assert code == 0
    assert all(tag in said for tag in catalogue())
    code, said = run("tags", "--zh", "--tag", "policy:*")
    assert code == 0
    assert "发布策略" in said
    assert "access:" not in said


@pytest.mark.parametrize("command", ["list", "tail", "tags"])
def test_a_tag_that_there_is_not_gets_words_in_both_languages(command: str) -> None:
    code, said = run(command, "--tag", "acces:*")
    assert code == 2
    assert "no event is called acces:*" in said
    assert "没有名为 acces:* 的事件" in said
    assert "crm:*" in said


def test_a_line_begins_with_time_and_tag() -> None:
    body = encode(
        AuditEntry(
            actor="u-1", actor_login="li.wei", at=AT, id="a", tenant="t", kind="outcome", entity="contact", record="7",
            operation="contact.read", reason="allowed", status=200,
            fields={"detail": "read", "shown": {"contact.phone": {"7": {"masked": 2}}}},
        )
    )  # fmt: skip
    stored = StoredEntry(
        4, AT, "outcome", "u-1", "contact.read", "contact", "7", "allowed", 200, "", body, leaf_hash(body)
    )
    told = "2026-11-27 09:00:00  crm:record:read  li.wei  contact.read  {}  allowed  200  masked 2"
    assert line_of(stored, {}) == told.format("contact/7")
    assert line_of(stored, {"7": "contact/42"}) == told.format("contact/42")
    assert line_of(stored, {"7": ERASED}) == told.format("contact (erased person)")


class Staff:
    """Nobody is a person here: every record stands under its own key."""

    async def name_of(self, tenant: str, entity: str, record: str) -> str:
        return record

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        return [record]

    async def told(self, tenant: str, names: Iterable[str]) -> Mapping[str, str]:
        return {}


async def test_whoever_lists_or_proves_is_on_record_with_the_filters(dsn: str, pool: Any) -> None:
    log = AuditLog(dsn)
    await log.start()
    await log.append(
        AuditEntry(
            actor="u-1", at=AT, id="a", tenant="t", kind="outcome", operation="contact.read", entity="contact",
            record="7", status=200, fields={"detail": "read"},
        )
    )  # fmt: skip
    await log.close()
    found, _ = await find(pool, Staff(), dsn, "t", Filters(actor="u-1"), "crm:record:*", 10)
    assert [entry.index for entry in found.entries] == [0]
    missed, _ = await find(pool, Staff(), dsn, "t", Filters(record="13800138000"), "", 10)
    assert missed.entries == []
    await note_reading(dsn, "t", PROVE, target="0")
    proved, second, first, _ = [decode(entry.body) for entry in await recent(pool, "t", 10)]
    assert first["fields"] == {"count": 1, "filters": ["actor=u-1", "tag=crm:record:*"]}
    assert second["fields"] == {"count": 0, "filters": ["record"]}
    assert proved["fields"] == {"target": "0"}
    assert [tag_of(one) for one in (first, proved)] == ["audit:trail:listed", "audit:entry:proved"]
    assert first["actor_login"]
