"""Questions to a trail most of which is sealed: the same answers as before, and what cannot be read is said."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.answers import Answers, EntryUnread, Tally, ask, places, tally
from audit.archive import Archive, ArchiveUnavailable, NoArchive, SegmentBroken, SegmentGone
from audit.cold.folder import FolderArchive
from audit.cold.pruning import Pruner
from audit.cold.reader import ArchiveReader
from audit.cold.sealing import Sealer
from audit.index_follower import IndexFollower, differing, rebuild
from audit.query import Filters, Tagged, entry_tag, tagged
from audit.question import Question
from audit.sealed import AWAY, BROKEN, GONE, NOWHERE, OVER, SLOW, Budget
from tests.unit.audit.cold.test_pruning import YEARS, Clock, drop_all, prune_all
from tests.unit.audit.cold.test_pruning import archive as archive
from tests.unit.audit.cold.test_pruning import clock as clock
from tests.unit.audit.cold.test_pruning import pruner as pruner
from tests.unit.audit.cold.test_pruning import sealer as sealer
from tests.unit.audit.cold.test_pruning import stored as stored
from tests.unit.audit.conftest import AT

SEVEN = Question(entity="contact", record="7")
QUESTIONS = (
    SEVEN,
    replace(SEVEN, field="phone", form="clear"),
    replace(SEVEN, kind="outcome"),
    replace(SEVEN, kind="reveal"),
    replace(SEVEN, reason="allowed"),
    replace(SEVEN, reason="not-allowed"),
    replace(SEVEN, outcome="refused"),
    replace(SEVEN, outcome="allowed"),
    replace(SEVEN, since=AT + timedelta(seconds=3), until=AT + timedelta(seconds=12)),
    replace(SEVEN, record="5", others=("7",)),
    Question(actor="u2"),
    Question(actor="u1", outcome="refused"),
    Question(entity="contact", field="phone", form="masked"),
)
PLAIN: dict[str, Any] = {"operation": "contact.list", "record": "", "kind": "outcome", "actor_login": "li"}


def shown(*records: str, form: str = "masked") -> dict[str, Any]:
    return {"shown": {"contact.phone": {record: {form: 1} for record in records}}}


async def indexed(pool: Any, archive: Archive = NoArchive()) -> None:  # noqa: B008 - it has no state
    follower = IndexFollower(pool, ["demo"], archive)
    while await follower.step("demo"):
        pass


@pytest.fixture
async def told(log: Any, make: Any, keeper: Any, pool: Any) -> None:
    """Five times four entries, 0 to 19: a list with 7 in it, one without, a refusal, a reveal; signed and indexed."""
    for _ in range(5):
        await log.append(make(**PLAIN, fields=shown("5", "7")))
        await log.append(make(**PLAIN, fields=shown("5")))
        await log.append(make(**{**PLAIN, "record": "7"}, reason="not-allowed", status=403, fields={}))
        reveal = {"kind": "reveal", "record": "7", "actor": "u2", "actor_login": "zhou"}
        await log.append(make(**{**PLAIN, **reveal}, reason="reveal-shown", fields=shown("7", form="clear")))
    await keeper.seal("demo")
    await indexed(pool)


@pytest.fixture
async def gone(told: None, sealer: Sealer, pruner: Pruner) -> None:
    """All of them sealed in segments 0-7, 8-15 and 16-19, and none of them in the database any more."""
    while await sealer.seal("demo"):
        pass
    assert await prune_all(pruner) == 20


async def answered(pool: Any, question: Question, archive: Archive, limit: int = 50, **more: Any) -> Answers:
    async with pool.of("demo") as connection:
        return await ask(connection, "demo", question, limit, archive=archive, **more)


async def counted(pool: Any, question: Question) -> Tally:
    async with pool.of("demo") as connection:
        return await tally(connection, "demo", question)


def lost(found: Answers) -> dict[int, str]:
    return {one.index: one.lost for one in found.answers if one.content is None}


def file_of(stored: FolderArchive, number: int) -> Path:
    path = stored.local(stored.names("demo/event/")[number])
    assert path is not None
    return path


def spoil(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


async def test_every_question_has_the_same_answers_and_counts_after_pruning(
    told: None, pool: Any, sealer: Sealer, pruner: Pruner, archive: ArchiveReader
) -> None:
    before = [(await answered(pool, one, archive), await counted(pool, one)) for one in QUESTIONS]
    while await sealer.seal("demo"):
        pass
    await prune_all(pruner)
    for question, (answers, count) in zip(QUESTIONS, before, strict=True):
        assert answers.answers, question
        after = await answered(pool, question, archive)
        assert [(one.index, one.at, one.content, one.intact) for one in after.answers] == [
            (one.index, one.at, one.content, one.intact) for one in answers.answers
        ]
        assert all(one.sealed and not one.lost for one in after.answers)
        assert (after.misfits, after.unread, after.older) == (0, 0, None)
        assert await counted(pool, question) == count
    assert (await counted(pool, SEVEN)).logins == {"u1": "li", "u2": "zhou"}


async def test_sealed_and_hot_answers_stand_in_one_list(
    gone: None, pool: Any, archive: ArchiveReader, log: Any, make: Any
) -> None:
    await log.append(make(**PLAIN, fields=shown("7")))
    for _ in range(2):
        found = await answered(pool, SEVEN, archive)
        assert [one.index for one in found.answers][:4] == [20, 19, 18, 16]
        assert [one.sealed for one in found.answers][:2] == [False, True]
        await indexed(pool)
    assert (await counted(pool, SEVEN)).entries == 16


@pytest.mark.parametrize("budget", [Budget(), Budget(segments=1)])
async def test_pages_hold_each_answer_once_and_say_when_they_are_short(
    gone: None, pool: Any, archive: ArchiveReader, budget: Budget
) -> None:
    found, cut, before = [], 0, None
    while True:
        page = await answered(pool, SEVEN, archive, 4, before=before, budget=budget)
        found += [one.index for one in page.answers]
        cut += page.cut
        if page.older is None:
            break
        before = page.older
    assert found == [one for one in range(19, -1, -1) if one % 4 != 1]
    assert bool(cut) == (budget.segments == 1)


async def test_a_file_that_is_gone_or_changed_is_told_where_its_answers_stand(
    gone: None, pool: Any, archive: ArchiveReader, stored: FolderArchive
) -> None:
    spoil(file_of(stored, 0))
    file_of(stored, 1).unlink()
    found = await answered(pool, Question(actor="u2"), archive)
    assert lost(found) == {3: BROKEN, 7: BROKEN, 11: GONE, 15: GONE}
    assert [one.index for one in found.answers] == [19, 15, 11, 7, 3]
    async with pool.of("demo") as connection:
        with pytest.raises(EntryUnread, match="cannot be read: gone"):
            await places(connection, "demo", Question(actor="u2"), 50, archive)


class Faulty:
    """An archive one part of which does what it is told."""

    def __init__(self, archive: ArchiveReader, picked: Callable[..., Any]) -> None:
        self._archive, self.picked = archive, picked
        self.spans, self.bodies = archive.spans, archive.bodies


async def test_an_archive_that_does_not_answer_is_asked_once(gone: None, pool: Any, archive: ArchiveReader) -> None:
    asked = []

    async def away(_tenant: str, span: Any, _indexes: Any) -> dict[int, bytes]:
        asked.append(span.first)
        raise ArchiveUnavailable

    away_archive: Any = Faulty(archive, away)
    found = await answered(pool, Question(actor="u2"), away_archive)
    assert lost(found) == dict.fromkeys((3, 7, 11, 15, 19), AWAY)
    assert (asked, found.older) == ([16], None)


async def test_an_archive_that_hangs_ends_the_page_where_it_hangs(
    gone: None, pool: Any, archive: ArchiveReader
) -> None:
    never, spans = asyncio.Event(), await archive.spans("demo")
    bodies = dict(enumerate(await archive.bodies("demo", 0, 20)))

    async def hanging(_tenant: str, span: Any, indexes: Any) -> dict[int, bytes]:
        if span.first < 16:
            await never.wait()
        return {index: bodies[index] for index in indexes}

    async def known(_tenant: str) -> Any:
        return spans

    slow: Any = Faulty(archive, hanging)
    slow.spans = known  # so that nothing but the one file takes time
    found = await answered(pool, Question(actor="u2"), slow, budget=Budget(seconds=0.2))
    assert ([one.index for one in found.answers], found.cut, lost(found)) == ([19], True, {})
    # On the next page nothing else is there, so it is said.
    found = await answered(pool, Question(actor="u2"), slow, before=found.older, budget=Budget(seconds=0.01))
    assert (lost(found), found.cut) == ({15: SLOW, 11: SLOW}, True)
    never.set()
    found = await answered(pool, Question(actor="u2"), slow, before=found.older)
    assert ([one.index for one in found.answers], lost(found), found.older) == ([7, 3], {}, None)


async def test_without_its_archive_a_pruned_trail_says_so(gone: None, pool: Any) -> None:
    assert set(lost(await answered(pool, SEVEN, NoArchive())).values()) == {NOWHERE}


async def test_a_forged_index_shows_nothing_that_sealed_bytes_do_not_say(
    gone: None, pool: Any, archive: ArchiveReader
) -> None:
    async with pool.of("demo") as connection:
        await connection.execute(
            "UPDATE audit_posting SET term = 'r:contact/7' WHERE index = 1 AND term = 'o:contact.list'"
        )
    found = await answered(pool, SEVEN, archive)
    assert (1 in [one.index for one in found.answers], found.misfits) == (False, 1)


async def terms(pool: Any) -> set[tuple[Any, ...]]:
    async with pool.of("demo") as connection:
        found = await connection.execute("SELECT term, at, index, shown FROM audit_posting")
        return set(await found.fetchall())


async def test_the_index_is_made_anew_from_the_archive_too(
    gone: None, pool: Any, archive: ArchiveReader, log: Any, make: Any
) -> None:
    await log.append(make(**PLAIN, fields=shown("7")))
    await indexed(pool)
    before = await terms(pool)
    async with pool.of("demo") as connection:
        await connection.execute("DELETE FROM audit_posting WHERE index IN (3, 20)")
        assert await differing(connection, "demo", archive) == (21, [3, 20])
        assert await rebuild(connection, "demo", archive) == 21
        assert await differing(connection, "demo", archive) == (21, [])
    assert await terms(pool) == before


async def test_an_index_that_cannot_be_made_anew_stays_as_it_was(
    gone: None, pool: Any, archive: ArchiveReader, stored: FolderArchive
) -> None:
    before = await terms(pool)
    file_of(stored, 1).unlink()
    with pytest.raises(SegmentGone):
        async with pool.of("demo") as connection:
            await rebuild(connection, "demo", archive)
    assert await terms(pool) == before
    spoil(file_of(stored, 0))
    with pytest.raises(SegmentBroken):
        async with pool.of("demo") as connection:
            await differing(connection, "demo", archive)


async def test_terms_go_with_the_segment_whose_retention_is_over(
    gone: None, pool: Any, archive: ArchiveReader, pruner: Pruner, clock: Clock
) -> None:
    before = await terms(pool)
    clock.at = AT + YEARS
    over, _ = await pruner.droppable("demo")
    assert over is not None
    await pruner.drop("demo", over)
    kept = await terms(pool)
    assert kept == {one for one in before if one[2] >= 8}
    async with pool.of("demo") as connection:
        assert await rebuild(connection, "demo", archive) == 20
        assert await differing(connection, "demo", archive) == (20, [])
    assert await terms(pool) == kept
    assert await drop_all(pruner) == [8, 16]
    assert await terms(pool) == set()
    async with pool.of("demo") as connection:
        assert await rebuild(connection, "demo", archive) == 20


async def test_a_term_that_outlived_its_segment_is_told_as_that(
    gone: None, pool: Any, archive: ArchiveReader, pruner: Pruner, clock: Clock
) -> None:
    clock.at = AT + YEARS
    await drop_all(pruner)
    async with pool.of("demo") as connection:
        await connection.execute("INSERT INTO audit_posting VALUES ('demo', 'u:u2', %s, 3, '')", (AT,))
        assert await places(connection, "demo", Question(actor="u2"), 50, archive) == []
    assert lost(await answered(pool, Question(actor="u2"), archive)) == {3: OVER}


async def test_an_index_of_older_terms_is_made_anew_from_the_archive_and_says_that_it_is_not_done(
    gone: None, pool: Any, archive: ArchiveReader
) -> None:
    before = await terms(pool)
    async with pool.of("demo") as connection:
        await connection.execute("UPDATE audit_indexed SET format = 1")
    assert (await answered(pool, SEVEN, archive)).unread == 20
    await indexed(pool, archive)
    assert await terms(pool) == before
    assert (await answered(pool, SEVEN, archive)).unread == 0


async def listed(pool: Any, archive: Archive, limit: int = 50, pattern: str = "", **filters: Any) -> Tagged:
    return await tagged(pool, "demo", limit, Filters(**filters), pattern, archive=archive)


async def test_a_list_goes_on_in_the_archive(
    gone: None, pool: Any, archive: ArchiveReader, log: Any, make: Any, stored: FolderArchive
) -> None:
    await log.append(make(**PLAIN, fields=shown("7")))
    found = await listed(pool, archive)
    assert [one.index for one in found.entries] == list(range(20, -1, -1))
    assert (found.further, found.lost) == (None, {})
    assert [one.index for one in (await listed(pool, archive, actor="u2")).entries] == [19, 15, 11, 7, 3]
    reveals = entry_tag(found.entries[1])
    assert [one.index for one in (await listed(pool, archive, pattern=reveals)).entries] == [19, 15, 11, 7, 3]
    assert [one.index for one in (await listed(pool, archive, 3, actor="u2")).entries] == [19, 15, 11]
    since, until = AT + timedelta(seconds=3), AT + timedelta(seconds=12)
    assert [one.index for one in (await listed(pool, archive, actor="u2", since=since, until=until)).entries] == [
        11,
        7,
        3,
    ]
    page = await tagged(pool, "demo", 2, Filters(actor="u2"), "", before=15, archive=archive)
    assert [one.index for one in page.entries] == [11, 7]
    spoil(file_of(stored, 0))
    file_of(stored, 1).unlink()
    found = await listed(pool, archive, actor="u2")
    assert [one.index for one in found.entries] == [19]
    assert {span.first: why for span, why in found.lost.items()} == {8: GONE, 0: BROKEN}
    found = await listed(pool, NoArchive())
    assert ([one.index for one in found.entries], found.further) == ([20], 20)
