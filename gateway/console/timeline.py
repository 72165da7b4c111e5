"""A page of the auditor's console: the lines that answer a question, and what they count up to."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit import answers, store
from audit.answers import CHANGED, Answer, Answers, Place, Tally
from audit.question import Question, is_refused, seen
from audit.sealed import AWAY, BROKEN, GONE, NOWHERE, OVER, SLOW
from gateway.access.store import connection
from gateway.console.permissions import AUDIT
from gateway.console.trail import TrailReader
from gateway.console.words import N_
from gateway.named_people import ERASED, pseudonyms_in
from kms.connections import Pool

PAGE_LINES = 50
RECORDS_SHOWN = 3
AT_THE_TERMINAL = "audit.who"
SAW, WROTE, EXPORTED, REVEALED = "saw", "wrote", "exported", "revealed"
TRIED, LOOKED, ACTED, HIDDEN = "tried", "looked", "acted", "hidden"
DEEDS: Mapping[str, tuple[str, str]] = {
    SAW: ("good", N_("Saw")),
    WROTE: ("warning", N_("Wrote")),
    EXPORTED: ("warning", N_("Exported")),
    REVEALED: ("warning", N_("Had revealed")),
    TRIED: ("bad", N_("Refused")),
    LOOKED: ("quiet", N_("Asked the trail")),
    ACTED: ("quiet", N_("Acted")),
    HIDDEN: ("quiet", N_("Was not shown it")),
}
"""Tone and words of what somebody did."""
LOST: Mapping[str, tuple[str, str]] = {
    CHANGED: ("bad", N_("This entry is missing from the trail or was changed")),
    GONE: ("bad", N_("The file that holds this entry is gone from the archive")),
    BROKEN: ("bad", N_("The file that holds this entry has other bytes than those that were sealed")),
    AWAY: ("warning", N_("The archive that holds this entry does not answer: ask again later")),
    SLOW: ("warning", N_("The archive takes long to hand out this entry: ask again in a moment")),
    NOWHERE: ("warning", N_("This entry is in the archive, which the settings do not name")),
    OVER: ("quiet", N_("Its retention is over: the entry was removed from the archive as planned")),
}
"""Tone and words of why an entry cannot be shown."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A field in a form, and how often."""

    field: str
    form: str
    count: int


@dataclass(frozen=True, slots=True)
class Line:
    """One entry. content None: the index knows of it, and `lost` says why it cannot be shown; sealed: from a segment.

    record: what it is about, in words; erased: somebody it is about was erased.
    """

    index: int
    at: datetime
    content: Mapping[str, Any] | None
    intact: bool
    deed: str
    record: str
    seen: Sequence[Seen]
    sealed: bool = False
    erased: bool = False
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything a page shows. logins: account → login, as the trail last named it."""

    lines: Sequence[Line]
    found: Answers
    tally: Tally | None
    logins: Mapping[str, str]

    @property
    def unread(self) -> Mapping[str, int]:
        """How many lines cannot be shown, by why."""
        return Counter(one.lost for one in self.lines if one.lost)


async def read(
    pool: Pool,
    tenant: str,
    question: Question,
    trail: TrailReader,
    *,
    before: Place | None = None,
    counted: bool = True,
) -> Timeline:
    """A page from one snapshot. Raises: NothingToLookUp, StoreUnavailable."""
    async with connection(pool, tenant) as db:
        await store.snapshot(db)
        found = await answers.ask(db, tenant, question, PAGE_LINES, before=before, archive=trail.archive)
        tally = await answers.tally(db, tenant, question) if counted else None
    named = {name for one in found.answers if one.content is not None for name in pseudonyms_in(one.content)}
    people = await trail.people_of(tenant, named)
    lines = [_line(one, question, people) for one in found.answers]
    logins = {} if tally is None else dict(tally.logins)
    logins |= {one.content["actor"]: one.content["actor_login"] for one in lines if one.content is not None}
    return Timeline(lines, found, tally, logins)


def _line(one: Answer, question: Question, people: Mapping[str, str]) -> Line:
    content = one.content
    if content is None:
        return Line(one.index, one.at, None, one.intact, ACTED, "", (), sealed=one.sealed, lost=one.lost)
    told = [Seen(field, form, count) for _, field, form, count in seen(question, content)]
    about = [(content["entity"], content["record"])] if content["record"] else _named(content)
    living = [people.get(key, f"{entity}/{key}") for entity, key in about]
    record = ", ".join(one for one in living if one != ERASED)
    deed = deed_of(content, {one.form for one in told})
    erased = ERASED in living
    return Line(one.index, one.at, content, one.intact, deed, record, told, sealed=one.sealed, erased=erased)


def _named(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The first records that an entry names in a list, such as that of whoever asked the trail about them."""
    told = content["fields"].get("records")
    texts = [one for one in told if isinstance(one, str)] if isinstance(told, list) else []
    return [(entity, key) for entity, _, key in (one.partition(".") for one in texts[:RECORDS_SHOWN])]


def deed_of(content: Mapping[str, Any], forms: Collection[str]) -> str:
    """What somebody did, as one word. forms: in which what is in question was shown or written."""
    if is_refused(content["kind"], content["reason"], content["status"]):
        return TRIED
    if content["kind"] == "reveal":
        return REVEALED if forms else ACTED
    if content["operation"] in (AUDIT.operation, AT_THE_TERMINAL):
        return LOOKED
    if content["operation"].rpartition(".")[2].startswith("export"):
        return EXPORTED
    if content["fields"].get("written"):
        return WROTE
    return SAW if set(forms) - {HIDDEN} else (HIDDEN if forms else ACTED)
