"""What comes of a statement: rows, or why there are none."""

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from audit.sql.engine_store import Room


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one statement. rows: without a LIMIT of its own; most_rows: with one; seconds: of running."""

    rows: int = 1_000
    most_rows: int = 100_000
    seconds: float = 60.0
    room: Room = field(default_factory=Room)


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement that may run, as it is put on record. shape: its words without literals and given names.

    persons: whom it names, by kind and pseudonym ("contact.ds_…").
    """

    shape: tuple[str, ...]
    tables: tuple[str, ...]
    persons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows; more: whether the limit cut some off; limit: that limit; at: what `now()` meant."""

    asked: Asked
    table: pa.Table
    more: bool
    limit: int
    at: datetime


class QueryFailed(Exception):  # noqa: N818 - an outcome
    """A statement that was allowed gave no answer.

    reason: one of `FAILURES`; told: what the engine says about it, for nobody but who asked: it may quote the
    statement. first, last: which entries it is about, where it is about entries. The message holds the reason alone.
    """

    def __init__(self, reason: str, told: str = "", first: int | None = None, last: int | None = None) -> None:
        assert reason in FAILURES, reason
        super().__init__(reason)
        self.reason = reason
        self.told = told
        self.first, self.last = first, last

    @property
    def permanent(self) -> bool:
        """Whether asking the same again cannot help."""
        return self.reason not in TRANSIENT


class Busy(Exception):  # noqa: N818 - a state
    """As many statements run already as may run at once. whose: "person" or "tenant"."""

    permanent = False

    def __init__(self, whose: str) -> None:
        super().__init__(whose)
        self.whose = whose


TRANSIENT = frozenset({"database", "archive", "keys", "lost"})
FAILURES = TRANSIENT | {
    "engine",  # DuckDB says no: types that do not fit, a division by zero…
    "memory",
    "time",
    "too-large",  # more bytes than an answer may have
    "gap",  # entries are neither in the database nor in the archive
    "entry-altered",
    "segment-altered",
}
