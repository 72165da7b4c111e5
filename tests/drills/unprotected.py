"""The drill of the mixed state: a real Creme holds clear people that never passed the gateway, none is protected yet.

Everybody who may not see everything walks through all pages, forms, exports and searches; the figure of declared
values seen in clear has to be 0. Forms are saved as they are shown and with other fields changed: every clear value
stays as it is. A mask that stands for nothing is refused.
"""

import argparse
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

from rich.console import Console

from gateway.demo.browser import Answer, forms
from gateway.demo.people import Organisation, Person, make_organisations, make_people
from tests.drills.leak import Finding, Seeded, walk_as
from tests.drills.protect_creme import plant
from tests.drills.seek import Seeker, Sought
from tests.drills.stack import Stack, installed
from tests.real.servers import CrmServer, creme

SEED = 20261127
# What each kind of save is answered with: Creme's redirect after it was taken, or the refusal of a mask.
EXPECTED = {
    "as it was shown": 302,
    "city and position changed": 302,
    "mask in a field that holds nothing": 409,
    "description typed around a mask": 409,
}
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


@dataclass(slots=True)
class Saves:
    """What became of a salesperson's saves: HTTP statuses by what was done, and what is wrong with it."""

    statuses: dict[str, list[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Saving:
    """A salesperson at the edit forms of contacts of which nothing is protected."""

    def __init__(self, stack: Stack, seeded: Seeded) -> None:
        self._crm, self._sought = stack.crm, seeded.sought
        self._browser = stack.at_work("sales").browser
        self.contacts = [record for entity, record in seeded.records if entity == "contact"]
        self.saves, self.before = Saves(), _rows(stack.crm)

    def save(self, what: str, record: str, changes: Mapping[str, str | None]) -> None:
        """Open the form, change something in it and save."""
        self.submit(what, self.form(record), changes)

    def submit(self, what: str, page: Answer, changes: Mapping[str, str | None]) -> None:
        """Save an open form."""
        answer = self._browser.submit(page, changes, _index(page), follow=False)
        self.saves.statuses.setdefault(what, []).append(answer.status)
        if Seeker(self._sought).find(page.body + answer.body):
            self.saves.wrong.append(f"{what}: a clear value was shown")

    def shown(self, record: str) -> dict[str, str]:
        """The fields of a form as they are shown."""
        page = self.form(record)
        return dict(forms(page)[_index(page)].fields)

    def settle(self, what: str) -> None:
        """Look at what the CRM holds after one kind of saves."""
        if _rows(self._crm) != self.before:
            self.saves.wrong.append(f"{what}: a clear value was changed")

    def close(self) -> Saves:
        """What became of it all."""
        self._browser.close()
        return self.saves

    def form(self, record: str) -> Answer:
        """The edit form of a contact."""
        return self._browser.get(f"/persons/contact/edit/{record}").expect(200)


def saved(stack: Stack, seeded: Seeded) -> Saves:
    """Forms saved as they are shown, with other fields changed, and with masks that stand for nothing there."""
    at = Saving(stack, seeded)
    for record in at.contacts:
        at.save("as it was shown", record, {})
    at.settle("as it was shown")
    changed = {"billing_address-city": "Sète", "full_position": "buyer"}
    for record in at.contacts:
        at.save("city and position changed", record, changed)
    at.settle("city and position changed")
    query = (
        "SELECT DISTINCT city, full_position FROM persons_address JOIN persons_contact ON billing_address_id = id"
        " WHERE is_user_id IS NULL"
    )
    if _read(stack.crm, query) != [tuple(changed.values())]:
        at.saves.wrong.append("city and position changed: not saved")
    for record in at.contacts:
        at.save("mask in a field that holds nothing", record, {"skype": at.shown(record)["email"]})
    for record in at.contacts:
        at.save("description typed around a mask", record, {"description": f"{at.shown(record)['description']} x"})
    at.settle("masks that stand for nothing")
    return at.close()


def _index(page: Answer) -> int:
    return next(number for number, form in enumerate(forms(page)) if "last_name" in dict(form.fields))


def _rows(server: CrmServer) -> list[tuple[object, ...]]:
    """Every value that a mask could have overwritten."""
    rows = _read(server, "SELECT last_name, first_name, phone, mobile, email, birthday, skype, cremeentity_ptr_id"
                 " FROM persons_contact ORDER BY 8")  # fmt: skip
    rows += _read(server, "SELECT address, po_box, id FROM persons_address ORDER BY 3")
    return rows + _read(server, "SELECT description, id FROM creme_core_cremeentity ORDER BY 2")


def _read(server: CrmServer, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.folder / "crmproj/db.sqlite3", timeout=30)) as database:
        return list(database.execute(query))


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
            saves = saved(stack, seeded)
    console.print(f"control (manager, sees all): {control.found} in {control.looked_at} answers")
    seen = 0
    for one in findings:
        seen += sum(one.found.values())
        console.print(f"{one.where}: {one.found} in {one.looked_at} answers; {one.statuses}")
        for example in one.examples:
            console.print(f"    found: {example}", style="red")
    for what, statuses in saves.statuses.items():
        console.print(f"form saved, {what}: {dict(Counter(statuses))}")
    for one in saves.wrong:
        console.print(f"    {one}", style="red")
    unlike = {what: statuses for what, statuses in saves.statuses.items() if set(statuses) != {EXPECTED[what]}}
    console.print(f"creme, nothing protected yet: {seen} declared values seen, {len(saves.wrong)} faults of saving")
    return 1 if seen or saves.wrong or unlike or not sum(control.found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
