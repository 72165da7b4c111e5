"""What the summary of an evidence pack tells: counts over its entries, and how they are proved. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

ANSWERED, REFUSED, NO_STATUS = "answered", "refused", "none"
_FIRST_ERROR = 400


@dataclass(slots=True)
class Totals:
    """Counts. outcome: answered, refused (status of 400 and above), none; form: of fields that went out or came in."""

    entries: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    day: Counter[str] = field(default_factory=Counter)
    person: Counter[str] = field(default_factory=Counter)
    operation: Counter[str] = field(default_factory=Counter)
    form: Counter[str] = field(default_factory=Counter)
    outcome: Counter[str] = field(default_factory=Counter)
    reason: Counter[str] = field(default_factory=Counter)

    def add(self, at: datetime, content: Mapping[str, Any], sights: Iterable[Mapping[str, Any]]) -> None:
        """Count one entry. at: its own time, with zone."""
        self.entries += 1
        self.first_at = min(self.first_at or at, at)
        self.last_at = max(self.last_at or at, at)
        self.day[at.date().isoformat()] += 1
        self.person[str(content["actor_login"] or content["actor"])] += 1
        self.operation[str(content["operation"] or content["kind"])] += 1
        self.reason[str(content["reason"])] += 1
        status = int(content["status"])
        self.outcome[NO_STATUS if not status else REFUSED if status >= _FIRST_ERROR else ANSWERED] += 1
        for sight in sights:
            self.form[str(sight["form"])] += int(sight["count"])


@dataclass(frozen=True, slots=True)
class Anchored:
    """A place outside the database that holds a checkpoint. name: its kind, or the witness; size: entries covered.

    files: what can be packed along with it, by name.
    """

    name: str
    size: int
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Range:
    """Entries `first` to before `end` of which the pack holds every hash."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the summary says. filters: name → value asked for; earlier: size of the checkpoint it grew from, or 0.

    consecutive: between first and last none is left out; vkey: the public key; fingerprint: SHA-256 of its 32 bytes.
    """

    origin: str
    made_at: datetime
    made_by: str
    filters: Mapping[str, str]
    totals: Totals
    waiting: int
    first: int
    last: int
    consecutive: bool
    range: Range | None
    policies: Mapping[str, str]
    size: int
    root: str
    earlier: int
    vkey: str
    fingerprint: str
    anchors: tuple[Anchored, ...]


def most(counter: Counter[str], limit: int) -> list[tuple[str, int]]:
    """The most frequent, in a stable order; what is left over as ("", sum)."""
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[limit:])
    return ordered[:limit] + ([("", rest)] if rest else [])


def periods(day: Counter[str], limit: int) -> list[tuple[str, int]]:
    """Counts by day, by month where those are too many, else by year; in order of time, without empty ones."""
    for letters in (10, 7, 4):
        found: Counter[str] = Counter()
        for name, count in day.items():
            found[name[:letters]] += count
        if len(found) <= limit:
            break
    return sorted(found.items())
