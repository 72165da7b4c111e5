"""A real Chromium as one member of staff uses it, with a probe that notices whatever a stored value manages to do.

Every payload of the drill calls `__hit`, opens a dialog, asks another host for something or leaves a handler behind;
all of it is noted with the page it happened on. The drill's figure is the number of notes.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, sync_playwright

from gateway.demo.browser import Browser

PROGRAM = "/usr/bin/chromium"
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost",
)
WAIT_MS = 120_000
# Creme draws a map of every address, DjangoCRM's pages take their icons from elsewhere.
STRANGERS = (".openstreetmap.org", "fonts.googleapis.com", "fonts.gstatic.com")
# Marks, and results of template payloads, that only a stored value brings: a handler, an address or a style of its own.
_LOOK = """() => {
  const found = [];
  for (const node of document.querySelectorAll('*')) {
    for (const one of node.attributes) {
      const name = one.name.toLowerCase(), value = one.value.replace(/[\\u0000-\\u0020]/g, '');
      if (name.startsWith('on') && /__hit|alert\\(/.test(value)) found.push(node.tagName + '@' + name);
      else if (/^(href|src|action|formaction|data|srcdoc|xlink:href|content)$/.test(name)
               && (/^(javascript|vbscript|data:text\\/html)/i.test(value) && /__hit|alert\\(/.test(value)
                   || /^(https?:)?\\/\\/evil\\.invalid/i.test(value))) found.push(node.tagName + '@' + name);
    }
    if (node.tagName === 'SCRIPT' && !node.src && /^\\s*__hit\\(/.test(node.textContent)) found.push('SCRIPT');
  }
  const text = document.body ? document.body.innerText : '';
  for (const sum of ['7000021', '9000081']) if (text.includes(sum)) found.push('calculated ' + sum);
  if (window.__hit_set) found.push('window.__hit_set');
  return found;
}"""


@dataclass(slots=True)
class Probe:
    """What stored values did: (page, what). Requests to other hosts never leave.

    strangers: hosts that the CRM's own pages ask, which is not a value's doing.
    """

    host: str
    notes: list[tuple[str, str]] = field(default_factory=list)
    strangers: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def note(self, page: str, what: str) -> None:
        """Something happened."""
        self.notes.append((urlsplit(page).path, what))

    def watch(self, context: BrowserContext) -> None:
        """Attach to everything a context opens."""
        context.expose_binding("__hit", lambda source, *given: self.note(source["page"].url, f"ran: {given}"))
        # Not by routing: that would switch the cache off, and the names of other hosts are not resolved anyway.
        context.on("request", lambda request: self._request(request))
        context.on("dialog", lambda dialog: self._dialog(dialog))
        context.on("console", lambda message: self._console(message))
        context.on("page", lambda page: page.on("pageerror", lambda error: self.faults.append(str(error)[:120])))

    def look(self, page: Page) -> None:
        """Search the document as it is now for marks of a payload that became markup."""
        for mark in page.evaluate(_LOOK):
            self.note(page.url, mark)

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.netloc == self.host or parts.scheme not in ("http", "https", "ws", "wss"):
            return
        if parts.netloc.endswith(STRANGERS):
            self.strangers.add(parts.netloc)
        else:
            self.note(request.frame.url, f"request to {parts.netloc}")

    def _dialog(self, dialog: Dialog) -> None:
        if dialog.type != "beforeunload":
            self.note(dialog.page.url if dialog.page else "", f"dialog {dialog.type}")
        dialog.accept()

    def _console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Refused to" in message.text:
            self.note(message.page.url if message.page else "", "stopped by a content security policy")


@dataclass(slots=True)
class Desk:
    """One member's Chromium at the CRM. probe: what was noticed; visited: pages by kind."""

    page: Page
    probe: Probe
    base: str
    visited: dict[str, int] = field(default_factory=dict)

    def open(self, path: str, kind: str) -> Page:
        """Open a page, let its scripts work, look for marks."""
        self.page.goto(self.base + path, wait_until="load")
        return self.looked(kind)

    def noticed(self, payload: str) -> bool:
        """Control: whether the probe notices this payload where nothing keeps it from running."""
        before, page = len(self.probe.notes), self.page.context.new_page()
        page.set_content(f"<body>{payload}</body>")
        page.wait_for_timeout(200)
        self.probe.look(page)
        page.close()
        noticed = len(self.probe.notes) > before
        del self.probe.notes[before:]
        return noticed

    def looked(self, kind: str) -> Page:
        """Count and look at the page as it is."""
        self.probe.look(self.page)
        self.visited[kind] = self.visited.get(kind, 0) + 1
        return self.page


@contextlib.contextmanager
def desks(*browsers: Browser, language: str = "en-US") -> Iterator[list[Desk]]:
    """One Chromium with a context for each signed-in browser, whose cookies it takes over."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=PROGRAM, args=list(SWITCHES))
        opened = []
        for browser in browsers:
            context = chromium.new_context(
                ignore_https_errors=True, locale=language, viewport={"width": 1400, "height": 1000}
            )
            context.set_default_timeout(WAIT_MS)
            context.add_cookies([{"name": k, "value": v, "url": browser.base} for k, v in browser.cookies.items()])
            probe = Probe(urlsplit(browser.base).netloc)
            probe.watch(context)
            opened.append(Desk(context.new_page(), probe, browser.base))
        try:
            yield opened
        finally:
            chromium.close()
