"""A whole day at a real Creme with devices bound: list, search, edit, reveal, export and the console, in Chromium.

Between the steps the session's proof gets old, as it does every five minutes: nothing that a page of Creme or of ours
does by itself may stop there.
"""

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from gateway.demo.people import Person as Customer
from gateway.demo.people import make_people
from privacy import mask
from tests.drills.stack import Stack
from tests.e2e.database import sql
from tests.e2e.devices import Person, chromium, fresh_code
from tests.e2e.floor import floor_of
from tests.e2e.test_console_pages import PICTURES
from tests.e2e.test_devices import RULES, at_creme, joined, look, opened

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
ROWS = """
g, seller, sales, *
p, seller, *, op:*, export, any
p, seller, *, field:*.*#phone, reveal, own
"""
PANEL = "#crmgate-reveal-panel"
CONSOLE = ("/", "/users", "/sessions", "/audit", "/policy", "/reviews", "/reveals", "/health", "/keys")


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with floor_of(tmp_path_factory.mktemp("day"), RULES, ROWS, "[tenant.main.reveal]\nenabled = true\n") as stack:
        yield stack


@pytest.fixture(scope="module")
def browser(floor: Stack) -> Iterator[Browser]:
    with chromium() as started:
        yield started


def later(person: Person) -> None:
    """The proof is old, and the worker of the browser was stopped meanwhile."""
    person.pass_minutes(6)


def submit(page: Page) -> None:
    """Send the form of a page and wait for the page after it."""
    here = page.url
    page.click("form [type=submit]:visible >> nth=-1")
    page.wait_for_url(lambda address: address != here)
    page.wait_for_load_state("load")


def add(person: Person, customer: Customer) -> str:
    """A contact, by Creme's own form; the address of its page."""
    page = person.page
    page.goto(person.base + "/persons/contact/add", wait_until="load")
    for name, text in (("last_name", customer.last_name), ("mobile", customer.phone), ("email", customer.email)):
        page.fill(f"[name={name}]", text)
    later(person)
    submit(page)
    return page.url


def search(person: Person, customer: Customer, record: str) -> None:
    """Creme's list, searched in its own box: its script loads the list anew."""
    page = person.page
    page.goto(person.base + "/persons/contacts", wait_until="load")
    later(person)
    box = page.locator("[name='search-regular_field-email']")
    box.fill(customer.email)
    box.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('tr.lv-row').length === 1")
    assert page.locator("tr.lv-row input[name=entity_id]").input_value() == record.rpartition("/")[2]
    assert customer.email not in page.locator("tr.lv-row").inner_text()


def edit(person: Person, record: str, text: str) -> None:
    """The whole form, then one cell in a popup that Creme's script fetches and posts."""
    page = person.page
    page.goto(record.replace("/contact/", "/contact/edit/"), wait_until="load")
    page.fill("[name=full_position]", text)
    later(person)
    submit(page)
    assert text in page.content()
    later(person)
    tile = page.locator("[data-key=regular_field-full_position]")
    tile.hover()  # its buttons show under the pointer
    tile.locator("a[data-action=edit]").click()
    field = page.locator(".ui-dialog [name=full_position]")
    field.fill(f"{text} II")
    later(person)
    page.locator(".ui-dialog-buttonpane button[name=send]").click()
    tile.get_by_text(f"{text} II").wait_for()


def reveal(person: Person, stack: Stack, customer: Customer, record: str) -> None:
    """The masked mobile, in place: a frame of the console's host, opened when the proof was old."""
    page = person.page
    page.goto(record, wait_until="load")
    assert customer.phone not in page.content()
    later(person)
    page.locator("crmgate-reveal > button").first.click()
    frame = page.frame_locator(f"{PANEL} iframe")
    frame.locator("#reason").wait_for()
    assert frame.get_by_text(mask.mask("phone", customer.phone)).count()
    frame.locator("[name=mask]").first.check()
    frame.locator("#reason").select_option(index=1)
    later(person)  # the reason is thought over; what was opened is as much older
    moved = "UPDATE reveal_sitting SET expires_at = expires_at - make_interval(mins => 6) RETURNING tenant"
    assert sql(stack.settings, moved)
    frame.locator("#code").fill(fresh_code(stack, person.member))
    frame.locator("form button[type=submit]").first.click()
    frame.locator("#value").wait_for()
    assert customer.phone in frame.locator("#value").inner_text().replace(" ", "")


def export(person: Person, customer: Customer, folder: Path) -> None:
    """The list's own button: a download, after the device page where the proof is old."""
    page = person.page
    page.goto(person.base + "/persons/contacts", wait_until="load")
    later(person)
    link = page.evaluate(
        "document.documentElement.innerHTML.match(/\\/creme_core\\/mass_export[^\"']*extra_q[^\"']*/)[0]"
    )
    with page.expect_download() as made:
        page.evaluate("link => { location.href = link + '&type=csv' }", link.replace("&amp;", "&"))
    file = folder / "contacts.csv"
    made.value.save_as(file)
    rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    assert len(rows) > 1
    assert customer.email not in str(rows)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_day_at_the_crm_with_a_bound_browser(floor, browser, tmp_path, language) -> None:
    seller = at_creme(floor, browser, "lin.sales", role="seller", language=language)
    customer = make_people(random.Random(20261128 + len(language) * ord(language[0])), 1, foreign_share=0)[0]
    record = add(seller, customer)
    search(seller, customer, record)
    edit(seller, record, "Head of purchasing")
    reveal(seller, floor, customer, record)
    export(seller, customer, tmp_path)
    seller.page.goto(seller.base + "/.crmgate/account")
    look(seller.page, f"day_account_{language}")
    seller.context.close()
    assert (seller.troubles, seller.refused) == ([], [])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_day_at_the_console_with_a_bound_browser(floor, browser, language) -> None:
    admin = Person(floor, joined(floor, "administrator"), opened(browser, language), console=True)
    admin.sign_in("/users")
    page = admin.page
    for path in CONSOLE:
        later(admin)
        answer = page.goto(admin.base + path, wait_until="load")
        page.wait_for_url(admin.base + path)
        assert answer is not None
        assert page.locator("main").count() == 1, path
    page.goto(admin.base + "/policy")
    later(admin)
    page.screenshot(path=PICTURES / f"devices_day_policy_{language}.png", full_page=True)
    admin.context.close()
    assert (admin.troubles, admin.refused) == ([], [])
