"""One person's whole way in a real Chromium, before a real Creme, in both languages, each page without findings of axe.

Invited, set up, a passkey, another browser, the lock, a reveal; and the administrators' pages beside it.

Pictures of every stop are written to screenshots/ so that people can look at them.
"""

import random
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Frame, Page

from gateway.demo.driver import make_driver
from gateway.demo.people import make_people
from tests.drills.stack import Member, Stack, fresh_id
from tests.e2e.devices import Person, chromium, fresh_code
from tests.e2e.floor import floor_of
from tests.e2e.test_console_pages import AXE, AXE_TAGS, PICTURES
from tests.e2e.test_devices import findings, joined, opened
from tests.e2e.visitors import visitor

pytestmark = pytest.mark.real
RULES = '[access]\ndevices = "known"\ndevices_approval = "user"\n'
REVEAL = "p, sales, *, field:*.*#phone, reveal, own\n"
PANEL = "#crmgate-reveal-panel"
PASSWORD = "copper lantern walks at noon {}"
OF_ADMINISTRATORS = (
    "/", "/activity", "/sessions", "/users", "/roles", "/policy", "/policy/explain", "/reviews", "/changes",
    "/emergency", "/programs", "/keys", "/health",
)  # fmt: skip


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with floor_of(tmp_path_factory.mktemp("journey"), RULES, REVEAL, "[tenant.main.reveal]\nenabled = true\n") as stack:
        yield stack


@pytest.fixture(scope="module")
def browser(floor: Stack) -> Iterator[Browser]:
    with chromium() as started:
        yield started


def look(page: Page, name: str) -> None:
    """Keep a picture; nothing may be found on a page of ours."""
    page.screenshot(path=PICTURES / f"journey_{name}.png", full_page=True)
    assert findings(page) == [], name


def with_authenticator(page: Page) -> None:
    """A built-in authenticator that verifies its person."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def invited(admin: Person, login: str, crm_user: str, name: str) -> str:
    """The administrator makes an account; the link of its invitation."""
    page = admin.page
    page.goto(admin.base + "/users/new")
    look(page, f"{name}_admin_new")
    page.fill("#login", login)
    page.check("input[name=roles][value=sales]")
    page.fill("#crm_user", crm_user)
    page.click("main form button[type=submit]")
    page.wait_for_selector("#address")
    look(page, f"{name}_admin_invited")
    return page.input_value("#address")


def set_up(person: Person, link: str, name: str) -> None:
    """Choose a password, take the app's key, see the recovery codes."""
    page = person.page
    page.goto(link)
    look(page, f"{name}_set_up")
    person.member.secret = page.inner_text(".secret code").replace(" ", "")
    page.fill("#code", person.member.code())
    page.fill("#password", person.member.password)
    page.fill("#again", person.member.password)
    page.click("main form button[type=submit]")
    page.wait_for_selector("a[href*='/.crmgate/sign-in']")
    look(page, f"{name}_recovery_codes")


def add_passkey(person: Person, name: str) -> None:
    """A passkey of the built-in authenticator, made on the account page."""
    page = person.page
    with_authenticator(page)
    page.goto(person.base + "/.crmgate/account")
    look(page, f"{name}_account")
    page.click("a[href='/.crmgate/account/passkeys/new']")
    page.wait_for_selector("#current")
    page.fill("#current", person.member.password)
    page.fill("#code", fresh_code(person.stack, person.member))
    page.click("main form button[type=submit]")
    page.wait_for_selector("[data-passkey=create]:not([hidden])")
    look(page, f"{name}_passkey")
    page.fill("#name", "Laptop")
    page.click("[data-passkey=create] button[type=submit]")
    page.wait_for_url("**/.crmgate/account?notice=**")


def other_browser(known: Person, fresh: Person, name: str) -> None:
    """A second browser waits until its owner lets it in from the first."""
    fresh.enter("/.crmgate/account")
    fresh.page.wait_for_selector("[data-state=waiting]:not([hidden])")
    look(fresh.page, f"{name}_waiting")
    known.page.goto(known.base + "/.crmgate/account/devices")
    look(known.page, f"{name}_devices")
    known.page.click("form[action$='/approve'] button")
    fresh.page.wait_for_url("**/.crmgate/account")


def lock_and_unlock(person: Person, address: str, name: str) -> None:
    """Lock, then go on where one was, by the passkey."""
    page = person.page
    page.goto(person.base + address)
    other = person.tab()
    other.goto(person.base + "/.crmgate/lock")
    look(other, f"{name}_lock")
    with other.expect_navigation():  # a page that is closed while it goes somewhere may never answer
        other.click("form[action='/.crmgate/lock'] button[type=submit]")
    other.close()
    page.reload()
    page.wait_for_selector("form[action='/.crmgate/lock/passkey']:not([hidden])")
    look(page, f"{name}_locked")
    page.click("form[action='/.crmgate/lock/passkey'] button[type=submit]")
    page.wait_for_url(person.base + address)


def reveal(person: Person, phone: str, name: str) -> None:
    """A masked phone in Creme's own page, with a reason and a code."""
    page = person.page
    assert phone not in page.content()
    page.click("crmgate-reveal > button")
    frame = framed(page, "#reason")
    without_findings(frame)
    frame.check("input[name=mask] >> nth=0")
    frame.select_option("#reason", index=1)
    frame.fill("#code", fresh_code(person.stack, person.member))
    frame.click("form button[type=submit] >> nth=0")
    frame = framed(page, "#value")
    assert phone in frame.inner_text("#value").replace(" ", "")
    without_findings(frame)
    page.screenshot(path=PICTURES / f"journey_{name}_revealed.png")


def framed(page: Page, selector: str) -> Frame:
    page.frame_locator(f"{PANEL} iframe").locator(selector).wait_for()
    found = page.query_selector(f"{PANEL} iframe")
    frame = None if found is None else found.content_frame()
    assert frame is not None
    return frame


def without_findings(frame: Frame) -> None:
    frame.evaluate(AXE.read_text(encoding="utf-8"))
    found = frame.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", AXE_TAGS
    )
    assert [one["id"] for one in found["violations"]] == []


def at_creme(person: Person, crm_login: str) -> None:
    """Sign in at the CRM as well."""
    page = person.page
    page.goto(person.base + "/")
    page.fill("#id_username", crm_login)
    page.fill("#id_password", person.stack.crm.passwords[crm_login])
    page.click("form button[type=submit], form input[type=submit]")
    page.wait_for_selector("#id_username", state="detached")
    page.wait_for_load_state("load")


@pytest.mark.parametrize(("language", "crm_login"), [("en", "lin.sales"), ("zh", "chen.sales")])
def test_from_the_invitation_to_the_reveal_and_the_administrators_pages(floor, browser, language, crm_login) -> None:
    admin = Person(floor, joined(floor, "administrator"), opened(browser, language), console=True)
    admin.sign_in("/")
    login = f"sales.{fresh_id()}"
    link = invited(admin, login, floor.crm.user_ids[crm_login], language)

    person = Person(floor, Newcomer(login, "sales", ""), opened(browser, language))
    set_up(person, link, language)
    person.sign_in("/.crmgate/account")
    add_passkey(person, language)
    fresh = Person(floor, person.member, opened(browser, language, "phone"))
    other_browser(person, fresh, language)
    at_creme(person, crm_login)
    customer, record = a_customer(person, crm_login)
    lock_and_unlock(person, f"/persons/contact/{record}", language)
    reveal(person, customer, language)

    for path in OF_ADMINISTRATORS:
        admin.page.goto(admin.base + path)
        look(admin.page, f"{language}_admin{path.replace('/', '_')}")
    assert login in admin.page.goto(admin.base + "/users").text()
    for each in (admin, person, fresh):
        assert each.troubles == []
        each.context.close()


class Newcomer(Member):
    """A member who chooses a password when set up."""

    @property
    def password(self) -> str:
        """Unrelated words and what is theirs alone."""
        return PASSWORD.format(self.login[-4:])


def a_customer(person: Person, crm_login: str) -> tuple[str, str]:
    """A contact of one's own, entered through the gateway in the same session; its phone and record."""
    script = visitor(person.stack)
    script.cookies = {str(one["name"]): str(one["value"]) for one in person.context.cookies(person.base)}
    driver = make_driver("creme", script)
    customer = make_people(random.Random(crm_login), 1, foreign_share=0.0)[0]
    return customer.phone, driver.add_person(customer)
