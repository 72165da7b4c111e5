"""The database way of the protect drill on a real Creme with thousands of records: there and back, killed often."""

import contextlib
import dataclasses
import json
import random
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.demo import children
from gateway.demo.browser import Browser
from gateway.demo.driver import make_driver
from gateway.demo.people import Organisation, Person, make_organisations, make_people
from gateway.demo.stage import Stage
from gateway.opening import open_database
from gateway.settings import Settings
from tests.drills.leak import stored
from tests.drills.protect_command import Commands, Kills
from tests.drills.seek import Seeker, Sought
from tests.e2e.database import sql
from tests.real.servers import CrmServer, creme

MAP = Path(__file__).parents[2] / "deploy" / "protect" / "creme-tables.yaml"
SEED = 20261126
# White space, line breaks and spellings that must come back as they are; Creme's own forms would trim them.
ODD = ("{}", "{} ", "  {}", "{}\t", "{}")


@dataclass(slots=True, kw_only=True)
class Filled(Commands):
    """A real Creme with people that never passed the gateway, and an installation that only the commands use."""

    server: CrmServer
    people: list[Person]
    organisations: list[Organisation]

    @property
    def file(self) -> Path:
        """The CRM's own database."""
        return self.server.folder / "crmproj/db.sqlite3"

    @property
    def way(self) -> list[str]:
        """The options of the database way."""
        return ["--database", f"sqlite:///{self.file}", "--map", str(MAP)]

    def dump(self) -> bytes:
        """Every row of every table, exactly."""
        with contextlib.closing(sqlite3.connect(self.file)) as database:
            return "\n".join(database.iterdump()).encode("utf-8", "surrogatepass")

    def seeker(self) -> Seeker:
        """Finds every seeded value."""
        labels = {"id_card": "ID", "bank_card": "card", "email": "e-mail"}
        sought = []
        for one in self.people:
            for kind, value in one.values:
                if kind in ("id_card", "bank_card") and value not in one.notes:
                    continue  # Creme has no field for it
                sought += [Sought(line, labels.get(kind, kind), one.key) for line in value.splitlines()[:1]]
            sought.append(Sought(f"{one.first_name.strip()} {one.last_name}", "name", one.key))
        for firm in self.organisations:
            sought += [
                Sought(value, kind, firm.key)
                for kind, value in (("name", firm.name), ("e-mail", firm.email), ("phone", firm.phone))
            ]
            sought.append(Sought(firm.address, "address", firm.key))
        return Seeker(sought)

    def leaks(self, seeker: Seeker) -> Counter[str]:
        """Seeded values anywhere in what Creme keeps: kind and place → how many; free pages of the database too."""
        found: Counter[str] = Counter()
        for label, body in stored(self.server.folder, self.server.child.log):
            found.update(f"{one.kind} in {label}" for one in (seeker.find_plain(body) | seeker.find(body)))
        return found


@contextlib.contextmanager
def filled(people: int) -> Iterator[Filled]:
    """A Creme, switched off, with so many contacts and organisations; a tenth are organisations."""
    with creme() as server, installation(server) as settings:
        rng = random.Random(SEED)
        made = [oddly(one, number) for number, one in enumerate(make_people(rng, people - people // 10))]
        firms = make_organisations(rng, people // 10, apart_from=made)
        plant(server, made, firms)
        server.child.stop()
        yield Filled(settings=settings, server=server, people=made, organisations=firms)


def oddly(one: Person, number: int) -> Person:
    """The same person as people type them: white space, separators, capitals, two lines; all of it has to come back."""
    phone = one.phone if number % 3 or len(one.phone) != 11 else f"{one.phone[:3]}-{one.phone[3:7]}-{one.phone[7:]}"
    return dataclasses.replace(
        one,
        first_name=ODD[number % len(ODD)].format(one.first_name),
        phone=phone,
        email=one.email.title() if number % 5 == 0 else one.email,
        address=f"{one.address}\r\n{one.city}" if number % 4 == 0 else one.address,
        notes=ODD[number % len(ODD)].format(one.notes),
    )


def plant(server: CrmServer, people: list[Person], organisations: list[Organisation]) -> None:
    """Put people into a Creme's own tables, as its models do it; thousands take seconds. Nothing passes the gateway."""
    with contextlib.closing(sqlite3.connect(server.folder / "crmproj/db.sqlite3", timeout=60)) as database:
        owners = [int(server.user_ids[login]) for login in ("wang.manager", "lin.sales")]
        types = {
            model: database.execute("SELECT id FROM django_content_type WHERE model = ?", (model,)).fetchone()[0]
            for model in ("contact", "organisation")
        }
        for number, one in enumerate(people):
            named = f"{one.first_name} {one.last_name}"
            record, address = _entity(database, one, named, types["contact"], owners[number % 2])
            _insert(database, "persons_contact", cremeentity_ptr_id=record, last_name=one.last_name,
                    first_name=one.first_name, phone="", mobile=one.phone, skype="", fax="", email=one.email,
                    url_site="", full_position="", birthday=str(one.birthday), billing_address_id=address)  # fmt: skip
        for number, firm in enumerate(organisations):
            record, address = _entity(database, firm, firm.name, types["organisation"], owners[number % 2])
            blank = dict.fromkeys(("fax", "url_site", "siren", "naf", "siret", "rcs", "eori", "tvaintra",
                                   "annual_revenue", "code"), "")  # fmt: skip
            _insert(database, "persons_organisation", cremeentity_ptr_id=record, name=firm.name, is_managed=0,
                    phone=firm.phone, email=firm.email, subject_to_vat=1, billing_address_id=address,
                    **blank)  # fmt: skip
        database.commit()


def _entity(
    database: sqlite3.Connection, one: Person | Organisation, named: str, kind: int, owner: int
) -> tuple[int, int]:
    """What every record has in Creme: its own row, an address, and two lines of history. (record, address)"""
    now = "2026-11-26 08:00:00.000000"
    record = _insert(database, "creme_core_cremeentity", uuid=uuid.uuid4().hex, created=now, modified=now,
                     header_filter_search_field=named, is_deleted=0, entity_type_id=kind, user_id=owner,
                     extra_data="{}", description=one.notes)  # fmt: skip
    address = _insert(database, "persons_address", name="", address=one.address, po_box="", zipcode="", city=one.city,
                      department="", state="", country="", object_id=record, content_type_id=kind, extra_data="{}",
                      created=now, modified=now)  # fmt: skip
    for type_, told in ((1, [named]), (2, [named, ["email", f"old.{one.email}", one.email]])):
        _insert(database, "creme_core_historyline", entity_id=record, entity_ctype_id=kind, entity_owner_id=owner,
                username="", date=now, type=type_, value=json.dumps(told), by_wf_engine=0)  # fmt: skip
    return record, address


def _insert(database: sqlite3.Connection, table: str, **columns: object) -> int:
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    made = database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values()))
    return int(made.lastrowid or 0)


@contextlib.contextmanager
def installation(server: CrmServer) -> Iterator[Settings]:
    """Settings and an open database of crmgate for a CRM; nothing is served."""
    with tempfile.TemporaryDirectory(prefix="crmgate-protect-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
        home = Stage(folder / "home", children.free_port(), children.free_port())
        home.folder.mkdir(mode=0o755)
        settings = home.write_settings(server.crm.name, server.port)
        database = open_database(settings)
        try:
            yield settings
        finally:
            database.close()


def there_and_back(ready: Filled, kills: int, most_s: float) -> list[str]:
    """Protect, look everywhere, verify, start Creme on it, put back; the problems found, and the figures in `said`."""
    problems: list[str] = []
    before, seeker = ready.dump(), ready.seeker()
    records = len(ready.people) + len(ready.organisations)
    if sum(ready.leaks(seeker).values()) < records * 3:
        problems.append("the scan does not see what is there")
    deaths = Kills(ready, random.Random(11), kills, most_s)
    ran = deaths.run("run", "--rate", "0", *ready.way)
    if left := ready.leaks(seeker):
        problems.append(f"seeded values left: {dict(left)}")
    began = time.monotonic()
    verified = ready.protect("verify", *ready.way, code=None)
    verify_s = time.monotonic() - began
    if " 0 changed since" not in verified or "hold clear" in verified or "no run" in verified:
        problems.append(f"verify: {verified}")
    problems += twice(ready)
    problems += starts(ready)
    undone = deaths.run("undo", "--rate", "0", *ready.way)
    if "0 surrogates of this run left" not in undone.told and not kills:
        problems.append("undo does not say that nothing is left")
    if ready.dump() != before:
        problems.append("the database does not hold byte for byte what it held before")
    ready.said.append(
        f"{records} records of Creme, {len(before)} bytes of dump; {deaths.hits} of {2 * kills} kills met a running"
        f" command; run {ran.seconds:.0f} s, verify {verify_s:.0f} s, undo {undone.seconds:.0f} s\n{ran.told}"
        f"{verified}{undone.told}"
    )
    return problems


def twice(ready: Commands) -> list[str]:
    """Every origin in the vault belongs to one surrogate that stands in the CRM, and none is there in vain."""
    wanted = sql(
        ready.settings,
        "SELECT count(DISTINCT (part ->> 1, given.value -> 'field')) FROM protect_record, jsonb_each(fields) AS given,"
        " jsonb_array_elements(given.value -> 'parts') AS part",
    )
    there = sql(ready.settings, "SELECT count(*) FROM vault_origin WHERE retired_at IS NULL")
    return [] if wanted == there else [f"{there[0][0]} origins in the vault for {wanted[0][0]} places in the CRM"]


def starts(ready: Filled) -> list[str]:
    """Whether Creme works on its protected database; what it writes meanwhile is taken away again."""
    aside = ready.file.with_name("aside.sqlite3")
    shutil.copyfile(ready.file, aside)
    ready.server.restart()
    try:
        driver = make_driver("creme", Browser(ready.server.url))
        driver.log_in("wang.manager", ready.server.passwords["wang.manager"])
        listed = driver.browser.get("/persons/contacts")
        works = listed.status == 200 and "Zq" in listed.text
        driver.browser.close()
    finally:
        ready.server.child.stop()
        for file in ready.file.parent.glob("db.sqlite3*"):
            file.unlink()
        aside.rename(ready.file)
    return [] if works else ["Creme does not work with protected records"]
