"""The drill of the mixed state: a real Creme holds clear people that never passed the gateway, none is protected yet.

Everybody who may not see everything walks through all pages, forms, exports and searches; the figure of declared
values seen in clear has to be 0. A form posted back as it was shown must leave every clear value as it is.
"""

import argparse
import random
import sqlite3
import sys
from contextlib import closing

from rich.console import Console

from gateway.demo.browser import forms
from gateway.demo.people import Organisation, Person, make_organisations, make_people
from tests.drills.leak import Finding, Seeded, walk_as
from tests.drills.protect_creme import plant
from tests.drills.seek import Sought
from tests.drills.stack import Stack, installed
from tests.real.servers import CrmServer, creme

SEED = 20261127
UNMIGRATED = "[tenant.main]\nmigrated = false"


def planted(server: CrmServer, people: int, organisations: int) -> Seeded:
    """Clear people and organisations in a Creme, and what must not be seen of them."""
    made = make_people(random.Random(SEED), people)
    firms = make_organisations(random.Random(SEED), organisations, apart_from=made)
    plant(server, made, firms)
    found = Seeded()
    with closing(sqlite3.connect(server.folder / "crmproj/db.sqlite3")) as database:
        for (record,) in database.execute("SELECT cremeentity_ptr_id FROM persons_contact WHERE is_user_id IS NULL"):
            found.records.append(("contact", str(record)))
        for name, record in database.execute("SELECT name, cremeentity_ptr_id FROM persons_organisation"):
            if name in {firm.name for firm in firms}:
                found.records.append(("organisation", str(record)))
    for person in made:
        found.sought += sought_of(person)
    for firm in firms:
        found.sought += sought_of_firm(firm)
    return found


def sought_of(person: Person) -> list[Sought]:
    """The declared values of a person, in every order of the name."""
    names = {person.full_name, f"{person.first_name} {person.last_name}"}
    return [
        *(Sought(name, "name", person.key) for name in sorted(names)),
        Sought(person.email, "e-mail", person.key),
        Sought(person.phone, "phone", person.key),
        Sought(person.address, "address", person.key),
    ]


def sought_of_firm(firm: Organisation) -> list[Sought]:
    """The declared values of an organisation."""
    return [
        Sought(firm.name, "name", firm.key),
        Sought(firm.email, "e-mail", firm.key),
        Sought(firm.phone, "phone", firm.key),
        Sought(firm.address, "address", firm.key),
    ]


def walked(stack: Stack, seeded: Seeded, limit: int) -> list[Finding]:
    """What each role sees; the first one may see everything."""
    return [walk_as(stack, role, seeded, limit) for role in ("manager", "sales", "other_sales")]


def posted_back(stack: Stack, seeded: Seeded) -> list[str]:
    """A salesperson saves each form just as it is shown; what of that changed a value."""
    contacts = [record for entity, record in seeded.records if entity == "contact"]
    before = _rows(stack.crm)
    driver = stack.at_work("sales")
    statuses: list[str] = []
    for record in contacts:
        page = driver.browser.get(f"/persons/contact/edit/{record}").expect(200)
        index = next(
            number for number, form in enumerate(forms(page)) if any(name == "last_name" for name, _ in form.fields)
        )
        statuses.append(str(driver.browser.submit(page, {}, index, follow=False).status))
    driver.browser.close()
    return statuses if _rows(stack.crm) == before else ["a clear value was overwritten"]


def _rows(server: CrmServer) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.folder / "crmproj/db.sqlite3", timeout=30)) as database:
        rows = list(database.execute(
            "SELECT last_name, first_name, phone, mobile, email, cremeentity_ptr_id FROM persons_contact ORDER BY 6"
        ))  # fmt: skip
        rows += list(database.execute("SELECT address, po_box, id FROM persons_address ORDER BY 3"))
        return rows + list(database.execute("SELECT description, id FROM creme_core_cremeentity ORDER BY 2"))


def main() -> int:
    """Run it; 1 when anything was seen or overwritten."""
    parser = argparse.ArgumentParser(prog="make unprotected", description=__doc__)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--pages", type=int, default=600, help="pages walked at most, per role")
    given = parser.parse_args()
    console = Console(highlight=False, width=150)
    with creme() as server:
        seeded = planted(server, given.people, 3)
        with installed(server, UNMIGRATED) as stack:
            control, *findings = walked(stack, seeded, given.pages)
            told = posted_back(stack, seeded)
    console.print(f"control (manager, sees all): {control.found} in {control.looked_at} answers")
    seen = 0
    for one in findings:
        seen += sum(one.found.values())
        console.print(f"{one.where}: {one.found} in {one.looked_at} answers; {one.statuses}")
        for example in one.examples:
            console.print(f"    found: {example}", style="red")
    console.print(f"forms posted back as shown: {', '.join(told)}")
    lost = "overwritten" in told[0]
    console.print(f"creme, nothing protected yet: {seen} declared values seen, {int(lost)} overwritten")
    return 1 if seen or lost or not sum(control.found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
