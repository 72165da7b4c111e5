"""What the fidelity drill compares: a piece of work done by one member of staff, and what they saw of it.

The same work is done at a CRM and, through the gateway, at a twin of it with the same history; so record numbers and
everything else that the CRM counts are the same on both sides.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import unified_diff
from enum import StrEnum

from gateway.demo.driver import Driver
from tests.real.servers import CrmServer


class Verdict(StrEnum):
    """How both sides compare."""

    SAME = "same"
    KNOWN = "known difference"
    DIFFERENT = "DIFFERENT"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one person saw. said: a few words for the table; facts: everything, in order.

    loose: what must be equal even where the workflow names a known difference; None where there is none.
    """

    said: str
    facts: tuple[str, ...]
    loose: tuple[str, ...] | None = None


@dataclass(slots=True)
class Worker:
    """One person at work, with or without the gateway. kept: ids remembered from one workflow to the next."""

    driver: Driver
    server: CrmServer
    kept: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workflow:
    """One piece of work.

    known: the difference that is allowed, "" for none; slow: left out of the short form (background work, repeats).
    """

    name: str
    run: Callable[[Worker], Seen]
    known: str = ""
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; differences: an excerpt for whoever looks for the cause."""

    name: str
    without: str
    through: str
    verdict: Verdict
    known: str = ""
    differences: tuple[str, ...] = ()


def compare(workflow: Workflow, without: Seen, through: Seen) -> Row:
    """Both sides side by side."""
    verdict = Verdict.SAME
    pair = (without.facts, through.facts)
    if without.facts != through.facts:
        allowed = workflow.known and without.loose is not None and without.loose == through.loose
        verdict = Verdict.KNOWN if allowed else Verdict.DIFFERENT
        if workflow.known and without.loose is not None and through.loose is not None:
            pair = (without.loose, through.loose)
    differences = () if verdict is Verdict.SAME else tuple(unified_diff(*pair, "without", "through", n=1, lineterm=""))
    return Row(workflow.name, without.said, through.said, verdict, workflow.known, differences)
