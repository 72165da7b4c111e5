"""One record as a CRM shows it for editing, and what a driver of a CRM's own interface can do.

Values never appear in a `repr` or in an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from policies.walk import WalkEntity


class CrmRefused(Exception):  # noqa: N818 - names what happened
    """The CRM did not take what was written; `problem`: a stable id, never a value; fields: what it names."""

    permanent = True

    def __init__(self, problem: str, fields: Sequence[str] = ()) -> None:
        super().__init__(f"the CRM did not take it ({problem})")
        self.problem = problem
        self.fields = tuple(fields)


class CrmUnreachable(Exception):  # noqa: N818 - names a state
    """The CRM does not answer, answers nonsense, or answers with an error of its own; trying again may help."""

    permanent = False


class CrmSignInRefused(Exception):  # noqa: N818 - names what happened
    """The CRM does not let the service credential in."""

    permanent = True


class RecordChanged(Exception):  # noqa: N818 - names what happened
    """Somebody changed the record between reading and writing; it has to be read again."""

    permanent = False


@dataclass(slots=True)
class Reading:
    """What one record holds now.

    fields: wire name → text, of every field that holds text; limits: wire name → characters the CRM says it takes;
    parent: id of the record this one hangs on; skipped: the profile says that records like this one stay as they are;
    state: what the driver needs to write it.
    """

    entity: WalkEntity
    record: str
    fields: Mapping[str, str] = field(repr=False)
    limits: Mapping[str, int] = field(default_factory=dict)
    parent: str = ""
    skipped: bool = False
    state: object = field(default=None, repr=False)


@dataclass(slots=True)
class Listed:
    """One page of a list. following: where the next one begins, "" after the last; new: how many were not known."""

    ids: list[str]
    following: str
    new: int = 0


class CrmDriver(Protocol):
    """A CRM as `protect` sees it; every method raises CrmUnreachable, CrmSignInRefused.

    at_once: how many calls of it may be under way together; batch: how many records are best worked on together.
    """

    at_once: int
    batch: int

    async def page(self, entity: WalkEntity, place: str) -> "Listed":
        """Ids of the records of one page; place: "" for the first, then what the page before said."""
        ...

    async def read(self, entity: WalkEntity, record: str) -> Reading | None:
        """One record; None when it is gone."""
        ...

    async def write(self, reading: Reading, new: Mapping[str, str]) -> None:
        """Change these fields of a record that was just read; raises CrmRefused, RecordChanged."""
        ...

    async def create(self, entity: WalkEntity, values: Mapping[str, object]) -> str:
        """A new record; raises CrmRefused."""
        ...

    async def remove(self, entity: WalkEntity, record: str) -> None:
        """Delete a record for good; raises CrmRefused."""
        ...

    async def close(self) -> None:
        """Sign out where possible and end connections."""
        ...
