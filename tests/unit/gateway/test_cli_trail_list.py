"""Listing the trail by what happened: words for a wrong tag, and the catalogue at the command line."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from audit.catalogue import catalogue
from audit.entry import AuditEntry, encode
from audit.query import StoredEntry
from audit.tree import leaf_hash
from gateway.cli_audit import app
from gateway.cli_trail_list import line_of

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
    assert line_of(stored) == (
        "2026-11-27 09:00:00  crm:record:read  li.wei  contact.read  contact/7  allowed  200  masked 2"
    )
