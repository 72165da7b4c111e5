"""Answers of the trail to a question: found by the index, the newest read directly, each decoded from its own bytes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from audit import index_store, store
from audit.entry import EntryRefused, decode
from audit.index_store import Hit
from audit.question import Question, fits, said_of
from audit.store import Connection, StoredEntry
from audit.terms import terms_of
from audit.tree import leaf_hash

TAIL_ENTRIES = 5_000
COUNTED_ENTRIES = 20_000
Place = tuple[datetime, int]


class NothingToLookUp(Exception):  # noqa: N818 - an outcome the form reports
    """The question names nothing that the trail can be looked up by."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry that fits. content: decoded from the hashed bytes; intact: False where the hash does not fit them.

    content None: the index knows of the entry and the trail does not have it here; sealed: because it is in a segment.
    """

    index: int
    at: datetime
    content: Mapping[str, Any] | None
    intact: bool
    sealed: bool = False


@dataclass(slots=True)
class Tally:
    """Answers counted by day (UTC), by account and by form. whole: False where only the newest were counted."""

    entries: int = 0
    whole: bool = True
    days: Counter[date] = field(default_factory=Counter)
    actors: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Answers:
    """A page of answers, newest first. older: where the next page begins, None at the end.

    reached: entries looked up by the index; read: newer ones read directly; unread: newer ones not looked at;
    misfits: entries that the index names and whose bytes say otherwise: it has to be made anew.
    """

    answers: Sequence[Answer]
    older: Place | None
    reached: int
    read: int
    unread: int
    misfits: int


async def ask(
    connection: Connection, tenant: str, question: Question, limit: int, *, before: Place | None = None
) -> Answers:
    """A page of answers; needs one snapshot. Raises: NothingToLookUp, psycopg errors."""
    if not question.terms:
        raise NothingToLookUp
    done, tail, unread = await _newest(connection, tenant)
    fresh = [one for one in _decoded(tail) if one.content is not None and fits(question, one.content, one.at)]
    fresh = [one for one in fresh if before is None or (one.at, one.index) < before]
    found = await index_store.hits(connection, tenant, question, limit + 1, before=before, below=done)
    stored = {one.index: one for one in await _stored(connection, tenant, [hit.index for hit in found])}
    hot = (await store.hot(connection, tenant)).start
    known, misfits = _checked(question, found, stored, hot)
    everything = sorted([*fresh, *known], key=lambda one: (one.at, one.index), reverse=True)
    more = len(everything) > limit or len(found) > limit
    page = everything[:limit]
    last = (page[-1].at, page[-1].index) if page else ((found[-1].at, found[-1].index) if found else None)
    return Answers(page, last if more else None, done, len(tail), unread, misfits)


async def places(connection: Connection, tenant: str, question: Question, limit: int) -> list[int]:
    """Indexes of the entries that fit, oldest first, `limit` + 1 at most. Raises: NothingToLookUp, psycopg errors."""
    found: list[int] = []
    before: Place | None = None
    while len(found) <= limit:
        page = await ask(connection, tenant, question, min(store.FETCH_ROWS, limit + 1 - len(found)), before=before)
        found += [one.index for one in page.answers if one.content is not None]
        if page.older is None:
            break
        before = page.older
    return sorted(found)


async def tally(connection: Connection, tenant: str, question: Question) -> Tally:
    """Count the newest answers; needs one snapshot. Raises: NothingToLookUp, psycopg errors."""
    if not question.terms:
        raise NothingToLookUp
    done, tail, unread = await _newest(connection, tenant)
    found = await index_store.hits(connection, tenant, question, COUNTED_ENTRIES + 1, below=done)
    counted = Tally(whole=len(found) <= COUNTED_ENTRIES and not unread)
    for hit in found[:COUNTED_ENTRIES]:
        _count(counted, question, hit.at, hit.actor, hit.shown)
    for one in _decoded(tail):
        if one.content is not None and fits(question, one.content, one.at):
            shown = said_of(question, terms_of(one.content))
            _count(counted, question, one.at, one.content["actor"], shown or "")
    return counted


def _count(counted: Tally, question: Question, at: datetime, actor: str, shown: str) -> None:
    counted.entries += 1
    counted.days[at.date()] += 1
    counted.actors[actor] += 1
    forms = {
        form
        for name, _, form in (pair.partition("/") for pair in shown.split())
        if not question.fields or name in question.fields
    }
    counted.forms.update(forms if not question.form else forms & {question.form})


async def _newest(connection: Connection, tenant: str) -> tuple[int, list[StoredEntry], int]:
    """How far the index goes, the entries after it, and how many of them were not read."""
    done = await index_store.reached(connection, tenant)
    tail = await store.select(connection, tenant, store.Filters(), TAIL_ENTRIES, after=done - 1)
    end = tail[-1].index + 1 if tail else done
    return done, tail, max(0, await store.size(connection, tenant) - end)


async def _stored(connection: Connection, tenant: str, indexes: Sequence[int]) -> list[StoredEntry]:
    return await store.by_index(connection, tenant, indexes) if indexes else []


def _decoded(entries: Sequence[StoredEntry]) -> list[Answer]:
    found = []
    for entry in entries:
        try:
            content, intact = decode(entry.body), leaf_hash(entry.body) == entry.leaf
        except EntryRefused:
            content, intact = None, False
        found.append(Answer(entry.index, entry.at, content, intact))
    return found


def _checked(
    question: Question, found: Sequence[Hit], stored: Mapping[int, StoredEntry], hot: int
) -> tuple[list[Answer], int]:
    """The answers at these places, and how many of the places are wrong."""
    known, misfits = [], 0
    for hit in found:
        entry = stored.get(hit.index)
        if entry is None:
            known.append(Answer(hit.index, hit.at, None, intact=False, sealed=hit.index < hot))
            continue
        (answer,) = _decoded([entry])
        if answer.content is None or fits(question, answer.content, entry.at):
            known.append(answer)
        else:
            misfits += 1
    return known, misfits
