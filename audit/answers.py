"""Answers of the trail to a question: found by the index, the newest read directly, each decoded from its own bytes.

Entries that left the database are read from the archive.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from audit import index_store, store
from audit.archive import Archive, NoArchive
from audit.entry import EntryRefused, decode
from audit.question import Question, fits, said_of
from audit.sealed import OVER, PATIENT, Budget, Taken, take
from audit.store import Connection, StoredEntry
from audit.terms import terms_of
from audit.tree import leaf_hash

TAIL_ENTRIES = 5_000
COUNTED_ENTRIES = 20_000
CHANGED = "changed"
"""Why an entry cannot be shown: it should be in the database, and is not there or not as it was written."""
Place = tuple[datetime, int]
_NONE, _BUDGET = NoArchive(), Budget()


class NothingToLookUp(Exception):  # noqa: N818 - an outcome the form reports
    """The question names nothing that the trail can be looked up by."""

    permanent = True


class EntryUnread(Exception):  # noqa: N818 - a state
    """An entry that fits is there and cannot be read: index, and why as in `Answer.lost`."""

    permanent = False

    def __init__(self, index: int, lost: str) -> None:
        super().__init__(f"entry {index} cannot be read: {lost}")
        self.index, self.lost = index, lost


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry that fits. content: decoded from the hashed bytes; intact: False where the hash does not fit them.

    content None: the index knows of the entry, and `lost` says why it cannot be shown: `CHANGED`, or of audit.sealed.
    sealed: it left the database.
    """

    index: int
    at: datetime
    content: Mapping[str, Any] | None
    intact: bool
    sealed: bool = False
    lost: str = ""


@dataclass(slots=True)
class Tally:
    """Answers counted by day (UTC), by account and by form. whole: False where only the newest were counted.

    Of sealed entries, too: all of it stands in the index. logins: account → login, as the newest answer names it.
    """

    entries: int = 0
    whole: bool = True
    days: Counter[date] = field(default_factory=Counter)
    actors: Counter[str] = field(default_factory=Counter)
    logins: dict[str, str] = field(default_factory=dict)
    forms: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Answers:
    """A page of answers, newest first. older: where the next page begins, None at the end.

    reached: entries looked up by the index; read: newer ones read directly; unread: newer ones not looked at;
    misfits: entries that the index names and whose bytes say otherwise: it has to be made anew.
    cut: the page is shorter than it could be, because more of the archive would take too long.
    """

    answers: Sequence[Answer]
    older: Place | None
    reached: int
    read: int
    unread: int
    misfits: int
    cut: bool = False


async def ask(
    connection: Connection,
    tenant: str,
    question: Question,
    limit: int,
    *,
    before: Place | None = None,
    archive: Archive = _NONE,
    budget: Budget = _BUDGET,
) -> Answers:
    """A page of answers; needs one snapshot. archive: of sealed ones. Raises: NothingToLookUp, psycopg errors."""
    if not question.terms:
        raise NothingToLookUp
    done, tail, unread = await _newest(connection, tenant)
    fresh = [one for one in map(_read, tail) if one.content is not None and fits(question, one.content, one.at)]
    known = {(one.at, one.index): one for one in fresh if before is None or (one.at, one.index) < before}
    found = await index_store.hits(connection, tenant, question, limit + 1, before=before, below=done)
    every = sorted([*known, *((hit.at, hit.index) for hit in found)], reverse=True)
    page = every[:limit]
    named = [index for at, index in page if (at, index) not in known]
    stored = {one.index: one for one in await _stored(connection, tenant, named)}
    hot = (await store.hot(connection, tenant)).start
    gone = [index for index in named if index < hot and index not in stored]
    taken = await take(archive, tenant, gone, budget)
    cut = next((at for at, place in enumerate(page) if place[1] in taken.later), len(page))
    shown, misfits = [], 0
    for place in page[:cut]:
        answer = known.get(place) or _found(place, stored.get(place[1]), taken)
        if answer.content is not None and not fits(question, answer.content, answer.at):
            misfits += 1
        else:
            shown.append(answer)
    older = page[cut - 1] if cut < len(every) else None
    return Answers(shown, older, done, len(tail), unread, misfits, cut < len(page))


async def places(
    connection: Connection, tenant: str, question: Question, limit: int, archive: Archive = _NONE
) -> list[int]:
    """Indexes of the entries that fit, oldest first, `limit` + 1 at most; of those whose retention is over, none.

    Raises: NothingToLookUp, EntryUnread where one is there and cannot be read, psycopg errors.
    """
    found: list[int] = []
    before: Place | None = None
    while len(found) <= limit:
        page = await ask(
            connection, tenant, question, min(store.FETCH_ROWS, limit + 1 - len(found)), before=before,
            archive=archive, budget=PATIENT,
        )  # fmt: skip
        for one in page.answers:
            if one.content is not None:
                found.append(one.index)
            elif one.lost != OVER:
                raise EntryUnread(one.index, one.lost)
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
    for one in map(_read, reversed(tail)):
        if one.content is not None and fits(question, one.content, one.at):
            shown = said_of(question, terms_of(one.content)) or ""
            _count(counted, question, one.at, one.content["actor"], one.content["actor_login"], shown)
    for hit in found[:COUNTED_ENTRIES]:
        _count(counted, question, hit.at, hit.actor, hit.login, hit.shown)
    return counted


def _count(counted: Tally, question: Question, at: datetime, actor: str, login: str, shown: str) -> None:
    counted.entries += 1
    counted.days[at.date()] += 1
    counted.actors[actor] += 1
    counted.logins.setdefault(actor, login)
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
    # An index that is made anew has sealed entries in front of it, which are not read one by one.
    between = max(0, (await store.hot(connection, tenant)).start - done)
    return done, tail, between + max(0, await store.size(connection, tenant) - max(end, done + between))


async def _stored(connection: Connection, tenant: str, indexes: Sequence[int]) -> list[StoredEntry]:
    return await store.by_index(connection, tenant, indexes) if indexes else []


def _read(entry: StoredEntry) -> Answer:
    return _decoded(entry.index, entry.at, entry.body, intact=leaf_hash(entry.body) == entry.leaf)


def _decoded(index: int, at: datetime, body: bytes, *, intact: bool, sealed: bool = False) -> Answer:
    try:
        return Answer(index, at, decode(body), intact, sealed)
    except EntryRefused:
        return Answer(index, at, None, intact=False, sealed=sealed, lost=CHANGED)


def _found(place: Place, entry: StoredEntry | None, taken: Taken) -> Answer:
    """The answer at a place that the index named."""
    at, index = place
    if entry is not None:
        return _read(entry)
    if index in taken.bodies:
        return _decoded(index, at, taken.bodies[index], intact=True, sealed=True)
    lost = taken.lost.get(index, "")
    return Answer(index, at, None, intact=False, sealed=bool(lost), lost=lost or CHANGED)
