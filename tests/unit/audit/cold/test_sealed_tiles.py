"""Tiles of a log whose beginning left the database, when their folder is lost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.cold.folder import FolderArchive
from audit.cold.pruning import Pruner
from audit.cold.reader import ArchiveReader
from audit.cold.sealing import Sealer
from audit.tile_site import TileSite
from tests.unit.audit.cold.conftest import SIGNER
from tests.unit.audit.cold.test_pruning import YEARS, Clock, prune_all
from tests.unit.audit.cold.test_pruning import archive as archive
from tests.unit.audit.cold.test_pruning import clock as clock
from tests.unit.audit.cold.test_pruning import pruner as pruner
from tests.unit.audit.cold.test_pruning import sealer as sealer
from tests.unit.audit.cold.test_pruning import stored as stored
from tests.unit.audit.conftest import AT
from tests.unit.audit.test_tiles import fill

SIZE = 1100
Files = dict[str, bytes]


def files(folder: Path) -> Files:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def site(pool: Any, folder: Path, archive: ArchiveReader) -> TileSite:
    return TileSite(pool, SIGNER.verifier, folder, archive=archive)


@pytest.fixture
async def whole(
    log: Any, keeper: Any, make: Any, pool: Any, sealer: Sealer, pruner: Pruner, archive: ArchiveReader, tmp_path: Path
) -> Files:
    """The files of the log while all of it was in the database; then 0-299, 300-599 and 600-899 left it."""
    await fill(log, keeper, make, SIZE)
    before = site(pool, tmp_path / "before", archive)
    await before.round()
    assert before.faults == {}
    small = replace(sealer, entries=300)
    for _ in range(3):
        assert await small.seal("demo") is not None
    assert await prune_all(pruner) == 900
    return files(tmp_path / "before")


async def test_a_lost_folder_is_filled_from_the_archive_and_the_database(
    whole: Files, pool: Any, archive: ArchiveReader, tmp_path: Path
) -> None:
    again = site(pool, tmp_path / "again", archive)
    await again.round()
    assert again.faults == {}
    assert files(tmp_path / "again") == whole


@pytest.mark.parametrize("lost", ["demo/tile/0/000", "demo/tile/0/002", "demo/tile/0/003", "demo/checkpoint"])
async def test_a_tile_that_is_lost_is_made_again(
    whole: Files, pool: Any, archive: ArchiveReader, tmp_path: Path, lost: str
) -> None:
    (tmp_path / "before" / lost).unlink()
    again = site(pool, tmp_path / "before", archive)
    await again.round()
    assert again.faults == {}
    assert files(tmp_path / "before") == whole


@pytest.mark.parametrize("harm", ["changed", "gone", "none"])
async def test_nothing_is_served_that_the_archive_does_not_hold_as_it_was_sealed(
    whole: Files, pool: Any, archive: ArchiveReader, stored: FolderArchive, tmp_path: Path, harm: str
) -> None:
    path = stored.local(stored.names("demo/event/")[1])
    assert path is not None
    if harm == "changed":
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif harm == "gone":
        path.unlink()
    again = (
        TileSite(pool, SIGNER.verifier, tmp_path / "again")
        if harm == "none"
        else site(pool, tmp_path / "again", archive)
    )
    await again.round()
    assert list(again.faults) == ["demo"]
    assert files(tmp_path / "again") == {}
    kept = site(pool, tmp_path / "before", archive)
    await kept.round()
    assert kept.faults == {}  # nothing is missing, so nothing is asked of the archive
    assert files(tmp_path / "before") == whole


async def test_a_changed_tile_is_not_mended_around(
    whole: Files, pool: Any, archive: ArchiveReader, tmp_path: Path
) -> None:
    folder = tmp_path / "before/demo/tile/0"
    (folder / "000").unlink()
    (folder / "001").write_bytes((folder / "002").read_bytes())
    again = site(pool, tmp_path / "before", archive)
    await again.round()
    assert list(again.faults) == ["demo"]
    assert not (folder / "000").exists()


async def test_when_retention_is_over_entries_go_and_hashes_stay(
    whole: Files, pool: Any, archive: ArchiveReader, pruner: Pruner, clock: Clock, tmp_path: Path
) -> None:
    clock.at = AT + YEARS
    for _ in range(2):
        over, _ = await pruner.droppable("demo")
        assert over is not None
        await pruner.drop("demo", over)
    left = {
        name: data for name, data in whole.items() if name not in ("demo/tile/entries/000", "demo/tile/entries/001")
    }
    kept = site(pool, tmp_path / "before", archive)
    await kept.round()
    assert (kept.faults, files(tmp_path / "before")) == ({}, left)
    # Entries 512 to 599 are gone, 600 to 767 are not: half a tile of entries is none.
    again = site(pool, tmp_path / "again", archive)
    await again.round()
    del left["demo/tile/entries/002"]
    assert (again.faults, files(tmp_path / "again")) == ({}, left)
