"""Progress for people who wait: one line a step, with a bar on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gateway.demo.environment import Progress as Report


class Steps:
    """Shows steps one after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Report]:
        """One step; the report given takes what happens now and the part done (0 to 1)."""
        began = time.monotonic()
        if self._console.is_terminal:
            with _bars(self._console) as bars:
                task = bars.add_task(title, total=1.0, now="")
                yield lambda now, part: bars.update(task, completed=part, now=now)
        else:
            self._console.print(f"… {title}", markup=False)
            yield lambda now, part: None
        self._console.print(f"[green]✓[/] {title} [dim]{time.monotonic() - began:.1f} s[/]")


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("[dim]{task.fields[now]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
