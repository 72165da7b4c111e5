"""SQL over a log whose older part was sealed and has left the database, through the archive that checks its files."""

from pathlib import Path
from typing import Any

import pytest

from audit.cold import segment_store
from audit.cold.folder import FolderArchive
from audit.cold.reader import ArchiveReader
from audit.cold.retention import Retention
from audit.cold.sealing import Sealer
from audit.sql.answer import Answer, Asked, QueryFailed
from audit.sql.run import run_query
from tests.unit.audit.cold.conftest import NOW, SIGNER


@pytest.fixture
async def archive(filled: Any, folder: FolderArchive, pool: Any, tmp_path: Path) -> ArchiveReader:
    """Twenty entries: 0 to 15 sealed in two segments, 0 to 7 in the archive only."""
    sealer = Sealer(pool, folder, SIGNER, tmp_path / "scratch", Retention(), lambda: NOW, entries=8)
    for _ in range(2):
        assert await sealer.seal("demo") is not None
    async with pool.of("demo") as connection:
        assert await segment_store.prune(connection, "demo", 0) == 8

    async def rows(tenant: str) -> list[segment_store.StoredSegment]:
        async with pool.of(tenant) as found:
            return await segment_store.segments(found, tenant)

    return ArchiveReader(rows, folder, SIGNER.verifier, tmp_path / "cache")


async def ask(dsn: str, archive: ArchiveReader, statement: str) -> Answer:
    async def record(_asked: Asked) -> None:
        return None

    return await run_query(dsn, "demo", statement, archive=archive, record=record, now=NOW)


async def test_entries_of_both_parts_are_answered_once(dsn: str, archive: ArchiveReader) -> None:
    answer = await ask(dsn, archive, "SELECT index, record, leaf FROM event ORDER BY index")
    assert answer.table.column("index").to_pylist() == list(range(20))
    assert answer.table.column("record").to_pylist() == [str(number) for number in range(20)]
    assert all(len(leaf) == 32 for leaf in answer.table.column("leaf").to_pylist())
    seen = await ask(dsn, archive, "SELECT index FROM sight WHERE record = '3' AND field = 'phone'")
    assert seen.table.column("index").to_pylist() == [3]


@pytest.mark.parametrize("kind", ["event", "sight"])
async def test_a_segment_with_one_changed_byte_is_not_answered_from(
    dsn: str, archive: ArchiveReader, tmp_path: Path, kind: str
) -> None:
    path = next(one for one in (tmp_path / "archive").rglob("*.parquet") if kind in one.parts)
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(QueryFailed) as failed:
        await ask(dsn, archive, "SELECT count(*) FROM event")
    assert failed.value.reason == "segment-altered"


async def test_a_segment_that_is_gone_is_not_passed_over(dsn: str, archive: ArchiveReader, tmp_path: Path) -> None:
    sealed = list((tmp_path / "archive").rglob("*.parquet"))
    assert sealed
    for path in sealed:
        path.parent.chmod(0o700)
        path.unlink()
    with pytest.raises(QueryFailed) as failed:
        await ask(dsn, archive, "SELECT count(*) FROM event")
    assert failed.value.reason == "segment-altered"


async def test_a_part_that_cannot_hold_the_answer_is_not_opened_and_nothing_is_there_twice(
    dsn: str, archive: ArchiveReader, tmp_path: Path
) -> None:
    removed = [path for path in (tmp_path / "archive").rglob("*.parquet") if path.name.startswith("0" * 14 + "8-")]
    assert len(removed) == 2
    for path in removed:
        path.parent.chmod(0o700)
        path.unlink()
    for number in (3, 17):
        answer = await ask(dsn, archive, f"SELECT index FROM event WHERE record = '{number}'")
        assert answer.table.column("index").to_pylist() == [number]
    with pytest.raises(QueryFailed) as failed:
        await ask(dsn, archive, "SELECT index FROM event WHERE record = '9'")
    assert failed.value.reason == "segment-altered"
