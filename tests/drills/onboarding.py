"""`make onboarding`: a real CRM without its shipped profile, from its address to the leak drill under the learnt one.

A person's ten minutes are compressed: a manager works through the gateway (adds, edits, opens, searches, exports) while
`crmgate learn` watches; the proposal is accepted with its defaults; then the leak drill seeds and walks as usual. The
figures are the leaks, the decisions and the time. A figure of its own is what a salesperson sees of the people who were
entered while nothing was declared yet: they stand in the CRM in clear, and only their places can tell what they are.
"""

import argparse
import contextlib
import dataclasses
import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from gateway.demo.people import Organisation, Person, make_organisations, make_people
from gateway.learn.proposal import MOST_DECISIONS
from tests.drills import leak
from tests.drills.onboarding_session import worked
from tests.drills.stack import Stack, installed
from tests.real.servers import SERVERS

# What was entered while nothing was declared stands in the CRM in clear.
UNKNOWN = '[tenant.main]\nprofile = "generic"\nmigrated = false'
SEED = 20261128
# What the administrator of each of these CRMs knows: who enters a customer owns them, and no form chooses another page.
CONFIRMED: Mapping[str, str] = {"owners": "yes", "owners-through": "yes", "creates-by-address": "no"}
# Where a CRM describes its own interface, for who knows its manual.
DOCUMENTS = {"bottle": "/schema/?format=json"}


@dataclass(slots=True)
class Onboarding:
    """What it took. watched_s: the compressed session; asked: ids of the decisions; confirmed: those that were not
    left at their defaults; owner: what was learnt of owners; own: what a salesperson sees of their own customers."""

    crm: str
    watched_s: float = 0.0
    whole_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    owner: dict[str, Any] = field(default_factory=dict)
    own: leak.Finding | None = None
    fields: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    lint: str = ""
    control: leak.Finding | None = None
    findings: list[leak.Finding] = field(default_factory=list)
    before: leak.Finding | None = None
    before_control: leak.Finding | None = None
    drifted: int = 0
    profile: Path = Path()

    @property
    def leaks(self) -> int:
        """Values found where they must not be."""
        return sum(one.found[kind] for one in self.findings for kind in leak.KINDS)


def command(stack: Stack, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """`crmgate learn …` or another command on the settings of this installation."""
    line = [sys.executable, "-m", "gateway.cli", *map(str, words), "--config", str(stack.home.settings_file)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def described(stack: Stack) -> Path | None:
    """What the CRM says of its own interface, as the administrator reads it from it; None for one that says nothing."""
    address = DOCUMENTS.get(stack.crm.crm.name)
    if address is None:
        return None
    file = stack.home.folder / "described.json"
    with contextlib.closing(stack.direct("manager").browser) as browser:
        file.write_bytes(browser.get(address).expect(200).body)
    return file


def settled(stack: Stack) -> dict[str, Any]:
    """Progress once everything that was handed over has been looked at."""
    before = -1
    for _ in range(120):
        told: dict[str, Any] = json.loads(command(stack, "learn", "status", "--json").stdout)
        if told["exchanges"] == before:
            return told
        before = told["exchanges"]
        time.sleep(6)  # twice as long as it takes to write down what was seen
    raise AssertionError("learning does not come to rest")


def confirmed(stack: Stack, name: str, found: Onboarding) -> dict[str, Any]:
    """The proposal once the administrator has confirmed what only they can know; all else stays at its default."""
    while True:
        proposal: dict[str, Any] = json.loads(command(stack, "learn", "proposal", "--json", "--name", name).stdout)
        asked = [one["id"] for one in proposal["decisions"]]
        found.asked += [one for one in asked if one not in found.asked]
        given = {one: answer for one, answer in CONFIRMED.items() if one in asked and one not in found.confirmed}
        if not given:
            return proposal
        told = command(stack, "learn", "decide", *(f"{one}={answer}" for one, answer in given.items()))
        assert told.returncode == 0, told.stderr + told.stdout
        found.confirmed += given


def onboard(
    name: str, stack: Stack, session: tuple[list[Person], list[Organisation]], pages: int
) -> tuple[Onboarding, leak.Seeded]:
    """Watch, propose, accept, and run with the learnt profile; what was entered meanwhile."""
    found, began = Onboarding(name), time.monotonic()
    document = described(stack)
    about = ("--document", document) if document is not None else ()
    started = command(stack, "learn", "start", "--minutes", "60", *about)  # a loaded machine may need more than ten
    assert started.returncode == 0, started.stderr
    time.sleep(2.5)  # every process has noticed within a second
    entered = worked(stack, *session, pages)
    settled(stack)
    found.watched_s = time.monotonic() - began
    proposal = confirmed(stack, name, found)
    found.fields = {one["field"]: one["kind"] for one in proposal["fields"]}
    found.refused = len(proposal["refused"])
    found.profile = stack.home.folder / f"{name}.yaml"
    accepted = command(stack, "learn", "accept", found.profile, "--name", name)
    assert accepted.returncode == 0, accepted.stderr + accepted.stdout
    found.owner = yaml.safe_load(found.profile.read_text()).get("owner", {})
    found.lint = command(stack, "profile", "lint", found.profile).stdout
    text = stack.home.settings_file.read_text()
    stack.home.settings_file.write_text(text.replace('profile = "generic"', f'profile = "{found.profile}"'))
    stack.restart_gateway()
    found.whole_s = time.monotonic() - began
    return found, entered


def own_names(stack: Stack, seeded: leak.Seeded, limit: int) -> leak.Finding:
    """What a salesperson sees in clear of the customers that are theirs; the leak walks look for everybody else's."""
    own = [one for one in seeded.sought if one.owner == "sales" and one.kind in ("name", "address")]
    looked = [dataclasses.replace(one, owner="sought") for one in own]
    return leak.walk_as(stack, "sales", leak.Seeded(looked, seeded.records), limit)


def drill(
    name: str,
    people: int,
    organisations: int,
    limit: int,
    pages: int,
    keep: Path | None = None,
    *,
    thorough: bool = False,
) -> Onboarding:
    """Onboarding and leak drill on one CRM. thorough: the manager looks for what is from before as well."""
    persons = make_people(random.Random(leak.SEED), people)
    firms = make_organisations(random.Random(leak.SEED), organisations, apart_from=persons)
    known = {one.full_name for one in persons} | {one.address for one in persons}
    others = [
        one for one in make_people(random.Random(SEED), 40) if one.full_name not in known and one.address not in known
    ][: min(6, people)]
    strangers = [
        one.full_name
        for one in make_people(random.Random(leak.SEED + 1), people * 3)
        if one.full_name not in {each.full_name for each in [*persons, *others]}
    ][:people]
    own = make_organisations(random.Random(SEED), 12, apart_from=[*persons, *others])
    taken = {one.name for one in firms} | {one.address for one in firms}
    session = (others, [one for one in own if one.name not in taken and one.address not in taken][:2])
    with SERVERS[name]() as server, installed(server, UNKNOWN) as stack:
        found, entered = onboard(name, stack, session, pages)
        if keep is not None:
            (keep / f"{name}-learnt.yaml").write_text(found.profile.read_text())
        seeded = leak.seed(stack, persons, firms, strangers)
        found.control = leak.walk_as(stack, "manager", seeded, limit)
        found.findings = [leak.walk_as(stack, role, seeded, limit) for role in ("sales", "auditor", "anonymous")]
        if found.owner:
            found.own = own_names(stack, seeded, limit)
        if thorough:
            found.findings.append(leak.walk_as(stack, "other_sales", seeded, limit))
        found.before = leak.walk_as(stack, "sales", entered, limit)
        if thorough:
            found.before_control = leak.walk_as(stack, "manager", entered, limit)
        if name == "creme":
            driver = stack.at_work("manager")
            driver.browser.get("/activities/activities").expect(200)  # nobody opened it while learning, in a short one
            driver.browser.close()
        time.sleep(6)  # what drifted is written down every three seconds
        found.drifted = len(json.loads(command(stack, "learn", "drift", "--json").stdout))
        found.findings.append(leak.at_rest(stack, seeded))
        stack.gateway.stop()
        found.findings.append(leak.own_files(stack, seeded))
    return found


def report(console: Console, found: Onboarding) -> None:
    """Print the table."""
    table = Table(title=f"Onboarding: {found.crm} with no profile of its own")
    for column in ("where", "looked at", "answers", *leak.KINDS):
        table.add_column(column)
    assert found.control is not None
    for one in (dataclasses.replace(found.control, where="manager (control: may see all)"), *found.findings):
        table.add_row(one.where, str(one.looked_at), one.statuses, *(str(one.found[kind]) for kind in leak.KINDS))
    console.print(table)
    for one in found.findings:
        console.print(f"  {leak.UNDECLARED}, {one.where}: {one.found[leak.UNDECLARED]}")
        for example in one.examples:
            console.print(f"    found: {example}", style="red")
    assert found.before is not None
    before = {kind: found.before.found[kind] for kind in ("name", "address")}
    seen = f"{before} in {found.before.looked_at} answers"
    console.print(f"  from before the profile, in clear in the CRM, seen by sales: {seen}")
    if found.before_control is not None:
        console.print(f"    (control, seen by the manager: {found.before_control.found['name']} names)")
    for example in found.before.examples:
        console.print(f"    seen: {example}")
    console.print(f"  learnt: {len(found.fields)} fields; {found.refused} kinds of requests stay refused")
    console.print(f"  drift seen while walking: {found.drifted} places")
    console.print(f"  decisions: {len(found.asked)} ({', '.join(found.asked)})")
    console.print(f"    confirmed: {', '.join(found.confirmed) or 'none'}; all others left at their defaults")
    if found.own is not None:
        seen = {kind: found.own.found[kind] for kind in ("name", "address")}
        console.print(f"  own customers, seen in clear by sales: {seen}; owners: {found.owner}")
    console.print(f"  watching {found.watched_s:.0f} s, from start to protection {found.whole_s:.0f} s")
    console.print(f"  lint: {found.lint.strip()}")
    style = "bold green" if found.leaks == 0 else "bold red"
    console.print(f"{found.crm}: {found.leaks} values found where they must not be", style=style)


def main() -> int:
    """Run it; 1 when anything leaked, too much was asked, or the control saw nothing."""
    parser = argparse.ArgumentParser(prog="make onboarding", description=__doc__)
    parser.add_argument("--crm", choices=(*SERVERS, "all"), default="all")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--organisations", type=int, default=6)
    parser.add_argument("--pages", type=int, default=600, help="pages walked at most, per role")
    parser.add_argument("--session", type=int, default=250, help="pages opened while learning")
    parser.add_argument("--keep", type=Path, help="folder for the learnt profiles")
    given = parser.parse_args()
    console, bad = Console(highlight=False, width=150), 0
    for name in tuple(SERVERS) if given.crm == "all" else (given.crm,):
        found = drill(name, given.people, given.organisations, given.pages, given.session, given.keep, thorough=True)
        report(console, found)
        assert found.control is not None
        bad += found.leaks + (len(found.asked) > MOST_DECISIONS) + (not found.control.found["name"])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
