"""One ticker that ends stages which overstay, instead of a timer for every await.

A timer per stage costs more than most stages; here a stage writes down its deadline and a coarse tick cancels the task
that has passed it. Ending is cancellation, so a collaborator that hangs cannot hold a request; the pipeline turns it
into the stage's own refusal. Precision is one tick.
"""

import asyncio
from collections.abc import Collection

TICK_S = 0.25
NEVER = float("inf")
ENDED = "session"
"""Why an exchange ends whose session did."""


class Turn:
    """The watched part of one exchange: which stage it is in and until when.

    session: the session that ends it too, when that ends; "" where the exchange has to come to its own end.
    """

    __slots__ = ("_loop", "_open", "_task", "allowance", "deadline", "expired", "session", "stage")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object], opened: "set[Turn]") -> None:
        self._loop = loop
        self._task = task
        self._open = opened
        self.stage = ""
        self.allowance = self.deadline = NEVER
        self.expired = ""
        self.session = ""

    def enter(self, stage: str, seconds: float) -> None:
        """From now on the exchange is in this stage and may take so long."""
        self.stage = stage
        self.allowance = seconds
        self.deadline = self._loop.time() + seconds

    def rest(self, stage: str) -> None:
        """The exchange is in a stage that has a limit of its own."""
        self.stage = stage
        self.allowance = self.deadline = NEVER

    def expire(self, why: str = "") -> None:
        """Cancel the task; the stage, or why else, is remembered in `expired`."""
        self.expired = why or self.stage
        self.deadline = NEVER
        self._task.cancel()

    def absorb(self) -> bool:
        """True when the cancellation at hand is ours; it is taken back then."""
        if not self.expired:
            return False
        self._task.uncancel()
        return True

    def end(self) -> None:
        """The exchange is over."""
        self._open.discard(self)


class Watch:
    """Every open turn of one event loop; `start` when the loop runs, `stop` when it ends."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._open: set[Turn] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Turn:
        """A turn for the task that runs now."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be watched")
        loop = task.get_loop()
        if self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._tick, loop)
        turn = Turn(loop, task, self._open)
        self._open.add(turn)
        return turn

    def sessions(self) -> Collection[str]:
        """The sessions of open exchanges that end with them."""
        return {turn.session for turn in self._open if turn.session}

    def end_sessions(self, gone: Collection[str]) -> None:
        """End the open exchanges of these sessions, but for those that end anyway."""
        if not gone:
            return
        for turn in [turn for turn in self._open if turn.session in gone]:
            if not turn.expired and turn.stage != "refuse":
                turn.expire(ENDED)

    def stop(self) -> None:
        """Let the timer go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._open:
            self._timer = None  # nothing to watch: no wake-ups while idle
            return
        now = loop.time()
        for turn in [turn for turn in self._open if turn.deadline <= now]:
            turn.expire()
        self._timer = loop.call_later(self._tick_s, self._tick, loop)
