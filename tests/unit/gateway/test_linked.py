"""A column that names a record of another kind becomes what stands there, by what the writer sees only."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from gateway.body.csv import open_csv
from gateway.body.spool import Spooled
from gateway.database import Pool
from kms.tokens import NewValue, Origin
from policies.enforcer import DEFAULT_POLICY
from tests.unit.gateway.glue import TENANT, Glue, open_glue

FIRM = "张氏贸易有限公司"
POLICY = "\ng, importer, sales, *\np, importer, *, op:*, import, any\n"


@pytest_asyncio.fixture
async def djangocrm(pool: Pool, keyring_path: Path, tmp_path: Path) -> AsyncIterator[Glue]:
    policy = tmp_path / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    async with open_glue(pool, keyring_path, "djangocrm", policy) as glue:
        yield glue


async def company(glue: Glue, record: str, name: str = FIRM) -> str:
    """The surrogate of the name of a company."""
    value = NewValue("name", name, Origin("company", "full_name", record))
    return (await glue.vault.place(TENANT, [value], f"cell{record}"))[0][0]


async def brought(glue: Glue, role: str, row: dict[str, str], target: str = "import_contacts") -> dict[str, str]:
    """What DjangoCRM gets of a row, by column."""
    table = ",".join(row) + "\r\n" + ",".join(row.values()) + "\r\n"
    head = 'Content-Disposition: form-data; name="file"; filename="people.csv"\r\nContent-Type: text/csv'
    body = f"--b\r\n{head}\r\n\r\n{table}\r\n--b--\r\n".encode()
    media = "multipart/form-data; boundary=b"
    exchange = glue.exchange("POST", f"/en/123/{target}/", role=role, body=body, content_type=media)
    outgoing = await glue.protect(exchange, body, media)
    assert isinstance(outgoing.body, Spooled)
    whole = b"".join([chunk async for chunk in outgoing.body.chunks()])
    await outgoing.body.close()
    sent = whole.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
    return {leaf.path[0]: leaf.text for leaf in open_csv(sent).leaves}


async def test_a_contact_s_company_becomes_what_stands_in_the_company(djangocrm: Glue) -> None:
    held = await company(djangocrm, "4")
    told = await brought(djangocrm, "manager", {"first_name": "伟明", "email": "zhang@example.com", "company": FIRM})
    assert told["company"] == held
    assert told["first_name"] != "伟明"
    stands = await djangocrm.vault.at_origin(TENANT, "company", "full_name", "4")
    assert [one.surrogate for one in stands] == [held]


async def test_who_does_not_see_the_company_s_name_learns_nothing_by_naming_it(djangocrm: Glue) -> None:
    held = await company(djangocrm, "4")
    told = await brought(djangocrm, "importer", {"first_name": "伟明", "company": FIRM})
    assert told["company"] not in (held, FIRM)


async def test_two_companies_of_one_name_cannot_be_told_apart(djangocrm: Glue) -> None:
    both = {await company(djangocrm, "4"), await company(djangocrm, "5")}
    assert len(both) == 2
    told = await brought(djangocrm, "manager", {"first_name": "伟明", "company": FIRM})
    assert told["company"] not in {*both, FIRM}


async def test_a_company_s_own_name_is_no_link(djangocrm: Glue) -> None:
    held = await company(djangocrm, "4")
    told = await brought(djangocrm, "manager", {"full_name": FIRM, "email": "x@example.com"}, "import-companies")
    assert told["full_name"] not in (held, FIRM)


async def test_a_person_who_is_contact_and_lead_is_the_contact_where_contacts_come_in(djangocrm: Glue) -> None:
    values = {"first_name": "伟明", "last_name": "张", "email": "zhang@example.com"}
    held: dict[str, dict[str, str]] = {}
    for entity in ("lead", "contact"):
        given = [
            NewValue("email" if name == "email" else "name", text, Origin(entity, name, "9"))
            for name, text in values.items()
        ]
        placed = await djangocrm.vault.place(TENANT, given, f"cell{entity}")
        held[entity] = dict(zip(values, (surrogate for surrogate, _ in placed), strict=True))
    assert held["lead"] != held["contact"]
    assert await brought(djangocrm, "manager", values) == held["contact"]
    assert await brought(djangocrm, "manager", values, "import_leads") == held["lead"]
