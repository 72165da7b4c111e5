"""The words of durable work: a job, a slice of it, and who does the slices. Ids and counts only, never a value."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class WorkflowsUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """Durable work cannot start: the database does not answer, or its role may not make the schema `dbos`."""

    permanent = False


class JobUnknown(Exception):  # noqa: N818 - names what is wrong
    """There is no such job, or it has ended; nothing was changed."""

    permanent = True


class State(StrEnum):
    """What a job is; only `running` is worked on."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """It met a problem that trying again does not cure; `problem` names it. Resume goes on from the cursor."""
    CANCELLED = "cancelled"
    DONE = "done"


class Wanted(StrEnum):
    """What an administrator asked for last."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of durable work as it stands.

    arguments: ids and settings, never a value; cursor: where the next slice begins, as the last one left it (None
    before the first); rate: items a second at most; active_s: seconds spent on it; run: which workflow works on it.
    """

    id: str
    kind: str
    tenant: str
    arguments: Mapping[str, Json]
    cursor: Json
    state: State
    wanted: Wanted
    run: int
    problem: str
    done: int
    total: int
    rate: float | None
    active_s: float
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None

    @property
    def speed(self) -> float:
        """Items a second so far; 0 when unknown."""
        return self.done / self.active_s if self.active_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at the speed so far; None when unknown."""
        speed = self.speed
        return max(0, self.total - self.done) / speed if speed else None

    def quota(self, most: int) -> int:
        """How many items one slice should take: about a second's worth under a rate limit, at most `most`."""
        return most if self.rate is None else max(1, min(most, int(self.rate)))


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice leaves behind; it is saved before the next one begins.

    done, total: items of the whole job. A slice whose end was not saved (a kill) is done again from the same cursor
    with the same `Job.done`, so it must change nothing the second time.
    """

    cursor: Json
    done: int
    total: int
    finished: bool = False


Work = Callable[[Job], Awaitable[Slice]]
"""Does one slice: a second or so of work. An exception with `permanent = True` stops the job, any other is tried
again after a growing pause; its `problem` attribute, else its class name, is what an operator sees."""
