"""Imprints: one SHA-256 over every column of 256 consecutive entries, by which a tile of the log is known again.

An imprint is made of rows that were verified against a signed checkpoint, and kept outside the database. The database
then hands out the bytes of a whole tile in one value (`store.tile_bytes`, PostgreSQL's own binary form of the rows);
they are hashed here, so that nothing the database computes has to be believed. What `packed` writes is what
`record_send` of PostgreSQL writes.
"""

import os
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from struct import Struct
from urllib.parse import quote

from audit.store import StoredEntry
from audit.tree import HASH_BYTES

TILE = 256  # entries
HEAD = b"crmgate imprint\x01"  # of the file; another number when columns change
_NONE = bytes(HASH_BYTES)
_INT8, _BYTEA, _INT2, _TEXT, _TIMESTAMPTZ = 20, 17, 21, 25, 1184  # pg_type.dat
_FIRST = Struct("!iIiqIiq").pack  # number of columns; index; at
_SHORT = Struct("!Iih").pack
_LENGTH = Struct("!Ii").pack
_COLUMNS = 12
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # of PostgreSQL timestamps


def packed(row: StoredEntry) -> bytes:
    """A row in PostgreSQL's binary form of a record."""
    age = row.at - _EPOCH
    micros = (age.days * 86_400 + age.seconds) * 1_000_000 + age.microseconds
    return b"".join(
        (
            _FIRST(_COLUMNS, _INT8, 8, row.index, _TIMESTAMPTZ, 8, micros),
            _names(row.kind, row.actor, row.operation, row.entity),
            _text(row.record),
            _text(row.reason),
            _SHORT(_INT2, 2, row.status),
            _text(row.exchange),
            _LENGTH(_BYTEA, len(row.body)),
            row.body,
            _LENGTH(_BYTEA, len(row.leaf)),
            row.leaf,
        )
    )


def _text(value: str) -> bytes:
    raw = value.encode()
    return _LENGTH(_TEXT, len(raw)) + raw


@lru_cache(maxsize=4096)
def _names(*values: str) -> bytes:
    """What many entries have in common."""
    return b"".join(map(_text, values))


class Imprinter:
    """Makes imprints of whole tiles from rows that come in order; `take` gives those that are ready."""

    __slots__ = ("_hash", "_made", "_next", "_start")

    def __init__(self) -> None:
        self._hash = sha256()
        self._start = self._next = 0
        self._made: dict[int, bytes] = {}

    def at(self, index: int) -> None:
        """Rows come from here on: go on with the tile that was begun, or begin with the next whole one."""
        if index != self._next:
            self.drop()
            self._start = self._next = -(-index // TILE) * TILE

    def add(self, row: StoredEntry) -> None:
        """The next row; rows before the first whole tile are passed over."""
        if row.index != self._next:
            return
        self._hash.update(packed(row))
        self._next += 1
        if self._next - self._start == TILE:
            self._made[self._start // TILE] = self._hash.digest()
            self._hash, self._start = sha256(), self._next

    def take(self) -> dict[int, bytes]:
        """Imprints made since the last call, by number of the tile."""
        made, self._made = self._made, {}
        return made

    def drop(self) -> None:
        """Forget what came and was not taken: it did not hold."""
        self._hash, self._made = sha256(), {}
        self._next = self._start = -1


class Imprints:
    """The imprints of one tenant's log, in memory and in a file beside the key. Blocks."""

    def __init__(self, folder: Path, tenant: str) -> None:
        self._path = folder / f"{quote(tenant, safe='')}.imprints"
        self._kept = bytearray()
        self._unwritten: dict[int, bytes] = {}
        self._before = (0, 0)
        try:
            kept = self._path.read_bytes()
        except FileNotFoundError:
            kept = b""
        if kept[: len(HEAD)] == HEAD:
            whole = (len(kept) - len(HEAD)) // HASH_BYTES * HASH_BYTES
            self._kept += kept[len(HEAD) : len(HEAD) + whole]
        self.count = sum(self.of(tile) is not None for tile in range(self.tiles))

    @property
    def tiles(self) -> int:
        """One more than the highest tile that has an imprint."""
        return len(self._kept) // HASH_BYTES

    def known_before(self, tile: int) -> int:
        """How many tiles before this one have an imprint: of pruned entries, so that it does not change any more."""
        if self._before[0] != tile:
            self._before = (tile, sum(self.of(one) is not None for one in range(min(tile, self.tiles))))
        return self._before[1]

    def of(self, tile: int) -> bytes | None:
        """The imprint of a tile; None when it was not read yet."""
        kept = bytes(self._kept[tile * HASH_BYTES : (tile + 1) * HASH_BYTES])
        return None if kept in (b"", _NONE) else kept

    def keep(self, made: dict[int, bytes]) -> list[int]:
        """Keep new imprints; the tiles that had another one. Raises: OSError; the next call writes what was not."""
        fresh = {tile: imprint for tile, imprint in made.items() if self.of(tile) != imprint}
        changed = [tile for tile in fresh if self.of(tile) is not None]
        self.count += len(fresh) - len(changed)
        for tile, imprint in fresh.items():
            self._kept += bytes(max(0, (tile + 1) * HASH_BYTES - len(self._kept)))
            self._kept[tile * HASH_BYTES : (tile + 1) * HASH_BYTES] = imprint
        self._unwritten |= fresh
        if self._unwritten:
            self._write()
        return changed

    def _write(self) -> None:
        # Several nodes may write the same; one that was cut off in the middle is read again and found whole.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, HEAD, 0)
            for tile, imprint in sorted(self._unwritten.items()):
                os.pwrite(descriptor, imprint, len(HEAD) + tile * HASH_BYTES)
            self._unwritten.clear()
        finally:
            os.close(descriptor)
