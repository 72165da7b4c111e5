"""The database way of the protect drill: a small CRM's own tables with thousands of people, there and back."""

import contextlib
import json
import random
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.demo import children
from gateway.demo.people import make_people
from gateway.demo.stage import Stage
from gateway.opening import open_database
from tests.drills.protect_command import Commands
from tests.drills.seek import Seeker, Sought

MAP = """
entities:
  - entity: contact
    table: people
    key: id
    where: "staff = 0"
    fields: {last name: .last_name, first_name: .first_name, mobile: .mobile, email: .email,
             address: .billing_address, note: text}
  - entity: history
    table: history
    key: id
    json: {told: escaped}
    fields: {told: text}
"""
# White space, line breaks and spellings that must come back as they are.
ODD = ("  {}", "{} ", "{}\n", "{}\r\n", "{}\t", "{}")


@dataclass(slots=True, kw_only=True)
class Tables(Commands):
    """A CRM that is switched off, and an installation that walks its tables."""

    file: Path
    map_file: Path
    seeker: Seeker

    @property
    def way(self) -> list[str]:
        """The options of the database way."""
        return ["--database", f"sqlite:///{self.file}", "--map", str(self.map_file)]

    def dump(self) -> bytes:
        """Every row of every table, exactly."""
        with contextlib.closing(sqlite3.connect(self.file)) as database:
            return "\n".join(database.iterdump()).encode("utf-8", "surrogatepass")

    def leaks(self) -> set[Sought]:
        """Seeded values anywhere in the bytes of the database file, free pages too."""
        return self.seeker.find_plain(self.file.read_bytes()) | self.seeker.find_plain(self.dump())


@contextlib.contextmanager
def tables(people: int) -> Iterator[Tables]:
    """A SQLite database of so many people, with notes and a history that repeats them."""
    with tempfile.TemporaryDirectory(prefix="crmgate-tables-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        file, map_file = folder / "crm.sqlite3", folder / "map.yaml"
        map_file.write_text(MAP)
        sought = _fill(file, people)
        home = Stage(folder / "home", children.free_port(), children.free_port())
        home.folder.mkdir(mode=0o755)
        settings = home.write_settings("creme", children.free_port())
        database = open_database(settings)
        try:
            yield Tables(settings=settings, file=file, map_file=map_file, seeker=Seeker(sought))
        finally:
            database.close()


def _fill(file: Path, count: int) -> list[Sought]:
    rng = random.Random(7)
    sought: list[Sought] = []
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute(
            'CREATE TABLE people (id INTEGER PRIMARY KEY, "last name" VARCHAR(100), first_name VARCHAR(100),'
            " mobile TEXT, email TEXT, address TEXT, note TEXT, staff INTEGER)"
        )
        database.execute("CREATE TABLE history (id INTEGER PRIMARY KEY, told TEXT)")
        for number, one in enumerate(make_people(rng, count), 1):
            odd = ODD[number % len(ODD)]
            mobile = one.phone if number % 3 else f"{one.phone[:3]}-{one.phone[3:7]}-{one.phone[7:]}"
            row = (number, one.last_name, odd.format(one.first_name), mobile, one.email.title() if number % 5 == 0 else
                   one.email, f"{one.address}\r\n{one.city}" if number % 4 == 0 else one.address,
                   odd.format(one.notes), 0)  # fmt: skip
            database.execute("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            told = json.dumps([one.full_name, ["email", "", one.email], number])
            database.execute("INSERT INTO history VALUES (?, ?)", (number, told))
            sought += [
                Sought(one.email, "e-mail", one.key),
                Sought(one.phone, "phone", one.key),
                Sought(mobile, "phone", one.key),
                Sought(one.address, "address", one.key),
                Sought(json.dumps(one.full_name)[1:-1], "name", one.key),
            ]
            if one.id_card and one.id_card in one.notes:
                sought.append(Sought(one.id_card, "ID", one.key))
        database.execute("INSERT INTO people (id, \"last name\", staff) VALUES (0, 'Staff', 1)")
        database.commit()
    return sought


def there_and_back(ready: Tables, kills: int) -> list[str]:
    """Protect, scan, verify, put back; the problems found and how long it took, in `said`."""
    problems: list[str] = []
    before, began = ready.dump(), time.monotonic()
    if len(ready.leaks()) < 3:
        problems.append("the scan does not see what is there")
    rng = random.Random(11)
    start = ready.start_s() if kills else 0.0
    hits = sum(ready.killed(start + rng.uniform(0.0, 9.0), "run", "--rate", "0", *ready.way) for _ in range(kills))
    told = ready.protect("run", "--rate", "0", *ready.way)
    ran = time.monotonic() - began
    if found := ready.leaks():
        problems.append(f"{len(found)} seeded values left ({sorted({one.kind for one in found})})")
    ready.protect("verify", *ready.way)
    began = time.monotonic()
    hits += sum(ready.killed(start + rng.uniform(0.0, 9.0), "undo", "--rate", "0", *ready.way) for _ in range(kills))
    undone = ready.protect("undo", "--rate", "0", *ready.way, code=None if kills else 0)
    if "0 surrogates of this run left" not in undone and not kills:
        problems.append("undo does not say that nothing is left")
    if ready.dump() != before:
        problems.append("the tables do not hold byte for byte what they held before")
    ready.said.append(f"{hits} of {2 * kills} kills; run {ran:.0f} s, undo {time.monotonic() - began:.0f} s\n{told}")
    return problems


def a_crm_that_is_up() -> socket.socket:
    """Something that takes connections."""
    return socket.create_server(("127.0.0.1", 0))
