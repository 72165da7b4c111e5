"""BottleCRM's room of `make roundtrip`: contacts as CSV with its guards, and as a workbook, previewed and imported."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.demo.browser import Answer, Browser, Upload
from gateway.demo.driver import BottleDriver
from gateway.demo.people import Person
from tests.drills.roundtrip_table import Line, Table, differing, read_table

FIELDS = ("first_name", "last_name", "email", "phone", "description", "address_line")
COLUMNS = ("First name", "Last name", "Email", "Phone")
ODD: tuple[dict[str, str], ...] = (
    {"phone": "+8613800138123", "notes": '- first line\nsecond; "quoted", it\'s 007'},
    {"phone": "010-62551234", "notes": "+1 for a demo", "first_name": "O'Brien"},
)


@dataclass(slots=True)
class Room:
    """People at work; importer: owns half of the records, sees them as sales does, and may import."""

    manager: BottleDriver
    importer: BottleDriver
    direct: BottleDriver
    people: dict[str, Person]
    own: set[str]

    def contacts(self, browser: Browser) -> dict[str, dict[str, str]]:
        """What somebody sees of these people, by record."""
        seen = {}
        for record in self.people:
            answer = browser.get(f"/api/contacts/{record}/")
            told = answer.json().get("contact_obj", {}) if answer.status == 200 else {}
            seen[record] = {name: str(told.get(name) or "") for name in FIELDS}
        return seen


def furnish(manager: BottleDriver, importer: BottleDriver, direct: BottleDriver, people: Sequence[Person]) -> Room:
    """The people are entered, every second one by the salesperson."""
    room = Room(manager, importer, direct, {}, set())
    for number, person in enumerate(people):
        who = replace(person, **ODD[number]) if number < len(ODD) else person
        hand = importer if number % 2 else manager
        record = hand.add_person(who)
        room.people[record] = who
        if hand is importer:
            room.own.add(record)
    return room


def run(room: Room) -> list[Line]:
    """All checks; the people are there."""
    told = export(room.manager.browser, room)
    entered = sorted((one.first_name, one.last_name, one.email, one.phone) for one in room.people.values())
    shown = sorted(tuple(row[told.rows[0].index(name)].removeprefix("'") for name in COLUMNS) for row in told.rows[1:])
    lines = [Line("the manager's CSV holds what was entered", len(entered) * 4, () if shown == entered else ("rows",))]
    lines += _again(room, told)
    lines += _anew(room, told)
    return lines


def export(browser: Browser, room: Room) -> Table:
    """The contacts of the room as the CRM's own CSV."""
    table = read_table("csv", browser.get("/api/contacts/export/").expect(200).body)
    return table.only(lambda row: row[0] in room.people)


def bring(browser: Browser, table: Table, step: str, codec: str = "utf-8-sig") -> Answer:
    """A file previewed or imported, its columns told by their labels."""
    file = Upload(table.file_name, table.encoded(codec), table.media_type)
    return browser.post_files(f"/api/contacts/import/{step}/", [("mapping", "auto")], [("file", file)])


def _again(room: Room, told: Table) -> list[Line]:
    """BottleCRM updates nothing by a file: it finds what is there already, and skips it.

    Sales comes first: what an import brought stays open here, and then masks of those fields are refused.
    """
    before = {who: room.contacts(hand.browser) for who, hand in _hands(room).items()}
    lines = []
    own = export(room.importer.browser, room).only(lambda row: row[0] in room.own).columns(COLUMNS)
    clear = {text for record in room.own for text in (room.people[record].phone, room.people[record].email)}
    leaks = tuple("a clear value" for row in own.rows for cell in row if cell.removeprefix("'") in clear)
    lines.append(Line("the CSV of sales holds masks", len(own.rows) - 1, leaks))
    answer = bring(room.importer.browser, own, "preview")
    seen = [one for one in clear if one in answer.text]
    good = answer.status == 200 and not seen
    lines.append(Line("its preview shows no more than the file", 1, () if good else (f"{answer.status}", *seen[:1])))
    bring(room.importer.browser, own, "commit")
    refused = bring(room.importer.browser, own.changed(0, "Phone", "130****0000"), "commit")
    fields = refused.json().get("fields") if refused.status == 409 else None
    lines.append(
        Line(
            "an edited mask is refused, the field named",
            1,
            () if fields in (["email"], ["phone"]) else (f"{refused.status}",),
        )
    )
    for kind in ("csv", "xlsx"):
        table = Table(kind, told.rows)
        for step in ("preview", "commit"):
            answer = bring(room.manager.browser, table, step)
            if step == "preview":
                known = answer.text.count('"email"') if answer.status == 200 else 0
                faults = () if known >= len(table.rows) - 1 else (f"{answer.status}",)
                lines.append(Line(f"{kind}, preview by the manager: every row is known already", known, faults))
            else:  # BottleCRM answers 400 where no row is left to import
                good = answer.status in (200, 201, 400)
                lines.append(Line(f"{kind}, commit by the manager", 1, () if good else (f"{answer.status}",)))
    after = {who: room.contacts(hand.browser) for who, hand in _hands(room).items()}
    return [*lines, *(differing(f"nothing changed: {who}", before[who], after[who]) for who in before)]


def _anew(room: Room, told: Table) -> list[Line]:
    """The people are deleted, then imported as new ones."""
    held = {fields["email"]: fields["phone"] for fields in room.contacts(room.direct.browser).values()}
    for record in room.people:
        room.direct.browser.send("DELETE", f"/api/contacts/{record}/").expect(200, 204)
    answer = bring(room.manager.browser, told, "commit")
    again = read_table("csv", room.manager.browser.get("/api/contacts/export/").expect(200).body)
    mail = again.rows[0].index("Email")
    emails = {row[told.rows[0].index("Email")] for row in told.rows[1:]}
    pick = [again.rows[0].index(name) for name in COLUMNS]
    new = sorted([row[at] for at in pick] for row in again.rows[1:] if row[mail] in emails)
    old = sorted([row[told.rows[0].index(name)] for name in COLUMNS] for row in told.rows[1:])
    direct = read_table("csv", room.direct.browser.get("/api/contacts/export/").expect(200).body)
    at = direct.rows[0].index("Phone")
    kept = {row[mail]: row[at].removeprefix("'") for row in direct.rows[1:]}
    same = all(kept.get(email) == phone for email, phone in held.items())
    return [
        Line(
            "new records: the manager sees the same", len(old) * 4, () if new == old else (f"{answer.status}", "rows")
        ),
        Line("new records: the same surrogates", len(held) * 2, () if same else ("others",)),
    ]


def _hands(room: Room) -> dict[str, BottleDriver]:
    return {"the CRM": room.direct, "manager": room.manager, "sales who may import": room.importer}
