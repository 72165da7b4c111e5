"""Hostile values in DjangoCRM: entered through the gateway, opened in Chromium, exported, saved again.

DjangoCRM itself writes names into its lists without escaping them; behind the gateway only surrogates stand there.
"""

import io
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import openpyxl

from gateway.demo.browser import Browser, BrowserFault, forms
from gateway.demo.driver import DJANGOCRM as SITE
from tests.drills.chromium import Desk
from tests.drills.hostile_creme import HOVER, Record, Tally, as_shown, fill
from tests.drills.hostile_values import Hostile

# Fields of a contact's form that take any text; `title` stands in the CRM in clear, but for what is recognised in it.
FIELDS = ("first_name", "last_name", "middle_name", "phone", "address", "title")
FORMULA_FREE = ("first_name", "last_name", "address")
_VALUES = """() => {
  const form = document.querySelector('[name=first_name], [name=full_name]').form, told = {};
  for (const one of form.elements) if (one.name) told[one.name] = one.value;
  return told;
}"""
UNFIT: tuple[tuple[str, str, str], ...] = (
    ("101 characters in a field of 100", "last_name", "x" * 101),
    ("NUL", "last_name", "a\0b"),
    ("control character", "first_name", "a\x07b"),
    ("line break", "last_name", "Bob\r\nSet-Cookie: hit=1"),
    ("250 characters in a phone number", "phone", "1" * 250),
)


def packed(values: Sequence[Hostile], *, everywhere: bool) -> list[dict[str, str]]:
    """Values spread over the fields of contacts: each in every field, or each in one."""
    kept = [one.text for one in values if not one.refused]
    step, stride = (len(kept) // len(FIELDS), 1) if everywhere else (1, len(FIELDS))
    return [
        {name: kept[(start + place * step) % len(kept)] for place, name in enumerate(FIELDS)}
        for start in range(0, len(kept), stride)
    ]


def company(browser: Browser, one: Hostile, tally: Tally) -> str:
    """A company with the value in its name; its number."""
    given = {"full_name": one.text, "email": "firm@example.com", "description": one.text, "_continue": "x"}
    sent = fill(browser, f"{SITE}/crm/company/add/", given, "full_name")
    tally.expect(sent.status == 302, f"company, {one.key}: {sent.status}")
    return _number(sent.header("location"))


def store(browser: Browser, owner: str, firm: str, rows: Sequence[Mapping[str, str]], tally: Tally) -> list[Record]:
    """Enter contacts; all of these must be taken."""
    page = browser.get(f"{SITE}/crm/contact/add/").expect(200)
    records = []
    for number, values in enumerate(rows):
        given = {**values, "email": f"{owner}{number}@example.com", "company": firm, "_continue": "x"}
        sent = fill(browser, f"{SITE}/crm/contact/add/", given, "first_name", page=page)
        tally.expect(sent.status == 302, f"contact {number} of {owner} was not taken: {sent.status}")
        if sent.status == 302:
            records.append(Record(_number(sent.header("location")), owner, values))
    return records


def _number(location: str) -> str:
    found = re.search(r"/(\d+)/change/", location)
    if found is None:
        raise BrowserFault("the CRM did not lead to the new record")
    return found[1]


def walk(desk: Desk, records: Sequence[Record], firms: Sequence[str]) -> None:
    """Every kind of page with these records on it."""
    for kind, path in (
        ("home", "/"),
        ("list of contacts", "/crm/contact/?all=yes"),
        ("list of companies", "/crm/company/?all=yes"),
        ("list in a popup", "/crm/contact/?_popup=1"),
        *(("company", f"/crm/company/{firm}/change/") for firm in firms),
        *(
            (kind, f"/crm/contact/{record.number}/{page}")
            for record in records
            for kind, page in (
                ("contact", "change/"),
                ("history", "history/"),
                ("question before deleting", "delete/"),
                ("contact in a popup", "change/?_popup=1"),
            )
        ),
    ):
        desk.open(SITE + path, kind)
        desk.page.evaluate(HOVER)
        desk.looked(f"{kind}, hovered")
    for value in dict.fromkeys((records[0].values["first_name"], records[0].values["last_name"])):
        desk.open(f"{SITE}/crm/contact/?q={quote(value)}", "search results")


def round_trip(desk: Desk, records: Sequence[Record], tally: Tally, hidden: frozenset[str] = frozenset()) -> None:
    """Edit form opened, compared with what was typed, saved as it is, opened and compared again."""
    for record in records:
        path = f"{SITE}/crm/contact/{record.number}/change/"
        for moment in ("first", "after saving"):
            page = desk.open(path, "edit form")
            told = page.evaluate(_VALUES)
            for name in record.values.keys() - hidden:
                good = told.get(name) == as_shown(record.values[name])
                tally.expect(good, f"contact {record.number}, {name}, {moment}")
            if moment == "first":
                with page.expect_navigation():
                    page.locator("#contact_form [name=_save]").first.click()
                tally.expect(not page.locator(".errornote").count(), f"saving {record.number}")
                desk.looked("message after saving")


def exports(browser: Browser, records: Sequence[Record], tally: Tally) -> None:
    """The workbook opens, holds every value, and no cell that the gateway wrote is a formula."""
    page = browser.get(f"{SITE}/crm/contact/?all=yes").expect(200)
    token = dict(forms(page)[0].fields)["csrfmiddlewaretoken"]
    given = [("csrfmiddlewaretoken", token), ("action", "export_selected"), ("index", "0"), ("select_across", "0")]
    given += [("_selected_action", record.number) for record in records]
    about = {"referer": page.url, "origin": browser.base}
    answer = browser.post(f"{SITE}/crm/contact/?all=yes", given, headers=about, follow=False).expect(200)
    sheet = openpyxl.load_workbook(io.BytesIO(answer.body)).worksheets[0]
    labels = [str(cell.value) for cell in next(sheet.iter_rows())]
    found: dict[str, set[str]] = {}
    for row in sheet.iter_rows(min_row=2):
        for label, cell in zip(labels, row, strict=True):
            found.setdefault(label, set()).add(str(cell.value))
            if label in FORMULA_FREE:
                tally.expect(cell.data_type != "f", f"a formula in {label}")
    for record in records:
        for name in FORMULA_FREE:
            tally.expect(record.values[name] in found.get(name, set()), f"{name} of {record.number}")


def refused(browser: Browser, firm: str, tally: Tally, answers: dict[str, set[str]]) -> None:
    """What a field cannot hold is refused before DjangoCRM hears of it."""
    page = browser.get(f"{SITE}/crm/contact/add/").expect(200)
    for what, name, value in UNFIT:
        given = {"first_name": "Mia", "email": "mia@example.com", "company": firm, name: value}
        answer = fill(browser, f"{SITE}/crm/contact/add/", given, "first_name", page=page)
        answers.setdefault(what, set()).add(str(answer.status))
        tally.expect(answer.status == 422 and value not in answer.text, f"{what}: {answer.status}")
