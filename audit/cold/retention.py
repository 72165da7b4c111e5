"""How long entries are kept, by class and law; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit.cold.manifest import ClassShare

FIVE_YEARS = "five-years"
FIVE_YEARS_DAYS = 5 * 366


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """What is kept for so many days, and by which law. kinds, operations: of entries; an operation may end in `*`."""

    name: str
    days: int
    law: str = ""
    kinds: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()

    def holds(self, event: Mapping[str, Any]) -> bool:
        """Whether an entry, as a row of `event`, belongs to it."""
        operation = event["operation"]
        return event["kind"] in self.kinds or any(
            operation.startswith(one[:-1]) if one.endswith("*") else operation == one for one in self.operations
        )


@dataclass(frozen=True, slots=True)
class Retention:
    """Every class; what belongs to none is kept as long as `otherwise` says. An entry of two is kept for the longer."""

    classes: Sequence[RetentionClass] = ()
    otherwise: RetentionClass = field(default_factory=lambda: RetentionClass(FIVE_YEARS, FIVE_YEARS_DAYS))

    def class_of(self, event: Mapping[str, Any]) -> str:
        """The name of an entry's class."""
        found = [one for one in self.classes if one.holds(event)]
        return max(found, key=lambda one: one.days).name if found else self.otherwise.name

    def keep_until(self, shares: Mapping[str, ClassShare]) -> datetime:
        """When the last entry of a segment may go. A class that the settings no longer know keeps the longest."""
        days = {one.name: one.days for one in (*self.classes, self.otherwise)}
        return max(one.last_at + timedelta(days=days.get(name, max(days.values()))) for name, one in shares.items())
