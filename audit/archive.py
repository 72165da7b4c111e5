"""What reads the sealed part of a trail: segments as local Parquet files, checked before anybody is handed one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from audit.store import Filters, StoredEntry

SOUGHT = ("actor", "data_subject", "record")
"""Columns by whose values segments can be passed over."""
Wanted = Mapping[str, Collection[str]]
"""Column of `SOUGHT` → values of which a row must have one; no columns: any row."""


class ArchiveUnavailable(Exception):  # noqa: N818 - a state
    """The archive does not answer, is full, or has no room for what is asked; nothing is lost, trying again helps."""

    permanent = False


class ArchiveRefused(Exception):  # noqa: N818 - a refusal
    """The archive is not what it must be: a bucket without object lock, an object that is there with other bytes."""

    permanent = True


class SegmentBroken(Exception):  # noqa: N818 - a verdict
    """A segment's bytes, count, order, roots or signature do not fit; nothing of it is handed out."""

    permanent = True


class SegmentGone(SegmentBroken):
    """A file of a segment is not in the archive any more."""


@dataclass(frozen=True, slots=True)
class Span:
    """Entries `first` to `last` were sealed as one segment. dropped: their retention is over and they are gone.

    at_first, at_last: smallest and greatest time in it.
    """

    first: int
    last: int
    at_first: datetime
    at_last: datetime
    dropped: bool

    def within(self, since: datetime | None, until: datetime | None) -> bool:
        """Whether entries of it may be from `since` on and before `until`."""
        return (since is None or self.at_last >= since) and (until is None or self.at_first < until)


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries `first` to `last` of a tenant's log as two files on this machine, not to be written to.

    event_file: columns of `event_row.EVENT` but `leaf`, which is SHA-256(0x00, body), sorted by actor, at, index;
    sight_file: columns of `event_row.SIGHT`, sorted by entity, record, data_subject, at, index.
    at_first, at_last: smallest and greatest time in it. passed_over: it cannot hold what is wanted, so its files were
    neither brought nor looked at.
    """

    tenant: str
    first: int
    last: int
    at_first: datetime
    at_last: datetime
    event_file: Path
    sight_file: Path
    passed_over: bool = False


class Archive(Protocol):
    """Where sealed entries are read from."""

    async def spans(self, tenant: str) -> list[Span]:
        """Every segment by index, dropped ones included; no file is asked for. Raises: SegmentBroken."""
        ...

    async def picked(self, tenant: str, span: Span, indexes: Collection[int]) -> dict[int, bytes]:
        """Bytes of some entries of one segment, by index; of a file whose bytes are those that were sealed.

        Raises: SegmentBroken, SegmentGone, ArchiveUnavailable.
        """
        ...

    async def matched(self, tenant: str, span: Span, filters: Filters, before: int) -> list[StoredEntry]:
        """Entries of one segment that match and stand before an index, oldest first. Raises: as `picked`."""
        ...

    async def segments(
        self,
        tenant: str,
        since: datetime | None = None,
        until: datetime | None = None,
        wanted: Sequence[Wanted] = ({},),
    ) -> list[Segment]:
        """Segments with entries from `since` up to `until`, by index; files that were dropped are left out.

        wanted: whoever reads needs rows that fit one of these; segments that surely have none are passed over.
        A segment may hold entries that are still in the database, too: what is read from there begins behind the last
        segment. Raises: SegmentBroken, ArchiveUnavailable.
        """
        ...

    async def bodies(self, tenant: str, start: int, end: int) -> list[bytes]:
        """Bytes of sealed entries from `start` on, up to `end`, as far as they are there without a gap.

        Raises: SegmentBroken, ArchiveUnavailable.
        """
        ...

    async def leaves(self, tenant: str, start: int, end: int) -> list[bytes]:
        """Leaf hashes likewise, which stay when retention drops the entries.

        Raises: SegmentBroken, ArchiveUnavailable.
        """
        ...


class NoArchive:
    """Where nothing is sealed."""

    async def spans(self, tenant: str) -> list[Span]:
        """None."""
        return []

    async def picked(self, tenant: str, span: Span, indexes: Collection[int]) -> dict[int, bytes]:
        """None."""
        return {}

    async def matched(self, tenant: str, span: Span, filters: Filters, before: int) -> list[StoredEntry]:
        """None."""
        return []

    async def segments(
        self,
        tenant: str,
        since: datetime | None = None,
        until: datetime | None = None,
        wanted: Sequence[Wanted] = ({},),
    ) -> list[Segment]:
        """None."""
        return []

    async def bodies(self, tenant: str, start: int, end: int) -> list[bytes]:
        """None."""
        return []

    async def leaves(self, tenant: str, start: int, end: int) -> list[bytes]:
        """None."""
        return []
