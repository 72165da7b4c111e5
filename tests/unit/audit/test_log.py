"""Group commit: gapless, durable, and closed whenever it cannot be."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import structlog
from psycopg.conninfo import make_conninfo

from audit.append_store import pack_batch
from audit.entry import AuditEntry, EntryRefused, decode
from audit.log import BATCH_LIMIT_ENTRIES, COMMIT_TIMEOUT_S, AuditLog, AuditUnavailable
from audit.tree import leaf_hash
from audit.writer import Writer
from tests.conftest import unwalled

PATIENCE_S = 60.0


async def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
        return await (await connection.execute(query)).fetchall()


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def until_held(dsn: str) -> None:
    """The batch under way waits for a lock somebody else has."""
    waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'crmgate-audit' AND wait_event_type = 'Lock'"
    async with asyncio.timeout(PATIENCE_S):
        while not await rows(dsn, f"{waits} AND datname = current_database()"):
            await asyncio.sleep(0.01)


async def test_an_entry_is_committed_before_its_index_is_known(log: AuditLog, dsn: str, make: Any) -> None:
    entry = make(record="42")
    assert await log.append(entry) == 0
    [(index, at, actor, record, status, body, leaf)] = await rows(
        dsn, "SELECT index, at, actor, record, status, body, leaf FROM audit_entry"
    )
    assert (index, at, actor, record, status) == (0, entry.at, "u1", "42", 200)
    assert decode(body)["exchange"] == entry.exchange
    assert leaf == leaf_hash(body)


async def test_commits_wait_for_the_disk_whatever_the_server_says(log: AuditLog) -> None:
    """The test server runs with synchronous_commit off: the session must not."""
    assert isinstance(log._writer, Writer)
    found = await log._writer._connection.execute("SELECT 1")
    await found.fetchone()
    assert log._writer._pgconn.exec_(b"SHOW synchronous_commit").get_value(0, 0) == b"on"


async def test_indices_have_no_gaps_with_many_callers_and_two_workers(log: AuditLog, dsn: str, make: Any) -> None:
    async with AuditLog(dsn) as other:
        total = 3 * BATCH_LIMIT_ENTRIES
        entries = [make() for _ in range(total)]
        indices = await asyncio.gather(*((log, other)[n % 2].append(entry) for n, entry in enumerate(entries)))
        assert other.available
    assert not other.available
    assert sorted(indices) == list(range(total))
    stored = await rows(dsn, "SELECT index, exchange FROM audit_entry ORDER BY index")
    assert dict(stored) == {index: entry.exchange for index, entry in zip(indices, entries, strict=True)}
    assert await rows(dsn, "SELECT size FROM audit_head") == [(total,)]


async def test_one_caller_s_entries_keep_their_order(log: AuditLog, make: Any) -> None:
    futures = [log.submit(make()) for _ in range(50)]
    assert await asyncio.gather(*futures) == list(range(50))
    assert log.backlog == 0


async def test_every_tenant_has_a_log_of_its_own(log: AuditLog, dsn: str, make: Any) -> None:
    indices = await asyncio.gather(*(log.append(make(tenant=tenant)) for tenant in ("a", "b", "a", "c", "b")))
    assert indices == [0, 0, 1, 0, 1]
    assert await rows(dsn, "SELECT tenant, size FROM audit_head ORDER BY 1") == [("a", 2), ("b", 2), ("c", 1)]


async def test_columns_hold_what_was_recorded_not_what_was_handed_over(log: AuditLog, dsn: str, make: Any) -> None:
    """Otherwise a value taken out of the hashed bytes would stay in a column."""
    await log.append(make(record="张伟", actor="a b", fields={"refused": ["zhang@example.org"]}))
    [(text,)] = await rows(dsn, "SELECT audit_entry::text FROM audit_entry")
    assert await rows(dsn, "SELECT record, actor FROM audit_entry") == [("~", "~")]
    assert "张" not in text
    assert b"zhang".hex() not in text


async def test_a_long_entry_fits(log: AuditLog, dsn: str, make: Any) -> None:
    fields = {"written": [f"contact.field{number}" for number in range(3000)]}
    await asyncio.gather(*(log.append(make(fields=fields)) for _ in range(200)))
    assert await rows(dsn, "SELECT count(*), min(length(body)) > 50000 FROM audit_entry") == [(200, True)]


async def test_an_entry_that_is_none_is_refused_to_its_caller_only(log: AuditLog, make: Any) -> None:
    good = log.submit(make())
    with pytest.raises(EntryRefused):
        log.submit(make(fields={"value": "x"}))
    assert await good == 0


async def test_a_caller_that_goes_away_does_not_take_its_entry_with_it(log: AuditLog, dsn: str, make: Any) -> None:
    log.submit(make()).cancel()
    assert await log.append(make()) == 1
    assert await rows(dsn, "SELECT count(*) FROM audit_entry") == [(2,)]


async def test_a_log_not_started_or_closed_takes_nothing(dsn: str, make: Any) -> None:
    log = AuditLog(dsn)
    with pytest.raises(AuditUnavailable) as unavailable:
        log.submit(make())
    assert not unavailable.value.permanent
    await log.start()
    assert log.available
    await log.close()
    assert not log.available
    with pytest.raises(AuditUnavailable):
        log.submit(make())


async def test_closing_writes_what_is_queued(dsn: str, make: Any) -> None:
    log = AuditLog(dsn)
    await log.start()
    futures = [log.submit(make()) for _ in range(BATCH_LIMIT_ENTRIES * 2)]
    await log.close()
    assert [future.result() for future in futures] == list(range(len(futures)))


async def test_no_database_means_no_start(tmp_path: Any) -> None:
    with pytest.raises(AuditUnavailable):
        await AuditLog(make_conninfo(host=str(tmp_path), dbname="crmgate")).start()


async def test_a_database_without_the_tables_means_no_start(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as connection:
        await connection.execute("ALTER TABLE audit_head RENAME TO elsewhere")
    with pytest.raises(AuditUnavailable, match="migrated"):
        await AuditLog(dsn).start()


async def test_what_comes_within_a_few_turns_shares_a_commit(log: AuditLog, make: Any, monkeypatch: Any) -> None:
    sizes: list[int] = []

    def pack(tenant: str, entries: Any, bodies: Any, leaves: Any) -> list[bytes]:
        sizes.append(len(entries))
        return pack_batch(tenant, entries, bodies, leaves)

    monkeypatch.setattr("audit.log.pack_batch", pack)
    futures = []
    for _ in range(5):
        futures.append(log.submit(make()))
        await asyncio.sleep(0)
    assert await asyncio.gather(*futures) == [0, 1, 2, 3, 4]
    assert sizes == [5]


async def test_entries_without_end_do_not_hold_a_batch_back(log: AuditLog, make: Any) -> None:
    futures = [log.submit(make())]
    while not futures[0].done():
        futures.append(log.submit(make()))
        await asyncio.sleep(0)
    await asyncio.gather(*futures)


async def test_a_full_queue_is_told_at_once(dsn: str, make: Any) -> None:
    log = AuditLog(dsn, queue_limit=3)
    await log.start()
    futures = [log.submit(make()) for _ in range(3)]
    with pytest.raises(AuditUnavailable, match="full"):
        log.submit(make())
    assert await asyncio.gather(*futures) == [0, 1, 2]
    assert await log.append(make()) == 3
    await log.close()


async def test_a_commit_that_hangs_fails_everybody_and_the_log_comes_back(
    dsn: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(dsn)
    await log.start()
    await log.append(make())
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
        await connection.execute("SELECT * FROM audit_head FOR UPDATE")
        first = log.submit(make())
        await until_held(dsn)  # it is under way, so that the next one has to queue
        second = log.submit(make())
        loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time
        monkeypatch.setattr(loop, "time", lambda: now() + COMMIT_TIMEOUT_S)
        for future in (first, second):
            with pytest.raises(AuditUnavailable):
                await future
        with pytest.raises(AuditUnavailable):
            log.submit(make())
        await connection.rollback()
    await until(lambda: log.available)
    # The batch under way may have been committed after all: the trail may say more than happened.
    assert await log.append(make()) in (1, 2)
    await log.close()


async def test_a_lost_connection_fails_what_is_under_way_and_is_made_again(log: AuditLog, dsn: str, make: Any) -> None:
    await log.append(make())
    async with await psycopg.AsyncConnection.connect(unwalled(dsn)) as connection:
        await connection.execute("SELECT * FROM audit_head FOR UPDATE")
        waiting = log.submit(make())
        await until_held(dsn)
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crmgate-audit'"
        await rows(dsn, f"{kill} AND datname = current_database()")
        with pytest.raises(AuditUnavailable):
            await waiting
    await until(lambda: log.available)
    assert await log.append(make()) == 1


async def test_an_idle_connection_that_dies_is_replaced_before_anybody_asks(log: AuditLog, dsn: str, make: Any) -> None:
    writer = log._writer
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crmgate-audit'"
    await rows(dsn, f"{kill} AND datname = current_database()")
    await until(lambda: log._writer is not writer and log.available)
    assert await log.append(make()) == 0


GUARD = "ALTER TABLE audit_entry {} TRIGGER USER"


@pytest.mark.parametrize(
    ("loss", "cure"),
    [
        ("DELETE FROM audit_entry WHERE index = 1", "INSERT INTO audit_entry SELECT * FROM kept WHERE index = 1"),
        ("UPDATE audit_head SET size = 1", "UPDATE audit_head SET size = 2"),
        (
            "UPDATE audit_entry SET leaf = decode(repeat('00', 32), 'hex') WHERE index = 1",
            "UPDATE audit_entry SET leaf = (SELECT leaf FROM kept WHERE index = 1) WHERE index = 1",
        ),
    ],
    ids=["deleted", "shorter", "another"],
)
async def test_a_database_that_lost_what_was_acknowledged_is_not_written_on(
    log: AuditLog, dsn: str, make: Any, loss: str, cure: str
) -> None:
    assert [await log.append(make()) for _ in range(2)] == [0, 1]
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crmgate-audit'"
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT * FROM audit_entry")
        await connection.execute(GUARD.format("DISABLE"))
        await connection.execute(loss)
        with structlog.testing.capture_logs() as said:
            await connection.execute(f"{kill} AND datname = current_database()")
            await until(lambda: any(one["event"] == "audit.tail-lost" for one in said))
        assert not log.available
        with pytest.raises(AuditUnavailable):
            log.submit(make())
        await connection.execute(cure)
    await until(lambda: log.available)
    assert await log.append(make()) == 2


async def test_a_batch_the_database_refuses_leaves_no_gap(log: AuditLog, dsn: str, make: Any) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as connection:
        await connection.execute("ALTER TABLE audit_entry ADD CONSTRAINT picky CHECK (reason <> 'bad')")
        with pytest.raises(AuditUnavailable):
            await log.append(make(reason="bad"))
    await until(lambda: log.available)
    assert await log.append(make()) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'x'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_checkpoint SET size = 9",
        "DELETE FROM audit_checkpoint",
        "TRUNCATE audit_checkpoint",
    ],
)
async def test_the_database_itself_refuses_to_change_the_trail(
    log: AuditLog, dsn: str, make: Any, statement: str
) -> None:
    await log.append(make())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await rows(dsn, statement)


def test_an_entry_names_its_type() -> None:
    assert AuditEntry.__slots__ == tuple(sorted(AuditEntry.__slots__)), "declared in the order they are written in"


class Slow:
    """Names persons when it is told to; `fault`: what it raises instead."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.fault: BaseException | None = None

    def at_once(self, entry: AuditEntry) -> AuditEntry | None:
        if self.fault:
            raise self.fault
        return entry if not entry.record or entry.data_subject else None

    async def named(self, entry: AuditEntry) -> AuditEntry:
        await self.may.wait()
        if self.fault:
            raise self.fault
        return replace(entry, record="ds_1", data_subject="ds_1", fields={})


@pytest.fixture
async def slow_log(dsn: str) -> AsyncIterator[tuple[AuditLog, Slow]]:
    naming = Slow()
    opened = AuditLog(dsn, naming=naming, commit_timeout_s=PATIENCE_S)
    await opened.start()
    yield opened, naming
    await opened.close()


async def test_an_entry_waits_for_its_pseudonyms_and_others_do_not(
    slow_log: tuple[AuditLog, Slow], dsn: str, make: Any
) -> None:
    log, naming = slow_log
    first = log.submit(make(record="42"))
    assert await log.append(make(record="")) == 0
    assert (first.done(), log.backlog) == (False, 1)
    naming.may.set()
    assert await first == 1
    assert await rows(dsn, "SELECT record FROM audit_entry ORDER BY index") == [("",), ("ds_1",)]
    assert log.backlog == 0


@pytest.mark.parametrize("fault", [ValueError("Zhang Wei"), KeyError("acme"), None])
async def test_without_pseudonyms_nothing_is_written(
    slow_log: tuple[AuditLog, Slow], dsn: str, make: Any, fault: Exception | None
) -> None:
    log, naming = slow_log
    naming.fault = fault
    if fault is None:
        log._commit_timeout_s = 0.5  # it hangs
    else:
        naming.may.set()
    with pytest.raises(AuditUnavailable) as refused:
        await log.append(make(record="42"))
    assert "Zhang" not in str(refused.value)
    assert await rows(dsn, "SELECT * FROM audit_entry") == []


async def test_an_entry_that_is_none_after_naming_is_refused(slow_log: tuple[AuditLog, Slow], make: Any) -> None:
    log, naming = slow_log
    naming.fault = EntryRefused("no")
    naming.may.set()
    with pytest.raises(EntryRefused):
        await log.append(make(record="42"))


async def test_entries_without_pseudonyms_count_for_the_queue(dsn: str, make: Any) -> None:
    log = AuditLog(dsn, naming=Slow(), commit_timeout_s=0.2, queue_limit=2)
    await log.start()
    waiting = [log.submit(make(record="1")) for _ in range(2)]
    with pytest.raises(AuditUnavailable):
        log.submit(make(record="1"))
    await log.close()
    assert all(isinstance(one.exception(), AuditUnavailable) for one in waiting)


async def test_closing_waits_for_pseudonyms(slow_log: tuple[AuditLog, Slow], make: Any) -> None:
    log, naming = slow_log
    waiting = log.submit(make(record="42"))
    asyncio.get_running_loop().call_later(0.05, naming.may.set)
    await log.close()
    assert await waiting == 0
