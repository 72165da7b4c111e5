"""Sessions that crmgate carries for people at real CRMs: Creme and Tryton as two tenants of one gateway."""

import contextlib
import json
import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.browser import Answer, Browser, BrowserFault, forms
from gateway.demo.driver import CremeDriver, TrytonDriver
from gateway.demo.people import make_people
from gateway.demo.tryton import DATABASE
from policies.enforcer import DEFAULT_POLICY
from tests.drills.chromium import desks
from tests.drills.stack import Stack, installed
from tests.e2e.database import sql
from tests.e2e.tenants import ACCOUNT_CRM, Door
from tests.real.servers import CrmServer, creme, tryton

pytestmark = pytest.mark.real

CARRIED = """
[tenant.main.identity]
mode = "stored"
api_clients = true
[tenant.calls]
policy = "{policy}"
upstream = "{upstream}"
profile = "tryton"
public_url = "https://calls.localhost:{port}"
migrated = true
[tenant.calls.identity]
mode = "stored"
database = "{database}"
"""
PEOPLE = iter(make_people(random.Random("identity"), 20, foreign_share=0.0))
PAGE = {"accept": "text/html", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate", "sec-fetch-site": "none"}


@pytest.fixture(scope="module")
def crms() -> Iterator[tuple[CrmServer, CrmServer]]:
    with creme() as one, tryton() as other:
        yield one, other


@pytest.fixture(scope="module")
def stack(crms: tuple[CrmServer, CrmServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    policy = tmp_path_factory.mktemp("policy") / "calls.csv"
    policy.write_text(DEFAULT_POLICY.read_text() + "p, manager, *, kind:phone, clear, any, deny\n")
    extra = CARRIED.replace("{upstream}", crms[1].url).replace("{database}", DATABASE).replace("{policy}", str(policy))
    with installed(crms[0], extra, {}) as made:
        yield made


@pytest.fixture(scope="module")
def forms_crm(stack: Stack, crms: tuple[CrmServer, CrmServer]) -> Iterator["Office"]:
    yield from _office(stack, "crm", "main", crms[0])


@pytest.fixture(scope="module")
def calls_crm(stack: Stack, crms: tuple[CrmServer, CrmServer]) -> Iterator["Office"]:
    yield from _office(stack, "calls", "calls", crms[1])


class Office:
    """One tenant with the CRM behind it."""

    def __init__(self, door: Door, crm: CrmServer) -> None:
        self.door = door
        self.crm = crm

    def enter(self, browser: Browser, login: str, password: str, onward: str = "/") -> Answer:
        """Fill the page of one's own CRM login; no redirect is followed."""
        page = browser.get(f"{ACCOUNT_CRM}?next={onward}").expect(200)
        number = next(i for i, one in enumerate(forms(page)) if any(name == "crm_login" for name, _ in one.fields))
        return browser.submit(page, {"crm_login": login, "crm_secret": password}, number, follow=False)

    def at_work(self, role: str, login: str) -> Browser:
        """Somebody new with this role, signed in at the gateway, who is `login` at the CRM."""
        browser = self.door.sign_in(self.door.join(role))
        self.enter(browser, login, self.crm.passwords[login]).expect(303)
        return browser

    def direct(self) -> Browser:
        """A browser at the CRM itself, past the gateway."""
        made = Browser(self.crm.url)
        self.door.opened.append(made)
        return made

    def entries(self, operation: str) -> list[dict[str, Any]]:
        """Entries of the audit trail about one operation."""
        statement = "SELECT body FROM audit_entry WHERE tenant = %s AND operation = %s ORDER BY index"
        rows = sql(self.door.stack.settings, statement, self.door.tenant, operation)
        return [json.loads(bytes(body)) for (body,) in rows]

    def tried(self) -> int:
        """How often the gateway has sent somebody's password to the CRM."""
        return sum(one["reason"] == "crm-signing-in" for one in self.entries("identity.sign_in"))

    def forget_sessions(self) -> int:
        """Delete every session in the CRM's own database; how many there were."""
        with contextlib.closing(sqlite3.connect(self._database(), timeout=30)) as connection, connection:
            return connection.execute(f"DELETE FROM {self._table()}").rowcount

    def sessions(self) -> int:
        """Sessions in the CRM's own database."""
        with contextlib.closing(sqlite3.connect(self._database(), timeout=30)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {self._table()}").fetchone()[0])

    def _table(self) -> str:
        return "django_session" if self.crm.crm.name == "creme" else "ir_session"

    def _database(self) -> Path:
        found = [one for one in self.crm.folder.rglob("*") if one.suffix in (".sqlite", ".sqlite3", ".db")]
        assert len(found) == 1, found
        return found[0]


def _office(stack: Stack, name: str, tenant: str, crm: CrmServer) -> Iterator[Office]:
    made = Door(stack, tenant, f"https://{name}.localhost:{stack.home.port}")
    yield Office(made, crm)
    made.close()


def refused(answer: Answer) -> str:
    """The reason id of a refusal for programs."""
    return str(answer.json()["reason"])


# -- server-rendered pages


def test_a_person_enters_the_crm_login_once_and_never_holds_its_session(forms_crm: Office) -> None:
    office, before = forms_crm, forms_crm.tried()
    browser = office.door.sign_in(office.door.join("manager"))
    sent = browser.get("/persons/contacts", follow=False, headers=PAGE).expect(303).header("location")
    assert sent == f"{ACCOUNT_CRM}?problem=crm-login-missing&next=/persons/contacts"
    assert refused(browser.get("/persons/contacts").expect(403)) == "crm-login-missing"
    assert office.tried() == before
    office.enter(browser, "wang.manager", "not this one").expect(422)
    assert office.tried() == before + 1
    for _ in range(5):  # one try, then none until something else is entered
        assert refused(browser.get("/persons/contacts").expect(403)) == "crm-login-refused"
    sent = browser.get("/", follow=False, headers=PAGE).expect(303).header("location")
    shown = browser.get(sent).expect(200)
    assert "does not accept" in shown.text
    assert "not this one" not in shown.text
    assert office.tried() == before + 1
    done = office.enter(browser, "wang.manager", office.crm.passwords["wang.manager"], "/persons/contacts").expect(303)
    assert done.header("location") == "/persons/contacts"
    assert office.tried() == before + 2
    assert "Wang" in browser.get("/persons/contacts").expect(200).text
    assert "sessionid" not in browser.cookies
    assert office.tried() == before + 2
    where = sql(office.door.stack.settings, "SELECT blob FROM crm_login WHERE tenant = 'main'")
    assert not any(office.crm.passwords["wang.manager"].encode() in bytes(blob) for (blob,) in where)


def test_in_a_browser_one_sign_in_leads_through_to_the_crm(forms_crm: Office, tmp_path: Path) -> None:
    member, login = forms_crm.door.join("manager"), "wang.manager"
    with desks(forms_crm.door.browser()) as (desk,):
        page = desk.page
        page.goto(f"{desk.base}/persons/contacts")
        page.fill("input[name=login]", member.login)
        page.fill("input[name=password]", member.password)
        page.click("button[type=submit]")
        page.fill("input[name=code]", member.code())
        page.click("button[type=submit]")
        page.wait_for_selector("#crm_login")
        assert "problem=crm-login-missing" in page.url
        page.screenshot(path=str(tmp_path / "crm-login.png"))
        page.goto(page.url + "&lang=zh_Hans")
        assert page.locator("h1").inner_text() == "您的 CRM 登录信息"
        page.screenshot(path=str(tmp_path / "crm-login-zh.png"))
        page.fill("#crm_login", login)
        page.fill("#crm_secret", "wrong")
        page.click("button[type=submit]")
        page.wait_for_selector("#problem")
        page.screenshot(path=str(tmp_path / "crm-login-wrong.png"))
        page.fill("#crm_secret", forms_crm.crm.passwords[login])
        page.click("main form button[type=submit]")
        page.wait_for_selector("table.listview, .lv-row")
        assert page.url == f"{desk.base}/persons/contacts"
        page.screenshot(path=str(tmp_path / "crm.png"))
        names = {cookie["name"] for cookie in page.context.cookies()}
        assert "__Host-crmgate" in names
        assert "sessionid" not in names
        page.goto(f"{desk.base}/persons/contact/add")
        page.fill("input[name=last_name]", "Muster")
        with page.expect_navigation():
            page.evaluate("document.querySelector('input[name=last_name]').form.requestSubmit()")
        assert re.search(r"/persons/contact/\d+$", page.url)
        assert "Muster" in page.content()


def test_the_forms_of_the_crm_work_and_own_records_are_own(forms_crm: Office) -> None:
    browser = forms_crm.at_work("sales", "lin.sales")
    person = next(PEOPLE)
    record = CremeDriver(browser).add_person(person)
    assert person.first_name in browser.get(f"/persons/contact/{record}").expect(200).text
    other = forms_crm.at_work("sales", "chen.sales")
    assert person.first_name not in other.get(f"/persons/contact/{record}").expect(200).text
    made = [one for one in forms_crm.entries("contact.create") if one["fields"]["roles"] == ["sales"]]
    assert {one["crm_user"] for one in made} == {"lin.sales"}


def test_a_session_that_the_crm_ended_is_renewed_once_and_a_write_arrives_once(forms_crm: Office) -> None:
    browser = forms_crm.at_work("manager", "wang.manager")
    page = browser.get("/persons/contact/add").expect(200)
    assert forms_crm.forget_sessions()
    before = forms_crm.tried()
    driver, person = CremeDriver(browser), next(PEOPLE)
    driver._pages["/persons/contact/add"] = page
    record = driver.add_person(person)
    assert person.email in browser.get(f"/persons/contact/{record}").expect(200).text
    assert forms_crm.tried() == before + 1


def test_leaving_here_ends_the_session_there_and_leaving_there_ends_it_here(forms_crm: Office) -> None:
    forms_crm.forget_sessions()
    browser = forms_crm.at_work("manager", "wang.manager")
    assert forms_crm.sessions() == 1
    browser.post("/.crmgate/sign-out", {}, headers={"origin": browser.base}, follow=False).expect(303)
    assert forms_crm.sessions() == 0
    assert forms_crm.entries("identity.sign_out")[-1]["reason"] == "crm-signed-out"
    browser = forms_crm.at_work("manager", "wang.manager")
    session = dict(browser.cookies)
    about = {**PAGE, "origin": browser.base, "sec-fetch-site": "same-origin"}
    left = browser.post("/creme_logout/", {"csrfmiddlewaretoken": "x"}, headers=about, follow=False).expect(303)
    assert left.header("location") == "/.crmgate/sign-in?notice=signed-out"
    assert forms_crm.sessions() == 0
    browser.cookies.update(session)
    assert refused(browser.get("/persons/contacts").expect(401)) == "sign-in-required"


def test_the_sign_in_pages_of_the_crm_are_closed(forms_crm: Office) -> None:
    browser = forms_crm.at_work("manager", "wang.manager")
    for path in ("/creme_login/", "/creme_core/auth/password/reset/"):
        assert refused(browser.get(path).expect(403)) == "crm-sign-in-here"
    answer = browser.post("/creme_login/", {"username": "root", "password": "x"}, headers={"origin": browser.base})
    assert refused(answer.expect(403)) == "crm-sign-in-here"


def test_a_stolen_session_of_the_crm_is_worth_nothing_at_the_gateway(forms_crm: Office) -> None:
    direct = CremeDriver(forms_crm.direct())
    direct.log_in("root", forms_crm.crm.passwords["root"])
    browser = forms_crm.at_work("manager", "wang.manager")
    stolen = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    given = {"cookie": f"{stolen}; sessionid={direct.browser.cookies['sessionid']}"}
    assert direct.browser.get("/creme_config/user/portal/").status == 200
    assert browser.get("/creme_config/user/portal/", headers=given).status != 200  # still wang, who may not


def test_a_program_has_a_session_of_its_own(forms_crm: Office) -> None:
    password = forms_crm.crm.passwords["chen.sales"]
    told = forms_crm.door.command(
        "client", "add", "mailer", "--role", "manager", "--network", "127.0.0.1", typed=f"chen.sales\n{password}\n"
    )
    token = next(word for word in told.split() if word.startswith("crmgate_"))
    browser = forms_crm.door.browser()
    answer = browser.get("/persons/contacts", headers={"authorization": f"Bearer {token}"}).expect(200)
    assert "sessionid" not in browser.cookies
    assert token not in answer.text
    (entry,) = [one for one in forms_crm.entries("contact.list") if one["actor_login"] == "mailer"]
    assert (entry["crm_user"], entry["fields"]["roles"]) == ("chen.sales", ["manager"])


# -- calls


def test_calls_need_no_login_of_their_own_and_none_of_the_client_counts(calls_crm: Office) -> None:
    browser = calls_crm.at_work("sales", "lin.sales")
    driver, person = TrytonDriver(browser), next(PEOPLE)
    record = int(driver.add_person(person))
    (made,) = driver.call("model.party.party.read", [[record], ["create_uid", "name"], {}])
    assert str(made["create_uid"]) == calls_crm.crm.user_ids["lin.sales"]
    assert made["name"] == person.full_name
    direct = TrytonDriver(calls_crm.direct())
    direct.log_in("wang.manager", calls_crm.crm.passwords["wang.manager"])
    browser.extra_headers["authorization"] = direct.browser.extra_headers["authorization"]
    second = int(driver.add_person(next(PEOPLE)))
    (made,) = driver.call("model.party.party.read", [[second], ["create_uid"], {}])
    assert str(made["create_uid"]) == calls_crm.crm.user_ids["lin.sales"]
    with pytest.raises(Exception, match="403"):
        driver.call("common.db.login", ["lin.sales", {"password": "x"}, "en"])


def test_the_administrator_enters_a_login_and_calls_survive_the_end_of_a_session(calls_crm: Office) -> None:
    member = calls_crm.door.join("manager")
    password = calls_crm.crm.passwords["wang.manager"]
    told = calls_crm.door.command(
        "user", "crm-login", member.login, "--crm", "wang.manager", typed=f"{password}\n{password}\n"
    )
    assert password not in told
    driver = TrytonDriver(calls_crm.door.sign_in(member))
    assert driver.call("model.party.party.search", [[], 0, 5, None, {}]) is not None
    before = calls_crm.tried()
    assert calls_crm.forget_sessions()
    assert driver.call("model.party.party.search", [[], 0, 5, None, {}]) is not None
    assert calls_crm.tried() == before + 1
    driver.browser.post("/.crmgate/sign-out", {}, headers={"origin": driver.browser.base}, follow=False).expect(303)
    assert calls_crm.sessions() == 0


# -- two CRMs behind one gateway share nothing


def test_a_session_of_one_crm_is_none_at_the_other(forms_crm: Office, calls_crm: Office) -> None:
    browser = forms_crm.at_work("manager", "wang.manager")
    stranger = calls_crm.door.browser()
    stranger.cookies.update(browser.cookies)
    assert refused(stranger.get("/").expect(401)) == "sign-in-required"
    moved = stranger.get(ACCOUNT_CRM, follow=False).expect(303)
    assert moved.header("location").startswith("/.crmgate/sign-in")


def test_a_surrogate_of_one_crm_opens_nothing_at_the_other(forms_crm: Office, calls_crm: Office) -> None:
    person, browser = next(PEOPLE), forms_crm.at_work("manager", "wang.manager")
    record = CremeDriver(browser).add_person(person)
    assert person.email in browser.get(f"/persons/contact/{record}").expect(200).text
    direct = CremeDriver(forms_crm.direct())
    direct.log_in("root", forms_crm.crm.passwords["root"])
    edit = direct.browser.get(f"/persons/contact/edit/{record}").expect(200)
    form = next(one for one in forms(edit) if any(name == "last_name" for name, _ in one.fields))
    held = dict(form.fields)
    surrogates = [held["email"], held["mobile"], held["last_name"]]
    assert not {person.email, person.phone, person.last_name} & set(surrogates)
    past = TrytonDriver(calls_crm.direct())
    past.log_in("wang.manager", calls_crm.crm.passwords["wang.manager"])
    through = TrytonDriver(calls_crm.at_work("manager", "wang.manager"))
    (party,) = past.call("model.party.party.create", [[{"name": " ".join(surrogates)}], {}])
    for name in surrogates:
        way = {"party": party, "type": "other", "value": name}
        past.call("model.party.contact_mechanism.create", [[way], {}])
        with pytest.raises(BrowserFault, match="409"):  # nor can somebody bring one along
            through.call("model.party.contact_mechanism.create", [[way], {}])
    ways = through.call("model.party.contact_mechanism.search", [[["party", "=", party]], 0, 9, None, {}])
    assert len(ways) == len(surrogates)
    told = [
        through.call("model.party.party.read", [[party], ["name", "rec_name"], {}]),
        through.call("model.party.contact_mechanism.read", [ways, ["value", "rec_name"], {}]),
    ]
    shown = json.dumps(told, ensure_ascii=False)
    for clear in (person.email, person.phone, person.last_name):
        assert clear not in shown
    assert not sql(
        forms_crm.door.stack.settings,
        "SELECT 1 FROM vault a JOIN vault b ON a.surrogate = b.surrogate AND a.tenant = 'main' AND b.tenant = 'calls'",
    )


def test_the_same_person_is_somebody_else_at_each_crm_under_other_rules(forms_crm: Office, calls_crm: Office) -> None:
    member = forms_crm.door.join("manager")
    twin = calls_crm.door.join("manager", login=member.login)
    here, there = forms_crm.door.sign_in(member), calls_crm.door.sign_in(twin)
    forms_crm.enter(here, "wang.manager", forms_crm.crm.passwords["wang.manager"]).expect(303)
    assert refused(there.get("/").expect(403)) == "crm-login-missing"  # what is stored for one is not for the other
    calls_crm.enter(there, "lin.sales", calls_crm.crm.passwords["lin.sales"]).expect(303)
    one, other = next(PEOPLE), next(PEOPLE)
    mine = CremeDriver(here).add_person(one)
    party = int(TrytonDriver(there).add_person(other))
    page = here.get(f"/persons/contact/{mine}").expect(200).text
    ways = TrytonDriver(there).call(
        "model.party.contact_mechanism.search", [[["party", "=", party], ["type", "=", "mobile"]], 0, 1, None, {}]
    )
    (way,) = TrytonDriver(there).call("model.party.contact_mechanism.read", [ways, ["value"], {}])
    assert one.phone[-4:] in page.replace(" ", "")
    assert one.email in page
    assert other.phone not in way["value"].replace(" ", "")  # the other CRM's policy masks phones for managers
    crm_users = {
        office.door.tenant: {e["crm_user"] for e in office.entries(operation) if e["actor_login"] == member.login}
        for office, operation in ((forms_crm, "contact.create"), (calls_crm, "party.create"))
    }
    assert crm_users == {"main": {"wang.manager"}, "calls": {"lin.sales"}}


def test_rights_over_a_record_number_stay_with_its_crm(forms_crm: Office, calls_crm: Office) -> None:
    person, settings = next(PEOPLE), forms_crm.door.stack.settings
    record = CremeDriver(forms_crm.at_work("manager", "wang.manager")).add_person(person)
    mine = forms_crm.crm.user_ids["lin.sales"]
    sales = forms_crm.at_work("sales", "lin.sales")
    note = "INSERT INTO crm_record (tenant, entity, record, owner, seen_at) VALUES (%s, %s, %s, %s, now()) RETURNING 1"
    for entity in ("contact", "*"):
        assert sql(settings, note, calls_crm.door.tenant, entity, record, mine)
    assert person.first_name not in sales.get(f"/persons/contact/{record}").expect(200).text
    own = CremeDriver(sales).add_person(other := next(PEOPLE))
    assert other.first_name in sales.get(f"/persons/contact/{own}").expect(200).text
