"""Tryton's room of `make roundtrip`: `export_data` and `import_data`, rows as arrays without names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.demo.driver import DriverFault, TrytonDriver
from gateway.demo.people import Person
from gateway.demo.tryton import DATABASE
from tests.drills.roundtrip_table import Line, differing

PARTY = "model.party.party"
COLUMNS = ["id", "name", "contact_mechanisms/id", "contact_mechanisms/type", "contact_mechanisms/value"]
ANEW = [0, 1, 3, 4]
"""The columns without the ids: what is imported so becomes new."""


@dataclass(slots=True)
class Room:
    """People at work; importer: owns half of the parties, sees them as sales does, and may import."""

    manager: TrytonDriver
    importer: TrytonDriver
    direct: TrytonDriver
    people: dict[int, Person]
    own: list[int]

    def seen(self, hand: TrytonDriver, parties: Sequence[int] = ()) -> dict[str, dict[str, str]]:
        """What somebody sees of parties, those of the room if none are named."""
        rows = exported(hand, list(parties or self.people))
        seen: dict[str, dict[str, str]] = {}
        record = ""
        for party, name, way, kind, value in rows:
            record = str(party) if party else record
            fields = seen.setdefault(record, {})
            if party:
                fields["name"] = name
            if way:
                fields[f"{kind} {way}"] = value
        return seen


def furnish(manager: TrytonDriver, importer: TrytonDriver, direct: TrytonDriver, people: Sequence[Person]) -> Room:
    """The people are entered, every second one by the salesperson."""
    room = Room(manager, importer, direct, {}, [])
    for number, person in enumerate(people):
        hand = importer if number % 2 else manager
        party = int(hand.add_person(person))
        room.people[party] = person
        if hand is importer:
            room.own.append(party)
    return room


def exported(hand: TrytonDriver, parties: Sequence[int]) -> list[list[Any]]:
    """Rows of an export, without a header."""
    rows: list[list[Any]] = hand.call(f"{PARTY}.export_data", [list(parties), COLUMNS, {}])
    return [["" if cell is None else cell for cell in row] for row in rows if row != COLUMNS]


def bring(hand: TrytonDriver, rows: Sequence[Sequence[Any]], columns: Sequence[str] = COLUMNS) -> int:
    """Import rows; how many records Tryton counts."""
    texts = [[str(cell) if cell != "" else "" for cell in row] for row in rows]
    return int(hand.call(f"{PARTY}.import_data", [list(columns), texts, {}]))


def run(room: Room) -> list[Line]:
    """All checks; the people are there."""
    hands = {"the CRM": room.direct, "manager": room.manager, "sales who may import": room.importer}
    before = {who: room.seen(hand) for who, hand in hands.items()}
    rows = exported(room.manager, list(room.people))
    texts = {cell for row in rows for cell in row}
    missing = [one for one in room.people.values() if not {one.full_name, one.phone, one.email} <= texts]
    lines = [Line("the manager's rows hold what was entered", 3 * len(room.people), tuple("a person" for _ in missing))]
    bring(room.manager, rows)
    lines += _same(room, "the manager's rows imported again", before)
    own = exported(room.importer, room.own)
    clear = {text for party in room.own for text in (room.people[party].phone, room.people[party].email)}
    leaks = tuple("a clear value" for row in own for cell in row if cell in clear)
    lines.append(Line("the rows of sales hold masks", len(own), leaks))
    bring(room.importer, own)
    lines += _same(room, "the rows of sales imported again", before)
    others = exported(room.importer, [one for one in room.people if one not in room.own])
    bring(room.importer, others)
    lines += _same(room, "rows of others, hidden, imported by sales", before)
    lines.append(_one_phone(room, before["the CRM"]))
    lines.append(_refused(room, own))
    lines += _anew(room, rows)
    return lines


def _same(room: Room, what: str, before: dict[str, dict[str, dict[str, str]]]) -> list[Line]:
    hands = {"the CRM": room.direct, "manager": room.manager, "sales who may import": room.importer}
    return [differing(f"{what}: {who}", before[who], room.seen(hand)) for who, hand in hands.items()]


def _one_phone(room: Room, before: dict[str, dict[str, str]]) -> Line:
    party, phone = room.own[0], "13700137001"
    rows = exported(room.manager, [party])
    at = next(number for number, row in enumerate(rows) if row[3] == "mobile")
    rows[at][4] = phone
    bring(room.manager, rows)
    found = differing("", before, room.seen(room.direct))
    place = f"{party}.mobile {rows[at][2]}"
    faults = tuple(one for one in found.faults if one != place) + (() if place in found.faults else ("not changed",))
    told = room.seen(room.manager, [party])[str(party)].values()
    return Line(
        "manager changes one phone: only that changes", found.compared, faults if phone in told else (*faults, "lost")
    )


def _refused(room: Room, own: Sequence[Sequence[Any]]) -> Line:
    rows = [list(row) for row in own]
    at = next(number for number, row in enumerate(rows) if row[3] == "mobile")
    rows[at][4] = "130****0000"
    before = room.seen(room.direct)
    body = {"id": 1, "method": f"{PARTY}.import_data", "params": [COLUMNS, [[str(c) for c in row] for row in rows], {}]}
    answer = room.importer.browser.post_json(f"/{DATABASE}/rpc/", body)
    fault = () if answer.status == 409 else (str(answer.status),)
    changed = differing("", before, room.seen(room.direct)).faults
    return Line("an edited mask is refused, and nothing was done", 1, fault + changed)


def _anew(room: Room, rows: Sequence[Sequence[Any]]) -> list[Line]:
    """The parties are deleted, then imported as new ones."""
    old = [[str(row[at]) if at else "" for at in ANEW] for row in rows]
    held = sorted(
        value for fields in room.seen(room.direct).values() for name, value in fields.items() if name != "name"
    )
    room.direct.call(f"{PARTY}.delete", [list(room.people), {}])
    known = set(parties(room.direct))
    try:
        bring(room.manager, [row[1:] for row in old], [COLUMNS[at] for at in ANEW if at])
    except DriverFault as fault:
        return [Line("new records", 0, (str(fault),))]
    new = sorted(set(parties(room.direct)) - known)
    again = [[str(row[at]) for at in ANEW if at] for row in exported(room.manager, new)]
    faults = () if sorted(again) == sorted(row[1:] for row in old) else ("other rows",)
    now = sorted(
        value for fields in room.seen(room.direct, new).values() for name, value in fields.items() if name != "name"
    )
    lines = [Line("new records: the manager sees the same", 3 * len(old), faults)]
    # One number was changed on the way, so all but that one are as they were.
    return [
        *lines,
        Line("new records: the same surrogates", len(now), () if len(set(held) - set(now)) <= 1 else ("others",)),
    ]


def parties(hand: TrytonDriver) -> list[int]:
    """Ids of all parties."""
    return [int(one) for one in hand.call(f"{PARTY}.search", [[], 0, None, [["id", "ASC"]], {}])]
