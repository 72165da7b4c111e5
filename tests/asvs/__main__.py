"""`make asvs`: runs the tests that show requirements of OWASP ASVS 5.0 and says of each what they said.

Prints a table and writes `build/asvs.md`. Exits with 1 when a test failed or did not run.
"""

import sys
from pathlib import Path

import pytest
from rich import box
from rich.console import Console
from rich.table import Table

from tests.asvs.evidence import Finding, Recorder, State, judge, markdown, totals
from tests.asvs.requirement import ROOT, read

OUT = ROOT / "build" / "asvs.md"
COLOURS = {
    State.SHOWN: "green",
    State.FAILED: "bold red",
    State.NOT_RUN: "red",
    State.OPEN: "yellow",
    State.ABSENT: "dim",
}


def main() -> int:
    """Run, print, write; the exit code of the command."""
    requirements = read()
    nodes = sorted({test for requirement in requirements for test in requirement.tests}, key=_dearest_first)
    recorder = Recorder()
    code = pytest.main(["-q", "-n", "2", "--dist", "loadfile", "--no-header", *nodes], plugins=[recorder])
    findings = judge(requirements, recorder.outcomes)
    Console(width=150).print(_table(findings))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(markdown(findings), "utf-8")
    counts = totals(findings)
    told = ", ".join(f"{count} {state.value}" for state, count in counts.items())
    Console().print(f"ASVS 5.0, {len(findings)} requirements: {told}. Written to {OUT.relative_to(Path.cwd())}")
    return 1 if code or counts[State.FAILED] or counts[State.NOT_RUN] else 0


def _dearest_first(node: str) -> tuple[bool, str]:
    return "/e2e/" not in node, node


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE, title="OWASP ASVS 5.0")
    for name in ("id", "level", "what", "state", "tests", "why not"):
        table.add_column(name)
    for each in findings:
        requirement = each.requirement
        table.add_row(
            requirement.id,
            str(requirement.level),
            requirement.topic,
            f"[{COLOURS[each.state]}]{each.state.value}[/]",
            f"{each.passed}/{each.passed + each.failed}",
            requirement.open or requirement.absent,
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
