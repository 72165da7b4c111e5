"""From measurements to the printed tables: medians over rounds, ratios first, then rows of goals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.load import Measure

NGINX, MITMPROXY, CRMGATE = "nginx", "mitmproxy", "crmgate"


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians of the rounds of one contender under one load."""

    per_second: float
    p50: float
    p99: float
    cpu: float
    postgres: float
    spread: float


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of the goals. seen None: not measured by this run; more: larger is better."""

    what: str
    floor: float
    goal: float
    seen: float | None
    unit: str
    more: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "goal", "floor", "missed" or "not measured"."""
        if self.seen is None:
            return "not measured"
        if (self.seen >= self.goal) if self.more else (self.seen <= self.goal):
            return "goal"
        if (self.seen >= self.floor) if self.more else (self.seen <= self.floor):
            return "floor"
        return "missed"


def summarise(rounds: Sequence[Measure]) -> Summary:
    """Medians; spread is the largest deviation of CPU per request from its median, as a share."""
    cpu = [one.cpu.get("proxy", 0.0) for one in rounds]
    middle = median(cpu)
    return Summary(
        per_second=median(one.per_second for one in rounds),
        p50=median(one.p50 for one in rounds),
        p99=median(one.p99 for one in rounds),
        cpu=middle,
        postgres=median(one.cpu.get("postgres", 0.0) for one in rounds),
        spread=max((abs(value - middle) / middle for value in cpu), default=0.0) if middle else 0.0,
    )


def print_load(console: Console, title: str, found: Mapping[str, Summary]) -> None:
    """One load: every contender as a multiple of nginx, then its figures."""
    base = found.get(NGINX)
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("contender")
    for heading in (
        "CPU x nginx",
        "with PostgreSQL",
        "CPU µs/request",
        "PostgreSQL µs",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "± CPU",
    ):
        table.add_column(heading, justify="right")
    for name, one in found.items():
        ratio = f"{one.cpu / base.cpu:.2f}" if base and base.cpu else "–"
        both = f"{(one.cpu + one.postgres) / base.cpu:.2f}" if base and base.cpu and one.postgres else ""
        postgres = f"{one.postgres:.1f}" if one.postgres else ""
        times = (f"{one.p50:,.0f}", f"{one.p99:,.0f}", f"{one.spread:.0%}")
        table.add_row(name, ratio, both, f"{one.cpu:.1f}", postgres, f"{one.per_second:,.0f}", *times)
    console.print(table)


def print_goals(console: Console, goals: Sequence[Goal]) -> None:
    """Floor, goal and what was seen."""
    table = Table(title="Goals", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("what", "floor", "goal", "seen", "verdict", "note"):
        table.add_column(heading, justify="left" if heading in ("what", "verdict", "note") else "right")
    for row in goals:
        sign = "≥" if row.more else "≤"
        seen = (
            "" if row.seen is None else f"{row.seen:,.2f}{row.unit}" if row.seen < 100 else f"{row.seen:,.0f}{row.unit}"
        )
        table.add_row(
            row.what, f"{sign} {row.floor:,g}{row.unit}", f"{sign} {row.goal:,g}{row.unit}", seen, row.verdict, row.note
        )
    console.print(table)
