"""Hosted CRMs behind the real gateway: queries find what they would find in clear, and tell nobody what he may not see.

Each CRM is a small server that speaks the vendor's documented shapes (tests/hosted); it keeps every byte it was sent.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from gateway.demo.browser import Answer, Browser
from gateway.demo.people import Person, make_people
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import close_all, join, sign_in
from tests.hosted import dynamics as dv
from tests.hosted import zoho as zh
from tests.hosted.salesforce import BASE, salesforce
from tests.hosted.service import Service

PEOPLE = make_people(random.Random(4), 9)


@dataclass
class Client:
    """One program of one person, with the CRM's own credential in every call."""

    browser: Browser
    scheme: str = "Bearer"
    accept: Mapping[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, value: Any = None, **headers: str) -> Answer:
        """One call of the API."""
        body = None if value is None else json.dumps(value).encode()
        given = {"origin": self.browser.base, "accept": "application/json", **self.accept, **headers}
        if body is not None:
            given["content-type"] = "application/json"
        return self.browser.send(method, path, body, given)


def client(stack: Stack, role: str, scheme: str = "Bearer") -> Client:
    """A program of a new account with this role."""
    browser = sign_in(stack, join(stack, role))
    browser.extra_headers["authorization"] = f"{scheme} token-of-{role}"
    return Client(browser, scheme)


def clear_values(people: list[Person]) -> set[str]:
    """Everything about these people that the CRM must never have met."""
    found = {value for person in people for _, value in person.values} - {one.id_card for one in people}
    found |= {one.birthday.isoformat() for one in people}
    return found | {one.last_name for one in people if len(one.last_name) > 2}


@dataclass
class Hosted:
    """An installation in front of a hosted CRM, with a manager, somebody in sales, and people who were entered."""

    stack: Stack
    service: Service
    manager: Client
    sales: Client
    records: dict[str, Person]


# -- Salesforce ----------------------------------------------------------------------------------------------


def as_contact(person: Person) -> dict[str, str]:
    """A person as Salesforce takes one."""
    return {
        "FirstName": person.first_name,
        "LastName": person.last_name,
        "Email": person.email,
        "Email__c": person.email,
        "Phone": person.phone,
        "MailingStreet": person.address,
        "Description": f"asked to be called at {person.phone}",
        "LeadSource": "Web",
        "Birthdate": person.birthday.isoformat(),
    }


@pytest.fixture(scope="module")
def sf() -> Iterator[Hosted]:
    with salesforce() as service, installed(service) as stack:  # type: ignore[arg-type]
        manager, sales = client(stack, "manager"), client(stack, "sales")
        account = manager.call("POST", f"{BASE}/sobjects/Account", {"Name": "Acme"}).expect(201).json()["id"]
        records = {}
        for person in PEOPLE:
            given = {**as_contact(person), "AccountId": account}
            records[manager.call("POST", f"{BASE}/sobjects/Contact", given).expect(201).json()["id"]] = person
        yield Hosted(stack, service, manager, sales, records)
        close_all()


def soql(who: Client, text: str) -> Answer:
    """A query in the address."""
    return who.call("GET", f"{BASE}/query?{urlencode({'q': text})}")


def soql_text(value: str) -> str:
    """What stands between the quotation marks."""
    return value.replace("\\", "\\\\").replace("'", "\\'")


def full_name(person: Person) -> str:
    """As Salesforce puts it together."""
    return f"{person.first_name} {person.last_name}"


def having(hosted: Hosted, holds: Callable[[Person], bool]) -> set[str]:
    """The records of people of whom something is true."""
    return {record for record, person in hosted.records.items() if holds(person)}


def ids(answer: Answer) -> set[str]:
    """The records of an answer."""
    return {one["Id"] for one in answer.expect(200).json()["records"]}


def test_salesforce_never_meets_a_clear_value(sf: Hosted) -> None:
    person = PEOPLE[0]
    last, street = soql_text(person.last_name), person.address[:6]
    for text in (
        f"SELECT Id, Name, Email FROM Contact WHERE Email = '{person.email}'",
        f"SELECT Id FROM Contact WHERE Phone IN ('{person.phone}') OR Email LIKE '%{person.email[2:9]}%'",
        f"SELECT Id FROM Contact WHERE LastName = '{last}' AND MailingStreet LIKE '{street}%'",
        f"SELECT Id FROM Case WHERE Subject = 'called {person.phone}'",
    ):
        for who in (sf.manager, sf.sales):
            soql(who, text)
    sf.manager.call("GET", f"{BASE}/sobjects/Contact/Email__c/{quote(person.email, safe='')}").expect(200)
    everything = sf.service.everything()
    assert [one for one in clear_values(PEOPLE) if one in everything] == []
    assert len(sf.service.arrived) > len(PEOPLE)


def test_searches_find_the_records_they_would_find_in_clear(sf: Hosted) -> None:
    everybody = set(sf.records)
    for record, person in sf.records.items():
        email, last = soql_text(person.email), soql_text(person.last_name)
        start, end = person.email[:6], last[-2:].lower()
        asked = {
            f"Email = '{email}'": {record},
            f"Email = '{email.upper()}'": {record},
            f"Phone = '{person.phone}'": {record},
            f"LastName = '{last}'": having(sf, lambda one, it=person: one.last_name == it.last_name),
            f"NOT Email = '{email}'": everybody - {record},
            f"Email!='{email}'": everybody - {record},
            f"Email LIKE '{soql_text(start)}%'": having(sf, lambda one, it=start: one.email.startswith(it)),
            f"Email IN ('{email}', 'nobody@example.org')": {record},
            f"Email NOT IN ('{email}') AND LeadSource = 'Web'": everybody - {record},
            f"Name = '{soql_text(full_name(person))}'": {record},
            f"Name LIKE '%{end}%'": having(
                sf, lambda one, it=end: it in (one.first_name + "|" + one.last_name).lower()
            ),
        }
        for condition, wanted in asked.items():
            found = soql(sf.manager, f"SELECT Id, Email FROM Contact WHERE {condition} LIMIT 100")
            assert ids(found) == wanted, condition


def test_answers_hold_the_values_for_who_may_see_them(sf: Hosted) -> None:
    record, person = next(iter(sf.records.items()))
    text = f"SELECT Id, FirstName, Email, Account.Name, Description FROM Contact WHERE Email = '{person.email}'"
    (row,) = soql(sf.manager, text).expect(200).json()["records"]
    assert row["Id"] == record
    assert row["Email"] == person.email
    assert row["FirstName"] == person.first_name
    assert row["Account"] == {"Name": "Acme"}
    assert person.phone in row["Description"].replace(" ", "")
    read = sf.manager.call("GET", f"{BASE}/sobjects/Contact/{record}").expect(200).json()
    assert (read["Phone"], read["MailingStreet"]) == (person.phone, person.address)
    (row,) = soql(sf.manager, f"SELECT Id, Birthdate FROM Contact WHERE Id = '{record}'").expect(200).json()["records"]
    assert read["Birthdate"] == row["Birthdate"] == person.birthday.isoformat()


def test_a_child_query_and_a_semi_join_are_asked_with_surrogates(sf: Hosted) -> None:
    record, person = list(sf.records.items())[1]
    text = f"SELECT Name, (SELECT Id, Email FROM Contacts WHERE Email = '{person.email}') FROM Account"
    (row,) = soql(sf.manager, text).expect(200).json()["records"]
    assert row["Contacts"] == [{"Id": record, "Email": person.email}]
    text = f"SELECT Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Phone = '{person.phone}')"
    assert len(soql(sf.manager, text).expect(200).json()["records"]) == 1


def test_the_next_page_of_a_query_is_asked_for_as_it_was_answered(sf: Hosted) -> None:
    page = soql(sf.manager, "SELECT Id, Email FROM Contact").expect(200).json()
    found = list(page["records"])
    while not page["done"]:
        page = sf.manager.call("GET", page["nextRecordsUrl"]).expect(200).json()
        found += page["records"]
    assert {one["Email"] for one in found} == {one.email for one in PEOPLE}
    assert page["totalSize"] == len(PEOPLE)


def test_a_restricted_role_sees_nothing_of_it(sf: Hosted) -> None:
    hidden = clear_values(PEOPLE)
    for text in (
        "SELECT FIELDS(ALL) FROM Contact LIMIT 200",
        "SELECT Name, (SELECT Email, Phone FROM Contacts) FROM Account",
    ):
        shown = soql(sf.sales, text).expect(200).text
        assert [one for one in hidden if one in shown] == []
    record, person = next(iter(sf.records.items()))
    for path in (f"Contact/{record}", f"Contact/Email__c/{quote(person.email, safe='')}"):
        answer = sf.sales.call("GET", f"{BASE}/sobjects/{path}")
        assert [one for one in hidden if one in answer.text] == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT Id FROM Contact ORDER BY Email",
        "SELECT Id FROM Contact ORDER BY Account.Phone DESC NULLS LAST",
        "SELECT Id FROM Contact WHERE Email > 'm'",
        "SELECT Id FROM Contact WHERE MailingStreet != null",
        "SELECT Id FROM Contact WHERE MailingStreet = 'x'",
        "SELECT Email, COUNT(Id) FROM Contact GROUP BY Email",
        "SELECT COUNT_DISTINCT(Phone) FROM Contact",
        "SELECT MIN(Email) FROM Contact",
        "SELECT Id FROM Contact WHERE Phone LIKE '138%'",
        "SELECT Id FROM Contact WHERE Secret__c = 'a'",
        "SELECT Id FROM Contact ORDER BY Secret__c",
        "SELECT Id FROM Contact WHERE Birthdate > 1980-01-01",
        "SELECT Id FROM Contact ORDER BY Birthdate",
        "SELECT LeadSource FROM Contact GROUP BY LeadSource HAVING MAX(Email) > 'm'",
        "SELECT Id FROM Account WHERE Id IN (SELECT Email FROM Contact)",
        "SELECT Id FROM Account WHERE Name = Phone",
        "SELECT Email mail FROM Contact",
        "SELECT AccountId Id FROM Contact",
        "SELECT Name, (SELECT Id FROM Contacts ORDER BY Phone) FROM Account",
        "SELECT Id FROM Unknown__c WHERE Label__c = 'a'",
        "SELECT Id FROM Contact /* */ WHERE Email = 'a'",
        "SELECT Id FROM Contact WHERE Email = :mail",
        "FIND {zhang} IN ALL FIELDS",
    ],
)
def test_what_a_role_may_not_see_cannot_be_probed(sf: Hosted, text: str) -> None:
    asked = len(sf.service.arrived)
    assert soql(sf.sales, text).status in (400, 403, 422)
    assert len(sf.service.arrived) == asked


def test_a_value_that_is_hidden_is_answered_like_one_that_nobody_has(sf: Hosted) -> None:
    person = PEOPLE[2]
    for column, there, absent in (
        ("Email", person.email, "nobody.at.all@example.org"),
        ("Phone", person.phone, "13900009999"),
        ("LastName", person.last_name, "Nobodyatall"),
        ("FirstName", person.first_name, "Nobodyatall"),
    ):
        told = [
            (answer.status, answer.text)
            for value in (there, absent)
            if (answer := soql(sf.sales, f"SELECT Id FROM Contact WHERE {column} = '{value}'"))
        ]
        assert told[0] == told[1], column


def test_placeholders_are_neither_sorted_nor_compared_but_counted(sf: Hosted) -> None:
    for text in ("SELECT Id FROM Contact ORDER BY LastName", "SELECT Id FROM Contact WHERE Phone > '1'"):
        refused = soql(sf.manager, text)
        assert refused.status == 422
        assert refused.json()["type"].endswith("query-on-placeholders")
    rows = (
        soql(sf.manager, "SELECT Email, COUNT(Id) n FROM Contact GROUP BY Email LIMIT 100")
        .expect(200)
        .json()["records"]
    )
    assert {one["Email"]: one["n"] for one in rows} == {one.email: 1 for one in PEOPLE}


def test_a_record_is_made_and_changed_by_its_key_in_the_path(sf: Hosted) -> None:
    email = "upserted.person@example.org"
    path = f"{BASE}/sobjects/Contact/Email__c/{quote(email, safe='')}"
    made = sf.manager.call("PATCH", path, {"LastName": "Upserted", "Phone": "13700137001"}).expect(201).json()
    stored = sf.service.tables["Contact"][made["id"]]
    assert email not in str(stored)
    assert sf.manager.call("GET", path).expect(200).json()["Email__c"] == email
    changed = sf.manager.call("PATCH", path, {"Phone": "13700137002"}).expect(200).json()
    assert changed["id"] == made["id"]
    assert sf.manager.call("GET", path).expect(200).json()["Phone"] == "13700137002"
    sf.manager.call("DELETE", f"{BASE}/sobjects/Contact/{made['id']}").expect(204)


def test_batches_are_refused_and_reach_nobody(sf: Hosted) -> None:
    asked = len(sf.service.arrived)
    for path in ("composite", "composite/batch", "composite/sobjects", "jobs/query", "jobs/ingest"):
        assert sf.manager.call("POST", f"{BASE}/{path}", {"compositeRequest": []}).status == 403
    assert sf.manager.call("GET", f"{BASE}/search?q=FIND").status == 403
    assert len(sf.service.arrived) == asked


# -- Dynamics 365 --------------------------------------------------------------------------------------------


def as_dataverse(person: Person) -> dict[str, str]:
    """A person as Dataverse takes one."""
    return {
        "firstname": person.first_name,
        "lastname": person.last_name,
        "emailaddress1": person.email,
        "telephone1": person.phone,
        "address1_line1": person.address,
        "description": f"asked to be called at {person.phone}",
        "department": "Sales",
        "birthdate": person.birthday.isoformat(),
    }


@pytest.fixture(scope="module")
def dynamics() -> Iterator[Hosted]:
    with dv.dynamics() as service, installed(service) as stack:  # type: ignore[arg-type]
        manager, sales = client(stack, "manager"), client(stack, "sales")
        made = manager.call("POST", f"{dv.BASE}/accounts", {"name": "Acme"}).expect(204)
        account = made.header("odata-entityid").rpartition("(")[2].rstrip(")")
        records = {}
        for person in PEOPLE:
            given = {**as_dataverse(person), "parentcustomerid_account@odata.bind": f"/accounts({account})"}
            made = manager.call("POST", f"{dv.BASE}/contacts", given).expect(204)
            assert made.header("odata-entityid").startswith(stack.home.crm_url)
            records[made.header("odata-entityid").rpartition("(")[2].rstrip(")")] = person
        yield Hosted(stack, service, manager, sales, records)
        close_all()


def odata(who: Client, kind: str = "contacts", prefer: str = "", **options: str) -> Answer:
    """A list with query options."""
    query = "&".join(f"${name}={quote(text)}" for name, text in options.items())
    return who.call("GET", f"{dv.BASE}/{kind}?{query}", **({"prefer": prefer} if prefer else {}))


def odata_text(value: str) -> str:
    """What stands between the quotation marks."""
    return value.replace("'", "''")


def contact_ids(answer: Answer) -> set[str]:
    """The records of an answer."""
    return {one["contactid"] for one in answer.expect(200).json()["value"]}


def test_odata_filters_find_the_records_they_would_find_in_clear(dynamics: Hosted) -> None:
    everybody = set(dynamics.records)
    for record, person in dynamics.records.items():
        email, last = odata_text(person.email), odata_text(person.last_name)
        start = person.email[:6]
        asked = {
            f"emailaddress1 eq '{email}'": {record},
            f"emailaddress1 ne '{email}'": everybody - {record},
            f"telephone1 eq '{person.phone}' and department eq 'Sales'": {record},
            f"lastname eq '{last}'": having(dynamics, lambda one, it=person: one.last_name == it.last_name),
            f"startswith(emailaddress1,'{odata_text(start)}')": having(
                dynamics, lambda one, it=start: one.email.startswith(it)
            ),
            f"not startswith(emailaddress1,'{odata_text(start)}')": having(
                dynamics, lambda one, it=start: not one.email.startswith(it)
            ),
            f"emailaddress1 in ('{email}','nobody@example.org')": {record},
            f"fullname eq '{odata_text(full_name(person))}'": {record},
        }
        for condition, wanted in asked.items():
            found = odata(dynamics.manager, filter=condition, select="contactid,emailaddress1", top="50")
            assert contact_ids(found) == wanted, condition
    assert [one for one in clear_values(PEOPLE) if one in dynamics.service.everything()] == []


def test_annotations_and_expanded_records_follow_their_field(dynamics: Hosted) -> None:
    record, person = next(iter(dynamics.records.items()))
    options = {
        "filter": f"emailaddress1 eq '{odata_text(person.email)}'",
        "expand": "parentcustomerid_account($select=name)",
    }
    prefer = 'odata.include-annotations="OData.Community.Display.V1.FormattedValue"'
    (row,) = odata(dynamics.manager, prefer=prefer, **options).expect(200).json()["value"]
    assert row["contactid"] == record
    assert row["telephone1"] == row["telephone1" + dv.FORMATTED] == person.phone
    assert row["parentcustomerid_account"]["name"] == "Acme"
    assert row["birthdate"] == person.birthday.isoformat()
    shown = odata(dynamics.sales, prefer=prefer, top="50", expand="parentcustomerid_account").expect(200).text
    nested = odata(dynamics.sales, "accounts", expand="contact_customer_accounts").expect(200).text
    assert [one for one in clear_values(PEOPLE) if one in shown + nested] == []


def test_an_absolute_next_link_leads_back_to_the_gateway(dynamics: Hosted) -> None:
    page = odata(dynamics.manager, select="emailaddress1", orderby="createdon desc").expect(200).json()
    found = [one["emailaddress1"] for one in page["value"]]
    while "@odata.nextLink" in page:
        assert page["@odata.nextLink"].startswith(dynamics.stack.home.crm_url)
        page = dynamics.manager.call("GET", page["@odata.nextLink"]).expect(200).json()
        found += [one["emailaddress1"] for one in page["value"]]
    assert sorted(found) == sorted(one.email for one in PEOPLE)


@pytest.mark.parametrize(
    "options",
    [
        {"orderby": "emailaddress1"},
        {"orderby": "createdon desc,parentcustomerid_account/telephone1"},
        {"filter": "emailaddress1 gt 'm'"},
        {"filter": "address1_line1 ne null"},
        {"filter": "contains(telephone1,'138')"},
        {"filter": "tolower(emailaddress1) eq 'a'"},
        {"filter": "emailaddress1 eq emailaddress2"},
        {"filter": "new_secret eq 'a'"},
        {"filter": "emailaddress1 eq @p1"},
        {"filter": "length(lastname) gt 5"},
        {"apply": "groupby((emailaddress1),aggregate($count as n))"},
        {"apply": "aggregate(telephone1 with max as department)"},
        {"apply": "filter(telephone1 gt '1')/groupby((department))"},
        {"expand": "parentcustomerid_account($select=name;$orderby=telephone1)"},
        {"expand": "parentcustomerid_account($filter=telephone1 gt '1')"},
        {"search": "zhang"},
        {"compute": "emailaddress1 as x"},
    ],
    ids=str,
)
def test_odata_options_cannot_probe_what_is_hidden(dynamics: Hosted, options: dict[str, str]) -> None:
    asked = len(dynamics.service.arrived)
    assert odata(dynamics.sales, **options).status in (400, 403, 422)
    assert len(dynamics.service.arrived) == asked


def test_other_languages_in_the_address_are_refused(dynamics: Hosted) -> None:
    asked = len(dynamics.service.arrived)
    fetch = quote("<fetch><entity name='contact'><attribute name='emailaddress1'/></entity></fetch>")
    for who in (dynamics.manager, dynamics.sales):
        assert who.call("GET", f"{dv.BASE}/contacts?fetchXml={fetch}").status == 400
        assert who.call("GET", f"{dv.BASE}/contacts?savedQuery={'0' * 36}").status == 400
        assert who.call("POST", f"{dv.BASE}/$batch", {}).status == 403
    assert len(dynamics.service.arrived) == asked


def test_an_alternate_key_in_the_path_becomes_a_surrogate(dynamics: Hosted) -> None:
    record, person = list(dynamics.records.items())[3]
    path = f"{dv.BASE}/contacts(emailaddress1='{quote(odata_text(person.email), safe='')}')"
    assert dynamics.manager.call("GET", path).expect(200).json()["contactid"] == record
    assert dynamics.manager.call("PATCH", path, {"telephone1": "13700137003"}).expect(204)
    read = dynamics.manager.call("GET", f"{dv.BASE}/contacts({record})?$select=telephone1").expect(200).json()
    assert read["telephone1"] == "13700137003"
    dynamics.manager.call("PATCH", f"{dv.BASE}/contacts({record})", {"telephone1": person.phone}).expect(204)
    absent = dynamics.sales.call("GET", f"{dv.BASE}/contacts(emailaddress1='nobody.at.all@example.org')")
    hidden = dynamics.sales.call("GET", path)
    assert (hidden.status, hidden.text) == (absent.status, absent.text)
    assert hidden.status == 404
    assert person.email not in dynamics.service.everything()


def test_who_asks_for_the_record_back_gets_it_as_it_was_typed(dynamics: Hosted) -> None:
    given = {"lastname": "Returned", "emailaddress1": "returned.person@example.org"}
    made = dynamics.manager.call("POST", f"{dv.BASE}/contacts", given, prefer="return=representation").expect(201)
    assert made.json()["emailaddress1"] == "returned.person@example.org"
    assert "returned.person" not in dynamics.service.everything()
    dynamics.manager.call("DELETE", f"{dv.BASE}/contacts({made.json()['contactid']})").expect(204)


# -- Zoho ----------------------------------------------------------------------------------------------------


def as_zoho(person: Person) -> dict[str, Any]:
    """A person as Zoho takes one."""
    return {
        "First_Name": person.first_name,
        "Last_Name": person.last_name,
        "Email": person.email,
        "Phone": person.phone,
        "Mailing_Street": person.address,
        "Description": f"asked to be called at {person.phone}",
        "Lead_Source": "Web",
        "Date_of_Birth": person.birthday.isoformat(),
    }


@pytest.fixture(scope="module")
def zoho() -> Iterator[Hosted]:
    with zh.zoho() as service, installed(service) as stack:  # type: ignore[arg-type]
        manager, sales = client(stack, "manager", "Zoho-oauthtoken"), client(stack, "sales", "Zoho-oauthtoken")
        made = manager.call("POST", f"{zh.BASE}/Accounts", {"data": [{"Account_Name": "Acme"}]}).expect(201)
        account = made.json()["data"][0]["details"]["id"]
        records = {}
        for person in PEOPLE:
            given = {"data": [{**as_zoho(person), "Account_Name": {"id": account}}]}
            made = manager.call("POST", f"{zh.BASE}/Contacts", given).expect(201)
            records[made.json()["data"][0]["details"]["id"]] = person
        yield Hosted(stack, service, manager, sales, records)
        close_all()


def coql(who: Client, text: str) -> Answer:
    """A COQL query."""
    return who.call("POST", f"{zh.BASE}/coql", {"select_query": text})


def criteria(who: Client, **asked: str) -> Answer:
    """A search in the contacts."""
    return who.call("GET", f"{zh.BASE}/Contacts/search?{urlencode(asked)}")


def zoho_text(value: str) -> str:
    """A value inside a condition."""
    return "".join("\\" + sign if sign in "\\(),:" else sign for sign in value)


def zoho_ids(answer: Answer) -> set[str]:
    """The records of an answer; 204 says that there are none."""
    return {one["id"] for one in answer.json()["data"]} if answer.expect(200, 204).status == 200 else set()


def test_zoho_finds_the_records_it_would_find_in_clear(zoho: Hosted) -> None:
    everybody = set(zoho.records)
    for record, person in zoho.records.items():
        same = having(zoho, lambda one, it=person: one.last_name == it.last_name)
        start = person.email[:6]
        starting = having(zoho, lambda one, it=start: one.email.startswith(it))
        for condition, wanted in {
            f"(Email:equals:{zoho_text(person.email)})": {record},
            f"((Phone:equals:{person.phone})and(Lead_Source:equals:Web))": {record},
            f"(Last_Name:equals:{zoho_text(person.last_name)})": same,
            f"(Full_Name:equals:{zoho_text(full_name(person))})": {record},
            f"(Email:starts_with:{zoho_text(start)})": starting,
            f"(Email:in:{zoho_text(person.email)},nobody@example.org)": {record},
            f"(Email:not_equal:{zoho_text(person.email)})": everybody - {record},
        }.items():
            assert zoho_ids(criteria(zoho.manager, criteria=condition)) == wanted, condition
        assert zoho_ids(criteria(zoho.manager, email=person.email)) == {record}
        assert zoho_ids(criteria(zoho.manager, phone=person.phone)) == {record}
        email, last = soql_text(person.email), soql_text(person.last_name)
        for condition, wanted in {
            f"Email = '{email}'": {record},
            f"((Email = '{email}' or Phone = '{person.phone}') and Lead_Source = 'Web')": {record},
            f"Email not in ('{email}')": everybody - {record},
            f"Email like '{soql_text(start)}%'": starting,
            f"Email not like '{soql_text(start)}%'": everybody - starting,
            f"Last_Name = '{last}' and Account_Name.Account_Name = 'Acme'": same,
            f"Full_Name = '{soql_text(full_name(person))}'": {record},
        }.items():
            asked = f"select id, Email, Account_Name.Account_Name from Contacts where {condition} limit 0, 200"
            assert zoho_ids(coql(zoho.manager, asked)) == wanted, condition
    assert [one for one in clear_values(PEOPLE) if one in zoho.service.everything()] == []


def test_a_word_that_several_zoho_records_have_is_answered_page_by_page(zoho: Hosted) -> None:
    name, made = "Weidenau", []
    for number in range(5):
        given = {"data": [{"Last_Name": name, "First_Name": "X", "Lead_Source": f"Fair {number}"}]}
        answer = zoho.manager.call("POST", f"{zh.BASE}/Contacts", given).expect(201)
        made.append(answer.json()["data"][0]["details"]["id"])
    for asked, wanted in (({}, made[::-1]), ({"sort_by": "Created_Time", "sort_order": "asc"}, made)):
        for size in (1, 2, 3, 5, 9):
            shown: list[str] = []
            more, page = True, 0
            while more:
                page += 1
                answer = criteria(zoho.manager, word=name, page=str(page), per_page=str(size), **asked).expect(200)
                rows, info = answer.json()["data"], answer.json()["info"]
                assert {one["Last_Name"] for one in rows} == {name}
                assert (info["count"], info["page"], info["per_page"]) == (len(rows), page, size)
                shown += [one["id"] for one in rows]
                more = info["more_records"]
            assert shown == wanted
            criteria(zoho.manager, word=name, page=str(page + 1), per_page=str(size), **asked).expect(204)
    refused = criteria(zoho.manager, word=name, page_token="x")
    assert (refused.status, refused.json()["reason"]) == (422, "search-not-merged")
    assert name not in zoho.service.everything()
    for record in made:
        zoho.manager.call("DELETE", f"{zh.BASE}/Contacts/{record}").expect(200)


def test_zoho_shows_each_role_its_own(zoho: Hosted) -> None:
    record, person = next(iter(zoho.records.items()))
    (row,) = zoho.manager.call("GET", f"{zh.BASE}/Contacts/{record}").expect(200).json()["data"]
    assert (row["Email"], row["Last_Name"], row["Phone"]) == (person.email, person.last_name, person.phone)
    assert row["Date_of_Birth"] == person.birthday.isoformat()
    shown = zoho.sales.call("GET", f"{zh.BASE}/Contacts?fields=Email,Full_Name&page=1").expect(200).text
    shown += zoho.sales.call("GET", f"{zh.BASE}/Contacts/{record}").expect(200).text
    shown += (
        coql(zoho.sales, "select Full_Name, Email, Phone, Description from Contacts where id != '1'").expect(200).text
    )
    assert [one for one in clear_values(PEOPLE) if one in shown] == []
    zoho.manager.call("PUT", f"{zh.BASE}/Contacts/{record}", {"data": [{"Phone": "13700137004"}]}).expect(200)
    (row,) = zoho.manager.call("GET", f"{zh.BASE}/Contacts/{record}").expect(200).json()["data"]
    assert row["Phone"] == "13700137004"
    zoho.manager.call("PUT", f"{zh.BASE}/Contacts/{record}", {"data": [{"Phone": person.phone}]}).expect(200)


@pytest.mark.parametrize(
    "text",
    [
        "select id from Contacts where Mailing_Street is not null",
        "select id from Contacts where Email > 'm'",
        "select id from Contacts where Email between 'a' and 'm'",
        "select id from Contacts where Lead_Source = 'Web' order by Email",
        "select Email as mail from Contacts where id > '1'",
        "select Account_Name.id as id from Contacts where id > '1'",
        "select Email, COUNT(id) from Contacts where id > '1' group by Email",
        "select MAX(Phone) from Contacts where id > '1'",
        "select id from Contacts where Secret = 'a'",
        "select id from Deals where Contact_Name.Phone like '138%'",
        "select id from Contacts where Email = Secondary_Email",
        "select id from Contacts where id > '1' -- and Email = 'a'",
        "update Contacts set Email = 'a'",
    ],
)
def test_coql_cannot_probe_what_is_hidden(zoho: Hosted, text: str) -> None:
    asked = len(zoho.service.arrived)
    assert coql(zoho.sales, text).status in (400, 403, 422)
    assert len(zoho.service.arrived) == asked


@pytest.mark.parametrize(
    "given",
    [
        {"criteria": "(Mailing_Street:equals:x)"},
        {"criteria": "(Email:greater_than:m)"},
        {"criteria": "((Lead_Source:equals:Web)and(Phone:starts_with:138))"},
        {"criteria": "(Secret:equals:a)"},
        {"criteria": "(Email:equals:a)or"},
        {"criteria": "(Lead_Source:equals:Web)", "sort_by": "Email"},
        {"filters": '{"field":{"api_name":"Email"},"comparator":"equal","value":"a"}'},
    ],
    ids=str,
)
def test_conditions_of_zoho_cannot_probe_what_is_hidden(zoho: Hosted, given: dict[str, str]) -> None:
    asked = len(zoho.service.arrived)
    assert criteria(zoho.sales, **given).status in (400, 403, 422)
    assert len(zoho.service.arrived) == asked


def test_a_hidden_value_is_answered_by_zoho_like_one_that_nobody_has(zoho: Hosted) -> None:
    person = PEOPLE[4]
    for there, absent in (
        (f"Email = '{soql_text(person.email)}'", "Email = 'nobody.at.all@example.org'"),
        (f"Phone = '{person.phone}'", "Phone = '13900009999'"),
        (f"Full_Name = '{soql_text(full_name(person))}'", "Full_Name = 'Nobody Atall'"),
    ):
        told = [coql(zoho.sales, f"select id from Contacts where {one}") for one in (there, absent)]
        assert (told[0].status, told[0].text) == (told[1].status, told[1].text) == (204, "")


def test_bulk_jobs_and_composite_requests_of_zoho_are_refused(zoho: Hosted) -> None:
    asked = len(zoho.service.arrived)
    for method, path in (
        ("POST", "/crm/bulk/v8/read"),
        ("POST", f"{zh.BASE}/__composite_requests"),
        ("POST", f"{zh.BASE}/Contacts/upsert"),
        ("PUT", f"{zh.BASE}/Contacts"),
    ):
        assert zoho.manager.call(method, path, {"data": [{"Email": "a@example.org"}]}).status == 403
    assert len(zoho.service.arrived) == asked
