"""`make leak`: seeds unique values through the gateway, walks the CRM as every role, dumps its database and files.

The only passing figure is 0 for e-mail, phone, ID and card anywhere, and for names and addresses in declared fields
and, where they are known values, in notes. Names in prose that nothing declared are counted on a line of their own, and
so are names and addresses that an answer shows again to the person who typed them into that very search.
"""

import argparse
import dataclasses
import random
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.progress import track
from rich.table import Table

from gateway.demo.browser import Answer
from gateway.demo.driver import BottleDriver, Driver, TrytonDriver
from gateway.demo.people import Organisation, Person, make_organisations, make_people
from tests.drills import leak_bottle
from tests.drills.crawl import Walk, walk_creme, walk_tryton
from tests.drills.crawl_djangocrm import walk_djangocrm
from tests.drills.seek import READINGS, Seeker, Sought
from tests.drills.stack import Stack, installed
from tests.real.servers import SERVERS

SEED = 20261122
KINDS = ("e-mail", "phone", "ID", "card", "name", "address")
AT_WORK = ("sales", "other_sales", "manager")  # roles with an account in the CRM
RECOGNISED = ("e-mail", "phone", "ID", "card")  # what needs no profile
GENERIC = "generic"
UNDECLARED = "undeclared name in prose"
CLUSTER = "database file "
PAGES = {"creme": walk_creme, "djangocrm": walk_djangocrm}


@dataclass(slots=True)
class Seeded:
    """What was entered: sought values and the records they went into, by owner."""

    sought: list[Sought] = field(default_factory=list)
    records: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Finding:
    """One line of the result."""

    where: str
    looked_at: int
    statuses: str
    found: dict[str, int]
    examples: list[str]
    typed: int = 0


def with_everything(person: Person, stranger: str) -> Person:
    """The person with notes that repeat every one of their values and name somebody nobody declared."""
    notes = (
        f"{person.notes} 电话{person.phone}，邮箱{person.email}，身份证{person.id_card}，卡号{person.bank_card}。"
        f"{person.full_name} met {stranger} at {person.address}"
    )
    return dataclasses.replace(person, notes=notes)


def seed(stack: Stack, people: list[Person], organisations: list[Organisation], strangers: list[str]) -> Seeded:
    """Enter everything through the gateway; a quarter belongs to the sales user."""
    drivers = {who: stack.at_work(who) for who in ("manager", "sales")}
    seeded = Seeded()
    for number, (person, stranger) in enumerate(zip(track(people, "seeding people"), strangers, strict=True)):
        who = "sales" if number % 4 == 0 else "manager"
        driver, told = drivers[who], with_everything(person, stranger)
        record = driver.add_person(told)
        if isinstance(driver, BottleDriver):
            leak_bottle.enter_elsewhere(driver, told, record, number)
        seeded.records.append(("contact", record))
        seeded.sought += values_of(person, who, stranger)
    for organisation in organisations:
        record = drivers["manager"].add_organisation(organisation)
        seeded.records.append(("organisation", record))
        seeded.sought += [
            Sought(organisation.name, "name", "manager"),
            Sought(organisation.email, "e-mail", "manager"),
            Sought(organisation.phone, "phone", "manager"),
            Sought(organisation.address, "address", "manager"),
        ]
    for driver in drivers.values():
        driver.browser.close()
    return seeded


def values_of(person: Person, owner: str, stranger: str) -> Iterator[Sought]:
    yield Sought(person.email, "e-mail", owner)
    yield Sought(person.phone, "phone", owner)
    yield Sought(person.id_card, "ID", owner)
    yield Sought(person.bank_card, "card", owner)
    yield Sought(person.full_name, "name", owner)
    yield Sought(person.address, "address", owner)
    yield Sought(stranger, UNDECLARED, owner)


def hidden_from(role: str, sought: Iterable[Sought]) -> list[Sought]:
    """What this role must not see; sales may read names and addresses of their own customers."""
    if role != "sales":
        return list(sought)
    return [one for one in sought if not (one.owner == "sales" and one.kind in ("name", "address"))]


def walk_as(stack: Stack, role: str, seeded: Seeded, limit: int) -> Finding:
    """Walk everything as one role and count what it should not have seen."""
    seeker = Seeker(hidden_from(role, seeded.sought))
    found: dict[Sought, str] = {}
    typed: set[Sought] = set()

    # The control only has to show that the seeker finds what is shown; one reading does.
    find = seeker.find_plain if role == "manager" else seeker.find

    def see(answer: Answer) -> None:
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers).encode()
        own = unquote(urlsplit(answer.url).query)
        for one in seeker.find_plain(headers) | find(answer.body):
            if one.kind in ("name", "address") and one.value in own:
                typed.add(one)
                continue
            found.setdefault(one, f"{answer.method} {answer.url.partition('?')[0].rpartition('localhost')[2]}")

    clear = [one.value for one in seeded.sought if one.kind in ("phone", "e-mail", "ID", "name")][
        :: max(1, len(seeded.sought) // 12)
    ]
    walk = _walk(stack, role, seeded, clear, limit, see)
    finding = _finding(role, walk.answers, " ".join(f"{k}:{v}" for k, v in sorted(walk.statuses.items())), found)
    finding.typed = len(typed)
    return finding


def _walk(stack: Stack, role: str, seeded: Seeded, clear: list[str], limit: int, see: object) -> Walk:
    name = stack.crm.crm.name
    if role in AT_WORK:
        driver: Driver = stack.at_work(role)
        browser = driver.browser
    else:
        browser = stack.browser() if role == "anonymous" else stack.signed_in(role)
        driver = TrytonDriver(browser)
    try:
        if name == "bottle":
            return leak_bottle.walk(browser, seeded.records, clear, limit, see)  # type: ignore[arg-type]
        if name in PAGES:
            return PAGES[name](browser, seeded.records, clear, limit, see)  # type: ignore[arg-type]
        if role in AT_WORK:
            assert isinstance(driver, TrytonDriver)
            return walk_tryton(driver, clear, limit, see)  # type: ignore[arg-type]
        walk = Walk()
        for method in ("common.db.login", "model.party.party.search_read", "model.ir.model.search_read"):
            answer = browser.post_json(
                "/crm/rpc/", {"id": 1, "method": method, "params": [[], 0, 10, None, ["name"], {}]}
            )
            walk.note(answer)
            see(answer)  # type: ignore[operator]
        return walk
    finally:
        browser.close()


def at_rest(stack: Stack, seeded: Seeded) -> Finding:
    """Everything the CRM keeps: its database as text and as bytes, its files, its log."""
    stack.crm.child.stop()
    seeker = Seeker(seeded.sought)
    found: dict[Sought, str] = {}
    looked = 0
    folder = stack.crm.folder
    for label, body in stored(folder, stack.crm.child.log):
        looked += 1
        # Pages of a database server are no text; what stands in its tables is read row by row besides.
        find = seeker.find_plain if label.startswith(CLUSTER) else seeker.find
        for one in find(body):
            found.setdefault(one, label)
    return _finding("CRM at rest", looked, "files and tables", found)


def stored(folder: Path, log: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of everything a stopped CRM keeps; tables of its database also row by row."""
    yield "log", log.read_bytes()
    if (folder / "cluster").exists():
        yield from leak_bottle.rows(folder)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or "static" in path.relative_to(folder).parts:
            continue  # style sheets and scripts that the CRM generated before anybody was entered
        if path.is_relative_to(folder / "pg"):
            yield CLUSTER + path.name, path.read_bytes()
            continue
        yield path.name, path.read_bytes()
        if path.suffix in (".sqlite", ".sqlite3"):
            with closing(sqlite3.connect(path)) as database:
                tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for table in tables:
                    rows = database.execute(f'SELECT * FROM "{table}"').fetchall()
                    yield f"table {table}", "\n".join(map(repr, rows)).encode("utf-8", "replace")


def own_files(stack: Stack, seeded: Seeded) -> Finding:
    """What crmgate itself writes outside its vault: its log, its audit trail, its folders."""
    seeker = Seeker(seeded.sought)
    found: dict[Sought, str] = {}
    looked = 0
    for path in [stack.gateway.log, *sorted(stack.home.folder.rglob("*"))]:
        if path.is_file():
            looked += 1
            # The database's pages are no text: what stands in them in clear stands there as it is.
            find = seeker.find_plain if "database" in path.parts else seeker.find
            for one in find(path.read_bytes()):
                found.setdefault(one, path.name)
    return _finding("crmgate's own files", looked, "log, database, state", found)


def _finding(where: str, looked_at: int, statuses: str, found: dict[Sought, str]) -> Finding:
    counts = {kind: sum(1 for one in found if one.kind == kind) for kind in (*KINDS, UNDECLARED)}
    examples = sorted({f"{one.kind} in {place}" for one, place in found.items() if one.kind != UNDECLARED})[:12]
    return Finding(where, looked_at, statuses, counts, examples)


def drill(name: str, people: int, organisations: int, limit: int, console: Console, profile: str = "") -> int:
    """The whole drill on one CRM; the number of values that should not have been seen.

    profile: another one than the CRM's own; with `generic` nothing is declared, and only what recognisers know counts.
    """
    rng = random.Random(SEED)
    persons = make_people(rng, people)
    strangers = [
        one.full_name
        for one in make_people(random.Random(SEED + 1), people * 3)
        if one.full_name not in {p.full_name for p in persons}
    ][:people]
    firms = make_organisations(rng, organisations, apart_from=persons)
    chosen = f'[tenant.main]\nprofile = "{profile}"' if profile else ""
    with SERVERS[name]() as server, installed(server, chosen) as stack:
        seeded = seed(stack, persons, firms, strangers)
        if profile == GENERIC:
            seeded.sought = [one for one in seeded.sought if one.kind in RECOGNISED]
        control = walk_as(stack, "manager", seeded, limit)
        findings = [walk_as(stack, role, seeded, limit) for role in ("sales", "auditor", "anonymous")]
        findings.append(at_rest(stack, seeded))
        stack.gateway.stop()
        findings.append(own_files(stack, seeded))
    return report(console, name, seeded, control, findings)


def report(console: Console, name: str, seeded: Seeded, control: Finding, findings: list[Finding]) -> int:
    """Print the table and count what must be 0; the manager's walk proves that the seeker finds what is shown."""
    unique = len({one.value for one in seeded.sought})
    table = Table(title=f"Leak drill: {name}, {unique} unique values sought in {len(READINGS)} readings of each body")
    for column in ("where", "looked at", "answers", *KINDS):
        table.add_column(column, justify="left" if column in ("where", "answers") else "right")
    rows = [dataclasses.replace(control, where="manager (control: may see all)"), *findings]
    for one in rows:
        table.add_row(one.where, str(one.looked_at), one.statuses, *(str(one.found[kind]) for kind in KINDS))
    console.print(table)
    strangers = sum(one.kind == UNDECLARED for one in seeded.sought)
    for one in findings:
        console.print(f"  {UNDECLARED}, {one.where}: {one.found[UNDECLARED]} of {strangers}")
        if one.typed:
            console.print(f"  shown again to who typed it, {one.where}: {one.typed} names or addresses")
        for example in one.examples:
            console.print(f"    found: {example}", style="red")
    blind = [kind for kind in KINDS if not control.found[kind] and any(s.kind == kind for s in seeded.sought)]
    if blind:
        console.print(f"{name}: the control saw no {', '.join(blind)}: this drill proves nothing", style="bold red")
        return len(blind)
    total = sum(one.found[kind] for one in findings for kind in KINDS)
    console.print(
        f"{name}: {total} values found where they must not be", style="bold green" if total == 0 else "bold red"
    )
    return total


def main() -> int:
    """Run on all CRMs; exit code 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="make leak", description=__doc__)
    parser.add_argument("--crm", choices=(*SERVERS, "all"), default="all")
    parser.add_argument("--profile", default="", help="another profile than the CRM's own, for example generic")
    parser.add_argument("--people", type=int, default=160)
    parser.add_argument("--organisations", type=int, default=20)
    parser.add_argument("--pages", type=int, default=1200, help="pages walked at most, per role")
    given = parser.parse_args()
    console = Console(highlight=False, width=150)
    names = tuple(SERVERS) if given.crm == "all" else (given.crm,)
    sizes = (given.people, given.organisations, given.pages)
    return 1 if sum(drill(name, *sizes, console, given.profile) for name in names) else 0


if __name__ == "__main__":
    sys.exit(main())
