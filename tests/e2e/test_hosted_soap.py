"""Salesforce over SOAP behind the real gateway: calls told apart by the body, fields protected in both directions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.demo.browser import Answer, Browser
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import close_all, join, sign_in
from tests.hosted import salesforce_soap as sf
from tests.hosted.service import Service

pytestmark = pytest.mark.real

# A clerk sees masks and may write names only.
POLICY = """
p, clerk, *, field:*.*#phone, masked, any
p, clerk, *, kind:name, write, any
p, clerk, *, op:*, *, any
"""

LAST, EMAIL, PHONE, NEW_PHONE = "欧阳震华", "ouyang.zhenhua@example.com", "13800138000", "13912345678"
STREET = "北京市朝阳区建国路 1 号"
CLEAR = (LAST, EMAIL, PHONE, NEW_PHONE, STREET)


@dataclass
class Office:
    """crmgate in front of a Salesforce that speaks SOAP."""

    stack: Stack
    service: Service
    manager: Browser
    sales: Browser
    clerk: Browser
    record: str


def call(
    who: Browser,
    name: str,
    inside: str,
    path: str = sf.PARTNER_PATH,
    action: str | None = '""',
    content_type: str = "text/xml; charset=utf-8",
    **more: str,
) -> Answer:
    """One call in a CRM session of one's own."""
    more.setdefault("session", f"{sf.SESSION}.{id(who)}")
    headers = {"origin": who.base, "content-type": content_type, "accept": "text/xml"}
    if action is not None:
        headers["soapaction"] = action
    return who.send("POST", path, sf.envelope(name, inside, **more).encode(), headers)


def contact(**values: str) -> str:
    return sf.records({"type": "Contact", **values})


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    policy = tmp_path_factory.mktemp("soap") / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    extra = f'[tenant.main]\npolicy = "{policy}"\n'
    with sf.salesforce_soap() as service, installed(service, extra) as stack:  # type: ignore[arg-type]
        manager, sales, clerk = (sign_in(stack, join(stack, role)) for role in ("manager", "sales", "clerk"))
        made = call(
            manager, "create", contact(LastName=LAST, Email=EMAIL, Phone=PHONE, MailingStreet=STREET, Title="CEO")
        ).expect(200)
        found = re.search(r"<id>(\w{18})</id>", made.text)
        assert found is not None, made.text
        yield Office(stack, service, manager, sales, clerk, found[1])
        close_all()


def row(office: Office) -> dict[str, str]:
    """What the CRM holds."""
    return office.service.tables["Contact"][office.record]


def test_a_contact_is_stored_as_surrogates_and_shown_by_right(office: Office) -> None:
    assert row(office)["Title"] == "CEO"
    assert [one for one in CLEAR if one in office.service.everything()] == []
    inside = "<urn:fieldList>Id, LastName</urn:fieldList><urn:sObjectType>Contact</urn:sObjectType>"
    inside += f"<urn:ids>{office.record}</urn:ids>"
    shown = call(office.manager, "retrieve", inside).expect(200).text
    assert [one for one in (LAST, EMAIL, PHONE, STREET) if one not in shown] == []
    hidden = call(office.sales, "retrieve", inside).expect(200).text
    assert [one for one in CLEAR if one in hidden] == []
    assert "CEO" in hidden


def test_a_query_by_a_clear_value_finds_the_record(office: Office) -> None:
    text = f"<urn:queryString>SELECT Id, Phone FROM Contact WHERE Email = '{EMAIL}'</urn:queryString>"
    found = call(office.manager, "query", text).expect(200).text
    assert office.record in found
    assert PHONE in found
    assert EMAIL not in office.service.everything()


def test_a_query_that_orders_by_a_hidden_field_is_refused(office: Office) -> None:
    text = "<urn:queryString>SELECT Id FROM Contact ORDER BY Phone</urn:queryString>"
    assert call(office.sales, "query", text).json()["reason"].startswith(("order-", "field-", "search-"))


def test_an_update_changes_what_it_names_and_nothing_else(office: Office) -> None:
    before = dict(row(office))
    call(office.manager, "update", contact(Id=office.record, Phone=NEW_PHONE)).expect(200)
    after = row(office)
    assert after["Phone"] != before["Phone"]
    assert {**after, "Phone": before["Phone"]} == before
    assert NEW_PHONE not in office.service.everything()
    call(office.manager, "update", contact(Id=office.record, Phone=PHONE)).expect(200)


def test_a_role_without_the_right_can_neither_change_nor_empty_a_field(office: Office) -> None:
    before = dict(row(office))
    for values in ({"Phone": "13700001111"}, {"Phone": ""}, {"fieldsToNull": "Phone"}):
        answer = call(office.clerk, "update", contact(Id=office.record, **values))
        assert answer.json()["reason"] in ("field-not-writable", "mask-not-restorable", "value-not-writable"), (
            answer.text
        )
    assert row(office) == before


def test_the_enterprise_api_tells_the_object_by_its_type_attribute(office: Office) -> None:
    inside = f'<urn:sObjects xsi:type="urn:Contact"><LastName>{LAST}</LastName></urn:sObjects>'
    made = call(office.manager, "create", inside, sf.ENTERPRISE_PATH, namespace=sf.ENTERPRISE).expect(200)
    assert "<success>true</success>" in made.text
    assert LAST not in office.service.everything()


def test_a_login_is_left_alone(office: Office) -> None:
    inside = f"<urn:username>{EMAIL}</urn:username><urn:password>secret</urn:password>"
    answer = call(office.manager, "login", inside, session="").expect(200)
    assert sf.SESSION in answer.text
    assert EMAIL.encode() in office.service.arrived.pop()


@pytest.mark.parametrize(
    "change",
    [
        {"action": '"urn:delete"'},
        {"content_type": 'application/soap+xml; charset=utf-8; action="urn:delete"', "action": None},
        {"namespace": "urn:other"},
        {"content_type": "application/json"},
        {"content_type": "text/xml; charset=iso-8859-1"},
    ],
)
def test_a_call_that_says_two_things_is_refused(office: Office, change: dict[str, str]) -> None:
    arrived = len(office.service.arrived)
    answer = call(office.manager, "create", contact(LastName=LAST), **change)
    assert answer.json()["reason"] in ("write-not-granted", "body-malformed"), answer.text
    assert len(office.service.arrived) == arrived


@pytest.mark.parametrize("call_name", ["upsert", "merge", "search", "convertLead"])
def test_a_call_that_the_profile_does_not_know_is_refused(office: Office, call_name: str) -> None:
    assert call(office.manager, call_name, contact(LastName=LAST)).json()["reason"] == "write-not-granted"


def test_other_objects_and_mixed_ones_are_refused(office: Office) -> None:
    both = contact(LastName=LAST) + sf.records({"type": "Secret__c", "LastName": LAST})
    for inside in (both, sf.records({"type": "Secret__c", "LastName": LAST})):
        assert call(office.manager, "create", inside).json()["reason"] == "write-not-granted"


def test_a_document_type_is_refused(office: Office) -> None:
    body = '<!DOCTYPE x [<!ENTITY e "13800138000">]>' + sf.envelope("create", contact(Phone="&e;")).split("\n", 1)[1]
    answer = office.manager.send(
        "POST", sf.PARTNER_PATH, body.encode(), {"origin": office.manager.base, "content-type": "text/xml"}
    )
    assert answer.status >= 400
    assert len(office.service.tables["Contact"]) < 10


def test_xml_for_an_address_that_is_described_in_json_is_refused(office: Office) -> None:
    body = f"<Contact><LastName>{LAST}</LastName></Contact>".encode()
    headers = {"origin": office.manager.base, "content-type": "application/xml"}
    answer = office.manager.send("POST", "/services/data/v60.0/sobjects/Contact", body, headers)
    assert answer.json()["reason"] == "body-unreadable"


def test_a_fault_shows_no_more_than_a_page(office: Office) -> None:
    text = f"<urn:queryString>SELECT Nonsense FROM Contact WHERE Email = '{EMAIL}' LIMIT x</urn:queryString>"
    assert EMAIL not in call(office.sales, "query", text).text
    answer = call(office.sales, "query", "<urn:queryString>SELECT Id FROM Contact</urn:queryString>", session="gone")
    assert answer.status == 500
    assert "INVALID_SESSION_ID" in answer.text
    assert [one for one in CLEAR if one in answer.text] == []


def test_a_failed_update_settles_nothing(office: Office) -> None:
    gone = office.record[:-4] + "zAAA"
    answer = call(office.manager, "update", contact(Id=gone, Phone=NEW_PHONE)).expect(200)
    assert "<success>false</success>" in answer.text
    assert NEW_PHONE not in office.service.everything()
