"""People at browsers whose session hangs on them: Chromium with workers, signing in on the pages, moved clocks."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

from tests.drills.chromium import PROGRAM, SWITCHES
from tests.drills.stack import Member, Stack
from tests.e2e.database import sql
from tests.e2e.visitors import visitor

COOKIE = "__Host-crmgate"
CONSOLE_COOKIE = "__Host-crmgate-console"
LOCALES = {"en": "en-US", "zh": "zh-CN"}
WAIT_MS = 120_000
# A context that ignores errors of certificates still gets no worker: the whole browser has to.
TRUSTING = (*SWITCHES, "--ignore-certificate-errors")
_AGE = """minutes => new Promise((done, failed) => {
  const asked = indexedDB.open("crmgate-device", 1);
  asked.onerror = () => failed(asked.error);
  asked.onsuccess = () => {
    const all = asked.result.transaction("kept", "readwrite"), kept = all.objectStore("kept");
    const read = kept.get("until");
    read.onsuccess = () => { if (read.result) kept.put(read.result - minutes * 60000, "until"); };
    all.oncomplete = () => { asked.result.close(); done(); };
    all.onabort = () => failed(all.error);
  };
})"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, which takes our certificate in workers, too."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=PROGRAM, args=list(TRUSTING))
        yield started
        started.close()


def fresh_code(stack: Stack, member: Member) -> str:
    """The code the app shows now, as if no other had been used."""
    assert sql(stack.settings, "UPDATE app_user SET last_totp_step = 0 WHERE login = %s RETURNING id", member.login)
    member.last_step = 0
    return member.code()


@dataclass
class Person:
    """Somebody at one browser profile. base: of the host they work at."""

    stack: Stack
    member: Member
    context: BrowserContext
    console: bool = False
    troubles: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(WAIT_MS)
        self.context.on("response", self._answered)
        self.page = self.tab()

    @property
    def base(self) -> str:
        """The address of the host."""
        home = self.stack.home
        return home.console_url if self.console else home.crm_url

    @property
    def name(self) -> str:
        """The session's cookie."""
        return CONSOLE_COOKIE if self.console else COOKIE

    def tab(self) -> Page:
        """Another tab."""
        page = self.context.new_page()
        page.on("pageerror", lambda fault: self.troubles.append(str(fault)))
        return page

    def _answered(self, answer: Response) -> None:
        # The picture of a tab is asked for past every worker; a browser just does not show it.
        if answer.status == 401 and not answer.url.endswith(".ico"):
            self.refused.append(f"{answer.status} {answer.request.method} {answer.url}")

    def enter(self, target: str = "/") -> None:
        """Type login, password and code; the device page follows by itself."""
        page = self.page
        page.goto(f"{self.base}/.crmgate/sign-in?next={target}")
        page.fill("#login", self.member.login)
        page.fill("#password", self.member.password)
        page.click("main button[type=submit]")
        page.wait_for_selector("#code")
        page.fill("#code", fresh_code(self.stack, self.member))
        page.click("form[action$='/code'] button[type=submit]")

    def sign_in(self, target: str = "/") -> None:
        """Sign in, and wait until the page asked for is there."""
        self.enter(target)
        self.page.wait_for_url(self.base + target)

    def cookie(self) -> str:
        """The session's cookie as it is now."""
        return next(str(one["value"]) for one in self.context.cookies() if one["name"] == self.name)

    def pass_minutes(self, minutes: int) -> None:
        """As if so much time had passed, for the gateway and for the browser's worker, which a browser stops meanwhile.

        The time of a session's proofs is moved back instead of the clock; every node is told.
        """
        self.forget_proof(minutes)
        self.page.evaluate(_AGE, minutes)
        line = self.context.new_cdp_session(self.page)
        line.send("ServiceWorker.enable")
        line.send("ServiceWorker.stopAllWorkers")
        line.detach()

    def forget_proof(self, minutes: int) -> None:
        """The same for the gateway alone, once what the open pages load has come: that leaves with the old proof."""
        for page in self.context.pages:
            page.wait_for_load_state("networkidle")
        moved = (
            "WITH moved AS (UPDATE app_session s SET device_until = s.device_until - make_interval(mins => %s),"
            " previous_until = s.previous_until - make_interval(mins => %s) FROM app_user u"
            " WHERE u.id = s.user_id AND u.login = %s AND s.ended_at IS NULL"
            " RETURNING s.id, s.device_until < now() AS old)"
            " SELECT pg_notify('crmgate_sessions', id), old FROM moved"
        )
        found = sql(self.stack.settings, moved, minutes, minutes, self.member.login)
        assert found
        if all(old for _, old in found):
            until(self._is_refused)  # a node believes what it read for a moment, and would show half a page

    def _is_refused(self) -> bool:
        asking = visitor(self.stack, console=self.console)
        asking.cookies = {self.name: self.cookie()}
        path = "/sessions/rows" if self.console else "/creme_core/nowhere"
        answer = asking.get(path, follow=False, headers={"sec-fetch-dest": "empty"})
        return answer.status == 401 or answer.header("location").startswith("/.crmgate/device")


def until(told: object, *, limit_s: float = 120.0) -> None:
    """Wait for a condition, not for a time."""
    end = time.monotonic() + limit_s
    while not told():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
