"""Salesforce behind the real gateway: queries find what they would in clear, and tell nobody what he may not see."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from gateway.demo.browser import Answer
from gateway.demo.people import Person
from tests.drills.stack import installed
from tests.e2e.visitors import close_all, join, sign_in
from tests.hosted.office import (
    PEOPLE,
    Client,
    Hosted,
    clear_of_the_hour,
    clear_values,
    client,
    eventually,
    full_name,
    having,
    origins,
    patient,
    soql_text,
    trail,
)
from tests.hosted.salesforce import BASE, USERS, salesforce

TAKEN, SEARCHES = 6, 150
BUDGETS = f"[access]\nuniqueness_per_hour = {TAKEN}\nsearches_per_hour = {SEARCHES}\n"
MADE = ("first.made@example.org", "second.made@example.org")


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
    with salesforce() as service, installed(service, BUDGETS) as stack:  # type: ignore[arg-type]
        manager, sales = client(stack, "manager"), client(stack, "sales")
        account = manager.call("POST", f"{BASE}/sobjects/Account", {"Name": "Acme"}).expect(201).json()["id"]
        records = {}
        for person in PEOPLE:
            given = {**as_contact(person), "AccountId": account}
            make = partial(manager.call, "POST", f"{BASE}/sobjects/Contact", given)
            records[patient(make).expect(201).json()["id"]] = person
        yield Hosted(stack, service, manager, sales, records)
        close_all()


def soql(who: Client, text: str) -> Answer:
    """A query in the address."""
    return who.call("GET", f"{BASE}/query?{urlencode({'q': text})}")


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
        assert refused.status == 403
        assert refused.json()["reason"] == "field-not-ordered"
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


def part(method: str, url: str, name: str, body: Any = None) -> dict[str, Any]:
    out = {"method": method, "url": f"{BASE}/{url}", "referenceId": name}
    return out if body is None else {**out, "body": body}


def composite(who: Client, *parts: dict[str, Any]) -> Answer:
    """Parts of which later ones may name results of earlier ones."""
    return who.call("POST", f"{BASE}/composite", {"allOrNone": True, "compositeRequest": list(parts)})


def labelled(kind: str, name: str, **values: Any) -> dict[str, Any]:
    return {"attributes": {"type": kind, "referenceId": name}, **values}


def test_each_part_of_a_composite_is_asked_and_bound_as_if_it_came_alone(sf: Hosted) -> None:
    record, person = next(iter(sf.records.items()))
    asked = f"SELECT Id, Email FROM Contact WHERE Email = '{person.email}'"
    answer = composite(
        sf.manager,
        part("POST", "sobjects/Account", "firm", {"Name": "Composed"}),
        part("POST", "sobjects/Contact", "one", {"LastName": "Composed", "AccountId": "@{firm.id}", "Email": MADE[0]}),
        part("PATCH", "sobjects/Contact/@{one.id}", "two", {"Phone": "13700137021"}),
        part("GET", "sobjects/Contact/@{one.id}", "three"),
        part("GET", f"query/?{urlencode({'q': asked})}", "four"),
    )
    told = [one["body"] for one in answer.expect(200).json()["compositeResponse"]]
    made = told[1]["id"]
    assert (told[3]["LastName"], told[3]["Email"], told[3]["Phone"]) == ("Composed", MADE[0], "13700137021")
    assert told[3]["AccountId"] == told[0]["id"]
    assert [(one["Id"], one["Email"]) for one in told[4]["records"]] == [(record, person.email)]
    assert origins(sf.stack, made) == [("contact", "email", 1), ("contact", "last_name", 1)]
    shown = composite(sf.sales, part("GET", f"sobjects/Contact/{record}", "one")).expect(200).text
    assert [one for one in clear_values(PEOPLE) if one in shown] == []
    assert MADE[0] not in sf.service.everything()
    sf.manager.call("DELETE", f"{BASE}/sobjects/Contact/{made}").expect(204)


def test_batches_trees_and_collections_are_split_as_well(sf: Hosted) -> None:
    record, person = list(sf.records.items())[1]
    version = BASE.rpartition("/")[2]
    parts = [
        {"method": "GET", "url": f"{version}/sobjects/Contact/{record}"},
        {"method": "PATCH", "url": f"{version}/sobjects/Contact/{record}", "richInput": {"Department": "Sales"}},
    ]
    told = sf.manager.call("POST", f"{BASE}/composite/batch", {"batchRequests": parts}).expect(200).json()["results"]
    assert (told[0]["result"]["Email"], told[1]["statusCode"]) == (person.email, 204)
    below = {"records": [labelled("Contact", "b", LastName="Below", Phone="13700137022")]}
    tree = {"records": [labelled("Account", "a", Name="Tree", Contacts=below), labelled("Account", "c", Name="Wood")]}
    listed = sf.manager.call("POST", f"{BASE}/composite/tree/Account", tree).expect(201).json()["results"]
    made = {one["referenceId"]: one["id"] for one in listed}
    assert origins(sf.stack, made["b"]) == [("contact", "last_name", 1), ("contact", "phone", 1)]
    several = [{**labelled("Contact", ""), "LastName": "Listed", "Email": one} for one in MADE]
    listed = sf.manager.call("POST", f"{BASE}/composite/sobjects", {"records": several}).expect(200).json()
    made |= {one: told["id"] for one, told in zip(MADE, listed, strict=True)}
    assert origins(sf.stack, made[MADE[1]]) == [("contact", "email", 1), ("contact", "last_name", 1)]
    changed = [{"attributes": {"type": "Contact"}, "id": made[one], "Phone": "13700137023"} for one in MADE]
    sf.manager.call("PATCH", f"{BASE}/composite/sobjects", {"records": changed}).expect(200)
    path = f"{BASE}/composite/sobjects/Contact?ids={','.join(made[one] for one in MADE)}&fields=Email,Phone"
    shown = sf.manager.call("GET", path).expect(200).json()
    assert [(one["Email"], one["Phone"]) for one in shown] == [(one, "13700137023") for one in MADE]
    assert [one for one in (*MADE, "13700137022", "13700137023") if one in sf.sales.call("GET", path).text] == []
    assert [one for one in (*MADE, "13700137022", "13700137023") if one in sf.service.everything()] == []
    for key, one in made.items():
        sf.manager.call("DELETE", f"{BASE}/sobjects/{'Account' if key in 'ac' else 'Contact'}/{one}").expect(204)


@pytest.mark.parametrize(
    ("who", "bad"),
    [
        ("sales", part("GET", "query?q=SELECT+Id+FROM+Contact+ORDER+BY+Email", "two")),
        ("sales", part("DELETE", "sobjects/Contact/0035g0000000001AAA", "two")),
        ("manager", part("GET", "query?q=SELECT+Id+FROM+Contact+WHERE+Email='@{one.Email}'", "two")),
        ("manager", part("POST", "composite", "two", {"compositeRequest": []})),
        ("manager", part("GET", "jobs/query", "two")),
        ("manager", part("GET", "sobjects/Contact/../Secret", "two")),
        ("manager", part("TRACE", "sobjects/Contact", "two")),
        ("manager", {**part("POST", "sobjects/Lead", "two", {"LastName": "x"}), "URL": f"{BASE}/jobs/query"}),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{one['method']} {one['url'].removeprefix(BASE)}",
)
def test_one_part_that_is_refused_refuses_the_whole_composite(sf: Hosted, who: str, bad: dict[str, Any]) -> None:
    asked = len(sf.service.arrived)
    answer = composite(getattr(sf, who), part("POST", "sobjects/Contact", "one", {"LastName": "Never"}), bad)
    assert 400 <= answer.status < 500
    assert len(sf.service.arrived) == asked


def test_no_record_of_a_collection_hides_behind_the_rights_over_another(sf: Hosted) -> None:
    asked = len(sf.service.arrived)
    first, second = list(sf.records)[:2]
    good = labelled("Contact", "a", LastName="Never")
    for path, records in (
        ("composite/sobjects", [good, labelled("Secret__c", "b", Name="x")]),
        ("composite/sobjects", [good, {"attributes": {"type": "Contact", "Type": "User"}, "LastName": "x"}]),
        ("composite/tree/Account", [labelled("Account", "a", Name="x", Contacts={"records": [labelled("User", "b")]})]),
    ):
        assert sf.manager.call("POST", f"{BASE}/{path}", {"records": records}).status in (403, 415)
    twice = {"attributes": {"type": "Contact"}, "id": first, "Id": second, "LastName": "x"}
    assert sf.manager.call("PATCH", f"{BASE}/composite/sobjects", {"records": [twice]}).status == 415
    assert sf.manager.call("DELETE", f"{BASE}/composite/sobjects?ids={first},{second}").status == 403
    assert len(sf.service.arrived) == asked


@pytest.fixture
def guesser(sf: Hosted) -> tuple[Client, str]:
    """Somebody new in sales, with budgets of his own, and his login."""
    member = join(sf.stack, "sales")
    browser = sign_in(sf.stack, member)
    browser.extra_headers["authorization"] = f"Bearer token-of-{member.login}"
    return Client(browser), member.login


def test_being_told_that_an_address_is_taken_is_budgeted_audited_and_alarmed(
    sf: Hosted, guesser: tuple[Client, str]
) -> None:
    clear_of_the_hour(60)
    who, login = guesser
    hidden, before = PEOPLE[2].email, len(sf.service.tables["Contact"])

    def one(email: str) -> Answer:
        return who.call("POST", f"{BASE}/sobjects/Contact", {"LastName": "X", "Email__c": email})

    def in_a_batch(email: str) -> Answer:
        part = {"method": "POST", "url": f"{BASE}/sobjects/Contact", "referenceId": "a"}
        part["body"] = {"LastName": "X", "Email__c": email}  # type: ignore[assignment]
        return who.call("POST", f"{BASE}/composite", {"compositeRequest": [part]})

    def in_a_list(email: str) -> Answer:
        record = {"attributes": {"type": "Contact"}, "LastName": "X", "Email__c": email}
        return who.call("POST", f"{BASE}/composite/sobjects", {"records": [record]})

    for number, ask in enumerate((one, in_a_batch, in_a_list)):  # what is taken in uses nothing up
        assert ask(f"guesser.{number}@example.org").expect(200, 201)
    for ask, status in ((one, 400), (in_a_batch, 200), (in_a_list, 200)) * (TAKEN // 3):
        answer = ask(hidden)
        assert answer.status == status
        assert "DUPLICATE_VALUE" in answer.text
    asked = len(sf.service.arrived)
    for email in (hidden, "nobody.at.all@example.org"):  # the refusal says nothing: it is the same for both
        for ask in (one, in_a_batch, in_a_list):
            answer = ask(email)
            assert (answer.status, answer.json()["reason"]) == (429, "uniqueness-budget")
    assert len(sf.service.arrived) == asked
    assert len(sf.service.tables["Contact"]) == before + 3
    entries = trail(sf.stack, login)
    assert entries.count(("guess", "uniqueness-told")) == TAKEN
    assert entries.count(("alarm", "uniqueness-budget")) == 1
    assert entries.count(("refusal", "uniqueness-budget")) == 6
    assert sf.manager.call("POST", f"{BASE}/sobjects/Contact", {"LastName": "X", "Email__c": hidden}).status == 400


def test_searches_for_what_somebody_does_not_see_end_at_the_budget_and_raise_an_alarm(
    sf: Hosted, guesser: tuple[Client, str]
) -> None:
    clear_of_the_hour(120)
    who, login = guesser
    found = f"SELECT Id FROM Contact WHERE Phone = '{PEOPLE[3].phone}'"
    for _ in range(SEARCHES):
        assert soql(who, found).status == 200
    asked = len(sf.service.arrived)
    for phone in (PEOPLE[3].phone, "+86 139 9999 0000"):
        refused = soql(who, f"SELECT Id FROM Contact WHERE Phone = '{phone}'")
        assert (refused.status, refused.json()["reason"]) == (429, "search-budget")
    assert len(sf.service.arrived) == asked
    soql(who, "SELECT Id FROM Contact WHERE LeadSource = 'Web'").expect(200)  # no value of anybody
    assert ids(soql(sf.manager, found)) != set()
    eventually(lambda: trail(sf.stack, login).count(("alarm", "search-budget")) == 1)


def test_what_the_profile_does_not_describe_is_refused_and_reaches_nobody(sf: Hosted) -> None:
    asked = len(sf.service.arrived)
    for method, path, reason in (
        ("POST", "composite/graph", "write-not-granted"),
        ("POST", "jobs/query", "export-in-background"),
        ("GET", "jobs/query/7505g00000abcdeAAA/results", "export-in-background"),
        ("POST", "jobs/ingest", "job-in-background"),
        ("GET", "search?q=FIND+%7Bzhang%7D+IN+EMAIL+FIELDS", "search-language-closed"),
    ):
        refused = sf.manager.call(method, f"{BASE}/{path}", {} if method == "POST" else None)
        assert (refused.status, refused.json()["reason"]) == (403, reason)
    assert len(sf.service.arrived) == asked


@pytest.fixture(scope="module")
def staff(sf: Hosted) -> tuple[Client, Client]:
    """Two people in sales, of whom the administrator says who they are in the CRM."""
    lin, chen = (client(sf.stack, "sales", user=user) for user in ("lin", "chen"))
    return lin, chen


def made_by(who: Client, name: str, **more: Any) -> str:
    given = {"LastName": name, "Email": f"{name.lower()}.own@example.org", **more}
    return str(who.call("POST", f"{BASE}/sobjects/Contact", given).expect(201).json()["id"])


def shown_name(who: Client, record: str) -> str:
    return str(who.call("GET", f"{BASE}/sobjects/Contact/{record}").expect(200).json()["LastName"])


def test_people_in_sales_see_their_own_records_and_nobody_elses(sf: Hosted, staff: tuple[Client, Client]) -> None:
    lin, chen = staff
    for name, record in (
        ("Typedbylin", made_by(lin, "Typedbylin")),
        ("Givenbyboss", made_by(sf.manager, "Givenbyboss", OwnerId=USERS["lin"])),
        ("Givenshort", made_by(sf.manager, "Givenshort", OwnerId=USERS["lin"][:15])),
        ("Givenbychen", made_by(chen, "Givenbychen", OwnerId=USERS["lin"])),
    ):
        assert (shown_name(lin, record), shown_name(sf.manager, record)) == (name, name)
        assert shown_name(chen, record) != name
        assert name not in soql(chen, f"SELECT Id, LastName FROM Contact WHERE Id = '{record}'").expect(200).text
        assert name in soql(lin, f"SELECT Id, LastName FROM Contact WHERE Id = '{record}'").expect(200).text
    assert "Typedbylin" not in sf.service.everything()


def test_in_a_batch_each_record_has_its_own_owner(sf: Hosted, staff: tuple[Client, Client]) -> None:
    lin, chen = staff
    answer = composite(
        sf.manager,
        part("POST", "sobjects/Contact", "a", {"LastName": "Batchedforlin", "OwnerId": USERS["lin"]}),
        part("POST", "sobjects/Contact", "b", {"LastName": "Batchedforchen", "OwnerId": USERS["chen"]}),
    )
    first, second = (one["body"]["id"] for one in answer.expect(200).json()["compositeResponse"])
    assert (shown_name(lin, first), shown_name(chen, second)) == ("Batchedforlin", "Batchedforchen")
    assert shown_name(lin, second) != "Batchedforchen"
    assert shown_name(chen, first) != "Batchedforlin"


def test_a_record_that_is_given_away_is_nobodys_own_until_it_is_read_again(
    sf: Hosted, staff: tuple[Client, Client]
) -> None:
    lin, chen = staff
    record = made_by(lin, "Givenaway")
    path = f"{BASE}/sobjects/Contact/{record}"
    sf.manager.call("PATCH", path, {"OwnerId": USERS["lin"], "Department": "Sales"}).expect(204)
    assert shown_name(lin, record) == "Givenaway"
    sf.manager.call("PATCH", path, {"OwnerId": USERS["chen"]}).expect(204)
    assert "Givenaway" not in (shown_name(lin, record), shown_name(chen, record))
    assert shown_name(sf.manager, record) == "Givenaway"


def test_nobody_makes_a_record_his_own_by_an_update(sf: Hosted, staff: tuple[Client, Client]) -> None:
    chen = staff[1]
    record = made_by(sf.manager, "Neverhis")
    chen.call("PATCH", f"{BASE}/sobjects/Contact/{record}", {"OwnerId": USERS["chen"]}).expect(204)
    assert shown_name(chen, record) != "Neverhis"


def test_who_asks_the_crm_whom_it_takes_him_for_is_known_from_then_on(sf: Hosted) -> None:
    zhou = client(sf.stack, "sales")
    zhou.browser.extra_headers["authorization"] = "Bearer token-of-zhou"
    record = made_by(sf.manager, "Zhousown", OwnerId=USERS["zhou"])
    assert shown_name(zhou, record) != "Zhousown"
    zhou.call("GET", "/services/oauth2/userinfo").expect(200)
    eventually(lambda: shown_name(zhou, record) == "Zhousown")
