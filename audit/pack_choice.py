"""What shall be in an evidence pack, and which signed entries that are, in the database and in sealed segments."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from audit import store
from audit.archive import Archive, NoArchive
from audit.cold.matching import matching
from audit.pack_facts import Anchored, Range, Totals
from audit.proof import StoredLogBroken
from audit.store import Filters

ENTRIES_LIMIT = 200_000


class PackRefused(Exception):  # noqa: N818 - the text says what to do
    """The pack cannot be made as asked."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was in force. version: as entries name it; since: when it was published, None for the first."""

    version: str
    since: datetime | None
    rows: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be in the pack. filters: which entries; made_at: now; policies: that were ever in force.

    Those policies are packed that an entry names. complete: with the hashes of all entries of the time asked for;
    made_by: who makes it; anchors: places outside the database that hold checkpoints; language: of the summary;
    handover: the note that two keys signed when one took over from the other. chosen: indexes, ascending, in place of
    filters; asked: name → what was asked for, where filters do not say it; tell: called with the number of entries
    packed so far.
    """

    filters: Filters
    made_at: datetime
    policies: Sequence[Policy] = ()
    limit: int = ENTRIES_LIMIT
    complete: bool = False
    made_by: str = ""
    anchors: tuple[Anchored, ...] = ()
    language: str = "en"
    handover: str = ""
    chosen: Sequence[int] | None = None
    asked: Mapping[str, str] = field(default_factory=dict)
    tell: Callable[[int], None] = lambda _entries: None

    @property
    def question(self) -> dict[str, str]:
        """Name → what was asked for."""
        told = {name: str(getattr(self.filters, name)) for name in self.filters.names}
        return told | dict(self.asked)


@dataclass(slots=True)
class Packed:
    """What is in it. signed: entries the checkpoint covers; waiting: matching entries that no checkpoint covers yet."""

    entries: int = 0
    signed: int = 0
    waiting: int = 0
    first: int = -1
    last: int = -1
    earlier: int = 0
    earlier_by: str = ""
    totals: Totals = field(default_factory=Totals)
    range: Range | None = None
    versions: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def consecutive(self) -> bool:
        """Whether none between the first and the last is left out."""
        return self.last - self.first + 1 == self.entries


async def places(
    connection: store.Connection, tenant: str, wanted: Wanted, made: Packed, archive: Archive
) -> AsyncIterator[int]:
    """Indexes of the signed entries that are wanted, oldest first; counts them and those that are not signed yet.

    Raises: PackRefused, StoredLogBroken, SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    async for index in _found(connection, tenant, wanted, archive):
        if index >= made.signed:
            made.waiting += 1
            continue
        if made.entries >= wanted.limit:
            raise PackRefused(f"More than {wanted.limit} entries match; make several packs, by --since and --until.")
        made.entries += 1
        made.first = index if made.first < 0 else made.first
        made.last = index
        wanted.tell(made.entries)
        yield index


async def _found(connection: store.Connection, tenant: str, wanted: Wanted, archive: Archive) -> AsyncIterator[int]:
    if wanted.chosen is not None:
        size = await store.size(connection, tenant)
        for index in wanted.chosen:
            if index >= size:
                raise StoredLogBroken("an entry that was found before is missing now")
            yield index
        return
    hot = (await store.hot(connection, tenant)).start
    if hot and isinstance(archive, NoArchive):
        raise PackRefused(f"Entries before {hot} are in the archive, which the settings do not name.")
    async for entry in matching(archive, tenant, wanted.filters, hot):
        yield entry.index
    after = hot - 1
    while found := await store.select(connection, tenant, wanted.filters, store.FETCH_ROWS, after=after):
        for entry in found:
            after = entry.index
            yield entry.index
