"""A create whose answer names no record: the CRM is asked, and only its plain answer binds anything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest

from gateway import newest
from gateway.answer import UpstreamDown
from gateway.database import Pool
from gateway.exchange import Exchange
from gateway.network import Tenant
from gateway.newest import Newest
from tests.unit.gateway.glue import ANNA, BORIS, TENANT, Glue, open_glue

ADD, COMPANY = "/en/123/crm/contact/add/", "/en/123/crm/company/add/"
LIST = "/en/123/crm/contact/"
PERSON = {"first_name": "伟", "last_name": "张", "email": "zw@example.com", "phone": "13800138000"}


@pytest.fixture
async def django(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, "djangocrm") as glue:
        yield glue


class Listed(Newest):
    """Answers with a list that a test makes of the names that were sent."""

    def __init__(self, exchange: Exchange, rows: object, status: int = 200) -> None:
        super().__init__(cast("Tenant", None), exchange, (), ())
        self.rows, self.status = rows, status
        self.asked = ""

    async def _ask(self, target: str) -> tuple[int, bytes]:
        self.asked = target
        if isinstance(self.rows, Exception):
            raise self.rows
        if self.rows == "late":
            await asyncio.sleep(3600)
        text = " ".join(sorted(self.names)) + ", Zqcompany"
        rows = [{"id": number, "text": text} for number in cast("list[str]", self.rows)]
        return self.status, orjson.dumps({"results": [{"id": "1", "text": "somebody else"}, *rows]})


async def create(
    glue: Glue, rows: object, fields: dict[str, str], *, path: str = ADD, to: str = LIST, status: int = 200
) -> tuple[Listed, dict[str, str]]:
    body = urlencode(fields).encode()
    exchange = glue.exchange("POST", path, role="sales", body=body)
    assert exchange.operation is not None
    assert "newest" in exchange.operation.extra
    exchange.newest = asked = Listed(exchange, rows, status)
    outgoing = await glue.protect(exchange, body)
    assert isinstance(outgoing.body, bytes)
    held = dict(parse_qsl(outgoing.body.decode(), keep_blank_values=True))
    await glue.answer(exchange, b"", status=302, location=to)
    return asked, held


async def places(glue: Glue, surrogate: str) -> set[str | None]:
    return {origin.record for origin in (await glue.entry(surrogate)).origins}


async def owner(glue: Glue, entity: str, record: str) -> str | None:
    await glue.records.load(TENANT, [(entity, record)], glue.clock())
    return glue.records.owner(TENANT, entity, record, glue.clock())


async def test_the_new_record_is_found_by_its_own_name(django: Glue) -> None:
    asked, held = await create(django, ["5"], PERSON)
    assert asked.asked.startswith("/en/123/autocomplete/?")
    assert asked.names == {held["first_name"], held["last_name"]}
    for name in PERSON:
        assert await places(django, held[name]) == {"5"}


@pytest.mark.parametrize("rows", [[], ["5", "6"], ["5x"], UpstreamDown("gone")])
async def test_what_the_crm_does_not_tell_binds_nothing(django: Glue, rows: object) -> None:
    _, held = await create(django, rows, PERSON)
    assert await places(django, held["first_name"]) == {None}


async def test_an_answer_that_is_late_or_an_error_binds_nothing(django: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "ASK_S", 0.01)
    _, held = await create(django, "late", PERSON)
    assert await places(django, held["first_name"]) == {None}
    _, held = await create(django, ["5"], PERSON, status=500)
    assert await places(django, held["first_name"]) == {None}


@pytest.mark.parametrize("to", ["/en/123/789-login/?next=/en/123/crm/contact/add/", "/en/123/", "/de/123/789-login/"])
async def test_a_create_the_crm_did_not_accept_is_not_asked_about(django: Glue, to: str) -> None:
    asked, held = await create(django, ["5"], PERSON, to=to)
    assert asked.asked == ""
    assert await places(django, held["first_name"]) == {None}


async def test_nothing_is_asked_where_no_name_was_brought(django: Glue) -> None:
    asked, held = await create(django, ["5"], {"email": "zw@example.com", "description": "nobody"})
    assert asked.asked == ""
    assert await places(django, held["email"]) == {None}


async def test_a_contact_has_the_owner_of_its_company(django: Glue) -> None:
    firm = {"full_name": "张氏", "email": "info@example.com"}
    await create(django, ["12"], {**firm, "owner": BORIS}, path=COMPANY, to="/en/123/crm/company/")
    assert await owner(django, "company", "12") == BORIS
    await create(django, ["5"], {**PERSON, "company": "12", "owner": ANNA})
    assert await owner(django, "contact", "5") == BORIS
    await create(django, ["6"], {**PERSON, "company": "13"})
    assert await owner(django, "contact", "6") is None


async def test_a_contact_that_changes_its_company_is_nobodys_until_it_is_known(django: Glue) -> None:
    await create(django, ["12"], {"full_name": "A", "email": "a@example.com", "owner": ANNA}, path=COMPANY)
    await create(django, ["5"], {**PERSON, "company": "12"})
    edit = "/en/123/crm/contact/5/change/"
    exchange, _ = await django.send_form(edit, {"title": "x", "company": "12"})
    await django.answer(exchange, b"", status=302, location=LIST)
    assert await owner(django, "contact", "5") == ANNA
    exchange, _ = await django.send_form(edit, {"title": "x", "company": "77"})
    await django.answer(exchange, b"", status=302, location=LIST)
    assert await owner(django, "contact", "5") is None


async def test_people_inside_a_company_are_records_of_their_own(django: Glue) -> None:
    rows = {
        "contacts-0-id": "15",
        "contacts-0-phone": "13911112222",
        "contacts-1-id": "",
        "contacts-1-first_name": "New",
    }
    exchange, held = await django.send_form("/en/123/crm/company/12/change/", {"full_name": "A", **rows})
    await django.answer(exchange, b"", status=302, location="/en/123/crm/company/")
    entry = await django.entry(held["contacts-0-phone"])
    assert {(one.entity, one.field, one.record) for one in entry.origins} == {("contact", "phone", "15")}
    new = await django.entry(held["contacts-1-first_name"])
    assert {(one.entity, one.field, one.record) for one in new.origins} == {("contact", "first_name", None)}
    assert await places(django, held["full_name"]) == {"12"}


async def test_several_values_in_one_box_are_protected_one_by_one(django: Glue) -> None:
    given = "info@example.com, sales@example.com"
    exchange, held = await django.send_form("/en/123/crm/company/12/change/", {"full_name": "A", "email": given})
    first, second = held["email"].split(", ")
    assert (await django.entry(first)).clear == "info@example.com"
    assert (await django.entry(second)).clear == "sales@example.com"
    await django.answer(exchange, b"", status=302, location="/en/123/crm/company/")
    page = f'<input name="email" value="{held["email"]}">'
    assert f'value="{given}"' in await django.see(page, role="manager", target="/en/123/crm/company/12/change/")


async def test_empty_rows_of_a_form_need_no_right(pool: Pool, keyring_path: Path, tmp_path: Path) -> None:
    """Every form of a company also sends the empty row that its scripts copy."""
    policy = tmp_path / "policy.csv"
    rights = ("op:*, *", "field:company.*, write", "field:company.*, clear")
    policy.write_text("".join(f"p, clerk, *, {right}, any\n" for right in rights))
    async with open_glue(pool, keyring_path, "djangocrm", policy) as glue:
        rows = {"contacts-__prefix__-phone": "", "contacts-0-id": "", "contacts-0-email": " "}
        body = urlencode({"full_name": "A", **rows}).encode()
        exchange = glue.exchange("POST", "/en/123/crm/company/12/change/", role="clerk", body=body)
        outgoing = await glue.protect(exchange, body)
        assert isinstance(outgoing.body, bytes)
        assert dict(parse_qsl(outgoing.body.decode(), keep_blank_values=True))["contacts-0-email"] == " "
