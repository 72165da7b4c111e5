"""`make edits-real`: random edits in a real Creme (forms) and a real Tryton (JSON-RPC) by a salesperson.

What sales see (clear, masked, hidden, own customers and others') is what they post back: unchanged, changed, with text
around it, somebody else's, from an old page. After each edit the manager reads the record: nothing else may change.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape

from gateway.demo.browser import Form, forms
from gateway.demo.driver import Driver, TrytonDriver
from gateway.demo.people import Person, make_people
from gateway.demo.tryton import DATABASE
from tests.drills.stack import Stack, installed
from tests.real.servers import creme, tryton

SEED = 20261126
Values = Mapping[str, str]


class Desk(Protocol):
    """How one person reads and writes records of a CRM."""

    def read(self, record: str) -> dict[str, str]:
        """The fields of a record as they are shown for editing."""
        ...

    def write(self, record: str, shown: Values, changes: Values) -> bool:
        """Save them; whether it was accepted."""
        ...


class CremeDesk:
    """The edit form of a contact."""

    names = ("last_name", "first_name", "mobile", "email", "billing_address-address", "description", "full_position")

    def __init__(self, driver: Driver) -> None:
        self._browser = driver.browser
        self._forms: dict[int, tuple[str, Form]] = {}

    def read(self, record: str) -> dict[str, str]:
        """Open the form."""
        page = self._browser.get(f"/persons/contact/edit/{record}").expect(200)
        form = next(one for one in forms(page) if any(name == "mobile" for name, _ in one.fields))
        shown = {name: value for name, value in form.fields if name in self.names}
        self._forms[id(shown)] = (page.url, form)
        self._kept = getattr(self, "_kept", [])
        self._kept.append(shown)  # an id is one page as long as the page is there
        return shown

    def write(self, record: str, shown: Values, changes: Values) -> bool:
        """Submit that very form, however old it is."""
        url, form = self._forms[id(shown)]
        about = {"referer": url, "origin": self._browser.base}
        pairs = form.filled(dict(changes))
        return self._browser.post(url, pairs, follow=False, headers=about).status == 302


class TrytonDesk:
    """Contact mechanisms and the name of a party, through the calls that clients make."""

    def __init__(self, driver: Driver) -> None:
        assert isinstance(driver, TrytonDriver)
        self._driver = driver

    def read(self, record: str) -> dict[str, str]:
        """The party's name and the value of each of its ways."""
        party = self._driver.call("model.party.party.read", [[int(record)], ["name", "contact_mechanisms"], {}])[0]
        ways = self._driver.call(
            "model.party.contact_mechanism.read", [party["contact_mechanisms"], ["type", "value"], {}]
        )
        return {"name": party["name"], **{f"{one['type']} {one['id']}": one["value"] for one in ways}}

    def write(self, record: str, shown: Values, changes: Values) -> bool:
        """One call for each field, as a client does; refused when the last one is."""
        for name, text in changes.items():
            _, _, number = name.partition(" ")
            model, key = ("party.contact_mechanism", int(number)) if number else ("party.party", int(record))
            values: dict[str, Any] = {"value" if number else "name": text}
            body = {"id": 1, "method": f"model.{model}.write", "params": [[key], values, {}]}
            answer = self._driver.browser.post_json(f"/{DATABASE}/rpc/", body)
            if answer.status != 200 or "error" in (answer.json() or {}):
                return False
        return True


@dataclass(slots=True)
class Result:
    """Figures of one CRM."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def edit_many(stack: Stack, edits: int, rng: random.Random) -> Result:
    """Seed people of the manager's and of sales', then edit."""
    people = make_people(rng, 8 + edits)
    drivers = {who: stack.at_work(who) for who in ("manager", "sales")}
    records = [drivers[("manager", "sales")[number % 2]].add_person(people.pop()) for number in range(8)]
    desk_of = CremeDesk if stack.crm.crm.name == "creme" else TrytonDesk
    manager, sales = desk_of(drivers["manager"]), desk_of(drivers["sales"])
    truth = {record: manager.read(record) for record in records}
    pages: list[tuple[str, dict[str, str], dict[str, str]]] = []
    result = Result()
    for number in range(edits):
        record = rng.choice(records)
        old = [page for page in pages if page[0] == record]
        if old and rng.random() < 0.25:
            _, shown, then = rng.choice(old)
        else:
            shown, then = sales.read(record), dict(truth[record])
            pages.append((record, shown, then))
        how, changes, meant = _made_up(rng, shown, then, pages, people.pop())
        accepted = sales.write(record, shown, changes)
        result.counts[how, "accepted" if accepted else "refused"] += 1
        read = manager.read(record)
        posted = {**then, **meant} if desk_of is CremeDesk else meant
        for name, value in read.items():
            wanted = posted.get(name, truth[record].get(name, "")) if accepted else truth[record].get(name, "")
            if value.replace("\r", "") != wanted.replace("\r", ""):
                result.faults.append(
                    f"#{number} {how} {name}: {wanted!r} became {value!r}, posted {changes.get(name)!r}"
                )
        if how in ("saved as it was", "new", "text") and not accepted and shown is not None and then == truth[record]:
            result.faults.append(f"#{number} {how}: refused without a reason")
        truth[record] = read
    return result


def _made_up(
    rng: random.Random,
    shown: Values,
    then: Values,
    pages: list[tuple[str, dict[str, str], dict[str, str]]],
    one: Person,
) -> tuple[str, dict[str, str], dict[str, str]]:
    """What sales do: a word for it, texts by field, and what they mean."""
    mobile = next((name for name in shown if name.startswith("mobile")), "name")
    email = next((name for name in shown if name.startswith("email")), "name")
    name = rng.choice((mobile, email))
    dice = rng.random()
    if "description" in shown and rng.random() < 0.2:
        # Sales see hidden values of a text as surrogates, masked ones as wire masks: they come back inside the text.
        before, after = rng.choice(
            (("", " later"), ("met: ", ""), ("", f"\r\ncall {one.phone}"), ("", f" {one.email}"))
        )
        return (
            "text",
            {"description": f"{before}{shown['description']}{after}"},
            {"description": f"{before}{then['description']}{after}"},
        )
    if dice < 0.35:
        return "saved as it was", {one: shown[one] for one in shown}, dict(then)
    if dice < 0.6:
        new = {mobile: one.phone} if name == mobile else {email: one.email}
        return "new", new, dict(new)
    if dice < 0.75:
        return "text around", {name: f"{shown[name]}9"}, {name: f"{then[name]}9"}
    if dice < 0.9:
        _, other, meant = rng.choice(pages)
        source = next((key for key in other if key.startswith(name.split(" ")[0])), "")
        return "pasted", {name: other[source]}, {name: meant[source]}
    return "mask", {name: rng.choice(("138****8000", "••••••", "z***@example.com", shown[name][:-1]))}, {}


def main() -> int:
    """Exit code 1 when anything was lost or overwritten."""
    parser = argparse.ArgumentParser(prog="make edits-real", description=__doc__)
    parser.add_argument("--crm", choices=("creme", "tryton", "both"), default="both")
    parser.add_argument("--edits", type=int, default=150)
    given = parser.parse_args()
    console, faults = Console(highlight=False, width=150), 0
    for name, start in (("creme", creme), ("tryton", tryton)):
        if given.crm not in (name, "both"):
            continue
        with start() as server, installed(server) as stack:
            result = edit_many(stack, given.edits, random.Random(SEED))
        for (how, end), count in sorted(result.counts.items()):
            console.print(f"{name}: {how}, {end}: {count}")
        for fault in result.faults[:20]:
            console.print(f"  {escape(fault)}", style="red")
        console.print(f"{name}: {given.edits} edits, {len(result.faults)} values lost, overwritten or refused wrongly")
        faults += len(result.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
