"""What a probe is and what it answers: proved, refuted or not visible, with the facts it saw.

Probes only read. A fact is a name and a short text: versions, counts, names of tables and settings; never a secret, an
address of a person or a value. What cannot be seen from here is never taken for proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What the facts say of the claim."""

    PROVED = "proved"
    REFUTED = "refuted"
    NOT_VISIBLE = "not visible"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One answer. claim: what would be true, as a sentence; about: the part of the installation; facts: name → seen."""

    about: str
    claim: str
    verdict: Verdict
    facts: tuple[tuple[str, str], ...] = ()


class Probe(Protocol):
    """Looks at one part; never raises for what it meets there, and never writes."""

    def look(self) -> Sequence[Evidence]:
        """What was seen; blocks for a few seconds at most."""
        ...
