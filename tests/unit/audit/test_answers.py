"""Questions to the trail: index and newest entries answer together; nothing is shown that its bytes do not say."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from audit import index_store
from audit.answers import Answers, NothingToLookUp, ask, places, tally
from audit.index_follower import IndexFollower, differing, rebuild
from audit.log import AuditLog
from audit.question import Question, seen
from kms.connections import Pool
from tests.conftest import unwalled
from tests.unit.audit.conftest import AT

SEVEN = Question(entity="contact", record="7")


def shown(*records: str, field: str = "phone", form: str = "masked") -> dict[str, Any]:
    return {"shown": {f"contact.{field}": {record: {form: 1} for record in records}}}


@pytest.fixture
async def told(log: AuditLog, make: Any) -> None:
    """Lists that name customer 7 only inside, a detail page, a change, a refusal, a reveal, another tenant's."""
    plain: dict[str, Any] = {"operation": "contact.list", "record": "", "kind": "outcome", "actor": "u1"}
    await log.append(make(**plain, fields=shown("5", "6", "7")))
    await log.append(make(**plain, fields=shown("5", "6")))
    await log.append(make(**{**plain, "actor": "u2", "record": "7"}, fields=shown("7", field="email", form="clear")))
    await log.append(make(**{**plain, "record": "7"}, fields={"written": ["contact.phone"]}))
    await log.append(make(**{**plain, "record": "7"}, reason="not-allowed", status=403, client="192.0.2.9", fields={}))
    reveal = {**plain, "kind": "reveal", "operation": "crm.reveal", "actor": "u2", "record": "7"}
    await log.append(make(**reveal, reason="reveal-shown", fields=shown("7", form="clear")))
    await log.append(make(**plain, fields=shown("7"), tenant="other"))


async def index(pool: Pool, tenant: str = "demo") -> None:
    follower = IndexFollower(pool, [tenant])
    while await follower.step(tenant):
        pass
    assert follower.states[tenant].behind == 0


async def answered(pool: Pool, question: Question, limit: int = 50, **more: Any) -> Answers:
    async with pool.of("demo") as connection:
        return await ask(connection, "demo", question, limit, **more)


def indexes(found: Answers) -> list[int]:
    return [one.index for one in found.answers]


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("question", "found"),
    [
        (SEVEN, [5, 4, 3, 2, 0]),
        (replace(SEVEN, field="phone"), [5, 3, 0]),
        (replace(SEVEN, field="phone", form="clear"), [5]),
        (replace(SEVEN, field="phone,email"), [5, 3, 2, 0]),
        (replace(SEVEN, field="phone,email", form="clear"), [5, 2]),
        (replace(SEVEN, form="clear"), [5, 2]),
        (replace(SEVEN, form="written"), [3]),
        (replace(SEVEN, actor="u2"), [5, 2]),
        (replace(SEVEN, actor="u2", kind="outcome"), [2]),
        (replace(SEVEN, kind="reveal"), [5]),
        (replace(SEVEN, outcome="refused"), [4]),
        (replace(SEVEN, outcome="allowed"), [5, 3, 2, 0]),
        (replace(SEVEN, reason="not-allowed"), [4]),
        (replace(SEVEN, reason="allowed", actor="u2"), [2]),
        (replace(SEVEN, client="192.0.2.9"), [4]),
        (replace(SEVEN, operation="crm.reveal"), [5]),
        (replace(SEVEN, since=AT + timedelta(seconds=3)), [5, 4, 3]),
        (replace(SEVEN, until=AT + timedelta(seconds=3)), [2, 0]),
        (Question(entity="contact", field="phone"), [5, 3, 1, 0]),
        (Question(entity="contact", field="email", form="clear"), [2]),
        (Question(actor="u2"), [5, 2]),
        (Question(form="clear"), [5, 2]),
        (replace(SEVEN, record="8"), []),
        (replace(SEVEN, record="8", others=("7",)), [5, 4, 3, 2, 0]),
        (replace(SEVEN, record="5", others=("7",)), [5, 4, 3, 2, 1, 0]),
        (replace(SEVEN, record="5", others=("7",), form="clear"), [5, 2]),
        (replace(SEVEN, record="5", others=("7",), field="phone"), [5, 3, 1, 0]),
        (Question(entity="contact", record="7' OR 1=1"), []),
    ],
)
async def test_each_question_finds_what_fits_indexed_or_not(told, pool, indexed, question, found) -> None:
    if indexed:
        await index(pool)
    answers = await answered(pool, question)
    assert indexes(answers) == found
    assert (answers.reached, answers.read) == ((6, 0) if indexed else (0, 6))
    assert (answers.unread, answers.misfits, answers.older) == (0, 0, None)
    assert all(one.intact for one in answers.answers)


async def test_what_came_after_the_index_is_read_from_the_trail(told, pool, log, make) -> None:
    await index(pool)
    await log.append(make(record="7", actor="u3", fields=shown("7")))
    answers = await answered(pool, SEVEN)
    assert indexes(answers) == [6, 5, 4, 3, 2, 0]
    assert (answers.reached, answers.read) == (6, 1)


async def test_pages_hold_everything_once_and_in_order_while_the_index_grows(told, pool, log, make) -> None:
    await index(pool)
    for _ in range(7):
        await log.append(make(record="7", fields=shown("7")))
    found, before = [], None
    while True:
        page = await answered(pool, SEVEN, 2, before=before)
        found += indexes(page)
        if page.older is None:
            break
        before = page.older
        await index(pool)
    assert found == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 0]


async def test_a_question_that_names_nothing_is_not_answered_with_everything(told, pool) -> None:
    for question in (Question(), Question(outcome="refused"), Question(entity="contact"), Question(record="7")):
        async with pool.of("demo") as connection:
            for one in (ask(connection, "demo", question, 50), tally(connection, "demo", question)):
                with pytest.raises(NothingToLookUp):
                    await one


async def test_one_tenants_index_is_not_anothers(told, pool) -> None:
    for tenant in ("demo", "other"):
        await index(pool, tenant)
    async with pool.of("other") as connection:
        assert indexes(await ask(connection, "other", SEVEN, 50)) == [0]
        assert indexes(await ask(connection, "demo", SEVEN, 50)) == []


async def test_counts_say_who_when_and_in_which_form(told, pool) -> None:
    await index(pool)
    async with pool.of("demo") as connection:
        counted = await tally(connection, "demo", SEVEN)
    assert (counted.entries, counted.whole) == (5, True)
    assert counted.days == {AT.date(): 5}
    assert counted.actors == {"u1": 3, "u2": 2}
    assert counted.forms == {"masked": 1, "clear": 2, "written": 1}


async def test_an_index_that_was_forged_shows_nothing_that_the_bytes_do_not_say(told, pool, dsn) -> None:
    await index(pool)
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as db:
        await db.execute("UPDATE audit_posting SET term = 'r:contact/7' WHERE index = 1 AND term = 'r:contact/6'")
        await db.execute("DELETE FROM audit_posting WHERE index = 2 AND term = 'r:contact/7'")
    answers = await answered(pool, SEVEN)
    assert indexes(answers) == [5, 4, 3, 0]
    assert answers.misfits == 1
    async with pool.of("demo") as connection:
        assert await differing(connection, "demo") == (6, [1, 2])
        assert await rebuild(connection, "demo") == 6
    async with pool.of("demo") as connection:
        assert await differing(connection, "demo") == (6, [])
    assert indexes(await answered(pool, SEVEN)) == [5, 4, 3, 2, 0]


async def test_entries_that_were_changed_or_removed_are_shown_as_that(told, pool, tamper) -> None:
    await index(pool)
    await tamper(
        "UPDATE audit_entry SET body = replace(convert_from(body, 'UTF8'), 'u2', 'u9')::bytea WHERE index = 5",
        "UPDATE audit_entry SET body = '{}' WHERE index = 4",
        "DELETE FROM audit_entry WHERE index = 2",
    )
    answers = await answered(pool, SEVEN)
    told_of = {one.index: (one.content is not None, one.intact) for one in answers.answers}
    assert told_of == {5: (True, False), 4: (False, False), 3: (True, True), 2: (False, False), 0: (True, True)}


async def test_an_index_of_older_terms_is_made_anew(told, pool) -> None:
    async with pool.of("demo") as connection:
        await index_store.add(connection, "demo", [index_store.Posting("r:contact/7", AT, 1, "")], 6)
        await connection.execute("UPDATE audit_indexed SET format = 0")
    await index(pool)
    assert indexes(await answered(pool, SEVEN)) == [5, 4, 3, 2, 0]
    async with pool.of("demo") as connection:
        assert await differing(connection, "demo") == (6, [])


async def test_places_for_a_pack_are_in_order_and_bounded(told, pool) -> None:
    await index(pool)
    async with pool.of("demo") as connection:
        assert await places(connection, "demo", SEVEN, 10) == [0, 2, 3, 4, 5]
        assert len(await places(connection, "demo", SEVEN, 2)) == 3


async def test_parts_of_a_batch_and_named_records_are_found(log, pool, make) -> None:
    parts = ["contact.update:contact.42:contact.43", "x"]
    await log.append(make(operation="batch", entity="", record="", fields={"parts": parts}))
    await log.append(make(entity="", record="", fields={"records": ["contact.42"]}))
    await index(pool)
    assert indexes(await answered(pool, replace(SEVEN, record="42"))) == [1, 0]
    assert indexes(await answered(pool, replace(SEVEN, record="43"))) == [0]


async def test_the_follower_runs_says_how_far_it_is_and_survives_a_fault(told, pool, dsn) -> None:
    async with await psycopg.AsyncConnection.connect(unwalled(dsn), autocommit=True) as db:
        await db.execute("ALTER TABLE audit_posting RENAME TO hidden")
        follower = IndexFollower(pool, ["demo"], look_s=0.01, break_s=0.01)
        await follower.start()
        state = follower.states["demo"]
        while not state.fault:
            await db.execute("SELECT pg_sleep(0.01)")
        await db.execute("ALTER TABLE hidden RENAME TO audit_posting")
        while state.fault:
            await db.execute("SELECT pg_sleep(0.01)")
        await follower.close()
    assert (await answered(pool, SEVEN)).reached == 6


async def test_what_was_seen_is_of_the_record_and_field_in_question(told, pool) -> None:
    answers = await answered(pool, SEVEN)
    content = answers.answers[-1].content
    assert content is not None
    assert seen(SEVEN, content) == [("7", "phone", "masked", 1)]
    assert seen(Question(entity="contact", field="phone"), content) == [("", "phone", "masked", 3)]
    assert seen(Question(actor="u1"), content) == [("", "contact.phone", "masked", 3)]
