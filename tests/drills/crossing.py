"""`make crossing`: two companies with real CRMs behind one gateway, and everything of one tried at the other.

Cookies, credentials, names of hosts, surrogates, record numbers, exports, cache validators, ids in the console. An
attempt has crossed when the answer shows a value of the other company, lets somebody in whom only the other company
knows, or changes something there. The only passing figure is 0 of at least 500.
"""

import argparse
import contextlib
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from gateway.demo.browser import Browser
from gateway.demo.driver import CremeDriver
from gateway.demo.people import Person, make_people
from tests.drills.crossing_attempts import Attempt, Side, attempts
from tests.drills.leak import UNDECLARED, values_of
from tests.drills.seek import Seeker
from tests.drills.stack import Stack, installed
from tests.e2e.tenants import Door
from tests.real.servers import CrmServer, creme

LEAST = 500
SEED = 20261127
NEIGHBOUR = """
[tenant.main.identity]
api_clients = true
[tenant.north]
upstream = "{upstream}"
profile = "creme"
public_url = "https://north.localhost:{port}"
migrated = true
[tenant.north.identity]
api_clients = true
"""
LOGIN = "wang.manager"


@dataclass(slots=True)
class Result:
    """What was tried, by kind, and what crossed. blind: controls that did not see what they should have."""

    tried: Counter[str] = field(default_factory=Counter)
    crossed: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)


@contextlib.contextmanager
def two_sides(count: int) -> Iterator[tuple[Side, Side]]:
    """Two tenants of one gateway, each with `count` people of its own and a manager at work."""
    with creme() as one, creme() as other:
        extra = NEIGHBOUR.replace("{upstream}", other.url)
        with installed(one, extra, {}) as stack:
            people = make_people(random.Random(SEED), 2 * count)
            yield (
                _side(stack, "main", "crm", one, people[:count]),
                _side(stack, "north", "north", other, people[count:]),
            )


def _side(stack: Stack, tenant: str, host: str, crm: CrmServer, people: list[Person]) -> Side:
    door = Door(stack, tenant, f"https://{host}.localhost:{stack.home.port}")
    member = door.join("manager", crm.user_ids[LOGIN], login="same.login")
    browser = door.sign_in(member)
    driver = CremeDriver(browser)
    driver.log_in(LOGIN, crm.passwords[LOGIN])
    records = tuple(driver.add_person(person) for person in people)
    sought = [one for person in people for one in values_of(person, tenant, "") if one.kind != UNDECLARED]
    direct = Browser(crm.url)
    CremeDriver(direct).log_in(LOGIN, crm.passwords[LOGIN])
    door.opened.append(direct)
    typed = f"{LOGIN}\n{crm.passwords[LOGIN]}\n"
    said = door.command(
        "client", "add", f"robot-{tenant}", "--role", "manager", "--network", "127.0.0.1/32", typed=typed
    )
    token = next(line.strip() for line in said.splitlines() if line.startswith("  ") and " " not in line.strip())
    return Side(
        door=door,
        member=member,
        browser=browser,
        direct=direct,
        records=records,
        seeker=Seeker(sought),
        values=tuple(dict.fromkeys(one.value for one in sought)),
        token=token,
    )


def drill(count: int, every: int, tell: Callable[[int, int], None]) -> Result:
    """Try everything in both directions (with `every` > 1 only each so-many-th); tell: gets done and total."""
    result = Result()
    with contextlib.ExitStack() as stack:
        one, other = stack.enter_context(two_sides(count))
        stack.callback(one.door.close)
        stack.callback(other.door.close)
        result.blind += [f"{side.door.tenant} does not see its own" for side in (one, other) if not _sees_own(side)]
        chosen: list[Attempt] = [*attempts(one, other), *attempts(other, one)][::every]
        for number, attempt in enumerate(chosen):
            tell(number, len(chosen))
            result.tried[attempt.kind] += 1
            if fault := attempt.crossed():
                result.crossed.append(f"{attempt.kind}: {attempt.title}: {fault}")
        result.blind += [f"{side.door.tenant} lost its own" for side in (one, other) if not _sees_own(side)]
    return result


def _sees_own(side: Side) -> bool:
    """Whether everything still works where it belongs: a drill against a wall proves nothing."""
    page = side.browser.get(f"/persons/contact/{side.records[0]}").expect(200)
    program = side.bare().send("GET", f"/persons/contact/{side.records[0]}", headers=side.bearing()).expect(200)
    return bool(side.seeker.find(page.body)) and bool(side.seeker.find(program.body))


def main() -> int:
    """Print the figures; exit code 1 when anything crossed, a control was blind or too little was tried."""
    parser = argparse.ArgumentParser(prog="make crossing", description=__doc__)
    parser.add_argument("--people", type=int, default=12)
    given = parser.parse_args()
    console = Console(highlight=False, width=150)
    with console.status("two CRMs and a gateway") as status:
        result = drill(given.people, 1, lambda done, total: status.update(f"{done} of {total} attempts"))
    table = Table("kind", "attempts", title="Crossing drill")
    for kind, number in sorted(result.tried.items()):
        table.add_row(kind, str(number))
    console.print(table)
    for line in (*result.crossed, *result.blind):
        console.print(line, style="red")
    total = result.tried.total()
    console.print(f"{len(result.crossed)} of {total} attempts crossed")
    return 1 if result.crossed or result.blind or total < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
