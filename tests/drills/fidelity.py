"""`make fidelity`: the same work at a CRM and, as manager through the gateway, at its twin; what is seen is compared.

Both CRMs start from the same state and get the same work in the same order, so even record numbers must agree. Only
the differences that a workflow names are allowed; anything else ends with exit code 1.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.demo.browser import Browser, BrowserFault
from gateway.demo.driver import DriverFault, make_driver
from tests.drills import fidelity_bottle, fidelity_creme, fidelity_djangocrm, fidelity_tryton
from tests.drills.stack import MEMBERS, installed
from tests.drills.workflow import Row, Seen, Verdict, Worker, Workflow, compare
from tests.real.servers import SERVERS, CrmServer

WORKFLOWS = {
    "creme": fidelity_creme.WORKFLOWS,
    "djangocrm": fidelity_djangocrm.WORKFLOWS,
    "tryton": fidelity_tryton.WORKFLOWS,
    "bottle": fidelity_bottle.WORKFLOWS,
}
_EXCERPT = 16  # lines of a difference that are printed
_STYLES = {Verdict.SAME: "green", Verdict.KNOWN: "yellow", Verdict.DIFFERENT: "bold red"}


def compared(
    name: str, *, short: bool = False, only: str = "", tell: Callable[[str], None] = lambda _: None
) -> list[Row]:
    """Do the work of one CRM on both sides.

    short: without work in the background; only: workflows whose name holds this; tell: hears what is being done.
    """
    chosen = [one for one in WORKFLOWS[name] if only in one.name and not (short and one.slow)]
    rows = []
    with twins(name, jobs=any(one.slow for one in chosen)) as (without, through):
        for one in chosen:
            tell(one.name)
            rows.append(_row(one, without, through))
    return rows


@contextlib.contextmanager
def twins(name: str, *, jobs: bool) -> Iterator[tuple[Worker, Worker]]:
    """The manager at a CRM without the gateway, and at its twin through the gateway."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_one_order_of_sets())
        servers: list[CrmServer] = [stack.enter_context(SERVERS[name]()) for _ in range(2)]
        if jobs and name == "creme":
            for server in servers:
                stack.enter_context(fidelity_creme.job_manager(server))
        house = stack.enter_context(installed(servers[1]))
        through = house.at_work("manager")
        stack.callback(through.browser.close)
        without = make_driver(name, Browser(servers[0].url))
        stack.callback(without.browser.close)
        without.log_in(MEMBERS["manager"], servers[0].passwords[MEMBERS["manager"]])
        yield Worker(without, servers[0]), Worker(through, servers[1])


@contextlib.contextmanager
def _one_order_of_sets() -> Iterator[None]:
    """Both CRMs write sets of strings in the same order; else every page would differ from itself."""
    name = "PYTHONHASHSEED"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _row(workflow: Workflow, without: Worker, through: Worker) -> Row:
    first, second = _attempt(workflow, without), _attempt(workflow, through)
    if isinstance(first, str) or isinstance(second, str):
        seen = [one if isinstance(one, str) else one.said for one in (first, second)]
        return Row(workflow.name, seen[0], seen[1], Verdict.DIFFERENT, workflow.known)
    return compare(workflow, first, second)


def _attempt(workflow: Workflow, worker: Worker) -> Seen | str:
    """What was seen, or why the work could not be done; the latter is never the same as anything."""
    try:
        return workflow.run(worker)
    except (BrowserFault, DriverFault, LookupError, ValueError, OSError) as fault:
        return f"{type(fault).__name__}: {fault}"


def show(name: str, rows: list[Row], console: Console) -> None:
    """The table, the totals, and excerpts of what differs."""
    table = Table(title=f"Fidelity: {name}, as manager")
    for column in ("workflow", "without gateway", "with gateway", "result"):
        table.add_column(column, overflow="fold")
    for row in rows:
        told = str(row.verdict) + (f": {row.known}" if row.verdict is Verdict.KNOWN else "")
        style = _STYLES[row.verdict]
        table.add_row(escape(row.name), escape(row.without), escape(row.through), f"[{style}]{told}[/]")
    console.print(table)
    for row in rows:
        if row.verdict is Verdict.DIFFERENT:
            console.print(f"[bold red]{escape(row.name)}[/]")
            for line in row.differences[:_EXCERPT]:
                console.print("   " + escape(line[:400]), highlight=False)
    counts = ", ".join(f"{sum(row.verdict is one for row in rows)} {one}" for one in Verdict)
    console.print(f"{name}: {len(rows)} workflows: {counts}")


def main() -> int:
    """Run on the CRMs asked for; 1 when anything differs that may not."""
    parser = argparse.ArgumentParser(prog="make fidelity", description=__doc__)
    parser.add_argument("--crm", choices=(*WORKFLOWS, "all"), default="all")
    parser.add_argument("--short", action="store_true", help="leave out work in the background")
    parser.add_argument("--only", default="", help="only workflows whose name holds this")
    given = parser.parse_args()
    console = Console(highlight=False, width=150)
    different = 0
    for name in WORKFLOWS if given.crm == "all" else (given.crm,):
        with console.status(f"{name}: starting two of them") as status:
            rows = compared(
                name,
                short=given.short,
                only=given.only,
                tell=lambda what, name=name: status.update(f"{name}: {what}"),  # type: ignore[misc]
            )
        show(name, rows, console)
        different += sum(row.verdict is Verdict.DIFFERENT for row in rows)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
