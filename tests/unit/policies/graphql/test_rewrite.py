import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from graphql import build_schema, parse, print_ast, validate

from policies.graphql.asked import Asked
from policies.graphql.rewrite import GONE, Rewrite
from policies.graphql.value import GraphqlUnreadable, Shape, Value
from policies.profile import Profile
from tests.hosted.twenty import PATH
from tests.unit.policies.graphql.conftest import Ask

New = Callable[[Value], Any]


def changed(asked: Asked, new: New) -> Rewrite:
    """Every operand, input and loose text with what `new` makes of it."""
    assert asked.problem == ""
    assert asked.read is not None
    rewrite = Rewrite(asked.read)
    for part in asked.parts:
        values = [one for test in part.tests for one in test.operands]
        values += [one.value for one in part.stored] + [one.value for one in part.boxes]
        values += [one for _, one in part.loose]
        for value in values:
            if value.shape is Shape.TEXT:
                rewrite.change(part.call, value, new(value))
    return rewrite


def test_nothing_that_is_not_a_value_changes(ask: Ask) -> None:
    text = "query Q($v: String!) { a: people(filter: {city: {eq: $v}}, first: 3) { totalCount } }"
    asked = ask(text, {"v": "x"}, operationName="Q")
    assert asked.read is not None
    assert changed(asked, lambda _: None).body() == asked.read.document


def test_literals_and_variables_change_where_they_stand(ask: Ask) -> None:
    text = 'query Q($v: String!) { a: people(filter: {city: {eq: $v}, jobTitle: {eq: "old"}}) { totalCount } }'
    told = json.loads(changed(ask(text, {"v": "x"}), lambda value: f'"{value.text}"\\').body())
    assert told["query"] == text.replace('"old"', '"\\"old\\"\\\\"')
    assert told["variables"] == {"v": '"x"\\'}


def test_a_block_string_becomes_a_plain_one_and_comments_go(ask: Ask) -> None:
    text = '{ people(filter: {city: {eq: """a\n b"""}}) # nobody\n { totalCount } }'
    told = json.loads(changed(ask(text), lambda _: "é\n").body())["query"]
    assert "nobody" not in told
    assert print_ast(parse(told)) == print_ast(parse('{ people(filter: {city: {eq: "é\\n"}}) { totalCount } }'))


def test_uses_of_one_variable_that_differ_become_literals(ask: Ask) -> None:
    text = """query Q($v: String!, $n: Int) { a: people(first: $n, filter: {city: {eq: $v}}) { totalCount }
      b: people(filter: {emails: {primaryEmail: {eq: $v}}}) { totalCount } }"""

    def new(value: Value) -> str | None:
        assert value.use is not None
        return "S" if value.use.start > text.index("b: people") else None

    told = json.loads(changed(ask(text, {"v": "x", "n": 1}), new).body())
    assert told["query"] == text.replace("primaryEmail: {eq: $v}", 'primaryEmail: {eq: "S"}')
    assert told["variables"] == {"v": "x", "n": 1}
    both = json.loads(changed(ask(text, {"v": "x", "n": 1}), lambda value: f"S{value.use}").body())
    assert both["variables"] == {"v": "", "n": 1}
    assert "$v" not in both["query"]
    assert "$n: Int" in both["query"]


def test_what_is_replaced_as_a_whole_takes_its_variables_along(ask: Ask) -> None:
    text = "query Q($v: String!) { people(filter: {name: {lastName: {ilike: $v}}}) { totalCount } }"
    asked = ask(text, {"v": "%x%"})
    assert asked.read is not None
    (test,) = asked.parts[0].tests
    assert test.holder is not None
    rewrite = Rewrite(asked.read)
    rewrite.change(0, test.holder, {"in": ["S1", "S2"]})
    rewrite.change(0, test.operands[0], GONE)
    told = json.loads(rewrite.body())
    assert told["query"] == 'query Q { people(filter: {name: {lastName: {in: ["S1", "S2"]}}}) { totalCount } }'
    assert told["variables"] == {"v": ""}
    schema = build_schema(
        "type Query { people(filter: F): P } input F { name: N } input N { lastName: S } input S { in: [String] }"
        " type P { totalCount: Int }"
    )
    assert validate(schema, parse(told["query"])) == []


def test_a_holder_in_a_variable_changes_there(ask: Ask) -> None:
    text = "query Q($f: F) { people(filter: $f) { totalCount } }"
    asked = ask(text, {"f": {"name": {"lastName": {"ilike": "%x%"}}, "city": {"eq": "y"}}})
    assert asked.read is not None
    (test,) = asked.parts[0].tests
    assert test.holder is not None
    rewrite = Rewrite(asked.read)
    rewrite.change(0, test.holder, {"eq": "S"})
    told = json.loads(rewrite.body())
    assert told["variables"] == {"f": {"name": {"lastName": {"eq": "S"}}, "city": {"eq": "y"}}}


def test_contradictions_are_refused(ask: Ask) -> None:
    text = """query Q($f: F) { a: people(filter: $f) { totalCount } b: people(filter: $f) { totalCount } }"""
    seen: list[Value] = []

    def new(value: Value) -> str:
        seen.append(value)
        return f"S{len(seen)}"

    with pytest.raises(GraphqlUnreadable):
        changed(ask(text, {"f": {"city": {"eq": "y"}}}), new).body()
    twice = """{ ...F x: companies { edges { node { people(filter: {city: {eq: "a"}}) { totalCount } } } } ...F }
      fragment F on Query { people(filter: {city: {eq: "b"}}) { totalCount } }"""
    assert "S" in json.loads(changed(ask(twice), lambda _: "S").body())["query"]
    with pytest.raises(GraphqlUnreadable):
        changed(ask(twice), new).body()


def test_a_hash_of_another_text_does_not_go_on(ask: Ask) -> None:
    asked = ask("{ people { totalCount } }", extensions={"persistedQuery": {"sha256Hash": "0"}, "client": "x"})
    assert json.loads(changed(asked, lambda _: None).body())["extensions"] == {}


def test_each_call_of_a_batch_changes_by_itself(profile: Profile) -> None:
    text = 'query Q($v: String!) { people(filter: {city: {eq: $v}, jobTitle: {eq: "j"}}) { totalCount } }'
    body = json.dumps([{"query": text, "variables": {"v": one}} for one in "ab"]).encode()
    asked = profile.classify("POST", PATH, "", body, "application/json").graphql
    assert asked is not None
    told = json.loads(changed(asked, lambda value: value.text.upper()).body())
    assert [one["variables"]["v"] for one in told] == ["A", "B"]
    assert [one["query"] for one in told] == [text.replace('"j"', '"J"')] * 2


def test_a_document_in_the_address_changes_there(profile: Profile) -> None:
    text = 'query Q($v: String!) { people(filter: {city: {eq: $v}, jobTitle: {eq: "j"}}) { totalCount } }'
    query = urlencode({"query": text, "variables": '{"v": "é"}', "operationName": "Q", "extensions": '{"a": 1}'})
    asked = profile.classify("GET", PATH, query, None, "").graphql
    assert asked is not None
    told = parse_qs(changed(asked, lambda value: f"{value.text} &%").address(query))
    assert json.loads(told["variables"][0]) == {"v": "é &%"}
    assert told["query"] == [text.replace('"j"', '"j &%"')]
    assert (told["operationName"], told["extensions"]) == (["Q"], ["{}"])
