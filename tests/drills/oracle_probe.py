"""What a probe of the oracle drill is, and the texts that probes ask with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.demo.browser import Answer
from gateway.demo.driver import Driver
from gateway.demo.people import Person

LOOKUPS = (
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "regex",
    "iregex",
    "gt",
    "gte",
    "lt",
    "lte",
)
"""Comparisons of Django, on which both CRMs with pages are built."""


_DIGITS, _LETTERS = 8, 4  # that surrogates do not have by chance


def by_chance(text: str) -> bool:
    """Whether a text may be part of surrogates, which differ from gateway to gateway: a few digits or letters are."""
    return len(text) < _DIGITS and (text.isdecimal() or (text.isascii() and len(text) < _LETTERS))


@dataclass(frozen=True, slots=True)
class Hidden:
    """The one person that differs, in the first copy and in the second. protected: entered through the gateway."""

    here: Person
    there: Person
    protected: bool

    def operands(self, column: str) -> Iterator[tuple[str, str]]:
        """(what it is, text): the values of both, their beginnings, ends and middles, and one that nobody has."""
        for side, person in (("first", self.here), ("second", self.there)):
            value = str(getattr(person, column))
            yield f"{side} value", value
            yield f"beginning of the {side}", value[: max(1, len(value) // 2)]
            yield f"end of the {side}", value[-max(1, len(value) // 3) :]
            yield f"first sign of the {side}", value[:1]
        yield "nobody's", {"phone": "13000000017", "email": "nobody@example.net"}.get(column, "龘龘")


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. family: what it tries; title: names and places, never a value; ask: makes it, gives the answers.

    any_order: the CRM orders what it answers by ids that it draws at random, so that only the order may differ.
    """

    family: str
    title: str
    ask: Callable[[Driver], Sequence[Answer]]
    any_order: bool = False
