"""The console in a real browser: every page in both languages without findings of axe-core, CSP violations or overflow.

Chromium is Debian's package, driven by Playwright; axe-core comes from the lock file in deploy/web. Pictures of every
page are written to screenshots/ so that people can look at them.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from audit.entry import AuditEntry
from gateway.access.giving import Rights
from gateway.access.sessions import AUDIENCE_CONSOLE
from gateway.certificate import ensure_certificate
from gateway.console import vendor
from gateway.console.app import make_console_app
from gateway.console.saved_store import SavedQuestion, SavedStore
from gateway.settings import AccessSettings, Grants
from kms.connections import Pool
from tests.unit.gateway.access.world import Enrolled
from tests.unit.gateway.console.stage import Stage, bundles, destroyed, make_stage, rotation
from tests.unit.gateway.console.test_learn_pages import learnt
from tests.unit.gateway.console.test_review_pages import reviewed

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
AXE = vendor.PACKAGES / "node_modules" / "axe-core" / "axe.min.js"
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PICTURES = Path(__file__).parents[2] / "screenshots"
LANGUAGES = ("en", "zh_Hans")
WIDTHS = {"desk": (1360, 850), "phone": (390, 844)}
PATIENCE_MS = 120_000
# A 404 or 422 we asked for; and a page that is typed into before its field takes the focus.
HARMLESS = ("Failed to load resource", "Autofocus processing was blocked")

pytestmark = pytest.mark.real


@dataclass
class Served:
    """A console on a port, with an administrator who is signed in."""

    stage: Stage
    address: str
    admin: Enrolled
    token: str
    li: Enrolled
    change: str = ""
    troubles: list[str] = field(default_factory=list)

    async def open(self, browser: Browser, width: str, *, dark: bool = False, scripts: bool = True) -> Page:
        """A page of a fresh browser profile in which the administrator is signed in."""
        across, down = WIDTHS[width]
        context: BrowserContext = await browser.new_context(
            ignore_https_errors=True,
            viewport={"width": across, "height": down},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        await context.add_cookies(
            [{"name": "__Host-crmgate-console", "value": self.token, "url": self.address, "secure": True}]
        )
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()

        def said(message: ConsoleMessage) -> None:
            if not message.text.startswith(HARMLESS):
                self.troubles.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda fault: self.troubles.append(str(fault)))
        return page


class RealClock:
    """Now, with the interface of the tests' clock."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)

    def advance(self, **_delta: float) -> datetime:
        return self()


@pytest.fixture(scope="module")
def front_end() -> None:
    """The pinned files are in place; fetched when they are not."""
    if not AXE.exists():
        vendor.fetch(tests_too=True)
    if not all((vendor.STATIC / file.target).exists() for file in vendor.read_manifest()):
        vendor.copy(vendor.PACKAGES / "node_modules")


@pytest.fixture
async def served(pool: Pool, dsn: str, tmp_path: Path, front_end: None) -> AsyncIterator[Served]:
    """The console on https, with people, sessions and a trail to show."""
    two = AccessSettings(grants=Grants.TWO_PEOPLE)
    stage = await make_stage(pool, dsn, tmp_path, RealClock(), settings=two)  # type: ignore[arg-type]
    admin = await stage.enrol("gao.ning", "administrator", "auditor")
    li = await stage.enrol("li.wei", "sales")
    zhou, sun = (await stage.enrol("zhou.min", "manager")).user, (await stage.enrol("sun.yu", "administrator")).user
    await stage.access.users.invite(zhou, "")
    await stage.access.resets.start(li.user, sun.id)
    wish = Rights(("dpo", "manager"), ("dept:north",), "7")
    change = await stage.access.role_changes.ask(li.user, wish, sun.id, "new-duty")
    await stage.console.emergencies.ask(zhou, "administrator", timedelta(hours=1), "system-down")
    await stage.access.sessions.open(li.user, "192.0.2.7", stage.clock())
    token = await stage.access.sessions.open(admin.user, "192.0.2.1", stage.clock(), audience=AUDIENCE_CONSOLE)
    await _fill_trail(stage, li)
    await destroyed(stage, "d-1", "record")
    await learnt(stage)
    await rotation(stage, "rotate-1")
    await bundles(stage)
    await reviewed(stage)
    for owner, shared in ((admin, False), (li, True)):
        name, asked = f"Mail of customer 3 ({owner.user.login})", "?by=customer&what=contact.email&record=3"
        kept = SavedQuestion(f"q-{shared}", owner.user.id, owner.user.login, name, shared, asked, stage.clock())
        await SavedStore(pool).add("t1", kept)
    await stage.keeper.seal("t1")
    assert stage.console.anchors is not None
    assert stage.console.trail_watch is not None
    await stage.console.anchors.round()
    await stage.console.trail_watch.round()
    async with listening(stage, tmp_path / "tls") as port:
        yield Served(stage, f"https://console.localhost:{port}", admin, token, li, change)
    await stage.audit.close()


@asynccontextmanager
async def listening(stage: Stage, folder: Path, port: int = 0) -> AsyncIterator[int]:
    """The console of a stage on https, on this port or a free one; the port. folder: for its certificate."""
    tls = ensure_certificate(folder, ["console.localhost"], stage.clock())
    config = uvicorn.Config(
        make_console_app(stage.console),
        port=port,
        ssl_certfile=str(tls.certificate),
        ssl_keyfile=str(tls.key),
        log_level="error",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not server.started:
            await asyncio.sleep(0.02)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


class Known:
    """People of the trail; the one with the number 3 was erased."""

    @staticmethod
    def name(number: int) -> str:
        return f"ds_{number:022}"

    async def name_of(self, tenant: str, entity: str, record: str) -> str:
        return self.name(int(record))

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        return [record, self.name(int(record))]

    async def told(self, tenant: str, names: Iterable[str]) -> Mapping[str, str]:
        return {name: "" if name == self.name(3) else f"contact/{int(name[3:])}" for name in names}


async def _fill_trail(stage: Stage, person: Enrolled) -> None:
    common = {"at": stage.clock(), "tenant": "t1", "actor": person.user.id, "actor_login": person.user.login}
    for operation, reason in (
        ("party.export", "allowed"),
        ("party.delete", "not-allowed"),
        ("party.export", "allowed"),
    ):
        await stage.audit.append(
            AuditEntry(id="a", kind="outcome", operation=operation, reason=reason, status=200, fields={}, **common)
        )
    stage.trail._people = Known()
    for place in range(12):
        refused = place % 5 == 4
        name = Known.name(place)
        await stage.audit.append(
            AuditEntry(
                id=f"a-{place}",
                kind="decision" if refused else "outcome",
                reason="field-not-searchable" if refused else "allowed",
                status=403 if refused else 200,
                operation="contact.list",
                entity="contact",
                record=name,
                data_subject=name,
                client="192.0.2.7",
                exchange=f"x-{place}",
                fields={"shown": {"contact.email": {name: {"masked": 1}, Known.name(3): {"clear": 1}}}},
                **common,
            )
        )


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without anything that calls home."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield started
        await started.close()


async def findings(page: Page) -> list[str]:
    """What axe-core finds on the page, one line each."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    result = await page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", AXE_TAGS
    )
    return [f"{v['id']}: {node['html'][:160]}" for v in result["violations"] for node in v["nodes"]]


async def overflow(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def pages_of(served: Served) -> dict[str, str]:
    """Name → address of every page there is."""
    user = served.li.user.id
    return {
        "overview": "/",
        "activity": "/activity?pause=1",
        "activity_record": "/activity?pause=1&record=contact/7",
        "activity_empty": "/activity?pause=1&operation=nothing",
        "entry": "/activity/4",
        "trail": "/trail",
        "trail_answers": "/trail?by=customer&what=contact.email&record=3",
        "trail_person": f"/trail?by=person&person={served.li.user.login}",
        "trail_field": "/trail?by=field&what=contact.email&outcome=refused",
        "trail_nobody": "/trail?by=record&what=order&record=1",
        "trail_wrong": "/trail?by=customer&what=contact&record=1&since=yesterday",
        "trail_pack": "/trail/pack?by=customer&what=contact&record=3",
        "trail_saved": "/trail/saved",
        "sessions": "/sessions",
        "users": "/users",
        "user_new": "/users/new",
        "user": f"/users/{user}",
        "user_disable": f"/users/{user}/disable",
        "user_reset": f"/users/{served.admin.user.id}/reset",
        "user_reset_approve": f"/users/{user}/approve-reset",
        "user_reset_withdraw": f"/users/{user}/withdraw-reset",
        "changes": "/changes",
        "change": f"/changes/{served.change}",
        "emergency": "/emergency",
        "roles": "/roles",
        "reviews": "/reviews",
        "reviews_unused": "/reviews?only=unused",
        "review": "/reviews/2",
        "review_closed": "/reviews/1",
        "policy": "/policy",
        "policy_new": "/policy/new",
        "policy_bundle": "/policy/2",
        "policy_wrong": "/policy/3",
        "policy_publish": "/policy/2/publish",
        "policy_simulation": "/policy/2/simulation",
        "policy_rollback": "/policy/1/rollback",
        "policy_explain": "/policy/explain?who=li.wei&what=party.phone",
        "policy_explain_nothing": "/policy/explain?who=nobody&what=party.phone",
        "programs": "/programs",
        "networks": f"/users/{user}/networks",
        "keys": "/keys",
        "learning": "/learning",
        "health": "/health",
        "account": "/.crmgate/account",
        "not_found": "/users/u-nobody",
        "sign_in": "/.crmgate/sign-in?lang=en",
    }


@pytest.mark.parametrize("width", list(WIDTHS))
@pytest.mark.parametrize("language", LANGUAGES)
async def test_no_page_has_findings_violations_or_overflow(served, browser, language, width) -> None:
    PICTURES.mkdir(exist_ok=True)
    page = await served.open(browser, width)
    wrong: list[str] = []
    for name, path in pages_of(served).items():
        address = path.replace("lang=en", f"lang={language}")
        if "lang=" not in address:
            address += ("&" if "?" in address else "?") + f"lang={language}"
        await page.goto(served.address + address)
        await page.screenshot(path=PICTURES / f"console_{name}_{language}_{width}.png", full_page=True)
        wrong += [f"{name}: {finding}" for finding in await findings(page)]
        if await overflow(page) > 0:
            wrong.append(f"{name}: {await overflow(page)} px too wide")
    assert wrong == []
    assert served.troubles == []


@pytest.mark.parametrize("language", LANGUAGES)
async def test_dark_pages_have_enough_contrast(served, browser, language) -> None:
    page = await served.open(browser, "desk", dark=True)
    wrong: list[str] = []
    for name, path in pages_of(served).items():
        await page.goto(served.address + path + ("&" if "?" in path else "?") + f"lang={language}")
        wrong += [f"{name}: {finding}" for finding in await findings(page)]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_person_signs_in_is_refused_and_tries_again(served, browser, language) -> None:
    context = await browser.new_context(ignore_https_errors=True, viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    await page.goto(f"{served.address}/users?lang={language}")
    await page.goto(f"{served.address}/.crmgate/sign-in?next=/users&lang={language}")
    await page.fill("#login", "gao.ning")
    await page.fill("#password", "wrong")
    await page.click("main button[type=submit]")
    await page.wait_for_selector("#problem")
    await page.wait_for_function("document.activeElement.id === 'problem'")
    assert await findings(page) == []
    await page.fill("#password", served.admin.password)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/.crmgate/sign-in/code")
    assert await findings(page) == []
    secret = served.admin.secret
    import pyotp

    await page.fill("#code", pyotp.TOTP(secret).now())
    await page.click("main button[type=submit]")
    await page.wait_for_url(f"{served.address}/users")
    await page.screenshot(path=PICTURES / f"console_signed_in_{language}_phone.png")
    await context.close()


@pytest.mark.parametrize("width", list(WIDTHS))
@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_trail_is_asked_in_sql_and_a_long_statement_is_stopped(served, browser, language, width) -> None:
    auditor = (await served.stage.enrol("au.dit", "auditor")).user
    sessions = served.stage.access.sessions
    token = await sessions.open(auditor, "192.0.2.1", served.stage.clock(), audience=AUDIENCE_CONSOLE)
    page = await replace(served, token=token).open(browser, width)
    wrong: list[str] = []
    steps = {
        "rows": "SELECT index, at, kind, actor_login, operation, record, reason, status FROM event ORDER BY index",
        "bars": "SELECT operation, count(*) AS entries FROM event GROUP BY 1 ORDER BY 2 DESC",
        "refused": "SELECT actor_login, secret FROM event",
        "person": "SELECT index FROM event WHERE record = person('17')",
        "running": "SELECT count(*) FROM event a, event b, event c, event d, event e, event f, event g"
        " WHERE a.at > g.at",
    }
    for name, statement in steps.items():
        await page.goto(f"{served.address}/query?lang={language}")
        await page.fill("#statement", statement)
        await page.focus("main form.card button[type=submit]")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/query/q*")
        # The page follows by itself; a table, bars, a sentence or a button to stop it come in.
        ready = {
            "rows": "table.dense",
            "bars": ".row-bars",
            "refused": ".problem",
            "person": ".problem",
            "running": "progress[value]",
        }[name]
        await page.wait_for_selector(f"#result {ready}")
        await page.screenshot(path=PICTURES / f"console_query_{name}_{language}_{width}.png", full_page=True)
        wrong += [f"{name}: {finding}" for finding in await findings(page)]
        assert await overflow(page) <= 0, name
    await page.click("#result button[type=submit]")
    await page.wait_for_selector("#result .notice")
    await page.screenshot(path=PICTURES / f"console_query_stopped_{language}_{width}.png", full_page=True)
    wrong += await findings(page)
    assert wrong == []
    assert served.troubles == []


async def test_an_invitation_is_set_up_in_the_browser(served, browser) -> None:
    page = await served.open(browser, "desk")
    await page.goto(f"{served.address}/users/new")
    await page.fill("#login", "chen.jing")
    await page.fill("#display_name", "Chen Jing · 陈静")
    await page.check("input[name=roles][value=auditor]")
    await page.select_option("#reason", "new-person")
    await page.click("main form.card button[type=submit]")
    await page.wait_for_selector("#address")
    assert await findings(page) == []
    await page.screenshot(path=PICTURES / "console_invited_en_desk.png", full_page=True)
    link = await page.input_value("#address")
    token = link.split("token=")[1]
    person = await (await browser.new_context(ignore_https_errors=True)).new_page()
    await person.goto(f"{served.address}/.crmgate/set-up?token={token}")
    assert "token" not in person.url
    assert await findings(person) == []
    assert await person.evaluate("document.querySelector('.qr').naturalWidth") > 100
    await person.screenshot(path=PICTURES / "console_set_up_en_desk.png", full_page=True)


async def test_the_live_view_shows_what_happens_without_being_asked(served, browser) -> None:
    page = await served.open(browser, "desk")
    await page.goto(f"{served.address}/activity")
    assert await findings(page) == []
    entry = AuditEntry(
        id="a-new", at=served.stage.clock(), tenant="t1", kind="outcome", operation="contact.just_now",
        reason="allowed", status=200, fields={},
    )  # fmt: skip
    await served.stage.audit.append(entry)
    await page.wait_for_selector("text=contact.just_now")
    await page.click("text=Pause")
    await page.wait_for_url("**/activity?pause=1")
    assert served.troubles == []


async def test_everything_works_without_scripts(served, browser) -> None:
    page = await served.open(browser, "desk", scripts=False)
    await page.goto(f"{served.address}/users/{served.li.user.id}/disable")
    await page.select_option("#cause", "left-company")
    await page.click("main form.card button[type=submit]")
    await page.wait_for_url("**/users?notice=user-disabled")
    await page.goto(f"{served.address}/activity?outcome=refused")
    assert await page.locator("tbody tr").count() == 3


async def test_hostile_names_execute_nothing(served, browser) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"> {{1234567*7}} '\""
    user = served.li.user
    from gateway.access.users import Profile

    await served.stage.access.users.change(user, Profile(display_name=hostile, roles=("sales",)))
    page = await served.open(browser, "desk")
    for path in ("/users", "/sessions", f"/users/{user.id}"):
        await page.goto(served.address + path)
        assert await page.title() != "owned"
        assert "8641969" not in (await page.text_content("main") or "")
    assert served.troubles == []


def test_the_browser_is_there() -> None:
    """Installed by the test command; missing is a failure, not a skip."""
    assert os.access(CHROMIUM, os.X_OK)
