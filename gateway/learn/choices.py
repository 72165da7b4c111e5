"""What an administrator decided, with the safe default for everything else."""

from collections.abc import Mapping

from gateway.learn.proposal import MOST_DECISIONS, Decision


class Choices:
    """Asks are collected while a proposal is made; `get` answers them."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers = answers
        self._asked: dict[str, Decision] = {}

    def get(self, decision: Decision) -> str:
        """The answer to a decision: the one given, else its default."""
        known = self._asked.setdefault(decision.id, decision)
        if known is not decision:
            known.values = tuple(dict.fromkeys((*known.values, *decision.values)))
            known.weight = max(known.weight, decision.weight)
        given = self._answers.get(decision.id, "")
        return given if given in decision.options else decision.default

    def asked(self) -> list[Decision]:
        """Those that matter most, in order; what is not among them keeps its default."""
        return sorted(self._asked.values(), key=lambda one: (-one.weight, one.id))[:MOST_DECISIONS]
