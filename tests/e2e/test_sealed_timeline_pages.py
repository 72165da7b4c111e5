"""An auditor's question about two years most of which is sealed, in Chromium, in both languages, on desk and phone.

A quarter is gone from the archive and one was changed by somebody: the page says which answers it cannot show, and why.
Pictures are written to screenshots/ so that people can look at them.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser

from audit.cold.folder import FolderArchive
from audit.entry import AuditEntry
from gateway.access.sessions import AUDIENCE_CONSOLE
from kms.connections import Pool
from tests.e2e.test_console_pages import (
    LANGUAGES,
    PICTURES,
    WIDTHS,
    Known,
    RealClock,
    Served,
    findings,
    listening,
    overflow,
)
from tests.e2e.test_console_pages import browser as browser
from tests.e2e.test_console_pages import front_end as front_end
from tests.unit.gateway.console.stage import make_stage
from tests.unit.gateway.console.test_sealed_timeline import seal

pytestmark = pytest.mark.real
QUARTERS, EACH = 7, 4
QUESTION = "/trail?by=customer&what=contact.email&record=5&period=2y"


@pytest.fixture
async def years(pool: Pool, dsn: str, tmp_path: Path, front_end: None) -> AsyncIterator[tuple[Served, FolderArchive]]:
    """Seven quarters in which two people looked at customer 5 and at the erased 3, a segment each; one of today."""
    stage = await make_stage(pool, dsn, tmp_path, RealClock())  # type: ignore[arg-type]
    stage.trail._people = Known()
    now = stage.clock()
    noon = now.replace(hour=12, minute=0)
    for number in range(QUARTERS * EACH):
        quarter, place = divmod(number, EACH)
        at = noon - timedelta(days=90 * (QUARTERS - quarter), minutes=-place)
        person = ("zhou.min", "li.wei")[place % 2]
        shown = {Known.name(3): {"masked": 1}, Known.name(5): {"clear" if place == 1 else "masked": 1}}
        await stage.audit.append(
            AuditEntry(
                actor=f"u-{person}", actor_login=person, at=at,
                client="192.0.2.7", entity="contact", exchange=f"x-{number}", id=f"a-{number}", kind="outcome",
                operation="contact.list", reason="allowed", record=Known.name((3, 5)[place // 2]), status=200,
                tenant="t1", fields={"shown": {"contact.email": shown}},
            )
        )  # fmt: skip
    await stage.keeper.seal("t1")
    stored = FolderArchive(tmp_path / "archive", lambda: stage.clock() + timedelta(days=400))
    await seal(stage, stored, tmp_path, EACH)
    auditor = await stage.enrol("shen.ji", "auditor")
    token = await stage.access.sessions.open(auditor.user, "192.0.2.1", now, audience=AUDIENCE_CONSOLE)
    await stage.audit.append(
        AuditEntry(
            actor="u-li", actor_login="li.wei", at=stage.clock(), entity="contact", id="a-hot", kind="outcome",
            operation="contact.read", reason="allowed", record=Known.name(5), status=200, tenant="t1",
            fields={"shown": {"contact.email": {Known.name(5): {"clear": 1}}}},
        )
    )  # fmt: skip
    async with listening(stage, tmp_path / "tls") as port:
        yield Served(stage, f"https://console.localhost:{port}", auditor, token, auditor), stored
    await stage.audit.close()


async def test_two_years_stand_in_one_list_and_what_the_archive_lacks_is_said(
    years: tuple[Served, FolderArchive], browser: Browser
) -> None:
    served, stored = years
    PICTURES.mkdir(exist_ok=True)
    page = await served.open(browser, "desk")
    await page.goto(f"{served.address}{QUESTION}&lang=en")
    lines = page.locator("#answers tbody tr")
    assert await lines.count() == QUARTERS * EACH + 1
    told = (await page.locator("table.amounts").first.inner_text()).split()
    assert (told[told.index("li.wei") + 1], told[told.index("zhou.min") + 1]) == ("15", "14")
    assert await lines.get_by_text("From the archive").count() == QUARTERS * EACH
    assert f"{QUARTERS * EACH + 1} answers" in str(await page.locator("svg[role=img]").get_attribute("aria-label"))
    assert "contact/3" not in await page.inner_text("#answers")
    assert await lines.get_by_text("Erased person").count() == QUARTERS * EACH // 2
    await lines.last.locator(".end a").click()
    await page.wait_for_selector("ol.hashes", state="attached")

    files = [stored.local(name) for name in stored.names("t1/event/")]
    for path in filter(None, files[1:3]):
        path.chmod(0o600)
    assert files[1] is not None
    files[1].unlink()
    assert files[2] is not None
    files[2].write_bytes(files[2].read_bytes()[:-1] + b"?")
    for language in LANGUAGES:
        for width in WIDTHS:
            page = await served.open(browser, width)
            await page.goto(f"{served.address}{QUESTION}&lang={language}")
            lines = page.locator("#answers tbody tr")
            assert await lines.count() == QUARTERS * EACH + 1
            assert await page.locator("#answers tbody tr.refused").count() == 2 * EACH
            assert await page.locator("main .problem li").count() == 2
            await page.screenshot(path=PICTURES / f"sealed_trail_{language}_{width}.png", full_page=True)
            assert await findings(page) == []
            assert await overflow(page) <= 0
    assert served.troubles == []
