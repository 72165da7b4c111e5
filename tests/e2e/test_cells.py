"""Whole texts as cells on a real Creme: ciphertext in its column, opened by role and in their own record only."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.browser import Answer, Browser, forms
from gateway.demo.driver import Driver
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all
from tests.real.celled import celled_profile
from tests.real.servers import creme

pytestmark = pytest.mark.real
NOTE = "Wants <b>no</b> calls & no visits.\r\nAsk for Zoé-Marie; 王 knows."


@dataclass
class Office:
    """crmgate with that profile in front of a Creme, and people at work."""

    stack: Stack
    manager: Driver
    sales: Driver

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(next(self.stack.crm.folder.rglob("db.sqlite3")), timeout=30)

    def held(self, record: str) -> str:
        """The description as Creme has it."""
        with closing(self.database()) as connection:
            query = "SELECT description FROM creme_core_cremeentity WHERE id = ?"
            return str(connection.execute(query, (record,)).fetchone()[0])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    profile = tmp_path_factory.mktemp("cells") / "creme.yaml"
    profile.write_text(celled_profile(), encoding="utf-8")
    extra = f'[tenant.main]\nprofile = "{profile}"\npolicy = "{Path(DEFAULT_POLICY)}"\n'
    with creme() as server, installed(server, extra) as stack:
        yield Office(stack, at_work(stack, "manager", "wang.manager"), at_work(stack, "sales", "lin.sales"))
        close_all()


def form_of(page: Answer) -> int:
    found = [at for at, one in enumerate(forms(page)) if any(key == "description" for key, _ in one.fields)]
    return found[0]


def save(browser: Browser, path: str, changes: dict[str, str | None]) -> Answer:
    page = browser.get(path).expect(200)
    return browser.submit(page, changes, form_of(page), follow=False)


def added(driver: Driver, last_name: str, note: str) -> str:
    answer = save(driver.browser, "/persons/contact/add", {"last_name": last_name, "description": note}).expect(302)
    return answer.header("location").rstrip("/").rpartition("/")[2]


def boxed(driver: Driver, record: str) -> str:
    page = driver.browser.get(f"/persons/contact/edit/{record}").expect(200)
    return dict(forms(page)[form_of(page)].fields)["description"].replace("\r\n", "\n").replace("\n", "\r\n")


def test_a_note_is_sealed_whole_and_opens_by_role(office: Office) -> None:
    record = added(office.sales, "Cellar", NOTE)
    cell = office.held(record)
    assert cell.startswith("~G1.")
    page = office.manager.browser.get(f"/persons/contact/{record}").expect(200).text
    assert "Wants &lt;b&gt;no&lt;/b&gt; calls &amp; no visits." in page
    assert "~G1." not in page
    assert boxed(office.manager, record) == NOTE
    masked = office.sales.browser.get(f"/persons/contact/{record}").expect(200).text
    assert "visits" not in masked
    assert "••••••" in masked
    assert boxed(office.sales, record) == cell


def test_saving_a_form_keeps_the_note_and_a_new_text_replaces_it(office: Office) -> None:
    record = added(office.manager, "Keller", NOTE)
    path = f"/persons/contact/edit/{record}"
    save(office.sales.browser, path, {"full_position": "Cook"}).expect(302)
    assert boxed(office.manager, record) == NOTE
    save(office.manager.browser, path, {"full_position": "Chef"}).expect(302)
    assert boxed(office.manager, record) == NOTE
    save(office.sales.browser, path, {"description": "typed by sales"}).expect(302)
    assert boxed(office.manager, record) == "typed by sales"
    refused = save(office.sales.browser, path, {"last_name": "", "description": "typed again"}).expect(200)
    assert dict(forms(refused)[form_of(refused)].fields)["description"].strip() == "typed again"
    assert boxed(office.manager, record) == "typed by sales"
    save(office.sales.browser, path, {"description": office.held(added(office.manager, "Other", "x"))}).expect(409)
    assert boxed(office.manager, record) == "typed by sales"


def test_a_cell_moved_in_the_database_does_not_open(office: Office) -> None:
    first, second = (added(office.manager, name, f"{name} has a secret") for name in ("Alpha", "Beta"))
    moved = office.held(first)
    with closing(office.database()) as connection, connection:
        connection.execute("UPDATE creme_core_cremeentity SET description = ? WHERE id = ?", (moved, second))
    shown = office.manager.browser.get(f"/persons/contact/{second}").expect(200).text
    assert "Alpha has" not in shown
    assert "Alpha has" not in boxed(office.manager, second)
    assert "Alpha has a secret" in office.manager.browser.get(f"/persons/contact/{first}").expect(200).text


def test_no_note_is_anywhere_in_the_crm(office: Office) -> None:
    added(office.sales, "Gamma", "a sentence that nobody else has written")
    for file in office.stack.crm.folder.rglob("*"):
        if file.is_file():
            assert b"sentence that nobody" not in file.read_bytes(), file.name
