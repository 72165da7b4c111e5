"""What the values of one place are: kinds that recognisers saw, what the name means, what a document says.

Each source has a weight; sources that agree add up, and a confidence never reaches 1: nobody has confirmed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.learn.value import DATE, LONG_TEXT, WORDS, Stat
from gateway.learn.vocabulary import PERSONAL, UNSURE, vocabulary

MOST = 0.97
MIXED, UNKNOWN = "mixed", "unknown"


@dataclass(slots=True)
class Guess:
    """kind: of the taxonomy, text, place, plain, secret, mixed (several recognised kinds), unsure or unknown."""

    kind: str
    confidence: float
    reasons: list[str] = field(default_factory=list)


def guess(name: str, labels: Sequence[str], stat: Stat, told: str = "", control: str = "") -> Guess:
    """What one place holds. told: the kind a document gives it; control: the type of the form field."""
    votes: dict[str, float] = {}
    reasons: dict[str, list[str]] = {}

    def vote(kind: str, weight: float, why: str) -> None:
        votes[kind] = 1 - (1 - votes.get(kind, 0.0)) * (1 - weight)
        reasons.setdefault(kind, []).append(why)

    share = stat.kinds.total() / stat.seen if stat.seen else 0.0
    for kind, count in stat.kinds.items():
        if count / stat.seen >= 0.2:
            vote(
                kind,
                min(0.92, 0.55 + 0.08 * count) * (count / stat.seen) ** 0.5,
                f"recognised in {count} of {stat.seen} values",
            )
    named = vocabulary().meaning(name)
    if named is not None:
        vote(named.kind, named.weight, "its name says so")
    for label in dict.fromkeys(labels):
        meaning = vocabulary().meaning(label) if label else None
        if meaning is not None and meaning.kind != UNSURE:
            vote(meaning.kind, meaning.weight - 0.15, f"its label “{label}” says so")
    if told:
        vote(told, 0.85, "the document says so")
    if control in ("email", "tel"):
        vote("email" if control == "email" else "phone", 0.8, f"the form's field has type {control}")
    if control == "textarea" and not set(votes) & {"address"}:
        vote("text", 0.6, "the form's field takes several lines")
    return _settled(stat, votes, reasons, share)


_NUMBERS = frozenset({"phone", "id_card", "bank_card"})  # kinds that may be written as mere numbers


def _settled(stat: Stat, votes: dict[str, float], reasons: dict[str, list[str]], share: float) -> Guess:
    recognised = [kind for kind in stat.kinds if kind in votes]
    if recognised and reasons.get("text") and "its name says so" in reasons["text"]:
        # What is called a note may hold anything, whatever stood in the few that were seen.
        return Guess("text", round(min(MOST, votes["text"]), 2), reasons["text"])
    if len(recognised) > 1 and not (set(votes) & {"text"}):
        why = [f"recognised {stat.kinds[kind]} times as {kind}" for kind in sorted(recognised)]
        return Guess(MIXED, min(MOST, max(votes[kind] for kind in recognised)), why)
    if recognised and share < 0.6 and "name" not in votes and "text" not in votes and stat.shapes[WORDS]:
        return Guess(MIXED, 0.6, [f"recognised in part only ({share:.0%})"])
    if stat.refers and not set(votes) & _NUMBERS:
        return Guess("plain", 0.6, ["numbers of records"])
    if not votes:
        if stat.shapes[LONG_TEXT]:
            return Guess("text", 0.5, ["long text"])
        if stat.shapes[DATE] and not stat.shapes[WORDS]:
            return Guess("plain", 0.5, ["dates"])
        return Guess(UNKNOWN if stat.textual else "plain", 0.3 if stat.textual else 0.5, ["nothing says what it is"])
    # Between equally likely meanings the more sensitive one counts.
    kind = max(votes, key=lambda one: (round(votes[one], 2), one in PERSONAL, one))
    if kind in ("plain", "place") and recognised:
        kind = recognised[0]
    confidence = votes[kind] * (1 - 0.4 * max((v for k, v in votes.items() if k != kind), default=0.0))
    return Guess(kind, round(min(MOST, confidence), 2), reasons[kind])
