"""Where lines go: anything that takes a batch, and says whether it has."""

from collections.abc import Sequence
from typing import Protocol


class SinkUnavailable(Exception):  # noqa: N818 - a state; the batch is sent again later
    """The other side did not take the batch; `problem` is a word for the health page, without addresses."""

    permanent = False

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Sink(Protocol):
    """One way out.

    confirms: whether `send` returns only once the other side has taken the lines. Where it cannot know, the forwarder
    sends the newest batch again after every break.
    """

    confirms: bool

    async def send(self, lines: Sequence[bytes]) -> None:
        """Hand over a batch; raises SinkUnavailable, and then any part of it may have arrived."""

    async def alive(self) -> bool:
        """Whether what was handed over before still counts as arrived."""

    async def close(self) -> None:
        """Let go of it."""
