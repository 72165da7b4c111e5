"""Storage forms on a real Creme: a date of birth stands beside the CRM, by record and by role, and never in it."""

import csv
import io
import random
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from urllib.parse import quote

import pytest
from selectolax.lexbor import LexborHTMLParser

from gateway.demo.browser import Answer, forms
from gateway.demo.driver import Driver
from gateway.demo.people import Person, make_people
from tests.drills.stack import Stack, fresh_id
from tests.e2e.database import sql
from tests.e2e.visitors import at_work

pytestmark = pytest.mark.real
PLACEHOLDER = "1900-01-01"


@pytest.fixture(scope="module")
def stack(creme_stack: Stack) -> Stack:
    return creme_stack


@pytest.fixture(scope="module")
def sales(stack: Stack) -> Driver:
    return at_work(stack, "sales", "lin.sales")


@pytest.fixture(scope="module")
def manager(stack: Stack) -> Driver:
    return at_work(stack, "manager", "wang.manager")


@pytest.fixture
def person() -> Person:
    return make_people(random.Random(int(fresh_id(), 16)), 1)[0]


@pytest.fixture
def record(sales: Driver, person: Person) -> str:
    return sales.add_person(person)


PLACEHOLDERS = {(date(1900, 1, 1) + timedelta(days=one)).isoformat() for one in range(365)}


def stored(stack: Stack, record: str) -> str | None:
    """The birthday column as Creme has it."""
    file = next(stack.crm.folder.rglob("db.sqlite3"))
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT birthday FROM persons_contact WHERE cremeentity_ptr_id = ?"
        found: str | None = connection.execute(query, (record,)).fetchone()[0]
        return found


def change(stack: Stack, statement: str, *values: object) -> None:
    """Change something in Creme's own tables."""
    with closing(sqlite3.connect(next(stack.crm.folder.rglob("db.sqlite3")))) as connection:
        connection.execute(statement, values)
        connection.commit()


def form_of(page: Answer, name: str = "birthday") -> int:
    return next(number for number, one in enumerate(forms(page)) if any(key == name for key, _ in one.fields))


def in_form(page: Answer) -> str:
    """What the box for the birthday holds."""
    return dict(forms(page)[form_of(page)].fields)["birthday"]


def test_creme_holds_a_placeholder_and_each_role_sees_its_own(
    stack: Stack, sales: Driver, manager: Driver, person: Person, record: str
) -> None:
    assert stored(stack, record) == PLACEHOLDER
    born = person.birthday
    clear = manager.browser.get(f"/persons/contact/{record}").expect(200).text
    masked = sales.browser.get(f"/persons/contact/{record}").expect(200).text
    assert f"{born:%Y}-**-**" in masked
    assert f"{born.day}, {born.year}" in clear
    assert f"{born.day}, {born.year}" not in masked
    assert "1900" not in clear + masked
    assert in_form(manager.browser.get(f"/persons/contact/edit/{record}").expect(200)) == born.isoformat()
    assert in_form(sales.browser.get(f"/persons/contact/edit/{record}").expect(200)) == PLACEHOLDER


def save(browser: object, path: str, changes: dict[str, str | None], name: str = "birthday") -> Answer:
    """Open a form, change fields in it, send it."""
    page = browser.get(path).expect(200)  # type: ignore[attr-defined]
    answer: Answer = browser.submit(page, changes, form_of(page, name), follow=False)  # type: ignore[attr-defined]
    return answer


def test_a_form_saved_by_somebody_who_sees_a_mask_keeps_the_date(
    stack: Stack, sales: Driver, manager: Driver, person: Person, record: str
) -> None:
    path = f"/persons/contact/edit/{record}"
    save(sales.browser, path, {"full_position": "Purchasing"}).expect(302)
    assert stored(stack, record) == PLACEHOLDER
    assert in_form(manager.browser.get(path).expect(200)) == person.birthday.isoformat()


def test_a_readable_mask_in_the_box_is_put_back_only_where_it_fits(
    sales: Driver, manager: Driver, person: Person, record: str
) -> None:
    path = f"/persons/contact/edit/{record}"
    save(sales.browser, path, {"birthday": f"{person.birthday:%Y}-**-**"}).expect(302)
    save(sales.browser, path, {"birthday": f"{person.birthday.year - 1}-**-**"}).expect(409)
    assert in_form(manager.browser.get(path).expect(200)) == person.birthday.isoformat()


def test_a_new_date_replaces_the_old_one_and_an_empty_box_removes_it(
    stack: Stack, sales: Driver, manager: Driver, record: str
) -> None:
    path = f"/persons/contact/edit/{record}"
    save(sales.browser, path, {"birthday": "1977-05-06"}).expect(302)
    assert stored(stack, record) == "1900-01-02"  # the next generation
    assert in_form(manager.browser.get(path).expect(200)) == "1977-05-06"
    assert "1977-**-**" in sales.browser.get(f"/persons/contact/{record}").expect(200).text
    save(manager.browser, path, {"birthday": ""}).expect(302)
    assert stored(stack, record) is None
    assert in_form(manager.browser.get(path).expect(200)) == ""
    # What was there does not come back with the placeholder.
    save(sales.browser, path, {"birthday": PLACEHOLDER}).expect(302)
    assert in_form(manager.browser.get(path).expect(200)) == PLACEHOLDER


def test_a_form_that_creme_refuses_changes_nothing_and_comes_back_as_typed(
    stack: Stack, sales: Driver, manager: Driver, person: Person, record: str
) -> None:
    path = f"/persons/contact/edit/{record}"
    refused = save(sales.browser, path, {"last_name": "", "birthday": "1966-07-08"}).expect(200)
    assert in_form(refused) == "1966-07-08"
    assert in_form(manager.browser.get(path).expect(200)) == person.birthday.isoformat()
    assert stored(stack, record) == PLACEHOLDER


def contact_type(driver: Driver) -> str:
    listed = driver.browser.get("/persons/contacts").expect(200).text
    found = re.search(r"/creme_core/mass_import/(\d+)", listed)
    assert found
    return found[1]


def test_one_cell_edited_in_its_popup_and_the_brick_loaded_anew_show_the_new_date(
    stack: Stack, manager: Driver, sales: Driver, record: str
) -> None:
    page = manager.browser.get(f"/persons/contact/{record}").expect(200).text
    path = f"/creme_core/entity/edit/inner/{contact_type(manager)}/{record}?cell=regular_field-birthday"
    save(manager.browser, path, {"birthday": "1955-12-31"}).expect(200)
    assert stored(stack, record) in PLACEHOLDERS - {PLACEHOLDER}
    brick = re.search(r'data-brick-id="([^"]*persons-contact_card_hat[^"]*|regular-persons-contact_card_hat)"', page)
    ids = [brick[1]] if brick else re.findall(r'data-brick-id="([^"]+)"', page)
    for driver, wanted in ((manager, "Dec. 31, 1955"), (sales, "1955-**-**")):
        told = [driver.browser.get(f"/creme_core/bricks/reload/detailview/{record}?brick_id={one}") for one in set(ids)]
        texts = [one.text for one in told if one.status == 200 and "regular_field-birthday" in one.text]
        assert any(wanted in text for text in texts)
        assert not any("1900" in text for text in texts)


@pytest.fixture(scope="module")
def view(manager: Driver) -> str:
    """A view of contacts with their birthdays."""
    cells = "regular_field-last_name,regular_field-first_name,regular_field-birthday,regular_field-email"
    path = f"/creme_core/header_filter/add/{contact_type(manager)}"
    save(manager.browser, path, {"name": "Birthdays", "cells": cells}, "cells").expect(302)
    listed = manager.browser.get("/persons/contacts").expect(200)
    found = re.search(r'value="(creme_core-userhf_[^"]+)"', listed.text)
    assert found
    return found[1]


def test_a_list_shows_each_row_its_own_date(
    sales: Driver, manager: Driver, person: Person, record: str, view: str
) -> None:
    other = make_people(random.Random(int(fresh_id(), 16)), 1)[0]
    sales.add_person(other)
    target = f"/persons/contacts?hfilter={view}&rows=100"
    rows = LexborHTMLParser(manager.browser.get(target).expect(200).body).css("tr.lv-row")
    shown = {}
    for row in rows:
        number = row.css_first("input[name=entity_id]").attributes["value"]
        cell = row.css_first("td[name=regular_field-birthday] .lv-cell-value")
        shown[number] = cell.text().strip()
    assert str(person.birthday.year) in shown[record]
    assert "1900" not in "".join(shown.values())
    masked = sales.browser.get(target).expect(200).text
    assert f"{person.birthday.year}-**-**" in masked
    assert f", {person.birthday.year}" not in masked


def test_an_exported_table_shows_each_row_its_own_date(
    sales: Driver, manager: Driver, person: Person, record: str, view: str
) -> None:
    target = (
        f"/creme_core/mass_export?ct_id={contact_type(manager)}&type=csv&hfilter={view}"
        '&sort_key=regular_field-last_name&sort_order=ASC&efilter=&extra_q={"op":"AND","val":[]}'
    )
    shown = {driver: driver.browser.get(quote(target, safe="/?&=")).expect(200).text for driver in (manager, sales)}
    rows = list(csv.DictReader(io.StringIO(shown[manager].lstrip("\ufeff"))))
    mine = next(row for row in rows if row["Email address"] == person.email)
    assert mine["Birthday"] == person.birthday.isoformat()
    masked = [row["Birthday"] for row in csv.DictReader(io.StringIO(shown[sales].lstrip("\ufeff")))]
    assert f"{person.birthday.year}-**-**" in masked
    assert not any(re.search("[0-9]{4}-[0-9]{2}-[0-9]{2}", one) for one in masked)


def test_a_search_for_a_date_is_refused(manager: Driver, view: str) -> None:
    target = f"/persons/contacts?hfilter={view}&search-regular_field-birthday-start=1970-01-01"
    manager.browser.get(target).expect(403)


def bulk(driver: Driver, records: list[str], given: str) -> Answer:
    """A bulk edit of the birthday."""
    path = f"/creme_core/entity/update/bulk/{contact_type(driver)}/field/regular_field-birthday"
    opened = driver.browser.get(f"{path}?{'&'.join(f'entities={one}' for one in records)}").expect(200)
    fields = [*forms(opened)[form_of(opened)].filled({"birthday": given}), *(("entities", one) for one in records)]
    headers = {"referer": opened.url, "origin": driver.browser.base}
    return driver.browser.post(path, fields, headers=headers, follow=False)


def test_several_records_are_given_a_date_at_once_and_one_that_creme_leaves_out_keeps_its_own(
    stack: Stack, manager: Driver, sales: Driver
) -> None:
    """What stands in Creme afterwards says of each record whether Creme took it; its answer does not."""
    people = make_people(random.Random(int(fresh_id(), 16)), 3)
    records = [sales.add_person(one) for one in people]
    save(manager.browser, f"/persons/contact/edit/{records[0]}", {"birthday": "1950-05-05"}).expect(302)
    sandbox = "UPDATE creme_core_cremeentity SET sandbox_id = {} WHERE id = ?"
    change(stack, sandbox.format("(SELECT id FROM creme_core_sandbox LIMIT 1)"), records[2])  # for superusers only
    bulk(sales, records, "1944-02-29").expect(200)
    change(stack, sandbox.format("NULL"), records[2])
    shown = [in_form(manager.browser.get(f"/persons/contact/edit/{one}").expect(200)) for one in records[:2]]
    assert shown == ["1944-02-29", "1944-02-29"]
    assert len({stored(stack, one) for one in records[:2]}) == 1
    assert "1944-**-**" in sales.browser.get(f"/persons/contact/{records[0]}").expect(200).text
    left_out = manager.browser.get(f"/persons/contact/edit/{records[2]}").expect(200)
    assert in_form(left_out) == people[2].birthday.isoformat()


def test_several_records_cannot_be_emptied_at_once(stack: Stack, manager: Driver, sales: Driver) -> None:
    """An empty field names no generation, so nobody could tell of which records Creme took it."""
    people = make_people(random.Random(int(fresh_id(), 16)), 2)
    records = [sales.add_person(one) for one in people]
    bulk(manager, records, "").expect(422)
    for record, person in zip(records, people, strict=True):
        shown = in_form(manager.browser.get(f"/persons/contact/edit/{record}").expect(200))
        assert shown == person.birthday.isoformat()


def asked(driver: Driver, path: str, fields: dict[str, str], referer: str) -> Answer:
    """A button of a page pressed."""
    about = {"x-csrftoken": driver.browser.cookies["csrftoken"], "origin": driver.browser.base}
    about["referer"] = f"{driver.browser.base}{referer}"
    return driver.browser.post(path, fields, follow=False, headers=about)


def trash(driver: Driver, record: str) -> Answer:
    """The first time into the trash, the second time for good."""
    return asked(driver, f"/creme_core/entity/delete/{record}", {}, f"/persons/contact/{record}")


def test_a_merge_keeps_the_date_that_one_of_the_two_has(stack: Stack, manager: Driver, sales: Driver) -> None:
    people = make_people(random.Random(int(fresh_id(), 16)), 2)
    first, second = (sales.add_person(one) for one in people)
    save(manager.browser, f"/persons/contact/edit/{first}", {"birthday": ""}).expect(302)
    page = manager.browser.get(f"/creme_core/entity/merge?id1={first}&id2={second}").expect(200)
    manager.browser.submit(page, {}, form_of(page, "last_name_merged"), follow=False).expect(302)
    kept = next(one for one in (first, second) if stored(stack, one) is not None)
    shown = in_form(manager.browser.get(f"/persons/contact/edit/{kept}").expect(200))
    assert shown == people[1].birthday.isoformat()


def test_a_copy_has_the_date_only_if_whoever_copies_sees_it(
    stack: Stack, sales: Driver, manager: Driver, person: Person, record: str
) -> None:
    for driver, wanted in ((manager, person.birthday.isoformat()), (sales, PLACEHOLDER)):
        about = {"x-csrftoken": driver.browser.cookies["csrftoken"], "origin": driver.browser.base}
        about["referer"] = f"{driver.browser.base}/persons/contact/{record}"
        made = driver.browser.post("/creme_core/entity/clone", {"id": record}, follow=False, headers=about)
        copy = made.expect(302).header("location").rstrip("/").rpartition("/")[2]
        assert stored(stack, copy) in PLACEHOLDERS
        assert in_form(manager.browser.get(f"/persons/contact/edit/{copy}").expect(200)) == wanted


def test_the_form_of_a_merge_shows_each_its_own_date(manager: Driver, sales: Driver) -> None:
    people = make_people(random.Random(int(fresh_id(), 16)), 2)
    first, second = (sales.add_person(one) for one in people)
    page = manager.browser.get(f"/creme_core/entity/merge?id1={first}&id2={second}").expect(200)
    shown = dict(forms(page)[form_of(page, "last_name_merged")].fields)
    assert shown["birthday_merged"] == people[0].birthday.isoformat()
    assert shown["birthday_1"] == people[0].birthday.isoformat()
    assert shown["birthday_2"] == people[1].birthday.isoformat()
    chosen: dict[str, str | None] = {"birthday_merged": people[1].birthday.isoformat()}
    manager.browser.submit(page, chosen, form_of(page, "last_name_merged"), follow=False).expect(302)
    assert in_form(manager.browser.get(f"/persons/contact/edit/{first}").expect(200)) == people[1].birthday.isoformat()


def test_no_birthday_is_anywhere_in_the_crm(stack: Stack, sales: Driver) -> None:
    person = make_people(random.Random(int(fresh_id(), 16)), 1)[0]
    born = date(1931, 10, 23)
    sales.add_person(replace(person, birthday=born))
    for file in stack.crm.folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert born.isoformat().encode() not in data, file.name
    tables = [row[0] for row in sql(stack.settings, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    for table in tables:
        rows = sql(stack.settings, f'SELECT to_jsonb(t)::text FROM "{table}" t')
        assert not any(born.isoformat() in row[0] for row in rows), table
