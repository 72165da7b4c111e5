"""Hostile values in Creme: entered through the gateway, opened in Chromium on every page, exported, saved again.

Nothing may execute, nothing may change, and what a field cannot hold must be refused before Creme hears of it.
"""

import csv
import io
import re
import sqlite3
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import openpyxl
from playwright.sync_api import Page
from python_calamine import CalamineWorkbook

from gateway.demo.browser import Answer, Browser, BrowserFault, forms
from tests.drills.chromium import Desk
from tests.drills.hostile_values import Hostile
from tests.drills.stack import Stack

# Fields of a contact's form that take any text; a phone number is for the CRM to judge, and Creme takes anything.
FIELDS = ("last_name", "first_name", "billing_address-address", "description", "mobile", "skype")
COLUMNS = ("last_name", "first_name", "skype", "birthday", "billing_address__address", "description")
CLEAR_COLUMNS = ("Videoconference", "Description")  # free text: only known or recognised values in it are replaced
FORMULA = "=+-@\t\r"
_NUMBER = re.compile(r"[+-]?[0-9][0-9 ().,/-]*")
_VIEW = re.compile(r'value="(creme_core-userhf_[^"]+)"')
# Wakes every script that waits for a mouse or the focus, on everything that carries a text of its own.
HOVER = """() => {
  const some = 'a, [title], [data-tooltip], [aria-label], td, .fc-event, .history-line, .ui-creme-widget, img';
  for (const node of document.querySelectorAll(some))
    for (const kind of ['pointerover', 'mouseover', 'mouseenter', 'mousemove', 'focusin'])
      node.dispatchEvent(new MouseEvent(kind, {bubbles: true, cancelable: true, view: window}));
}"""
_VALUES = """() => {
  const form = document.querySelector('[name=last_name], [name=name]').form, told = {};
  for (const one of form.elements) if (one.name) told[one.name] = one.value;
  return told;
}"""


@dataclass(slots=True)
class Record:
    """One stored contact. values: form field → what was typed."""

    number: str
    owner: str
    values: Mapping[str, str]


@dataclass(slots=True)
class Tally:
    """What one part of the drill looked at and what went wrong there."""

    looked_at: int = 0
    wrong: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)  # what is not the gateway's doing, but worth knowing

    def expect(self, good: bool, what: str) -> None:
        """Count one look; `what` never holds a value, only which one it was."""
        self.looked_at += 1
        if not good:
            self.wrong.append(what)


def packed(values: Sequence[Hostile], *, everywhere: bool) -> Iterator[dict[str, str]]:
    """Values spread over the fields of contacts: each in every field, or each in one."""
    kept = [one.text for one in values if not one.refused]
    step, stride = (len(kept) // len(FIELDS), 1) if everywhere else (1, len(FIELDS))
    for start in range(0, len(kept), stride):
        yield {name: kept[(start + place * step) % len(kept)] for place, name in enumerate(FIELDS)}


def fill(browser: Browser, path: str, changes: Mapping[str, str], mark: str, *, page: Answer | None = None) -> Answer:
    """Open a form, fill it, send it as a browser does when a person waits for a page."""
    opened = page or browser.get(path).expect(200)
    index = next(n for n, form in enumerate(forms(opened)) if any(key == mark for key, _ in form.fields))
    return browser.submit(opened, changes, index, follow=False)


def store(browser: Browser, owner: str, rows: Sequence[Mapping[str, str]], tally: Tally) -> list[Record]:
    """Enter contacts; all of these must be taken."""
    page = browser.get("/persons/contact/add").expect(200)
    records = []
    for number, values in enumerate(rows):
        given = {**values, "phone": f"1380013{8000 + number}", "birthday": "1990-01-01"}
        sent = fill(browser, "", {**given, "billing_address-city": "Berlin"}, "last_name", page=page)
        tally.expect(sent.status == 302, f"contact {number} of {owner} was not taken: {sent.status}")
        if sent.status == 302:
            path = urlsplit(sent.header("location")).path
            records.append(Record(path.rpartition("/")[2], owner, values))
    return records


def store_organisations(browser: Browser, values: Sequence[Hostile], tally: Tally) -> list[str]:
    """Enter organisations; their numbers."""
    page = browser.get("/persons/organisation/add").expect(200)
    numbers = []
    for one in values:
        given = {"name": one.text, "billing_address-address": one.text, "description": one.text}
        sent = fill(browser, "", given, "name", page=page)
        tally.expect((sent.status != 302) is one.refused, f"organisation, {one.key}: {sent.status}")
        if sent.status == 302:
            numbers.append(urlsplit(sent.header("location")).path.rpartition("/")[2])
    return numbers


def add_meeting(browser: Browser, record: Record, title: str) -> str:
    """A meeting today about a contact, so that its name stands in calendars."""
    given = {
        "title": title,
        "description": title,
        "cform_extra-activities_start_0": time.strftime("%Y-%m-%d"),
        "cform_extra-activities_start_1": "10:00",
        "cform_extra-activities_end_1": "11:00",
        "cform_extra-activities_others_participants": f"[{record.number}]",
    }
    sent = fill(browser, "/activities/activity/add/meeting", given, "title").expect(302)
    return sent.header("location")


def push(browser: Browser, path: str) -> Answer:
    """What a button on a page sends."""
    about = {"x-csrftoken": browser.cookies.get("csrftoken", ""), "referer": browser.base + "/", "origin": browser.base}
    return browser.post(path, {}, headers=about, follow=False)


def walk(desk: Desk, records: Sequence[Record], organisations: Sequence[str], meeting: str, deleted: str) -> None:
    """Every kind of page with these records on it."""
    some = records[0]
    for kind, path in (
        ("home", "/"),
        ("my page", "/my_page"),
        ("list of contacts", "/persons/contacts?rows=50"),
        ("list of organisations", "/persons/organisations"),
        ("trash", "/creme_core/entity/trash"),
        ("calendar", "/activities/calendar/user"),
        ("activity", meeting),
        ("list of activities", "/activities/activities"),
        ("trashed contact", f"/persons/contact/{deleted}"),
    ):
        desk.open(path, kind)
        hover(desk, kind)
    for value in dict.fromkeys((some.values["last_name"], some.values["first_name"])):
        desk.open(f"/creme_core/search?research={quote(value)}", "search results")
    for number in organisations:
        desk.open(f"/persons/organisation/{number}", "organisation")
    for record in records:
        page = desk.open(f"/persons/contact/{record.number}", "detail and history")
        hover(desk, "detail and history")
        if record is some:
            popups(desk, page)
            quick_search(desk, page, some.values["last_name"])
    desk.open("/persons/contacts", "list of contacts")
    row_menu(desk)


def hover(desk: Desk, kind: str) -> None:
    """Let the mouse pass over everything."""
    desk.page.evaluate(HOVER)
    for one in desk.page.locator(".fc-event, .history-line, td [title]").all()[:2]:
        if one.is_visible():
            one.hover(force=True)
    desk.looked(f"{kind}, hovered")


def popups(desk: Desk, page: Page) -> None:
    """Inner edit of a field, in the popup that the page itself opens."""
    for link in ("last_name", "description"):
        found = page.locator(f"a[href*='edit/inner'][href*='regular_field-{link}']").first
        if found.count() == 0:
            continue
        found.evaluate("node => node.click()")
        page.wait_for_selector(".ui-dialog form, .ui-dialog .error, .ui-dialog [role=alert]", state="attached")
        desk.looked("popup: inner edit")
        page.keyboard.press("Escape")


def quick_search(desk: Desk, page: Page, value: str) -> None:
    """Type into the box at the top of the page and let its suggestions drop down."""
    box = page.locator("input[placeholder='Search']").first
    with page.expect_response(lambda answer: "/search/light" in answer.url):
        box.click()
        box.press_sequentially(value[:60])
    page.wait_for_load_state("networkidle")
    desk.looked("quick search")
    page.keyboard.press("Escape")


def row_menu(desk: Desk) -> None:
    """The menu of a row of a list."""
    for one in desk.page.locator(".row-actions-trigger").all()[:2]:
        one.evaluate("node => node.click()")
        desk.page.wait_for_selector(".row-actions-popover", state="attached")
        desk.looked("menu of a row")


def round_trip(desk: Desk, records: Sequence[Record], tally: Tally, hidden: frozenset[str] = frozenset()) -> None:
    """Edit form opened, compared with what was typed, saved as it is, opened and compared again.

    hidden: fields that this role does not see in clear.
    """
    for record in records:
        path = f"/persons/contact/edit/{record.number}"
        for moment in ("first", "after saving"):
            page = desk.open(path, "edit form")
            told = page.evaluate(_VALUES)
            for name in record.values.keys() - hidden:
                text = record.values[name]
                tally.expect(told.get(name) == as_shown(text), f"contact {record.number}, {name}, {moment}")
            if moment == "first":
                page.locator("form:has([name=last_name]) [type=submit]").first.click()
                page.wait_for_url(lambda url: "/edit/" not in url)
                tally.expect(urlsplit(page.url).path == f"/persons/contact/{record.number}", f"saving {record.number}")


def as_shown(text: str) -> str:
    """What a form's control holds of a text: line breaks are one character there."""
    return text.replace("\r\n", "\n")


def own_view(browser: Browser) -> tuple[str, str]:
    """A view with every hostile column and one to sort by; number of the type, id of the view."""
    listed = browser.get("/persons/contacts").text
    found = re.search(r"/creme_core/mass_import/(\d+)", listed)
    if found is None:
        raise BrowserFault("the list of contacts names no type")
    before = set(_VIEW.findall(listed))
    cells = ",".join(f"regular_field-{name}" for name in COLUMNS)
    fill(browser, f"/creme_core/header_filter/add/{found[1]}", {"name": "Hostile", "cells": cells}, "cells").expect(302)
    made = set(_VIEW.findall(browser.get("/persons/contacts").text)) - before
    if len(made) != 1:
        raise BrowserFault("the view was not made")
    return found[1], made.pop()


def exports(browser: Browser, records: Sequence[Record], tally: Tally) -> None:
    """All four kinds of export: they open, hold every value, and no cell is a formula."""
    number, view = own_view(browser)
    for kind in ("csv", "scsv", "xlsx", "xls"):
        answer = browser.get(
            f"/creme_core/mass_export?ct_id={number}&type={kind}&hfilter={view}"
            "&sort_key=regular_field-birthday&sort_order=ASC&efilter="
        ).expect(200)
        rows = _rows(answer, kind, tally)
        cells = {cell for row in rows for cell in row}
        for record in records:
            for name in ("last_name", "first_name", "billing_address-address"):
                text = record.values[name]
                kept = {text, "'" + text} if kind in ("csv", "scsv") else {text}
                tally.expect(bool(kept & cells) or _in_address(text, cells), f"{kind}, {name} of {record.number}")
        if kind in ("csv", "scsv"):
            named = {record.values[name] for record in records for name in ("last_name", "first_name")}
            for cell in named & cells:
                tally.expect(not cell.startswith(tuple(FORMULA)) or bool(_NUMBER.fullmatch(cell)), f"{kind}: a formula")


def _in_address(text: str, cells: set[str]) -> bool:
    return any(text in cell for cell in cells)


def _rows(answer: Answer, kind: str, tally: Tally) -> list[list[str]]:
    if kind in ("csv", "scsv"):
        told = answer.body.decode("utf-8-sig")
        return list(csv.reader(io.StringIO(told), delimiter=";" if kind == "scsv" else ","))
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(answer.body))
    rows = [[str(cell) for cell in row] for row in workbook.get_sheet_by_index(0).to_python()]
    if answer.body[:2] == b"PK":
        sheet = openpyxl.load_workbook(io.BytesIO(answer.body)).worksheets[0]
        _require_texts(sheet, rows, kind, tally)
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            tally.expect(archive.testzip() is None, f"{kind}: the archive is damaged")
    return rows


def _require_texts(sheet: Any, rows: list[list[str]], kind: str, tally: Tally) -> None:
    """No value that the gateway wrote is a formula, and two readers find the same cells."""
    labels = rows[0]
    for row, again in zip(sheet.iter_rows(), rows, strict=True):
        for cell, text, label in zip(row, again, labels, strict=True):
            if cell.data_type == "f" and label in CLEAR_COLUMNS:
                # Creme keeps this column in clear and makes the formula itself, with and without a gateway.
                tally.told.append(f"{kind}: Creme itself writes a formula into the column {label}")
                continue
            tally.expect(cell.data_type != "f", f"{kind}: a formula in {label}")
            tally.expect(_text(cell.value) == text, f"{kind}: openpyxl reads {label} unlike calamine")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


# (what, form field, value): what a field of a contact cannot hold.
UNFIT: tuple[tuple[str, str, str], ...] = (
    ("101 characters in a field of 100", "last_name", "x" * 101),
    ("250 characters in a field of 100", "first_name", "字" * 250),
    ("501 characters in a field of 500", "billing_address-address", "y" * 501),
    ("NUL", "last_name", "a\0b"),
    ("control character", "first_name", "a\x07b"),
    ("escape sequence", "billing_address-address", "a\x1b[31mb"),
    ("line break", "last_name", "Bob\r\nSet-Cookie: hit=1"),
    ("line feed alone", "first_name", "a\nb"),
    ("control character in a phone number", "mobile", "138\x0000138000"),
    ("250 characters in a phone number", "phone", "1" * 250),
    ("260 characters in an e-mail address", "email", "a" * 60 + "@" + ("b" * 60 + ".") * 4 + "example.com"),
)
TOLD = {
    "en": ("A field is too long", "A field holds something it cannot hold"),
    "zh": ("字段内容过长", "字段内容无效"),
}


def refused(stack: Stack, browser: Browser, tally: Tally, answers: dict[str, set[str]]) -> None:
    """Everything unfit is refused in the language of the browser, and Creme neither hears of it nor keeps anything."""
    page = browser.get("/persons/contact/add").expect(200)
    before = people_in(stack), posts_in(stack)
    browser.extra_headers["accept"] = "text/html,application/xhtml+xml"
    for language, titles in TOLD.items():
        browser.language = f"{language};q=0.9"
        for what, name, value in UNFIT:
            given = {"last_name": "Muster", "first_name": "Mia", name: value}
            answer = fill(browser, "", given, "last_name", page=page)
            title = next((one for one in titles if one in answer.text), "")
            answers.setdefault(what, set()).add(f"{answer.status} {title}".strip())
            good = answer.status == 422 and bool(title) and f"<code>{name.partition('-')[0]}" in answer.text
            tally.expect(good and value not in answer.text, f"{what} ({language}): {answer.status}")
    browser.extra_headers.pop("accept")
    browser.language = "en"
    tally.expect((people_in(stack), posts_in(stack)) == before, "Creme heard of a refused form")


def people_in(stack: Stack) -> tuple[int, ...]:
    """Rows of Creme's own tables."""
    file = stack.crm.folder / "crmproj" / "db.sqlite3"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        tables = ("persons_contact", "persons_address", "creme_core_historyline")
        return tuple(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)


def posts_in(stack: Stack) -> int:
    """Forms that Creme's own log has seen."""
    return stack.crm.child.log.read_bytes().count(b'"POST ')


def echoed(desk: Desk, values: Sequence[Hostile]) -> None:
    """Forms that Creme itself gives back with what was typed, on a page and beside its complaint."""
    for one in values:
        page = desk.open("/persons/contact/add", "form given back by Creme")
        page.evaluate("document.querySelector('[name=last_name]').form.noValidate = true")
        for name in ("last_name", "first_name", "email"):
            page.evaluate("([name, text]) => document.querySelector(`[name=${name}]`).value = text", [name, one.text])
        with page.expect_navigation():
            page.locator("form:has([name=last_name]) [type=submit]").first.click()
        desk.looked("form given back by Creme")


def kept_on_the_way_back(desk: Desk, tally: Tally) -> None:
    """A person who is refused goes back and finds what they typed."""
    page = desk.open("/persons/contact/add", "edit form")
    typed = {"first_name": "Mia", "description": "two\nlines", "billing_address-city": "Köln", "last_name": "M" * 250}
    page.evaluate("document.querySelector('[name=last_name]').removeAttribute('maxlength')")
    for name, text in typed.items():
        page.fill(f"[name='{name}']", text)
    with page.expect_navigation() as navigation:
        page.locator("form:has([name=last_name]) [type=submit]").first.click()
    status = navigation.value.status if navigation.value else 0
    tally.expect(status == 422, f"a form with 250 characters answered {status}")
    tally.expect("Go back" in page.inner_text("body") or "返回" in page.inner_text("body"), "no word about going back")
    page.go_back(wait_until="load")
    told = page.evaluate(_VALUES)
    for name, text in typed.items():
        tally.expect(told.get(name) == text, f"after going back, {name} is lost")
