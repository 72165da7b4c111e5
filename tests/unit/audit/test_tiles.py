"""The log as C2SP tiles, read back by a reader that knows the specification and nothing of ours."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.checkpoint import Keeper
from audit.log import AuditLog
from audit.note import Signer
from audit.tiles import TilesRefused, TilesWritten, tile_path, widths, write_tiles
from audit.tree import node_hash
from tests.conftest import unwalled

SIGNER = Signer(bytes(range(32)))
ORIGIN = "crmgate-audit/demo"


class Reader:
    """Written from c2sp.org/tlog-tiles, tlog-checkpoint, signed-note and RFC 6962 alone; imports nothing of ours."""

    def __init__(self, folder: Path, vkey: str) -> None:
        self.folder = folder
        self.name, key_id, key = vkey.split("+", 2)
        raw = base64.b64decode(key)
        assert raw[0] == 1
        assert hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4].hex() == key_id
        self.public, self.key_id = Ed25519PublicKey.from_public_bytes(raw[1:]), bytes.fromhex(key_id)

    def checkpoint(self) -> tuple[int, bytes]:
        note = (self.folder / "checkpoint").read_text(encoding="utf-8")
        text, _, signatures = note.rpartition("\n\n")
        good = 0
        for line in signatures.splitlines():
            dash, name, mark = line.split(" ")
            blob = base64.b64decode(mark)
            if (dash, name, blob[:4]) == ("—", self.name, self.key_id):
                self.public.verify(blob[4:], (text + "\n").encode())
                good += 1
        assert good == 1
        origin, size, top = text.split("\n")
        assert origin == self.name
        return int(size), base64.b64decode(top)

    def path(self, kind: str, index: int, width: int) -> Path:
        digits = f"{index:d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        return self.folder / "tile" / kind / (name if width == 256 else f"{name}.p/{width}")

    def tile(self, kind: str, index: int, width: int) -> bytes:
        full, part = self.path(kind, index, 256), self.path(kind, index, width)
        return part.read_bytes() if part.is_file() else full.read_bytes()

    def level(self, level: int, count: int) -> list[bytes]:
        hashes = []
        for index in range(-(-count // 256)):
            width = min(256, count - 256 * index)
            raw = self.tile(str(level), index, width)[: 32 * width]
            assert len(raw) == 32 * width
            hashes += [raw[at : at + 32] for at in range(0, len(raw), 32)]
        return hashes

    def entries(self, size: int) -> Iterator[bytes]:
        for index in range(-(-size // 256)):
            width = min(256, size - 256 * index)
            raw = self.tile("entries", index, width)
            for _ in range(width):
                length = int.from_bytes(raw[:2], "big")
                yield raw[2 : 2 + length]
                raw = raw[2 + length :]

    def mth(self, leaves: list[bytes]) -> bytes:
        if not leaves:
            return hashlib.sha256(b"").digest()
        if len(leaves) == 1:
            return leaves[0]
        half = 1
        while half * 2 < len(leaves):
            half *= 2
        return hashlib.sha256(b"\x01" + self.mth(leaves[:half]) + self.mth(leaves[half:])).digest()

    def read(self) -> list[bytes]:
        """Every entry, after checking checkpoint, all tiles of all levels, and entries against each other."""
        size, top = self.checkpoint()
        leaves = self.level(0, size)
        assert self.mth(leaves) == top
        entries = list(self.entries(size))
        assert [hashlib.sha256(b"\0" + one).digest() for one in entries] == leaves
        level, below = 1, leaves
        while len(below) >= 256:
            want = [self.mth(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)]
            assert self.level(level, len(want)) == want
            level, below = level + 1, want
        return entries


async def fill(log: AuditLog, keeper: Keeper, make: Any, size: int) -> None:
    futures = [log.submit(make())]
    while await futures[-1] < size - 1:
        futures = [log.submit(make()) for _ in range(size - 1 - await futures[-1])]
        for future in futures:
            await future
    await keeper.seal("demo")


async def export(dsn: str, folder: Path) -> TilesWritten:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as db:
        return await write_tiles(db, "demo", SIGNER.verifier, folder)


async def stored(dsn: str) -> list[bytes]:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as db:
        found = await db.execute("SELECT body FROM audit_entry ORDER BY index")
        return [row[0] for row in await found.fetchall()]


async def test_another_reader_gets_every_entry_at_every_size(
    log: AuditLog, keeper: Keeper, make: Any, dsn: str, tmp_path: Path
) -> None:
    """Sizes around full tiles: 256 entries are a full tile and a partial one of width 1 above it."""
    folder = tmp_path / "public"
    reader = Reader(folder, SIGNER.verifier.vkey(ORIGIN))
    for size in (1, 2, 255, 256, 257, 511, 512, 700, 1025):
        await fill(log, keeper, make, size)
        done = await export(dsn, folder)
        assert done.checkpoint.size == size
        entries = reader.read()
        assert len(entries) == size
        assert entries == (await stored(dsn))[:size]
    assert (await export(dsn, folder)).files == 1, "nothing new: the checkpoint only"
    assert not list(folder.rglob("*.draft"))


async def test_a_later_run_leaves_full_tiles_alone(
    log: AuditLog, keeper: Keeper, make: Any, dsn: str, tmp_path: Path
) -> None:
    await fill(log, keeper, make, 600)
    await export(dsn, tmp_path / "t")
    full = {path: path.stat().st_mtime_ns for path in (tmp_path / "t").rglob("00?") if path.is_file()}
    assert len(full) == 4, "two tiles of hashes and their entries"
    await fill(log, keeper, make, 900)
    await export(dsn, tmp_path / "t")
    assert {path: path.stat().st_mtime_ns for path in full} == full


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entry SET body = body || ' ' WHERE index = 3",
        "DELETE FROM audit_entry WHERE index = 3",
        "UPDATE audit_checkpoint SET note = replace(note, '18', '17') WHERE size = 18",
        "DELETE FROM audit_checkpoint",
    ],
)
async def test_a_changed_log_is_not_shown(dsn: str, filled: AuditLog, tamper: Any, tmp_path: Path, change: str) -> None:
    await tamper(change)
    with pytest.raises(TilesRefused):
        await export(dsn, tmp_path / "t")
    assert [path for path in (tmp_path / "t").rglob("*") if path.is_file()] == []


async def test_a_folder_of_another_or_a_newer_log_is_left_alone(
    dsn: str, filled: AuditLog, tamper: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "t"
    await export(dsn, folder)
    shown = (folder / "checkpoint").read_bytes()
    await tamper("DELETE FROM audit_checkpoint WHERE size = 18", "DELETE FROM audit_entry WHERE index > 11")
    with pytest.raises(TilesRefused):
        await export(dsn, folder)
    assert (folder / "checkpoint").read_bytes() == shown
    (folder / "checkpoint").write_text("something else\n")
    with pytest.raises(TilesRefused):
        await export(dsn, folder)


async def test_a_changed_tile_is_not_covered_by_a_new_checkpoint(
    log: AuditLog, keeper: Keeper, make: Any, dsn: str, tmp_path: Path
) -> None:
    await fill(log, keeper, make, 300)
    await export(dsn, tmp_path / "t")
    tile = tmp_path / "t/tile/0/000"
    tile.write_bytes(node_hash(b"", b"") + tile.read_bytes()[32:])
    await fill(log, keeper, make, 600)
    with pytest.raises(TilesRefused):
        await export(dsn, tmp_path / "t")


def test_paths_and_widths_are_those_of_the_specification() -> None:
    """c2sp.org/tlog-tiles: its example index, and its tree of 70,000."""
    assert tile_path("0", 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path("entries", 0, 12) == "tile/entries/000.p/12"
    assert len(list(widths(70_000, 0))) == 274
    assert list(widths(70_000, 0))[-1] == (273, 112)
    assert list(widths(70_000, 1)) == [(0, 256), (1, 17)]
    assert list(widths(70_000, 2)) == [(0, 1)]
    assert list(widths(256, 0)) == [(0, 256)]
    assert list(widths(256, 1)) == [(0, 1)]
