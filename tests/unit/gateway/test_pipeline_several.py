"""The path of a search for several values, and of writes that are held against a budget: one decision, one answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from gateway.answer import Answer, UpstreamDown
from gateway.collaborators import Outgoing
from gateway.guesses import Reserved
from gateway.refusal import SEARCH_BUDGET, UNIQUENESS_BUDGET, Refusal
from policies.merge import compile_merges
from policies.operation import Action, Operation
from policies.unique import UniqueRule
from tests.unit.gateway.test_pipeline import FORM, HOST, FakeGateway, answer, call

RULE = compile_merges(
    {
        "one": {
            "paging": {"offset": "offset", "size": "limit", "default": 10, "ask": 5},
            "lists": [{"rows": ["results"], "id": ["id"], "totals": [["count"]]}],
            "sort": [{"key": ["id"]}],
            "links": [{"at": ["next"], "is": "next"}],
        }
    }
)["one"]
SEARCHED = Operation("contact.list", "contact", Action.SEARCH, merge=RULE)
ROWS = {"s1": ["1", "3"], "s2": ["2", "3"], "s3": []}


def searching(*values: str) -> FakeGateway:
    """A gateway whose way in finds that a search stands for several values."""
    gw = FakeGateway()
    gw.profile.operation = SEARCHED

    async def protect(_exchange: Any, _type: str, _body: Any) -> Outgoing:
        legs = tuple((f"/list?name={one}&limit=2", b"") for one in values)
        return Outgoing(legs[0][0], b"", legs=legs)

    def crm() -> Answer:
        target = gw.pool.asked[-1][1].split()[1].decode()
        ids = ROWS[parse_qs(urlsplit(target).query)["name"][0]]
        return answer(orjson.dumps({"count": len(ids), "next": None, "results": [{"id": one} for one in ids]}))

    gw.protect_request = protect  # type: ignore[method-assign]
    gw.pool.next = crm
    return gw


async def test_one_search_is_one_decision_whatever_the_crm_is_asked() -> None:
    gw = searching("s1", "s2", "s3")
    reply = await call(gw, "GET", "/list?name=Zhang&limit=2")
    found = orjson.loads(reply.body)
    assert [one["id"] for one in found["results"]] == ["1", "2"]
    assert found["count"] == 3
    assert found["next"] == f"https://{HOST}/list?name=Zhang&limit=2&offset=2"
    assert len(gw.pool.asked) == 3
    assert [(one.kind, one.fields["legs"]) for one in gw.audit.entries] == [("outcome", 3)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda: UpstreamDown("gone"), "crm-down"),
        (lambda: answer(b"{}", 500), "search-leg-failed"),
        (lambda: answer(b"{", 200), "search-leg-failed"),
    ],
)
async def test_nothing_is_shown_when_one_of_the_answers_is_bad(bad: Callable[[], Any], reason: str) -> None:
    gw = searching("s1", "s2", "s3")
    good = gw.pool.next
    gw.pool.next = lambda: bad() if b"name=s2" in gw.pool.asked[-1][1] else good()
    reply = await call(gw, "GET", "/list?name=Zhang&limit=2")
    assert reply.reason == reason
    assert b'"id":"1"' not in reply.body
    assert [(one.kind, one.reason) for one in gw.audit.entries] == [("refusal", reason)]


async def test_an_order_nobody_described_is_refused_and_the_crm_is_not_asked() -> None:
    gw = searching("s1", "s2")
    assert (await call(gw, "GET", "/list?name=Zhang&limit=x")).reason == "search-not-merged"
    assert gw.pool.asked == []


class Budget:
    """Records what it is told; refuses where `refusing` says so."""

    def __init__(self, refusing: str = "") -> None:
        self.refusing, self.log = refusing, list[str]()

    def search(self, _exchange: Any) -> None:
        self.log.append("search")
        if self.refusing == "search":
            raise Refusal(SEARCH_BUDGET)

    async def reserve(self, _exchange: Any) -> Reserved | None:
        self.log.append("reserve")
        if self.refusing == "reserve":
            raise Refusal(UNIQUENESS_BUDGET)
        return Reserved(None, 1)  # type: ignore[arg-type]

    async def told(self, _exchange: Any, reserved: Reserved | None, status: int, _body: bytes, _type: str) -> None:
        self.log.append(f"told {status} {reserved is not None}")
        if self.refusing == "told":
            raise Refusal(UNIQUENESS_BUDGET)

    async def give_back(self, _reserved: Reserved) -> None:
        self.log.append("give back")


def budgeted(refusing: str = "", *, searched: bool = False) -> tuple[FakeGateway, Budget]:
    gw, budget = FakeGateway(), Budget(refusing)
    if not searched:
        rule = UniqueRule(frozenset({("contact", "email")}), ())
        gw.profile.operation = Operation("contact.create", "contact", Action.CREATE, unique=rule)
    gw.tenants = {host: replace(one, guesses=budget) for host, one in gw.tenants.items()}  # type: ignore[arg-type]
    through = gw.protect_request

    async def protect(exchange: Any, content_type: str, body: Any) -> Any:
        exchange.written = [("contact", "email", "email")]
        exchange.searched = ["email"] if searched else []
        return await through(exchange, content_type, body)

    gw.protect_request = protect  # type: ignore[method-assign]
    return gw, budget


async def test_a_write_is_counted_before_the_crm_is_asked_and_judged_before_it_is_shown() -> None:
    gw, budget = budgeted()
    assert (await call(gw, "POST", "/x", FORM, body=b"a=1")).status == 200
    assert budget.log == ["reserve", "told 200 True"]


async def test_over_the_budget_nothing_is_sent() -> None:
    gw, _ = budgeted("reserve")
    reply = await call(gw, "POST", "/x", FORM, body=b"a=1")
    assert (reply.status, reply.reason) == (429, "uniqueness-budget")
    assert gw.pool.asked == []


async def test_an_answer_over_the_budget_is_kept_back() -> None:
    gw, _ = budgeted("told")
    gw.pool.next = lambda: answer(b'{"taken":"yes"}', 409)
    reply = await call(gw, "POST", "/x", FORM, body=b"a=1")
    assert (reply.status, reply.reason) == (429, "uniqueness-budget")
    assert b'taken":' not in reply.body


async def test_a_crm_that_does_not_answer_uses_nothing_up() -> None:
    gw, budget = budgeted()
    gw.pool.next = lambda: UpstreamDown("gone")
    assert (await call(gw, "POST", "/x", FORM, body=b"a=1")).reason == "crm-down"
    assert budget.log == ["reserve", "give back"]


async def test_a_search_over_the_budget_is_not_sent() -> None:
    gw, budget = budgeted("search", searched=True)
    reply = await call(gw, "GET", "/x?q=1")
    assert (reply.status, reply.reason) == (429, "search-budget")
    assert gw.pool.asked == []
    assert budget.log == ["search"]
