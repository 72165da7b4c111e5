"""Clear names of an interface without pages: put together in titles, printed on pages for browsers, nested."""

import json
from collections.abc import AsyncIterator
from html import escape
from pathlib import Path

import pytest

from gateway.database import Pool
from tests.unit.gateway.glue import JSON, Glue, open_glue
from tests.unit.gateway.test_unprotected import watched

LEAD = {"first_name": "Luc", "last_name": "孔", "title": "Luc 孔 wants an offer", "address_line": "12 rue Ostkel"}
NESTED = {"contact_name": "倩浩 孔", "account": {"name": "Ostkel Sàrl"}, "note": "for Ostkel Sàrl"}
CSV = "First name,Last name,Title\r\nLuc,孔,孔Luc is the boss\r\n"


@pytest.fixture
async def bottle(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    """The stages in front of a BottleCRM that holds values in clear."""
    async with open_glue(pool, keyring_path, "bottle") as made:
        yield watched(made)


async def seen(bottle: Glue, target: str, body: str, content_type: str = JSON, role: str = "sales") -> str:
    """What somebody is shown of an answer."""
    _, shown = await bottle.answer(bottle.exchange("GET", target, role=role), body.encode(), content_type)
    return shown.decode()


async def test_a_title_that_puts_a_name_together_shows_no_part_of_it(bottle: Glue) -> None:
    body = json.dumps(LEAD, ensure_ascii=False)
    shown = json.loads(await seen(bottle, "/api/leads/", body))
    assert [one for one in ("Luc", "孔", "Ostkel") if one in str(shown)] == []
    assert shown["title"].endswith("wants an offer")
    assert json.loads(await seen(bottle, "/api/leads/", body, role="manager")) == LEAD


async def test_names_of_other_records_are_known_by_where_they_are_nested(bottle: Glue) -> None:
    shown = await seen(bottle, "/api/invoices/", json.dumps(NESTED, ensure_ascii=False))
    assert [one for one in ("倩浩", "孔", "Ostkel") if one in shown] == []


@pytest.mark.parametrize("cut", [None, -1])
async def test_json_printed_on_a_page_is_read_like_json(bottle: Glue, cut: int | None) -> None:
    printed = escape(json.dumps(LEAD, ensure_ascii=False, indent=4)[:cut])
    page = f"<html><body><pre><span>HTTP 200 OK</span>\n\n{printed}</pre><p>Luc 孔</p></body></html>"
    shown = await seen(bottle, "/api/leads/?format=api", page, "text/html; charset=utf-8")
    assert [one for one in ("孔", "Ostkel") if one in shown] == []
    assert "first_name" in shown
    assert "孔" in await seen(bottle, "/api/leads/", page, "text/html; charset=utf-8", role="manager")


async def test_a_row_of_a_table_hides_its_whole_name_in_other_columns(bottle: Glue) -> None:
    shown = await seen(bottle, "/api/contacts/export/", CSV, "text/csv; charset=utf-8")
    assert [one for one in ("Luc", "孔") if one in shown] == []
    assert "is the boss" in shown
