"""Sign-in in front of a real Creme: two factors or nothing, and an end that holds whatever the CRM would still take."""

import html
import random
import re
import subprocess
import sys
import threading
import time

import pyotp
import pytest

from gateway.access.pages import CODE_PATH, SIGN_IN_PATH
from gateway.demo.browser import Answer, Browser
from gateway.demo.driver import make_driver
from gateway.demo.filling import API_SIGN_IN
from gateway.demo.people import make_people
from tests.drills.stack import Member, Stack
from tests.e2e.database import sql
from tests.e2e.visitors import join, newcomer, sign_in, visitor
from tests.e2e.wire import ask, head

pytestmark = pytest.mark.real
SESSION = "__Host-crmgate"
CRM_PAGE = "/persons/contacts"
CLI_S = 60
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def stack(creme_stack: Stack) -> Stack:
    return creme_stack


def session_of(stack: Stack, member: Member) -> str:
    """Id of the member's latest session."""
    query = (
        "SELECT s.id FROM app_session s JOIN app_user u ON u.id = s.user_id WHERE u.login = %s ORDER BY opened_at DESC"
    )
    return str(sql(stack.settings, query, member.login)[0][0])


def move(stack: Stack, session: str, change: str) -> None:
    """Change a session's times in the database and tell the gateway, as another node would."""
    _change(stack, session, change)
    # It is heard once a later notice was: sessions are believed for a moment without asking.
    other = join(stack, "manager")
    witness = sign_in(stack, other)
    assert is_in(witness.get(CRM_PAGE, follow=False))
    _change(stack, session_of(stack, other), "expires_at = now() - interval '1 second'")
    end = time.monotonic() + PATIENCE_S
    while reason(witness)[0] != 401:
        assert time.monotonic() < end


def _change(stack: Stack, session: str, change: str) -> None:
    sql(stack.settings, f"UPDATE app_session SET {change} WHERE id = %s", session)
    sql(stack.settings, "SELECT pg_notify('crmgate_sessions', %s)", session)


def is_in(answer: Answer) -> bool:
    """Whether the gateway let a request pass; the CRM may still ask for its own log-in."""
    return answer.status == 200 or (answer.status == 302 and "creme_login" in answer.header("location"))


def reason(browser: Browser, path: str = CRM_PAGE) -> tuple[int, str]:
    """Status and reason id a program is told."""
    answer = browser.send("GET", path, headers={"accept": "application/json"})
    return answer.status, "" if is_in(answer) else str(answer.json()["reason"])


def api(stack: Stack, given: dict[str, str]) -> int:
    browser = visitor(stack)
    return browser.post_json(API_SIGN_IN, given, headers={"origin": browser.base}).status


def typed(member: Member, code: str) -> dict[str, str]:
    return {"login": member.login, "password": member.password, "code": code}


# --- nothing without both factors ---------------------------------------------------------------------------------


def test_a_person_without_session_is_sent_to_sign_in_and_a_program_is_told(stack: Stack) -> None:
    stranger = visitor(stack)
    page = stranger.send("GET", CRM_PAGE, headers={"accept": "text/html", "sec-fetch-dest": "document"})
    assert page.status == 303
    assert page.header("location") == f"{SIGN_IN_PATH}?next={CRM_PAGE}"
    assert reason(stranger) == (401, "sign-in-required")


def test_the_password_alone_opens_nothing_and_both_factors_open_the_way(stack: Stack) -> None:
    member, browser = join(stack, "manager"), visitor(stack)
    same_origin = {"origin": browser.base}
    browser.get(f"{SIGN_IN_PATH}?next={CRM_PAGE}").expect(200)
    given = {"login": member.login, "password": member.password, "next": CRM_PAGE}
    half = browser.post(SIGN_IN_PATH, given, follow=False, headers=same_origin).expect(303)
    assert half.header("location") == CODE_PATH
    assert SESSION not in browser.cookies
    assert reason(browser) == (401, "sign-in-required")
    account = browser.get("/.crmgate/account", follow=False)
    assert (account.status, account.header("location").partition("?")[0]) == (303, SIGN_IN_PATH)
    wrong = browser.post(CODE_PATH, {"code": "000000"}, follow=False, headers=same_origin)
    assert wrong.status == 401
    assert SESSION not in browser.cookies
    done = browser.post(CODE_PATH, {"code": member.code()}, follow=False, headers=same_origin).expect(303)
    assert done.header("location") == CRM_PAGE
    assert is_in(browser.get(CRM_PAGE, follow=False))


@pytest.mark.parametrize(
    "change",
    [{"code": ""}, {"code": "123456"}, {"password": "wrong"}, {"password": ""}, {"login": "nobody.here"}],
    ids=["no code", "wrong code", "wrong password", "no password", "unknown login"],
)
def test_one_factor_is_none(stack: Stack, change: dict[str, str]) -> None:
    member = join(stack, "sales")
    assert api(stack, typed(member, member.code()) | change) == 401


def test_a_code_works_once(stack: Stack) -> None:
    member = join(stack, "sales")
    code = member.code()
    assert api(stack, typed(member, code)) == 200
    assert api(stack, typed(member, code)) == 401


def test_a_code_works_once_on_two_connections_at_the_same_time(stack: Stack) -> None:
    member = join(stack, "sales")
    code, start, said = member.code(), threading.Barrier(4), []

    def attempt() -> None:
        browser = visitor(stack)
        browser.get(SIGN_IN_PATH)  # connected before the race
        start.wait(PATIENCE_S)
        answer = browser.post_json(API_SIGN_IN, typed(member, code), headers={"origin": browser.base})
        said.append(answer.status)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said)[0] == 200
    assert set(sorted(said)[1:]) <= {401, 429}  # refused, or already braked


# --- cookies and time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("console", "name"), [(False, SESSION), (True, "__Host-crmgate-console")])
def test_the_session_cookie_is_bound_to_its_host(stack: Stack, console: bool, name: str) -> None:
    member, browser = join(stack, "manager"), visitor(stack, console=console)
    answer = browser.post_json(API_SIGN_IN, typed(member, member.code()), headers={"origin": browser.base}).expect(200)
    cookies = [value for key, value in answer.headers if key == "set-cookie" and value.startswith(f"{name}=")]
    assert len(cookies) == 1
    pair, *attributes = cookies[0].split("; ")
    assert re.fullmatch(rf"{name}=[A-Za-z0-9_-]{{43,}}", pair)
    assert sorted(attribute.lower() for attribute in attributes) == ["httponly", "path=/", "samesite=lax", "secure"]


def test_a_session_of_one_host_is_none_on_the_other(stack: Stack) -> None:
    member = join(stack, "manager")
    here, there = sign_in(stack, member), visitor(stack, console=True)
    there.cookies["__Host-crmgate-console"] = here.cookies[SESSION]
    assert there.get("/", follow=False).status == 303


def test_a_session_ends_without_use(stack: Stack) -> None:
    member = join(stack, "manager")
    browser = sign_in(stack, member)
    session = session_of(stack, member)
    move(stack, session, "seen_at = now() - interval '29 minutes'")
    page = {"accept": "text/html", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate"}
    assert is_in(browser.get(CRM_PAGE, follow=False, headers=page))  # and that was a use
    [(age,)] = sql(stack.settings, "SELECT extract(epoch FROM now() - seen_at) FROM app_session WHERE id = %s", session)
    assert age < 60
    move(stack, session, "seen_at = now() - interval '31 minutes'")
    assert reason(browser) == (401, "session-ended")
    assert reason(browser)[0] == 401  # and stays ended


def test_a_session_ends_in_any_case(stack: Stack) -> None:
    member = join(stack, "manager")
    browser = sign_in(stack, member)
    [(hours,)] = sql(
        stack.settings,
        "SELECT extract(epoch FROM expires_at - opened_at) / 3600 FROM app_session WHERE id = %s",
        session_of(stack, member),
    )
    assert hours == 12
    move(stack, session_of(stack, member), "expires_at = now() - interval '1 second'")
    assert reason(browser) == (401, "session-ended")


# --- ends -----------------------------------------------------------------------------------------------------------


def sign_out(browser: Browser) -> None:
    browser.post("/.crmgate/sign-out", {}, follow=False, headers={"origin": browser.base}).expect(303)


def with_crm_cookie(browser: Browser, value: str) -> Answer:
    """A page of the CRM with somebody's CRM cookie."""
    browser.cookies["sessionid"] = value
    return browser.get("/persons/contact/add", follow=False)


def test_sign_out_holds_where_the_crm_itself_would_still_let_in(stack: Stack) -> None:
    member = join(stack, "manager", "wang.manager")
    browser = sign_in(stack, member)
    login = "wang.manager"
    page = browser.get("/creme_login/").expect(200)
    browser.submit(page, {"username": login, "password": stack.crm.passwords[login]}, -1, follow=False).expect(302)
    copied, session = browser.cookies["sessionid"], browser.cookies[SESSION]
    browser.get("/persons/contact/add", follow=False).expect(200)
    thief = newcomer(stack, "manager")
    assert "creme_login" in with_crm_cookie(thief, copied).header("location")  # somebody else's, even before the end

    sign_out(browser)
    assert "sessionid" not in browser.cookies
    direct = Browser(stack.crm.url)
    direct.cookies["sessionid"] = copied
    assert direct.get("/persons/contact/add", follow=False).status == 200  # Creme itself still takes it
    direct.close()

    browser.cookies[SESSION], browser.cookies["sessionid"] = session, copied
    assert reason(browser)[0] == 401
    assert "creme_login" in with_crm_cookie(newcomer(stack, "manager"), copied).header("location")
    assert "creme_login" in with_crm_cookie(thief, copied).header("location")
    again = sign_in_later(stack, member)  # the same person, signed in anew
    assert "creme_login" in with_crm_cookie(again, copied).header("location")


def sign_in_later(stack: Stack, member: Member) -> Browser:
    """Sign in again with the code of the next step, which a clock that is half a minute ahead would show."""
    browser = visitor(stack)
    code = pyotp.TOTP(member.secret).at(int(time.time()) + 30)
    browser.post_json(API_SIGN_IN, typed(member, code), headers={"origin": browser.base}).expect(200)
    return browser


def test_closing_an_account_ends_its_sessions_at_once(stack: Stack) -> None:
    member = join(stack, "manager")
    crm, console = sign_in(stack, member), visitor(stack, console=True)
    assert is_in(crm.get(CRM_PAGE, follow=False))
    command = [
        sys.executable,
        "-m",
        "gateway.cli",
        "user",
        "disable",
        member.login,
        "-c",
        str(stack.home.settings_file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CLI_S)
    assert done.returncode == 0, done.stderr
    assert reason(crm)[0] == 401
    console_try = console.post_json(API_SIGN_IN, typed(member, "123456"), headers={"origin": console.base})
    assert console_try.status == 401


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "hops", "passes"),
    [
        ("127.0.0.1", "", True),
        ("127.0.0.1", "203.0.113.9", True),
        ("127.0.0.1", "2001:db8::7", True),
        ("127.0.0.1", "198.51.100.4", False),
        ("127.0.0.1", "203.0.113.9, 198.51.100.4", False),  # what the client itself put in front counts for nothing
        ("127.0.0.1", "198.51.100.4, 203.0.113.9", True),
        ("127.0.0.2", "203.0.113.9", False),  # not a hop of ours: its own address counts
        ("127.0.0.1", "unknown", None),
    ],
)
def test_only_listed_networks_may_come_by_trusted_hops(
    stack: Stack, source: str, hops: str, passes: bool | None
) -> None:
    fields = [f"X-Forwarded-For: {hops}"] if hops else []
    answer = ask(stack, head(stack, f"GET {SIGN_IN_PATH}", *fields), source)
    expected = {True: 200, False: 403, None: 400}[passes]
    assert answer.status == expected
    if passes is False:
        assert answer.reason == "address-not-allowed"
    crm = ask(stack, head(stack, f"GET {CRM_PAGE}", *fields), source)
    assert crm.status == (401 if passes else expected)


# --- two identities -------------------------------------------------------------------------------------------------


def test_the_trail_names_both_identities_after_the_crm_log_in(stack: Stack) -> None:
    member = join(stack, "manager")  # nobody said who it is in the CRM
    browser = sign_in(stack, member)
    page = browser.get("/creme_login/").expect(200)
    login = "lin.sales"
    browser.submit(page, {"username": login, "password": stack.crm.passwords[login]}, -1, follow=False).expect(302)
    browser.get(CRM_PAGE, follow=False).expect(200)
    browser.get("/persons/contact/add", follow=False).expect(200)
    browser.get(CRM_PAGE, follow=False).expect(200)
    told = "convert_from(body, 'UTF8')::json"
    rows = sql(
        stack.settings,
        f"SELECT {told}->>'actor_login', {told}->>'crm_user', operation FROM audit_entry"
        f" WHERE {told}->>'actor_login' = %s ORDER BY index",
        member.login,
    )
    assert {row[0] for row in rows} == {member.login}
    assert rows[-1] == (member.login, login, "contact.list")


def test_a_salesperson_nobody_mapped_owns_what_the_crm_says_is_theirs(stack: Stack) -> None:
    """The gateway asks Creme itself, with the session Creme has just given, whom it takes this person for."""
    member = join(stack, "sales")
    driver = make_driver(stack.crm.crm.name, sign_in(stack, member))
    driver.log_in("lin.sales", stack.crm.passwords["lin.sales"])
    person = make_people(random.Random(member.login), 1)[0]
    page = driver.browser.get(f"/persons/contact/{driver.add_person(person)}").expect(200)
    assert person.last_name in html.unescape(page.text)
    assert person.email not in page.text
    assert f"***@{person.email.rpartition('@')[2]}" in page.text


@pytest.mark.parametrize(("language", "words"), [("en", "not allowed"), ("zh-CN", "不允许")])
@pytest.mark.parametrize("role", ["auditor", "dpo", "administrator"])
def test_roles_without_crm_get_a_clear_page_in_their_language(
    stack: Stack, role: str, language: str, words: str
) -> None:
    browser = newcomer(stack, role)
    about = {"accept": "text/html", "sec-fetch-dest": "document", "accept-language": language}
    for path in ("/", CRM_PAGE, "/persons/contact/add", "/creme_login/"):
        answer = browser.send("GET", path, headers=about)
        assert answer.status == 403
        assert answer.header("content-type").startswith("text/html")
        assert "not-allowed" in answer.text or words in answer.text
        assert "/.crmgate/" in answer.text  # a way on: own account or sign-out
