"""Entries that left the database, read from their segments for a page: bounded, and what cannot be read is said.

A page reads so many segments and so long, and is cut where that is used up, so that the next page goes on there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from audit.archive import Archive, ArchiveRefused, ArchiveUnavailable, NoArchive, SegmentBroken, SegmentGone, Span
from audit.entry import EntryRefused, decode
from audit.store import StoredEntry
from audit.tree import leaf_hash

GONE, BROKEN, AWAY, SLOW, OVER, NOWHERE = "gone", "broken", "away", "slow", "over", "nowhere"
"""Why an entry was not read: its file is gone; has other bytes; the archive does not answer; took too long; the entry's
retention is over; the settings name no archive."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What reading for one page may take: so many segments, so many seconds."""

    segments: int = 24
    seconds: float = 4.0


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
            bodies, fault = await _picked(archive, tenant, span, part, end - now())
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


async def _picked(
    archive: Archive, tenant: str, span: Span, indexes: Sequence[int], seconds: float
) -> tuple[dict[int, bytes], str]:
    """Bytes of entries of one segment, or why there are none."""
    # A thread cannot be stopped: it goes on by itself, and what it fetched is there for the next try.
    work = asyncio.ensure_future(archive.picked(tenant, span, indexes))
    work.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        return await asyncio.wait_for(asyncio.shield(work), max(seconds, 0.0)), ""
    except TimeoutError:  # an OSError, too
        return {}, SLOW
    except SegmentGone:
        return {}, GONE
    except (SegmentBroken, ArchiveRefused):
        return {}, BROKEN
    except (ArchiveUnavailable, OSError):
        return {}, AWAY
