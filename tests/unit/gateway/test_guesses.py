"""Budgets of what people learn about values they do not see: shared, counted before the answer, alarmed."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.entry import AuditEntry, encode
from gateway.database import Pool
from gateway.exchange import Exchange, Head, Principal
from gateway.guess_store import Count, GuessStore
from gateway.guesses import SEARCH, UNIQUENESS, Budgets, Guesses
from gateway.refusal import Refusal
from policies.decision import Decision, FieldRule, FieldView, Form
from policies.operation import Action, Operation
from policies.unique import compile_unique
from tests.unit.gateway.glue import JSON, open_glue

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
RULE = compile_unique({"fields": ["contact.email"], "answers": [{"status": [400]}]}, [("contact", "email")])
HEAD = Head("POST", "/c", "/c", "", "crm", (), False, None)
MASKED, CLEAR = FieldRule(Form.MASKED, Form.HIDDEN, True, True), FieldRule(Form.CLEAR, Form.CLEAR, True, True)


class Trail:
    """Keeps what is appended, as bytes would be."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def append(self, entry: AuditEntry) -> int:
        encode(entry)
        self.entries.append(entry)
        return len(self.entries)

    def told(self) -> list[tuple[str, str, Any]]:
        return [(one.kind, one.reason, one.fields["count"]) for one in self.entries]


class Node:
    """One process of the gateway over a shared database."""

    def __init__(self, pool: Pool, uniqueness: int = 3, searches: int = 4) -> None:
        self.trail, self.now = Trail(), NOW
        numbers = iter(range(10_000))
        self.guesses = Guesses(
            GuessStore(pool), self.trail, Budgets(uniqueness, searches), lambda: self.now, lambda: f"a-{next(numbers)}"
        )


def exchange(
    actor: str = "u-1", *, rule: FieldRule = MASKED, everything: bool = False, declared: bool = True, **set_to: Any
) -> Exchange:
    operation = Operation("contact.create", "contact", Action.CREATE, unique=RULE if declared else None)
    made = Exchange("x-1", NOW, HEAD, "acme", operation=operation)
    made.principal = Principal(actor, actor, ("sales",), "acme", "s-1")
    view = FieldView("v1", {("contact", "email"): rule}, {"email": rule}, sees_everything=everything)
    made.decision = Decision(True, "allowed", view)
    made.written = [("contact", "email", "email")]
    for name, value in set_to.items():
        setattr(made, name, value)
    return made


async def taken(node: Node, given: Exchange | None = None, status: int = 400) -> None:
    """One write that the CRM answers with a status."""
    given = given or exchange()
    reserved = await node.guesses.reserve(given)
    await node.guesses.told(given, reserved, status, b"")


async def test_answers_that_a_value_is_taken_are_audited_alarmed_and_then_refused_on_every_node(pool: Pool) -> None:
    one, other = Node(pool), Node(pool)
    await taken(one)
    await taken(other)
    await taken(one)
    assert one.trail.told() == [
        ("guess", "uniqueness-told", 1), ("guess", "uniqueness-told", 3), ("alarm", "uniqueness-budget", 3),
    ]  # fmt: skip
    assert other.trail.told() == [("guess", "uniqueness-told", 2)]
    for node in (one, other):
        with pytest.raises(Refusal) as refusal:
            await node.guesses.reserve(exchange())  # before the CRM is asked, whatever it would say
        assert (refusal.value.reason.id, refusal.value.reason.status) == ("uniqueness-budget", 429)
    await taken(one, exchange("u-2"))  # somebody else's is untouched
    one.now += timedelta(hours=1)
    await taken(one)


async def test_a_write_that_the_crm_takes_is_given_back(pool: Pool) -> None:
    node = Node(pool)
    for _ in range(10):
        await taken(node, status=201)
    assert node.trail.entries == []
    assert [one.times for one in await GuessStore(pool).most("acme", HOUR)] == [0]


async def test_parallel_tries_are_all_counted_before_one_is_answered(pool: Pool) -> None:
    nodes = [Node(pool), Node(pool)]
    tries = [nodes[number % 2].guesses.reserve(exchange()) for number in range(12)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, Refusal) for one in done) == 12 - 3


@pytest.mark.parametrize(
    "given",
    [
        exchange(everything=True),
        exchange(rule=CLEAR),
        exchange(written=[("contact", "phone", "phone")]),
        exchange(written=[]),
        exchange(declared=False),
    ],
    ids=["sees everything", "sees the field", "another field", "nothing written", "not declared"],
)
async def test_what_tells_a_person_nothing_new_is_not_counted(pool: Pool, given: Exchange) -> None:
    node = Node(pool)
    assert await node.guesses.reserve(given) is None
    await node.guesses.told(given, None, 400, b"")
    assert node.trail.entries == []
    assert await GuessStore(pool).most("acme", HOUR) == []


async def test_a_read_of_what_the_crm_takes_for_equal_is_a_try_as_well(pool: Pool) -> None:
    node = Node(pool)
    reading = exchange(written=[], operation=Operation("contact.equals", "contact", Action.READ, "17", unique=RULE))
    for _ in range(3):
        await taken(node, reading)
    with pytest.raises(Refusal):
        await node.guesses.reserve(reading)
    sees = exchange(rule=CLEAR, written=[], operation=reading.operation)
    assert await node.guesses.reserve(sees) is None


async def test_a_conflict_counts_where_a_profile_declares_nothing_and_is_kept_back_over_the_budget(pool: Pool) -> None:
    node = Node(pool)
    for _ in range(3):
        await taken(node, exchange(declared=False), 409)
    assert ("alarm", "uniqueness-budget", 3) in node.trail.told()
    with pytest.raises(Refusal) as refusal:
        await taken(node, exchange(declared=False), 409)
    assert refusal.value.reason.id == "uniqueness-budget"


async def test_every_part_of_a_batch_is_a_try(pool: Pool) -> None:
    class Parts:
        exchanges = (exchange(), exchange(), exchange(written=[]))

    node = Node(pool)
    whole = exchange(batch=Parts())
    await taken(node, whole, 207)
    assert node.trail.told() == [("guess", "uniqueness-told", 2)]
    with pytest.raises(Refusal):
        await node.guesses.reserve(whole)


async def test_searches_for_values_one_does_not_see_are_shared_and_end_at_the_budget(pool: Pool) -> None:
    one, other = Node(pool), Node(pool)
    for node in (one, other, one):
        node.guesses.search(exchange(searched=["email"]))
        await node.guesses.flush()
    other.guesses.search(exchange(searched=["email"]))
    await other.guesses.flush()
    assert other.trail.told() == [("alarm", "search-budget", 4)]
    assert one.trail.entries == []
    with pytest.raises(Refusal) as refusal:
        other.guesses.search(exchange(searched=["email"]))
    assert (refusal.value.reason.id, refusal.value.reason.status) == ("search-budget", 429)
    other.guesses.search(exchange("u-2", searched=["email"]))
    await other.guesses.close()
    await one.guesses.close()


async def test_searches_for_what_one_sees_are_nobodys_business(pool: Pool) -> None:
    node = Node(pool)
    for _ in range(9):
        node.guesses.search(exchange(searched=["email"], everything=True))
        node.guesses.search(exchange(searched=["email"], rule=CLEAR))
        node.guesses.search(exchange(searched=[]))
    await node.guesses.close()
    assert await GuessStore(pool).most("acme", HOUR) == []


async def test_searches_that_could_not_be_shared_are_shared_later(pool: Pool) -> None:
    node = Node(pool, searches=100)
    for _ in range(7):
        node.guesses.search(exchange(searched=["email"]))
    await node.guesses.close()
    most = await GuessStore(pool).most("acme", HOUR)
    assert [(one.actor, one.sort, one.times) for one in most] == [("u-1", SEARCH, 7)]


async def test_old_counts_are_swept(pool: Pool) -> None:
    store = GuessStore(pool)
    await store.add([Count("acme", "u-1", UNIQUENESS, HOUR, 2), Count("acme", "u-1", UNIQUENESS, HOUR, -5)])
    assert [one.times for one in await store.most("acme", HOUR)] == [0]
    await store.sweep(NOW + timedelta(days=3))
    assert await store.most("acme", HOUR) == []


async def test_a_record_named_by_a_hidden_value_is_a_try_because_the_answer_says_whether_there_was_one(
    pool: Pool, keyring_path: Path
) -> None:
    body = b'{"LastName":"x"}'
    node = Node(pool)
    async with open_glue(pool, keyring_path, "salesforce") as glue:
        path = "/services/data/v60.0/sobjects/Contact/Email__c/zhang@example.com"
        for status, told in ((201, 0), (200, 1), (204, 2), (400, 2)):
            upsert = glue.exchange("PATCH", path, role="sales", body=body, content_type=JSON)
            await glue.protect(upsert, body, JSON)
            await taken(node, upsert, status)
            assert len(node.trail.entries) == told
