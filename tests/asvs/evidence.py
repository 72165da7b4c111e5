"""What a run of the tests says of each requirement, as a pytest plugin and as a table.

A requirement is *shown* when every one of its tests ran and passed. One failure makes it *failed*, a test that did not
run *not run*: neither counts as shown.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import pytest

from tests.asvs.requirement import Requirement


class State(StrEnum):
    """What can be claimed of a requirement after a run."""

    SHOWN = "shown"
    FAILED = "failed"
    NOT_RUN = "not run"
    OPEN = "open"
    ABSENT = "not applicable"


@dataclass(frozen=True)
class Finding:
    """One requirement after a run: its state and how many of its tests (with their parameters) passed and did not."""

    requirement: Requirement
    state: State
    passed: int
    failed: int


class Recorder:
    """Plugin that notes how each test ended: passed only if set-up, call and tear-down did."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest (and by xdist for its workers) up to three times a test."""
        if report.when == "call" or not report.passed:
            self.outcomes[report.nodeid] = self.outcomes.get(report.nodeid, True) and report.passed


def judge(requirements: Iterable[Requirement], outcomes: Mapping[str, bool]) -> list[Finding]:
    """Findings in the order of the requirements; `outcomes` maps node ids, parameters included, to passed or not."""
    by_test: dict[str, list[bool]] = defaultdict(list)
    for node, passed in outcomes.items():
        by_test[node.partition("[")[0]].append(passed)
    return [_judged(requirement, by_test) for requirement in requirements]


def _judged(requirement: Requirement, by_test: Mapping[str, list[bool]]) -> Finding:
    results = [by_test.get(test, []) for test in requirement.tests]
    passed = sum(sum(each) for each in results)
    failed = sum(len(each) for each in results) - passed
    if failed:
        state = State.FAILED
    elif not all(results):
        state = State.NOT_RUN
    elif requirement.absent:
        state = State.ABSENT
    elif requirement.open:
        state = State.OPEN
    else:
        state = State.SHOWN
    return Finding(requirement, state, passed, failed)


def totals(findings: Iterable[Finding]) -> dict[State, int]:
    """How many requirements are in which state; every state is there."""
    counts = dict.fromkeys(State, 0)
    for finding in findings:
        counts[finding.state] += 1
    return counts


def markdown(findings: list[Finding]) -> str:
    """The table as Markdown, one line a requirement."""
    counts = totals(findings)
    lines = [
        "# OWASP ASVS 5.0: evidence of one test run",
        "",
        ", ".join(f"{state.value}: {count}" for state, count in counts.items()) + f"; of {len(findings)} requirements.",
        "",
        "| id | level | what | state | tests passed | tests, or why not |",
        "|---|---|---|---|---|---|",
    ]
    for each in findings:
        requirement = each.requirement
        why = requirement.open or requirement.absent
        tests = ", ".join(f"`{test.rpartition('/')[2]}`" for test in requirement.tests)
        count = f"{each.passed} of {each.passed + each.failed}"
        told = "; ".join(part for part in (why, tests) if part).replace("|", "\\|")
        lines.append(
            f"| {requirement.id} | {requirement.level} | {requirement.topic} | {each.state.value} | {count} | {told} |"
        )
    return "\n".join(lines) + "\n"
