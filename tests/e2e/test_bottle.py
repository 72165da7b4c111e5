"""BottleCRM behind the gateway: nothing leaks, masks that come back change nothing, and a sign-out ends its tokens."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from rich.console import Console

from gateway.demo.browser import Answer, Browser, Upload
from gateway.demo.driver import BottleDriver
from gateway.demo.people import Person, make_people
from gateway.opening import open_database
from policies.enforcer import DEFAULT_POLICY
from tests.conftest import unwalled
from tests.drills import roundtrip_bottle
from tests.drills.leak import drill
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all, join, sign_in
from tests.hosted.office import clear_of_the_hour
from tests.real.servers import bottle

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
POLICY = """
g, importer, sales, *
p, importer, *, op:*, import, any
p, north, *, op:*, *, any
p, north, *, kind:*, masked, any
p, north, *, kind:*, search, any
p, north, *, field:contact.*, clear, any, where=contact.region:north
p, north, *, field:contact.*, write, any, where=contact.region:north
p, small, *, op:*, *, any
p, small, *, kind:*, search, any
p, small, *, field:lead.*, clear, any, where=lead.value:<10000
"""
FIELDS = ("first_name", "last_name", "email", "phone", "address_line", "description")
OUT = "/.crmgate/api/sign-out"
ENDED = "crm-token-ended"


@dataclass
class Office:
    """crmgate in front of a BottleCRM, and people at work; direct: the manager without the gateway."""

    stack: Stack
    manager: BottleDriver
    sales: BottleDriver
    other: BottleDriver
    direct: BottleDriver
    people: list[Person]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    policy = tmp_path_factory.mktemp("bottle") / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    with bottle() as server, installed(server, f'[tenant.main]\npolicy = "{policy}"\n') as stack:
        hands = [
            at_work(stack, "manager", "wang.manager"),
            at_work(stack, "sales", "lin.sales"),
            at_work(stack, "sales", "chen.sales"),
            stack.direct("manager"),
        ]
        people = make_people(random.Random(20261130), 40)  # the first seven give their numbers to a twin
        yield Office(stack, *map(_driver, hands), people)
        hands[-1].browser.close()
        close_all()


def _driver(found: object) -> BottleDriver:
    assert isinstance(found, BottleDriver)
    return found


def send(browser: Browser, method: str, path: str, value: Any) -> Answer:
    return browser.send(method, path, json.dumps(value).encode(), {"content-type": "application/json"})


def held(driver: BottleDriver, record: str) -> dict[str, Any]:
    """What a person is shown in the declared fields of a contact."""
    shown = driver.browser.get(f"/api/contacts/{record}/").expect(200).json()["contact_obj"]
    return {name: shown[name] for name in FIELDS}


def reason(answer: Answer) -> str:
    told = answer.json() if "json" in answer.header("content-type") else {}
    return str(told.get("reason", "")) if isinstance(told, dict) else ""


def test_nothing_seeded_through_the_gateway_leaks() -> None:
    assert drill("bottle", people=6, organisations=2, limit=150, console=Console(width=150)) == 0


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("whose", ["own", "somebody else's"])
def test_masks_that_come_back_keep_what_was_there(office: Office, method: str, whose: str) -> None:
    person = office.people.pop()
    record = office.sales.add_person(person)
    before, stored = held(office.manager, record), held(office.direct, record)
    writer = office.sales if whose == "own" else office.other
    shown = held(writer, record)
    assert person.email not in shown.values()
    assert person.phone not in shown.values()
    assert (person.last_name in shown.values()) == (whose == "own")
    send(writer.browser, method, f"/api/contacts/{record}/", {**shown, "city": "Elsewhere"}).expect(200)
    assert held(office.manager, record) == before
    assert held(office.direct, record) == stored
    assert office.direct.browser.get(f"/api/contacts/{record}/").json()["contact_obj"]["city"] == "Elsewhere"


def test_a_mask_of_another_record_is_refused_and_not_stored(office: Office) -> None:
    mine, other = office.people.pop(), office.people.pop()
    record, source = office.sales.add_person(mine), office.manager.add_person(other)
    stored = held(office.direct, record)
    readable = "***@example.com"
    answer = send(office.sales.browser, "PATCH", f"/api/contacts/{record}/", {"email": readable})
    assert (answer.status, reason(answer)) == (409, "mask-returned")
    assert held(office.direct, record) == stored
    # A surrogate of somebody whom the writer does not see may be pasted, but opens nothing.
    hidden = held(office.sales, source)["phone"]
    send(office.sales.browser, "PATCH", f"/api/contacts/{record}/", {"phone": hidden})
    assert other.phone not in json.dumps(held(office.sales, record))


def test_a_derived_copy_is_shown_in_its_own_spelling_and_masked_with_its_source(office: Office) -> None:
    person = office.people.pop()
    given = {"first_name": person.first_name, "last_name": person.last_name, "phone": "138-0013-8000"}
    record = send(office.sales.browser, "POST", "/api/contacts/", given).json()["id"]
    path = f"/api/contacts/{record}/"
    assert office.manager.browser.get(path).json()["contact_obj"]["phone_e164"] == "+8613800138000"
    assert "13800138000" not in office.sales.browser.get(path).text
    assert "13800138000" not in office.direct.browser.get(path).text


def test_searching_a_hidden_value_tells_no_more_than_searching_nobodys(office: Office) -> None:
    person, nobody = office.people.pop(), office.people.pop()
    record = office.manager.add_person(person)
    for parameter, value, other in (
        ("phone", person.phone, nobody.phone),
        ("email", person.email, nobody.email),
        ("search", person.phone, nobody.phone),
    ):
        answers = [
            office.sales.browser.get(f"/api/contacts/?{parameter}={quote(one)}").expect(200) for one in (value, other)
        ]
        assert answers[0].json() == answers[1].json()
        found = office.manager.browser.get(f"/api/contacts/?{parameter}={quote(value)}").expect(200).json()
        assert [one["id"] for one in found["results"]] == [record]
    part = office.sales.browser.get(f"/api/contacts/?phone={quote(person.phone[-6:])}")
    assert (part.status, reason(part)) == (403, "search-whole-only")
    both = [
        office.sales.browser.post_json("/api/contacts/duplicates/", {"phone": one.phone}).json()
        for one in (person, nobody)
    ]
    assert both[0] == both[1]


def test_a_masked_number_of_ones_own_customer_is_found(office: Office) -> None:
    person = office.people.pop()
    record = office.sales.add_person(person)
    found = office.sales.browser.get(f"/api/contacts/?phone={quote(person.phone)}").expect(200).json()
    assert [one["id"] for one in found["results"]] == [record]


def test_a_sign_out_at_the_gateway_ends_every_token_of_the_crm(office: Office) -> None:
    stack = office.stack
    member = join(stack, "manager", "wang.manager")
    first = sign_in(stack, member)
    driver = BottleDriver(first)
    driver.log_in("wang.manager", stack.crm.passwords["wang.manager"])
    access, refresh = first.extra_headers["authorization"], driver.refresh
    first.get("/api/contacts/").expect(200)
    thief = sign_in(stack, join(stack, "manager", "wang.manager"))
    taken = thief.send("GET", "/api/contacts/", headers={"authorization": access})
    assert (taken.status, reason(taken)) == (401, ENDED)  # it is somebody else's
    first.post_json(OUT, {}, headers={"origin": first.base})
    again = sign_in(stack, member)
    for place in ({"authorization": access}, {"token": access.removeprefix("Bearer ")}):
        answer = again.send("GET", "/api/contacts/", headers=place)
        assert (answer.status, reason(answer)) == (401, ENDED)
    # The CRM itself would still take both.
    direct = Browser(stack.crm.url)
    direct.send("GET", "/api/contacts/", headers={"authorization": access}).expect(200)
    renewed = again.post_json("/api/auth/refresh-token/", {"refresh": refresh})
    assert (renewed.status, reason(renewed)) == (401, ENDED)
    assert again.post("/api/auth/refresh-token/", {"refresh": refresh}, follow=False).status == 401
    parts = again.post_files("/api/auth/refresh-token/", [("refresh", refresh)], [])
    assert (parts.status, reason(parts)) == (415, "body-unreadable")
    direct.post_json("/api/auth/refresh-token/", {"refresh": refresh}).expect(200)
    direct.close()


def test_a_sign_out_of_the_crm_ends_its_access_token_too(office: Office) -> None:
    stack = office.stack
    browser = sign_in(stack, join(stack, "manager", "wang.manager"))
    driver = BottleDriver(browser)
    driver.log_in("wang.manager", stack.crm.passwords["wang.manager"])
    renewed = browser.post_json("/api/auth/refresh-token/", {"refresh": driver.refresh}).expect(200).json()
    browser.extra_headers["authorization"] = access = f"Bearer {renewed['access']}"
    browser.get("/api/contacts/").expect(200)
    browser.post_json("/api/auth/logout/", {"refresh": renewed["refresh"]}).expect(200)
    answer = browser.get("/api/contacts/")
    assert (answer.status, reason(answer)) == (401, ENDED)
    direct = Browser(stack.crm.url)
    direct.send("GET", "/api/contacts/", headers={"authorization": access}).expect(200)
    direct.close()


def test_what_nobody_modelled_is_refused_and_so_is_a_table_with_columns_of_its_own(office: Office) -> None:
    browser = office.manager.browser
    for path in ("/api/public/leads/00000000-0000-4000-8000-000000000000/", "/api/unknown/"):
        answer = browser.post_json(path, {"last_name": "Zhang"})
        assert (answer.status, reason(answer)) == (403, "write-not-granted")
    table = Upload("people.csv", b"one,two\nWei,Zhang\n", "text/csv")
    mapping = json.dumps({"0": "first_name", "1": "last_name"})
    answer = browser.post_files("/api/contacts/import/commit/", [("mapping", mapping)], [("file", table)])
    assert (answer.status, reason(answer)) == (422, "value-invalid")
    listed = office.sales.browser.post_files("/api/contacts/import/commit/", [], [("file", table)])
    assert (listed.status, reason(listed)) == (403, "not-allowed")


def test_an_import_stores_surrogates_and_its_preview_shows_them_clear(office: Office) -> None:
    person = office.people.pop()
    head = "First Name,last-name,E-mail,mobile_no,notes"
    row = f'{person.first_name},{person.last_name},{person.email},{person.phone},"call {person.phone}"'
    for step in ("preview", "commit"):
        file = Upload("people.csv", f"{head}\n{row}\n".encode(), "text/csv")
        path = f"/api/contacts/import/{step}/"
        answer = office.manager.browser.post_files(path, [("mapping", "auto")], [("file", file)]).expect(200, 201)
        if step == "preview":
            assert person.email in answer.text
    found = office.manager.browser.get(f"/api/contacts/?email={quote(person.email)}").expect(200).json()["results"]
    assert [one["phone"] for one in found] == [person.phone]
    stored = json.dumps(held(office.direct, found[0]["id"]), ensure_ascii=False)
    assert not [value for value in (person.email, person.phone, person.last_name) if value in stored]


def trail(stack: Stack) -> list[tuple[str, str]]:
    """Kind and reason of every entry of the trail."""
    database = open_database(stack.settings)
    try:
        with psycopg.connect(unwalled(database.dsn)) as connection:
            return connection.execute("SELECT kind, reason FROM audit_entry").fetchall()
    finally:
        database.close()


def contacts(driver: BottleDriver, query: str) -> dict[str, Any]:
    """A page of the list of contacts."""
    found: dict[str, Any] = driver.browser.get(f"/api/contacts/?{query}").expect(200).json()
    return found


def told(page: dict[str, Any]) -> dict[str, Any]:
    """What a page says about itself and which records it shows."""
    totals = ("count", "contacts_count", "active_count", "inactive_count", "page_number", "offset")
    return {"ids": [one["id"] for one in page["results"]], **{name: page[name] for name in totals}}


def test_a_name_that_several_people_have_is_answered_as_by_a_crm_in_clear(office: Office) -> None:
    """The twin: the same people by other names that stay clear, in the same order, without the gateway."""
    name, twin = "Merkwald", "Twinhaus"
    ours, plain = [], []
    for number, person in enumerate(office.people[:7]):
        active = number % 3 > 0
        given = {"first_name": person.first_name, "phone": person.phone, "is_active": active}
        made = send(office.manager.browser, "POST", "/api/contacts/", {**given, "last_name": f"{name}"})
        ours.append(made.expect(200).json()["id"])
        clear = {"first_name": "X", "last_name": twin, "is_active": active}
        plain.append(send(office.direct.browser, "POST", "/api/contacts/", clear).expect(200).json()["id"])
    same = dict(zip(ours, plain, strict=True))
    assert len({held(office.direct, one)["last_name"] for one in ours}) == len(ours)  # a surrogate for each
    for box, sizes in (("search", (2, 3, 20)), ("name", (5,))):
        for size in sizes:
            for extra in ("", "&is_active=true", "&is_active=false"):
                for offset in range(0, 8, size):
                    page = f"limit={size}&offset={offset}{extra}"
                    found = told(contacts(office.manager, f"{box}={name}&{page}"))
                    wanted = told(contacts(office.direct, f"{box}={twin}&{page}"))
                    found["ids"] = [same[one] for one in found["ids"]]
                    # How many ids come after one is chance of two sets of ids; all else is the same.
                    del found["offset"], wanted["offset"]
                    assert found == wanted
    whole = contacts(office.manager, f"search={name}")
    assert {one["last_name"] for one in whole["results"]} == {name}
    assert whole["contact_obj_list"] == whole["results"]
    export = office.manager.browser.get(f"/api/contacts/export/?search={name}")
    assert (export.status, reason(export)) == (422, "search-ambiguous")


def test_leads_and_accounts_of_one_name_are_merged_in_both_their_lists(office: Office) -> None:
    for kind, fields, lists in (
        ("leads", {"title": "x"}, [("open_leads", "open_leads", "leads_count")]),
        ("accounts", {}, [("active_accounts", "open_accounts", "open_accounts_count")]),
    ):
        key = "name" if kind == "accounts" else "last_name"
        made = []
        for number in range(3):
            given = {**fields, key: f"Ostfeld {number}" if kind == "accounts" else "Ostfeld"}
            answer = send(office.manager.browser, "POST", f"/api/{kind}/", given)
            assert answer.status in (200, 201), answer.text
            made.append(given[key])
        shown = []
        for offset in range(3):
            page = office.manager.browser.get(f"/api/{kind}/?name=Ostfeld&limit=1&offset={offset}").expect(200).json()
            for member, rows, total in lists:
                assert page[member][total] == 3
                shown += [(one["id"], one[key]) for one in page[member][rows]]
        assert [one for one, _ in shown] == sorted((one for one, _ in shown), reverse=True)
        assert sorted(value for _, value in shown) == sorted(made)
    refused = office.manager.browser.get("/api/leads/?name=Ostfeld&unanswered=true")
    assert (refused.status, reason(refused)) == (422, "search-not-merged")


def test_being_told_that_an_address_is_taken_is_budgeted_audited_and_alarmed(office: Office) -> None:
    clear_of_the_hour(120)
    hidden, fresh = office.people.pop(), office.people.pop()
    office.manager.add_person(hidden)
    guesser = _driver(at_work(office.stack, "sales", "chen.sales"))
    budget = 30

    def guess(email: str) -> Answer:
        return send(guesser.browser, "POST", "/api/contacts/", {"first_name": "X", "last_name": "Y", "email": email})

    # What the CRM takes, and what it refuses for another reason, uses nothing up.
    assert guess("guesser.one@example.com").status == 200
    assert guess("no address").status == 400
    for _ in range(budget):
        answer = guess(hidden.email)
        assert (answer.status, reason(answer)) == (400, "")
        assert "already exists" in answer.text
    for email in (hidden.email, fresh.email):  # the refusal says nothing: it is the same for both
        answer = guess(email)
        assert (answer.status, reason(answer)) == (429, "uniqueness-budget")
    assert fresh.email not in json.dumps(contacts(office.manager, f"email={quote(fresh.email)}")["results"])
    office.sales.add_person(fresh)  # somebody else's budget is his own
    # So does looking for records that equal one's own, whatever was written into it.
    own = (
        send(guesser.browser, "POST", "/api/contacts/", {"first_name": "X", "last_name": "Z"}).expect(200).json()["id"]
    )
    equal = guesser.browser.get(f"/api/contacts/{own}/duplicates/")
    assert (equal.status, reason(equal)) == (429, "uniqueness-budget")
    entries = trail(office.stack)
    assert sum(reason == "uniqueness-told" for _, reason in entries) == budget
    assert entries.count(("alarm", "uniqueness-budget")) == 1
    assert entries.count(("refusal", "uniqueness-budget")) == 3


def test_exports_come_back_and_change_nothing(office: Office) -> None:
    importer = _driver(at_work(office.stack, "importer", "lin.sales"))
    people = [office.people.pop() for _ in range(4)]
    lines = roundtrip_bottle.run(roundtrip_bottle.furnish(office.manager, importer, office.direct, people))
    assert [(line.what, line.faults) for line in lines if line.faults] == []
    assert sum(line.compared for line in lines) > 60


def test_a_role_sees_and_writes_the_records_of_its_region_and_no_others(office: Office) -> None:
    north = _driver(at_work(office.stack, "north", "wang.manager")).browser
    people = [office.people.pop() for _ in range(3)]
    records = [office.manager.add_person(one) for one in people]
    for record, state in zip(records, ("North", "South", None), strict=True):
        send(office.direct.browser, "PATCH", f"/api/contacts/{record}/", {"state": state}).expect(200)
    ours = set(records)

    def rows() -> dict[str, str]:
        listed = north.get("/api/contacts/?limit=200").expect(200).json()["results"]
        return {one["id"]: json.dumps(one, ensure_ascii=False) for one in listed if one["id"] in ours}

    def exported() -> dict[str, str]:
        lines = north.get("/api/contacts/export/").expect(200).text.splitlines()
        return {record: line for record in records for line in lines if record in line}

    def detail() -> dict[str, str]:
        pages = {one: north.get(f"/api/contacts/{one}/").expect(200).json()["contact_obj"] for one in records}
        return {one: json.dumps(page, ensure_ascii=False) for one, page in pages.items()}

    for seen in (rows(), exported(), detail()):
        assert set(seen) == ours
        for record, person, clear in zip(records, people, (True, False, False), strict=True):
            for value in (person.phone, person.email, person.last_name):
                assert (value in seen[record]) is clear, value
    # Where the answer does not tell the region, nothing opens.
    assert people[0].phone not in north.get(f"/api/search/?q={quote(people[0].phone)}").text

    new = office.people.pop()
    for record, status in zip(records, (200, 403, 403), strict=True):
        answer = send(north, "PATCH", f"/api/contacts/{record}/", {"phone": new.phone})
        assert (answer.status, reason(answer)) == (status, "" if status == 200 else "field-not-writable")
    assert held(office.manager, records[0])["phone"] == new.phone
    assert held(office.manager, records[1])["phone"] == people[1].phone
    # Nobody lets himself in by moving a record into his region.
    for record in records[1:]:
        answer = send(north, "PATCH", f"/api/contacts/{record}/", {"state": "North"})
        assert (answer.status, reason(answer)) == (403, "field-not-writable")
        assert office.direct.browser.get(f"/api/contacts/{record}/").json()["contact_obj"]["state"] != "North"
    send(office.manager.browser, "PATCH", f"/api/contacts/{records[0]}/", {"state": "South"}).expect(200)
    assert new.phone not in detail()[records[0]]


def test_under_a_value_is_under_it_and_a_search_by_what_is_seen_only_so_finds_nobody(office: Office) -> None:
    small = _driver(at_work(office.stack, "small", "wang.manager")).browser
    people = [office.people.pop() for _ in range(3)]
    records = []
    for person, amount in zip(people, ("9999.99", "10000.00", None), strict=True):
        given = {"title": "Roof", "first_name": person.first_name, "last_name": person.last_name, "phone": person.phone}
        given |= {"email": person.email, "status": "assigned"} | ({"opportunity_amount": amount} if amount else {})
        records.append(send(office.manager.browser, "POST", "/api/leads/", given).json()["id"])
    found = office.manager.browser.get(f"/api/leads/?email={quote(people[0].email)}").expect(200).json()
    assert [one["id"] for one in found["open_leads"]["open_leads"]] == records[:1]
    listed = small.get("/api/leads/?limit=200").expect(200).json()["open_leads"]["open_leads"]
    shown = {one["id"]: json.dumps(one) for one in listed}
    exported = small.get("/api/leads/export/").expect(200).text.splitlines()
    for record, person, clear in zip(records, people, (True, False, False), strict=True):
        lead = small.get(f"/api/leads/{record}/").expect(200).json()["lead_obj"]
        line = next(one for one in exported if record in one)
        for seen in (shown[record], json.dumps(lead), line):
            assert (person.phone in seen) is clear
    nobody = office.people.pop()
    answers = [small.get(f"/api/leads/?email={quote(one.email)}").expect(200) for one in (people[0], people[1], nobody)]
    assert answers[0].json() == answers[1].json() == answers[2].json()
