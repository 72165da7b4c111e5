"""One thing that `crmgate check` found: an id with what fills its sentence (check_words.py), never a secret."""

import os
from dataclasses import dataclass
from enum import IntEnum


class Weight(IntEnum):
    """How much a finding matters: a problem stops work, a warning will or may."""

    FINE = 0
    WARNING = 1
    PROBLEM = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. id is stable; place is the setting it is about; the values fill the sentence."""

    id: str
    weight: Weight
    place: str
    values: tuple[tuple[str, str], ...] = ()


def finding(id_: str, weight: Weight, place: str, **values: object) -> Finding:
    """A finding with the values of its sentence."""
    return Finding(id_, weight, place, tuple((name, str(value)) for name, value in values.items()))


def reason_of(fault: OSError) -> str:
    """Why something cannot be reached, in words."""
    return "timed out" if isinstance(fault, TimeoutError) else os.strerror(fault.errno) if fault.errno else "no answer"
