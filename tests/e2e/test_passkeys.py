"""Recovery codes and passkeys in a real Chromium with a virtual authenticator: from enrolment to the next sign-in."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pyotp
import pytest
from playwright.async_api import CDPSession, Page

from gateway.access.sessions import AUDIENCE_CONSOLE
from gateway.demo.children import free_port
from kms.connections import Pool
from tests.e2e.test_console_pages import (
    HARMLESS,
    PATIENCE_MS,
    PICTURES,
    WIDTHS,
    RealClock,
    Served,
    browser,
    findings,
    front_end,
    listening,
    overflow,
)
from tests.unit.gateway.console.stage import make_stage

__all__ = ["browser", "front_end"]
pytestmark = pytest.mark.real


@pytest.fixture
async def served(pool: Pool, dsn: str, tmp_path: Path, front_end: None) -> AsyncIterator[Served]:
    """A console that knows its public address, as passkeys need it."""
    port = free_port()
    host = f"console.localhost:{port}"
    stage = await make_stage(pool, dsn, tmp_path, RealClock(), at={AUDIENCE_CONSOLE: host})  # type: ignore[arg-type]
    admin = await stage.enrol("gao.ning", "administrator")
    async with listening(stage, tmp_path / "tls", port):
        yield Served(stage, f"https://{host}", admin, "", admin)
    await stage.audit.close()


async def with_authenticator(page: Page, *, verified: bool = True) -> tuple[CDPSession, str]:
    """A built-in authenticator that verifies its person, or does not."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    made = await session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": verified,
                "automaticPresenceSimulation": True,
            }
        },
    )
    return session, made["authenticatorId"]


async def app_code(served: Served) -> str:
    """The code the app shows now, as if no other had been used: waiting for the next one is half a minute."""
    async with served.stage.pool.connection() as db:
        await db.execute("UPDATE app_user SET last_totp_step = 0 WHERE id = %s", (served.admin.user.id,))
    return pyotp.TOTP(served.admin.secret).now()


async def first_step(page: Page, served: Served, language: str) -> None:
    """Password accepted, second factor asked for."""
    await page.context.clear_cookies()
    await page.goto(f"{served.address}/.crmgate/sign-in?lang={language}")
    await page.fill("#login", served.admin.user.login)
    await page.fill("#password", served.admin.password)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/.crmgate/sign-in/code")


@pytest.mark.parametrize(("language", "width"), [("en", "desk"), ("zh_Hans", "phone")])
async def test_a_person_enrols_and_signs_in_with_a_passkey_and_a_recovery_code(
    served, browser, language, width
) -> None:
    across, down = WIDTHS[width]
    context = await browser.new_context(ignore_https_errors=True, viewport={"width": across, "height": down})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    page.on("console", lambda said: None if said.text.startswith(HARMLESS) else served.troubles.append(said.text))
    page.on("pageerror", lambda fault: served.troubles.append(str(fault)))
    session, authenticator = await with_authenticator(page)
    wrong: list[str] = []
    PICTURES.mkdir(exist_ok=True)

    async def look(name: str) -> None:
        await page.screenshot(path=PICTURES / f"factors_{name}_{language}_{width}.png", full_page=True)
        wrong.extend(f"{name}: {finding}" for finding in await findings(page))
        if await overflow(page) > 0:
            wrong.append(f"{name}: {await overflow(page)} px too wide")

    async def prove() -> None:
        await page.fill("#current", served.admin.password)
        await page.fill("#code", await app_code(served))
        await page.click("main form.card button[type=submit]")

    await first_step(page, served, language)
    assert await page.locator("form[data-passkey]").count() == 0
    await look("code")
    await page.fill("#code", await app_code(served))
    await page.click("main button[type=submit]")
    await page.wait_for_url(f"{served.address}/")

    # Codes, shown once.
    await page.goto(f"{served.address}/.crmgate/account/recovery")
    await look("proof")
    await prove()
    codes = await page.locator(".recovery-codes code").all_inner_texts()
    assert len({re.sub("[^0-9A-Z]", "", code) for code in codes}) == 10
    await look("recovery_codes")

    # A passkey.
    await page.goto(f"{served.address}/.crmgate/account/passkeys/new")
    await prove()
    await page.wait_for_selector("form[data-passkey=create]:not([hidden])")
    await look("passkey_new")
    await page.fill("#name", "办公室电脑 · office")
    await page.click("form[data-passkey] button[type=submit]")
    await page.wait_for_url("**/.crmgate/account?notice=passkey-added")
    await look("account")
    assert "console.localhost" in await page.inner_text("section[aria-labelledby=passkeys]")

    # The next sign-in with it.
    await first_step(page, served, language)
    await page.wait_for_selector("form[data-passkey=get]:not([hidden])")
    await look("code_with_passkey")
    await page.click("form[data-passkey] button")
    await page.wait_for_url(f"{served.address}/")

    # One that does not verify its person is refused by the browser or by us; the session stays shut.
    await session.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    await first_step(page, served, language)
    await page.click("form[data-passkey] button")
    await page.wait_for_selector("[data-failed]:not([hidden]), #problem")
    await look("passkey_failed")
    assert await page.evaluate("fetch('/users', {redirect: 'manual'}).then(answer => answer.type)") == "opaqueredirect"

    # Then a recovery code, once.
    await page.click("a[href='/.crmgate/sign-in/recovery']")
    await look("recovery")
    await page.fill("#code", codes[0].lower().replace("-", " "))
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/.crmgate/account?notice=recovery-code-used*")
    await look("recovery_used")
    assert "9" in await page.inner_text("section[aria-labelledby=recovery]")
    await first_step(page, served, language)
    await page.click("a[href='/.crmgate/sign-in/recovery']")
    await page.fill("#code", codes[0])
    await page.click("main button[type=submit]")
    await page.wait_for_selector("#problem")
    await look("recovery_wrong")

    assert wrong == []
    assert served.troubles == []
    said = [reason for _, reason, _ in await served.stage.reasons()]
    assert {"recovery-codes-made", "passkey-added", "recovery-code-used", "recovery-code-wrong"} <= set(said)
    await context.close()
