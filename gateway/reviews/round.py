"""What a review is about: roles that people have, rows that give rights, and what a reviewer decided of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.bundles.bundle import Act


class Sort(StrEnum):
    """What an item is: a role of a person, or a row of the policy."""

    ROLE = "role"
    ROW = "row"


class Decided(StrEnum):
    """What a reviewer says."""

    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to review. role: with department and position; since: None for rows; exact: whether since is known and
    not only the account's first day; last_used: None for never in the period; unused: judged, and not used in it;
    wording: of a row; holders: of a row."""

    sort: Sort
    user_id: str
    login: str
    role: str
    since: datetime | None
    exact: bool
    last_used: datetime | None
    unused: bool
    wording: str = ""
    holders: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """A finding in a round. done_at: when the removal was done, or drafted."""

    number: int
    finding: Finding
    decision: Decided | None
    decided: Act | None
    done_at: datetime | None

    @property
    def to_do(self) -> bool:
        """Whether a removal was decided and not done."""
        return self.decision is Decided.REMOVE and self.done_at is None


@dataclass(frozen=True, slots=True)
class Round:
    """A round. days: the period that use was looked for in; whole: whether all of it was read; bundle: number of the
    draft without the rows that go."""

    number: int
    days: int
    whole: bool
    started: Act
    closed: Act | None
    bundle: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the tenant finds. since: from when on use was looked for; whole: whether all of it was read."""

    findings: Sequence[Finding]
    since: datetime
    whole: bool
    days: int

    def of(self, sort: Sort) -> list[Finding]:
        """Findings of one sort."""
        return [one for one in self.findings if one.sort is sort]
