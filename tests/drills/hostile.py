"""`make hostile`: values that try to be more than values, stored through the gateway and opened in real Chromium.

The figure is 0: nothing executes on any page as any role, no export holds a formula, nothing changes on the way, and
what a field cannot hold never reaches the CRM.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.demo.driver import CremeDriver, TrytonDriver
from tests.drills import hostile_creme as creme_part
from tests.drills import hostile_djangocrm as django_part
from tests.drills import hostile_tryton as tryton_part
from tests.drills.chromium import Desk, desks
from tests.drills.hostile_creme import Tally
from tests.drills.hostile_values import MASKS, SHORT, hostile_values
from tests.drills.stack import Stack, installed
from tests.real.servers import SERVERS

# Each runs, or leaves its mark, when it is markup; a probe that does not notice them proves nothing.
CONTROLS = (
    "<img src=x onerror=window.__hit(1)>",
    "<img src=x onerror=window.__hit_set=1>",
    "<svg onload=__hit(1)>",
    "<script>__hit(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:__hit(1)'>x</a>",
    "<b onmouseover=__hit(1)>x</b>",
    "<img src=https://evil.invalid/1>",
    "<iframe srcdoc='<script>parent.__hit(1)</script>'></iframe>",
    "<p>7000021</p>",
)


@dataclass(slots=True)
class Outcome:
    """Everything one CRM's drill found.

    parts: name → tally; visited: (role, kind of page) → looks; ran: (role, page, what); answers: what was refused how;
    strangers: hosts that the CRM's own pages ask.
    """

    values: int
    parts: dict[str, Tally] = field(default_factory=dict)
    visited: dict[tuple[str, str], int] = field(default_factory=dict)
    ran: list[tuple[str, str, str]] = field(default_factory=list)
    answers: dict[str, set[str]] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)

    def part(self, name: str) -> Tally:
        """The tally of one part, made on first use."""
        return self.parts.setdefault(name, Tally())

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be."""
        told = [f"{name}: {what}" for name, tally in self.parts.items() for what in tally.wrong]
        return told + [f"executed as {role} on {page}: {what}" for role, page, what in self.ran]


def drill_creme(stack: Stack, *, short: bool) -> Outcome:
    """Store, look, save again, export, refuse."""
    values = hostile_values(SHORT) if short else hostile_values()
    outcome = Outcome(len(values))
    people = {who: _creme(stack, who) for who in ("manager", "sales")}
    rows = list(creme_part.packed(values, everywhere=not short))
    stored = outcome.part("stored through the gateway")
    own = {
        "manager": creme_part.store(people["manager"].browser, "manager", rows[0::2], stored),
        "sales": creme_part.store(people["sales"].browser, "sales", rows[1::2], stored),
    }
    companies = values[:2] if short else values
    numbers = creme_part.store_organisations(people["manager"].browser, companies, stored)
    meeting = creme_part.add_meeting(people["manager"].browser, own["sales"][0], values[0].text)
    deleted = creme_part.store(people["manager"].browser, "manager", rows[:1], stored)[0].number
    creme_part.push(people["manager"].browser, f"/creme_core/entity/delete/{deleted}").expect(200, 302)
    with desks(*(one.browser for one in people.values())) as opened:
        for (role, _), desk in zip(people.items(), opened, strict=True):
            others = [record for owner, records in own.items() if owner != role for record in records]
            few = 1 if short else 8
            # The manager sees everything of everybody; of others' records sales sees placeholders, so a few will do.
            seen = [*own[role], *(others[: few + 1] if short or role == "sales" else others)]
            creme_part.walk(desk, seen, numbers, meeting, deleted)
            hidden = frozenset({"mobile"}) if role == "sales" else frozenset[str]()
            creme_part.round_trip(desk, own[role], outcome.part("unchanged in the edit form and after saving"), hidden)
            creme_part.echoed(desk, values[:1] if short else values[:40:4])
            _edit_forms(desk, others[:few])
            _gather(outcome, role, desk)
        control = outcome.part("control: the probe notices what does run")
        for payload in CONTROLS:
            control.expect(opened[0].noticed(payload), payload)
        creme_part.kept_on_the_way_back(opened[0], outcome.part("form content kept when going back"))
    everything = [*own["manager"], *own["sales"]]
    creme_part.exports(people["manager"].browser, everything, outcome.part("exports CSV, CSV with ;, XLSX, XLS"))
    _masks(people["sales"], outcome)
    creme_part.refused(stack, people["manager"].browser, outcome.part("refused before the CRM"), outcome.answers)
    for driver in people.values():
        driver.browser.close()
    return outcome


def _creme(stack: Stack, who: str) -> CremeDriver:
    driver = stack.at_work(who)
    assert isinstance(driver, CremeDriver)
    return driver


def _edit_forms(desk: Desk, records: Iterable[creme_part.Record]) -> None:
    """Edit forms of somebody else's records: only looked at."""
    for record in records:
        desk.open(f"/persons/contact/edit/{record.number}", "edit form of another's record")


def _gather(outcome: Outcome, role: str, desk: Desk) -> None:
    outcome.ran += [(role, page, what) for page, what in desk.probe.notes]
    outcome.strangers.update(desk.probe.strangers)
    outcome.visited.update({(role, kind): count for kind, count in desk.visited.items()})


def _masks(sales: CremeDriver, outcome: Outcome) -> None:
    """Masks typed by somebody who sees masks are refused, never stored."""
    tally = outcome.part("masks typed by sales")
    page = sales.browser.get("/persons/contact/add").expect(200)
    for text in MASKS:
        for name in ("description", "last_name"):
            sent = creme_part.fill(sales.browser, "", {"last_name": "Muster", name: text}, "last_name", page=page)
            outcome.answers.setdefault("mask typed by sales", set()).add(str(sent.status))
            tally.expect(sent.status == 409, f"{name}: {sent.status}")


def drill_djangocrm(stack: Stack, *, short: bool) -> Outcome:
    """The same in DjangoCRM."""
    values = hostile_values(SHORT) if short else hostile_values()
    outcome = Outcome(len(values))
    people = {who: stack.at_work(who).browser for who in ("manager", "sales")}
    rows = django_part.packed(values, everywhere=not short)
    stored = outcome.part("stored through the gateway")
    firms = {who: django_part.company(one, values[n], stored) for n, (who, one) in enumerate(people.items())}
    own = {
        who: django_part.store(one, who, firms[who], rows[n::2], stored) for n, (who, one) in enumerate(people.items())
    }
    with desks(*people.values()) as opened:
        for (role, _), desk in zip(people.items(), opened, strict=True):
            others = [record for owner, records in own.items() if owner != role for record in records]
            django_part.walk(desk, [*own[role], *others[: 2 if short else 8]], list(firms.values()))
            hidden = frozenset({"phone"}) if role == "sales" else frozenset[str]()
            django_part.round_trip(desk, own[role], outcome.part("unchanged in the form and after saving"), hidden)
            _gather(outcome, role, desk)
        control = outcome.part("control: the probe notices what does run")
        for payload in CONTROLS:
            control.expect(opened[0].noticed(payload), payload)
    django_part.exports(people["manager"], own["manager"], outcome.part("export XLSX"))
    django_part.refused(people["manager"], firms["manager"], outcome.part("refused before the CRM"), outcome.answers)
    for browser in people.values():
        browser.close()
    return outcome


def drill_tryton(stack: Stack, *, short: bool) -> Outcome:
    """The same values through JSON-RPC."""
    values = hostile_values(SHORT) if short else hostile_values()
    outcome = Outcome(len(values))
    drivers = {who: stack.at_work(who) for who in ("manager", "sales")}
    manager, sales = drivers["manager"], drivers["sales"]
    assert isinstance(manager, TrytonDriver)
    assert isinstance(sales, TrytonDriver)
    records = tryton_part.store(manager, values, outcome.part("stored through the gateway"))
    tryton_part.round_trip(manager, records, outcome.part("read back as it was typed"))
    tryton_part.saved_again(manager, records, outcome.part("saved again unchanged"))
    tryton_part.readable(sales, records, outcome.part("valid JSON for sales"))
    tryton_part.refused(stack, manager, outcome.part("refused before the CRM"), outcome.answers)
    for driver in drivers.values():
        driver.browser.close()
    return outcome


class _Drill(Protocol):
    def __call__(self, stack: Stack, *, short: bool) -> Outcome: ...


DRILLS: Mapping[str, _Drill] = {"creme": drill_creme, "djangocrm": drill_djangocrm, "tryton": drill_tryton}


def report(console: Console, name: str, outcome: Outcome) -> int:
    """Print the tables; the number of things that must not be."""
    if outcome.visited:
        kinds = list(dict.fromkeys(kind for _, kind in outcome.visited))
        roles = list(dict.fromkeys(role for role, _ in outcome.visited))
        table = Table(title=f"Hostile values: {name} in Chromium, {outcome.values} values")
        table.add_column("page")
        for role in roles:
            table.add_column(f"{role}: looks", justify="right")
        for kind in kinds:
            table.add_row(kind, *(str(outcome.visited.get((role, kind), 0)) for role in roles))
        table.add_section()
        table.add_row("[bold]executed", *(f"[bold]{sum(one[0] == role for one in outcome.ran)}" for role in roles))
        console.print(table)
    table = Table(title=f"Hostile values: {name}, {outcome.values} values")
    for column in ("what", "looked at", "wrong"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for part, tally in outcome.parts.items():
        table.add_row(part, str(tally.looked_at), str(len(tally.wrong)))
    console.print(table)
    for what, seen in outcome.answers.items():
        console.print(f"  {what}: {', '.join(sorted(seen))}", markup=False)
    for line in sorted({line for tally in outcome.parts.values() for line in tally.told}):
        console.print(f"  {line}", markup=False)
    if outcome.strangers:
        console.print(
            f"  hosts that the CRM's own pages ask (none answered here): {', '.join(sorted(outcome.strangers))}"
        )
    for line in outcome.wrong[:60]:
        console.print(f"  [red]{escape(line)}[/]")
    bad = len(outcome.wrong)
    console.print(f"{name}: {bad} wrong, {len(outcome.ran)} executed", style="bold red" if bad else "bold green")
    return bad


def main() -> int:
    """Run on the CRMs asked for; 1 when anything executed, changed or went through."""
    parser = argparse.ArgumentParser(prog="make hostile", description=__doc__)
    parser.add_argument("--crm", choices=(*DRILLS, "all"), default="all")
    parser.add_argument("--short", action="store_true", help="as few values and pages as the tests use")
    given = parser.parse_args()
    console = Console(highlight=False, width=150)
    bad = 0
    for name in DRILLS if given.crm == "all" else (given.crm,):
        with SERVERS[name]() as server, installed(server) as stack:
            bad += report(console, name, DRILLS[name](stack, short=given.short))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
