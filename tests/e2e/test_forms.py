"""Storage forms on a real Creme: a date of birth stands beside the CRM, by record and by role, and never in it."""

import random
import sqlite3
from contextlib import closing

import pytest

from gateway.demo.browser import Answer, forms
from gateway.demo.driver import Driver
from gateway.demo.people import Person, make_people
from tests.drills.stack import Stack, fresh_id
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


def stored(stack: Stack, record: str) -> str | None:
    """The birthday column as Creme has it."""
    file = next(stack.crm.folder.rglob("db.sqlite3"))
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT birthday FROM persons_contact WHERE cremeentity_ptr_id = ?"
        found: str | None = connection.execute(query, (record,)).fetchone()[0]
        return found


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
