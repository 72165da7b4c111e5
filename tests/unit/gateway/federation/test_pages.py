"""Signing in through a provider as a browser meets it, with a provider made for the test behind it, right and wrong."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from psycopg_pool import AsyncConnectionPool

from gateway.access.app import make_sign_in_app
from gateway.access.deps import Door
from gateway.access.elsewhere import Elsewhere
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM
from gateway.composition_federation import Federation
from gateway.console.app import make_console_app
from gateway.federation.config import Host, ProviderSettings, SecondFactor
from gateway.federation.deps import Entrance
from gateway.federation.fetch import Fetcher
from gateway.federation.openid import OpenIdProvider
from gateway.federation.pages import federation_routes
from gateway.federation.store import TRIPS_MOST, FederationStore
from tests.unit.gateway.access.world import Clock, Enrolled
from tests.unit.gateway.console.stage import CONSOLE_HOST, CRM_HOST, Browser, Stage, make_stage
from tests.unit.gateway.federation.made_provider import CLIENT, MadeProvider, hang

START, BACK = "/.crmgate/sign-in/with/corp", "/.crmgate/sign-in/with/corp/back"
CODE, ACCOUNT = "/.crmgate/sign-in/code", "/.crmgate/account"
LINK, ENDED = "/.crmgate/account/elsewhere/corp", "/.crmgate/api/sign-in/with/corp/ended"
SUBJECT = "person-0b6f2e"


class Scene:
    """The stage with one provider: browsers at both hosts, and trips to the provider."""

    def __init__(self, stage: Stage, made: MadeProvider, settings: ProviderSettings, tenants=("t1",)) -> None:
        self.stage, self.made = stage, made
        provider = OpenIdProvider(settings, "a secret", Fetcher(settings.timeout_s), stage.clock)
        door = Door("corp", made.issuer, "Company account", "公司账户")
        entrance = Entrance(door, provider, tuple(tenants))
        self.federation = Federation(
            stage.access.links, FederationStore(stage.pool), {"corp": (entrance, settings.hosts)}
        )

    def browser(self, audience: str = AUDIENCE_CRM, client: str = "192.0.2.7") -> Browser:
        federation = self.federation
        if audience == AUDIENCE_CRM:
            crm = federation.known_to(self.stage.crm, Host.CRM)
            return Browser(
                make_sign_in_app(crm, federation_routes(federation.deps(crm, Host.CRM))), CRM_HOST, client=client
            )
        console = replace(self.stage.console, access=federation.known_to(self.stage.console.access, Host.CONSOLE))
        routes = federation_routes(federation.deps(console.access, Host.CONSOLE))
        return Browser(make_console_app(console, routes), CONSOLE_HOST, client=client)

    async def leave(self, browser: Browser, address: str = START) -> dict[str, str]:
        """Begin a trip; what the provider is told."""
        answer = await browser.get(address)
        assert answer.status == 303, answer.text
        return self.asked(answer.header("location"))

    def asked(self, address: str) -> dict[str, str]:
        assert address.startswith(f"{self.made.issuer}/authorize?"), address
        return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}

    def vouch(self, asked: dict[str, str], subject: str = SUBJECT, **claims: object) -> None:
        """The provider answers a code with a token about somebody."""
        at = self.stage.clock().timestamp()
        said = self.made.claims(asked["nonce"], at, **{"sub": subject, "sid": "s-1", **claims})
        self.made.answers["/token"] = (200, {"id_token": self.made.sign(said)})

    def answer(self, asked: dict[str, str], code: str = "c-1", **other: str) -> str:
        told = {"code": code, "state": asked["state"], "iss": self.made.issuer, **other}
        return BACK + "?" + "&".join(f"{name}={value}" for name, value in told.items() if value)

    async def arrive(self, browser: Browser, subject: str = SUBJECT, address: str = START, **claims: object):
        """A whole trip; the answer to the browser that comes back."""
        asked = await self.leave(browser, address)
        self.vouch(asked, subject, **claims)
        return await browser.get(self.answer(asked))

    async def told(self) -> list[tuple[str, str]]:
        return [(login, reason) for login, reason, _ in await self.stage.reasons()]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stage(pool: AsyncConnectionPool, dsn: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Stage]:
    stage = await make_stage(pool, dsn, tmp_path, clock)
    yield stage
    await stage.audit.close()


def settings_of(made: MadeProvider, **other: object) -> ProviderSettings:
    given = {"timeout_s": 20.0, **other}
    return ProviderSettings(name="corp", label="Corp", client_id=CLIENT, issuer=made.issuer, **given)  # type: ignore


@pytest.fixture
def scene(stage: Stage, made: MadeProvider) -> Scene:
    return Scene(stage, made, settings_of(made))


@pytest.fixture
async def li(stage: Stage, made: MadeProvider) -> Enrolled:
    """Li Wei, linked."""
    person = await stage.enrol("li.wei", "sales", "administrator")
    await stage.access.links.add("t1", person.user.id, Elsewhere(made.issuer, SUBJECT), stage.clock())
    return person


def session_of(browser: Browser) -> str:
    return browser.jar.get("__Host-crmgate", "") or browser.jar.get("__Host-crmgate-console", "")


@pytest.mark.parametrize("audience", [AUDIENCE_CRM, AUDIENCE_CONSOLE])
async def test_a_person_comes_in_by_the_provider_and_the_code(scene, li, audience) -> None:
    browser = scene.browser(audience)
    page = await browser.get("/.crmgate/sign-in?next=/contacts")
    assert "Continue with Company account" in page.text
    assert f'href="{START}?next=/contacts"' in page.text
    assert "使用公司账户继续" in (await browser.get("/.crmgate/sign-in?lang=zh_Hans")).text
    back = await scene.arrive(browser, address=f"{START}?next=/contacts")
    assert (back.status, back.header("location")) == (303, CODE)
    assert not session_of(browser)
    done = await browser.post(CODE, {"code": scene.stage.access.code(li.secret)})
    assert (done.status, done.header("location")) == (303, "/contacts")
    assert (await browser.get(ACCOUNT)).status == 200
    assert (await scene.told())[-2:] == [("li.wei", "elsewhere-accepted"), ("li.wei", "signed-in")]


async def test_the_cookies_of_a_trip_are_bound_to_the_host(scene, li) -> None:
    answer = await scene.browser().get(START)
    (cookie,) = answer.cookies.values()
    assert cookie.startswith("__Host-crmgate-elsewhere=")
    for part in ("HttpOnly", "Path=/", "SameSite=lax", "Secure"):
        assert part in cookie
    assert "Domain" not in cookie


async def test_a_wrong_code_after_the_providers_word_opens_nothing(scene, li) -> None:
    browser = scene.browser()
    await scene.arrive(browser)
    assert (await browser.post(CODE, {"code": "000000"})).status == 401
    assert not session_of(browser)


@pytest.mark.parametrize("state", ["", "x", "s" * 43, "ä", "state&state=y"])
async def test_an_answer_with_another_state_opens_nothing_and_the_real_one_still_counts(scene, li, state) -> None:
    browser = scene.browser()
    asked = await scene.leave(browser)
    scene.vouch(asked)
    refused = await browser.get(scene.answer(asked, state=state))
    assert refused.header("location").startswith("/.crmgate/sign-in?notice=elsewhere-refused")
    assert CODE not in refused.header("location")
    assert scene.made.count("/token") == 0


async def test_the_trip_outlives_somebody_elses_answer(scene, li) -> None:
    browser = scene.browser()
    asked = await scene.leave(browser)
    scene.vouch(asked)
    await browser.get(scene.answer(asked, state="of-an-attacker"))
    assert (await browser.get(scene.answer(asked))).header("location") == CODE


async def test_an_answer_in_another_browser_opens_nothing(scene, li) -> None:
    """Login CSRF: an attacker's answer in a victim's browser, with and without a trip of its own."""
    attacker, victim = scene.browser(), scene.browser()
    asked = await scene.leave(attacker)
    scene.vouch(asked)
    await scene.leave(victim)
    for browser in (victim, scene.browser()):
        answer = await browser.get(scene.answer(asked))
        assert answer.header("location").startswith("/.crmgate/sign-in?notice=")
        assert not session_of(browser)
    assert scene.made.count("/token") == 0


async def test_an_answer_counts_once_also_in_parallel(scene, li) -> None:
    browser = scene.browser()
    asked = await scene.leave(browser)
    scene.vouch(asked)
    kept = dict(browser.jar)

    async def again() -> str:
        other = scene.browser()
        other.jar = dict(kept)
        return (await other.get(scene.answer(asked))).header("location")

    places = await asyncio.gather(*(again() for _ in range(10)))
    assert places.count(CODE) == 1
    assert scene.made.count("/token") == 1
    assert (await again()) == "/.crmgate/sign-in?notice=expired"


async def test_a_trip_that_took_too_long_opens_nothing(scene, li) -> None:
    browser = scene.browser()
    asked = await scene.leave(browser)
    scene.stage.clock.advance(minutes=10, seconds=1)
    scene.vouch(asked)
    assert (await browser.get(scene.answer(asked))).header("location") == "/.crmgate/sign-in?notice=expired"
    assert scene.made.count("/token") == 0


async def test_a_trip_of_one_host_is_none_of_the_other(scene, li) -> None:
    console, crm = scene.browser(AUDIENCE_CONSOLE), scene.browser()
    asked = await scene.leave(console)
    scene.vouch(asked)
    crm.jar["__Host-crmgate-elsewhere"] = console.jar["__Host-crmgate-console-elsewhere"]
    assert (await crm.get(scene.answer(asked))).header("location") == "/.crmgate/sign-in?notice=expired"
    assert asked["redirect_uri"] == f"https://{CONSOLE_HOST}{BACK}"


async def test_the_address_to_come_back_to_is_not_taken_from_the_request(scene, li) -> None:
    browser = scene.browser()
    browser.host = "evil.example"
    asked = await scene.leave(browser)
    assert asked["redirect_uri"] == f"https://{CRM_HOST}{BACK}"


@pytest.mark.parametrize(
    "claims",
    [{"nonce": "of-another"}, {"aud": "another"}, {"iss": "https://other.example.org"}, {"exp": 1}],
)
async def test_a_token_that_proves_nothing_opens_nothing(scene, li, claims) -> None:
    browser = scene.browser()
    answer = await scene.arrive(browser, **claims)
    assert answer.header("location") == "/.crmgate/sign-in?notice=elsewhere-refused"
    assert not session_of(browser)
    page = await browser.get(answer.header("location"))
    assert "does not prove who you are" in page.text
    assert 'name="password"' in page.text


@pytest.mark.parametrize("subject", ["somebody-else", "li.wei", SUBJECT.upper()])
async def test_an_identity_that_nobody_linked_is_told_what_to_do(scene, li, subject) -> None:
    """Neither the login nor an e-mail address links anybody."""
    browser = scene.browser()
    claims = {"email": "li.wei@example.org", "email_verified": True, "preferred_username": "li.wei"}
    answer = await scene.arrive(browser, subject, **claims)
    assert answer.header("location").startswith("/.crmgate/sign-in?notice=not-linked")
    assert "ask your administrator" in (await browser.get(answer.header("location"))).text
    assert not session_of(browser)


async def test_a_closed_account_is_told_the_same(scene, li) -> None:
    await scene.stage.access.users.disable(li.user)
    answer = await scene.arrive(scene.browser())
    assert answer.header("location").startswith("/.crmgate/sign-in?notice=not-linked")


async def test_a_provider_vouches_for_its_own_tenants_only(stage, made, li) -> None:
    elsewhere = Scene(stage, made, settings_of(made), tenants=("t2",))
    browser = elsewhere.browser()
    assert (await browser.get(START)).status == 404
    assert (await browser.get(BACK)).status == 404
    assert "Continue with" not in (await browser.get("/.crmgate/sign-in")).text


async def test_a_provider_has_its_button_on_its_hosts_only(stage, made, li) -> None:
    crm_only = Scene(stage, made, settings_of(made, hosts=(Host.CRM,)))
    assert (await crm_only.browser(AUDIENCE_CONSOLE).get(START)).status == 404
    assert (await crm_only.browser().get(START)).status == 303


@pytest.mark.parametrize(
    ("path", "answer", "notice"),
    [
        ("/.well-known/openid-configuration", (500, {}), "elsewhere-down"),
        ("/.well-known/openid-configuration", (200, b"<html>"), "elsewhere-refused"),
        ("/.well-known/openid-configuration", "hang", "elsewhere-down"),
        ("/token", (500, {}), "elsewhere-down"),
        ("/token", (200, b"nonsense"), "elsewhere-refused"),
        ("/token", "hang", "elsewhere-down"),
        ("/jwks", (500, {}), "elsewhere-down"),
        ("/jwks", (200, {"keys": "none"}), "elsewhere-refused"),
    ],
)
async def test_a_provider_in_trouble_costs_its_own_sign_in_only(stage, made, li, path, answer, notice) -> None:
    scene = Scene(stage, made, settings_of(made, timeout_s=2.0 if answer == "hang" else 20.0))
    browser = scene.browser()
    bad = hang(made) if answer == "hang" else answer
    if path == "/.well-known/openid-configuration":
        made.answers[path] = bad
        refused = await browser.get(START)
    else:
        asked = await scene.leave(browser)
        scene.vouch(asked)
        made.answers[path] = bad
        refused = await browser.get(scene.answer(asked))
    assert refused.header("location").startswith(f"/.crmgate/sign-in?notice={notice}")
    for language, words in (("en", "other provider"), ("zh_Hans", "其他登录平台")):
        page = await browser.get(f"{refused.header('location')}&lang={language}")
        assert words in page.text
    answer = await browser.post("/.crmgate/sign-in", {"login": "li.wei", "password": li.password})
    assert answer.header("location") == CODE


async def test_somebody_who_cancels_there_is_back_at_the_sign_in_page(scene, li) -> None:
    browser = scene.browser()
    asked = await scene.leave(browser)
    answer = await browser.get(scene.answer(asked, code="", error="access_denied"))
    assert answer.header("location") == "/.crmgate/sign-in?notice=elsewhere-cancelled"


@pytest.mark.parametrize(
    ("claims", "at_once"),
    [
        ({"amr": ["mfa"], "auth_time": True}, True),
        ({"amr": ["pwd"], "auth_time": True}, False),
        ({"amr": ["mfa"]}, False),
    ],
)
async def test_a_second_factor_there_replaces_ours_only_where_it_is_proved(stage, made, li, claims, at_once) -> None:
    scene = Scene(stage, made, settings_of(made, second_factor=SecondFactor.PROVIDER))
    if "auth_time" in claims:
        claims = claims | {"auth_time": int(stage.clock().timestamp())}
    browser = scene.browser()
    answer = await scene.arrive(browser, address=f"{START}?next=/contacts", **claims)
    assert answer.header("location") == ("/contacts" if at_once else CODE)
    assert bool(session_of(browser)) is at_once


@pytest.mark.parametrize(
    "notice", ["sessions-full", "locked", "second-factor-missing", "elsewhere-cancelled", "expired"]
)
async def test_every_outcome_has_words_on_the_sign_in_page(scene, notice) -> None:
    page = (await scene.browser().get(f"/.crmgate/sign-in?notice={notice}")).text
    assert 'role="alert"' in page or 'role="status"' in page
    assert 'role="alert"' not in (await scene.browser().get("/.crmgate/sign-in?notice=nothing-known")).text


async def test_the_next_page_stays_on_this_host(scene, li) -> None:
    browser = scene.browser()
    await scene.arrive(browser, address=f"{START}?next=https://evil.example/")
    done = await browser.post(CODE, {"code": scene.stage.access.code(li.secret)})
    assert done.header("location") == "/"


async def test_a_flood_of_trips_fills_nothing(scene, li, monkeypatch) -> None:
    monkeypatch.setattr("gateway.federation.store.TRIPS_MOST", 5)
    assert TRIPS_MOST == 1000
    for _ in range(12):
        await scene.leave(scene.browser())
    async with scene.stage.pool.connection() as db:
        row = await (await db.execute("SELECT count(*) FROM app_elsewhere")).fetchone()
    assert row[0] == 5


async def sign_in(scene: Scene, person: Enrolled, audience: str = AUDIENCE_CRM) -> Browser:
    browser = scene.browser(audience)
    await browser.post("/.crmgate/sign-in", {"login": person.user.login, "password": person.password})
    await browser.post(CODE, {"code": scene.stage.access.code(person.secret)})
    assert session_of(browser)
    scene.stage.clock.advance(seconds=60)
    return browser


def proof(scene: Scene, person: Enrolled) -> dict[str, str]:
    return {"password": person.password, "code": scene.stage.access.code(person.secret)}


async def test_a_person_links_an_identity_and_comes_in_by_it(scene, stage) -> None:
    mei = await stage.enrol("mei", "sales")
    browser = await sign_in(scene, mei)
    assert "Link Company account" in (await browser.get(ACCOUNT)).text
    page = await browser.post(LINK, proof(scene, mei))
    assert page.status == 200
    address = page.text.split('href="http', 1)[1].split('"', 1)[0].replace("&amp;", "&")
    asked = scene.asked("http" + address)
    scene.vouch(asked, "mei-there")
    linked = await browser.get(scene.answer(asked))
    assert linked.header("location") == f"{ACCOUNT}?notice=elsewhere-linked"
    assert "Remove Company account" in (await browser.get(linked.header("location"))).text
    assert ("mei", "elsewhere-linked") in await scene.told()
    assert (await scene.arrive(scene.browser(), "mei-there")).header("location") == CODE


@pytest.mark.parametrize("wrong", [{"code": "000000"}, {"password": "wrong"}, {"password": "", "code": ""}])
async def test_nothing_is_linked_without_a_fresh_proof(scene, li, wrong) -> None:
    browser = await sign_in(scene, li)
    page = await browser.post(LINK, proof(scene, li) | wrong)
    assert page.status == 422
    assert scene.made.issuer not in page.text
    assert "__Host-crmgate-elsewhere" not in browser.jar


async def test_a_sign_in_trip_links_nothing_even_where_somebody_is_signed_in(scene, stage) -> None:
    """CSRF: a page that sends a signed-in person to the provider must not link what comes back."""
    mei = await stage.enrol("mei", "sales")
    browser = await sign_in(scene, mei)
    answer = await scene.arrive(browser, "of-an-attacker")
    assert answer.header("location").startswith("/.crmgate/sign-in?notice=not-linked")
    assert await stage.access.links.links("t1") == []


async def test_a_link_belongs_to_the_session_that_began_it(scene, stage) -> None:
    mei, bo = await stage.enrol("mei", "sales"), await stage.enrol("bo", "sales")
    browser = await sign_in(scene, mei)
    page = await browser.post(LINK, proof(scene, mei))
    asked = scene.asked("http" + page.text.split('href="http', 1)[1].split('"', 1)[0].replace("&amp;", "&"))
    scene.vouch(asked, "mei-there")
    other = await sign_in(scene, bo)
    other.jar["__Host-crmgate-elsewhere"] = browser.jar["__Host-crmgate-elsewhere"]
    await other.get(scene.answer(asked))
    assert await stage.access.links.links("t1") == []


async def test_an_identity_of_somebody_else_is_not_linked(scene, li, stage) -> None:
    mei = await stage.enrol("mei", "sales")
    browser = await sign_in(scene, mei)
    page = await browser.post(LINK, proof(scene, mei))
    asked = scene.asked("http" + page.text.split('href="http', 1)[1].split('"', 1)[0].replace("&amp;", "&"))
    scene.vouch(asked)
    answer = await browser.get(scene.answer(asked))
    assert answer.header("location") == f"{ACCOUNT}?notice=elsewhere-taken"
    assert [link.user_id for link in await stage.access.links.links("t1")] == [li.user.id]


async def test_a_person_takes_a_link_away_and_it_opens_nothing_more(scene, li) -> None:
    browser, elsewhere = await sign_in(scene, li), await sign_in(scene, li)
    assert (await browser.post(f"{LINK}/remove", proof(scene, li) | {"code": "000000"})).status == 422
    done = await browser.post(f"{LINK}/remove", proof(scene, li))
    assert done.header("location") == f"{ACCOUNT}?notice=elsewhere-unlinked"
    assert (await browser.get(ACCOUNT)).status == 200
    assert (await elsewhere.get(ACCOUNT)).status == 303
    answer = await scene.arrive(scene.browser())
    assert answer.header("location").startswith("/.crmgate/sign-in?notice=not-linked")


@pytest.mark.parametrize("path", [LINK, f"{LINK}/remove"])
async def test_pages_of_links_are_for_people_who_are_signed_in(scene, li, path) -> None:
    browser = scene.browser()
    assert (await browser.get(path)).header("location").startswith("/.crmgate/sign-in")
    assert (await browser.post(path, proof(scene, li))).header("location").startswith("/.crmgate/sign-in")
    signed = await sign_in(scene, li)
    for language, words in (("en", "Company account"), ("zh_Hans", "公司账户")):
        assert words in (await signed.get(f"{path}?lang={language}")).text
    assert (await signed.get(path.replace("corp", "other"))).status == 404


EVENT = "http://schemas.openid.net/event/backchannel-logout"


def logout(scene: Scene, **other: object) -> str:
    claims = scene.made.claims("", scene.stage.clock().timestamp(), nonce=None, events={EVENT: {}}, jti="j", **other)
    return scene.made.sign(claims, typ="logout+jwt")


async def inform(scene: Scene, token: str):
    """The provider's own call: no cookies, no origin."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return await scene.browser(client="198.51.100.1").bare("POST", ENDED, headers, f"logout_token={token}".encode())


@pytest.mark.parametrize("about", [{"sid": "s-1"}, {"sub": SUBJECT, "sid": "s-1"}, {"sub": SUBJECT}])
async def test_a_logout_there_ends_the_sessions_that_began_there(scene, li, about) -> None:
    through, own, half = scene.browser(), await sign_in(scene, li), scene.browser()
    await scene.arrive(through)
    await through.post(CODE, {"code": scene.stage.access.code(li.secret)})
    scene.stage.clock.advance(seconds=60)
    await scene.arrive(half)
    assert (await through.get(ACCOUNT)).status == 200
    assert (await inform(scene, logout(scene, **{"sub": None, **about}))).status == 200
    assert (await through.get(ACCOUNT)).status == 303
    assert (await own.get(ACCOUNT)).status == 200
    await half.post(CODE, {"code": scene.stage.access.code(li.secret)})
    assert not session_of(half)
    assert ("li.wei", "elsewhere-ended") in await scene.told()


@pytest.mark.parametrize("about", [{"sid": "s-2"}, {"sub": "another"}])
async def test_a_logout_of_something_else_ends_nothing(scene, li, about) -> None:
    browser = scene.browser()
    await scene.arrive(browser)
    await browser.post(CODE, {"code": scene.stage.access.code(li.secret)})
    assert (await inform(scene, logout(scene, **{"sub": None, **about}))).status == 200
    assert (await browser.get(ACCOUNT)).status == 200


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "%ff"])
async def test_what_is_no_logout_token_ends_nothing(scene, li, token) -> None:
    browser = scene.browser()
    await scene.arrive(browser)
    await browser.post(CODE, {"code": scene.stage.access.code(li.secret)})
    assert (await inform(scene, token)).status == 400
    assert (await browser.get(ACCOUNT)).status == 200


async def test_nothing_personal_of_the_provider_is_in_the_trail(scene, li) -> None:
    for subject in (SUBJECT, "li-somewhere-else"):
        await scene.arrive(scene.browser(), subject, email="li@example.org", name="Li Wei There")
    from audit.store import Filters

    rows = await scene.stage.trail.recent("t1", 100, Filters())
    written = repr([row.content for row in rows])
    for value in (SUBJECT, "li-somewhere-else", "li@example.org", "Li Wei There", "c-1"):
        assert value not in written
