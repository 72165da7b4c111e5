"""Person keys, in words: epochs, rows of the person store, and the two things they rest on.

A *holder* is one record of a CRM. Its person key is kept in the person store only, wrapped under the key of an *epoch*;
the epoch key is wrapped under a version of a key that its keeper can forget. Turning the epoch wraps what is left anew
and forgets the old version: old copies of the person store then open nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from kms.provider import KeyringLocked

HOLDER_BYTES = 16
EPOCH_CLOSED = "person-epoch-closed"
"""Problem of what is under a version that its keeper was told to forget."""


class EpochChanged(Exception):  # noqa: N818 - a state, not a fault
    """The epoch is no longer the current one; nothing was written, again under the new one helps."""

    permanent = False


class EpochState(StrEnum):
    """What an epoch is good for: new keys, opening what is still under it, nothing any more."""

    CURRENT = "current"
    OLD = "old"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a tenant. number: version of the keeper's key; wrapped: commitment (16 bytes) and wrapping."""

    number: int
    wrapped: bytes = field(repr=False)
    state: EpochState = EpochState.CURRENT
    begun_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A wrapped person key. alias: what its pseudonym is found by under this epoch (kms.pseudonym); not read back."""

    holder: bytes
    epoch: int
    wrapped: bytes = field(repr=False)
    alias: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class PersonCounts:
    """Keys and tombstones of a tenant."""

    keys: int
    erased: int


class PersonStore(Protocol):
    """Where person keys are kept; every method raises KeysUnavailable with the problem `person-store`.

    One contract for all of them: tests/contract/test_person_store.py.
    """

    async def epochs(self, tenant: str) -> list[Epoch]:
        """Every epoch, the oldest first."""
        ...

    async def begin(self, tenant: str, first: Epoch, at: datetime) -> None:
        """Keep the first epoch, unless there is one already."""
        ...

    async def read(self, tenant: str, holders: Collection[bytes]) -> tuple[dict[bytes, PersonRow], set[bytes]]:
        """Keys of these holders, and who of them was erased; one question."""
        ...

    async def add(self, tenant: str, epoch: int, rows: Sequence[PersonRow], at: datetime) -> None:
        """Keep new keys, durable when this returns; raises EpochChanged unless their epoch is the current one."""
        ...

    async def add_aliases(self, tenant: str, epoch: int, rows: Sequence[PersonRow]) -> None:
        """Keep the aliases of keys of before there were any; raises EpochChanged as `add`."""
        ...

    async def aliased(self, tenant: str, epoch: int, aliases: Collection[bytes]) -> dict[bytes, bytes]:
        """Holders by alias, of those that one epoch has and that were not erased."""
        ...

    async def destroy(self, tenant: str, holders: Collection[bytes], at: datetime) -> int:
        """Delete keys for good and note that these holders are erased; how many keys went. Again changes nothing."""
        ...

    async def erased(self, tenant: str, after: bytes, most: int) -> list[bytes]:
        """Erased holders after one, in order."""
        ...

    async def keys_made(
        self, tenant: str, before: datetime, after: bytes, most: int
    ) -> list[tuple[bytes, datetime | None]]:
        """Holders after one, in order, with keys made before a time; and since when nothing names them, if noted."""
        ...

    async def note_unnamed(
        self, tenant: str, unnamed: Collection[bytes], named: Collection[bytes], at: datetime
    ) -> None:
        """Note that nothing names some holders, unless that is noted; and take it back of others."""
        ...

    async def drop_unnamed(self, tenant: str, holders: Collection[bytes], before: datetime) -> int:
        """Delete keys of those that nothing named since before a time, without a tombstone; how many."""
        ...

    async def switch(self, tenant: str, old: int, made: Epoch, at: datetime) -> bool:
        """Make another epoch current once whoever adds keys under the old one is done; False: it was not current."""
        ...

    async def page(self, tenant: str, below: int, most: int) -> list[PersonRow]:
        """Some keys that are under epochs before this one."""
        ...

    async def rewrap(self, tenant: str, rows: Sequence[tuple[PersonRow, PersonRow]]) -> int:
        """Replace keys that are still what they were; how many."""
        ...

    async def left(self, tenant: str, below: int) -> int:
        """How many keys are under epochs before this one."""
        ...

    async def close_epochs(self, tenant: str, below: int, at: datetime) -> None:
        """Note that epochs before this one open nothing any more, and forget their keys. Again changes nothing."""
        ...

    async def counts(self, tenant: str) -> PersonCounts:
        """How many there are."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


class EpochKeeper(Protocol):
    """Wraps epoch keys under versions of a key of its own, one a tenant. Every method raises KeysUnavailable.

    Destroying a version cannot be undone from here: tests/contract/test_epoch_keeper.py.
    """

    async def begin(self, tenant: str) -> None:
        """Make the key, unless there is one."""
        ...

    async def newest(self, tenant: str) -> int:
        """Version that wraps."""
        ...

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> tuple[int, bytes]:
        """An epoch key under the newest version, and which that is."""
        ...

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The epoch key again; raises KeyringLocked `person-epoch-closed` for a version that was forgotten."""
        ...

    async def rotate(self, tenant: str, old: int) -> int:
        """Make the version after `old`, unless there is a newer one; the newest."""
        ...

    async def trim(self, tenant: str, below: int) -> None:
        """Forget versions below this one for good. Again changes nothing."""
        ...

    async def close(self) -> None:
        """Let go of connections and key material."""
        ...


def epoch_closed() -> KeyringLocked:
    """What a keeper says of a version that it was told to forget."""
    message = (
        "the store of person keys is older than the last turn of the epoch, and its keys were destroyed with that turn;"
        " restore a newer copy of it"
    )
    return KeyringLocked(EPOCH_CLOSED, message)
