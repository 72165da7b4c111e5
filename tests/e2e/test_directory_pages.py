"""In Chromium: a person whose password a directory checks is set up, comes in, sees where the password is, and is told
when the directory is away; in both languages, on desk and phone, without findings of axe-core."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from playwright.async_api import Browser
from psycopg_pool import AsyncConnectionPool

from gateway.access.elsewhere import Elsewhere
from gateway.access.users import Profile
from gateway.directory.config import DirectorySettings, IdAttribute
from gateway.directory.directory import Directory
from tests.e2e.test_console_pages import (  # noqa: F401 - fixtures
    PATIENCE_MS,
    PICTURES,
    WIDTHS,
    RealClock,
    browser,
    findings,
    front_end,
    listening,
    overflow,
)
from tests.real.bent_directory import GUID, OWN_DN, OWN_SECRET, PASSWORD, BentDirectory, bent_directory
from tests.unit.gateway.console.stage import Stage, make_stage

pytestmark = pytest.mark.real
LATER = timedelta(seconds=30)


@pytest.fixture
def bent() -> Iterator[BentDirectory]:
    with bent_directory("right") as server:
        yield server


@pytest.fixture
async def stage(
    pool: AsyncConnectionPool,
    dsn: str,
    tmp_path: Path,
    bent: BentDirectory,
    front_end: None,  # noqa: F811
) -> AsyncIterator[Stage]:
    secret = tmp_path / "secret"
    secret.write_text(OWN_SECRET)
    directory = Directory(
        DirectorySettings(
            name="corp",
            urls=(bent.url,),
            bind_dn=OWN_DN,
            bind_secret_file=secret,
            base="DC=ad,DC=example",
            filter="(sAMAccountName={login})",
            id_attribute=IdAttribute.OBJECT_GUID,
            timeout_s=30.0,
            connect_timeout_s=30.0,
            clear_text_on_loopback=True,
        )
    )
    made = await make_stage(pool, dsn, tmp_path, RealClock(), directories={"corp": directory})  # type: ignore[arg-type]
    yield made
    await made.audit.close()


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh_Hans", "phone")])
async def test_a_person_of_the_directory_in_the_browser(
    stage: Stage,
    bent: BentDirectory,
    browser: Browser,  # noqa: F811
    tmp_path: Path,
    language: str,
    width: str,
) -> None:
    access = stage.access
    user = await access.users.create("t1", "li.si", Profile("Li Si · 李四", roles=("auditor",)))
    await access.links.add("t1", user.id, Elsewhere("ldap:corp", str(GUID)), stage.clock())
    linked = await access.users.get("t1", user.id)
    assert linked is not None
    token, _ = await access.users.invite(linked, "command-line")
    secret = (await access.users.invitation("t1", token)).secret
    across, down = WIDTHS[width]
    context = await browser.new_context(ignore_https_errors=True, viewport={"width": across, "height": down})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()

    async def look(name: str) -> None:
        await page.screenshot(path=PICTURES / f"directory_{name}_{language}_{width}.png", full_page=True)
        assert await findings(page) == []
        assert await overflow(page) <= 0

    async with listening(stage, tmp_path / "tls") as port:
        address = f"https://console.localhost:{port}"
        await page.goto(f"{address}/.crmgate/sign-in?lang={language}")
        await page.goto(f"{address}/.crmgate/set-up?token={token}")
        assert await page.locator("input[type=password]").count() == 0
        await look("set_up")
        await page.fill("#code", pyotp.TOTP(secret).now())
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=/[A-Z0-9]{4}-/")
        await page.goto(f"{address}/.crmgate/sign-in")
        bent.mode = "garbage"
        await page.fill("#login", "li.si")
        await page.fill("#password", PASSWORD)
        await page.click("main button[type=submit]")
        await page.wait_for_function("document.activeElement.id === 'problem'")
        assert ("公司目录" if language == "zh_Hans" else "company directory") in await page.inner_text("#problem")
        await look("unavailable")
        bent.mode = "right"
        await page.fill("#password", PASSWORD)
        await page.click("main button[type=submit]")
        await page.wait_for_url("**/.crmgate/sign-in/code")
        await page.fill("#code", pyotp.TOTP(secret).at(datetime.now(UTC) + LATER))
        await page.click("main button[type=submit]")
        await page.wait_for_url(lambda url: "/sign-in" not in url)
        await page.goto(f"{address}/.crmgate/account")
        assert await page.locator("form[action='/.crmgate/account/password']").count() == 0
        await look("account")
    await context.close()
