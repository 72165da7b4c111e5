"""What Creme stores and what people see of it: surrogates at rest, each role its own view, nothing lost between."""

import random
import sqlite3
from contextlib import closing

import pytest

from gateway.demo.browser import forms
from gateway.demo.driver import Driver
from gateway.demo.people import Person, make_people
from tests.drills.seek import Seeker, Sought
from tests.drills.stack import Stack, fresh_id
from tests.e2e.database import sql
from tests.e2e.visitors import at_work

pytestmark = pytest.mark.real
KINDS = {"name": "name", "email": "e-mail", "phone": "phone", "address": "address"}


@pytest.fixture(scope="module")
def stack(creme_stack: Stack) -> Stack:
    return creme_stack


@pytest.fixture(scope="module")
def sales(stack: Stack) -> Driver:
    return at_work(stack, "sales", "lin.sales")


@pytest.fixture(scope="module")
def manager(stack: Stack) -> Driver:
    return at_work(stack, "manager", "wang.manager")


@pytest.fixture(scope="module")
def person() -> Person:
    return make_people(random.Random(int(fresh_id(), 16)), 1)[0]


@pytest.fixture(scope="module")
def record(sales: Driver, person: Person) -> str:
    return sales.add_person(person)


def typed(person: Person) -> list[Sought]:
    """What the form of a contact takes."""
    return [Sought(value, KINDS[kind]) for kind, value in person.values if kind in KINDS]


def stored(stack: Stack, record: str) -> tuple[str, ...]:
    """Name, mobile and e-mail as Creme has them."""
    file = next(stack.crm.folder.rglob("db.sqlite3"))
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT last_name, first_name, mobile, email FROM persons_contact WHERE cremeentity_ptr_id = ?"
        return tuple(connection.execute(query, (record,)).fetchone())


def test_creme_stores_surrogates_and_the_vault_ciphertext(stack: Stack, person: Person, record: str) -> None:
    values = stored(stack, record)
    assert len(set(values)) == 4
    assert set(values).isdisjoint({person.last_name, person.first_name, person.phone, person.email})
    seeker = Seeker(typed(person))
    tables = [row[0] for row in sql(stack.settings, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    for table in tables:
        rows = sql(stack.settings, f'SELECT to_jsonb(t)::text FROM "{table}" t')
        assert (table, seeker.find("\n".join(row[0] for row in rows).encode())) == (table, set())


def test_each_role_sees_its_own_view(sales: Driver, manager: Driver, person: Person, record: str) -> None:
    clear = manager.browser.get(f"/persons/contact/{record}").expect(200).text
    assert person.email in clear
    assert person.last_name in clear
    masked = sales.browser.get(f"/persons/contact/{record}").expect(200)
    assert person.last_name in masked.text
    hidden = [one for one in typed(person) if one.kind in ("e-mail", "phone")]
    assert Seeker(hidden).find(masked.body) == set()


def test_a_masked_form_saved_again_keeps_the_real_values(
    stack: Stack, sales: Driver, manager: Driver, person: Person, record: str
) -> None:
    before = stored(stack, record)
    page = sales.browser.get(f"/persons/contact/edit/{record}").expect(200)
    form = next(number for number, one in enumerate(forms(page)) if any(name == "mobile" for name, _ in one.fields))
    assert Seeker([Sought(person.phone, "phone"), Sought(person.email, "e-mail")]).find(page.body) == set()
    sales.browser.submit(page, {"full_position": "Purchasing"}, form, follow=False).expect(302)
    assert stored(stack, record) == before
    clear = manager.browser.get(f"/persons/contact/{record}").expect(200).text
    assert person.email in clear
    assert "Purchasing" in clear


@pytest.mark.parametrize("value", ["phone", "email"])
def test_the_crms_own_search_box_finds_by_a_clear_value(
    manager: Driver, person: Person, record: str, value: str
) -> None:
    browser = manager.browser
    light = browser.send("GET", f"/creme_core/search/light?value={getattr(person, value).replace('+', '%2B')}")
    if light.status == 404:
        pytest.fail("the search box moved")
    assert f"/persons/contact/{record}" in light.text.replace("\\/", "/")
