"""The form of the auditor's console: what was typed, as a question to the trail or as what is wrong with it; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from audit.answers import Place
from audit.question import ALLOWED, FORMS, REFUSED, Question
from gateway.console.words import N_
from gateway.period import since_of, until_of

NAME_LIMIT_CHARS = 200
CUSTOMER, PERSON, RECORD, FIELD = "customer", "person", "record", "field"
VIEWS: Mapping[str, str] = {
    CUSTOMER: N_("By customer"),
    PERSON: N_("By person"),
    RECORD: N_("By record"),
    FIELD: N_("By field"),
}
PERIODS: Mapping[str, str] = {
    "7d": N_("Last 7 days"),
    "30d": N_("Last 30 days"),
    "1y": N_("Last year"),
    "2y": N_("Last two years"),
    "5y": N_("Last five years"),
    "all": N_("Always"),
}
USUAL_PERIOD = "2y"
PROBLEMS: Mapping[str, str] = {
    "what": N_("Say which kind of record, such as contact."),
    "record": N_("Say which record: its number or key in the CRM."),
    "person": N_("Say which person: their login here."),
    "field": N_("Say which field."),
    "person-unknown": N_("Nobody here has this login or id."),
    "since": N_("The first day is no day. Write it as 2026-12-31."),
    "until": N_("The last day is no day. Write it as 2026-12-31."),
    "order": N_("The last day is before the first one."),
}
_NAMES = (
    "by", "what", "record", "person", "operation", "kind", "reason", "form", "outcome", "client", "period", "since",
    "until",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What was typed. what: `entity`, `entity.field` or `entity.#kind`; person: login or id; since, until: days.

    Days are taken before a period.
    """

    by: str = CUSTOMER
    what: str = ""
    record: str = ""
    person: str = ""
    operation: str = ""
    kind: str = ""
    reason: str = ""
    form: str = ""
    outcome: str = ""
    client: str = ""
    period: str = USUAL_PERIOD
    since: str = ""
    until: str = ""

    @property
    def entity(self) -> str:
        """Kind of record."""
        return self.what.partition(".")[0]

    @property
    def field(self) -> str:
        """Field of it, "" for all."""
        return self.what.partition(".")[2]

    @property
    def kind_of_field(self) -> str:
        """Kind of data that the fields in question hold, "" for one field or all."""
        return self.field[1:] if self.field.startswith("#") else ""

    @property
    def empty(self) -> bool:
        """Whether nothing was asked yet."""
        return not (self.what or self.record or self.person)

    @property
    def narrowed(self) -> bool:
        """Whether a filter beside the main inputs is in use."""
        beside = (self.operation, self.kind, self.reason, self.form, self.outcome, self.client, self.since, self.until)
        return any(beside) or (self.by != PERSON and bool(self.person))

    def query(self, **changes: str) -> str:
        """As a query string, with changes; starts with "?"."""
        given = {name: getattr(self, name) for name in _NAMES} | changes
        return "?" + urlencode({name: value for name, value in given.items() if value})

    def problem(self) -> str:
        """What is missing or wrong, an id of `PROBLEMS`; "" for nothing."""
        if self.by in (CUSTOMER, RECORD) and not self.entity:
            return "what"
        if self.by in (CUSTOMER, RECORD) and not self.record:
            return "record"
        if self.by == PERSON and not self.person:
            return "person"
        if self.by == FIELD and (not self.field or self.kind_of_field):
            return "field"
        first, last = self._first(_FAR), until_of(self.until)
        if self.since and first is None:
            return "since"
        if self.until and last is None:
            return "until"
        return "order" if first is not None and last is not None and first >= last else ""

    def question(self, now: datetime, *, actor: str, names: Sequence[str], field: str) -> Question:
        """The question; actor: id of the person, names: the trail's for the record, field: one or several names."""
        asked = Question(
            actor=actor, operation=self.operation, kind=self.kind, reason=self.reason, form=self.form,
            outcome=self.outcome, client=self.client, since=self._first(now), until=until_of(self.until),
        )  # fmt: skip
        return (
            asked
            if not self.entity
            else replace(asked, entity=self.entity, field=field, record=names[-1], others=tuple(names[:-1]))
        )

    def _first(self, now: datetime) -> datetime | None:
        if self.since:
            return since_of(self.since, now)
        return None if self.period not in PERIODS or self.period == "all" or self.until else since_of(self.period, now)


_FAR = datetime(9999, 1, 1, tzinfo=UTC)


def read_inquiry(given: Mapping[str, str]) -> Inquiry:
    """What a request says; what cannot be a name is left out."""
    found = {name: _name(given.get(name, "")) for name in _NAMES}
    found["by"] = found["by"] if found["by"] in VIEWS else CUSTOMER
    found["period"] = found["period"] if found["period"] in PERIODS else USUAL_PERIOD
    found["form"] = found["form"] if found["form"] in FORMS else ""
    found["outcome"] = found["outcome"] if found["outcome"] in (ALLOWED, REFUSED) else ""
    if found["by"] == FIELD:
        found["record"] = ""
    elif found["by"] == PERSON:
        found["record"] = found["what"] = ""
    return Inquiry(**found)


def read_place(text: str) -> Place | None:
    """Where a page begins, as `place_text` wrote it; None for anything else."""
    at, _, index = text.partition("~")
    if not (index.isascii() and index.isdigit() and len(index) <= 18):
        return None
    try:
        found = datetime.fromisoformat(at)
    except ValueError:
        return None
    return None if found.tzinfo is None else (found, int(index))


def place_text(place: Place) -> str:
    """Where the next page begins, for its address."""
    return f"{place[0].isoformat()}~{place[1]}"


def _name(value: str) -> str:
    value = value.strip()
    return value if len(value) <= NAME_LIMIT_CHARS and value.isprintable() else ""
