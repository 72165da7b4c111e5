"""The protect drill: people are in a real CRM already; they are protected, checked, and put back byte for byte.

`python -m tests.drills.protect` (make protect-drill) is the full form: both real CRMs through their interfaces, and a
real Creme by its tables, killed by SIGKILL at random points. Every figure has to be what it says, else the exit code
is 1. What Creme alone needs for the same forms is measured beside the run, because its forms set the pace.
"""

import argparse
import contextlib
import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gateway.demo.browser import Browser, forms
from gateway.demo.driver import make_driver
from gateway.demo.people import Organisation, Person, make_organisations, make_people
from tests.drills.protect_command import Commands
from tests.drills.protect_creme import filled, installation, there_and_back, twice
from tests.drills.seek import Seeker, Sought
from tests.e2e.database import sql
from tests.real.servers import CrmServer, creme, tryton

SEED = 20261126
ENOUGH = 130  # people of Tryton that keep a command busy for twenty kills
PACED = "5"  # records a second of a command that is to be killed in its middle
# What the declared fields of the profiles are stored in.
COLUMNS = {
    "creme": {
        "persons_contact": ["cremeentity_ptr_id", "last_name", "first_name", "phone", "mobile", "fax", "email", "skype",
                            "birthday", "url_site", "full_position"],
        "persons_organisation": ["cremeentity_ptr_id", "name", "phone", "fax", "email", "url_site"],
        "persons_address": ["id", "address", "po_box", "name", "zipcode", "city"],
        "creme_core_cremeentity": ["id", "description"],
    },
    "tryton": {
        "party_party": ["id", "name", "code"],
        "party_contact_mechanism": ["id", "type", "value", "value_compact", "name", "comment"],
        "party_identifier": ["id", "code"],
        "party_address": ["id", "street_unstructured", "street_name", "building_name", "post_box", "party_name"],
    },
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Seeded(Commands):
    """A CRM with people that never passed the gateway, and an installation of crmgate that only the commands use."""

    server: CrmServer
    people: list[Person]
    organisations: list[Organisation]

    @property
    def name(self) -> str:
        """Which CRM."""
        return self.server.crm.name

    @property
    def file(self) -> Path:
        """The CRM's own database."""
        return self.server.folder / ("crmproj/db.sqlite3" if self.name == "creme" else "db/crm.sqlite")

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Read the CRM's database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)) as database:
            return list(database.execute(statement))

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        """Everything the declared fields are stored in."""
        return {
            table: self.query(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1")
            for table, columns in COLUMNS[self.name].items()
        }

    def seeker(self) -> Seeker:
        """Finds every seeded value."""
        sought = [Sought(value, kind, one.key) for one in self.people for kind, value in _values(one, self.name)]
        for one in self.organisations:
            sought += [
                Sought(value, kind, one.key)
                for kind, value in (("name", one.name), ("e-mail", one.email), ("phone", one.phone))
            ]
            sought.append(Sought(one.address, "address", one.key))
        return Seeker(sought)

    def leaks(self) -> set[Sought]:
        """Seeded values that the columns of declared fields hold."""
        return self.seeker().find_plain(json.dumps(self.dump(), ensure_ascii=False, default=str).encode())


def _values(person: Person, crm: str) -> Iterator[tuple[str, str]]:
    labels = {"id_card": "ID", "bank_card": "card", "email": "e-mail"}
    for kind, value in person.values:
        if crm == "creme" and kind in ("id_card", "bank_card") and value not in person.notes:
            continue  # Creme has no field for it
        yield labels.get(kind, kind), value


@contextlib.contextmanager
def seeded(crm: str, people: int, organisations: int) -> Iterator[Seeded]:
    """A real CRM, seeded directly, with the service credential stored."""
    with creme() if crm == "creme" else tryton() as server, installation(server) as settings:
        rng = random.Random(SEED)
        made = make_people(rng, people)
        firms = make_organisations(rng, organisations, apart_from=made)
        login = "wang.manager" if crm == "creme" else server.crm.admin_login
        driver = make_driver(crm, Browser(server.url))
        driver.log_in(login, server.passwords[login])
        for one in made:
            driver.add_person(one)
        for firm in firms:
            driver.add_organisation(firm)
        driver.browser.close()
        ready = Seeded(settings=settings, server=server, people=made, organisations=firms)
        secret = settings.file.with_name("crm-password")
        secret.touch(mode=0o600)
        secret.write_text(server.passwords[server.crm.admin_login] + "\n")
        extra = ["--db", "crm"] if crm == "tryton" else []
        ready.protect("credential", "--login", server.crm.admin_login, "--password-file", str(secret), *extra)
        secret.unlink()
        yield ready


def edits(ready: Seeded) -> dict[object, int]:
    """How often the CRM itself says that each record was edited (Creme keeps a history)."""
    return {
        entity: int(str(number))
        for entity, number in ready.query(
            "SELECT entity_id, count(*) FROM creme_core_historyline WHERE type = 2 GROUP BY entity_id"
        )
    }


def alone(ready: Seeded, threads: int = 4, records: int = 40) -> float:
    """Records a second that Creme alone takes: four times the form and one post of each, from so many sessions."""
    found = ready.query("SELECT cremeentity_ptr_id FROM persons_contact WHERE is_user_id IS NULL ORDER BY 1")
    wanted = [str(row[0]) for row in found][:records]

    def work(mine: list[str]) -> None:
        driver = make_driver("creme", Browser(ready.server.url))
        driver.log_in("wang.manager", ready.server.passwords["wang.manager"])
        for record in mine:
            for _ in range(4):
                page = driver.browser.get(f"/persons/contact/edit/{record}").expect(200)
            at = next(
                number for number, form in enumerate(forms(page)) if any(name == "last_name" for name, _ in form.fields)
            )
            driver.browser.submit(page, {}, at, follow=False).expect(302)
        driver.browser.close()

    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [wanted[start::threads] for start in range(threads)]))
    return len(wanted) / (time.monotonic() - began)


def logged(ready: Seeded) -> dict[object, int]:
    """How often Tryton's own log says that each record was written."""
    rows = ready.query("SELECT resource, count(*) FROM ir_model_log WHERE event = 'write' GROUP BY resource")
    return {resource: int(str(number)) for resource, number in rows}


def often(ready: Seeded, most: int) -> list[str]:
    """The records that the CRM itself says were written more often than that."""
    counted = edits(ready) if ready.name == "creme" else logged(ready)
    found = sorted(str(record) for record, number in counted.items() if number > most)
    return [f"{len(found)} of {len(counted)} records were written more than {most} times"] if found else []


@dataclass(frozen=True, slots=True)
class Struck:
    """A kill. after_s: since the command signed in to the CRM; done: records finished when it was dead, of so many."""

    words: str
    after_s: float
    hit: bool
    done: int
    total: int


def struck(ready: Seeded, words: Sequence[str], kills: int, rng: random.Random, most_s: float) -> list[Struck]:
    """Start a command so often and kill it at random points of its work, until it is done before its kill."""
    found: list[Struck] = []
    while len(found) < kills and (not found or found[-1].hit):
        after, before = rng.uniform(0.0, most_s), sign_ins(ready)
        hit = ready.killed_at(lambda before=before: sign_ins(ready) > before, after, *words)
        ended = ("done", "refused", "gone", "skipped") if words[0] == "run" else ("restored",)
        query = "SELECT count(*) FILTER (WHERE state = ANY(%s)), count(*) FROM protect_record"
        ((done, total),) = sql(ready.settings, query, list(ended))
        found.append(Struck(words[0], after, hit, done, total))
        print(f"{words[0]} {len(found)}: {done} of {total}", flush=True)
    return found


def sign_ins(ready: Seeded) -> int:
    """How often the service credential was used, by the trail: a command that signed in is at work."""
    used = (
        "SELECT count(*) FROM audit_entry WHERE convert_from(body, 'UTF8')::jsonb ->> 'operation' = 'protect.sign_in'"
    )
    ((number,),) = sql(ready.settings, used)
    return int(number)


def table_of(kills: Sequence[Struck]) -> str:
    """The kills, one a line."""
    lines = ["command  kill  after s  met it  records finished"]
    number = 0
    for at, one in enumerate(kills):
        number = number + 1 if at and kills[at - 1].words == one.words else 1
        met = "yes" if one.hit else "no"
        lines.append(f"{one.words:7}  {number:4}  {one.after_s:7.2f}  {met:6}  {one.done} of {one.total}")
    return "\n".join(lines)


def forth_and_back(
    ready: Seeded,
    kills: int,
    rng: random.Random,
    *,
    rate: str = "0",
    most_s: float = 6.0,
    demanded: bool = False,
) -> list[str]:
    """Protect with so many kills, check, put back with so many kills, check; the problems found.

    rate: of the commands that are killed; demanded: whether every kill has to meet a running one.
    """
    problems: list[str] = []
    before = ready.dump()
    began = time.monotonic()
    met = struck(ready, ["run", "--rate", rate], kills, rng, most_s)
    told = ready.protect("run", "--rate", "0", code=None)
    ran = time.monotonic() - began
    if found := ready.leaks():
        problems.append(f"{len(found)} seeded values are clear after the run ({sorted({one.kind for one in found})})")
    problems += often(ready, 1)
    written = len(logged(ready)) if ready.name == "tryton" else len(edits(ready))
    verified = ready.protect("verify", code=None)
    problems += [] if " 0 changed since" in verified else [f"verify: {verified}"]
    if ready.name == "tryton":
        problems += twice(ready)
    print(f"after the run: {', '.join(problems) or 'fine'}; {written} records written", flush=True)
    began = time.monotonic()
    met += struck(ready, ["undo", "--rate", rate], kills, rng, most_s)
    undone = ready.protect("undo", "--rate", "0", code=None)
    if "0 surrogates of this run left" not in undone and kills == 0:
        problems.append("undo does not say that nothing is left")
    if ready.dump() != before:
        problems.append("the CRM does not hold byte for byte what it held before")
    back = time.monotonic() - began
    problems += often(ready, 2) if ready.name == "tryton" else []
    for words in ("run", "undo"):
        hits = sum(one.hit for one in met if one.words == words)
        if demanded and hits < kills:
            problems.append(f"only {hits} of {kills} kills met a running {words}")
    ready.said.append(
        f"{table_of(met)}\n{sum(one.hit for one in met)} of {2 * kills} kills met a running command; the run"
        f" wrote {written} records; run {ran:.0f} s, undo {back:.0f} s; last report:\n{told}{verified}{undone}"
    )
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """The full drill."""
    parser = argparse.ArgumentParser(prog="make protect-drill", description=__doc__)
    parser.add_argument("--people", type=int, default=40, help="through an interface")
    parser.add_argument("--kills", type=int, default=20)
    # Longer than a batch takes: a command that dies before its first batch is done begins it anew each time.
    parser.add_argument("--most-s", type=float, default=15.0, help="seconds of work until a kill at most")
    parser.add_argument("--records", type=int, default=2_000, help="of Creme by its tables; each is five rows or more")
    parser.add_argument("--only", choices=("creme-tables", "creme", "tryton"), action="append")
    given = parser.parse_args(arguments)
    console = Console(width=150, highlight=False)
    failed = 0
    for crm in given.only or ("creme-tables", "creme", "tryton"):
        began = time.monotonic()
        if crm == "creme-tables":
            with filled(given.records) as rows:
                problems = there_and_back(rows, given.kills, most_s=max(6.0, given.records / 50))
                console.print(rows.said[-1], markup=False)
        else:
            paced = crm == "tryton"
            people = max(given.people, ENOUGH) if paced else given.people
            with seeded(crm, people, people // 8) as ready:
                if crm == "creme":
                    console.print(f"Creme alone: {alone(ready):.2f} records a second", markup=False)
                rng, rate = random.Random(SEED), PACED if paced else "0"
                problems = forth_and_back(ready, given.kills, rng, rate=rate, most_s=given.most_s, demanded=paced)
                console.print(ready.said[-1], markup=False)
        failed += bool(problems)
        console.print(f"{crm}: {', '.join(problems) or 'fine'} ({time.monotonic() - began:.0f} s)", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
