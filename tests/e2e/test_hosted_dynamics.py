"""Dynamics 365 behind the real gateway: queries find what they would in clear, and tell nobody what he may not see."""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape as xml_text
from xml.sax.saxutils import quoteattr

import pytest

from gateway.demo.browser import Answer
from gateway.demo.people import Person
from tests.drills.stack import installed
from tests.e2e.visitors import close_all
from tests.hosted import dynamics as dv
from tests.hosted.office import (
    PEOPLE,
    Client,
    Hosted,
    clear_values,
    client,
    eventually,
    full_name,
    having,
    origins,
    patient,
)


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
            made = patient(partial(manager.call, "POST", f"{dv.BASE}/contacts", given)).expect(204)
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


def fetch(who: Client, inside: str, **about: str) -> Answer:
    """A FetchXML query over the contacts."""
    head = "".join(f" {name}='{text}'" for name, text in about.items())
    text = f"<fetch{head}><entity name='contact'>{inside}</entity></fetch>"
    return who.call("GET", f"{dv.BASE}/contacts?fetchXml={quote(text)}")


def conditions(*each: str, how: str = "and") -> str:
    return f"<filter type='{how}'>{''.join(each)}</filter>"


def condition(name: str, operator: str, *values: str) -> str:
    inside = "".join(f"<value>{xml_text(one)}</value>" for one in values[: 0 if len(values) == 1 else None])
    value = f" value={quoteattr(values[0])}" if len(values) == 1 else ""
    return f"<condition attribute='{name}' operator='{operator}'{value}>{inside}</condition>"


def test_fetchxml_finds_the_records_it_would_find_in_clear(dynamics: Hosted) -> None:
    everybody = set(dynamics.records)
    for record, person in dynamics.records.items():
        start = person.email[:6]
        starting = having(dynamics, lambda one, it=start: one.email.startswith(it))
        same = having(dynamics, lambda one, it=person: one.last_name == it.last_name)
        for inside, wanted in (
            (conditions(condition("emailaddress1", "eq", person.email)), {record}),
            (conditions(condition("emailaddress1", "ne", person.email)), everybody - {record}),
            (conditions(condition("emailaddress1", "in", person.email, "nobody@example.org")), {record}),
            (conditions(condition("emailaddress1", "not-in", person.email, "a@b.example")), everybody - {record}),
            (conditions(condition("lastname", "eq", person.last_name)), same),
            (conditions(condition("fullname", "eq", full_name(person))), {record}),
            (conditions(condition("emailaddress1", "begins-with", start)), starting),
            (conditions(condition("emailaddress1", "like", start + "%")), starting),
            (conditions(condition("emailaddress1", "not-like", start + "%")), everybody - starting),
            (
                conditions(condition("telephone1", "eq", person.phone), condition("department", "null"), how="or"),
                {record},
            ),
        ):
            found = fetch(dynamics.manager, inside + "<attribute name='emailaddress1'/>", top="50")
            assert contact_ids(found) == wanted, inside
    assert [one for one in clear_values(PEOPLE) if one in dynamics.service.everything()] == []


def test_fetchxml_follows_links_and_counts_what_somebody_sees(dynamics: Hosted) -> None:
    link = "<link-entity name='account' from='accountid' to='parentcustomerid' alias='firm'>{}</link-entity>"
    person = PEOPLE[1]
    inside = conditions(condition("emailaddress1", "eq", person.email)) + link.format("<attribute name='name'/>")
    (row,) = fetch(dynamics.manager, inside + "<attribute name='telephone1'/>").expect(200).json()["value"]
    assert (row["telephone1"], row["firm.name"]) == (person.phone, "Acme")
    groups = "<attribute name='emailaddress1' alias='mail' groupby='true'/>"
    groups += "<attribute name='contactid' alias='n' aggregate='count'/>"
    rows = fetch(dynamics.manager, groups, aggregate="true").expect(200).json()["value"]
    assert {one["mail"]: one["n"] for one in rows} == {one.email: 1 for one in PEOPLE}
    shown = fetch(dynamics.sales, "<all-attributes/>" + link.format("<all-attributes/>"), top="50").expect(200).text
    assert [one for one in clear_values(PEOPLE) if one in shown] == []


@pytest.mark.parametrize(
    "inside",
    [
        "<order attribute='emailaddress1'/>",
        "<order attribute='parentcustomerid'/>",
        conditions(condition("emailaddress1", "gt", "m")),
        conditions(condition("telephone1", "like", "138%")),
        conditions(condition("address1_line1", "not-null")),
        conditions(condition("birthdate", "on-or-after", "1980-01-01")),
        conditions(condition("new_secret", "eq", "a")),
        conditions("<condition attribute='emailaddress1' operator='eq' valueof='emailaddress2'/>"),
        "<attribute name='emailaddress1' alias='department'/>",
        "<attribute name='emailaddress1' alias='a' aggregate='max'/>",
        "<attribute name='emailaddress1' alias='a' groupby='true'/><order alias='a'/>",
        "<link-entity name='account' from='telephone1' to='telephone1'/>",
        "<link-entity name='account' from='accountid' to='parentcustomerid'><order attribute='fax'/></link-entity>",
        conditions("<condition entityname='f' attribute='telephone1' operator='gt' value='1'/>")
        + "<link-entity name='account' from='accountid' to='parentcustomerid' alias='f'/>",
    ],
)
def test_fetchxml_cannot_probe_what_is_hidden(dynamics: Hosted, inside: str) -> None:
    asked = len(dynamics.service.arrived)
    assert fetch(dynamics.sales, inside).status in (400, 403, 422)
    assert len(dynamics.service.arrived) == asked


def test_other_languages_in_the_address_are_refused(dynamics: Hosted) -> None:
    asked = len(dynamics.service.arrived)
    bad = (
        "<!DOCTYPE fetch [<!ENTITY x 'fax'>]><fetch><entity name='contact'><order attribute='&x;'/></entity></fetch>",
        "<fetch><entity name='contact'><!-- x --></entity></fetch>",
        "<fetch paging-cookie='x'><entity name='contact'/></fetch>",
        "<fetch><entity name='contact'/><entity name='account'/></fetch>",
        f"<fetch><entity name='contact'>{conditions(condition('contactid', 'under', '1'))}</entity></fetch>",
    )
    for who in (dynamics.manager, dynamics.sales):
        for text in bad:
            assert who.call("GET", f"{dv.BASE}/contacts?fetchXml={quote(text)}").status == 400
        assert who.call("GET", f"{dv.BASE}/contacts?savedQuery={'0' * 36}").status == 400
        assert who.call("POST", f"{dv.BASE}/$batch", {}).status == 415
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


def several(who: Client, *parts: tuple[str, str, Any], group: int = 0) -> Answer:
    """A $batch, whose last `group` parts stand in a change set."""
    texts = []
    for number, (method, url, value) in enumerate(parts, 1):
        body = "" if value is None else json.dumps(value)
        kind = "Content-Type: application/json\r\n" if body else ""
        texts.append(
            f"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: {number}\r\n\r\n"
            f"{method} {url} HTTP/1.1\r\n{kind}\r\n{body}\r\n"
        )
    alone, together = texts[: len(texts) - group], texts[len(texts) - group :]
    out = "".join(f"--b1\r\n{one}" for one in alone)
    if together:
        out += "--b1\r\nContent-Type: multipart/mixed; boundary=c1\r\n\r\n"
        out += "".join(f"--c1\r\n{one}" for one in together) + "--c1--\r\n\r\n"
    fields = {"origin": who.browser.base, "content-type": "multipart/mixed; boundary=b1"}
    return who.browser.send("POST", f"{dv.BASE}/$batch", f"{out}--b1--\r\n".encode(), fields)


def test_each_part_of_a_batch_is_asked_and_answered_as_if_it_came_alone(dynamics: Hosted) -> None:
    record, person = next(iter(dynamics.records.items()))
    given = {"lastname": "Batched", "emailaddress1": "batched.person@example.org", "telephone1": "13700137011"}
    filtered = f"contacts?$select=emailaddress1&$filter={quote(chr(39).join(['emailaddress1 eq ', person.email, '']))}"
    answer = several(
        dynamics.manager,
        ("GET", f"contacts({record})?$select=emailaddress1", None),
        ("GET", filtered, None),
        ("POST", f"{dv.BASE}/contacts", given),
        ("POST", "accounts", {"name": "Batched", "primarycontactid@odata.bind": "$3"}),
        group=2,
    ).expect(200)
    told = [json.loads(line) for line in answer.text.splitlines() if line.startswith("{")]
    assert told[0]["emailaddress1"] == person.email
    assert [one["contactid"] for one in told[1]["value"]] == [record]
    made = re.findall(r"(?i)odata-entityid: \S+contacts\(([0-9a-f-]+)\)", answer.text)
    assert len(made) == 1
    bound = [("contact", "email", 1), ("contact", "last_name", 1), ("contact", "phone", 1)]
    assert origins(dynamics.stack, made[0]) == bound
    assert "batched.person" not in dynamics.service.everything()
    shown = several(dynamics.sales, ("GET", f"contacts({record})", None), ("GET", "contacts?$top=50", None)).expect(200)
    assert [one for one in clear_values(PEOPLE) if one in shown.text] == []
    dynamics.manager.call("DELETE", f"{dv.BASE}/contacts({made[0]})").expect(204)


@pytest.mark.parametrize(
    ("who", "part"),
    [
        ("sales", ("GET", "contacts?$orderby=emailaddress1", None)),
        ("sales", ("GET", "contacts?$filter=startswith(telephone1,'138')", None)),
        ("sales", ("DELETE", "contacts(00000000-0000-4000-8000-000000000002)", None)),
        ("manager", ("GET", "unknowns", None)),
        ("manager", ("POST", "$batch", {})),
        ("manager", ("POST", "$1/contact_customer_accounts", {"lastname": "x"})),
        ("manager", ("GET", "contacts?$filter=emailaddress1 eq '$1'".replace(" ", "%20"), None)),
        ("manager", ("GET", "https://elsewhere.example/api/data/v9.2/contacts", None)),
    ],
    ids=lambda one: one if isinstance(one, str) else one[1],
)
def test_one_part_that_is_refused_refuses_the_whole_batch(
    dynamics: Hosted, who: str, part: tuple[str, str, Any]
) -> None:
    asked = len(dynamics.service.arrived)
    answer = several(getattr(dynamics, who), ("POST", "contacts", {"lastname": "Never"}), part, group=1)
    assert 400 <= answer.status < 500
    assert len(dynamics.service.arrived) == asked


def test_people_in_sales_see_their_own_records_and_nobody_elses(dynamics: Hosted) -> None:
    lin, chen = (client(dynamics.stack, "sales", user=user) for user in ("lin", "chen"))

    def made_by(who: Client, name: str, **more: Any) -> str:
        answer = who.call("POST", f"{dv.BASE}/contacts", {"lastname": name, **more}).expect(204)
        return answer.header("odata-entityid").rpartition("(")[2].rstrip(")")

    def shown(who: Client, record: str) -> str:
        return str(who.call("GET", f"{dv.BASE}/contacts({record})?$select=lastname").expect(200).json()["lastname"])

    to_lin = {"ownerid@odata.bind": f"/systemusers({dv.USERS['lin'].upper()})"}
    for name, record in (
        ("Typedbylin", made_by(lin, "Typedbylin")),
        ("Givenbyboss", made_by(dynamics.manager, "Givenbyboss", **to_lin)),
    ):
        assert (shown(lin, record), shown(dynamics.manager, record)) == (name, name)
        assert shown(chen, record) != name
    team = made_by(lin, "Oftheteam", **{"ownerid@odata.bind": f"/teams({dv.USERS['lin']})"})
    assert shown(lin, team) != "Oftheteam"
    given = {"lastname": "Batchedforchen", "ownerid@odata.bind": f"systemusers({dv.USERS['chen']})"}
    answer = several(lin, ("POST", "contacts", given), group=1).expect(200)
    (record,) = re.findall(r"(?i)odata-entityid: \S+contacts\(([0-9a-f-]+)\)", answer.text)
    assert shown(chen, record) == "Batchedforchen"
    assert shown(lin, record) != "Batchedforchen"


def test_who_asks_the_crm_whom_it_takes_him_for_is_known_from_then_on(dynamics: Hosted) -> None:
    zhou = client(dynamics.stack, "sales")
    zhou.browser.extra_headers["authorization"] = "Bearer token-of-zhou"
    given = {"lastname": "Zhousown", "ownerid@odata.bind": f"/systemusers({dv.USERS['zhou']})"}
    made = dynamics.manager.call("POST", f"{dv.BASE}/contacts", given).expect(204)
    path = f"{dv.BASE}/contacts({made.header('odata-entityid').rpartition('(')[2].rstrip(')')})"
    assert zhou.call("GET", path).expect(200).json()["lastname"] != "Zhousown"
    zhou.call("GET", f"{dv.BASE}/WhoAmI").expect(200)
    eventually(lambda: bool(zhou.call("GET", path).expect(200).json()["lastname"] == "Zhousown"))
