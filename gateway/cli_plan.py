"""`crmgate audit plan`: what years of the trail cost in disk, money and minutes, measured on this machine."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from audit.cold.plan import Wanted, lines, measure
from gateway.cli_shell import PROBLEM, err, out, quit_with


def plan(
    events: Annotated[int, typer.Option(help="Entries to invent, seal and measure.", min=2_000)] = 2_000_000,
    segment_entries: Annotated[int, typer.Option(help="Entries in a segment.", min=1_000)] = 250_000,
    per_day: Annotated[int, typer.Option(help="Entries a day that are expected.", min=1)] = 1_000_000,
    years: Annotated[int, typer.Option(help="How long they are kept.", min=1)] = 5,
    price: Annotated[float, typer.Option(help="Price of a gigabyte a month, in any money.", min=0)] = 0.025,
    folder: Annotated[Path | None, typer.Option(help="Where the segments are made; removed afterwards.")] = None,
) -> None:
    """Make real segments from invented entries, measure them, and draw the figures out; the trail is not touched."""
    wanted = Wanted(events, segment_entries, per_day, years, price)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="crmgate-plan-") as made:
            found = measure(Path(made), wanted, lambda text: err.print(text, style="dim", markup=False))
    except OSError as fault:
        raise quit_with(PROBLEM, f"The segments cannot be written ({fault.strerror}).") from None
    for line in lines(found, wanted):
        out.print(line, markup=False)
