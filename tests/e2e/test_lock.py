"""Lock, unlock and step-up in a real Chromium with a virtual authenticator, before a real gateway and a plain upstream.

Pictures of every page are written to screenshots/ so that people can look at them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pyotp
import pytest
from playwright.async_api import Browser, Page

from gateway.demo.browser import Answer
from gateway.demo.browser import Browser as Script
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Member, Stack, installed
from tests.e2e.database import sql
from tests.e2e.test_console_pages import PATIENCE_MS, PICTURES, WIDTHS, browser, findings, front_end, overflow
from tests.e2e.test_passkeys import with_authenticator
from tests.e2e.visitors import join, sign_in
from tests.real.plain import PROFILE, Plain, plain

__all__ = ["browser", "front_end"]
pytestmark = pytest.mark.real
COOKIE = "__Host-crmgate"
DESK = "/page?list=2&q=a%20b"  # a page of the CRM somebody stands on
EXPORT = "/data?rows=all"
OF_THE_CRM = ("/page", "/data", "/y", "/landing")
EXPORTS = "  - {id: page.export, entity: page, action: export, methods: [GET], paths: [/data]}\n"
ROW = "p, sales, *, op:proof.page.export, export, any\n"
LOCALES = {"en": "en-US", "zh": "zh-CN"}
WORDS = {
    "en": ("Your session is locked", "did not reach the CRM", "The code is not right", "Show that it is you"),
    "zh": ("会话已锁定", "未送达 CRM", "验证码不正确", "验证"),
}


@dataclass
class Behind:
    """The installation with its upstream."""

    stack: Stack
    upstream: Plain

    def asked(self) -> int:
        """How often the CRM was asked for anything of its own."""
        return sum(self.upstream.times(path) for path in OF_THE_CRM)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, front_end: None) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("lock")
    profile, policy = folder / "plain.yaml", folder / "policy.csv"
    head, mark, reads = PROFILE.read_text(encoding="utf-8").partition("  - {id: page.read")
    assert mark
    profile.write_text(head + EXPORTS + mark + reads, encoding="utf-8")
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + ROW, encoding="utf-8")
    with contextlib.ExitStack() as held:
        upstream = held.enter_context(plain())
        upstream.crm.name = str(profile)
        settings = f'[tenant.main]\npolicy = "{policy}"\n'
        yield Behind(held.enter_context(installed(upstream, settings, members={})), upstream)  # type: ignore[arg-type]


@dataclass
class Desk:
    """A person at a browser in one language and width, signed in."""

    behind: Behind
    member: Member
    script: Script
    page: Page
    name: str
    troubles: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The CRM's public address."""
        return self.behind.stack.home.crm_url

    async def look(self, name: str) -> None:
        """Keep a picture; note findings of axe-core and what is too wide."""
        await self.page.screenshot(path=PICTURES / f"lock_{name}_{self.name}.png", full_page=True)
        self.troubles += [f"{name}: {finding}" for finding in await findings(self.page)]
        if (pixels := await overflow(self.page)) > 0:
            self.troubles.append(f"{name}: {pixels} px too wide")

    async def open(self, path: str) -> None:
        """Go to a path of this host."""
        await self.page.goto(self.base + path)

    async def at(self, path: str) -> None:
        """Wait until the browser stands on a path of this host."""
        await self.page.wait_for_url(self.base + path)

    def code(self) -> str:
        """The code the app shows now, as if no other had been used."""
        used = "UPDATE app_user SET last_totp_step = 0 WHERE login = %s RETURNING id"
        assert len(sql(self.behind.stack.settings, used, self.member.login)) == 1
        return pyotp.TOTP(self.member.secret).now()

    def stale(self) -> None:
        """As if the last proof in this person's sessions had been an hour ago, told as another node would."""
        old = (
            "WITH old AS (UPDATE app_session s SET proved_at = s.proved_at - interval '1 hour' FROM app_user u"
            " WHERE u.id = s.user_id AND u.login = %s RETURNING s.id)"
            " SELECT pg_notify('crmgate_sessions', id) FROM old"
        )
        assert sql(self.behind.stack.settings, old, self.member.login)

    async def cookie(self) -> str:
        """The session's cookie."""
        return next(one["value"] for one in await self.page.context.cookies() if one["name"] == COOKIE)

    async def call(self, path: str, method: str = "GET", token: str = "") -> Answer:
        """The same session, or one of this token, used by a script of the CRM."""
        headers = {"accept": "application/json", "origin": self.base, "sec-fetch-dest": "empty"}
        self.script.cookies = {COOKIE: token or await self.cookie()}
        return await asyncio.to_thread(self.script.send, method, path, headers=headers)

    async def refused(self, path: str, reason: str, method: str = "GET", token: str = "") -> None:
        """A script is told 401 and why, and nothing of the CRM."""
        answer = await self.call(path, method, token)
        assert (answer.status, answer.json()["reason"]) == (401, reason)
        assert answer.header("content-type") == "application/problem+json"
        assert "escaped" not in answer.text

    async def type_code(self, code: str) -> None:
        """Send the form for codes."""
        await self.page.fill("#code", code)
        await self.page.click("form[action$='/code'] button[type=submit]")

    async def lock(self) -> None:
        """Lock in another tab, as somebody does who leaves."""
        other = await self.page.context.new_page()
        await other.goto(f"{self.base}/.crmgate/lock")
        await other.click("form[action='/.crmgate/lock'] button[type=submit]")
        await other.wait_for_selector("#code")
        await other.close()


@contextlib.asynccontextmanager
async def seated(
    behind: Behind, browser: Browser, language: str, width: str, role: str = "sales"
) -> AsyncIterator[Desk]:
    across, down = WIDTHS[width]
    PICTURES.mkdir(exist_ok=True)
    context = await browser.new_context(
        ignore_https_errors=True, locale=LOCALES[language], viewport={"width": across, "height": down}
    )
    context.set_default_timeout(PATIENCE_MS)
    member = await asyncio.to_thread(join, behind.stack, role)
    script = await asyncio.to_thread(sign_in, behind.stack, member)
    cookie = {"name": COOKIE, "value": script.cookies[COOKIE], "url": script.base, "secure": True}
    await context.add_cookies([cookie])  # type: ignore[list-item]
    desk = Desk(behind, member, script, await context.new_page(), f"{language}_{width}")
    desk.page.on("pageerror", lambda fault: desk.troubles.append(str(fault)))
    yield desk
    script.close()
    await context.close()
    assert desk.troubles == []


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh", "phone")])
async def test_a_locked_session_shows_nothing_until_its_person_is_back(behind, browser, language, width) -> None:
    title, not_sent, wrong_code, _ = WORDS[language]
    async with seated(behind, browser, language, width) as desk:
        page = desk.page
        await with_authenticator(page)
        await desk.open("/.crmgate/account/passkeys/new")
        await page.fill("#current", desk.member.password)
        await page.fill("#code", desk.code())
        await page.click("main form.card button[type=submit]")
        await page.wait_for_selector("form[data-passkey=create]:not([hidden])")
        await page.fill("#name", "phone")
        await page.click("form[data-passkey] button[type=submit]")
        await page.wait_for_url("**/.crmgate/account?notice=passkey-added")

        await desk.open("/.crmgate/lock")
        await desk.look("offer")
        await desk.open(DESK)
        await desk.lock()
        before, old = behind.asked(), await desk.cookie()

        # What is typed on the page that still stands there goes nowhere, and the page says so.
        await page.evaluate("document.forms[0].method = 'post'; document.forms[0].submit()")
        await page.wait_for_selector("a.main")
        assert not_sent in await page.inner_text("main")
        await desk.look("not_sent")
        await desk.refused("/data", "session-locked")
        await desk.refused("/landing", "session-locked", "POST")
        await page.click("a.main")

        # The lock page, wrong and right code.
        await page.wait_for_selector("#code")
        assert title in await page.inner_text("h1")
        await desk.look("locked")
        await desk.type_code("000000" if desk.code() != "000000" else "111111")
        await page.wait_for_selector("#problem")
        assert wrong_code in await page.inner_text("#problem")
        await desk.look("wrong_code")
        await desk.refused("/data", "session-locked")
        for each in ("zh" if language == "en" else "en", language):  # the other language and back, still on the way
            await page.click("footer nav a")
            await page.wait_for_selector(f"html[lang^={each}]")
            assert WORDS[each][0] in await page.inner_text("h1")
        assert behind.asked() == before
        await desk.type_code(desk.code())
        await desk.at(DESK)
        assert await page.inner_text("a") == "x"
        assert behind.asked() == before + 1
        assert await desk.cookie() != old
        await desk.refused("/data", "sign-in-required", token=old)
        assert (await desk.call("/page")).status == 200

        # Once more with a passkey, from a page that was only looked at.
        await desk.lock()
        before, old = behind.asked(), await desk.cookie()
        await desk.open(DESK)
        assert urlsplit(page.url).path == "/.crmgate/lock"
        assert behind.asked() == before
        await page.click("form[data-passkey=get]:not([hidden]) button")
        await desk.at(DESK)
        assert await desk.cookie() != old
        await desk.refused("/data", "sign-in-required", token=old)


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh", "phone")])
async def test_an_export_waits_for_a_fresh_proof_where_the_policy_says_so(behind, browser, language, width) -> None:
    async with seated(behind, browser, language, width) as desk:
        assert (await desk.call(EXPORT)).status == 200  # both factors were proved a moment ago
        desk.stale()
        await _until_stale(desk)
        before, old = behind.upstream.times("/data"), await desk.cookie()
        await desk.refused(EXPORT, "step-up-needed")
        assert (await desk.call("/page")).status == 200  # reading goes on
        await desk.open(EXPORT)
        assert urlsplit(desk.page.url).path == "/.crmgate/step-up"
        assert WORDS[language][3] in await desk.page.inner_text("h1")
        await desk.look("step_up")
        await desk.type_code("000000" if desk.code() != "000000" else "111111")
        await desk.page.wait_for_selector("#problem")
        assert WORDS[language][2] in await desk.page.inner_text("#problem")
        await desk.look("step_up_wrong_code")
        await desk.refused(EXPORT, "step-up-needed")
        assert behind.upstream.times("/data") == before
        await desk.type_code(desk.code())
        await desk.at(EXPORT)
        assert "escaped" in await desk.page.content()
        assert behind.upstream.times("/data") == before + 1
        assert await desk.cookie() != old
        assert (await desk.call(EXPORT)).status == 200


async def _until_stale(desk: Desk) -> None:
    """Sessions are believed for a second at most; wait for the state, not for the time."""
    for _ in range(1200):
        if (await desk.call(EXPORT)).status == 401:
            return
        await desk.page.wait_for_timeout(50)
    pytest.fail("the gateway never learnt that the proof is old")


async def test_without_the_row_an_export_asks_nothing(behind, browser) -> None:
    async with seated(behind, browser, "en", "desk", "manager") as desk:
        desk.stale()  # before the session was ever used: nothing of it is believed from before
        assert (await desk.call(EXPORT)).status == 200
