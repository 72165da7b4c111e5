"""`make roundtrip`: what goes out in an export comes back in by an import, per role, as CSV and as XLSX.

In each real CRM people are entered by a manager and by a salesperson who may import. Their exports are imported again:
what the CRM holds, and what every role sees, has to be what it was before, value by value. Then one value is changed in
a file, masks are edited, rows of others are tried, and the people are deleted and imported anew.
"""

import argparse
import contextlib
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from gateway.demo.driver import BottleDriver, CremeDriver, DjangoCrmDriver, TrytonDriver
from gateway.demo.people import Person, make_people
from gateway.demo.tryton import DATABASE
from policies.enforcer import DEFAULT_POLICY
from tests.drills import roundtrip_bottle, roundtrip_creme, roundtrip_djangocrm, roundtrip_tryton
from tests.drills.fidelity_creme import job_manager
from tests.drills.protect_command import Commands
from tests.drills.roundtrip_table import Line
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import at_work, close_all
from tests.real.servers import SERVERS

POLICY = "\ng, importer, sales, *\np, importer, *, op:*, import, any\n"
KINDS = ("csv", "scsv", "xls", "xlsx")
Told = Callable[[str], None]


@contextlib.contextmanager
def house(name: str) -> Iterator[Stack]:
    """crmgate in front of a CRM, with a role that sees what sales sees and may import."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        policy = folder / "policy.csv"
        policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
        server = stack.enter_context(SERVERS[name]())
        if name == "creme":
            stack.enter_context(job_manager(server))
        made = stack.enter_context(installed(server, f'[tenant.main]\narrivals_s = 2.0\npolicy = "{policy}"\n'))
        if name in ("creme", "tryton"):
            login, password = server.crm.admin_login, folder / "password"
            password.write_text(server.passwords[login], encoding="utf-8")
            words = ["credential", "--login", login, "--password-file", str(password)]
            Commands(settings=made.settings).protect(*words, *(["--db", DATABASE] if name == "tryton" else []))
        stack.callback(close_all)
        yield made


def creme_room(stack: Stack, people: Sequence[Person], kinds: Sequence[str]) -> list[Line]:
    """Creme: lists, mass imports."""
    manager, importer = (at_work(stack, *who) for who in (("manager", "wang.manager"), ("importer", "lin.sales")))
    assert isinstance(manager, CremeDriver)
    assert isinstance(importer, CremeDriver)
    return roundtrip_creme.run(roundtrip_creme.furnish(stack, manager, importer, people), kinds)


def bottle_room(stack: Stack, people: Sequence[Person], _kinds: Sequence[str]) -> list[Line]:
    """BottleCRM: export, preview, import."""
    manager, importer = (at_work(stack, *who) for who in (("manager", "wang.manager"), ("importer", "lin.sales")))
    direct = stack.direct("manager")
    assert isinstance(manager, BottleDriver)
    assert isinstance(importer, BottleDriver)
    assert isinstance(direct, BottleDriver)
    lines = roundtrip_bottle.run(roundtrip_bottle.furnish(manager, importer, direct, people))
    direct.browser.close()
    return lines


def tryton_room(stack: Stack, people: Sequence[Person], _kinds: Sequence[str]) -> list[Line]:
    """Tryton: rows as arrays."""
    manager, importer = (at_work(stack, *who) for who in (("manager", "wang.manager"), ("importer", "lin.sales")))
    direct = stack.direct("manager")
    assert isinstance(manager, TrytonDriver)
    assert isinstance(importer, TrytonDriver)
    assert isinstance(direct, TrytonDriver)
    lines = roundtrip_tryton.run(roundtrip_tryton.furnish(manager, importer, direct, people))
    direct.browser.close()
    return lines


def djangocrm_room(stack: Stack, people: Sequence[Person], _kinds: Sequence[str]) -> list[Line]:
    """DjangoCRM: workbooks of three kinds of records."""
    manager, importer = (at_work(stack, *who) for who in (("manager", "wang.manager"), ("importer", "lin.sales")))
    assert isinstance(manager, DjangoCrmDriver)
    assert isinstance(importer, DjangoCrmDriver)
    return roundtrip_djangocrm.run(roundtrip_djangocrm.furnish(stack, manager, importer, people))


ROOMS = {"creme": creme_room, "tryton": tryton_room, "bottle": bottle_room, "djangocrm": djangocrm_room}


def show(name: str, lines: Sequence[Line], console: Console) -> bool:
    """The table of one CRM; whether all is well."""
    table = Table(title=f"Export and import through the gateway: {name}", box=box.SIMPLE)
    for column in ("check", "compared", "wrong"):
        table.add_column(column, justify="left" if column == "check" else "right")
    for line in lines:
        style = "bold red" if line.faults else "green"
        table.add_row(line.what, str(line.compared), f"[{style}]{len(line.faults)}[/]")
    console.print(table)
    for line in lines:
        for fault in line.faults[:12]:
            console.print(f"   {line.what}: {fault}", highlight=False, markup=False)
    wrong = sum(len(line.faults) for line in lines)
    console.print(f"{name}: {sum(line.compared for line in lines)} compared, {wrong} wrong")
    return wrong == 0


def main() -> int:
    """Go through the rooms asked for; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="roundtrip", description=__doc__, allow_abbrev=False)
    parser.add_argument("crms", nargs="*", choices=[[], *ROOMS], help="creme, tryton, bottle, djangocrm (default: all)")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    console, good = Console(), True
    for name in options.crms or ROOMS:
        people = make_people(random.Random(options.seed), options.people)
        with house(name) as stack:
            good &= show(name, ROOMS[name](stack, people, KINDS), console)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
