"""Segments as local files."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from audit.archive import ArchiveUnavailable, SegmentBroken, Wanted
from audit.cold.folder import FolderArchive
from audit.cold.reader import ArchiveReader
from audit.cold.segment_store import StoredSegment
from tests.unit.audit.cold.conftest import NOW, SIGNER
from tests.unit.audit.conftest import AT


class Elsewhere(FolderArchive):
    """A folder that has to be fetched from."""

    fetched = 0

    def local(self, name: str) -> Path | None:
        return None

    def fetch(self, name: str, version: str, target: Path) -> None:
        self.fetched += 1
        super().fetch(name, version, target)


def reader(stored: FolderArchive, notes: list[str], cache: Path, **more: Any) -> ArchiveReader:
    dropped = more.pop("dropped", 0)
    rows = [
        StoredSegment(place, place, NOW, NOW, b"", note, NOW if place < dropped else None)
        for place, note in enumerate(notes)
    ]

    async def told(tenant: str) -> list[StoredSegment]:
        return rows

    return ArchiveReader(told, stored, SIGNER.verifier, cache, **more)


async def test_segments_are_files_of_the_archive(folder: FolderArchive, seal: Any, tmp_path: Path) -> None:
    found = await reader(folder, [seal(3), seal(4)], tmp_path / "cache").segments("demo")
    assert [(one.first, one.last) for one in found] == [(0, 2), (3, 6)]
    assert found[1].event_file == folder.local("demo/3.event.parquet")


async def test_only_segments_of_the_asked_time_are_given(folder: FolderArchive, seal: Any, tmp_path: Path) -> None:
    one = reader(folder, [seal(3), seal(4)], tmp_path / "cache")
    last: datetime = (await one.segments("demo"))[0].at_last
    assert [found.first for found in await one.segments("demo", until=last)] == [0]
    assert [found.first for found in await one.segments("demo", since=NOW)] == []
    assert [found.first for found in await one.segments("demo", until=AT)] == []


async def test_dropped_segments_are_left_out(folder: FolderArchive, seal: Any, tmp_path: Path) -> None:
    one = reader(folder, [seal(3), seal(4)], tmp_path / "cache", dropped=1)
    assert [found.first for found in await one.segments("demo")] == [3]


@pytest.mark.parametrize("kind", [FolderArchive, Elsewhere])
async def test_changed_bytes_and_a_missing_file_are_refused(
    folder: FolderArchive, seal: Any, tmp_path: Path, kind: Any
) -> None:
    stored = kind(tmp_path / "archive", lambda: NOW)
    notes = [seal(3)]
    path = folder.local("demo/0.sight.parquet")
    assert path is not None
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:-5] + b"x" + data[-4:])
    with pytest.raises(SegmentBroken, match="other bytes"):
        await reader(stored, notes, tmp_path / "cache").segments("demo")
    path.unlink()
    with pytest.raises((SegmentBroken, ArchiveUnavailable)):
        await reader(stored, notes, tmp_path / "cache").segments("demo")


async def test_a_file_that_changes_after_its_first_use_is_refused(
    folder: FolderArchive, seal: Any, tmp_path: Path
) -> None:
    notes = [seal(3)]
    one = reader(folder, notes, tmp_path / "cache")
    found = (await one.segments("demo"))[0].event_file
    data = found.read_bytes()
    found.chmod(0o600)
    found.write_bytes(data[:-5] + b"x" + data[-4:])
    for again in (one, reader(folder, notes, tmp_path / "cache")):
        with pytest.raises(SegmentBroken, match="other bytes"):
            await again.segments("demo")


async def test_files_from_elsewhere_are_fetched_once_and_the_oldest_go(
    folder: FolderArchive, seal: Any, tmp_path: Path
) -> None:
    notes = [seal(3), seal(4)]
    stored = Elsewhere(tmp_path / "archive", lambda: NOW)
    one = reader(stored, notes, tmp_path / "cache")
    for _ in range(2):
        found = await one.segments("demo")
    assert stored.fetched == 4
    room = sum(path.stat().st_size for path in (found[1].event_file, found[1].sight_file))
    small = reader(stored, notes, tmp_path / "cache", cache_bytes=room)
    kept = await small.segments("demo", since=found[1].at_first)
    assert {*(tmp_path / "cache").glob("*.parquet")} == {kept[0].event_file, kept[0].sight_file}
    with pytest.raises(ArchiveUnavailable, match="shorter time"):
        await small.segments("demo")


async def test_segments_that_cannot_hold_what_is_wanted_are_passed_over_and_not_fetched(
    folder: FolderArchive, seal: Any, tmp_path: Path
) -> None:
    notes = [seal(3, entry={"actor": "u7"}), seal(3, entry={"actor": "u8"}), seal(3, sought=False)]
    stored = Elsewhere(tmp_path / "archive", lambda: NOW)
    one = reader(stored, notes, tmp_path / "cache")

    async def opened(*wanted: Wanted) -> list[int]:
        return [found.first for found in await one.segments("demo", wanted=wanted) if not found.passed_over]

    assert await opened({"actor": ["nobody"]}) == [6]
    assert stored.fetched == 2 + 2  # what the first two hold, and the third itself
    assert await opened({"actor": ["u7"]}) == [0, 6]
    assert await opened({"actor": ["nobody", "u8"]}) == [3, 6]
    assert await opened({"actor": ["u7"]}, {"actor": ["u8"]}) == [0, 3, 6]
    assert await opened({"actor": ["u7"], "record": ["nothing"]}) == [6]
    assert await opened({"actor": ["u7"]}, {}) == [0, 3, 6]
    assert len(await one.segments("demo", wanted=[{"actor": ["nobody"]}])) == 3


async def test_what_a_segment_holds_is_believed_as_sealed_only(
    folder: FolderArchive, seal: Any, tmp_path: Path
) -> None:
    notes = [seal(3)]
    path = folder.local("demo/0.sought.parquet")
    assert path is not None
    path.chmod(0o600)
    for changed in (path.read_bytes()[4:], b""):
        path.write_bytes(changed)
        with pytest.raises(SegmentBroken, match="other bytes"):
            await reader(folder, notes, tmp_path / "cache").segments("demo", wanted=[{"actor": ["u1"]}])
    path.unlink()
    with pytest.raises(SegmentBroken, match="is gone"):
        await reader(folder, notes, tmp_path / "cache").segments("demo", wanted=[{"actor": ["u1"]}])
