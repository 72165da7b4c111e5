"""One line of the event catalogue: what a tag means, how much it weighs, how long it is kept and whom it serves."""

from dataclasses import dataclass
from enum import StrEnum

FIVE_YEARS = "five-years"
CLAUSE_ENCRYPTION, CLAUSE_ACCESS, CLAUSE_AUDIT = "6.1.1", "6.1.2", "6.1.3"
CLAUSE_RECOVERY, CLAUSE_PRIVACY = "6.1.4", "6.2.2"


class Weight(StrEnum):
    """How much an event asks for somebody's eye."""

    ROUTINE = "routine"
    NOTICE = "notice"
    WARNING = "warning"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class EventClass:
    """A line of the catalogue.

    tag: `source:subject:action`, stable. english, chinese: what happened, for people. moment: when the entry is
    written, in English. marks: "kind operation reason" of the entries it is for; a reason of `!` stands for every
    status of 400 and more, `*` for everything; no marks: found by other means (audit.passage). clause: of the maturity
    standard. retention: name of the retention class.
    """

    tag: str
    english: str
    chinese: str
    weight: Weight
    clause: str
    moment: str
    marks: tuple[str, ...] = ()
    retention: str = FIVE_YEARS

    @property
    def family(self) -> str:
        """Its source, the first part of the tag."""
        return self.tag.partition(":")[0]
