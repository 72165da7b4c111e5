"""Why a statement is not run, in terms of the text its author typed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the text: both count from 1; 0 is nowhere in particular."""

    line: int = 0
    column: int = 0


class StatementRefused(Exception):  # noqa: N818 - an outcome for the author of the statement
    """The statement is not one that may be run; the author has to change it.

    reason: an id, of which `REASONS` has all; word: what of the text it is about; hint: names that may have been meant.
    The message has no text of the statement, so that it can stand in a log.
    """

    permanent = True

    def __init__(self, reason: str, word: str = "", place: Place | None = None, hint: tuple[str, ...] = ()) -> None:
        assert reason in REASONS, reason
        super().__init__(reason)
        self.reason = reason
        self.word = word[:WORD_LIMIT_CHARS]
        self.place = place or Place()
        self.hint = hint


WORD_LIMIT_CHARS = 60
REASONS = frozenset(
    {
        "empty",
        "too-long",
        "too-deep",
        "unreadable",
        "several-statements",
        "no-query",
        "unknown-table",
        "no-table",
        "unknown-column",
        "unknown-function",
        "unknown-type",
        "syntax",
        "recursive",
        "name-taken",
        "limit-no-number",
        "limit-too-large",
        "person-unreadable",
        "person-place",
        "person-kind",
        "unknown-person",
        "too-many-persons",
    }
)
