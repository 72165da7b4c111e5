"""What crmgate takes for the successful controls of a form is what a real Chromium sends."""

import pytest
from playwright.sync_api import sync_playwright

from tests.drills.chromium import PROGRAM, SWITCHES
from tests.unit.gateway.body.test_control import FORMS

pytestmark = pytest.mark.real


def test_chromium_sends_the_same_controls() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(SWITCHES))
        page = browser.new_page()
        for markup, sent in FORMS:
            page.set_content(f"<form>{markup}</form>")
            told = page.evaluate("() => [...new FormData(document.forms[0])]")
            assert [tuple(pair) for pair in told] == sent, markup
        browser.close()
