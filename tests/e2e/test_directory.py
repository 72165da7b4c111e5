"""A person of the directory, from `crmgate user add --directory` to the CRM: a real OpenLDAP, a real crmgate."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyotp
import pytest

from gateway.access.pages import CODE_PATH, SIGN_IN_PATH
from gateway.demo.browser import Answer, Browser
from tests.drills.stack import Member, Stack, installed, provision
from tests.e2e.database import sql
from tests.e2e.visitors import close_all, visitor
from tests.real.plain import plain
from tests.real.slapd import BASE, FILTER, OWN_DN, OWN_SECRET, PASSWORDS, Slapd, slapd

pytestmark = pytest.mark.real
LOGIN = "zhao.sales"
SET_UP_PATH = "/.crmgate/set-up"
CLI_S = 120


@dataclass(frozen=True, slots=True)
class Company:
    """crmgate in front of a CRM, with the company's directory."""

    stack: Stack
    directory: Slapd

    def cli(self, *words: str) -> tuple[int, str]:
        """Exit code and words of a command at the machine."""
        command = [sys.executable, "-m", "gateway.cli", *words, "-c", str(self.stack.home.settings_file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLI_S)
        return done.returncode, done.stdout + done.stderr

    def add(self, login: str) -> tuple[int, str]:
        """An account of somebody in the directory."""
        return self.cli("user", "add", login, "--role", "sales", "--directory", "corp")


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    with slapd() as directory, plain() as upstream:
        extra = f"""
[[sign_in.directory]]
name = "corp"
urls = ["{directory.start_tls_url}", "{directory.tls_url}"]
ca = "{directory.ca}"
bind_dn = "{OWN_DN}"
bind_secret_file = "{directory.secret_file}"
base = "{BASE}"
filter = "{FILTER}"
timeout_s = 30
connect_timeout_s = 15
password_url = "https://password.corp.example/"
"""
        with installed(upstream, extra) as stack:  # type: ignore[arg-type]
            yield Company(stack, directory)
            close_all()


def typed(browser: Browser, path: str, **form: str) -> Answer:
    return browser.post(path, form, follow=False, headers={"origin": browser.base})


def enrolled(company: Company, browser: Browser) -> pyotp.TOTP:
    """The authenticator app of LOGIN, whose invitation was taken up."""
    code, said = company.add(LOGIN)
    assert code == 0, said
    assert "choose a password" not in said
    token = re.search(r"token=(\S+)", said)
    assert token is not None, said
    page = browser.get(f"{SET_UP_PATH}?token={token[1]}").expect(200)
    shown = re.search(r'class="secret"><code>([A-Z2-7 ]+)</code>', page.text)
    assert shown is not None
    app = pyotp.TOTP(shown[1].replace(" ", ""))
    typed(browser, SET_UP_PATH, code=app.now()).expect(200)
    return app


def test_a_login_that_is_nobodys_or_of_several_makes_no_account(company: Company) -> None:
    for login, why in (("nobody", "nobody there has this login"), ("twin", "several entries there")):
        code, said = company.add(login)
        assert (code, why in said) == (1, True), said
        assert login not in company.cli("user", "list")[1]


def test_from_the_command_to_the_crm(company: Company) -> None:
    browser = visitor(company.stack)
    app = enrolled(company, browser)
    for login, password in (
        (LOGIN, "not-the-password"),
        ("*)(uid=*", PASSWORDS[LOGIN]),
        ("sun.sales", PASSWORDS["sun.sales"]),  # in the directory, but nobody here
    ):
        assert typed(browser, SIGN_IN_PATH, login=login, password=password).status == 401
    half = typed(browser, SIGN_IN_PATH, login=LOGIN, password=PASSWORDS[LOGIN]).expect(303)
    assert half.header("location") == CODE_PATH
    assert browser.get("/", follow=False).status == 401
    typed(browser, CODE_PATH, code=app.at(time.time() + 30)).expect(303)
    assert browser.get("/", follow=False).status == 200
    account = browser.get("/.crmgate/account").expect(200)
    assert "https://password.corp.example/" in account.text
    assert "corp" in company.cli("user", "list")[1]

    company.directory.stop()
    try:
        stranger = visitor(company.stack, language="zh-CN")
        down = typed(stranger, SIGN_IN_PATH, login=LOGIN, password=PASSWORDS[LOGIN])
        assert (down.status, "公司目录" in down.text) == (503, True)
        assert browser.get("/", follow=False).status == 200
        assert "No directory answers" in company.cli("check")[1]
    finally:
        company.directory.start()
    typed(visitor(company.stack), SIGN_IN_PATH, login=LOGIN, password=PASSWORDS[LOGIN]).expect(303)

    code, said = company.cli("user", "unlink", LOGIN, "--provider", "corp")
    assert (code, "crmgate user reset-code" in said) == (0, True), said
    assert typed(visitor(company.stack), SIGN_IN_PATH, login=LOGIN, password=PASSWORDS[LOGIN]).status == 401
    assert browser.get("/", follow=False).status == 401


def test_an_account_with_a_password_of_ours_moves_to_the_directory(company: Company) -> None:
    member = Member("qian.sales", "sales", pyotp.random_base32())
    asyncio.run(provision(company.stack.settings, [member], {}))
    typed(visitor(company.stack), SIGN_IN_PATH, login=member.login, password=member.password).expect(303)
    code, said = company.cli("user", "link", member.login, "--provider", "corp")
    assert (code, "is checked by corp" in said) == (0, True), said
    browser = visitor(company.stack)
    assert typed(browser, SIGN_IN_PATH, login=member.login, password=member.password).status == 401
    typed(browser, SIGN_IN_PATH, login=member.login, password=PASSWORDS[member.login]).expect(303)
    typed(browser, CODE_PATH, code=member.code()).expect(303)
    assert browser.get("/", follow=False).status == 200


def test_the_trail_says_why_and_no_secret_is_anywhere(company: Company) -> None:
    """Of the sign-ins above."""
    logged = company.stack.gateway.last_words(100_000) + company.directory.log
    rows = sql(company.stack.settings, "SELECT convert_from(body, 'UTF8') FROM audit_entry")
    trail = " ".join(str(row[0]) for row in rows)
    for word in ("corp:directory-wrong", "corp:unreachable", "user.link", "user.unlink"):
        assert f'"{word}"' in trail
    for secret in (*PASSWORDS.values(), OWN_SECRET, "not-the-password"):
        assert secret not in logged
        assert secret not in trail
    assert BASE not in trail
    assert "sun.sales" not in trail
