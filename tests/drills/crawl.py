"""Walks everything a member of staff can reach in a CRM: pages, exports, searches, histories, models and reports.

A walk only reads: it follows what pages name, except what signs out or changes something.
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

from gateway.demo.browser import Answer, Browser, BrowserFault
from gateway.demo.driver import DriverFault, TrytonDriver

_LINK = re.compile(r"""(?:href|src|action|data-[a-z-]*(?:url|src|href)|data-url)=["']([^"'#]+)""")
_SCRIPT_PATH = re.compile(r"""["'](/[a-z_]+/[A-Za-z0-9_/.-]+(?:\?[^"'<>\s]*)?)["']""")
_LEAVE = re.compile(
    r"logout|/delete|/static_media/|/jsi18n|\$\{|set_state|/pin/|/unpin|clone|hide_validated|/finish|\.css$|\.js$"
)
START = (
    "/",
    "/my_page",
    "/persons/contacts",
    "/persons/organisations",
    "/persons/leads_customers",
    "/creme_core/search",
    "/creme_core/entity/trash",
    "/creme_core/job/mine",
    "/creme_config/",
)
LISTS = {"contact": "/persons/contacts", "organisation": "/persons/organisations"}
EVERYTHING = '{"op":"AND","val":[]}'  # a list's own condition; Creme refuses an export without it
CELLS = ("phone", "mobile", "email", "last_name", "first_name", "description")


@dataclass(slots=True)
class Walk:
    """What a walk saw: answers with a body, and how many of each status."""

    answers: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    visited: set[str] = field(default_factory=set)

    def note(self, answer: Answer) -> None:
        """Count an answer."""
        self.answers += 1
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1


def walk_creme(
    browser: Browser,
    records: Sequence[tuple[str, str]],
    clear: Sequence[str],
    limit: int,
    see: Callable[[Answer], None],
) -> Walk:
    """Breadth first from the start pages, then every record, export, search and history.

    records: (entity, id); clear: values to search for; limit: pages at most; see: gets every answer.
    """
    walk = Walk()
    todo: list[str] = [*START, *_of_records(records)]
    todo += _searches(clear)
    at = 0
    exports_added = False
    while at < len(todo) and walk.answers < limit:
        path = todo[at]
        at += 1
        if _shape(path) in walk.visited:
            continue
        walk.visited.add(_shape(path))
        answer = browser.get(path, follow=False)
        walk.note(answer)
        see(answer)
        if answer.status in (301, 302) and answer.header("location"):
            todo.insert(at, answer.header("location"))
        if b"<" not in answer.body[:4000]:
            continue
        found = sorted(set(_links(answer)))
        todo += [link for link in found if _shape(link) not in walk.visited]
        if not exports_added and 'data-ct-id="' in answer.text and "persons/contacts" in path:
            exports_added = True
            todo[at:at] = list(_exports(answer.text))
    return walk


def _of_records(records: Sequence[tuple[str, str]]) -> Iterator[str]:
    for entity, record in records:
        yield f"/persons/{entity}/{record}"
        yield f"/persons/{entity}/edit/{record}"
        yield f"/vcfs/{record}/generate_vcf"


def _searches(clear: Sequence[str]) -> Iterator[str]:
    for value in clear:
        yield f"/creme_core/search/light?value={quote(value)}"
        yield f"/creme_core/search?research={quote(value)}"
        for cell in CELLS:
            yield f"/persons/contacts?search-regular_field-{cell}={quote(value)}"


def _exports(page: str) -> Iterator[str]:
    number = re.search(r'data-ct-id="(\d+)"', page)
    if number is None:
        return
    for kind in ("csv", "scsv", "xls", "xlsx"):
        yield (
            f"/creme_core/mass_export?ct_id={number.group(1)}&type={kind}&hfilter=persons-hf_contact"
            "&sort_key=regular_field-last_name&sort_order=ASC&efilter="
            f"&extra_q={quote(EVERYTHING)}"
        )


def _links(answer: Answer) -> Iterator[str]:
    text = answer.text
    host = urlsplit(answer.url).netloc
    for raw in (*_LINK.findall(text), *_SCRIPT_PATH.findall(text)):
        url = urljoin(answer.url, html.unescape(raw))
        parts = urlsplit(url)
        if parts.netloc != host or parts.scheme not in ("http", "https") or _LEAVE.search(url):
            continue
        yield parts.path + (f"?{parts.query}" if parts.query else "")


def _shape(path: str) -> str:
    """Path and query; callback parameters do not make another page."""
    return re.sub(r"callback_url=[^&]*", "", path)


def walk_tryton(driver: TrytonDriver, clear: Sequence[str], limit: int, see: Callable[[Answer], None]) -> Walk:
    """Every model and every field of it, by read, search and export, plus searches by clear values."""
    walk = Walk()

    def note(answer: Answer) -> None:
        walk.note(answer)
        see(answer)

    plain = driver.browser
    driver.browser = _Watched(
        plain.base, plain.authority, extra_headers=plain.extra_headers, cookies=plain.cookies, see=note
    )
    try:
        for model in _models(driver):
            if walk.answers >= limit:
                break
            walk.visited.add(model)
            _walk_model(driver, model)
        for value in clear:
            for domain in _domains(value):
                _quietly(driver, "model.party.party.search_read", [domain, 0, 50, None, ["rec_name", "name"], {}])
    finally:
        driver.browser.close()
        driver.browser = plain
    return walk


@dataclass(slots=True)
class _Watched(Browser):
    """A browser that shows every answer to `see`."""

    see: Callable[[Answer], None] | None = None

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        answer = Browser.send(self, method, path, body, headers)
        if self.see is not None:
            self.see(answer)
        return answer


def _models(driver: TrytonDriver) -> list[str]:
    told = driver.call("model.ir.model.search_read", [[], 0, 1000, None, ["name"], {}])
    names = [row["name"] for row in told if "wizard" not in row["name"]]
    # People first, so that a short walk sees what matters.
    return sorted(names, key=lambda name: (not name.startswith("party."), name))


def _walk_model(driver: TrytonDriver, model: str) -> None:
    fields = _quietly(driver, f"model.{model}.fields_get", [[], {}])
    if not isinstance(fields, dict):
        return
    names = [name for name, about in fields.items() if about.get("type") not in {"binary"}]
    _quietly(driver, f"model.{model}.search_read", [[], 0, 500, None, names, {}])
    ids = _quietly(driver, f"model.{model}.search", [[], 0, 500, None, {}])
    if isinstance(ids, list) and ids:
        _quietly(driver, f"model.{model}.read", [ids, ["rec_name"], {}])
        _quietly(driver, f"model.{model}.export_data", [ids, ["rec_name"], {}])
        _quietly(driver, f"model.{model}.history_revisions", [ids[:50], {}])
        _quietly(driver, f"model.{model}.resources", [ids[:50], {}])


def _domains(value: str) -> Iterator[list[object]]:
    yield [["rec_name", "ilike", f"%{value}%"]]
    yield [["contact_mechanisms.value", "=", value]]
    yield [["name", "=", value]]


def _quietly(driver: TrytonDriver, method: str, params: list[object]) -> object:
    """A call whose refusal is part of the walk."""
    try:
        return driver.call(method, params)
    except (DriverFault, BrowserFault):
        return None
