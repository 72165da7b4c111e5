"""Sessions bound to a browser, before a real Creme and in a real Chromium: a working day, theft, new browsers.

Time is moved in the database and in the worker's own memory (`Person.pass_minutes`); nothing waits for it. Pictures of
every page are written to screenshots/ so that people can look at them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.drills.stack import Member, Stack, fresh_id
from tests.e2e.database import sql
from tests.e2e.devices import LOCALES, Person, chromium, fresh_code
from tests.e2e.floor import floor_of
from tests.e2e.test_console_pages import AXE, AXE_TAGS, PICTURES, WIDTHS
from tests.e2e.visitors import join, visitor

pytestmark = pytest.mark.real
RULES = '[access]\ndevices = "bound"\ndevices_approval = "user"\n'
EXPORTS = "p, manager, *, op:proof.contact.export_vcard, export, any\n"
EXPORT = "/vcfs/1/generate_vcf"
ADD = "/persons/contact/add"


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with floor_of(tmp_path_factory.mktemp("devices"), RULES, EXPORTS) as stack:
        yield stack


@pytest.fixture(scope="module")
def browser(floor: Stack) -> Iterator[Browser]:
    with chromium() as started:
        yield started


def joined(stack: Stack, role: str, crm_login: str = "") -> Member:
    """A new account; in a thread of its own, as the browser's driver has a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(join, stack, role, crm_login).result()


def opened(browser: Browser, language: str = "en", width: str = "desk", **more: object) -> BrowserContext:
    across, down = WIDTHS[width]
    size = {"width": across, "height": down}
    return browser.new_context(ignore_https_errors=True, locale=LOCALES[language], viewport=size, **more)  # type: ignore[arg-type]


def findings(page: Page) -> list[str]:
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", AXE_TAGS
    )
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    said = [f"{one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"]]
    return said + ([f"{wide} px too wide"] if wide > 0 else [])


def look(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"devices_{name}.png", full_page=True)
    assert findings(page) == [], name


def at_creme(
    stack: Stack,
    browser: Browser,
    login: str = "lin.sales",
    role: str = "manager",
    language: str = "en",
    **more: object,
) -> Person:
    """Somebody signed in at both, in a browser of their own."""
    person = Person(stack, joined(stack, role, login), opened(browser, language, **more))
    person.sign_in("/.crmgate/account")
    page = person.page
    page.goto(person.base + "/")
    page.fill("#id_username", login)
    page.fill("#id_password", stack.crm.passwords[login])
    page.click("form button[type=submit], form input[type=submit]")
    page.wait_for_selector("#id_username", state="detached")
    page.wait_for_load_state("load")
    return person


def add_contact(page: Page, base: str, name: str) -> None:
    """Fill the form in; it is not sent yet."""
    page.goto(base + ADD, wait_until="load")
    page.fill("[name=last_name]", name)


def send_form(page: Page) -> None:
    page.click("form [type=submit]:visible >> nth=-1")
    page.wait_for_url(lambda address: ADD not in address)


def reasons(stack: Stack, person: Person, reason: str) -> int:
    """How often the trail says this of a person."""
    counted = (
        "SELECT count(*) FROM audit_entry e JOIN app_user u ON u.id = e.actor WHERE u.login = %s AND e.reason = %s"
    )
    return int(sql(stack.settings, counted, person.member.login, reason)[0][0])


def test_a_working_day_with_forms_scripts_and_tabs_goes_on_past_every_proof(floor, browser) -> None:
    person = at_creme(floor, browser)
    page, first = person.page, person.cookie()
    name = f"Spaetlese{fresh_id()}"
    add_contact(page, person.base, name)
    person.pass_minutes(6)
    send_form(page)
    assert name in page.content()
    assert person.cookie() != first
    record = page.url

    # Another tab in the background, both loaded anew at the same time; then calls of scripts.
    other = person.tab()
    other.goto(record)
    person.pass_minutes(6)
    for each in (page, other):
        each.evaluate("() => { window.before = 1; setTimeout(() => location.reload(), 0); }")
    for each in (page, other):
        each.wait_for_function("!window.before && document.readyState === 'complete' && location.pathname.length > 1")
        assert (each.url, name in each.content()) == (record, True)
    person.pass_minutes(6)
    statuses = page.evaluate(
        "async () => Promise.all([1, 2, 3].map(() => fetch(location.href).then((answer) => answer.status)))"
    )
    assert statuses == [200, 200, 200]
    person.pass_minutes(6)
    assert page.evaluate("fetch('/creme_core/nowhere', {method: 'POST', body: 'a=b'}).then((one) => one.status)") != 401

    # The gateway alone forgot (its clock is the one that counts): the page is shown after a stop on ours.
    person.forget_proof(6)
    other.goto(record + "?once=more#there")
    other.wait_for_url(record + "?once=more#there")
    assert name in other.content()
    person.context.close()
    assert (person.troubles, person.refused) == ([], [])


def test_a_copied_cookie_ends_with_its_proof_and_does_nothing_sensitive_before(floor, browser) -> None:
    owner = at_creme(floor, browser)
    record = owner.base + "/persons/contacts"
    owner.page.goto(record)
    thief = Person(floor, owner.member, opened(browser))
    thief.context.add_cookies(owner.context.cookies())  # type: ignore[arg-type]
    thief.page.goto(record)
    assert urlsplit(thief.page.url).path == "/persons/contacts", (
        "until its proof ends, the copy reads: at most 5 minutes"
    )

    for place in ("/.crmgate/account", "/.crmgate/account/devices", "/.crmgate/account/recovery"):
        thief.page.goto(thief.base + place)
        thief.page.wait_for_selector("[data-state=failed]:not([hidden])")
        assert urlsplit(thief.page.url).path == "/.crmgate/device"
    look(thief.page, "failed_en")
    copied = visitor(floor)
    copied.cookies = {one["name"]: str(one["value"]) for one in owner.context.cookies()}  # type: ignore[misc]
    exported = copied.get(EXPORT, follow=False, headers={"sec-fetch-dest": "empty"})
    assert (exported.status, exported.json()["reason"]) == (401, "device-proof-needed")
    frame = copied.get("/.crmgate/reveal/open?h=x", follow=False, headers={"sec-fetch-dest": "iframe"})
    assert (frame.status, "/problem/device-proof-needed?" in frame.header("location")) == (303, True)
    # The owner's own goes by the device page and is made.
    with owner.page.expect_download() as made:
        owner.page.evaluate(f"location.href = '{EXPORT}'")
    assert made.value.suggested_filename.endswith(".vcf")
    stolen = owner.cookie()

    # The owner works on, and the copy of what he had is worth nothing.
    owner.pass_minutes(4)
    owner.forget_proof(1)
    owner.page.goto(record)
    assert urlsplit(owner.page.url).path == "/persons/contacts"
    assert owner.cookie() != stolen
    copied.cookies["__Host-crmgate"] = stolen
    answer = copied.get("/persons/contacts", follow=False, headers={"sec-fetch-dest": "empty"})
    assert (answer.status, answer.json()["reason"]) == (401, "sign-in-required")

    # Nor is one of what he has once its proof is old: it cannot be renewed with another key.
    thief.context.clear_cookies()
    thief.context.add_cookies(owner.context.cookies())  # type: ignore[arg-type]
    owner.pass_minutes(6)
    thief.page.goto(record)
    thief.page.wait_for_selector("[data-state=failed]:not([hidden])")
    written = thief.page.evaluate("fetch('/persons/contact/add', {method: 'POST'}).then((one) => one.status)")
    assert written == 401
    owner.page.goto(record)
    assert urlsplit(owner.page.url).path == "/persons/contacts", "and what the thief tried did not end the owner's"
    assert reasons(floor, owner, "device-proof-wrong") > 0
    owner.context.close()
    thief.context.close()


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh", "phone")])
def test_a_new_browser_waits_until_its_owner_lets_it_in_and_is_shut_out_again(floor, browser, language, width) -> None:
    name = f"{language}_{width}"
    known = Person(floor, joined(floor, "sales"), opened(browser, language, width))
    known.sign_in("/.crmgate/account")
    fresh = Person(floor, known.member, opened(browser, language, width))
    fresh.enter("/.crmgate/account")
    fresh.page.wait_for_selector("[data-state=waiting]:not([hidden])")
    look(fresh.page, f"waiting_{name}")
    known.page.goto(known.base + "/.crmgate/account")
    look(known.page, f"account_{name}")
    known.page.click("a[href='/.crmgate/account/devices']")
    known.page.wait_for_selector("form[action$='/approve']")
    look(known.page, f"list_{name}")
    known.page.click("form[action$='/approve'] button")
    known.page.wait_for_url("**/.crmgate/account/devices?notice=approve")
    fresh.page.wait_for_url("**/.crmgate/account")  # by itself
    known.page.goto(known.base + "/.crmgate/account/devices")
    here = known.page.locator("li.card", has=known.page.locator("strong"))
    assert here.count() == 1
    away = known.page.locator("li.card", has_not=known.page.locator("strong")).locator("form[action$='/revoke'] button")
    away.click()
    known.page.wait_for_url("**/.crmgate/account/devices?notice=revoke")
    look(known.page, f"shut_out_{name}")
    fresh.page.goto(fresh.base + "/.crmgate/account")
    fresh.page.wait_for_url("**/.crmgate/sign-in?**")
    fresh.enter("/.crmgate/account")
    fresh.page.wait_for_selector("[data-state=revoked]:not([hidden])")
    look(fresh.page, f"revoked_{name}")
    for each in (known, fresh):
        each.context.close()
        assert each.troubles == []


def test_a_browser_without_scripts_is_told_so_and_sees_nothing_of_the_crm(floor, browser) -> None:
    person = Person(floor, joined(floor, "manager"), opened(browser, java_script_enabled=False))
    person.enter("/persons/contacts")
    person.page.wait_for_url("**/.crmgate/device?**")
    assert "needs scripts" in person.page.inner_text("main")
    person.page.screenshot(path=PICTURES / "devices_noscript_en.png", full_page=True)
    person.page.goto(person.base + "/persons/contacts")
    assert urlsplit(person.page.url).path == "/.crmgate/device"
    person.context.close()


def test_without_a_worker_pages_go_on_by_a_stop_on_ours(floor, browser) -> None:
    person = Person(floor, joined(floor, "sales"), opened(browser, service_workers="block"))
    person.sign_in("/.crmgate/account")
    person.forget_proof(6)
    person.page.goto(person.base + "/.crmgate/account")
    person.page.wait_for_url("**/.crmgate/account")
    assert "account" in person.page.inner_text("h1").lower()
    person.page.select_option("#language", "zh_Hans")
    person.page.click("form[action$='/language'] button")
    person.page.wait_for_selector("[data-state=lost]:not([hidden])")
    look(person.page, "lost_en")
    person.context.close()
    assert person.troubles == []


def test_a_form_sent_where_no_worker_runs_is_sent_once_more_by_the_browser(floor, browser) -> None:
    person = at_creme(floor, browser, service_workers="block")
    name, before = f"Nachlese{fresh_id()}", person.cookie()
    add_contact(person.page, person.base, name)
    person.forget_proof(6)
    send_form(person.page)
    assert name in person.page.content()
    assert person.cookie() != before
    person.context.close()
    assert person.troubles == []


def test_at_the_console_every_page_uses_up_a_proof(floor, browser) -> None:
    owner = Person(floor, joined(floor, "administrator"), opened(browser), console=True)
    owner.sign_in("/users")
    owner.page.goto(owner.base + "/users/new")
    login = f"neu.{fresh_id()}"
    owner.page.fill("#login", login)
    owner.page.click("form[action='/users/new'] button[type=submit]")
    owner.page.wait_for_selector("#address")
    assert "/.crmgate/set-up?token=" in owner.page.input_value("#address")
    user = sql(floor.settings, "SELECT id FROM app_user WHERE login = %s", login)[0][0]
    owner.page.goto(f"{owner.base}/users/{user}/devices")
    look(owner.page, "console_en")
    copied = visitor(floor, console=True)
    copied.cookies = {owner.name: owner.cookie()}
    for path in ("/", "/users", "/users/new", f"/users/{user}/disable", "/.crmgate/account"):
        answer = copied.get(path, follow=False, headers={"sec-fetch-dest": "document", "accept": "text/html"})
        assert (answer.status, answer.header("location").startswith("/.crmgate/device")) == (303, True), path
    assert copied.get("/sessions/rows").status == 200, "what a page asks for by itself goes on for at most 5 minutes"
    owner.context.close()
    assert owner.troubles == []


def test_programs_have_no_device_and_do_not_sign_in(floor) -> None:
    member = joined(floor, "sales")
    given = {"login": member.login, "password": member.password, "code": member.code()}
    browser = visitor(floor)
    answer = browser.post_json("/.crmgate/api/sign-in", given, headers={"origin": browser.base})
    assert (answer.status, answer.json()["reason"]) == (403, "device-needed")


def test_the_key_never_leaves_the_browser(floor, browser) -> None:
    person = Person(floor, joined(floor, "sales"), opened(browser))
    person.sign_in("/.crmgate/account")
    told = person.page.evaluate(
        """() => new Promise((done) => {
          const asked = indexedDB.open("crmgate-device", 1);
          asked.onsuccess = () => {
            const read = asked.result.transaction("kept").objectStore("kept").get("pair");
            read.onsuccess = async () => {
              const { privateKey } = read.result, tried = [privateKey.extractable, privateKey.usages.join()];
              for (const form of ["jwk", "pkcs8"]) {
                tried.push(await crypto.subtle.exportKey(form, privateKey).then(() => "out", () => "kept"));
              }
              done(tried);
            };
          };
        })"""
    )
    assert told == [False, "sign", "kept", "kept"]
    person.context.close()


def test_the_code_of_the_app_alone_opens_no_second_browser(floor, browser) -> None:
    """Password and code in a stranger's hands: the browser waits for its owner."""
    owner = Person(floor, joined(floor, "sales"), opened(browser))
    owner.sign_in("/.crmgate/account")
    assert fresh_code(floor, owner.member)
    stranger = Person(floor, owner.member, opened(browser))
    stranger.enter("/persons/contacts")
    stranger.page.wait_for_selector("[data-state=waiting]:not([hidden])")
    status = stranger.page.evaluate("fetch('/persons/contacts').then((one) => one.status)")
    assert status == 401
    owner.context.close()
    stranger.context.close()
