"""Learning in the serving process: nothing while nobody learns, bounded while somebody does, counted when it drifts."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.exchange import Exchange, Head
from gateway.learn.desk import AnswerUnknown, Desk, NothingLearnt
from gateway.learn.learner import MOST_WAITING, Learner
from gateway.learn.standin import standin_of
from gateway.learn.store import LearnStore, RunUnderWay
from kms.store import StoreUnavailable
from kms.surrogate import SHAPES
from policies.operation import UNMATCHED_READ, UNMATCHED_WRITE
from policies.profile import load_profile
from tests.unit.gateway.learn.imagined import FORM, HTML

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LATER = timedelta(minutes=10)


@pytest.fixture
def store(pool: Pool) -> LearnStore:
    return LearnStore(pool)


def learner(store: LearnStore, profile: str = "generic", clock: Callable[[], datetime] = lambda: NOW) -> Learner:
    loaded = load_profile(profile)
    return Learner(store, lambda _: standin_of(SHAPES), lambda _: loaded, clock, "p1")


def exchange(path: str = "/people/add", method: str = "POST", operation: Any = None) -> Exchange:
    head = Head(method, path, path, "", "h", (), has_body=True, content_length=1)
    return Exchange("x1", NOW, head, tenant="main", operation=operation)


def note(made: Learner, body: bytes = b"last_name=Dupont&phone=13800138000") -> None:
    made.note(exchange(), "/people/add", FORM, body, 302, [("location", "/people/4")], b"")


async def looked(made: Learner) -> None:
    """What is waiting has been looked at and written."""
    await made._work()
    await made._write()
    await made._follow()


class TestWatching:
    async def test_nothing_is_kept_while_nobody_learns(self, store: LearnStore) -> None:
        made = learner(store)
        await made._follow()
        note(made)
        await looked(made)
        assert not made.watched
        assert await store.latest("main") is None

    async def test_what_passes_during_a_run_is_in_its_evidence_and_no_value_in_the_database(
        self, store: LearnStore, pool: Pool
    ) -> None:
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        made = learner(store)
        await made._follow()
        note(made)
        await looked(made)
        evidence = await store.evidence("main", "l1")
        assert evidence.exchanges == 1
        assert evidence.places[("form", "POST /people/add", "phone")].kinds == {"phone": 1}
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT learn_evidence::text FROM learn_evidence")
            text = str(await cursor.fetchall())
        assert "people/add" in text
        assert "Dupont" not in text
        assert "13800138000" not in text

    async def test_a_run_ends_by_itself_and_its_key_with_it(self, store: LearnStore) -> None:
        now = [NOW]
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        made = learner(store, clock=lambda: now[0])
        await made._follow()
        assert "main" in made.watched
        now[0] = NOW + LATER
        await made._follow()
        assert not made.watched

    async def test_stopping_ends_it_and_what_was_seen_stays(self, store: LearnStore) -> None:
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        made = learner(store)
        await made._follow()
        note(made)
        assert await store.stop("main", NOW)
        await looked(made)
        assert not made.watched
        assert (await store.evidence("main", "l1")).exchanges == 1

    async def test_too_much_at_once_is_dropped_and_counted(self, store: LearnStore) -> None:
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        made = learner(store)
        await made._follow()
        for _ in range(MOST_WAITING + 7):
            note(made)
        await looked(made)
        evidence = await store.evidence("main", "l1")
        assert (evidence.exchanges, evidence.dropped) == (MOST_WAITING, 7)

    async def test_bodies_that_are_too_big_together_are_dropped(self, store: LearnStore) -> None:
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        made = learner(store)
        await made._follow()
        for _ in range(3):
            note(made, b"a=" + b"x" * 20_000_000)
        assert made.watched["main"][1].evidence.dropped == 1

    async def test_an_answer_nobody_can_read_spoils_nothing(self, store: LearnStore) -> None:
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        made = learner(store)
        await made._follow()
        made.note(exchange(), "/people/add", FORM, b"\xff\xfe%%%", 302, [("content-type", "text/html")], b"\x00<\xff")
        note(made)
        await looked(made)
        assert (await store.evidence("main", "l1")).exchanges == 2

    async def test_a_store_that_is_away_leaves_the_runs_as_they_were(self, store: LearnStore) -> None:
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        made = learner(store)
        await made._follow()

        async def away(_now: datetime) -> dict[str, str]:
            raise StoreUnavailable

        store.watching = away  # type: ignore[method-assign]
        await made._follow()
        assert "main" in made.watched

    async def test_the_background_takes_up_a_run_by_itself(self, store: LearnStore) -> None:
        made = learner(store)
        await made.start()
        await store.start("main", "l1", NOW, NOW + LATER, "test")
        async with asyncio.timeout(60):
            while "main" not in made.watched:
                await asyncio.sleep(0.05)
        note(made)
        await made.close()
        assert (await store.evidence("main", "l1")).exchanges == 1


class TestDrift:
    async def test_unmatched_endpoints_are_counted_by_template(self, store: LearnStore) -> None:
        made = learner(store, "creme")
        for number in (3, 4):
            read = exchange(f"/newmodule/person/{number}", "GET", UNMATCHED_READ)
            made.note(read, read.head.path, "", b"", 200, list(HTML), b"")
        made.refused(exchange("/newmodule/person/edit/5", "POST", UNMATCHED_WRITE))
        await looked(made)
        found = {(one.sort, one.place): one.times for one in await store.drift("main")}
        assert found == {
            ("endpoint", "GET /newmodule/person/{n}"): 2,
            ("endpoint", "POST /newmodule/person/edit/{n}"): 1,
        }

    async def test_a_name_in_a_path_is_not_kept(self, store: LearnStore) -> None:
        made = learner(store, "creme")
        made.refused(exchange("/persons/zhang-wei/edit", "POST", UNMATCHED_WRITE))
        await looked(made)
        assert [one.place for one in await store.drift("main")] == ["POST /persons/{word}/edit"]

    async def test_what_was_not_found_is_no_endpoint(self, store: LearnStore) -> None:
        made = learner(store, "creme")
        made.note(exchange("/nothing", "GET", UNMATCHED_READ), "/nothing", "", b"", 404, list(HTML), b"")
        await looked(made)
        assert await store.drift("main") == []

    async def test_fields_with_recognised_values_that_no_rule_covers_are_named_without_the_value(
        self, store: LearnStore
    ) -> None:
        made = learner(store, "creme")
        page = (
            '<form action="/persons/contact/edit/7" method="post"><input name="last_name" value="x">'
            '<input name="custom_line" value="+33 6 12 34 56 78"><input name="phone" value="13800138000"></form>'
            '<div data-key="extra_mail"><b>zhang.wei@example.com</b></div>'
        )
        read = exchange(
            "/persons/contact/edit/7", "GET", load_profile("creme").classify("GET", "/persons/contact/7", "", b"", "")
        )
        made.caught(read, 200, list(HTML), page.encode())
        await looked(made)
        found = {(one.place, one.kind) for one in await store.drift("main")}
        assert found == {
            ("POST /persons/contact/edit/{n} form field custom_line", "phone"),
            ("GET /persons/contact/edit/{n} [data-key=extra_mail] b", "email"),
        }

    async def test_nothing_drifts_from_a_profile_that_declares_nothing(self, store: LearnStore) -> None:
        made = learner(store)
        made.refused(exchange("/a", "POST", UNMATCHED_WRITE))
        await looked(made)
        assert await store.drift("main") == []

    async def test_counts_add_up_and_can_be_forgotten(self, store: LearnStore) -> None:
        for _ in range(2):
            await store.add_drift("main", {("endpoint", "GET /a", ""): 2}, NOW)
        await store.add_drift("other", {("endpoint", "GET /b", ""): 1}, NOW)
        assert [one.times for one in await store.drift("main")] == [4]
        assert await store.clear_drift("main") == 1
        assert await store.drift("main") == []
        assert len(await store.drift("other")) == 1


class TestDesk:
    async def test_one_run_at_a_time(self, store: LearnStore) -> None:
        desk = Desk(store)
        await desk.start("main", "l1", NOW, 10, "test")
        with pytest.raises(RunUnderWay):
            await desk.start("main", "l2", NOW, 10, "test")
        await desk.start("main", "l3", NOW + LATER, 10, "test")
        run = await store.latest("main")
        assert run is not None
        assert run.id == "l3"

    async def test_there_is_no_proposal_without_a_session(self, store: LearnStore) -> None:
        desk = Desk(store)
        with pytest.raises(NothingLearnt):
            await desk.proposal("main", "x", NOW)
        await desk.start("main", "l1", NOW, 10, "test")
        with pytest.raises(NothingLearnt):
            await desk.proposal("main", "x", NOW)

    async def test_decisions_are_kept_and_only_those_that_there_are(self, store: LearnStore) -> None:
        desk = Desk(store)
        await desk.start("main", "l1", NOW, 10, "test")
        made = learner(store)
        await made._follow()
        made.note(exchange("/x/blob"), "/x/blob", FORM, b"mode=wide", 200, [("content-type", "text/plain")], b"ok")
        await looked(made)
        assert (await desk.proposal("main", "x", NOW)).refused == ["POST /x/blob"]
        with pytest.raises(AnswerUnknown):
            await desk.decide("main", "x", {"nothing-like-it": "yes"}, NOW)
        with pytest.raises(AnswerUnknown):
            await desk.decide("main", "x", {"unknown-writes": "perhaps"}, NOW)
        await desk.decide("main", "x", {"unknown-writes": "yes"}, NOW)
        assert (await desk.proposal("main", "x", NOW)).refused == []

    async def test_a_document_is_kept_with_the_run(self, store: LearnStore) -> None:
        desk = Desk(store)
        with pytest.raises(NothingLearnt):
            await desk.read_document("main", b'{"openapi": "3.0", "paths": {}}')
        await desk.start("main", "l1", NOW, 10, "test")
        await desk.read_document("main", b'{"openapi": "3.0", "paths": {"/a/": {"post": {"operationId": "a_create"}}}}')
        run = await store.latest("main")
        assert run is not None
        assert run.document.actions == {"POST /a": "create"}
