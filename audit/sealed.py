"""Entries that left the database, read from their segments for a page: bounded, and what cannot be read is said.

A page reads so many segments and so long, and is cut where that is used up, so that the next page goes on there.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from audit.archive import Archive, ArchiveRefused, ArchiveUnavailable, NoArchive, SegmentBroken, SegmentGone, Span
from audit.entry import EntryRefused, decode
from audit.store import Filters, StoredEntry
from audit.tree import leaf_hash

GONE, BROKEN, AWAY, SLOW, OVER, NOWHERE = "gone", "broken", "away", "slow", "over", "nowhere"
"""Why an entry was not read: its file is gone; has other bytes; the archive does not answer; took too long; the entry's
retention is over; the settings name no archive."""

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Budget:
    """What reading for one page may take: so many segments, so many seconds."""

    segments: int = 50
    seconds: float = 4.0


PATIENT = Budget(segments=100, seconds=60.0)
"""For packs and the command line, where nobody waits at a page."""


@dataclass(slots=True)
class Taken:
    """What came of it. lost: index → why; later: indexes that were not looked for any more."""

    bodies: dict[int, bytes] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    later: set[int] = field(default_factory=set)


def sealed_entry(index: int, body: bytes) -> StoredEntry:
    """An entry as the database had it. Raises: SegmentBroken for bytes that the log could not have written."""
    try:
        told = decode(body)
    except EntryRefused:
        raise SegmentBroken(f"entry {index} is no entry of a trail") from None
    names = ("kind", "actor", "operation", "entity", "record", "reason", "status", "exchange")
    own = {name: told[name] for name in names}
    return StoredEntry(index=index, at=datetime.fromisoformat(told["at"]), **own, body=body, leaf=leaf_hash(body))


async def take(archive: Archive, tenant: str, indexes: Sequence[int], budget: Budget) -> Taken:
    """Bytes of sealed entries, segment after segment in the order of the indexes; nothing is raised for one of them."""
    taken = Taken()
    if not indexes:
        return taken
    if isinstance(archive, NoArchive):
        taken.lost = dict.fromkeys(indexes, NOWHERE)
        return taken
    now = asyncio.get_running_loop().time
    end = now() + budget.seconds
    try:
        spans = await archive.spans(tenant)
    except SegmentBroken:
        taken.lost = dict.fromkeys(indexes, BROKEN)
        return taken
    read, fault = 0, ""
    for span, part in _by_span(spans, indexes).items():
        if span is None or span.dropped:
            taken.lost |= dict.fromkeys(part, GONE if span is None else OVER)
        elif fault or (read and (read >= budget.segments or now() >= end)):
            taken.later.update(part)
        else:
            bodies, fault = await _within(archive.picked(tenant, span, part), {}, end - now())
            if fault == SLOW and read:
                taken.later.update(part)
                continue
            read += 1
            taken.bodies |= bodies
            taken.lost |= {index: fault or BROKEN for index in part if index not in bodies}
            fault = fault if fault in (AWAY, SLOW) else ""
    if fault == AWAY:  # it would not answer the next page either
        taken.lost |= dict.fromkeys(taken.later, AWAY)
        taken.later = set()
    return taken


def _by_span(spans: Sequence[Span], indexes: Sequence[int]) -> Mapping[Span | None, list[int]]:
    """Indexes by the segment that holds them, in the order in which they come."""
    found: dict[Span | None, list[int]] = {}
    for index in indexes:
        span = next((one for one in spans if one.first <= index <= one.last), None)
        found.setdefault(span, []).append(index)
    return found


@dataclass(slots=True)
class Listed:
    """Sealed entries that match, newest first. further: the index to look on before; lost: segment → why."""

    entries: list[StoredEntry] = field(default_factory=list)
    further: int | None = None
    lost: dict[Span, str] = field(default_factory=dict)


async def newest(
    archive: Archive,
    tenant: str,
    filters: Filters,
    limit: int,
    before: int,
    budget: Budget,
    wanted: Callable[[StoredEntry], bool] = lambda _entry: True,
) -> Listed:
    """The newest sealed entries before an index that match, segment after segment; nothing is raised for one of them.

    Raises: SegmentBroken where the list of segments itself does not hold.
    """
    listed, read = Listed(), 0
    now = asyncio.get_running_loop().time
    end = now() + budget.seconds
    for span in reversed(await archive.spans(tenant)):
        if span.first >= before or not span.within(filters.since, filters.until):
            continue
        if span.dropped:
            listed.lost[span] = OVER
        elif read and (read >= budget.segments or now() >= end):
            listed.further = span.last + 1
            break
        else:
            work = archive.matched(tenant, span, filters, before)
            rows, fault = await _within(work, [], end - now())
            read += 1
            if fault:
                listed.lost[span] = fault
            for entry in reversed(rows):
                if wanted(entry):
                    listed.entries.append(entry)
                    if len(listed.entries) == limit:
                        listed.further = entry.index
                        return listed
            if fault in (AWAY, SLOW):
                listed.further = span.last + 1
                break
    return listed


async def _within(work: Coroutine[Any, Any, Read], none: Read, seconds: float) -> tuple[Read, str]:
    """What was read, or `none` and why."""
    # A thread cannot be stopped: it goes on by itself, and what it fetched is there for the next try.
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        return await asyncio.wait_for(asyncio.shield(task), max(seconds, 0.0)), ""
    except TimeoutError:  # an OSError, too
        return none, SLOW
    except SegmentGone:
        return none, GONE
    except (SegmentBroken, ArchiveRefused):
        return none, BROKEN
    except (ArchiveUnavailable, OSError):
        return none, AWAY
