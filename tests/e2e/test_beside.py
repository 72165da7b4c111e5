"""Dates beside a real Creme: killed with an answer in its hands the gateway loses none; and what deletions leave."""

import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.demo.browser import BrowserFault
from gateway.demo.driver import Driver
from gateway.demo.people import Person, make_people
from tests.drills.stack import Stack, fresh_id, installed
from tests.drills.twin_hooks import keep_credential
from tests.e2e.database import sql
from tests.e2e.test_forms import asked, in_form, save, stored, trash
from tests.e2e.visitors import at_work, close_all
from tests.real.servers import creme

pytestmark = pytest.mark.real
PROGRAM = Path(__file__).parents[1] / "drills" / "lost_answer.py"
PATIENCE_S = 60.0
EVERY_SECOND = """
[tenant.main]
arrivals_s = 1.0
"""


@pytest.fixture(scope="module")
def flag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is there, the gateway dies at the next answer to a write."""
    return tmp_path_factory.mktemp("flag") / "die"


@pytest.fixture(scope="module")
def stack(flag: Path) -> Iterator[Stack]:
    with creme() as server, installed(server, EVERY_SECOND, program=(PROGRAM, flag)) as stack:
        keep_credential(stack)
        until(lambda: bool(sql(stack.settings, "SELECT 1 FROM protect_record WHERE run = 'arrivals'")))
        yield stack
        close_all()


@pytest.fixture(scope="module")
def sales(stack: Stack) -> Driver:
    return at_work(stack, "sales", "lin.sales")


@pytest.fixture(scope="module")
def manager(stack: Stack) -> Driver:
    return at_work(stack, "manager", "wang.manager")


@pytest.fixture
def person() -> Person:
    return make_people(random.Random(int(fresh_id(), 16)), 1)[0]


def until(state: Callable[[], bool]) -> None:
    """Wait for a state."""
    end = time.monotonic() + PATIENCE_S
    while not state():
        assert time.monotonic() < end, "the state never came"
        time.sleep(0.1)


@contextlib.contextmanager
def killed(stack: Stack, flag: Path) -> Iterator[None]:
    """What is written inside is answered by Creme, and by nobody else: the gateway dies and is started again."""
    flag.touch()
    try:
        with pytest.raises((BrowserFault, OSError)):
            yield
        assert stack.gateway.process.wait(PATIENCE_S) == -signal.SIGKILL
    finally:
        flag.unlink()
        stack.restart_gateway()


def kept(stack: Stack, record: str) -> list[tuple[int, bool]]:
    """(generation, accepted) of what is kept for a record."""
    statement = "SELECT generation, accepted_at IS NOT NULL FROM vault_beside WHERE record = %s ORDER BY generation"
    return [(number, accepted) for number, accepted in sql(stack.settings, statement, record)]


def newest(stack: Stack) -> str:
    """The record Creme made last."""
    file = next(stack.crm.folder.rglob("db.sqlite3"))
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT max(cremeentity_ptr_id) FROM persons_contact").fetchone()[0])


def edit(record: str) -> str:
    return f"/persons/contact/edit/{record}"


def test_a_new_date_survives_a_kill_between_the_answer_of_the_crm_and_ours(
    stack: Stack, flag: Path, sales: Driver, manager: Driver, person: Person
) -> None:
    record = sales.add_person(person)
    page = sales.browser.get(edit(record)).expect(200)
    assert kept(stack, record) == [(0, True)]
    with killed(stack, flag):
        save(sales.browser, edit(record), {"birthday": "1977-05-06"})
    assert page.status == 200
    assert stored(stack, record) == "1900-01-02"  # Creme accepted it
    assert in_form(manager.browser.get(edit(record)).expect(200)) == "1977-05-06"
    assert "1977-**-**" in sales.browser.get(f"/persons/contact/{record}").expect(200).text
    until(lambda: kept(stack, record) == [(1, True)])
    assert in_form(manager.browser.get(edit(record)).expect(200)) == "1977-05-06"


def test_the_date_of_a_new_record_survives_the_same_kill(
    stack: Stack, flag: Path, sales: Driver, manager: Driver, person: Person
) -> None:
    before = newest(stack)
    with killed(stack, flag):
        sales.add_person(person)
    record = newest(stack)
    assert record != before
    until(lambda: kept(stack, record) == [(0, True)])
    form = manager.browser.get(edit(record)).expect(200)
    assert in_form(form) == person.birthday.isoformat()
    assert person.last_name in form.text
    own = sales.browser.get(f"/persons/contact/{record}").expect(200).text
    assert f"{person.birthday:%Y}-**-**" in own


def test_a_write_that_creme_refuses_before_such_a_kill_leaves_the_old_date(
    stack: Stack, flag: Path, sales: Driver, manager: Driver, person: Person
) -> None:
    record = sales.add_person(person)
    with killed(stack, flag):
        save(sales.browser, edit(record), {"last_name": "", "birthday": "1966-07-08"})
    assert stored(stack, record) == "1900-01-01"
    assert in_form(manager.browser.get(edit(record)).expect(200)) == person.birthday.isoformat()
    save(manager.browser, edit(record), {"birthday": "1955-01-02"}).expect(302)
    assert in_form(manager.browser.get(edit(record)).expect(200)) == "1955-01-02"


# -- deletions -----------------------------------------------------------------------------------------------------


def several(driver: Driver, *records: str) -> None:
    """Delete some records at once, as the list does."""
    asked(driver, "/creme_core/entity/delete/multi", {"ids": ",".join(records)}, "/persons/contacts").expect(200)


def looks(stack: Stack) -> None:
    """Wait until the gateway has looked again, at least twice from now on."""
    count = "SELECT count(*) FROM audit_entry WHERE convert_from(body, 'UTF8') LIKE '%%arrivals.read%%'"
    before = sql(stack.settings, count)[0][0]
    until(lambda: sql(stack.settings, count)[0][0] >= before + 2)


def test_a_date_goes_with_its_record_once_that_is_deleted_for_good(
    stack: Stack, sales: Driver, manager: Driver, person: Person
) -> None:
    record = sales.add_person(person)
    trash(manager, record).expect(302)
    looks(stack)
    assert kept(stack, record) == [(0, True)]  # in the trash, whence it may come back
    asked(manager, f"/creme_core/entity/restore/{record}", {}, f"/persons/contact/{record}").expect(302)
    assert in_form(manager.browser.get(edit(record)).expect(200)) == person.birthday.isoformat()
    trash(manager, record).expect(302)
    trash(manager, record).expect(302)
    manager.browser.get(edit(record)).expect(404)
    until(lambda: kept(stack, record) == [])


def test_dates_of_records_deleted_at_once_go_and_those_of_others_stay(
    stack: Stack, sales: Driver, manager: Driver
) -> None:
    people = make_people(random.Random(int(fresh_id(), 16)), 3)
    first, second, stays = (sales.add_person(replace(one, birthday=date(1990, 1, 2))) for one in people)
    several(manager, first, second)
    several(manager, first, second)
    until(lambda: kept(stack, first) == kept(stack, second) == [])
    assert kept(stack, stays) == [(0, True)]


def test_a_deletion_that_creme_refuses_leaves_the_date(stack: Stack, sales: Driver, manager: Driver) -> None:
    """Nobody deletes the contact of a member of staff."""
    file = next(stack.crm.folder.rglob("db.sqlite3"))
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT cremeentity_ptr_id FROM persons_contact WHERE is_user_id IS NOT NULL ORDER BY 1 DESC LIMIT 1"
        record = str(connection.execute(query).fetchone()[0])
    save(manager.browser, edit(record), {"birthday": "1980-04-05"}).expect(302)
    assert trash(manager, record).status >= 400
    looks(stack)
    assert [accepted for _, accepted in kept(stack, record)] == [True]
    assert in_form(manager.browser.get(edit(record)).expect(200)) == "1980-04-05"
