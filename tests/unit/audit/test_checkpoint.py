"""The keeper signs what has grown and nothing that contradicts itself."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from audit import store
from audit.checkpoint import CheckpointRefused, Keeper, read_newest
from audit.log import AuditLog
from audit.note import Signer
from audit.tree import root
from audit.verify import verify
from tests.conftest import unwalled

SIGNER = Signer(bytes(range(32)))
AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


async def test_a_checkpoint_covers_the_log_and_is_kept_beside_the_key(
    log: AuditLog, keeper: Keeper, make: Any, tmp_path: Path, dsn: str
) -> None:
    for _ in range(7):
        await log.append(make())
    checkpoint = await keeper.seal("demo")
    assert checkpoint is not None
    assert checkpoint.size == 7
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
        found = await connection.execute("SELECT leaf FROM audit_entry ORDER BY index")
        leaves = [row[0] for row in await found.fetchall()]
    assert checkpoint.root == root(leaves)
    assert read_newest(tmp_path, "demo", SIGNER.verifier) == checkpoint
    assert await keeper.seal("demo") is None, "nothing new, nothing signed"


async def test_what_is_signed_is_on_disk_also_where_the_database_commits_late(
    log: AuditLog, keeper: Keeper, make: Any, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    add = store.add_checkpoint

    async def asked(connection: store.Connection, *given: Any) -> None:
        await add(connection, *given)
        found = await connection.execute("SHOW synchronous_commit")
        said.append(await found.fetchone())

    monkeypatch.setattr(store, "add_checkpoint", asked)
    async with pool.connection() as connection:
        found = await connection.execute("SHOW synchronous_commit")
        assert await found.fetchone() == ("off",), "as the server of the tests is set"
    await log.append(make())
    assert await keeper.seal("demo") is not None
    assert said == [("on",)]


async def test_the_keeper_signs_in_the_background_and_once_more_at_the_end(
    log: AuditLog, keeper: Keeper, make: Any, dsn: str
) -> None:
    await log.append(make())
    await keeper.start()
    async with asyncio.timeout(60):
        while (await verify(dsn, "demo", SIGNER.verifier)).signed != 1:
            await asyncio.sleep(0.02)
    await log.append(make())
    await keeper.close()
    await keeper.close()
    assert keeper.fault == ""
    assert (await verify(dsn, "demo", SIGNER.verifier)).unsigned == 0


@pytest.mark.parametrize("gone", [0, 2, 4])
async def test_a_log_with_a_gap_is_not_signed(log: AuditLog, keeper: Keeper, make: Any, tamper: Any, gone: int) -> None:
    for _ in range(5):
        await log.append(make())
    await tamper(f"DELETE FROM audit_entry WHERE index = {gone}")
    with pytest.raises(CheckpointRefused, match=f"entry {gone} is missing"):
        await keeper.seal("demo")


async def test_two_workers_never_sign_two_roots(log: AuditLog, pool: Any, make: Any, tmp_path: Path, dsn: str) -> None:
    keepers = [Keeper(pool, SIGNER, tmp_path, now=lambda: AT) for _ in range(3)]
    for _ in range(6):
        await log.append(make())
        await asyncio.gather(*(one.seal("demo") for one in keepers), return_exceptions=True)
    found = await verify(dsn, "demo", SIGNER.verifier, tmp_path)
    assert found.signed == 6


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_checkpoint SET frontier = '' WHERE size = 18",
        "UPDATE audit_checkpoint SET frontier = set_byte(frontier, 0, get_byte(frontier, 0) # 1) WHERE size = 18",
        "UPDATE audit_checkpoint SET note = 'x' WHERE size = 18",
        "DELETE FROM audit_entry WHERE index = 18",
        "DELETE FROM audit_entry WHERE index = 19",
        "UPDATE audit_head SET size = 17",
    ],
)
async def test_the_keeper_signs_nothing_that_contradicts_what_it_signed(
    tamper: Any, filled: AuditLog, dsn: str, keeper: Keeper, change: str
) -> None:
    await tamper(change)
    with pytest.raises(CheckpointRefused):
        await keeper.seal("demo")


async def test_a_keeper_that_cannot_sign_says_so_and_goes_on(
    tamper: Any, filled: AuditLog, dsn: str, keeper: Keeper
) -> None:
    await tamper("UPDATE audit_head SET size = 17")
    await keeper.start()
    async with asyncio.timeout(60):
        while not keeper.fault:
            await asyncio.sleep(0.01)
    assert "17" in keeper.fault
    await tamper("UPDATE audit_head SET size = 20")
    async with asyncio.timeout(60):
        while keeper.fault:
            await asyncio.sleep(0.01)
    await keeper.close()
    assert (await verify(dsn, "demo", SIGNER.verifier)).signed == 20


async def test_a_log_that_cannot_be_signed_does_not_keep_others_unsigned(
    tamper: Any, filled: AuditLog, dsn: str, keeper: Keeper, make: Any, tmp_path: Path
) -> None:
    await tamper("DELETE FROM audit_entry WHERE index = 17", "UPDATE audit_head SET size = 17")
    await filled.append(make(tenant="later"))
    await keeper.start()
    async with asyncio.timeout(60):
        while (newest := read_newest(tmp_path, "later", SIGNER.verifier)) is None:
            await asyncio.sleep(0.01)
    assert newest.size == 1
    async with asyncio.timeout(60):
        while "17" not in keeper.fault:
            await asyncio.sleep(0.01)
    await keeper.close()
