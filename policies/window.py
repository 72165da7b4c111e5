"""From when until when a row of a policy holds: `from=2026-12-01`, `until=2026-12-31T18:00+08:00`.

A date alone is a whole day in UTC, the last one included; a time needs its zone and is the first moment after.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_MINUTE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})\Z")


@dataclass(frozen=True, slots=True)
class Window:
    """start: first moment at which the row holds; end: first at which it does not any more. Seconds since 1970."""

    start: float = -inf
    end: float = inf

    def holds(self, at: float) -> bool:
        """Whether the row holds at a moment."""
        return self.start <= at < self.end

    @property
    def boundaries(self) -> tuple[float, ...]:
        """Moments at which that changes."""
        return tuple(one for one in (self.start, self.end) if abs(one) != inf)

    def __str__(self) -> str:
        """As a row ends, in one spelling; "" for always."""
        named = (("from", self.start), ("until", self.end))
        return "".join(f",{name}={_spelt(moment)}" for name, moment in named if abs(moment) != inf)


ALWAYS = Window()


def read_window(cells: list[str]) -> Window | str:
    """The window that the last cells of a row name, or what is wrong with it."""
    found: dict[str, float] = {}
    for cell in cells:
        name, _, text = cell.partition("=")
        at = moment(text, last=name == "until")
        if at is None:
            return f"{cell} names no day (2026-12-31) and no time with its zone (2026-12-31T18:00+08:00)"
        if name in found:
            return f"{name}= stands there twice"
        found[name] = at
    window = Window(found.get("from", -inf), found.get("until", inf))
    return window if window.start < window.end else "the row ends before it begins"


def moment(text: str, *, last: bool = False) -> float | None:
    """Seconds since 1970 of a day or a time with its zone; None for anything else. last: the end of that day."""
    try:
        if _DAY.match(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return (day + timedelta(days=1) if last else day).timestamp()
        return datetime.fromisoformat(text).timestamp() if _MINUTE.match(text) else None
    except (ValueError, OverflowError):
        return None


def _spelt(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
