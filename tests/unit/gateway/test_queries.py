"""Whole queries on their way to the CRM: rights per column, operands as the CRM knows them, refusal of the rest."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, unquote

import orjson
import pytest

from gateway.database import Pool
from gateway.inward import Inward
from gateway.refusal import (
    FIELD_NOT_ORDERED,
    FIELD_NOT_SEARCHABLE,
    QUERY_RENAMES,
    QUERY_UNREADABLE,
    SEARCH_TOO_WIDE,
    SEARCH_WHOLE_ONLY,
    Refusal,
)
from gateway.search import Search
from kms.surrogate import no_match
from policies.enforcer import DEFAULT_POLICY
from tests.unit.gateway.glue import JSON, TENANT, Glue, open_glue

BASE = "/services/data/v60.0"
RECORD = "0035g00000abcdeAAA"
PEOPLE = (
    {"FirstName": "Anna", "LastName": "Smith", "Email": "anna@example.com", "Phone": "13800138000"},
    {"FirstName": "Bert", "LastName": "Smithson", "Email": "bert@example.org", "Phone": "13900139000"},
    {"FirstName": "Carl", "LastName": "O'Brien", "Email": "carl@example.org", "Phone": "13700137000"},
)
# phones: sees every telephone number and no name; masks: sees e-mail addresses masked.
POLICY = """
p, phones, *, kind:phone, clear, any
p, phones, *, kind:phone, search, any
p, phones, *, op:*, *, any
p, masks, *, kind:email, masked, any
p, masks, *, kind:email, search, any
p, masks, *, op:*, *, any
"""


@pytest.fixture
async def sf(pool: Pool, keyring_path: Path, tmp_path: Path) -> AsyncIterator[Glue]:
    """The stages in front of a Salesforce, with two more roles."""
    policy = tmp_path / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    async with open_glue(pool, keyring_path, "salesforce", policy) as made:
        yield made


async def entered(glue: Glue) -> list[dict[str, str]]:
    """What Salesforce holds of three people."""
    held = []
    for number, person in enumerate(PEOPLE):
        body = orjson.dumps(person)
        exchange = glue.exchange("POST", f"{BASE}/sobjects/Contact", body=body, content_type=JSON, user="somebody")
        outgoing = await glue.protect(exchange, body, JSON)
        assert isinstance(outgoing.body, bytes)
        held.append(orjson.loads(outgoing.body))
        answer = orjson.dumps({"id": f"0035g0000000{number:03d}", "success": True})
        await glue.answer(exchange, answer, JSON, status=201)
    return held


async def soql(glue: Glue, text: str, role: str = "manager") -> str:
    """The query that Salesforce gets."""
    exchange = glue.exchange("GET", f"{BASE}/query?q={quote(text)}", role=role)
    target = (await glue.protect(exchange, None)).target
    return unquote(target.partition("?q=")[2])


async def refused(glue: Glue, text: str, role: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await soql(glue, text, role)
    assert not any(value in str(caught.value.detail) for person in PEOPLE for value in person.values())
    return caught.value


async def test_operands_become_what_salesforce_holds_and_nothing_else_changes(sf: Glue) -> None:
    anna, bert, _ = await entered(sf)
    text = "SELECT  Id,Email FROM Contact WHERE Email='anna@example.com' and ( Phone in ('13900139000') ) limit 5"
    assert await soql(sf, text) == text.replace("anna@example.com", anna["Email"]).replace("13900139000", bert["Phone"])


async def test_a_part_becomes_a_list_of_what_it_fits(sf: Glue) -> None:
    anna, bert, carl = await entered(sf)
    assert await soql(sf, "SELECT Id FROM Contact WHERE NOT LastName LIKE 'smith%'") in (
        f"SELECT Id FROM Contact WHERE NOT LastName IN ('{anna['LastName']}', '{bert['LastName']}')",
        f"SELECT Id FROM Contact WHERE NOT LastName IN ('{bert['LastName']}', '{anna['LastName']}')",
    )
    assert await soql(sf, "SELECT Id FROM Contact WHERE LastName LIKE '%\\'b%'") == (
        f"SELECT Id FROM Contact WHERE LastName IN ('{carl['LastName']}')"
    )


async def test_a_full_name_is_asked_for_by_its_parts(sf: Glue) -> None:
    anna, _, _ = await entered(sf)
    none = no_match("name", sf.scanner.shapes)
    text = await soql(sf, "SELECT Id FROM Contact WHERE Name = 'Anna Smith'")
    assert anna["FirstName"] in text or anna["LastName"] in text  # one of them is enough: nobody else has it
    assert text.startswith("SELECT Id FROM Contact WHERE (FirstName IN (")
    begins = await soql(sf, "SELECT Id FROM Contact WHERE Name LIKE 'Ann%'")
    assert begins.endswith(
        f"(FirstName IN ('{anna['FirstName']}') OR MiddleName IN ('{none}') OR LastName IN ('{none}'))"
    )


HOSTILE = ("' OR Email != '", "\\", "\\' OR '1'='1", "x') OR (Id != '", "\u2019", "') --", "%' OR Id LIKE '%")


async def test_no_value_becomes_more_than_a_value(sf: Glue) -> None:
    """Whatever is typed into a condition, the CRM gets the one reserved surrogate."""
    none = no_match("name", sf.scanner.shapes)
    for value in HOSTILE:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        sent = await soql(sf, f"SELECT Id FROM Contact WHERE LastName = '{escaped}'", "sales")
        assert sent == f"SELECT Id FROM Contact WHERE LastName = '{none}'", value
    assert (await refused(sf, "SELECT Id FROM Contact WHERE LastName = 'a\0b'", "sales")).reason is QUERY_UNREADABLE


async def test_a_value_that_the_role_does_not_see_is_one_that_nobody_has(sf: Glue) -> None:
    await entered(sf)
    for column, there, absent in (
        ("Email", "anna@example.com", "nobody@example.com"),
        ("Phone", "13800138000", "13600136000"),
        ("LastName", "Smith", "Nobody"),
        ("Name", "Anna Smith", "Nobody Atall"),
    ):
        sent = [await soql(sf, f"SELECT Id FROM Contact WHERE {column} = '{one}'", "sales") for one in (there, absent)]
        assert sent[0] == sent[1], column
    assert (await soql(sf, "SELECT Id FROM Contact WHERE LastName LIKE 'Smi%'", "sales")) == (
        f"SELECT Id FROM Contact WHERE LastName IN ('{no_match('name', sf.scanner.shapes)}')"
    )


async def test_masked_values_are_found_whole_only(sf: Glue) -> None:
    anna, _, _ = await entered(sf)
    sent = await soql(sf, "SELECT Id FROM Contact WHERE Email = 'anna@example.com'", "masks")
    assert sent.endswith(f"'{anna['Email']}'")
    assert (await refused(sf, "SELECT Id FROM Contact WHERE Email LIKE 'anna%'", "masks")).reason is SEARCH_WHOLE_ONLY


FORBIDDEN = (
    ("sales", "SELECT Id FROM Contact ORDER BY Email", FIELD_NOT_ORDERED),
    ("masks", "SELECT Id FROM Contact ORDER BY Email", FIELD_NOT_ORDERED),
    ("phones", "SELECT Id FROM Contact ORDER BY Phone", FIELD_NOT_ORDERED),
    ("phones", "SELECT Id FROM Contact ORDER BY LastName", FIELD_NOT_ORDERED),
    ("manager", "SELECT Id FROM Contact ORDER BY LastName", FIELD_NOT_ORDERED),
    ("phones", "SELECT Id FROM Contact WHERE Email = 'a'", FIELD_NOT_SEARCHABLE),
    ("phones", "SELECT Id FROM Contact WHERE Email = null", FIELD_NOT_SEARCHABLE),
    ("phones", "SELECT Id FROM Contact WHERE Account.Fax > '1'", FIELD_NOT_ORDERED),
    ("masks", "SELECT Email, COUNT(Id) FROM Contact GROUP BY Email", FIELD_NOT_ORDERED),
    ("masks", "SELECT COUNT(Email) FROM Contact", FIELD_NOT_ORDERED),
    ("phones", "SELECT MAX(Phone) FROM Contact", FIELD_NOT_ORDERED),
    ("manager", "SELECT LastName, COUNT(Id) FROM Contact GROUP BY LastName", FIELD_NOT_ORDERED),
    ("manager", "SELECT COUNT_DISTINCT(LastName) FROM Contact", FIELD_NOT_ORDERED),
    ("manager", "SELECT toLabel(Email) FROM Contact", FIELD_NOT_ORDERED),
    ("sales", "SELECT Id FROM Contact WHERE Secret__c = 'a'", FIELD_NOT_SEARCHABLE),
    ("sales", "SELECT MIN(Secret__c) FROM Contact", FIELD_NOT_SEARCHABLE),
    ("sales", "SELECT Id FROM Contact ORDER BY Description", FIELD_NOT_SEARCHABLE),
    ("sales", "SELECT Id FROM Contact WHERE Description > 'a'", FIELD_NOT_SEARCHABLE),
    ("sales", "SELECT Email a FROM Contact", QUERY_RENAMES),
    ("sales", "SELECT Description a FROM Contact", QUERY_RENAMES),
    ("sales", "SELECT AccountId Id FROM Contact", QUERY_RENAMES),
    ("sales", "SELECT AccountId email FROM Contact", QUERY_RENAMES),
    ("sales", "SELECT Secret__c a FROM Contact", FIELD_NOT_SEARCHABLE),
    ("sales", "SELECT Name, (SELECT Id FROM Contacts WHERE Phone > '1') FROM Account", FIELD_NOT_ORDERED),
    ("sales", "SELECT Id FROM Account WHERE Id IN (SELECT Email FROM Contact)", FIELD_NOT_ORDERED),
    ("manager", "SELECT Account.Name FROM Contact Account", QUERY_UNREADABLE),
    ("manager", "SELECT Id FROM Contact WHERE Email = :a", QUERY_UNREADABLE),
)


async def test_what_may_not_be_asked_is_refused_with_its_reason(sf: Glue) -> None:
    for role, text, reason in FORBIDDEN:
        assert (await refused(sf, text, role)).reason is reason, (role, text)


HARMLESS = (
    ("sales", "SELECT FIELDS(ALL) FROM Contact LIMIT 200"),
    ("sales", "SELECT Id, Email, Secret__c, Account.Owner.Name FROM Contact WHERE CreatedDate = TODAY ORDER BY Id"),
    ("sales", "SELECT LeadSource, COUNT(Id) n FROM Contact GROUP BY LeadSource HAVING COUNT(Id) > 1"),
    ("sales", "SELECT COUNT() FROM Lead WHERE Status IN ('Open', 'New')"),
    ("sales", "SELECT Id FROM Case WHERE Subject LIKE '%invoice%'"),
    ("phones", "SELECT Phone, COUNT(Id) FROM Contact GROUP BY Phone"),
    ("phones", "SELECT COUNT_DISTINCT(Phone) FROM Contact WHERE Phone != null"),
    ("manager", "SELECT Secret__c a FROM Contact WHERE Other__c > 5 ORDER BY Secret__c"),
    ("manager", "SELECT COUNT(LastName) FROM Contact"),
)


async def test_what_concerns_nobody_passes_as_it_came(sf: Glue) -> None:
    for role, text in HARMLESS:
        assert await soql(sf, text, role) == text, (role, text)


async def test_no_recognised_value_reaches_the_crm_in_any_other_column(sf: Glue) -> None:
    anna, _, _ = await entered(sf)
    for text in (
        "SELECT Id FROM Case WHERE Subject = 'called 13800138000'",
        "SELECT Id FROM Case WHERE Subject LIKE '%13800138000%'",
        "SELECT Id FROM Contact WHERE LeadSource = '13800138000'",
        "SELECT Id FROM Contact WHERE Secret__c IN ('13800138000')",
        "SELECT LeadSource FROM Contact GROUP BY LeadSource HAVING MIN(Title) = '13800138000'",
    ):
        assert await soql(sf, text) == text.replace("13800138000", anna["Phone"])


async def test_brackets_around_a_query_hide_nothing(sf: Glue) -> None:
    for text in ('{"a": "SELECT Id FROM Contact ORDER BY Email"}', '["anna@example.com"]'):
        assert (await refused(sf, text, "sales")).reason is QUERY_UNREADABLE


async def test_a_list_that_no_address_line_can_hold_is_refused(sf: Glue) -> None:
    await entered(sf)
    many = ", ".join(["'anna@example.com'"] * 200)
    assert (await refused(sf, f"SELECT Id FROM Contact WHERE Email IN ({many})", "manager")).reason is SEARCH_TOO_WIDE


async def test_before_everything_is_protected_who_sees_all_finds_what_stands_in_clear(sf: Glue) -> None:
    anna, _, _ = await entered(sf)
    sf.search = Search(sf.vault, sf.records, lambda _: False)
    sf.inward = Inward(sf.tokeniser, sf.search, {TENANT: sf.scanner}.__getitem__, sf.limits)
    assert await soql(sf, "SELECT Id FROM Contact WHERE Email != 'anna@example.com'") == (
        f"SELECT Id FROM Contact WHERE Email NOT IN ('{anna['Email']}', 'anna@example.com')"
    )
    part = await soql(sf, "SELECT Id FROM Contact WHERE FirstName LIKE 'ann%'")
    assert f"(FirstName IN ('{anna['FirstName']}') OR (FirstName LIKE 'ann%' AND (NOT FirstName LIKE 'Zq%')))" in part
    assert "anna@example.com" not in await soql(sf, "SELECT Id FROM Contact WHERE Email = 'anna@example.com'", "masks")
    # Words of a note may hold a value that stands there in clear.
    assert (await refused(sf, "SELECT Id FROM Case WHERE Subject LIKE '%a%'", "sales")).reason is FIELD_NOT_SEARCHABLE


async def test_a_key_in_the_path_is_looked_up_and_one_that_is_written_is_stored(sf: Glue) -> None:
    anna, _, _ = await entered(sf)
    path = f"{BASE}/sobjects/Contact/Email__c/"
    read = await sf.protect(sf.exchange("GET", path + "anna%40example.com?fields=Id"), None)
    assert read.target == f"{path}{quote(anna['Email'], safe='')}?fields=Id"
    hidden = await sf.protect(sf.exchange("GET", path + "anna%40example.com", role="sales"), b"")
    assert hidden.target == path + quote(no_match("email", sf.scanner.shapes), safe="")
    body = b'{"Phone": "13600136001"}'
    exchange = sf.exchange("PATCH", path + "new%40example.com", body=body, content_type=JSON)
    written = await sf.protect(exchange, body, JSON)
    surrogate = unquote(written.target.rpartition("/")[2])
    assert (await sf.entry(surrogate)).clear == "new@example.com"
    with pytest.raises(Refusal) as caught:
        await sf.protect(sf.exchange("PATCH", path + "new%40example.com", role="phones", body=b"{}"), b"{}", JSON)
    assert caught.value.reason.status == 403


async def test_coql_in_a_body_is_asked_with_what_zoho_holds(pool: Pool, keyring_path: Path) -> None:
    async with open_glue(pool, keyring_path, "zoho") as zoho:
        body = orjson.dumps({"data": [{"Last_Name": "Smith", "Email": "anna@example.com"}]})
        exchange = zoho.exchange("POST", "/crm/v8/Contacts", body=body, content_type=JSON)
        outgoing = await zoho.protect(exchange, body, JSON)
        assert isinstance(outgoing.body, bytes)
        held = orjson.loads(outgoing.body)["data"][0]
        asked = b'{"select_query": "select id from Contacts where Email = \'anna@example.com\' limit 1"}'
        exchange = zoho.exchange("POST", "/crm/v8/coql", body=asked, content_type=JSON)
        outgoing = await zoho.protect(exchange, asked, JSON)
        assert outgoing.body == asked.replace(b"anna@example.com", held["Email"].encode())
