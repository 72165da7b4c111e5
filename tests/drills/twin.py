"""`make twin`: the same searches at a CRM in plain text and, through the gateway, at its twin; what they find.

Both CRMs start from the same state and get the same people in the same order, so record numbers agree. A manager then
searches on both sides by whole values, beginnings, ends and parts (digits, Latin, Chinese), with totals, page by page
and in the order of each page; sorts by the columns that are not protected; and enters values again where the CRM warns
of duplicates. Anything that differs ends with exit code 1.

In the first story people are entered through the gateway. In the second they are in the CRM before it: the rounds are
made with 0, half and 100 % of the records protected, then with 0, half and 100 % of the values under new keys.
"""

import argparse
import contextlib
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table
from selectolax.lexbor import LexborHTMLParser

from gateway.demo.browser import Browser, BrowserFault, forms
from gateway.demo.driver import Driver, DriverFault, TrytonDriver, make_driver
from gateway.demo.people import Person, make_people
from tests.drills import twin_hooks
from tests.drills.stack import MEMBERS, Stack, installed
from tests.real.servers import CrmServer, creme, tryton

SERVERS = {"creme": creme, "tryton": tryton}
PAGE = 10
# Both hold clear values too: the contacts that Creme makes for its own users, or what a hook has not protected yet.
UNMIGRATED = "[tenant.main]\nmigrated = false"
MIGRATED = "[tenant.main]\nmigrated = true"
NOBODY = {"digits": "90909090", "Latin": "qqzzqq", "Chinese": "龘"}
_NAMESAKES = (("王", "伟"), ("王", "伟明"), ("李", "娜"), ("Smith", "John"), ("Smith", "Mary"), ("Smithson", "Mary"))
_SHARED = 3  # people of each of these names


@dataclass(frozen=True, slots=True)
class Search:
    """One search.

    kind: class of the table; column: the person's attribute; how: equality, prefix, suffix, part or duplicate.
    """

    kind: str
    column: str
    how: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one side found: the CRM's own total, and the records of each page in their order."""

    total: int
    pages: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One class of searches in one round. different: the first searches that did not agree, without their text."""

    phase: str
    kind: str
    alike: int
    total: int
    hits: int
    different: tuple[str, ...] = ()


@dataclass(slots=True)
class Twins:
    """Both sides with a manager at work; house: the installation that a hook works on."""

    crm: str
    plain: Driver
    through: Driver
    plain_server: CrmServer
    house: Stack
    people: Sequence[Person]
    views: tuple[str, str] = ("", "")

    def add(self, people: Sequence[Person], beside: Driver | None = None) -> None:
        """Enter people on both sides; beside: enters them in the second CRM instead of the manager at the gateway.

        Raises AssertionError when the record numbers part.
        """
        for person in people:
            numbers = {self.plain.add_person(person), (beside or self.through).add_person(person)}
            assert len(numbers) == 1, "the twins gave different record numbers"


Hook = tuple[str, Callable[[Twins], str | None]]
"""Name of the round after it, and what to do before (migrate or rotate a part, say), which may say how far it came."""
STAGES: tuple[Hook, ...] = (
    ("half migrated", lambda twin: twin_hooks.half_protected(twin.house)),
    ("migrated, 0 % rotated", lambda twin: twin_hooks.protected(twin.house)),
    ("half rotated", lambda twin: twin_hooks.half_rotated(twin.house)),
    ("rotated", lambda twin: twin_hooks.rotated(twin.house)),
)
"""The rounds of people who were in the CRM before the gateway, after the one with nothing migrated."""


@contextlib.contextmanager
def twins(name: str, people: Sequence[Person], settings_extra: str, *, before: bool = False) -> Iterator[Twins]:
    """Two CRMs of a kind with the same people, one of them behind the gateway; before: the people came before it."""
    with contextlib.ExitStack() as stack:
        servers: list[CrmServer] = [stack.enter_context(SERVERS[name]()) for _ in range(2)]
        house = stack.enter_context(installed(servers[1], settings_extra))
        through = house.at_work("manager")
        stack.callback(through.browser.close)
        plain = make_driver(name, Browser(servers[0].url))
        stack.callback(plain.browser.close)
        plain.log_in(MEMBERS["manager"], servers[0].passwords[MEMBERS["manager"]])
        made = Twins(name, plain, through, servers[0], house, people)
        if before:
            beside = house.direct("manager")
            made.add(people, beside)
            beside.browser.close()
            twin_hooks.keep_credential(house)
        else:
            made.add(people)
        if name == "creme":
            made.views = (creme_view(plain), creme_view(through))
        yield made


def crowd(count: int, seed: int = 7) -> list[Person]:
    """People with values of their own, and some who share a name with others."""
    rng = random.Random(seed)
    people = make_people(rng, count + len(_NAMESAKES) * _SHARED)
    for number, (last, first) in enumerate(_NAMESAKES * _SHARED):
        full = f"{first} {last}" if last.isascii() else last + first
        people[number] = replace(people[number], last_name=last, first_name=first, full_name=full)
    return sorted(people, key=lambda one: one.email)


def searches(crm: str, people: Sequence[Person], each: int, seed: int = 11) -> list[Search]:
    """Searches of every class, `each` of a class and column, cut from the people's own values."""
    rng = random.Random(seed)
    columns = {"creme": ("last_name", "first_name", "phone", "email", "address")}.get(
        crm, ("full_name", "phone", "email", "address")
    )
    found: list[Search] = []
    for column in columns:
        values = [str(getattr(one, column)) for one in people]
        for how in ("equality", "prefix", "suffix", "part"):
            for _ in range(each):
                text = rng.choice(values) if how == "equality" else _cut(rng, values, how)
                found.append(Search(_class(how, text), column, how, text))
        found += [Search(f"{how}, nobody", column, how, text) for how in ("part",) for text in NOBODY.values()]
    for column, text in (("full_name" if crm == "tryton" else "last_name", "王"), ("email", "example")):
        found.append(Search("paging", column, "part", text))
        found += [Search("sorting", column, way, text) for way in SORTED[crm]]
    if crm == "tryton":
        for column, nobody in (("email", "nobody@example.org"), ("phone", "13100000009")):
            values = [str(getattr(rng.choice(people), column)) for _ in range(each)]
            found += [Search("duplicate warning", column, "duplicate", text) for text in (*values, nobody)]
        found += [
            Search(
                f"box of the list, {kind}",
                "rec_name",
                "part",
                _cut(rng, [str(getattr(one, of)) for one in people], "part"),
            )
            for kind, of in (("name", "full_name"), ("phone", "phone"), ("e-mail", "email"))
            for _ in range(each)
        ]
    return found


SORTED = {
    "creme": ("created ASC", "created DESC"),
    "tryton": ("id DESC", "create_date ASC", "code ASC", "code DESC"),
}
"""Columns that are not protected, with the direction: the order has to be the same."""
SORT_LIMIT = "sorts by surrogate, not by value"
"""What `crmgate profile explain` says of the other columns."""


def _cut(rng: random.Random, values: Sequence[str], how: str) -> str:
    """A beginning, an end or a part that no blank begins or ends; one sign only where it is Chinese.

    Not of other scripts with two cases: SQLite, under both CRMs here, tells their cases apart, the gateway does not.
    """
    while True:
        value = rng.choice(values)
        wide = any(ord(sign) >= 0x2E80 for sign in value)
        length = min(len(value), rng.randint(1 if wide else 2, 6))
        start = {"prefix": 0, "suffix": len(value) - length}.get(how, rng.randint(0, len(value) - length))
        text = value[start : start + length]
        cased = any(not sign.isascii() and sign.lower() != sign.upper() for sign in text)
        if text.strip(" %_,.-'") == text and text and not cased and (len(text) > 1 or ord(text) >= 0x2E80):
            return text


def _class(how: str, text: str) -> str:
    if how == "equality":
        return how
    digits = all(not sign.isalpha() for sign in text)
    return f"{how}, {'digits' if digits else 'Latin' if text.isascii() else 'other scripts'}"


# -- Creme: the boxes over the list --------------------------------------------------------------------------------

_BOXES = {"phone": "mobile", "address": "billing_address__address"}
_SHOWN = ("last_name", "first_name", "phone", "mobile", "email", "billing_address__address", "created")


def creme_view(driver: Driver) -> str:
    """A list view of one's own: only columns that it shows can be searched. Returns its id."""
    browser = driver.browser
    listed = browser.get("/persons/contacts").expect(200)
    kind = re.search(r"/creme_core/mass_import/(\d+)", listed.text)
    assert kind is not None, "the list does not tell its type"
    page = browser.get(f"/creme_core/header_filter/add/{kind.group(1)}").expect(200)
    index = next(at for at, form in enumerate(forms(page)) if any(name == "name" for name, _ in form.fields))
    cells = ",".join(f"regular_field-{name}" for name in _SHOWN)
    browser.submit(page, {"name": "twin", "cells": cells}, index)
    found = re.findall(r'value="(creme_core-userhf_[^"]+)"', browser.get("/persons/contacts").text)
    assert found, "the view was not kept"
    return str(found[0])


def creme_search(driver: Driver, search: Search, view: str) -> Found:
    """All pages of one search; the box compares parts, whatever was cut."""
    browser = driver.browser
    pages: list[tuple[str, ...]] = []
    total = 0
    column, _, direction = (search.how if search.kind == "sorting" else "created ASC").partition(" ")
    for page in range(1, 40):
        given = {
            f"search-regular_field-{_BOXES.get(search.column, search.column)}": search.text,
            "hfilter": view,
            "sort_key": f"regular_field-{column}",
            "sort_order": direction,
            "rows": str(PAGE),
            "page": str(page),
            "content": "1",
            "selection": "multiple",
            "transient": "1",
        }
        token = browser.cookies.get("csrftoken", "")
        about = {"x-csrftoken": token, "referer": browser.base + "/", "origin": browser.base}
        answer = browser.post("/persons/contacts", given, headers={"x-requested-with": "XMLHttpRequest", **about})
        tree = LexborHTMLParser(answer.expect(200).body)
        table = tree.css_first("table.listview")
        total = int((table.attributes.get("data-total-count") if table else None) or 0)
        rows = [node.attributes.get("data-row-id") or "" for node in tree.css("tr.lv-row")]
        rows = [one for one in rows if one] or [
            node.attributes.get("value") or "" for node in tree.css("tr.lv-row input[name=entity_id]")
        ]
        assert len(rows) == min(PAGE, max(total - (page - 1) * PAGE, 0)), "a page does not hold what its total says"
        pages.append(tuple(rows))
        if page * PAGE >= total:
            break
    return Found(total, tuple(pages))


# -- Tryton: domains -----------------------------------------------------------------------------------------------

_COLUMNS = {
    "full_name": "name",
    "phone": "contact_mechanisms.value",
    "email": "contact_mechanisms.value",
    "address": "addresses.street",
    "rec_name": "rec_name",
}


def tryton_search(driver: Driver, search: Search, view: str) -> Found:
    """All pages of one search as a client makes them: a count and slices in the order of the numbers; no views here."""
    assert isinstance(driver, TrytonDriver)
    if search.how == "duplicate":
        return _warned(driver, search)
    text = search.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    how = "part" if search.kind == "sorting" else search.how
    operand = {"prefix": f"{text}%", "suffix": f"%{text}", "part": f"%{text}%"}.get(how, search.text)
    clause = [_COLUMNS[search.column], "=" if search.how == "equality" else "ilike", operand]
    total = int(driver.call("model.party.party.search_count", [[clause], {}]))
    pages: list[tuple[str, ...]] = []
    order = search.how.split(" ") if search.kind == "sorting" else ["id", "ASC"]
    for offset in range(0, max(total, 1), PAGE):
        rows = driver.call("model.party.party.search", [[clause], offset, PAGE, [order], {}])
        pages.append(tuple(map(str, rows)))
    return Found(total, tuple(pages))


def _warned(driver: TrytonDriver, search: Search) -> Found:
    """What Tryton says of a new mechanism with this value: it warns of a party that has the same."""
    kind = {"email": "email", "phone": "mobile"}[search.column]
    way = {"id": -1, "type": kind, "value": search.text, "party": -1}
    told = driver.call("model.party.contact_mechanism.on_change_notify", [way, {}])
    return Found(len(told), (tuple(sorted(f"{level}: {text}" for level, text in told)),))


SEARCHES: dict[str, Callable[[Driver, Search, str], Found]] = {"creme": creme_search, "tryton": tryton_search}


def compared(
    name: str,
    *,
    count: int = 60,
    each: int = 6,
    hooks: Sequence[Hook] = (),
    settings_extra: str = UNMIGRATED,
    before: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Line]:
    """Search on both sides of one CRM, once at the start and once after each hook; before: see `twins`."""
    people = crowd(count)
    tell("entering people on both sides")
    with twins(name, people, settings_extra, before=before) as twin:
        lines = one_round(twin, "0 % migrated" if before else "as entered", each, tell)
        for phase, hook in hooks:
            tell(phase)
            reached = hook(twin)
            lines += one_round(twin, f"{phase} ({reached})" if reached else phase, each, tell)
    return lines


def sort_limit_told(name: str) -> bool:
    """Whether `crmgate profile explain` says how protected columns are sorted."""
    command = [sys.executable, "-m", "gateway.cli", "profile", "explain", name]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return SORT_LIMIT in re.sub(r"[\s│├└─]+", " ", told)


def one_round(twin: Twins, phase: str, each: int, tell: Callable[[str], None] = lambda _: None) -> list[Line]:
    """Every search on both sides, summed up by class."""
    totals, alike, hits = Counter[str](), Counter[str](), Counter[str]()
    different: dict[str, list[str]] = {}
    for search in searches(twin.crm, twin.people, each):
        tell(f"{phase}: {search.kind}")
        drivers = zip((twin.plain, twin.through), twin.views, strict=True)
        sides = [_attempt(twin.crm, driver, search, view) for driver, view in drivers]
        totals[search.kind] += 1
        hits[search.kind] += sides[0].total if isinstance(sides[0], Found) else 0
        if sides[0] == sides[1] and isinstance(sides[0], Found):
            alike[search.kind] += 1
        else:
            told = [one if isinstance(one, str) else f"{one.total} found" for one in sides]
            different.setdefault(search.kind, []).append(
                f"{search.how} of {search.column} ({search.text!r}): {told[0]} | {told[1]}"
            )
    return [
        Line(phase, kind, alike[kind], totals[kind], hits[kind], tuple(different.get(kind, ())))
        for kind in sorted(totals)
    ]


def _attempt(crm: str, driver: Driver, search: Search, view: str) -> Found | str:
    try:
        return SEARCHES[crm](driver, search, view)
    except (BrowserFault, DriverFault) as fault:
        return f"{type(fault).__name__}: {fault}"


def show(name: str, lines: Sequence[Line], console: Console) -> None:
    """The table, and what differs."""
    table = Table(title=f"Search beside a plain-text twin: {name}, as manager")
    for column in ("round", "class", "alike", "searches", "records found"):
        table.add_column(column, justify="left" if column in ("round", "class") else "right")
    for line in lines:
        style = "green" if line.alike == line.total else "bold red"
        table.add_row(line.phase, line.kind, f"[{style}]{line.alike}[/]", str(line.total), str(line.hits))
    console.print(table)
    for line in lines:
        for told in line.different[:8]:
            console.print(f"   [bold red]{line.phase}, {line.kind}[/]: {told}", highlight=False)
    done, total = sum(line.alike for line in lines), sum(line.total for line in lines)
    console.print(f"{name}: {done} of {total} searches alike")


def main() -> int:
    """Run on the CRMs asked for; 1 when anything differs."""
    parser = argparse.ArgumentParser(prog="make twin", description=__doc__)
    parser.add_argument("--crm", choices=("creme", "tryton", "both"), default="both")
    parser.add_argument("--story", choices=("entered", "before", "both"), default="both")
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--migrated", action="store_true", help="entered: the gateway is told that nothing is clear")
    parser.add_argument("--each", type=int, default=12, help="searches of each class and column; before: half of it")
    given = parser.parse_args()
    console = Console(highlight=False, width=150)
    different = 0
    for name in ("creme", "tryton") if given.crm == "both" else (given.crm,):
        if not sort_limit_told(name):
            console.print(f"{name}: crmgate profile explain does not say how protected columns are sorted", style="red")
            different += 1
        for story in ("entered", "before") if given.story == "both" else (given.story,):
            with console.status(f"{name}: starting two of them") as status:
                lines = compared(
                    name,
                    count=given.people,
                    each=max(1, given.each // 2) if story == "before" else given.each,
                    hooks=STAGES if story == "before" else (),
                    settings_extra=MIGRATED if given.migrated and story == "entered" else UNMIGRATED,
                    before=story == "before",
                    tell=lambda what, name=name: status.update(f"{name}: {what}"),  # type: ignore[misc]
                )
            show(name, lines, console)
            different += sum(line.total - line.alike for line in lines)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
