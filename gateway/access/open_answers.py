"""Answers on their way, as sessions see them: who ends a session breaks them off."""

from collections.abc import Collection
from typing import Protocol


class OpenAnswers(Protocol):
    """Answers on their way (gateway.watch.Watch)."""

    def sessions(self) -> Collection[str]:
        """Ids of the sessions they are for."""

    def end_sessions(self, gone: Collection[str]) -> None:
        """Break off those that are for these sessions."""


class NoAnswers:
    """Where nothing is on its way."""

    def sessions(self) -> Collection[str]:
        """None."""
        return ()

    def end_sessions(self, gone: Collection[str]) -> None:
        """Nothing is on its way."""
