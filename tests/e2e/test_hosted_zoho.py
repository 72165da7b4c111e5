"""Zoho behind the real gateway: queries find what they would in clear, and tell nobody what he may not see."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.demo.browser import Answer
from gateway.demo.people import Person
from tests.drills.stack import installed
from tests.e2e.visitors import close_all
from tests.hosted import zoho as zh
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
    soql_text,
)


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
            made = patient(partial(manager.call, "POST", f"{zh.BASE}/Contacts", given)).expect(201)
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


def test_bulk_jobs_and_writes_of_several_records_of_zoho_are_refused(zoho: Hosted) -> None:
    asked = len(zoho.service.arrived)
    for method, path in (
        ("POST", "/crm/bulk/v8/read"),
        ("POST", f"{zh.BASE}/Contacts/upsert"),
        ("PUT", f"{zh.BASE}/Contacts"),
    ):
        assert zoho.manager.call(method, path, {"data": [{"Email": "a@example.org"}]}).status == 403
    assert len(zoho.service.arrived) == asked


def sub(number: int, method: str, uri: str, **more: Any) -> dict[str, Any]:
    return {"sub_request_id": str(number), "method": method, "uri": uri, **more}


def composite(who: Client, *parts: dict[str, Any]) -> Answer:
    """Parts of which later ones may name results of earlier ones."""
    given = {"rollback_on_fail": True, "__composite_requests": list(parts)}
    return who.call("POST", f"{zh.BASE}/__composite_requests", given)


def test_each_part_of_a_composite_is_asked_and_bound_as_if_it_came_alone(zoho: Hosted) -> None:
    record, person = next(iter(zoho.records.items()))
    email, phone = "composed.person@example.org", "13700137031"
    asked = f"select id from Contacts where Phone = '{person.phone}'"
    answer = composite(
        zoho.manager,
        sub(1, "POST", f"{zh.BASE}/Contacts", body={"data": [{"Last_Name": "Composed", "Email": email}]}),
        sub(2, "PUT", f"{zh.BASE}/Contacts/@{{1:$.data[0].details.id}}", body={"data": [{"Phone": phone}]}),
        sub(3, "GET", f"{zh.BASE}/Contacts/search", params={"email": person.email}),
        sub(4, "GET", f"{zh.BASE}/Contacts/search", params={"criteria": f"(Phone:equals:{person.phone})", "page": 1}),
        sub(5, "POST", f"{zh.BASE}/coql", body={"select_query": asked}),
    )
    told = [one["details"]["response"]["body"]["data"] for one in answer.expect(200).json()["__composite_requests"]]
    made = told[0][0]["details"]["id"]
    assert [[one["id"] for one in rows] for rows in told[2:]] == [[record]] * 3
    assert (told[2][0]["Email"], told[2][0]["Last_Name"]) == (person.email, person.last_name)
    assert origins(zoho.stack, made) == [("contact", "email", 1), ("contact", "last_name", 1)]
    (row,) = zoho.manager.call("GET", f"{zh.BASE}/Contacts/{made}").expect(200).json()["data"]
    assert (row["Email"], row["Phone"]) == (email, phone)
    everything = zoho.service.everything()
    assert [one for one in (email, phone, *clear_values(PEOPLE)) if one in everything] == []
    shown = composite(zoho.sales, sub(1, "GET", f"{zh.BASE}/Contacts", params={"fields": "Email"})).expect(200).text
    assert [one for one in (email, phone, *clear_values(PEOPLE)) if one in shown] == []
    zoho.manager.call("DELETE", f"{zh.BASE}/Contacts/{made}").expect(200)


@pytest.mark.parametrize(
    ("who", "bad"),
    [
        ("sales", sub(2, "GET", f"{zh.BASE}/Contacts/search", params={"criteria": "(Email:greater_than:m)"})),
        ("sales", sub(2, "GET", f"{zh.BASE}/Contacts", params={"sort_by": "Email"})),
        ("sales", sub(2, "POST", f"{zh.BASE}/coql", body={"select_query": "select id from Contacts order by Email"})),
        ("manager", sub(2, "GET", f"{zh.BASE}/Contacts?fields=Email", params={"sort_by": "id"})),
        ("manager", sub(2, "GET", f"{zh.BASE}/Contacts/search", params={"email": "@{1:$.data[0].Email}"})),
        ("manager", sub(2, "GET", f"{zh.BASE}/Contacts/search", params={"email": ["a@example.org"]})),
        ("manager", sub(2, "GET", f"{zh.BASE}/Contacts/search", params={"unheard_of": "x"})),
        ("manager", sub(2, "POST", f"{zh.BASE}/Contacts/upsert", body={"data": []})),
        ("manager", sub(2, "GET", f"{zh.BASE}/Contacts", headers={"X-HTTP-Method-Override": "DELETE"})),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{one['uri'].removeprefix(zh.BASE)} {one.get('params', '')}",
)
def test_one_part_that_is_refused_refuses_the_whole_composite(zoho: Hosted, who: str, bad: dict[str, Any]) -> None:
    asked = len(zoho.service.arrived)
    good = sub(1, "POST", f"{zh.BASE}/Contacts", body={"data": [{"Last_Name": "Never"}]})
    assert 400 <= composite(getattr(zoho, who), good, bad).status < 500
    assert len(zoho.service.arrived) == asked


def test_people_in_sales_see_their_own_records_and_nobody_elses(zoho: Hosted) -> None:
    lin, chen = (client(zoho.stack, "sales", "Zoho-oauthtoken", user) for user in ("lin", "chen"))

    def made_by(who: Client, *rows: dict[str, Any]) -> list[str]:
        made = who.call("POST", f"{zh.BASE}/Contacts", {"data": list(rows)}).expect(201).json()["data"]
        return [one["details"]["id"] for one in made]

    def shown(who: Client, record: str) -> str:
        return str(who.call("GET", f"{zh.BASE}/Contacts/{record}").expect(200).json()["data"][0]["Last_Name"])

    to_lin = {"Owner": {"id": zh.USERS["lin"]}}
    for name, records in (
        ("Typedbylin", made_by(lin, {"Last_Name": "Typedbylin"})),
        ("Givenbyboss", made_by(zoho.manager, {"Last_Name": "Givenbyboss", **to_lin})),
        ("Givenplainly", made_by(chen, {"Last_Name": "Givenplainly", "Owner": zh.USERS["lin"]})),
    ):
        assert [shown(lin, one) for one in records] == [shown(zoho.manager, one) for one in records] == [name]
        assert shown(chen, records[0]) != name
    # Which of several records the owner is named for cannot be told, so they are nobody's.
    both = made_by(lin, {"Last_Name": "Oneofboth", **to_lin}, {"Last_Name": "Oneofboth"})
    assert "Oneofboth" not in [shown(who, one) for who in (lin, chen) for one in both]
    assert [shown(zoho.manager, one) for one in both] == ["Oneofboth"] * 2


def test_who_asks_the_crm_whom_it_takes_him_for_is_known_from_then_on(zoho: Hosted) -> None:
    zhou = client(zoho.stack, "sales", "Zoho-oauthtoken")
    zhou.browser.extra_headers["authorization"] = "Zoho-oauthtoken token-of-zhou"
    given = {"data": [{"Last_Name": "Zhousown", "Owner": {"id": zh.USERS["zhou"]}}]}
    made = zoho.manager.call("POST", f"{zh.BASE}/Contacts", given).expect(201).json()["data"][0]["details"]["id"]

    def shown() -> str:
        return str(zhou.call("GET", f"{zh.BASE}/Contacts/{made}").expect(200).json()["data"][0]["Last_Name"])

    assert shown() != "Zhousown"
    zhou.call("GET", f"{zh.BASE}/users?type=AllUsers").expect(200)
    assert shown() != "Zhousown"
    zhou.call("GET", f"{zh.BASE}/users?type=CurrentUser").expect(200)
    eventually(lambda: shown() == "Zhousown")
