"""Clear names in answers of hosted CRMs are hidden from a restricted role until everything is protected."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.database import Pool
from tests.hosted.salesforce import full_id
from tests.unit.gateway.glue import JSON, open_glue
from tests.unit.gateway.test_unprotected import watched

FIRST, LAST, COMPANY, STREET = "Ottokar", "Brzeziński-Ó", "Ostkel Fonderie", "12 rue Ostwald, 75001 Paris"
WHOLE = f"{FIRST} {LAST}"
CLEAR = (FIRST, LAST, COMPANY, "Ostwald")
ID = "5f4a0b1c2d3e4f5061728394"
SF, UUID = full_id("0035g0000000001"), "7c1e5a52-7a7e-4a54-9f3e-0f6a2d9c1b10"


def odoo(method: str, model: str = "res.partner", **named: Any) -> tuple[str, str, Any]:
    return "POST", f"/json/2/{model}/{method}", named


def fxiaoke(verb: str, name: str = "ContactObj") -> tuple[str, str, Any]:
    more = {"objectDataId": ID} if verb == "get" else {"search_query_info": {"limit": 10}}
    return "POST", f"/cgi/crm/v2/data/{verb}", {"data": {"dataObjectApiName": name, **more}}


def get(path: str) -> tuple[str, str, Any]:
    return "GET", path, None


FX_ROW = {"_id": ID, "name": WHOLE, "name__r": WHOLE, "account_id__r": COMPANY, "add": STREET}
HS_ROW = {"id": "7", "properties": {"firstname": FIRST, "lastname": LAST, "address": STREET}}
PARTNER = {"id": 7, "name": WHOLE, "display_name": WHOLE, "street": STREET, "parent_id": [8, COMPANY]}
LEAD = {"id": 7, "contact_name": WHOLE, "partner_id": {"id": 8, "display_name": COMPANY}, "street": STREET}
SF_ROW = {
    "Id": SF,
    "FirstName": FIRST,
    "LastName": LAST,
    "Name": WHOLE,
    "Account": {"Name": COMPANY},
    "MailingStreet": STREET,
}
DYN_ROW = {"contactid": UUID, "firstname": FIRST, "lastname": LAST, "fullname": WHOLE, "address1_line1": STREET}
ZOHO_ROW = {"id": "7", "First_Name": FIRST, "Last_Name": LAST, "Full_Name": WHOLE, "Mailing_Street": STREET}

ANSWERS: list[tuple[str, str, tuple[str, str, Any], Any]] = [
    ("fxiaoke", "a list", fxiaoke("query"), {"errorCode": 0, "data": {"total": 1, "dataList": [FX_ROW]}}),
    ("fxiaoke", "one", fxiaoke("get"), {"errorCode": 0, "data": FX_ROW}),
    ("fxiaoke", "an account", fxiaoke("get", "AccountObj"), {"errorCode": 0, "data": {"_id": ID, "name": COMPANY}}),
    ("fxiaoke", "leads", fxiaoke("query", "LeadsObj"), {"errorCode": 0, "data": {"dataList": [{"name": WHOLE}]}}),
    (
        "fxiaoke",
        "orders",
        fxiaoke("query", "SalesOrderObj"),
        {"errorCode": 0, "data": {"dataList": [{"account_id__r": COMPANY}]}},
    ),
    ("hubspot", "a list", get("/crm/v3/objects/contacts"), {"results": [HS_ROW]}),
    ("hubspot", "one", get("/crm/v3/objects/contacts/7"), HS_ROW),
    (
        "hubspot",
        "a history",
        get("/crm/v3/objects/contacts/7"),
        {"propertiesWithHistory": {"lastname": [{"value": LAST}], "firstname": [{"value": FIRST}]}},
    ),
    (
        "hubspot",
        "contacts v1",
        get("/contacts/v1/lists/all/contacts/all"),
        {"contacts": [{"vid": 7, "properties": {"lastname": {"value": LAST}}}]},
    ),
    (
        "neocrm",
        "one",
        get("/rest/data/v2.0/xobjects/contact/7"),
        {"code": 200, "data": {"id": 7, "contactName": WHOLE, "address": STREET}},
    ),
    (
        "neocrm",
        "an account",
        get("/rest/data/v2.0/xobjects/account/7"),
        {"code": 200, "data": {"id": 7, "accountName": COMPANY}},
    ),
    ("neocrm", "a lead", get("/rest/data/v2.0/xobjects/lead/7"), {"code": 200, "data": {"id": 7, "name": WHOLE}}),
    (
        "neocrm",
        "a list",
        get("/rest/data/v2/query?q=select%20id%2CcontactName%20from%20contact"),
        {"code": 200, "data": {"records": [{"id": 7, "contactName": WHOLE}]}},
    ),
    ("odoo", "a list", odoo("search_read", domain=[], fields=["name"]), [PARTNER]),
    ("odoo", "one", odoo("read", ids=[7], fields=["name"]), [PARTNER]),
    ("odoo", "labels", odoo("name_search", name=""), [[7, WHOLE], [8, COMPANY]]),
    ("odoo", "leads", odoo("search_read", "crm.lead", domain=[], fields=["contact_name"]), [LEAD]),
    (
        "odoo",
        "orders",
        odoo("search_read", "sale.order", domain=[], fields=["partner_id"]),
        [{"id": 3, "partner_id": [7, WHOLE]}],
    ),
    (
        "salesforce",
        "a list",
        get("/services/data/v60.0/query?q=SELECT+Id%2CName+FROM+Contact"),
        {"totalSize": 1, "records": [SF_ROW]},
    ),
    ("salesforce", "one", get(f"/services/data/v60.0/sobjects/Contact/{SF}"), SF_ROW),
    ("dynamics", "a list", get("/api/data/v9.2/contacts"), {"value": [DYN_ROW]}),
    ("dynamics", "one", get(f"/api/data/v9.2/contacts({UUID})"), DYN_ROW),
    ("zoho", "a list", get("/crm/v8/Contacts"), {"data": [ZOHO_ROW]}),
    ("zoho", "one", get("/crm/v8/Contacts/7"), {"data": [ZOHO_ROW]}),
]


@pytest.mark.parametrize(("profile", "what", "call", "answer"), ANSWERS, ids=[f"{one[0]}: {one[1]}" for one in ANSWERS])
async def test_a_clear_name_is_hidden_from_a_restricted_role_and_stays_for_who_sees_everything(
    pool: Pool, keyring_path: Path, profile: str, what: str, call: tuple[str, str, Any], answer: Any
) -> None:
    method, target, given = call
    sent = None if given is None else json.dumps(given).encode()
    body = json.dumps(answer, ensure_ascii=False).encode()
    async with open_glue(pool, keyring_path, profile) as glue:
        shown = {}
        for role in ("sales", "manager"):
            exchange = watched(glue).exchange(method, target, role=role, body=sent, content_type=JSON)
            assert exchange.operation is not None
            assert not exchange.operation.id.startswith("unmatched")
            _, out = await glue.answer(exchange, body, JSON)
            shown[role] = out.decode()
    assert [one for one in CLEAR if one in shown["sales"]] == []
    assert json.loads(shown["manager"]) == answer
