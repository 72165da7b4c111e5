"""A whole installation for drills and end-to-end tests: real CRM and PostgreSQL, `crmgate serve`, staff of every role.

Everything lives in a temporary folder and listens on free ports of 127.0.0.1; leaving the context ends and removes it.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyotp

from gateway.access.users import Profile
from gateway.accounts import open_accounts
from gateway.demo import children
from gateway.demo.browser import Browser
from gateway.demo.children import Child
from gateway.demo.driver import Driver, make_driver
from gateway.demo.filling import API_SIGN_IN
from gateway.demo.stage import TENANT, Stage, make_certificate
from gateway.opening import open_database
from gateway.settings import Settings
from gateway.settings_file import read_settings
from tests.real.servers import CrmServer

TOTP_STEP_S = 30
PASSWORD = "correct-horse-battery-{}-staple"
_given: Counter[str] = Counter()  # ids given so far, by test


@dataclass(slots=True)
class Member:
    """One gateway user; the CRM login is the same name where the CRM has one."""

    login: str
    role: str
    secret: str
    last_step: int = 0

    @property
    def password(self) -> str:
        """The gateway password."""
        return PASSWORD.format(self.login)

    def code(self) -> str:
        """A code that was not used yet; waits for the next step when it must (codes are single use)."""
        while int(time.time()) // TOTP_STEP_S <= self.last_step:
            time.sleep(0.5)
        self.last_step = int(time.time()) // TOTP_STEP_S
        return pyotp.TOTP(self.secret).at(datetime.fromtimestamp(time.time(), UTC))


MEMBERS = {
    "manager": "wang.manager",
    "sales": "lin.sales",
    "other_sales": "chen.sales",
    "auditor": "zhou.auditor",
    "dpo": "sun.dpo",
    "administrator": "ma.admin",
}


@dataclass(slots=True)
class Stack:
    """A running installation. crm: its server; home: paths and addresses; settings: what crmgate runs with."""

    crm: CrmServer
    home: Stage
    settings: Settings
    members: Mapping[str, Member]
    gateway: Child
    _start: Callable[[], Child] = field(repr=False)

    def browser(self, language: str = "en") -> Browser:
        """A browser at the CRM's public address that nobody has signed in with."""
        return Browser(self.home.crm_url, self.home.authority, language=language)

    def signed_in(self, who: str) -> Browser:
        """A browser with both factors of this member done; raises AssertionError when the gateway refuses."""
        member, browser = self.members[who], self.browser()
        given = {"login": member.login, "password": member.password, "code": member.code()}
        answer = browser.post_json(API_SIGN_IN, given, headers={"origin": browser.base})
        assert answer.status == 200, f"sign-in of {member.login} answered {answer.status}"
        return browser

    def at_work(self, who: str) -> Driver:
        """A member signed in at the gateway and logged in to the CRM behind it."""
        driver = make_driver(self.crm.crm.name, self.signed_in(who))
        login = self.members[who].login
        driver.log_in(login, self.crm.passwords[login])
        return driver

    def direct(self, who: str) -> Driver:
        """The same member at the CRM itself, without the gateway."""
        driver = make_driver(self.crm.crm.name, Browser(self.crm.url))
        login = self.members[who].login
        driver.log_in(login, self.crm.passwords[login])
        return driver

    def restart_gateway(self) -> None:
        """End crmgate and start it again on the same state."""
        self.gateway.stop()
        self.gateway = self._start()


@contextlib.contextmanager
def installed(
    server: CrmServer,
    settings_extra: str = "",
    members: Mapping[str, str] = MEMBERS,
    program: Sequence[str | Path] = ("-m", "gateway.cli"),
) -> Iterator[Stack]:
    """crmgate in front of a running CRM; `settings_extra` is put in front of the generated settings' sections.

    `{port}` in it is the port of the gateway.

    members: name → login; the name without its number, or without "other_", is the role. program: what python runs.
    """
    folder = Path(tempfile.mkdtemp(prefix="crmgate-stack-"))
    folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
    home = Stage(folder / "home", children.free_port(), children.free_port())
    home.folder.mkdir(mode=0o755)
    home.keep_crm_ids(server.user_ids)
    settings = home.write_settings(server.crm.name, server.port)
    if settings_extra:
        extra = settings_extra.replace("{port}", str(home.port))
        home.settings_file.write_text(_merged(home.settings_file.read_text(), extra))
        settings = read_settings(home.settings_file)
    make_certificate(settings)
    staff = {
        name: Member(login, name.removeprefix("other_").rstrip("0123456789"), pyotp.random_base32())
        for name, login in members.items()
    }
    asyncio.run(provision(settings, staff.values(), server.user_ids))

    def start() -> Child:
        command: list[str | Path] = [sys.executable, *program, "serve", "--config", home.settings_file]
        child = children.start("crmgate", command, folder / "crmgate.log", folder)
        for port in (home.port, home.console_port):
            children.wait_for_port(child, port)
        return child

    gateway = start()
    stack = Stack(server, home, settings, staff, gateway, start)
    try:
        yield stack
    finally:
        stack.gateway.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _merged(text: str, extra: str) -> str:
    """Settings with `[section]` lines of `extra` in the place of what their sections set; new sections are added."""
    section, listed = "", False
    for line in extra.strip().splitlines():
        listed = line.startswith("[[") or (listed and not line.startswith("["))
        if listed:  # one of several: never in the place of another
            text += f"{'' if text.endswith(chr(10)) else chr(10)}{line}\n"
        elif line.startswith("["):
            section = line
            if f"{section}\n" not in text:
                text += f"\n{section}\n"
        elif line.strip():
            before, mark, rest = text.partition(f"{section}\n")
            inside, bracket, after = rest.partition("\n[")
            key = f"{line.partition('=')[0].strip()} ="
            kept = "\n".join(one for one in inside.split("\n") if not one.startswith(key))
            text = before + mark + (f"{line}\n{kept}" if mark else "") + bracket + after
    return text


async def provision(settings: Settings, members: object, crm_ids: Mapping[str, str], tenant: str = TENANT) -> None:
    """Accounts with both factors set."""
    database = await asyncio.to_thread(open_database, settings)
    try:
        async with open_accounts(settings, tenant, database.dsn) as accounts:
            for member in members:  # type: ignore[attr-defined]
                profile = Profile(
                    display_name=member.login, roles=(member.role,), crm_user=crm_ids.get(member.login, "")
                )
                user = await accounts.users.create(accounts.tenant, member.login, profile)
                await accounts.users.provision(user, member.password, member.secret)
    finally:
        await asyncio.to_thread(database.close)


def fresh_id() -> str:
    """A short id that nothing else in this process has; a test gets the same ones in every run, and so the same people.

    What fails for one kind of name then fails each time, and not once in a hundred runs.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    _given[test] += 1
    return hashlib.sha256(f"{test} {_given[test]}".encode()).hexdigest()[:8]
