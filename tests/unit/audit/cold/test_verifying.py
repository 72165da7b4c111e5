"""Segments verified in processes of their own: the same outcome however many there are."""

import os
import signal
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from audit.archive import ArchiveUnavailable, SegmentBroken
from audit.cold.folder import FolderArchive
from audit.cold.manifest import SIGHT_FILE, SOUGHT_FILE, Manifest, SealedFile, check_chain
from audit.cold.segment_file import file_digest
from audit.cold.verifying import verify_segments
from tests.unit.audit.cold.conftest import SIGNER


@pytest.fixture
def chain(seal: Any) -> list[Manifest]:
    return check_chain([seal(5), seal(1), seal(7), seal(3, sought=False), seal(4)], "demo", SIGNER.verifier)


def helpers() -> list[int]:
    """Processes of ours that verify."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            told, parent = (one / "cmdline").read_bytes(), (one / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"audit.cold.verifying" in told and int(parent) == os.getpid():
            found.append(int(one.name))
    return found


async def verified(stored: FolderArchive, chain: list[Manifest], scratch: Path, processes: int) -> list[int]:
    """First entries of the segments told, and -1 for a broken one."""
    told = []
    try:
        async with aclosing(verify_segments(stored, chain, scratch, processes)) as found:
            async for one in found:
                told.append(one.first)
    except SegmentBroken:
        told.append(-1)
    return told


@pytest.mark.parametrize("processes", [1, 2, 3, 9])
async def test_every_segment_is_told_in_order(
    folder: FolderArchive, chain: list[Manifest], tmp_path: Path, processes: int
) -> None:
    assert await verified(folder, chain, tmp_path / "scratch", processes) == [0, 5, 6, 13, 16]
    assert await verified(folder, [], tmp_path / "scratch", processes) == []
    assert helpers() == []
    assert list((tmp_path / "scratch").iterdir()) == []


def resealed(folder: FolderArchive, tmp_path: Path, one: Manifest, kind: str, path: Path) -> Manifest:
    """A manifest that names another file, as somebody with the key could write it."""
    sha, name = file_digest(path), f"demo/other.{kind}"
    folder.put(name, path, sha, one.sealed_at)
    changed = SealedFile(name, path.stat().st_size, sha, one.files[kind].rows)
    values = {field: getattr(one, field) for field in one.__slots__}
    return Manifest(**{**values, "files": {**one.files, kind: changed}})


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("kind", [SIGHT_FILE, SOUGHT_FILE])
async def test_what_differs_from_the_hashed_bytes_is_found_though_it_was_signed(
    folder: FolderArchive, chain: list[Manifest], tmp_path: Path, processes: int, kind: str
) -> None:
    path = tmp_path / "changed"
    if kind == SIGHT_FILE:
        pq.write_table(pq.read_table(folder.local(chain[2].files[kind].name)).slice(1), path)
    else:
        path.write_bytes(bytes(4))
    chain[2] = resealed(folder, tmp_path, chain[2], kind, path)
    assert await verified(folder, chain, tmp_path / "scratch", processes) == [0, 5, -1]
    assert helpers() == []


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_segment_that_is_gone_ends_it(
    folder: FolderArchive, chain: list[Manifest], tmp_path: Path, processes: int
) -> None:
    path = folder.local(chain[1].files[SIGHT_FILE].name)
    assert path is not None
    path.unlink()
    with pytest.raises(ArchiveUnavailable):
        await verified(folder, chain, tmp_path / "scratch", processes)


async def test_who_stops_leaves_nothing_running(folder: FolderArchive, chain: list[Manifest], tmp_path: Path) -> None:
    async with aclosing(verify_segments(folder, chain, tmp_path / "scratch", 2)) as found:
        assert (await anext(found)).first == 0
        assert len(helpers()) == 2
    assert helpers() == []
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_process_that_is_killed_is_no_verdict(
    folder: FolderArchive, chain: list[Manifest], tmp_path: Path
) -> None:
    async with aclosing(verify_segments(folder, chain, tmp_path / "scratch", 1)) as found:
        assert (await anext(found)).first == 0
        for one in helpers():
            os.kill(one, signal.SIGKILL)
        with pytest.raises(ArchiveUnavailable, match="memory"):
            async for _ in found:
                pass
