"""Whatever is done to a stored log is found, and the place is named."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from audit.checkpoint import CheckpointRefused, Keeper, newest_path
from audit.log import AuditLog
from audit.note import Checkpoint, Signer, origin_of
from audit.tree import leaf_hash
from audit.verify import LogTampered, verify, verify_all
from tests.conftest import unwalled

SIGNER = Signer(bytes(range(32)))
AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


async def test_a_whole_log_is_reported(filled: AuditLog, dsn: str, tmp_path: Path) -> None:
    found = await verify(dsn, "demo", SIGNER.verifier, tmp_path)
    assert (found.entries, found.signed, found.unsigned, found.checkpoints) == (20, 18, 2, 3)
    assert found.first_at == AT
    assert found.last_at == AT + timedelta(seconds=19)
    assert await verify_all(dsn, SIGNER.verifier, tmp_path) == [found]


async def test_an_empty_log_is_whole(dsn: str, tmp_path: Path) -> None:
    found = await verify(dsn, "demo", SIGNER.verifier, tmp_path)
    assert (found.entries, found.checkpoints, found.first_at) == (0, 0, None)
    assert await verify_all(dsn, SIGNER.verifier, tmp_path) == []


@pytest.mark.parametrize("index", [0, 7, 17, 19])
async def test_one_changed_byte_is_found_wherever_it_is(tamper: Any, filled: AuditLog, dsn: str, index: int) -> None:
    await tamper((f"UPDATE audit_entry SET body = set_byte(body, 20, get_byte(body, 20) # 1) WHERE index = {index}",))
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier)
    assert found.value.index == index
    assert found.value.permanent


@pytest.mark.parametrize(("index", "checkpoint"), [(0, 5), (6, 12), (17, 18)])
async def test_a_row_hashed_again_is_found_at_the_next_checkpoint(
    tamper: Any, filled: AuditLog, dsn: str, index: int, checkpoint: int
) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
        found = await connection.execute("SELECT body FROM audit_entry WHERE index = %s", (index,))
        row = await found.fetchone()
    assert row is not None
    body = row[0].replace(b'"actor":"u1"', b'"actor":"u2"')
    await tamper(
        ("UPDATE audit_entry SET actor = 'u2', body = %s, leaf = %s WHERE index = %s", (body, leaf_hash(body), index)),
    )
    with pytest.raises(LogTampered) as tampered:
        await verify(dsn, "demo", SIGNER.verifier)
    assert tampered.value.checkpoint == checkpoint


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'u2'",
        "kind = 'x'",
        "operation = 'x'",
        "entity = 'x'",
        "record = 'x'",
        "reason = 'x'",
        "status = 1",
        "exchange = 'x'",
        "at = at + interval '1 microsecond'",
    ],
)
async def test_a_column_that_misleads_a_search_is_found(tamper: Any, filled: AuditLog, dsn: str, change: str) -> None:
    await tamper(f"UPDATE audit_entry SET {change} WHERE index = 9")
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier)
    assert found.value.index == 9


async def test_bytes_that_are_no_entry_are_found(tamper: Any, filled: AuditLog, dsn: str) -> None:
    await tamper(("UPDATE audit_entry SET body = 'x', leaf = %s WHERE index = 19", (leaf_hash(b"x"),)))
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier)
    assert found.value.index == 19


@pytest.mark.parametrize("index", [0, 7, 19])
async def test_a_removed_entry_is_found(tamper: Any, filled: AuditLog, dsn: str, index: int) -> None:
    await tamper(f"DELETE FROM audit_entry WHERE index = {index}")
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier)
    assert found.value.index == index


async def test_two_entries_in_each_other_s_place_are_found(tamper: Any, filled: AuditLog, dsn: str) -> None:
    await tamper(
        "UPDATE audit_entry SET index = 1000 WHERE index = 3",
        "UPDATE audit_entry SET index = 3 WHERE index = 4",
        "UPDATE audit_entry SET index = 4 WHERE index = 1000",
    )
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier)
    assert found.value.checkpoint == 5


async def test_a_removed_end_is_found_by_the_signed_checkpoint(tamper: Any, filled: AuditLog, dsn: str) -> None:
    await tamper("DELETE FROM audit_entry WHERE index >= 15", "UPDATE audit_head SET size = 15")
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier)
    assert found.value.index == 15


async def test_a_removed_end_with_its_checkpoint_is_found_by_the_note_beside_the_key(
    tamper: Any, filled: AuditLog, dsn: str, tmp_path: Path, keeper: Keeper
) -> None:
    await tamper(
        "DELETE FROM audit_entry WHERE index >= 15",
        "UPDATE audit_head SET size = 15",
        "DELETE FROM audit_checkpoint WHERE size > 15",
    )
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier, tmp_path)
    assert found.value.checkpoint == 18
    with pytest.raises(CheckpointRefused):
        await keeper.seal("demo")


async def test_a_log_removed_altogether_is_found(
    tamper: Any, filled: AuditLog, dsn: str, tmp_path: Path, keeper: Keeper
) -> None:
    await tamper("DELETE FROM audit_entry", "DELETE FROM audit_head", "DELETE FROM audit_checkpoint")
    with pytest.raises(LogTampered):
        await verify_all(dsn, SIGNER.verifier, tmp_path)
    with pytest.raises(CheckpointRefused):
        await keeper.seal("demo")


async def test_a_log_without_head_is_found(tamper: Any, filled: AuditLog, dsn: str) -> None:
    await tamper("DELETE FROM audit_head", "DELETE FROM audit_checkpoint")
    with pytest.raises(LogTampered):
        await verify_all(dsn, SIGNER.verifier)


@pytest.mark.parametrize(
    "change",
    ["note = replace(note, '12', '13')", "note = 'x'", "size = 13", "note = replace(note, 'demo', 'other')"],
)
async def test_a_changed_checkpoint_is_found(tamper: Any, filled: AuditLog, dsn: str, change: str) -> None:
    await tamper(f"UPDATE audit_checkpoint SET {change} WHERE size = 12")
    with pytest.raises(LogTampered) as found:
        await verify(dsn, "demo", SIGNER.verifier)
    assert found.value.checkpoint in (12, 13)


async def test_another_key_is_not_trusted(filled: AuditLog, dsn: str) -> None:
    with pytest.raises(LogTampered):
        await verify(dsn, "demo", Signer(bytes(32)).verifier)


async def test_a_note_beside_the_key_that_is_not_ours_is_found(
    filled: AuditLog, dsn: str, tmp_path: Path, keeper: Keeper
) -> None:
    newest_path(tmp_path, "demo").write_text("x")
    with pytest.raises(LogTampered):
        await verify(dsn, "demo", SIGNER.verifier, tmp_path)
    with pytest.raises(CheckpointRefused):
        await keeper.seal("demo")


async def test_another_root_signed_for_the_same_size_is_found(
    filled: AuditLog, dsn: str, tmp_path: Path, keeper: Keeper
) -> None:
    origin = origin_of("demo")
    newest_path(tmp_path, "demo").write_text(SIGNER.sign(Checkpoint(origin, 18, bytes(32)).text(), origin))
    with pytest.raises(LogTampered):
        await verify(dsn, "demo", SIGNER.verifier, tmp_path)
    with pytest.raises(CheckpointRefused):
        await keeper.seal("demo")
