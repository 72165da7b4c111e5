"""Writes, files, imports and arrivals past the gateway on a real Creme with the shipped profile."""

import io
import random
import re
import secrets
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest

from gateway.demo.browser import Answer, Browser, Form, Upload, forms
from gateway.demo.driver import CremeDriver, Driver
from gateway.demo.people import Person, make_people
from gateway.opening import open_database
from policies.enforcer import DEFAULT_POLICY
from tests.conftest import unwalled
from tests.drills import roundtrip_creme
from tests.drills.fidelity_creme import job_manager
from tests.drills.mass_import import import_contacts
from tests.drills.protect_command import Commands
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all
from tests.real.servers import creme

pytestmark = pytest.mark.real

POLICY = """
p, reader, *, kind:*, clear, any
p, reader, *, op:*, *, any
p, clerk, *, kind:name, clear, any
p, clerk, *, kind:phone, masked, any
p, clerk, *, op:*, *, any
g, importer, sales, *
p, importer, *, op:*, import, any
"""
PATIENCE_S = 180.0
PNG = b"\x89PNG\r\n\x1a\n" + secrets.token_bytes(2000)
PDF = b"%PDF-1.7 " + secrets.token_bytes(100_000) + b"contract of Zhang Wei"


@dataclass
class Office:
    """crmgate in front of a Creme, and people at work."""

    stack: Stack
    manager: CremeDriver
    reader: Browser
    clerk: Browser
    sales: Browser
    people: list[Person]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    policy = tmp_path_factory.mktemp("writes") / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    extra = f'[tenant.main]\narrivals_s = 4.0\npolicy = "{policy}"\n'
    with creme() as server, job_manager(server), installed(server, extra) as stack:
        manager = creme_driver(at_work(stack, "manager", "wang.manager"))
        others = [creme_driver(at_work(stack, role, "lin.sales")).browser for role in ("reader", "clerk", "sales")]
        login = server.crm.admin_login
        password = policy.with_name("password")
        password.write_text(server.passwords[login], encoding="utf-8")
        Commands(settings=stack.settings).protect("credential", "--login", login, "--password-file", str(password))
        waited(
            lambda: bool(asked(stack, "SELECT 1 FROM protect_record WHERE entity = 'organisation'"))
        )  # its first look
        yield Office(stack, manager, *others, make_people(random.Random(20261126), 40))
        close_all()


def creme_driver(driver: Driver) -> CremeDriver:
    assert isinstance(driver, CremeDriver)
    return driver


def opened(browser: Browser, path: str, mark: str) -> tuple[Answer, Form]:
    page = browser.get(path).expect(200)
    return page, next(one for one in forms(page) if any(name == mark for name, _ in one.fields))


def saved(browser: Browser, record: str, changes: Mapping[str, str] | None = None) -> Answer:
    """The edit form of a contact opened and saved, as it is or with changes."""
    page, form = opened(browser, f"/persons/contact/edit/{record}", "last_name")
    about = {"referer": page.url, "origin": browser.base}
    return browser.post(page.url, form.filled(dict(changes or {})), follow=False, headers=about)


def held(office: Office, record: str) -> dict[str, str]:
    """What Creme itself has in the edit form."""
    direct = creme_driver(office.stack.direct("manager")).browser
    try:
        fields = dict(opened(direct, f"/persons/contact/edit/{record}", "last_name")[1].fields)
        return {name: text for name, text in fields.items() if name != "csrfmiddlewaretoken"}
    finally:
        direct.close()


def waited(look: Callable[[], bool]) -> float:
    """Seconds until it is so."""
    start = time.monotonic()
    while not look():
        assert time.monotonic() - start < PATIENCE_S
        time.sleep(1)
    return time.monotonic() - start


# -- saves -----------------------------------------------------------------------------------------------------


def test_a_save_that_changes_nothing_passes_for_every_role_and_changes_nothing(office: Office) -> None:
    record = office.manager.add_person(office.people.pop())
    texts = {
        "mobile": " 138 0013 8000 ",
        "billing_address-address": "1 rue de Rivoli\r\nBâtiment B\r\n\r\nporte 8 ",
        "description": "  call 139-1234-5678, a@b.example\r\nnext line\r\n\r\n",
        "full_position": " Head of 销售 ",
    }
    assert saved(office.manager.browser, record, texts).status == 302
    before = held(office, record)
    assert before["mobile"].startswith("+888")
    for browser in (office.reader, office.clerk, office.reader):
        assert saved(browser, record).status == 302
    assert held(office, record) == before


def test_an_edit_that_creme_refused_and_a_copy_it_made_keep_nobody_from_saving(office: Office) -> None:
    record = office.manager.add_person(office.people.pop())
    assert saved(office.manager.browser, record, {"phone": "010-62551234", "email": "no address"}).status == 200
    page = office.manager.browser.get(f"/persons/contact/{record}").expect(200)
    token = office.manager.browser.cookies["csrftoken"]
    about = {"referer": page.url, "origin": office.manager.browser.base, "x-csrftoken": token}
    copy = office.manager.browser.post("/creme_core/entity/clone", [("id", record)], follow=False, headers=about)
    copied = urlsplit(copy.expect(302).header("location")).path.rpartition("/")[2]
    for one in (record, copied):
        before = held(office, one)
        for browser in (office.reader, office.clerk):
            assert saved(browser, one).status == 302
        assert held(office, one) == before


def test_personal_parts_of_a_description_stay_for_who_may_not_write_them(office: Office) -> None:
    record = office.manager.add_person(office.people.pop())
    text = "call 139-1234-5678 before noon"
    assert saved(office.manager.browser, record, {"description": text}).status == 302
    assert saved(office.reader, record, {"description": f"{text}, or later"}).status == 302
    before = held(office, record)
    for changed in ("", "call later", text.replace("5678", "5679"), f"{text}, x@y.example"):
        answer = saved(office.reader, record, {"description": changed})
        assert (answer.status, answer.header("location")) == (403, ""), changed
    assert "your role may neither add, change nor remove" in saved(office.clerk, record, {"description": ""}).text
    assert held(office, record) == before


# -- files -----------------------------------------------------------------------------------------------------


def attach(browser: Browser, contact: str, name: str, content: bytes, media: str) -> None:
    """A document added on the page of a contact."""
    path = f"/documents/document/add_related/{contact}"
    page, form = opened(browser, path, "title")
    browser.extra_headers.update({"referer": page.url, "origin": browser.base})
    file = [("filedata", Upload(name, content, media))]
    browser.post_files(path, form.filled({"title": name, "filedata": None}), file, follow=False).expect(200)


def download(office: Office, browser: Browser, name: str) -> Answer:
    listed = office.manager.browser.get("/documents/documents?rows=100").expect(200).text
    numbers = dict.fromkeys(re.findall(r"/documents/document/(\d+)", listed))
    for number in numbers:
        page = office.manager.browser.get(f"/documents/document/{number}").expect(200).text
        found = re.search(r"/creme_core/download/\d+/\d+/filedata", page)
        if name in page and found:
            return browser.get(found[0])
    raise AssertionError("the document is in no list")


def stored(office: Office, name: str) -> list[bytes]:
    stem = Path(name).stem
    return [one.read_bytes() for one in Path(office.stack.crm.folder).rglob(f"{stem}*") if one.is_file()]


def test_a_file_added_on_somebodys_page_is_sealed_and_pictures_and_tables_are_not(office: Office) -> None:
    contact = office.manager.add_person(office.people.pop())
    browser = office.manager.browser
    attach(browser, contact, "contract-17.pdf", PDF, "application/pdf")
    (kept,) = stored(office, "contract-17.pdf")
    assert kept.startswith(b"G1S1")
    assert download(office, browser, "contract-17.pdf").expect(200).body == PDF
    assert download(office, office.sales, "contract-17.pdf").status == 403
    attach(browser, contact, "portrait-17.png", PNG, "image/png")
    assert stored(office, "portrait-17.png") == [PNG]
    assert download(office, office.sales, "portrait-17.png").expect(200).body == PNG
    attach(browser, contact, "table-17.csv", "姓名,手机\n张伟,13800138000\n".encode(), "text/csv")
    (table,) = stored(office, "table-17.csv")
    assert table.startswith("姓名,手机\nZq".encode())


def test_files_of_the_library_stay_as_they_are_for_creme_to_send(office: Office) -> None:
    browser = office.manager.browser
    page, form = opened(browser, "/documents/document/add", "linked_folder")
    browser.extra_headers.update({"referer": page.url, "origin": browser.base})
    file = [("filedata", Upload("brochure-17.pdf", PDF, "application/pdf"))]
    fields = form.filled({"title": "brochure-17", "filedata": None})
    browser.post_files("/documents/document/add", fields, file, follow=False).expect(302)
    assert stored(office, "brochure-17.pdf") == [PDF]


def test_an_archive_in_the_library_is_protected_file_by_file(office: Office) -> None:
    browser = office.manager.browser
    page, form = opened(browser, "/documents/document/add", "linked_folder")
    browser.extra_headers.update({"referer": page.url, "origin": browser.base})
    # A number that stands nowhere else: a value that a record spells otherwise is shown in that record's spelling here.
    members = {"leads.csv": "姓名,手机\n张伟,13800138017\n".encode(), "portrait.png": PNG}
    file = [("filedata", Upload("archive-17.zip", packed(members), "application/zip"))]
    fields = form.filled({"title": "archive-17", "filedata": None})
    browser.post_files("/documents/document/add", fields, file, follow=False).expect(302)
    (kept,) = stored(office, "archive-17.zip")
    inside = unpacked(kept)
    assert inside["leads.csv"].startswith("姓名,手机\nZq".encode())
    assert b"13800138017" not in inside["leads.csv"]
    assert inside["portrait.png"] == PNG
    assert unpacked(download(office, browser, "archive-17").expect(200).body) == members
    assert download(office, office.sales, "archive-17").status == 403


def packed(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# -- imports and what comes past the gateway --------------------------------------------------------------------


def contact_with(browser: Browser, email: str) -> str:
    """The record of the contact with this e-mail address, the newest ones looked at first."""
    listed = browser.get("/persons/contacts?rows=100").expect(200).text
    numbers = sorted({int(one) for one in re.findall(r"/persons/contact/(\d+)", listed)}, reverse=True)
    for number in numbers:
        fields = dict(opened(browser, f"/persons/contact/edit/{number}", "last_name")[1].fields)
        if fields["email"] == email:
            return str(number)
    raise AssertionError(f"none of {len(numbers)} contacts has the address")


def test_what_an_import_brought_is_bound_to_its_records_by_the_gateways_own_reading(office: Office) -> None:
    one, other = office.people.pop(), office.people.pop()
    rows = [f"{who.last_name},{who.first_name},{who.phone},{who.email},call {who.phone}" for who in (one, other)]
    table = "Last name,First name,Mobile,Email address,Description\r\n" + "\r\n".join(rows) + "\r\n"
    import_contacts(office.manager.browser, table)
    record = contact_with(office.manager.browser, one.email)
    wanted = {"last_name", "first_name", "mobile", "email", "description"}
    seconds = waited(lambda: wanted <= bound(office, record))
    print(f"an import was bound after {seconds:.0f} s")
    before = held(office, record)
    assert saved(office.clerk, record).status == 302
    assert held(office, record) == before
    assert saved(office.clerk, record, {"mobile": ""}).status == 403
    # Who made the import owns its records, and sees of them what owners see; others do not.
    owner = at_work(office.stack, "sales", "wang.manager").browser.get(f"/persons/contact/{record}").text
    assert one.last_name in owner
    assert one.phone not in owner
    assert one.last_name not in office.sales.get(f"/persons/contact/{record}").text


def bound(office: Office, record: str) -> set[str]:
    """Fields whose values the vault knows to stand in this record."""
    query = "SELECT field FROM vault_origin WHERE entity = 'contact' AND record = %s AND retired_at IS NULL"
    return {name for (name,) in asked(office.stack, query, record)}


def asked(stack: Stack, query: LiteralString, *values: str) -> list[tuple[str]]:
    """Rows of crmgate's own database."""
    database = open_database(stack.settings)
    try:
        with psycopg.connect(unwalled(database.dsn)) as connection:
            return connection.execute(query, values).fetchall()
    finally:
        database.close()


@pytest.mark.timeout(1800)
def test_exports_come_back_and_nothing_changes_but_what_somebody_changed(office: Office) -> None:
    """The long form is `make roundtrip`."""
    importer = creme_driver(at_work(office.stack, "importer", "lin.sales"))
    people = [office.people.pop() for _ in range(4)]
    room = roundtrip_creme.furnish(office.stack, office.manager, importer, people)
    lines = roundtrip_creme.run(room, ("csv",))
    assert [(line.what, line.faults) for line in lines if line.faults] == []
    assert sum(line.compared for line in lines) > 150


def test_a_contact_made_past_the_gateway_is_protected_within_a_minute(office: Office) -> None:
    one = office.people.pop()
    direct = creme_driver(office.stack.direct("manager"))
    record = direct.add_person(one)
    direct.browser.close()
    assert one.phone in str(held(office, record))
    seconds = waited(lambda: not any(text in str(held(office, record)) for text in (one.phone, one.email, one.address)))
    print(f"a contact made past the gateway was protected after {seconds:.0f} s")
    assert one.email in office.manager.browser.get(f"/persons/contact/{record}").text
    assert one.email not in office.sales.get(f"/persons/contact/{record}").text
