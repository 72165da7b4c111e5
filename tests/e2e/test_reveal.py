"""A salesperson reveals a masked phone inside a real page of Creme, in Chromium, by keyboard, in both languages."""

import random
import time
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Frame, Page

from gateway.console import vendor
from gateway.demo.browser import Browser
from gateway.demo.driver import make_driver
from gateway.demo.people import Person, make_people
from gateway.opening import open_database
from kms.pseudonym import is_pseudonym
from policies.enforcer import DEFAULT_POLICY
from privacy import mask
from tests.conftest import unwalled
from tests.drills.chromium import desks
from tests.drills.stack import Member, Stack, installed
from tests.e2e.test_console_pages import AXE, AXE_TAGS, PICTURES
from tests.e2e.visitors import close_all, join, sign_in, visitor
from tests.real.servers import creme

pytestmark = pytest.mark.real
REVEAL = "p, sales, *, field:*.*#phone, reveal, own\n"
PANEL = "#crmgate-reveal-panel"


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    policy = tmp_path_factory.mktemp("reveal") / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + REVEAL, encoding="utf-8")
    extra = f'[tenant.main]\npolicy = "{policy}"\n[tenant.main.reveal]\nenabled = true\n'
    if not AXE.exists():
        vendor.fetch(tests_too=True)
    with creme() as server, installed(server, extra) as stack:
        yield stack
        close_all()


def asked(stack: Stack, statement: str, *given: object) -> list[tuple[object, ...]]:
    database = open_database(stack.settings)
    try:
        with psycopg.connect(unwalled(database.dsn), autocommit=True) as db:
            found = db.execute(statement, given)  # type: ignore[call-overload]
            return found.fetchall() if found.description else []
    finally:
        database.close()


def fresh_code(stack: Stack, member: Member) -> str:
    """The code the app shows now, as if no other had been used: waiting for the next one is half a minute."""
    asked(stack, "UPDATE app_user SET last_totp_step = 0 WHERE login = %s", member.login)
    member.last_step = 0
    return member.code()


def findings(frame: Frame) -> list[str]:
    frame.evaluate(AXE.read_text(encoding="utf-8"))
    found = frame.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", AXE_TAGS
    )
    return [f"{one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"]]


def framed(page: Page) -> Frame:
    found = page.query_selector(f"{PANEL} iframe")
    assert found is not None
    frame = found.content_frame()
    assert frame is not None
    return frame


def focused(frame: Frame) -> str:
    return str(frame.evaluate("document.hasFocus() ? document.activeElement.name || document.activeElement.id : ''"))


def tab_to(page: Page, name: str) -> None:
    for _ in range(12):
        if focused(framed(page)) == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {name}")


def reveal(page: Page, stack: Stack, member: Member, person: Person, name: str) -> Frame:
    """Everything by keyboard; the frame with the value."""
    page.keyboard.press("Tab")
    for _ in range(400):
        if page.evaluate("document.activeElement.matches('crmgate-reveal > button')"):
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{PANEL}:popover-open")
    page.frame_locator(f"{PANEL} iframe").locator("#reason").wait_for()
    frame = framed(page)
    assert person.phone not in frame.content()
    assert mask.mask("phone", person.phone) in frame.content()
    assert findings(frame) == []
    page.screenshot(path=PICTURES / f"reveal_list_{name}.png")
    tab_to(page, "mask")
    page.keyboard.press("Space")
    tab_to(page, "reason")
    page.keyboard.press("ArrowDown")
    tab_to(page, "code")
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    page.frame_locator(f"{PANEL} iframe").locator("#problem").wait_for()
    frame = framed(page)
    assert findings(frame) == []
    page.screenshot(path=PICTURES / f"reveal_wrong_{name}.png")
    tab_to(page, "code")
    page.keyboard.type(fresh_code(stack, member))
    page.keyboard.press("Enter")
    page.frame_locator(f"{PANEL} iframe").locator("#value").wait_for()
    return framed(page)


def test_a_salesperson_reveals_a_phone_in_the_page_of_the_crm(floor: Stack) -> None:
    begun = time.monotonic()
    PICTURES.mkdir(exist_ok=True)
    person = make_people(random.Random(7), 1, foreign_share=0.0)[0]
    member = join(floor, "sales", "lin.sales")
    driver = make_driver("creme", sign_in(floor, member))
    driver.log_in("lin.sales", floor.crm.passwords["lin.sales"])
    record = driver.add_person(person)
    address = f"/persons/contact/{record}"
    direct = make_driver("creme", Browser(floor.crm.url))
    direct.log_in("lin.sales", floor.crm.passwords["lin.sales"])
    policies = [
        [value for name, value in one.browser.get(address).headers if name.lower() == "content-security-policy"]
        for one in (driver, direct)
    ]
    direct.browser.close()
    console = floor.home.console_url
    # Creme says X-Frame-Options: DENY; the newer directive is added with the same meaning.
    assert [one.replace(f" {console}/reveal/", "") for one in policies[0]] == [*policies[1], "frame-ancestors 'none'"]
    for language, name in (("en-US", "en"), ("zh-CN", "zh")):
        with desks(driver.browser, language=language) as (desk,):
            page = desk.page
            gone_to: list[str] = []
            page.on("request", lambda request, gone=gone_to: gone.append(request.url))
            page.goto(desk.base + address, wait_until="load")
            assert person.phone not in page.content()
            page.screenshot(path=PICTURES / f"reveal_page_{name}.png")
            frame = reveal(page, floor, member, person, name)
            assert person.phone in frame.inner_text("#value").replace(" ", "")
            assert findings(frame) == []
            page.screenshot(path=PICTURES / f"reveal_value_{name}.png")
            # No script of the CRM's page reads the frame, drives it, or gets at the value by itself.
            assert page.evaluate(
                f"() => {{ const f = document.querySelector('{PANEL} iframe'); const tried = [];"
                " try { tried.push(f.contentDocument) } catch (e) { tried.push('refused') }"
                " try { tried.push(f.contentWindow.document.body.innerText) } catch (e) { tried.push('refused') }"
                " try { f.contentWindow.document.forms[0].submit() } catch (e) { tried.push('refused') }"
                " try { tried.push(f.contentWindow.location.href) } catch (e) { tried.push('refused') }"
                " return tried }"
            ) == [None, "refused", "refused", "refused"]
            assert (
                page.evaluate(
                    f"async () => {{ const f = document.querySelector('{PANEL} iframe');"
                    " try { return await (await fetch(f.src)).text() } catch (e) { return 'refused' } }"
                )
                == "refused"
            )
            asking = {"entity": "contact", "record": record, "field": "phone", "reason": "contact", "code": "000000"}
            answer = page.evaluate(
                "async asking => (await (await fetch('/.crmgate/api/reveal', {method: 'POST', body:"
                " JSON.stringify(asking)})).json()).reason",
                asking,
            )
            assert answer == "reveal-by-program"
            assert not any(person.phone in one for one in gone_to)
            # A hand-over is used up: its address opens nothing a second time.
            used = next(one for one in gone_to if one.startswith(f"{console}/reveal/main/"))
            assert visitor(floor, console=True).get(used.removeprefix(console)).status == 410
            frame.click("#back button[type=submit]")
            page.frame_locator(f"{PANEL} iframe").locator("#reason").wait_for()
            assert person.phone not in framed(page).content()
    rows = asked(floor, "SELECT login, outcome, step_up FROM reveal_ledger ORDER BY at")
    assert rows == [(member.login, what, True) for what in ("reveal-code-wrong", "shown") * 2]
    ((pseudonym,),) = asked(floor, "SELECT DISTINCT record FROM reveal_ledger")
    assert is_pseudonym(str(pseudonym))
    by_program(
        floor, driver.browser, member, person, record, str(asked(floor, "SELECT field FROM reveal_ledger")[0][0])
    )
    auditor = sign_in(floor, join(floor, "auditor"), console=True)
    ledger = auditor.get("/reveals").expect(200).text
    assert member.login in ledger
    assert f"<code>{record}</code>" in ledger
    assert member.login in auditor.get(f"/reveals?record={record}").expect(200).text
    assert "To contact the customer" in ledger
    assert person.phone not in ledger
    assert "What you had revealed" in driver.browser.get("/.crmgate/account").expect(200).text
    assert time.monotonic() - begun < 600  # against hanging; what is waited for are states


def by_program(stack: Stack, browser: Browser, member: Member, person: Person, record: str, field: str) -> None:
    """The same for a program: the value for a fresh code, nothing without one, nothing of a record never shown."""
    given = {"entity": "contact", "record": record, "field": field, "reason": "contact"}
    refused = browser.post_json("/.crmgate/api/reveal", given)
    assert (refused.status, refused.json()["reason"]) == (403, "reveal-code-wrong")
    assert refused.header("content-type") == "application/problem+json"
    unseen = browser.post_json("/.crmgate/api/reveal", {**given, "record": "999999"})
    assert (unseen.status, unseen.json()["reason"]) == (403, "reveal-not-shown")
    answer = browser.post_json("/.crmgate/api/reveal", {**given, "code": fresh_code(stack, member)}).expect(200)
    assert person.phone in answer.json()["value"].replace(" ", "")
    assert "no-store" in answer.header("cache-control")
