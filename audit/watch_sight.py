"""What the watch knows of one tenant's trail: what stands against it, and when which entries were last found whole."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from audit.imprint import Imprinter

SLOT_ENTRIES = 1_024
REMEMBERED_CHECKPOINTS = 50_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a tenant's trail. found_at: by the watch; since: it was whole then (None: not known).

    span: first and last of the entries among which the changed one is; checkpoint: its size, where it is about one.
    """

    tenant: str
    text: str
    found_at: datetime
    since: datetime | None = None
    span: tuple[int, int] | None = None
    checkpoint: int | None = None

    def line(self) -> str:
        """One line of JSON for the file."""
        told = {
            "tenant": self.tenant,
            "finding": self.text,
            "found_at": self.found_at.isoformat(),
            "whole_at": self.since.isoformat() if self.since else None,
            "entries": list(self.span) if self.span else None,
            "checkpoint": self.checkpoint,
        }
        return json.dumps(told, ensure_ascii=False) + "\n"


@dataclass(slots=True)
class Sight:
    """What the watch knows of one tenant.

    tail: entries read since they were written; sweep: where the next slice begins; suspects: tile → what it was when
    it was told to be another one; quick_s: seconds that the newest quick sweep took; hot: first entry in the database.
    """

    tail: int = -1
    sweep: int = 0
    sweep_began: datetime | None = None
    sweep_clean: bool = True
    slice_at: datetime | None = None
    whole_at: datetime | None = None
    urgent: bool = False
    touched: int = -1
    unexplained: int = -(2**63)
    hot: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    slots: dict[int, datetime] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    suspects: dict[int, bytes] = field(default_factory=dict)
    tail_printer: Imprinter = field(default_factory=Imprinter)
    sweep_printer: Imprinter = field(default_factory=Imprinter)
    quick_s: float = 0.0

    def remember(self, sizes: Iterable[int]) -> None:
        """Keep the sizes of checkpoints that were there, the newest where they are too many."""
        self.sizes.update(sizes)
        if len(self.sizes) > 2 * REMEMBERED_CHECKPOINTS:
            self.sizes = set(sorted(self.sizes)[-REMEMBERED_CHECKPOINTS:])

    def saw(self, start: int, end: int, at: datetime, before: datetime | None) -> None:
        """Note when entries were last found whole. before: when the part that ends at `start` was."""
        for slot in range(start // SLOT_ENTRIES, -(-end // SLOT_ENTRIES)):
            first, last = slot * SLOT_ENTRIES, (slot + 1) * SLOT_ENTRIES
            if start <= first and last <= end:
                self.slots[slot] = at
            elif last <= end and before is not None:
                self.slots[slot] = before
            else:
                self.slots.setdefault(slot, at)

    def seen(self, span: tuple[int, int] | None) -> datetime | None:
        """When these entries were last found whole."""
        if span is None:
            return None
        known = [self.slots.get(slot) for slot in {span[0] // SLOT_ENTRIES, span[1] // SLOT_ENTRIES}]
        times = [time for time in known if time is not None]
        return min(times) if times and len(times) == len(known) else None
