"""A question to the trail: who saw which field of whom, in which form, when; what it is looked up by and what fits it.

Pure. The index only says where to look: whether an entry fits is decided by its own bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.event_row import sights
from audit.terms import COMMON_KINDS, COMMON_REASONS, field_term, record_term, terms_of

FINE_REASONS = frozenset(
    {"", "allowed", "signed-in", "signed-out", "password-accepted", "invitation-used", "password-changed"}
)
DECIDED_KINDS = frozenset({"decision", "outcome", "refusal"})
ALLOWED, REFUSED = "allowed", "refused"
FORMS = ("clear", "masked", "hidden", "written")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; empty means anything. since is included, until is not.

    entity and record: one record; entity and field: that field, of the record or of all; of a record also several,
    with commas between. others: further names of the same record, told to nobody.
    actor: id of an account; client: its address; outcome: ALLOWED or REFUSED; form: of `FORMS`.
    """

    entity: str = ""
    record: str = ""
    others: tuple[str, ...] = ()
    field: str = ""
    actor: str = ""
    operation: str = ""
    kind: str = ""
    reason: str = ""
    form: str = ""
    outcome: str = ""
    client: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what was given, for the entry about the question."""
        return tuple(name for name in self.__slots__ if name != "others" and getattr(self, name))

    @property
    def first_terms(self) -> tuple[str, ...]:
        """One of these is what it is looked up by first: one record may stand under several names."""
        if self.entity and self.record:
            return tuple(record_term(self.entity, one) for one in (self.record, *self.others))
        return self.terms[:1]

    @property
    def terms(self) -> tuple[str, ...]:
        """What it is looked up by, the rarest first as a rule; none: there is nothing to look it up by."""
        found = []
        if self.entity and self.record:
            found.append(record_term(self.entity, self.record))
        elif self.entity and len(self.fields) == 1:
            found.append(field_term(self.entity, self.field))
        elif self.form:
            found.append(f"m:{self.form}")
        if self.reason not in COMMON_REASONS:
            found.append(f"w:{self.reason}")
        if self.kind and self.kind not in COMMON_KINDS:
            found.append(f"k:{self.kind}")
        for mark, value in (("c", self.client), ("u", self.actor), ("o", self.operation)):
            if value:
                found.append(f"{mark}:{value}")
        return tuple(found)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields in question, none for any."""
        return tuple(filter(None, self.field.split(",")))

    @property
    def shown(self) -> tuple[str, ...]:
        """One of these has to stand in what was shown of the record or field; none for anything."""
        if not (self.entity and (self.record or self.field)):
            return ()
        if self.fields:
            return tuple(f" {field}/{self.form} " if self.form else f" {field}/" for field in self.fields)
        return (f"/{self.form} ",) if self.form else ()


def is_refused(kind: str, reason: str, status: int) -> bool:
    """Whether an entry tells of something that was refused or failed."""
    return reason not in FINE_REASONS if kind in DECIDED_KINDS else status >= 400


def fits(question: Question, content: Mapping[str, Any], at: datetime) -> bool:
    """Whether a decoded entry answers a question."""
    terms = terms_of(content)
    said = said_of(question, terms)
    if said is None or not all(term in terms for term in question.terms[1:]):
        return False
    if question.shown and not any(one in said for one in question.shown):
        return False
    refused = is_refused(content["kind"], content["reason"], content["status"])
    return (
        (not question.kind or content["kind"] == question.kind)
        and (not question.reason or content["reason"] == question.reason)
        and (not question.outcome or refused == (question.outcome == REFUSED))
        and (question.since is None or at >= question.since)
        and (question.until is None or at < question.until)
    )


def said_of(question: Question, terms: Mapping[str, str]) -> str | None:
    """What was shown of the record or field in question, by the terms of an entry; None where it is not about it."""
    found = [terms[one] for one in question.first_terms if one in terms]
    return "".join(found) if found else None


def seen(question: Question, content: Mapping[str, Any]) -> list[tuple[str, str, str, int]]:
    """What an entry says of the record or field in question: record, field, form, how often; by field."""
    found: dict[tuple[str, str, str], int] = {}
    for entity, record, field, form, count in sights(content):
        if question.entity and entity != question.entity:
            continue
        if (question.record and record not in (question.record, *question.others)) or (
            question.fields and field not in question.fields
        ):
            continue
        name = field if question.entity else f"{entity}.{field}"
        key = (record if question.record else "", name, form)
        found[key] = found.get(key, 0) + count
    return [(*key, count) for key, count in sorted(found.items(), key=lambda one: (one[0][1], one[0][2]))]
