"""What happens to a file that nobody can look into (PDF, pictures, sound, unknown binaries), per operation.

Where nothing is written down uploads pass, and answers go to people who see everything; pictures in answers go to all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Opaque(StrEnum):
    """One policy. STRIP: the file is left out and what it came in goes on; where that cannot be it is refused."""

    DEFAULT = "refuse-unless-everything"
    PASS = "pass"  # noqa: S105 - no password
    REFUSE = "refuse"
    STRIP = "strip"


@dataclass(frozen=True, slots=True)
class OpaqueRule:
    """The policies of one operation: of files that people send, and of files that the CRM answers with."""

    uploads: Opaque = Opaque.DEFAULT
    answers: Opaque = Opaque.DEFAULT


STANDARD = OpaqueRule()
CLOSING = frozenset({Opaque.REFUSE, Opaque.STRIP})
_WORDS = {
    Opaque.DEFAULT: {"uploads": "pass", "answers": "go to people who see everything (pictures to all)"},
    Opaque.PASS: {"uploads": "pass", "answers": "go to everybody"},
    Opaque.REFUSE: {"uploads": "are refused", "answers": "are refused to everybody"},
    Opaque.STRIP: {
        "uploads": "are left out of forms, and refused where they stand elsewhere",
        "answers": "are replaced by a sentence that says so",
    },
}


def compile_opaque(entry: Mapping[str, Any], source: Mapping[str, Any]) -> OpaqueRule:
    """The rule of a validated operation: what it says for a direction counts, else what the profile says."""
    found = {**_directions(source.get("opaque")), **_directions(entry.get("opaque"))}
    return OpaqueRule(**found) if found else STANDARD


def problems_of(entry: Mapping[str, Any], place: str) -> Iterator[str]:
    """Why what an operation says can never come true."""
    if "opaque" in entry and (entry.get("left_alone") or entry["action"] == "asset"):
        yield f"{place}: nothing looks into its files, so opaque has no effect"


def told(rule: OpaqueRule) -> str:
    """The rule in words, for `profile explain`."""
    uploads, answers = _WORDS[rule.uploads]["uploads"], _WORDS[rule.answers]["answers"]
    return f"files that cannot be looked into: uploaded ones {uploads}; answers {answers}"


def _directions(value: Any) -> dict[str, Opaque]:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"uploads": Opaque(value), "answers": Opaque(value)}
    return {direction: Opaque(one) for direction, one in value.items()}
