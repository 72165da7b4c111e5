"""An auditor's first hour: sign in, find who looked at a customer, prove it, take the pack away and verify it offline.

A real Creme with the traffic of several people, a real Chromium, both languages, each page without findings of axe.
Pictures of every stop are written to screenshots/ so that people can look at them.
"""

import asyncio
import csv
import io
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from audit.note import ensure_signer, origin_of, read_signer
from gateway.composition_archive import archiving_of
from gateway.console import vendor
from gateway.database import open_pool
from gateway.demo.driver import CremeDriver
from gateway.demo.people import make_people
from gateway.demo.stage import TENANT
from gateway.opening import open_database
from tests.drills.stack import Stack, installed
from tests.e2e.devices import Person, chromium, until
from tests.e2e.test_console_pages import AXE, PICTURES
from tests.e2e.test_devices import findings, joined, opened
from tests.e2e.visitors import close_all, join, sign_in
from tests.real.servers import creme

pytestmark = pytest.mark.real
LIST = "/persons/contacts"


@dataclass(frozen=True)
class Floor:
    """The installation after a working day. customer: of whom the auditor asks; looked: logins of those who looked."""

    stack: Stack
    customer: str
    stranger: str
    phone: str
    made_by: str
    looked: frozenset[str]


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    if not AXE.exists():
        vendor.fetch(tests_too=True)
    PICTURES.mkdir(exist_ok=True)
    archive = tmp_path_factory.mktemp("archive")
    with creme() as server, installed(server, f'[audit.archive]\nto = "file://{archive}"\n') as stack:
        yield working_day(stack)
        close_all()


def working_day(stack: Stack) -> Floor:
    """One salesperson enters two customers and looks at them; a manager and another salesperson look at one of them."""
    known = make_people(random.Random("auditor's hour"), 12, foreign_share=0.0)
    # A number that stands in somebody's notes, too, was shown in both of its fields.
    people = sorted(known, key=lambda one: one.phone not in one.notes)[:2]
    made_by, lin = at_work(stack, "sales", "lin.sales")
    customer, stranger = (lin.add_person(one) for one in people)
    for record in (customer, stranger):
        lin.browser.get(f"/persons/contact/{record}").expect(200)
    looked = set()
    for role, crm_login in (("manager", "wang.manager"), ("sales", "chen.sales")):
        login, driver = at_work(stack, role, crm_login)
        driver.browser.get(f"/persons/contact/{customer}").expect(200)
        driver.browser.get(LIST).expect(200)
        looked.add(login)
    return Floor(stack, customer, stranger, people[0].phone, made_by, frozenset(looked))


def at_work(stack: Stack, role: str, crm_login: str) -> tuple[str, CremeDriver]:
    """A new account signed in at the gateway and in the CRM; its login."""
    member = join(stack, role, crm_login)
    driver = CremeDriver(sign_in(stack, member))
    driver.log_in(crm_login, stack.crm.passwords[crm_login])
    return member.login, driver


@pytest.fixture(scope="module")
def browser(floor: Floor) -> Iterator[Browser]:
    with chromium() as started:
        yield started


def look(page: Page, name: str) -> None:
    """Keep a picture; nothing may be found on a page of ours."""
    page.screenshot(path=PICTURES / f"auditor_{name}.png", full_page=True)
    assert findings(page) == [], name


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh", "desk"), ("en", "phone"), ("zh", "phone")])
def test_from_the_sign_in_to_the_pack_verified_offline(floor, browser, tmp_path, language, width) -> None:
    name = f"{language}_{width}"
    member = joined(floor.stack, "auditor")
    auditor = Person(floor.stack, member, opened(browser, language, width), console=True)
    auditor.sign_in("/")
    page = auditor.page

    page.click("nav.menu a[href='/trail']")
    page.wait_for_selector("#examples")
    look(page, f"{name}_1_examples")
    with page.expect_navigation():  # the form is on both pages
        page.click("#examples ~ ul a >> nth=0")
    page.fill("#record", floor.customer)
    look(page, f"{name}_2_question")
    page.click("form[action='/trail'] button[type=submit]")
    page.wait_for_selector("#answers")
    look(page, f"{name}_3_answers")
    people = set(page.locator("#answers tbody tr .who-cell strong").all_inner_texts())
    assert floor.looked <= people
    assert floor.made_by in people
    assert floor.phone not in page.content()

    page.select_option("#what", "contact")
    page.fill("#record", floor.stranger)
    with page.expect_navigation():  # the page before has answers, too
        page.click("form[action='/trail'] button[type=submit]")
    strangers = set(page.locator("#answers tbody tr .who-cell strong").all_inner_texts())
    assert floor.made_by in strangers
    page.go_back()
    page.wait_for_selector("#answers")

    entry = str(page.locator("#answers tbody tr .end a").last.get_attribute("href"))
    page.click(f"#answers a[href='{entry}']")
    proved(page)
    look(page, f"{name}_4_proof")

    page.goto(floor_url(auditor, floor))
    signed_all(page, floor.stack, auditor)
    page.click("form[action='/trail/pack'] button[type=submit]")
    page.wait_for_selector("a[href^='/trail/pack/file']")
    look(page, f"{name}_5_pack")
    with page.expect_download() as fetching:
        page.click("a[href^='/trail/pack/file']")
    pack = tmp_path / fetching.value.suggested_filename
    fetching.value.save_as(pack)
    verified_offline(pack, key_of(floor.stack), tmp_path)
    assert {int(row["index"]) for row in rows_of(pack)} >= {int(entry.rpartition("/")[2])}
    assert floor.looked <= {row["actor_login"] for row in rows_of(pack)}

    keep_and_use(page, auditor, floor, name)
    own = f"{auditor.base}/trail?by=person&person={member.login}&period=7d"
    page.goto(own)
    look(page, f"{name}_7_own")
    assert "console.audit" in page.inner_text("#answers")
    page.goto(f"{auditor.base}/trail?by=customer&what=contact&record=none-{language}")
    look(page, f"{name}_8_nobody")
    page.goto(f"{auditor.base}/trail?by=customer&what=contact&record=1&since=yesterday")
    look(page, f"{name}_9_wrong_day")
    assert page.evaluate("document.activeElement.id") == "problem"
    assert auditor.troubles == []
    auditor.context.close()


def test_the_terminal_answers_the_same(floor) -> None:
    what = f"contact.{floor.customer}"
    code, told = run(floor.stack, "who", what, "--field", "mobile", "--since", "2y", "--json")
    assert code == 0, told
    people = {json.loads(line)["entry"]["actor_login"] for line in told.splitlines()}
    assert floor.looked | {floor.made_by} <= people
    code, table = run(floor.stack, "who", what, "--form", "clear", "--person", next(iter(floor.looked)))
    assert code == 0, table
    assert floor.phone not in told + table
    code, told = run(floor.stack, "who", what, "--json")
    assert code == 0, told
    done = {json.loads(line)["entry"]["operation"] for line in told.splitlines()}
    assert "audit.who" in done  # whoever asks is found, too
    for wrong in (["who"], ["who", "contact"], ["who", what, "--since", "long ago"], ["who", what, "--form", "blue"]):
        assert run(floor.stack, *wrong)[0] == 2
    for words in (["index"], ["index", "--rebuild"]):
        code, told = run(floor.stack, *words)
        assert code == 0, told
        assert "as the trail says" in told


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh", "phone")])
def test_a_year_later_what_was_sealed_stands_in_the_same_list(floor, browser, tmp_path, language, width) -> None:
    with ThreadPoolExecutor(1) as beside:  # the browser has this thread's loop
        beside.submit(lambda: asyncio.run(a_year_later(floor.stack))).result()
    auditor = Person(floor.stack, joined(floor.stack, "auditor"), opened(browser, language, width), console=True)
    auditor.sign_in("/")
    page = auditor.page
    page.goto(floor_url(auditor, floor))
    look(page, f"{language}_{width}_10_sealed")
    people = set(page.locator("#answers tbody tr .who-cell strong").all_inner_texts())
    assert floor.looked | {floor.made_by} <= people
    last = page.locator("#answers tbody tr").last
    assert {"en": "From the archive", "zh": "来自归档"}[language] in last.inner_text()
    assert page.locator("main .problem").count() == 0
    assert floor.phone not in page.content()
    last.locator(".end a").click()
    proved(page)
    page.goto(floor_url(auditor, floor))
    page.click("form[action='/trail/pack'] button[type=submit]")
    page.wait_for_selector("a[href^='/trail/pack/file']", timeout=60_000)
    with page.expect_download() as fetching:
        page.click("a[href^='/trail/pack/file']")
    pack = tmp_path / fetching.value.suggested_filename
    fetching.value.save_as(pack)
    verified_offline(pack, key_of(floor.stack), tmp_path)
    assert floor.looked <= {row["actor_login"] for row in rows_of(pack)}
    code, told = run(floor.stack, "who", f"contact.{floor.customer}", "--field", "mobile", "--since", "2y", "--json")
    assert code == 0, told
    lines = [json.loads(line) for line in told.splitlines()]
    assert floor.looked <= {line["entry"]["actor_login"] for line in lines if line["sealed"]}
    assert all(line["intact"] and not line["lost"] for line in lines)
    assert auditor.troubles == []
    auditor.context.close()


async def a_year_later(stack: Stack) -> None:
    """Seal all that is signed, and take it out of the database, as it happens when it is old enough."""
    database = await asyncio.to_thread(open_database, stack.settings)
    pool = await open_pool(database.dsn, max_size=2)
    try:
        made = archiving_of(stack.settings, pool, ensure_signer(stack.settings.checkpoint_key_path))
        assert made is not None
        sealer, pruner = replace(made.sealer, now=later), replace(made.pruner, now=later, hot_days=0)
        while await sealer.seal(TENANT):
            pass
        while (one := await pruner.prunable(TENANT)) is not None:
            await pruner.prune(TENANT, one)
    finally:
        await pool.close()
        await asyncio.to_thread(database.close)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=365)


def run(stack: Stack, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "gateway.cli", "audit", *words, "--config", str(stack.home.settings_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def floor_url(auditor: Person, floor: Floor) -> str:
    """The answers about the customer's phone."""
    return f"{auditor.base}/trail?by=customer&what=contact.%23phone&record={floor.customer}&period=2y"


def proved(page: Page) -> None:
    """Reload until a checkpoint covers the entry, which takes seconds."""

    def told() -> bool:
        page.reload()
        return page.locator(".badge.good").count() > 0 and page.locator("ol.hashes").count() == 1

    until(told)


def signed_all(page: Page, stack: Stack, auditor: Person) -> None:
    """Wait until the newest answer has its proof."""
    newest = str(page.locator("#answers tbody tr .end a").first.get_attribute("href"))
    back = page.url
    page.goto(auditor.base + newest)
    proved(page)
    page.goto(back)


def keep_and_use(page: Page, auditor: Person, floor: Floor, name: str) -> None:
    """Save the question, find it in the list, use it, delete it."""
    page.goto(floor_url(auditor, floor))
    page.fill("#name", f"Phone of our customer {name}")
    page.check("form[action='/trail/saved'] input[name=shared]")
    page.click("form[action='/trail/saved'] button[type=submit]")
    page.wait_for_url("**/trail/saved?notice=saved")
    look(page, f"{name}_6_saved")
    page.click(f"text=Phone of our customer {name}")
    page.wait_for_selector("#answers tbody tr")
    page.goto(f"{auditor.base}/trail/saved")
    page.click("form[action$='/delete'] button")
    page.wait_for_url("**/trail/saved?notice=deleted")


def key_of(stack: Stack) -> str:
    """The public key, as the auditor was given it before."""
    return read_signer(stack.settings.checkpoint_key_path).verifier.vkey(origin_of(TENANT))


def verified_offline(pack: Path, key: str, folder: Path) -> None:
    """The program in the pack proves it, alone; and refuses the same pack with one changed byte."""
    with zipfile.ZipFile(pack) as opened_pack:
        (folder / "verify.py").write_bytes(opened_pack.read("verify.py"))
    done = run_alone(folder, pack, key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PROVED")
    changed = folder / "changed.zip"
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b'"allowed"', b'"refused"', 1) if name == "events.jsonl" else content)
    assert run_alone(folder, changed, key).returncode != 0


def run_alone(folder: Path, pack: Path, key: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", "verify.py", pack.name, "--key", key]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def rows_of(pack: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(pack) as opened_pack:
        return list(csv.DictReader(io.StringIO(opened_pack.read("events.csv").decode("utf-8-sig"))))
