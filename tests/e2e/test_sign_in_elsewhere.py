"""Signing in through a real OpenID provider (npm oidc-provider) and `crmgate serve`, on both hosts and in Chromium."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import ConsoleMessage, Page

from gateway.demo.browser import Answer, Browser
from gateway.demo.children import free_port
from tests.drills.stack import Member, Stack, installed
from tests.e2e.database import sql
from tests.e2e.tenants import Door
from tests.e2e.test_console_pages import PATIENCE_MS, PICTURES, WIDTHS, browser, findings, front_end, overflow
from tests.real.openid_provider import RealProvider, openid_provider, path_of
from tests.real.plain import plain

__all__ = ["browser", "front_end"]
pytestmark = pytest.mark.real

SECRET = "a secret of the client, of the tests only"
START, BACK = "/.crmgate/sign-in/with/corp", "/.crmgate/sign-in/with/corp/back"
CODE, ACCOUNT = "/.crmgate/sign-in/code", "/.crmgate/account"
LINK = f"{ACCOUNT}/elsewhere/corp"
SETTINGS = """
[[sign_in.provider]]
name = "corp"
label = "Company account"
label_zh = "公司账户"
issuer = "http://127.0.0.1:{provider}"
client_id = "crmgate"
client_secret_file = "{secret}"
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    secret = tmp_path_factory.mktemp("secret") / "client"
    secret.write_text(SECRET)
    port = free_port()
    extra = SETTINGS.replace("{provider}", str(port)).replace("{secret}", str(secret))
    with plain() as upstream, installed(upstream, extra, {}) as made:  # type: ignore[arg-type]
        yield made


@pytest.fixture(scope="module")
def provider(stack: Stack) -> Iterator[RealProvider]:
    (settings,) = stack.settings.sign_in.providers
    hosts = (stack.home.crm_url, stack.home.console_url)
    client: dict[str, object] = {
        "client_id": "crmgate",
        "client_secret": SECRET,
        "redirect_uris": [f"{host}{BACK}" for host in hosts],
        "response_types": ["code"],
        "grant_types": ["authorization_code"],
        "backchannel_logout_uri": f"{hosts[0]}/.crmgate/api/sign-in/with/corp/ended",
        "backchannel_logout_session_required": True,
    }
    port = urlsplit(settings.issuer).port
    assert port is not None
    with openid_provider(port, [client], stack.home.authority) as made:
        yield made


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[Door]:
    made = Door(stack, "main", stack.home.crm_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def console(stack: Stack) -> Iterator[Door]:
    made = Door(stack, "main", stack.home.console_url)
    yield made
    made.close()


def join(door: Door, role: str = "sales") -> Member:
    """Somebody with an account here that is linked to an account of the same made-up id there."""
    member = door.join(role)
    door.command("user", "link", member.login, "--provider", "corp", "--subject", there(member))
    return member


def there(member: Member) -> str:
    """The stable id of this person at the provider; not the login here."""
    return f"p-{member.login}"


class Trip:
    """One browser on its way to the provider and back."""

    def __init__(self, door: Door, provider: RealProvider, address: str = START) -> None:
        self.provider = provider
        self.browser, self.elsewhere = door.browser(), provider.browser()
        self.sent = self.browser.get(address, follow=False).expect(303).header("location")

    def vouched(self, who: str) -> str:
        """The address the provider sends back to, as a path of the gateway."""
        return path_of(self.provider.vouch(self.elsewhere, self.sent, who))

    def arrive(self, who: str) -> Answer:
        """Back at the gateway; what it answers, not followed."""
        return self.browser.get(self.vouched(who), follow=False)


def finish(trip: Trip, member: Member) -> Answer:
    """The code of the app."""
    about = {"origin": trip.browser.base}
    return trip.browser.post(CODE, {"code": member.code()}, follow=False, headers=about)


def changed(path: str, **other: str) -> str:
    """The same answer with some parameters replaced."""
    parts = urlsplit(path)
    return f"{parts.path}?{urlencode(dict(parse_qsl(parts.query)) | other)}"


def password_works(door: Door, member: Member) -> None:
    """The first step with the password goes on to the code."""
    visitor = door.browser()
    typed = {"login": member.login, "password": member.password}
    answer = visitor.post("/.crmgate/sign-in", typed, follow=False, headers={"origin": visitor.base})
    assert (answer.status, answer.header("location")) == (303, CODE)


@pytest.mark.parametrize("host", ["door", "console"])
def test_a_person_comes_in_by_the_provider_and_the_code(request, stack, provider, host) -> None:
    here: Door = request.getfixturevalue(host)
    member = join(here, "administrator")
    trip = Trip(here, provider)
    answer = trip.arrive(there(member))
    assert (answer.status, answer.header("location")) == (303, CODE)
    assert trip.browser.get(ACCOUNT, follow=False).status == 303
    done = finish(trip, member)
    assert (done.status, done.header("location")) == (303, "/")
    assert member.login in trip.browser.get(ACCOUNT).expect(200).text


def test_an_identity_nobody_linked_is_told_what_to_do(door, provider) -> None:
    member = join(door)
    for who in (member.login, "shared@example.org", there(member).upper()):
        trip = Trip(door, provider)
        answer = trip.arrive(who)
        assert answer.header("location").startswith("/.crmgate/sign-in?notice=not-linked")
        page = trip.browser.get(answer.header("location")).expect(200)
        assert "ask your administrator" in page.text


def test_a_closed_account_is_told_the_same(door, provider) -> None:
    member = join(door)
    door.command("user", "disable", member.login)
    assert (
        Trip(door, provider).arrive(there(member)).header("location").startswith("/.crmgate/sign-in?notice=not-linked")
    )


def test_state_issuer_and_code_of_another_trip_open_nothing(door, provider) -> None:
    member = join(door)
    first, second = Trip(door, provider), Trip(door, provider)
    a, b = first.vouched(there(member)), second.vouched(there(member))
    code = dict(parse_qsl(urlsplit(a).query))["code"]
    for visitor, path in (
        (second.browser, a),  # another browser's answer
        (second.browser, changed(b, state="x" * 43)),
        (door.browser(), b),  # no trip at all
        (second.browser, changed(b, code=code)),  # another trip's code, under one's own state
    ):
        answer = visitor.get(path, follow=False)
        assert answer.header("location").startswith("/.crmgate/sign-in?notice=")
        assert ACCOUNT not in answer.header("location")
    third = Trip(door, provider)
    mixed = changed(third.vouched(there(member)), iss="https://other.example.org")
    answer = third.browser.get(mixed, follow=False)
    assert answer.header("location") == "/.crmgate/sign-in?notice=elsewhere-refused"


def test_an_answer_opens_one_sign_in_also_in_parallel(door, provider) -> None:
    member = join(door)
    trip = Trip(door, provider)
    path = trip.vouched(there(member))
    cookies = dict(trip.browser.cookies)

    def again(_: int) -> str:
        visitor = Browser(door.base, door.stack.home.authority, cookies=dict(cookies))
        try:
            return visitor.get(path, follow=False).header("location")
        finally:
            visitor.close()

    with ThreadPoolExecutor(10) as pool:
        places = list(pool.map(again, range(10)))
    assert places.count(CODE) == 1
    assert again(0) == "/.crmgate/sign-in?notice=expired"


def test_a_logout_there_ends_the_session_here(door, provider) -> None:
    member = join(door)
    trip = Trip(door, provider)
    trip.arrive(there(member))
    finish(trip, member).expect(303)
    trip.browser.get(ACCOUNT, follow=False).expect(200)
    own = door.sign_in(member)
    provider.sign_out(trip.elsewhere)
    assert trip.browser.get(ACCOUNT, follow=False).status == 303
    own.get(ACCOUNT, follow=False).expect(200)
    told = sql(door.stack.settings, "SELECT ended_reason FROM app_session WHERE link_subject = %s", there(member))
    assert told == [("elsewhere-ended",)]


def test_nothing_of_the_provider_is_in_log_or_trail(door, provider, stack) -> None:
    member = join(door)
    trip = Trip(door, provider)
    path = trip.vouched(there(member))
    trip.browser.get(path, follow=False)
    code = dict(parse_qsl(urlsplit(path).query))["code"]
    log = stack.gateway.log.read_text(encoding="utf-8", errors="replace")
    found = "SELECT count(*) FROM audit_entry WHERE position(convert_to(%s, 'UTF8') IN body) > 0"
    assert sql(stack.settings, found, member.login) != [(0,)]  # what is looked for would be found
    for value in (code, there(member), "shared@example.org", SECRET):
        assert value not in log
        assert sql(stack.settings, found, value) == [(0,)]


def test_a_provider_that_is_away_costs_nobody_the_password(door, provider, stack) -> None:
    """Last of those that need it: the provider is stopped, and started again."""
    member = join(door)
    trip = Trip(door, provider)
    path = trip.vouched(there(member))
    os.killpg(provider.child.process.pid, signal.SIGSTOP)  # it takes connections and says nothing
    try:
        answer = trip.browser.get(path, follow=False)
        assert answer.header("location") == "/.crmgate/sign-in?notice=elsewhere-down"
        for language, words in (("en", "cannot be reached"), ("zh_Hans", "无法连接")):
            assert words in trip.browser.get(f"{answer.header('location')}&lang={language}").text
        password_works(door, member)
    finally:
        os.killpg(provider.child.process.pid, signal.SIGCONT)
    again = Trip(door, provider)
    assert again.arrive(there(member)).header("location") == CODE


async def code_of(member: Member) -> str:
    """A code that was not used yet."""
    return await asyncio.to_thread(member.code)


async def sign_in_there(page: Page, who: str) -> None:
    """The provider's own page."""
    await page.fill("input[name=login]", who)
    await page.fill("input[name=password]", "any")
    await page.click("button[type=submit]")


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh_Hans", "phone")])
async def test_a_person_links_an_identity_in_chromium_and_comes_in_by_it(
    door, provider, browser: Chromium, front_end, language, width
) -> None:
    member = await asyncio.to_thread(door.join, "sales")
    across, down = WIDTHS[width]
    context = await browser.new_context(ignore_https_errors=True, viewport={"width": across, "height": down})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    troubles: list[str] = []

    def said(message: ConsoleMessage) -> None:
        ours = message.location.get("url", "").startswith(door.base)  # not the provider's own pages
        # A page that is fast enough to be typed into before its field takes the focus is no trouble.
        if ours and not message.text.startswith(("Failed to load", "Autofocus processing was blocked")):
            troubles.append(message.text)

    page.on("console", said)
    page.on("pageerror", lambda fault: troubles.append(str(fault)))
    PICTURES.mkdir(exist_ok=True)

    async def look(name: str) -> None:
        assert urlsplit(page.url).netloc == urlsplit(door.base).netloc, name
        await page.screenshot(path=PICTURES / f"elsewhere_{name}_{language}_{width}.png", full_page=True)
        troubles.extend(f"{name}: {finding}" for finding in await findings(page))
        if await overflow(page) > 0:
            troubles.append(f"{name}: {await overflow(page)} px too wide")

    # Nobody has this identity yet.
    await page.goto(f"{door.base}/.crmgate/sign-in?lang={language}")
    await look("sign_in")
    await page.locator(f"a[href^='{START}']").focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{provider.issuer}/**")
    await sign_in_there(page, there(member))
    await page.wait_for_url("**/.crmgate/sign-in?notice=not-linked**")
    await look("not_linked")

    # With the password, and then the link.
    await page.fill("#login", member.login)
    await page.fill("#password", member.password)
    await page.click("main form button[type=submit]")
    await page.fill("#code", await code_of(member))
    await page.click("main button[type=submit]")
    await page.wait_for_url(f"{door.base}/")
    await page.goto(door.base + ACCOUNT)
    await look("account")
    await page.click(f"a[href='{LINK}']")
    await look("proof")
    await page.fill("#current", member.password)
    await page.fill("#code", await code_of(member))
    await page.click("main form.card button[type=submit]")
    await page.wait_for_url(f"**{LINK}")
    await look("go")
    await page.click("main a[role=button]")
    await page.wait_for_url("**/.crmgate/account?notice=elsewhere-linked")
    await look("linked")

    # And in by it.
    await context.clear_cookies(domain=urlsplit(door.base).hostname)
    await page.goto(f"{door.base}/.crmgate/sign-in?lang={language}&next={ACCOUNT}")
    await page.click(f"a[href^='{START}']")
    await page.wait_for_url(f"**{CODE}")
    await look("code")
    await page.fill("#code", await code_of(member))
    await page.click("main button[type=submit]")
    await page.wait_for_url(f"**{ACCOUNT}")
    await page.click(f"a[href='{LINK}/remove']")
    await look("remove")
    await context.close()
    assert troubles == []
