"""`crmgate evidence …`: what can be proved from here about what stands around the gateway."""

import asyncio
import contextlib
from collections.abc import Sequence

import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli_shell import PROBLEM, FileOption, out, settings_of, told_plainly
from gateway.evidence.probe import Evidence, Probe, Verdict
from gateway.legs import encryption_probes
from gateway.opening import open_database

app = typer.Typer(help="Evidence about databases and connections; only looks.", no_args_is_help=True)

_STYLES = {Verdict.PROVED: "green", Verdict.REFUTED: "red", Verdict.NOT_VISIBLE: "yellow"}


@app.callback()
def evidence() -> None:
    """Evidence about databases and connections; only looks."""


@app.command()
def encryption(config: FileOption = None) -> None:
    """Show what is encrypted: disks of the databases, every connection.

    Exit code 0: nothing is refuted (what is not visible is said); 1: at least one claim is refuted.
    """
    with told_plainly():
        settings = settings_of(config)
        with contextlib.closing(open_database(settings)) as database:
            found = asyncio.run(_look(encryption_probes(settings, database)))
    table = Table("part", "verdict", "seen", box=None)
    for one in found:
        facts = "\n".join(f"{name}: {value}" for name, value in one.facts)
        table.add_row(escape(one.about), f"[{_STYLES[one.verdict]}]{one.verdict}[/]", escape(facts))
    out.print(table)
    if any(one.verdict is Verdict.REFUTED for one in found):
        raise typer.Exit(PROBLEM)


async def _look(probes: Sequence[Probe]) -> list[Evidence]:
    """All of them at the same time, in their order."""
    return [
        one for found in await asyncio.gather(*(asyncio.to_thread(probe.look) for probe in probes)) for one in found
    ]
