"""A row of a table says again what stands in the record it tells of; it leads to one by what its writer sees only."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from gateway.body.csv import open_csv
from gateway.body.xlsx import open_xlsx
from gateway.database import Pool
from gateway.refusal import MASK_RETURNED, Refusal
from gateway.reveal import PLACEHOLDER
from tests.drills.edit_crm import POLICY, PROFILE, XLSX, as_csv, as_xlsx
from tests.unit.gateway.glue import TENANT, Glue, open_glue
from tests.unit.gateway.test_standing import PERSON, sent

NOTE = "张伟明 asked to be called on 138-0013-8000, not by mail to zhang.weiming@example.com"
COLUMNS = ("name", "email", "phone", "address", "note")


@pytest_asyncio.fixture
async def contacts(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, str(PROFILE), POLICY) as glue:
        yield glue


async def entered(glue: Glue, **changes: str) -> dict[str, str]:
    """What the CRM holds of the person."""
    person = {**PERSON, "note": NOTE, **changes}
    return await sent(glue, "manager", "POST", "/api/contacts", person, status=201)


async def brought(
    glue: Glue, role: str, row: Mapping[str, str], columns: Sequence[str] = (), kind: str = "csv"
) -> dict[str, str]:
    """What the CRM gets of a row that is imported, by column."""
    make, media = (as_csv, "text/csv") if kind == "csv" else (as_xlsx, XLSX)
    table = make([dict(row)], tuple(columns or row))
    exchange = glue.exchange("POST", "/contacts/import", role=role, body=table, content_type=media)
    outgoing = await glue.protect(exchange, table, media)
    assert isinstance(outgoing.body, bytes)
    document = open_csv(outgoing.body) if kind == "csv" else open_xlsx(outgoing.body)
    return {leaf.path[0]: leaf.text for leaf in document.leaves}


async def refused(glue: Glue, role: str, row: Mapping[str, str]) -> tuple[str, ...]:
    """The fields that a refused row names."""
    with pytest.raises(Refusal) as caught:
        await brought(glue, role, row)
    assert caught.value.reason is MASK_RETURNED
    return caught.value.fields


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_a_row_as_it_went_out_brings_the_same_surrogates(contacts: Glue, kind: str) -> None:
    held = await entered(contacts)
    row = {**PERSON, "note": NOTE}
    assert await brought(contacts, "manager", row, COLUMNS, kind) == {name: held[name] for name in COLUMNS}


async def test_a_value_that_was_changed_is_a_new_one_and_bound_to_nothing_yet(contacts: Glue) -> None:
    held = await entered(contacts)
    told = await brought(contacts, "manager", {**PERSON, "phone": "13900139000"}, COLUMNS)
    assert {name for name in ("name", "email", "phone", "address") if told.get(name) != held[name]} == {"phone"}
    stands = await contacts.vault.at_origin(TENANT, "contact", "phone", "5")
    assert [one.surrogate for one in stands] == [held["phone"]]


async def test_a_row_that_shares_an_address_only_is_another_person(contacts: Glue) -> None:
    held = await entered(contacts)
    told = await brought(contacts, "manager", {"name": "李娜", "email": PERSON["email"]})
    assert told["email"] == held["email"]
    assert told["name"] != held["name"]


async def test_masks_go_back_to_the_record_whose_names_and_masks_all_fit(contacts: Glue) -> None:
    held = await entered(contacts)
    row = {"name": PERSON["name"], "phone": "138****8000", "email": "z***@example.com"}
    assert await brought(contacts, "sales", row) == {name: held[name] for name in row}
    changed = {**row, "address": "2 rue de Rivoli"}
    told = await brought(contacts, "sales", changed)
    assert {name for name in row if told[name] != held[name]} == set()
    assert told["address"] != held["address"]


async def test_masks_inside_a_note_go_back_too(contacts: Glue) -> None:
    held = await entered(contacts)
    note = NOTE.replace("138-0013-8000", "138****8000").replace("zhang.weiming@", "z***@")
    told = await brought(contacts, "sales", {"name": PERSON["name"], "phone": "138****8000", "note": note})
    assert told["note"] == held["note"]
    assert await refused(
        contacts, "sales", {"name": PERSON["name"], "phone": "138****8000", "note": f"{note}, 130****0000"}
    ) == ("note",)


async def test_two_hidden_parts_of_a_note_cannot_be_told_apart(contacts: Glue) -> None:
    await entered(contacts, note="ID 11010519491231002X, card 6217000555266786984")
    assert await refused(
        contacts, "sales", {"name": PERSON["name"], "note": f"ID {PLACEHOLDER}, card {PLACEHOLDER}"}
    ) == ("note",)


async def test_a_mask_that_fits_nothing_is_refused_and_the_field_is_named(contacts: Glue) -> None:
    await entered(contacts)
    assert await refused(contacts, "sales", {"name": PERSON["name"], "phone": "138****8001"}) == ("phone",)
    assert await refused(contacts, "sales", {"name": "王芳", "phone": "138****8000"}) == ("phone",)


async def test_two_records_that_fit_alike_are_none(contacts: Glue) -> None:
    await entered(contacts)
    await sent_as(contacts, 6, {**PERSON, "email": "zoe@example.com", "phone": "13812348000"})
    row = {"name": PERSON["name"], "phone": "138****8000"}
    assert await refused(contacts, "sales", row) == ("phone",)


@pytest.mark.parametrize("role", ["sales", "blind"])
async def test_a_guess_at_what_is_masked_or_hidden_leads_nowhere(contacts: Glue, role: str) -> None:
    """Were a right guess accepted and a wrong one refused, the answer would tell."""
    await entered(contacts)
    for email in (PERSON["email"], "nobody@example.com"):
        assert await refused(contacts, role, {"email": email, "id_card": PLACEHOLDER}) == ("id_card",)


async def test_who_sees_nothing_gets_no_mask_back_by_a_name(contacts: Glue) -> None:
    await entered(contacts)
    assert await refused(contacts, "blind", {"name": PERSON["name"], "phone": PLACEHOLDER}) == ("phone",)


async def test_a_surrogate_leads_nobody_to_a_record_of_which_he_sees_nothing(contacts: Glue) -> None:
    held = await entered(contacts)
    assert await refused(contacts, "blind", {"email": held["email"], "phone": PLACEHOLDER}) == ("phone",)


async def sent_as(glue: Glue, record: int, value: Mapping[str, str]) -> None:
    """A person whose create the CRM answers with this number."""
    body = orjson.dumps(dict(value))
    exchange = glue.exchange("POST", "/api/contacts", role="manager", body=body, content_type="application/json")
    await glue.protect(exchange, body, "application/json")
    await glue.answer(exchange, orjson.dumps({"id": record}), "application/json", status=201)
