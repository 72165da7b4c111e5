"""Statements over real rows of PostgreSQL and real Parquet files, in the process that runs them."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from audit.sql.answer import QueryFailed
from audit.sql.engine_store import Room
from audit.sql.refused import StatementRefused
from audit.tree import leaf_hash
from tests.conftest import unwalled
from tests.unit.audit.sql.conftest import AT, NOW, SMALL, Trails, entry, seal


async def test_every_entry_of_both_parts_is_there_once(trails: Trails) -> None:
    assert await trails.rows('SELECT "index" FROM event ORDER BY 1') == [(number,) for number in range(30)]
    assert await trails.rows("SELECT count(*), count(DISTINCT index) FROM sight") == [(60, 30)]


async def test_entries_that_are_only_sealed_are_there_once_too(trails: Trails, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as connection:
        await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_append_only")
        await connection.execute("DELETE FROM audit_entry WHERE tenant = 'a' AND index < 15")
    assert await trails.rows("SELECT count(*), min(index), max(index) FROM event") == [(30, 0, 29)]


async def test_entries_in_neither_part_are_said_to_be_missing(trails: Trails, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as connection:
        await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_append_only")
        await connection.execute("DELETE FROM audit_entry WHERE tenant = 'a' AND index < 23")
    with pytest.raises(QueryFailed) as failed:
        await trails.ask("SELECT count(*) FROM event")
    assert (failed.value.reason, failed.value.first, failed.value.last) == ("gap", 20, 22)


async def test_who_saw_the_phone_of_a_customer(trails: Trails) -> None:
    found = await trails.rows(
        "SELECT DISTINCT actor_login FROM sight WHERE record = 'a-r3' AND field = 'phone' AND form = 'clear'"
        " AND at >= now() - INTERVAL 2 YEAR ORDER BY 1"
    )
    wanted = {one.actor_login for one in trails.entries["a"] if one.record == "a-r3" and int(one.id[3:]) % 2}
    assert found == [(login,) for login in sorted(wanted)]
    since, until = trails.archive.asked[-1]
    assert (since, until) == (datetime(2024, 11, 27, 12, tzinfo=UTC), None)


@pytest.mark.parametrize(
    "condition",
    [
        "record = 'a-r3'",
        "record IN ('a-r3', 'a-r5')",
        "'a-r3' = record AND field = 'email'",
        "entity = 'contact' AND field = 'phone'",
        "record = ''",
        "record = 'a\"r3'",
        "record >= 'a-r3'",
        "index BETWEEN 18 AND 22",
        "at > '2026-03-04 00:18:00' AND at < TIMESTAMP '2026-03-04 00:25:00'",
        "at = TIMESTAMPTZ '2026-03-04 08:21:00+08'",
        "at >= DATE '2026-03-05'",
        "actor = 'a-u1' OR record = 'a-r2'",
        "NOT (record = 'a-r3')",
        "(actor = 'a-u1' AND (index < 25))",
    ],
)
async def test_what_is_narrowed_down_is_what_would_be_found_among_all(trails: Trails, condition: str) -> None:
    narrow = await trails.rows(f"SELECT index, field, record, form FROM sight WHERE {condition} ORDER BY ALL")
    # The same condition where nothing can be taken from it.
    wide = await trails.rows(
        f"SELECT index, field, record, form FROM (SELECT * FROM sight) t WHERE {condition} ORDER BY ALL"
    )
    assert narrow == wide


async def test_joins_of_every_kind_give_what_they_would_over_all_rows(trails: Trails) -> None:
    for side in ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"):
        where = "e.record = 'a-r3'" if "RIGHT" not in side else "s.record = 'a-r3'"
        shown = "e.index" if "RIGHT" not in side else "s.index"
        tables = f"event e {side} {{}} s ON e.index = s.index AND s.form = 'clear'"
        narrow = await trails.rows(f"SELECT {shown} FROM {tables.format('sight')} WHERE {where} ORDER BY 1")
        wide = await trails.rows(
            f"SELECT {shown} FROM {tables.format('(SELECT * FROM sight)')} WHERE {where} ORDER BY 1"
        )
        assert narrow == wide, side


async def test_a_name_in_the_list_of_results_does_not_narrow_the_wrong_column(trails: Trails) -> None:
    assert await trails.rows("SELECT actor AS record FROM event WHERE record = 'a-r3' AND index = 24") == [("a-u0",)]


async def test_leaf_and_body_are_those_of_the_log_in_both_parts(trails: Trails) -> None:
    found = await trails.rows("SELECT index, body, leaf FROM event WHERE index IN (3, 27) ORDER BY 1")
    assert [row[0] for row in found] == [3, 27]
    assert all(row[2] == leaf_hash(row[1]) for row in found)


async def test_the_usual_means_of_a_query_work(trails: Trails) -> None:
    statement = """
    WITH seen AS (
        SELECT actor, date_trunc('hour', at) AS hour, count(*) FILTER (WHERE form = 'clear') AS clear FROM sight
        GROUP BY ALL
    ), ranked AS (SELECT *, row_number() OVER (PARTITION BY hour ORDER BY clear DESC, actor) AS place FROM seen)
    SELECT actor, CASE WHEN clear > 0 THEN 'yes' ELSE 'no' END AS any_clear FROM ranked WHERE place = 1
    UNION ALL SELECT string_agg(DISTINCT reason, '+' ORDER BY reason), 'reasons' FROM event
    """
    assert await trails.rows(statement) == [("a-u0", "yes"), ("allowed+field-hidden", "reasons")]


async def test_rows_stop_at_the_usual_limit_and_it_is_said(trails: Trails) -> None:
    answer = await trails.ask("SELECT a.index FROM sight a, sight b")
    assert (answer.table.num_rows, answer.more, answer.limit) == (200, True, 200)
    answer = await trails.ask("SELECT a.index FROM sight a, sight b LIMIT 1500")
    assert (answer.table.num_rows, answer.more) == (1500, False)


async def test_a_statement_is_on_record_before_anything_is_read(trails: Trails) -> None:
    async def refuse(_asked: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await trails.ask("SELECT * FROM event", record=refuse)
    assert trails.archive.asked == []
    await trails.ask("SELECT actor AS 张三 FROM event WHERE record = '13912345678' AND status > 300")
    assert trails.recorded[-1].tables == ("event",)
    assert " ".join(trails.recorded[-1].shape) == "select actor as n1 from event where record = ? and status gt ?"


async def test_a_refused_statement_reads_and_logs_nothing(trails: Trails, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StatementRefused) as refused:
        await trails.ask("SELECT getenv('Zhang San')")
    assert (refused.value.reason, refused.value.word, refused.value.place.column) == ("unknown-function", "getenv", 8)
    assert "Zhang" not in str(refused.value) + caplog.text
    assert trails.archive.asked == []
    assert trails.recorded == []


LONG = "SELECT count(*) FROM sight a, sight b, sight c, sight d, sight e, sight f WHERE a.index + f.index > b.index"


async def test_a_long_statement_tells_how_far_it_is_and_ends_when_its_task_is_cancelled(trails: Trails) -> None:
    steps: list[str] = []
    running = asyncio.Event()

    def tell(step: str, part: float) -> None:
        steps.append(step)
        assert 0 <= part <= 1
        if step == "run":
            running.set()

    task = asyncio.create_task(trails.ask(LONG, tell=tell))
    await asyncio.wait_for(running.wait(), 120)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {"load", "run"} <= set(steps)


async def test_a_statement_that_takes_too_long_is_stopped(trails: Trails) -> None:
    with pytest.raises(QueryFailed) as failed:
        await trails.ask(LONG, limits=replace(SMALL, seconds=0.5))
    assert failed.value.reason == "time"


async def test_a_statement_that_needs_too_much_memory_says_so(trails: Trails) -> None:
    statement = (
        "SELECT count(*) FROM (SELECT DISTINCT a.index, b.index, c.index, d.index, a.at, b.at"
        " FROM sight a, sight b, sight c, sight d)"
    )
    with pytest.raises(QueryFailed) as failed:
        await trails.ask(statement, limits=replace(SMALL, room=Room(memory_mb=60, threads=1)))
    assert failed.value.reason == "memory"


async def test_what_the_engine_says_comes_back_to_who_asked_and_is_no_part_of_the_fault(trails: Trails) -> None:
    with pytest.raises(QueryFailed) as failed:
        await trails.ask("SELECT CAST(actor AS INT) FROM event")
    assert failed.value.reason == "engine"
    assert "a-u" in failed.value.told
    assert str(failed.value) == "engine"


async def test_a_database_that_is_away_is_said_to_be(trails: Trails) -> None:
    trails.dsn = "host=/nowhere dbname=x"
    with pytest.raises(QueryFailed) as failed:
        await trails.ask("SELECT 1 AS one FROM event")
    assert failed.value.reason == "database"
    assert not failed.value.permanent


async def test_a_changed_entry_in_the_database_is_not_answered_from(trails: Trails, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as connection:
        await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_append_only")
        await connection.execute("UPDATE audit_entry SET body = 'x' WHERE tenant = 'a' AND index = 25")
    with pytest.raises(QueryFailed) as failed:
        await trails.ask("SELECT count(*) FROM event")
    assert (failed.value.reason, failed.value.first) == ("entry-altered", 25)


async def test_a_segment_of_somebody_else_is_refused(trails: Trails) -> None:
    trails.archive.held["a"] = trails.archive.held["b"]
    with pytest.raises(QueryFailed) as failed:
        await trails.ask("SELECT count(*) FROM event")
    assert failed.value.reason == "segment-altered"


async def test_segments_that_hold_the_same_entries_are_refused(trails: Trails, tmp_path: Path) -> None:
    trails.archive.held["a"].append(seal(tmp_path / "twice", "a", trails.entries["a"][15:25], 15))
    with pytest.raises(QueryFailed) as failed:
        await trails.ask("SELECT count(*) FROM event")
    assert (failed.value.reason, failed.value.first) == ("segment-altered", 15)


async def test_only_the_segments_of_the_time_asked_for_are_opened(trails: Trails) -> None:
    first = trails.archive.held["a"][0]
    first.event_file.unlink()
    later = (AT + timedelta(minutes=12)).isoformat()
    assert await trails.rows(f"SELECT count(*) FROM event WHERE at >= '{later}'") == [(18,)]


async def test_entries_written_while_nobody_asks_are_there_the_next_time(trails: Trails, log: object) -> None:
    await log.append(entry("a", 30))  # type: ignore[attr-defined]
    assert await trails.rows("SELECT max(index) FROM event WHERE at <= now()") == [(30,)]
    assert NOW > AT


async def test_a_person_is_asked_for_by_number_and_on_record_by_pseudonym(trails: Trails) -> None:
    async def persons(asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return {one: [f"a-r{one[-1]}", "ds_" + "x" * 22] for one in asked}

    found = await trails.rows("SELECT index FROM event WHERE record = person('contact/3') ORDER BY 1", persons=persons)
    assert found == [(number,) for number in range(30) if number % 7 == 3]
    assert trails.recorded[-1].persons == ("contact.a-r3", "contact.ds_" + "x" * 22)
    assert "contact/3" not in " ".join(trails.recorded[-1].shape)


async def test_nothing_is_read_for_a_person_nobody_can_name(trails: Trails) -> None:
    async def away(_asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
        raise QueryFailed("keys")

    statement = "SELECT index FROM event WHERE record = person('contact/3')"
    with pytest.raises(QueryFailed, match="keys"):
        await trails.ask(statement, persons=away)
    with pytest.raises(StatementRefused) as refused:
        await trails.ask(statement)
    assert (refused.value.reason, refused.value.word) == ("unknown-person", "contact/3")
    assert trails.recorded == []
    assert trails.archive.asked == []
