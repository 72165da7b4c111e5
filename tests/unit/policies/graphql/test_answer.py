import json

import orjson
import pytest

from policies.graphql.answer import clear_places, quiet, told
from policies.graphql.value import GraphqlUnreadable
from policies.profile import Profile
from tests.hosted.twenty import PATH
from tests.unit.policies.graphql.conftest import Ask

MAKE = "mutation { a: createPerson(data: {}) { x: id } b: createPerson(data: {}) { x: id } }"


def test_a_part_names_its_record_behind_any_alias_and_only_where_it_succeeded(ask: Ask) -> None:
    asked = ask(MAKE)

    def found(answer: object) -> list[tuple[int, object]]:
        return [(status, made) for _, status, made in told(asked, answer)]

    data = {"a": {"x": "1"}, "b": {"x": "2"}}
    assert found({"data": data}) == [(200, {"id": "1"}), (200, {"id": "2"})]
    error = {"message": "no", "path": ["b"]}
    assert [one for one, _ in found({"data": data, "errors": [error]})] == [200, 400]
    assert [one for one, _ in found({"data": data, "errors": [{"message": "no"}]})] == [400, 400]
    assert [one for one, _ in found({"data": {**data, "a": None}})] == [400, 200]
    for nothing in (None, [], {"data": None}, {"data": []}, "x", {"data": data, "errors": "x"}):
        assert [one for one, _ in found(nothing)] == [400, 400]


def test_a_batch_is_read_call_by_call(profile: Profile) -> None:
    body = json.dumps([{"query": "mutation { createPerson(data: {}) { id } }"}] * 2).encode()
    asked = profile.classify("POST", PATH, "", body, "application/json").graphql
    assert asked is not None
    one = {"data": {"createPerson": {"id": "1"}}}
    assert [status for _, status, _ in told(asked, [one, {"errors": [{}]}])] == [200, 400]
    assert [status for _, status, _ in told(asked, [one])] == [200, 400]
    assert [status for _, status, _ in told(asked, one)] == [400, 400]


def test_declared_fields_are_found_under_whatever_name_they_come(ask: Ask) -> None:
    text = """{ p: people { edges { node { city: idCard id: emails { a: primaryEmail additionalEmails }
      ... on Person { jobTitle: name { lastName } } createdAt } } } }"""
    node = {
        "city": 4711,
        "id": {"a": "x\ny", "additionalEmails": ["z"]},
        "jobTitle": {"lastName": "w"},
        "createdAt": "c",
    }
    answer = {"data": {"p": {"edges": [{"node": node}, None]}}, "errors": None}
    found = {(text, spec.name) for text, spec in clear_places(ask(text), answer)}
    assert found >= {("4711", "id_card"), ("x\ny", "email"), ("x", "email"), ("z", "other_email"), ("w", "last_name")}
    assert "c" not in {text for text, _ in found}
    assert list(clear_places(ask(text), [1])) == []


def test_errors_say_no_more_than_that_there_is_one() -> None:
    body = orjson.dumps(
        {
            "data": {"a": 1.0},
            "errors": [
                {
                    "message": "x@y.z exists",
                    "path": ["a", 0],
                    "locations": [{"line": 1, "column": 1}],
                    "extensions": {"code": "DUPLICATE", "value": "x@y.z", "stacktrace": ["x@y.z"]},
                },
                {"message": "Did you mean idCard?", "path": ["x@y.z"], "extensions": {"code": "x@y.z"}},
                "x@y.z",
            ],
            "extensions": {"sql": "x@y.z"},
        }
    )
    told_now = quiet(body, "no")
    assert b"x@y.z" not in told_now
    assert orjson.loads(told_now) == {
        "data": {"a": 1.0},
        "errors": [
            {"message": "no", "path": ["a", 0], "extensions": {"code": "DUPLICATE"}},
            {"message": "no"},
            {"message": "no"},
        ],
        "extensions": {},
    }
    assert quiet(b'{"data": {"a": 1.50}}', "no") == b'{"data": {"a": 1.50}}'
    batch = orjson.loads(quiet(b'[{"errors": [{"message": "x"}]}, {"data": 1.50}]', "no"))
    assert batch == [{"errors": [{"message": "no"}]}, {"data": 1.5}]
    with pytest.raises(GraphqlUnreadable):
        quiet(b'{"errors": [', "no")
