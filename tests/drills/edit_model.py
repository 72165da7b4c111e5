"""What the edit drill knows: the truth of every field, what each role may see and write, and what a posted text means.

A text that a person posts back means the value it stood for when they read it, whatever it looked like. `judge`
compares what a manager reads after an edit with what the posted texts could mean; everything else is a fault.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.demo.people import Person, make_people
from gateway.reveal import PLACEHOLDER
from privacy import mask, recognise
from privacy.render import unguarded
from tests.drills.edit_crm import APART, DECLARED, FIELDS, NOBODYS_YEAR

Values = dict[str, str]
SEES: Mapping[str, Mapping[str, str]] = {
    "manager": dict.fromkeys(FIELDS, "clear"),
    "reader": dict.fromkeys(FIELDS, "clear"),
    "sales": {"name": "clear", "address": "clear", "email": "masked", "phone": "masked", "mobile": "masked"},
    "clerk": {
        "name": "clear",
        "email": "clear",
        **dict.fromkeys(("phone", "mobile", "id_card", "bank_card"), "masked"),
    },
    "blind": {},
}
# A note is free text: its personal parts follow the rights of their kinds (see KEEPS), the words around are anybody's.
WRITES: Mapping[str, frozenset[str]] = {
    "manager": frozenset(FIELDS),
    "sales": frozenset(FIELDS),
    "blind": frozenset(FIELDS),
    "clerk": frozenset({"name", "address", "stage"}),
    "reader": frozenset({"stage"}),
}
# Surrogates of the kinds that a role may not write, as they stand in a note in the CRM: a write of theirs keeps them.
_NUMBERS = re.compile(
    r"e\.[a-z2-7]{32}@|\+888[0-9]{11}|(?<![0-9])[0-9]{17}[0-9X](?![0-9])|(?<![0-9])[0-9]{19}(?![0-9])"
)
_TOKENS = re.compile(r"Z[qx][a-z2-7]{14}")
KEEPS: Mapping[str, tuple[re.Pattern[str], ...]] = {"clerk": (_NUMBERS,), "reader": (_NUMBERS, _TOKENS)}
STAGES = ("lead", "offer", "won", "lost")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one browser showed of a contact, and what was true then. way: json, form, csv, xlsx, page; old: stale."""

    way: str
    record: int
    shown: Mapping[str, str]
    truth: Mapping[str, str]
    old: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """One posted text. means: values that may stand in the field if it is accepted (none: it must be refused).

    how: a word for the report; sure: whether a sound gateway has to accept it (from somebody who may write it); old: it
    comes from an old page.
    """

    text: str
    means: frozenset[str]
    how: str
    sure: bool = False
    old: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken promise; number: of the edit."""

    number: int
    what: str
    who: str
    way: str
    name: str
    how: str
    detail: str = ""


@dataclass(slots=True)
class World:
    """Truth of all contacts, every declared value that ever was true with its fields, and the faults so far.

    loose: (record, field) whose value the gateway cannot tie to the record; tolerated: changes of those by old pages.
    imported: fields that an import brought; notes: what the CRM holds as the note of a record; respelled: values in
    exports in another of their spellings.
    """

    truth: dict[int, Values] = field(default_factory=dict)
    ever: dict[str, set[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    loose: set[tuple[int, str]] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    """Records whose date a bulk edit gave or kept: its answer does not say which of them the CRM wrote."""
    tolerated: int = 0
    notes: dict[int, str] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    respelled: int = 0

    def anchor(self, way: str, role: str, record: int, name: str, said: Said) -> None:
        """After an accepted write: whether the gateway knows that this value stands in this very record.

        It does not after an import (its rows name no record to the gateway), nor where somebody wrote a value without
        seeing it in clear. The known limit: roles that may not write the field cannot save it then, and an old page
        of theirs is not told from a fresh one.
        """
        knows = way not in ("csv", "xlsx") and (said.how in ("new", "emptied") or SEES[role].get(name) == "clear")
        changed = not any(same(self.truth[record][name], one) for one in said.means)
        if knows:
            self.loose.discard((record, name))
        elif changed or way in ("csv", "xlsx"):
            self.loose.add((record, name))

    def settle(self, record: int, values: Mapping[str, str]) -> None:
        """These values are true now."""
        self.truth.setdefault(record, dict.fromkeys(FIELDS, "")).update(values)
        for name, value in values.items():
            if name in DECLARED and len(value) > 3:
                self.ever.setdefault(value, set()).add(name)


def same(one: str, other: str) -> bool:
    """Whether two texts are the same to a person; forms write line ends their own way."""
    return one.replace("\r\n", "\n") == other.replace("\r\n", "\n")


class Writer:
    """Makes up what people type; the same randomness, the same texts."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._people: list[Person] = []

    def person(self) -> Person:
        """Somebody new."""
        if not self._people:
            self._people = make_people(random.Random(self._rng.getrandbits(32)), 60)
        return self._people.pop()

    def contact(self) -> Values:
        """All fields of a new contact."""
        one = self.person()
        values = {name: self.value(name) for name in FIELDS}
        return {**values, "note": f"{one.notes}\n电话{values['phone']}, {values['email']}"}

    def value(self, name: str) -> str:
        """A new value for a field, spelled in one of the ways people have."""
        rng, one = self._rng, self.person()
        phone = one.phone
        ways: dict[str, Callable[[], str]] = {
            "name": lambda: rng.choice(
                (one.full_name, f"{one.first_name} {one.last_name}", f"{one.full_name} <b>&amp;")
            ),
            "email": lambda: rng.choice((one.email, one.email, one.email.upper(), "none yet", f"x{one.email}")),
            "phone": lambda: rng.choice((phone, phone, _dashed(phone), f"+86 {phone}" if phone[0] == "1" else phone)),
            "mobile": lambda: rng.choice((phone, phone, _dashed(phone), f"{phone} ext. 7", "ask reception")),
            "id_card": lambda: rng.choice((one.id_card, one.id_card.lower(), "pending")) or "n/a",
            "bank_card": lambda: rng.choice((one.bank_card, _grouped(one.bank_card))),
            "address": lambda: rng.choice(
                (one.address, f"{one.address}\nBuilding 7, door “{rng.randint(1, 99)}”", f"-1层 {one.address}")
            ),
            "note": lambda: rng.choice((one.notes, f"met {one.full_name}, {one.phone}", "nothing to say", "")),
            "stage": lambda: rng.choice(STAGES),
            "birthday": lambda: rng.choice((str(one.birthday), str(one.birthday), "")),
            "memo": lambda: rng.choice(
                (f"For us only: {one.notes}\nSecond line & <b>more</b>", f"see {one.full_name}", "")
            ),
        }
        return ways[name]()

    def bad(self, name: str) -> str:
        """What no gateway may let through."""
        return self._rng.choice((f"{self.value(name)}\x00", "x" * 600)) if name != "address" else "x" * 600


def _dashed(phone: str) -> str:
    return f"{phone[:3]}-{phone[3:7]}-{phone[7:]}" if phone[0] == "1" else phone


def _grouped(card: str) -> str:
    return " ".join(card[at : at + 4] for at in range(0, len(card), 4))


def kept(seen: Snapshot, name: str, now: Values) -> Said:
    """A field posted back as it was shown."""
    text, value = seen.shown[name], seen.truth[name]
    if name == "birthday" and text.startswith(NOBODYS_YEAR):
        return keeps_day(text, now, "unchanged", seen.truth, old=seen.old)
    if seen.way in ("json", "form") or same(text, value) or (seen.way == "csv" and same(unguarded(text), value)):
        return Said(text, frozenset({value}), "unchanged", sure=same(value, now[name]), old=seen.old)
    return readable(text, now[name], value)


def keeps_day(text: str, now: Values, how: str, then: Values | None = None, *, old: bool = False) -> Said:
    """A day that stands for the date kept beside it: a record keeps the one it has, and one that has none gets this."""
    sure = then is not None and then["birthday"] == now["birthday"]
    means = {now["birthday"], text} if _is_no_date(now["birthday"]) else {now["birthday"]}
    return Said(text, frozenset(means), how, sure=sure, old=old)


def _is_no_date(text: str) -> bool:
    return not text or text.startswith(NOBODYS_YEAR)


def readable(text: str, *values: str) -> Said:
    """A mask or placeholder made for reading: it stands for the value of this field that looks like it, or nothing."""
    return Said(text, frozenset(value for value in values if value), "readable mask")


def around(seen: Snapshot, name: str, rng: random.Random) -> Said:
    """Text typed before or after what was shown."""
    before, after = rng.choice((("", " (new)"), ("see ", ""), ("1", ""), ("", "9"), ("«", "»"), ("a", ""), ("", "z")))
    text, value = seen.shown[name], seen.truth[name]
    if rng.random() < 0.3 and len(text) > 8:  # one sign lost: what is left means the same, or nothing
        torn = text[1:] if rng.random() < 0.5 else text[:-1]
        plain = same(text, value) or (seen.way == "csv" and same(unguarded(text), value))
        meant = {torn} if plain else {value[1:], value[:-1]} if name == "note" else {value}
        return Said(torn, frozenset(meant), "one sign deleted")
    guarded = {f"{before}{text}{after}"} if seen.way == "csv" and same(unguarded(text), value) else set()
    return Said(f"{before}{text}{after}", frozenset({f"{before}{value}{after}"} | guarded), "text around")


def pasted(other: Snapshot, name: str, into: str, now: Values) -> Said:
    """What was shown of another record, or of another field."""
    text, value = other.shown[name], other.truth[name]
    if into == "birthday" and text.startswith(NOBODYS_YEAR):
        return keeps_day(text, now, "pasted")
    if other.way in ("json", "form") or same(text, value):
        return Said(text, frozenset({value}), "pasted")
    if other.way == "csv" and same(unguarded(text), value):
        return Said(text, frozenset({value, text}), "pasted")
    mine = now[into]
    fits = text == PLACEHOLDER or text in {
        mask.mask(kind, mine) for kind in ("name", "email", "phone", "id_card", "bank_card", "address")
    }
    return Said(text, frozenset({mine} if fits else ()), "pasted mask")


def guessed(role: str, name: str, said: Said) -> bool:
    """Whether somebody without the right typed a value of a field that he does not see in clear."""
    blind = name in DECLARED and name not in WRITES[role] and SEES[role].get(name) != "clear"
    return blind and said.how == "new" and bool(said.text)


def judge(
    world: World,
    number: int,
    who: str,
    way: str,
    posted: Mapping[int, Mapping[str, Said]],
    accepted: bool,
    read: Mapping[int, Values],
) -> None:
    """Compare what a manager reads now with what was meant; note faults, then take what is read for true."""
    role = who.rstrip("12")
    for record, values in read.items():
        before = world.truth[record]
        for name in FIELDS:
            said, actual = posted.get(record, {}).get(name) if accepted else None, values[name]
            how = said.how if said is not None else "not posted" if accepted else "refused"
            allowed = said.means if said is not None else frozenset({before[name]})
            if not any(same(actual, one) or (way == "csv" and same(actual, unguarded(one))) for one in allowed):
                if said is not None and _digits(actual) in {_digits(one) for one in allowed} and actual in world.ever:
                    world.respelled += 1  # the same number stands elsewhere, spelled so
                    continue
                what = "value lost or overwritten" if said is None or said.how == "unchanged" else "not what was meant"
                detail = (
                    f"{before[name]!r} → {actual!r}, posted {said.text if said else None!r}, meant {sorted(allowed)!r}"
                )
                world.faults.append(Fault(number, what, who, way, name, how, detail))
            elif name not in WRITES[role] and name != "note" and _changed(name, actual, before[name]):
                if (record, name) in world.loose:
                    world.tolerated += 1
                    continue
                detail = f"{before[name]!r} → {actual!r}"
                world.faults.append(Fault(number, "written without the right", who, way, name, how, detail))
        if accepted and way in ("csv", "xlsx"):
            world.imported |= set(posted.get(record, {}))
        for name, said in posted.get(record, {}).items() if accepted else ():
            world.anchor(way, role, record, name, said)
        world.settle(record, values)


def _changed(name: str, actual: str, before: str) -> bool:
    """Whether a value is another one; a placeholder in the CRM with nothing kept beside it is no date."""
    if name == "birthday" and _is_no_date(actual) and _is_no_date(before):
        return False
    return not same(actual, before)


def parts_kept(world: World, number: int, who: str, way: str, record: int, note: str) -> None:
    """A note keeps the parts that its writer may not write; then this is what it holds."""
    before = world.notes.get(record, note)
    for pattern in KEEPS.get(who.rstrip("12"), ()):
        if set(pattern.findall(before)) != set(pattern.findall(note)):
            detail = f"{before!r} → {note!r}"
            world.faults.append(Fault(number, "part of a text changed without the right", who, way, "note", "", detail))
    world.notes[record] = note


def at_rest(world: World, number: int, record: int, stored: Mapping[str, str]) -> None:
    """The CRM holds no declared value of this contact in clear, in its own field or in any other."""
    truth = world.truth[record]
    for name in DECLARED:
        value = truth[name]
        if value and same(stored[name], value):
            world.faults.append(Fault(number, "clear at rest", "", "", name, "", repr(value)))
    if not _is_no_date(stored["birthday"]) or (stored["memo"] and not stored["memo"].startswith("~")):
        world.faults.append(Fault(number, "clear at rest", "", "", "birthday or memo", "", repr(truth)))
    for name in ("email", "phone", "mobile", "id_card", "bank_card"):
        # A letter or digit typed right beside a number makes it another word, which no recogniser takes for it.
        value = re.escape(truth[name])
        alone = re.compile(value if "@" in value else rf"(?<![A-Za-z0-9]){value}(?![A-Za-z0-9])")
        if recognise.whole(truth[name]) is None:
            continue  # a number with a sign too many is nobody's
        at = next((one for one, text in stored.items() if alone.search(text)), None)
        if at is not None:
            detail = f"{truth[name]!r} in {at}: {stored[at]!r}"
            world.faults.append(Fault(number, "clear at rest", "", "", name, "in another field", detail))


def leaks(world: World, number: int, who: str, seen: Snapshot) -> None:
    """What a role was shown must not be what it may not see."""
    role = who.rstrip("12")
    for name in (*DECLARED, *APART):
        value = seen.truth[name]
        if name not in seen.shown or (name == "birthday" and _is_no_date(value)):
            continue
        elsewhere = any(SEES[role].get(one) == "clear" for one in world.ever.get(value, ()))  # pasted from there
        if len(value) > 3 and SEES[role].get(name) != "clear" and same(seen.shown[name], value) and not elsewhere:
            world.faults.append(Fault(number, "shown in clear", who, seen.way, name, "", repr(value)))


def _digits(text: str) -> str:
    """A number without its country code and separators; else the text."""
    digits = "".join(sign for sign in text if sign.isdecimal())
    plain = not any(sign.isalpha() for sign in text)
    return digits.removeprefix("86") if plain and len(digits) >= 10 else text


def same_number(one: str, other: str) -> bool:
    """Whether two spellings are those of one number."""
    return _digits(one) == _digits(other)


def summary(faults: Iterable[Fault]) -> dict[tuple[str, str, str, str], int]:
    """Faults counted by what, way, field and how."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for one in faults:
        key = (one.what, one.way, one.name, one.how)
        counts[key] = counts.get(key, 0) + 1
    return counts
