"""GraphQL on its way in and out, on real vault and policy, in front of a GraphQL server in the same process."""

import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway import graphql
from gateway.database import Pool
from gateway.exchange import Exchange
from gateway.refusal import Refusal
from policies.enforcer import DEFAULT_POLICY
from tests.hosted.twenty import PATH, PROFILE, Twenty
from tests.unit.gateway.glue import JSON, TENANT, Glue, open_glue

# phones: sees every telephone number and no name; nobody: may do everything and sees nothing.
POLICY = """
p, phones, *, kind:phone, clear, any
p, phones, *, kind:phone, search, any
p, phones, *, op:*, *, any
p, nobody, *, op:*, *, any
"""
NAMES = ("Anna Smith", "Bert Smithson", "Carl Brown")
PHONES = ("13800138000", "13900139000", "13700137000")


class Crm:
    """The gateway's stages with a GraphQL server behind them."""

    def __init__(self, glue: Glue) -> None:
        self.glue, self.server = glue, Twenty()
        self.sent: list[Any] = []
        self.ids = count(100)

    async def ask(self, text: str, variables: Any = None, role: str = "manager") -> Any:
        """What somebody with this role gets."""
        return await self.send({"query": text, **({} if variables is None else {"variables": variables})}, role)

    async def send(self, value: Any, role: str = "manager") -> Any:
        body = orjson.dumps(value)
        exchange = self.glue.exchange("POST", PATH, role=role, body=body, content_type=JSON)
        self.decide(exchange, role)
        outgoing = await self.glue.protect(exchange, body, JSON)
        assert isinstance(outgoing.body, bytes)
        sent = orjson.loads(outgoing.body)
        self.sent.append(sent)
        calls = sent if isinstance(sent, list) else [sent]
        answers = [self.server.run(one["query"], one.get("variables"), one.get("operationName")) for one in calls]
        answer = orjson.dumps(answers if isinstance(sent, list) else answers[0])
        _, shown = await self.glue.answer(exchange, answer, JSON)
        return orjson.loads(shown)

    def decide(self, exchange: Exchange, role: str) -> None:
        assert exchange.operation is not None
        assert exchange.operation.graphql is not None
        exchange.batch = graphql.take_apart(exchange, exchange.operation.graphql, lambda: f"p{next(self.ids)}")
        for one in exchange.batch.exchanges:
            assert one.operation is not None
            one.decision = self.glue.bundle.decide(TENANT, (role,), one.operation)
            assert one.decision.allowed

    async def enter(self) -> list[str]:
        """Three people; their ids."""
        ids = []
        for name, phone in zip(NAMES, PHONES, strict=True):
            first, last = name.split()
            values = {"name": {"firstName": first, "lastName": last}, "phones": {"primaryPhoneNumber": phone}}
            text = "mutation N($d: PersonInput!) { createPerson(data: $d) { id } }"
            ids.append(str((await self.ask(text, {"d": values}))["data"]["createPerson"]["id"]))
        return ids

    async def refused(self, text: str, variables: Any = None, role: str = "nobody") -> str:
        """The reason id."""
        before = len(self.sent)
        with pytest.raises(Refusal) as caught:
            await self.ask(text, variables, role)
        assert len(self.sent) == before
        return caught.value.reason.id


@pytest.fixture
async def crm(pool: Pool, keyring_path: Path, tmp_path: Path) -> AsyncIterator[Crm]:
    policy = tmp_path / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    async with open_glue(pool, keyring_path, str(PROFILE), policy) as made:
        yield Crm(made)


FIND = "query Q($f: PersonFilterInput) { people(filter: $f) { edges { node { id } } } }"


def found(answer: Any, key: str = "people") -> list[str]:
    return [edge["node"]["id"] for edge in answer["data"][key]["edges"]]


async def test_a_part_of_a_name_becomes_a_list_of_those_it_fits(crm: Crm) -> None:
    anna, bert, _ = await crm.enter()
    for filter_ in (
        {"name": {"lastName": {"ilike": "smith%"}}},
        {"name": {"lastName": {"startsWith": "Smith"}}},
        {"name": {"lastName": {"in": ["Smith", "Smithson"]}}},
        {"or": [{"name": {"lastName": {"eq": "Smith"}}}, {"phones": {"primaryPhoneNumber": {"eq": PHONES[1]}}}]},
    ):
        assert found(await crm.ask(FIND, {"f": filter_})) == [anna, bert]
    text = "query Q($v: String) { people(filter: {name: {lastName: {ilike: $v}}}) { edges { node { id } } } }"
    assert found(await crm.ask(text, {"v": "smith%"})) == [anna, bert]
    assert crm.sent[-1]["variables"] == {"v": ""}
    assert "$v" not in crm.sent[-1]["query"]
    listed = "query Q($v: [String!]) { people(filter: {name: {lastName: {in: $v}}}) { edges { node { id } } } }"
    assert found(await crm.ask(listed, {"v": ["Smith", "Smithson", "Nobody"]})) == [anna, bert]
    clear = [*PHONES, *(part for name in NAMES for part in name.split())]
    assert [one for one in clear if one in json.dumps(crm.sent)] == []


async def test_one_variable_for_two_fields_is_asked_for_as_each_knows_it(crm: Crm) -> None:
    anna, *_ = await crm.enter()
    text = """query Q($v: String!) { people(filter: {or: [{name: {lastName: {eq: $v}}},
      {phones: {primaryPhoneNumber: {eq: $v}}}, {city: {eq: $v}}]}) { edges { node { id } } } }"""
    assert found(await crm.ask(text, {"v": PHONES[0]})) == [anna]
    assert found(await crm.ask(text, {"v": "Smith"})) == [anna]


async def test_what_a_role_may_not_ask_is_refused_under_every_name(crm: Crm) -> None:
    await crm.enter()
    one = "{ edges { node { id } } }"
    by_phone = f'{{ x: people(filter: {{phones: {{primaryPhoneNumber: {{eq: "{PHONES[0]}"}}}}}}) {one} }}'
    assert await crm.refused(by_phone) == "field-not-searchable"
    assert len(found(await crm.ask(by_phone, role="phones"), "x")) == 1
    for text, reason in (
        (f"{{ people(orderBy: [{{name: {{lastName: AscNullsFirst}}}}]) {one} }}", "field-not-ordered"),
        ("{ peopleGroupBy(groupBy: [FIRST_NAME]) { count } }", "field-not-searchable"),
        ("{ people { n: uniqueEmails } }", "field-not-searchable"),
        ("{ people { edges { node { city: secretScore } } } }", "graphql-unmapped"),
        ("{ __schema { types { name } } people { totalCount } }", "graphql-introspection"),
        (f'{{ people(filter: {{name: {{firstName: {{neq: "x"}}}}}}) {one} }}', "field-not-searchable"),
    ):
        assert await crm.refused(text) == reason
    assert await crm.refused("{ __schema { types { name } } }") == "graphql-introspection"
    assert "errors" not in await crm.ask("{ __schema { types { name } } }")
    assert await crm.refused("{ people { n: uniqueEmails } }", role="manager") == "field-not-ordered"


async def test_two_creates_in_one_request_are_bound_each_to_its_record(crm: Crm) -> None:
    text = """mutation N($a: String!) { x: createPerson(data: {name: {lastName: $a}}) { key: id }
      y: createPerson(data: {name: {lastName: $a}, intro: "knows Anna Smith, 13800138000"}) { id } }"""
    data = (await crm.ask(text, {"a": "Miller"}))["data"]
    first, second = data["x"]["key"], data["y"]["id"]
    rows = crm.server.rows("person")
    names = {row["id"]: row["name"]["lastName"] for row in rows}
    assert len({names[first], names[second], "Miller"}) == 3  # a surrogate for each record
    shown = await crm.ask("{ people { edges { node { id name { lastName } intro } } } }")
    assert {one["node"]["name"]["lastName"] for one in shown["data"]["people"]["edges"]} == {"Miller"}
    hidden = await crm.ask("{ people { edges { node { id n: name { x: lastName } intro } } } }", role="nobody")
    assert "Miller" not in json.dumps(hidden)
    assert "13800138000" not in json.dumps([hidden, crm.sent])


async def test_a_request_that_is_refused_as_it_stands_never_gets_parts(crm: Crm) -> None:
    for value, reason in (
        ({"query": "subscription { onPerson { id } }"}, "graphql-subscription"),
        ({"extensions": {"persistedQuery": {"sha256Hash": "0"}}}, "graphql-persisted"),
        ({"query": "{"}, "graphql-unreadable"),
        ({"query": "{ people { totalCount @x } }"}, "graphql-unmapped"),
        ({"query": "{ " * 5000}, "graphql-too-complex"),
    ):
        operation = crm.glue.profile.classify("POST", PATH, "", orjson.dumps(value), JSON)
        assert operation.graphql is not None
        with pytest.raises(Refusal) as caught:
            graphql.take_apart(crm.glue.exchange("GET", "/", role="manager"), operation.graphql, lambda: "p1")
        assert caught.value.reason.id == reason
