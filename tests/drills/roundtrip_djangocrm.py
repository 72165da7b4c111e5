"""DjangoCRM's room of `make roundtrip`: workbooks of contacts, leads and companies, exported and imported again.

DjangoCRM updates nothing by a file: it finds what is there already by names, address and country, and skips it. It
works on a file in the background and says in the person's messages what it found; those are waited for.
"""

import io
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import openpyxl

from gateway.demo.browser import Answer, Browser, BrowserFault, Upload, forms
from gateway.demo.driver import DJANGOCRM as SITE
from gateway.demo.driver import DjangoCrmDriver
from gateway.demo.people import Person
from tests.drills.roundtrip_table import Line, Table, differing, read_table, tried
from tests.drills.stack import Stack

IMPORTS = {"company": "import-companies", "contact": "import_contacts", "lead": "import_leads"}
FIELDS = {
    "company": ("full_name", "email", "phone", "address", "description"),
    "contact": ("first_name", "last_name", "email", "mobile", "address", "description", "company"),
    "lead": ("first_name", "last_name", "email", "phone", "address", "description", "company_name"),
}
DATED = "birth_date"
"""A column that no file can bring: a date is kept for one record."""
WAIT_S = 60.0
Views = dict[str, dict[str, dict[str, str]]]


@dataclass(slots=True)
class Room:
    """People at work; importer: owns half of the records, sees them as sales does, and may import."""

    stack: Stack
    manager: DjangoCrmDriver
    importer: DjangoCrmDriver
    entered: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {model: [] for model in IMPORTS})
    own: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {model: [] for model in IMPORTS})

    @property
    def hands(self) -> dict[str, Browser]:
        """Who imports and looks."""
        return {"manager": self.manager.browser, "sales who may import": self.importer.browser}

    def sql(self, text: str, *values: str) -> list[tuple[str, ...]]:
        """What DjangoCRM itself holds."""
        with closing(sqlite3.connect(self.stack.crm.folder / "db.sqlite3", timeout=30)) as database:
            found = database.execute(text, values).fetchall()
            database.commit()
        return found

    def stored(self, model: str) -> dict[str, dict[str, str]]:
        """The records of a model as DjangoCRM holds them."""
        names = [name if name != "company" else "company_id" for name in FIELDS[model]]
        rows = self.sql(f"SELECT id, {', '.join(names)} FROM crm_{model}")
        return {str(row[0]): dict(zip(names, map(str, row[1:]), strict=True)) for row in rows}

    def said(self, login: str) -> str:
        """What DjangoCRM has told this person so far and not shown yet."""
        joined = "common_userprofile JOIN auth_user ON auth_user.id = user_id"
        query = f"SELECT messages FROM {joined} WHERE auth_user.username = ?"
        return "".join(text for (text,) in self.sql(query, login))


def furnish(stack: Stack, manager: DjangoCrmDriver, importer: DjangoCrmDriver, people: Sequence[Person]) -> Room:
    """A contact and a lead for everybody, every second one by the salesperson; contacts work for the user's company."""
    room = Room(stack, manager, importer)
    for number, person in enumerate(people):
        hand = importer if number % 2 else manager
        hand.add_person(person)
        company = f"Private customers of {'lin.sales' if number % 2 else 'wang.manager'}"
        contact = _written(person, mobile=person.phone, company=company)
        firm = {"full_name": f"{person.last_name} {number} GmbH", "email": f"firm{number}@example.com"}
        lead = _written(person, phone=person.phone, company_name=firm["full_name"])
        lead["email"] = f"lead{number}.{person.email}"
        add(hand, "lead", lead)
        add(hand, "company", firm)
        for model, values in (("contact", contact), ("lead", lead), ("company", firm)):
            room.entered[model].append(values)
            if hand is importer:
                room.own[model].append(values)
    return room


def _written(person: Person, **more: str) -> dict[str, str]:
    """What is entered of somebody. DjangoCRM takes line breaks out of what it imports, so none are entered."""
    return {
        "first_name": person.first_name, "last_name": person.last_name, "email": person.email,
        "address": person.address, "description": re.sub(r"\s+", " ", person.notes), **more,
    }  # fmt: skip


def add(hand: DjangoCrmDriver, model: str, values: Mapping[str, str]) -> None:
    """Fill and save the form of a new record; raises BrowserFault when DjangoCRM shows it again."""
    page = hand.browser.get(f"{SITE}/crm/{model}/add/").expect(200)
    mark = "full_name" if model == "company" else "first_name"
    index = next(at for at, form in enumerate(forms(page)) if any(name == mark for name, _ in form.fields))
    hand.browser.submit(page, dict(values), index, follow=False).expect(302)


def export(browser: Browser, model: str) -> Table:
    """All records of a list that the person may see, as DjangoCRM's workbook, whatever its type says."""
    path = f"{SITE}/crm/{model}/?all=yes"
    opened = browser.get(path).expect(200)
    token = dict(forms(opened)[0].fields)["csrfmiddlewaretoken"]
    ids = sorted(set(re.findall(r'name="_selected_action" value="(\d+)"', opened.text)), key=int)
    given = [("csrfmiddlewaretoken", token), ("action", "export_selected"), ("index", "0"), ("select_across", "0")]
    given += [("_selected_action", one) for one in ids]
    answer = browser.post(path, given, headers={"referer": opened.url, "origin": browser.base}, follow=False)
    table = read_table("xlsx", answer.expect(200).body)
    if answer.header("content-type") != "application/vnd.ms-excel":
        raise BrowserFault(f"the export says it is {answer.header('content-type')}")
    return Table("xlsx", [table.rows[0], *([cell.strip() for cell in row] for row in table.rows[1:])])


def undated(table: Table) -> Table:
    """Without the column that no file can bring."""
    return table.columns([name for name in table.rows[0] if name != DATED])


def upload(browser: Browser, model: str, table: Table) -> Answer:
    """The import form, filled and sent."""
    path = f"{SITE}/{IMPORTS[model]}/"
    opened = browser.get(path).expect(200)
    index = next(at for at, form in enumerate(forms(opened)) if "logout" not in form.action)
    token = dict(forms(opened)[index].fields)["csrfmiddlewaretoken"]
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in table.rows:
        book.active.append([cell or None for cell in row])
    file = io.BytesIO()
    book.save(file)
    browser.extra_headers |= {"referer": opened.url, "origin": browser.base}
    try:
        given = [("file", Upload(table.file_name, file.getvalue(), table.media_type))]
        return browser.post_files(path, [("csrfmiddlewaretoken", token)], given, follow=False)
    finally:
        for name in ("referer", "origin"):
            browser.extra_headers.pop(name)


def bring(room: Room, who: str, model: str, table: Table) -> int:
    """Import a table; how many of its rows DjangoCRM says are there already. Raises BrowserFault.

    DjangoCRM is done when every row is either told of or a new record.
    """
    login = "wang.manager" if who == "manager" else "lin.sales"
    before, known = len(room.stored(model)), room.said(login).count("Already exists")
    upload(room.hands[who], model, table).expect(302)
    until = time.monotonic() + WAIT_S
    while True:
        said = room.said(login)
        there = said.count("Already exists") - known
        if there + len(room.stored(model)) - before >= len(table.rows) - 1:
            return there
        if time.monotonic() > until:
            raise BrowserFault(f"the import was not worked off: {there} known, {said.count('ERROR')} errors")
        time.sleep(0.2)


def run(room: Room) -> list[Line]:
    """All checks; the records are there. Sales comes first: what an import brought waits for its record, and until
    then masks of those fields are refused in files."""
    lines: list[Line] = []
    for model in IMPORTS:
        lines += tried(f"{model}: files of sales", partial(_sales, room, model))
    for model in IMPORTS:
        lines += tried(f"{model}: the manager's file", partial(_manager, room, model))
    for model in ("contact", "lead"):
        lines += tried(f"{model}: new records", partial(_anew, room, model))
    return lines


def _views(room: Room, model: str) -> Views:
    """What DjangoCRM holds and what everybody's workbook says; rows by their number in it."""
    views: Views = {"the CRM": room.stored(model)}
    for who, browser in room.hands.items():
        rows = export(browser, model).rows
        views[who] = {str(at): dict(zip(rows[0], row, strict=True)) for at, row in enumerate(rows[1:])}
    return views


def _rows(table: Table, model: str) -> list[tuple[str, ...]]:
    return sorted(tuple(row[table.rows[0].index(name)] for name in FIELDS[model]) for row in table.rows[1:])


def _listed(entered: Sequence[Mapping[str, str]], model: str) -> list[tuple[str, ...]]:
    return sorted(tuple(one.get(name, "") for name in FIELDS[model]) for one in entered)


def _ours(room: Room, table: Table, model: str) -> Table:
    """The rows of what was entered here: the demo's companies of private customers are not."""
    if model != "company":
        return table
    names = {one["full_name"] for one in room.entered[model]}
    return table.only(lambda row: row[table.rows[0].index("full_name")] in names)


def _same(room: Room, model: str, what: str, before: Views) -> list[Line]:
    after = _views(room, model)
    counts = tuple(who for who in before if len(before[who]) != len(after[who]))
    lines = [differing(f"{what}: {who}", before[who], after[who]) for who in before]
    return [*lines, Line(f"{what}: no record more", 1, counts)]


def _sales(room: Room, model: str) -> list[Line]:
    who, browser = "sales who may import", room.importer.browser
    table, before = undated(_ours(room, export(browser, model), model)), _views(room, model)
    clear = {one[name] for one in room.own[model] for name in ("phone", "mobile", "email") if one.get(name)}
    leaks = tuple("a clear value" for row in table.rows for cell in row if cell in clear)
    lines = [Line(f"{model}: the workbook of sales holds masks", len(table.rows) - 1, leaks)]
    if len(table.rows) - 1 != len(room.own[model]):
        lines.append(Line(f"{model}: it has every own row", len(room.own[model]), (str(len(table.rows) - 1),)))
    known = bring(room, who, model, table)
    lines.append(Line(f"{model}: imported by sales, every row is known", known, _few(known, table)))
    lines += _same(room, model, f"{model}: the file of sales imported again", before)
    answer = upload(browser, model, table.changed(0, "email", "x***@example.com"))
    told = answer.json() if answer.status == 409 else {}
    # With a mask that fits no record the row tells of none, so the first of its masks is named.
    good = told.get("reason") == "mask-returned" and told.get("fields") in (["email"], ["mobile"])
    lines.append(Line(f"{model}: an edited mask is refused, the field named", 1, () if good else (str(answer.status),)))
    return [*lines, *_same(room, model, f"{model}: and nothing was done", before)]


def _few(known: int, table: Table) -> tuple[str, ...]:
    return () if known == len(table.rows) - 1 else (f"{known} of {len(table.rows) - 1}",)


def _manager(room: Room, model: str) -> list[Line]:
    given, before = _ours(room, export(room.manager.browser, model), model), _views(room, model)
    mine = [one for one in room.entered[model] if one not in room.own[model]]
    told, entered = _rows(given, model), _listed(mine, model)
    lines = [
        Line(
            f"{model}: the manager's workbook holds what was entered",
            len(entered) * len(FIELDS[model]),
            ()
            if told == entered
            else tuple(f"row {at}" for at, one in enumerate(told) if one not in entered) or ("rows",),
        )
    ]
    if any(row[given.rows[0].index(DATED)] for row in given.rows[1:] if DATED in given.rows[0]):
        answer = upload(room.manager.browser, model, given)
        good = answer.status == 422 and answer.json().get("fields") == [DATED]
        lines.append(
            Line(f"{model}: dates of birth are refused, the field named", 1, () if good else (str(answer.status),))
        )
    table = undated(given)
    known = bring(room, "manager", model, table)
    lines.append(Line(f"{model}: imported by the manager, every row is known", known, _few(known, table)))
    return [*lines, *_same(room, model, f"{model}: the manager's file imported again", before)]


def _anew(room: Room, model: str) -> list[Line]:
    """The records are deleted, then the manager's come in as new ones."""
    table = undated(export(room.manager.browser, model))
    held = {row["email"]: row for row in room.stored(model).values()}
    room.sql(f"DELETE FROM crm_{model}")
    known = bring(room, "manager", model, table)
    again = export(room.manager.browser, model)
    now, old = _rows(again, model), _rows(table, model)
    kept = room.stored(model)
    number = "mobile" if model == "contact" else "phone"
    # pandas reads "+8613…" as a number, which loses the sign, of surrogates as of clear numbers.
    same = all(
        held.get(row["email"], {}).get(number, "").lstrip("+") == row[number].lstrip("+") for row in kept.values()
    )
    linked = () if model != "contact" else tuple("a company" for row in kept.values() if row["company_id"] == "None")
    return [
        Line(
            f"{model}: new records, the manager sees the same",
            len(old) * len(FIELDS[model]),
            () if now == old and not known else ("rows",),
        ),
        Line(
            f"{model}: new records, the same surrogates of numbers and addresses",
            2 * len(kept),
            () if same else ("others",),
        ),
        Line(f"{model}: new records, with their companies", len(kept), linked),
    ]
