"""Creme's room of `make roundtrip`: its lists exported as CSV, XLS and XLSX, and imported again as updates and anew."""

import json
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import psycopg

from gateway.demo.browser import Answer, Browser, Upload, forms
from gateway.demo.driver import CremeDriver
from gateway.demo.people import Person
from gateway.opening import open_database
from privacy import mask
from tests.conftest import unwalled
from tests.drills.mass_import import import_contacts, upload
from tests.drills.roundtrip_table import Line, Table, cell, differing, read_table, tried
from tests.drills.stack import Stack

CELLS = ("last_name", "first_name", "phone", "mobile", "email", "description", "billing_address__address")
FIELDS = ("last_name", "first_name", "phone", "mobile", "email", "description", "billing_address-address")
BY_EMAIL = {"key_fields": "email", "billaddr_address_colselect": "7"}
ANEW = {"billaddr_address_colselect": "7"}
WAIT_S = 240.0
HIDDEN = "\u2022" * 6


@dataclass(slots=True)
class Room:
    """People at work; importer: owns half of the records, sees them as sales does, and may import."""

    stack: Stack
    manager: CremeDriver
    importer: CremeDriver
    direct: Browser
    records: dict[str, Person]
    own: set[str]
    waited: set[str]
    """Cells of imports that waited before."""

    def stored(self) -> dict[str, dict[str, str]]:
        """What Creme itself has in its forms, by record."""
        return self.seen(self.direct)

    def seen(self, browser: Browser) -> dict[str, dict[str, str]]:
        """What somebody sees in the forms."""
        return {record: fields_of(browser, record) for record in self.records}

    def is_own(self, row: Sequence[str]) -> bool:
        """Whether a row is about somebody whom the salesperson entered."""
        own = {(one.last_name, one.first_name) for one in map(self.records.__getitem__, self.own)}
        return (cell(row[0]), cell(row[1])) in own

    def ours(self, row: Sequence[str]) -> bool:
        """Whether a row is about one of these people, not about staff."""
        return cell(row[5]) in {cell(one.notes) for one in self.records.values()}


def furnish(stack: Stack, manager: CremeDriver, importer: CremeDriver, people: Sequence[Person]) -> Room:
    """Creme's list gets the columns, and its people."""
    cells = json.dumps([{"type": "regular_field", "value": one} for one in CELLS])
    with closing(sqlite3.connect(next(stack.crm.folder.rglob("db.sqlite3")))) as database:
        database.execute("UPDATE creme_core_headerfilter SET json_cells = ? WHERE id = 'persons-hf_contact'", (cells,))
        database.commit()
    room = Room(stack, manager, importer, stack.direct("manager").browser, {}, set(), waiting(stack))
    for number, person in enumerate(people):
        who = replace(person, **ODD[number]) if number < len(ODD) else person
        hand = importer if number % 2 == 0 else manager
        record = hand.add_person(who)
        room.records[record] = who
        if hand is importer:
            room.own.add(record)
    return room


# (No quotation marks: Creme guesses how a file is written, and guesses wrong where they are doubled.)
# What tables trip over: formulas, separators, line breaks, leading zeros, long digits, apostrophes.
ODD: tuple[dict[str, str], ...] = (
    {"notes": "- first line, 13912345678\r\nsecond; it's 0012345678901234567890", "first_name": "O'Brien"},
    {"notes": "=1+1", "last_name": "=HYPERLINK", "phone": "010-62551234", "first_name": "'quoted'"},
    {"notes": "007, zhang@example.com", "phone": "0033 6 12 34 56 78"},
)


def fields_of(browser: Browser, record: str) -> dict[str, str]:
    """The edit form of a contact."""
    page = browser.get(f"/persons/contact/edit/{record}").expect(200)
    form = next(one for one in forms(page) if any(name == "last_name" for name, _ in one.fields))
    return {name: text for name, text in form.fields if name in FIELDS}


def export(browser: Browser, kind: str) -> Answer:
    """The list of contacts as a file."""
    page = browser.get("/persons/contacts").expect(200).text
    link = re.search(r'"([^"]*mass_export\?[^"]*extra_q[^"]*)"', page)
    assert link is not None
    return browser.get(link[1].replace("&amp;", "&") + f"&type={kind}").expect(200)


def table_of(room: Room, browser: Browser, kind: str, wanted: Callable[[Sequence[str]], bool]) -> Table:
    """An exported table without the rows of staff."""
    return read_table(kind, export(browser, kind).body).only(wanted)


def bring(browser: Browser, table: Table, changes: dict[str, str | None] | None = None) -> str:
    """Import a table; what Creme says of it."""
    file = Upload(table.file_name, table.encoded(), table.media_type)
    return import_contacts(browser, file, changes=BY_EMAIL if changes is None else changes)


def bring_all(room: Room, table: Table) -> int:
    """Import as the manager, each row with the owner it has: Creme makes an import's owner that of every row in it."""
    owners = {**BY_EMAIL, "user": room.stack.crm.user_ids["lin.sales"]}
    parts = ((table.only(room.is_own), owners), (table.only(lambda row: not room.is_own(row)), BY_EMAIL))
    return sum(_updated(bring(room.manager.browser, part, changes)) for part, changes in parts if len(part.rows) > 1)


def waiting(stack: Stack) -> set[str]:
    """The imports of which something waits for its record."""
    query = "SELECT cell FROM vault_origin WHERE record = '' AND starts_with(cell, 'import.') AND retired_at IS NULL"
    database = open_database(stack.settings)
    try:
        with psycopg.connect(unwalled(database.dsn)) as connection:
            return {cell for (cell,) in connection.execute(query).fetchall()}
    finally:
        database.close()


def settled(room: Room) -> bool:
    """Wait until nothing that these imports brought waits for its record any more."""
    until = time.monotonic() + WAIT_S
    while waiting(room.stack) - room.waited:
        if time.monotonic() > until:
            return False
        time.sleep(1)
    return True


def run(room: Room, kinds: Sequence[str]) -> list[Line]:
    """All checks; the people are there."""
    lines: list[Line] = []
    with closing(room.direct):
        for kind in kinds:
            lines += tried(f"manager's {kind}", partial(_manager, room, kind))
            lines += tried(f"{kind} of sales", partial(_importer, room, kind))
        lines += tried("manager changes one phone", partial(_one_phone, room, "xlsx"))
        lines += tried("sales changes one name", partial(_one_name, room, kinds[0]))
        lines += tried("refusals", partial(_refusals, room, kinds[0]))
        lines += tried("new records", partial(_anew, room, kinds[0]))
    return lines


def _views(room: Room) -> dict[str, dict[str, dict[str, str]]]:
    people = {"manager": room.manager.browser, "sales who may import": room.importer.browser}
    return {"the CRM": room.stored(), **{who: room.seen(browser) for who, browser in people.items()}}


def _unchanged(room: Room, what: str, before: dict[str, dict[str, dict[str, str]]]) -> list[Line]:
    after = _views(room)
    lines = [differing(f"{what}: {who}", before[who], after[who]) for who in before]
    return [*lines, Line(f"{what}: nothing waits for its record", 1, () if settled(room) else ("waits",))]


def _manager(room: Room, kind: str) -> list[Line]:
    table = table_of(room, room.manager.browser, kind, room.ours)
    entered = sorted(_entered(one) for one in room.records.values())
    told = sorted(tuple(cell(one) for one in row) for row in table.rows[1:])
    faults = tuple(
        f"row {number}" for number, pair in enumerate(zip(entered, told, strict=False)) if pair[0] != pair[1]
    )
    lines = [Line(f"manager's {kind} holds what was entered", len(told) * len(FIELDS), faults)]
    if len(told) != len(entered):
        lines.append(Line(f"manager's {kind} has every row", len(entered), (str(len(told)),)))
    before = _views(room)
    updated = bring_all(room, table)
    lines.append(Line(f"manager's {kind} updates", len(told), () if updated == len(told) else ("not all",)))
    return [*lines, *_unchanged(room, f"manager's {kind} imported again", before)]


def _entered(person: Person) -> tuple[str, ...]:
    cells = (person.last_name, person.first_name, "", person.phone, person.email, person.notes, person.address)
    return tuple(cell(one) for one in cells)


def _updated(said: str) -> int:
    found = re.search(r"(\d+) [^<>]*updated", said)
    return int(found[1]) if found else 0


def _importer(room: Room, kind: str) -> list[Line]:
    table = table_of(room, room.importer.browser, kind, room.is_own)
    clear = [text for record in room.own for text in (room.records[record].phone, room.records[record].email)]
    shown = {one for row in table.rows for one in row}
    leaks = tuple("a clear value" for one in clear if one in shown)
    lines = [Line(f"{kind} of sales holds masks", len(table.rows) - 1, leaks)]
    if len(table.rows) - 1 != len(room.own):
        lines.append(Line(f"{kind} of sales has every own row", len(room.own), (str(len(table.rows) - 1),)))
    before = _views(room)
    said = bring(room.importer.browser, table)
    updated = _updated(said)
    lines.append(Line(f"{kind} of sales updates", updated, () if updated == len(room.own) else ("not all",)))
    return [*lines, *_unchanged(room, f"{kind} of sales imported again", before)]


def _one_phone(room: Room, kind: str) -> Line:
    table = table_of(room, room.manager.browser, kind, room.ours)
    record = next(iter(room.own))
    number = next(at for at, row in enumerate(table.rows[1:]) if row[4] == room.records[record].email)
    before, phone = room.stored(), "13700137001"
    bring_all(room, table.changed(number, "Mobile", phone))
    after = room.stored()
    found = differing("manager changes one phone", before, after)
    faults = tuple(one for one in found.faults if one != f"{record}.mobile")
    if f"{record}.mobile" not in found.faults:
        faults += ("not changed",)
    if fields_of(room.manager.browser, record)["mobile"] != phone:
        faults += ("the manager sees another",)
    if not settled(room):
        faults += ("waits",)
    rows = table_of(room, room.importer.browser, "csv", room.is_own).rows
    if mask.mask("phone", phone) not in {row[3] for row in rows}:
        faults += ("its owner does not see its mask",)
    room.records[record] = replace(room.records[record], phone=phone)
    return Line("manager changes one phone: only that changes", found.compared, faults)


def _one_name(room: Room, kind: str) -> Line:
    table = table_of(room, room.importer.browser, kind, room.is_own)
    before = room.stored()
    bring(room.importer.browser, table.changed(0, "First name", "新名"))
    found = differing("", before, room.stored())
    changed = [record for record in room.own if f"{record}.first_name" in found.faults]
    faults = tuple(one for one in found.faults if not one.endswith(".first_name"))
    if len(changed) != 1 or fields_of(room.manager.browser, changed[0])["first_name"] != "新名":
        faults += ("not just the one name",)
    else:
        room.records[changed[0]] = replace(room.records[changed[0]], first_name="新名")
    if not settled(room):
        faults += ("waits",)
    return Line("sales changes one name and leaves masks: only that changes", found.compared, faults)


def _refusals(room: Room, kind: str) -> list[Line]:
    visible = table_of(room, room.importer.browser, kind, room.is_own)
    hidden = table_of(room, room.importer.browser, kind, lambda row: row[0] == HIDDEN)
    before, documents = room.stored(), _documents(room)
    lines = []
    cases: tuple[tuple[str, Table, str], ...] = (
        ("a mask that nobody showed", visible.changed(0, "Mobile", "130****0000"), "mobile"),
        ("rows of others, all hidden", hidden, "last_name"),
    )
    for what, table, name in cases:
        answer = upload(room.importer.browser, Upload(table.file_name, table.encoded(), table.media_type))
        told = answer.json() if answer.status == 409 else {}
        faults = () if told.get("reason") == "mask-returned" and told.get("fields") == [name] else (str(answer.status),)
        lines.append(Line(f"{what}: refused, the field named", 1, faults))
    unharmed = differing("refused tables changed nothing", before, room.stored())
    more = () if _documents(room) == documents else ("a document",)
    return [*lines, Line(unharmed.what, unharmed.compared, unharmed.faults + more)]


def _documents(room: Room) -> set[str]:
    return set(re.findall(r"/documents/document/(\d+)", room.direct.get("/documents/documents?rows=100").text))


def _anew(room: Room, kind: str) -> list[Line]:
    """The people are deleted, then imported as new ones."""
    table = table_of(room, room.manager.browser, kind, room.ours)
    before = {fields["email"]: fields["mobile"] for fields in room.stored().values()}
    browser = room.direct
    about = {"x-csrftoken": browser.cookies["csrftoken"], "referer": browser.base + "/", "origin": browser.base}
    for record in room.records:
        for _ in range(2):  # to the trash, then out of it
            browser.post(f"/creme_core/entity/delete/{record}", {}, headers=about, follow=False)
    bring(room.manager.browser, table, ANEW)
    again = table_of(room, room.manager.browser, kind, room.ours)
    faults = () if sorted(again.rows) == sorted(table.rows) else ("other rows",)
    held = {row[4]: row[3] for row in read_table(kind, export(room.direct, kind).body).rows[1:]}
    kept = () if all(held.get(email) == mobile for email, mobile in before.items()) else ("other surrogates",)
    return [
        Line("new records: the manager sees the same", len(table.rows) * len(FIELDS), faults),
        Line("new records: the same surrogates of numbers and addresses", len(before) * 2, kept),
        Line("new records: nothing waits for its record", 1, () if settled(room) else ("waits",)),
    ]
