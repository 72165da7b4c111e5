import json
from typing import Any
from urllib.parse import urlencode

import pytest

from policies.graphql.mapping import Bounds
from policies.graphql.request import Transport, comments, parsed, read_request
from policies.graphql.value import GraphqlUnreadable

JSON = "application/json"
BOUNDS = Bounds()


def problem(method: str, query: str, body: bytes | None, content_type: str, bounds: Bounds = BOUNDS) -> tuple[str, str]:
    with pytest.raises(GraphqlUnreadable) as fault:
        read_request(method, query, body, content_type, bounds)
    return fault.value.problem, fault.value.what


def post(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_document_comes_in_json_in_the_address_or_by_itself() -> None:
    alone = read_request("POST", "", post({"query": "{ a }", "variables": None, "operationName": None}), JSON, BOUNDS)
    assert (alone.transport, alone.batched, alone.calls[0].text) == (Transport.JSON, False, "{ a }")
    many = read_request("POST", "op=x", post([{"query": "{ a }"}, {"query": "{ b }"}]), JSON, BOUNDS)
    assert (many.batched, [one.text for one in many.calls]) == (True, ["{ a }", "{ b }"])
    address = urlencode({"query": "query Q($v: Int) { a(b: $v) }", "variables": '{"v": 1}'})
    asked = read_request("GET", address, None, "", BOUNDS)
    assert (asked.transport, asked.document) == (Transport.QUERY, b'{"v": 1}')
    assert read_request("POST", "", b"{ a }", "application/graphql", BOUNDS).transport is Transport.TEXT


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"query": "{ a"}, "graphql-unreadable"),
        ({"query": "type A { b: Int }"}, "graphql-unreadable"),
        ({"query": "extend type A { b: Int }"}, "graphql-unreadable"),
        ({"query": "fragment F on A { b }"}, "graphql-unreadable"),
        ({"query": ""}, "graphql-unreadable"),
        ({"query": 1}, "graphql-unreadable"),
        ({"query": "{ a }", "variables": "{}"}, "graphql-unreadable"),
        ({"query": "{ a }", "variables": []}, "graphql-unreadable"),
        ({"query": "{ a }", "operationName": "B"}, "graphql-unreadable"),
        ({"query": "{ a }", "more": 1}, "graphql-unreadable"),
        ({"query": "query A { a } query A { b }", "operationName": "A"}, "graphql-unreadable"),
        ({"query": "query A { a } query B { b }"}, "graphql-unreadable"),
        ({"query": "query A { a } { b }", "operationName": "A"}, "graphql-unreadable"),
        ({"query": "{ ...F } fragment F on A { a } fragment F on A { b }"}, "graphql-unreadable"),
        ({"query": "{ a } subscription S { b }", "operationName": "S"}, "graphql-subscription"),
        ({"query": None, "extensions": {"persistedQuery": {}}}, "graphql-persisted"),
        ({"documentId": "x"}, "graphql-persisted"),
        ({}, "graphql-unreadable"),
        ([], "graphql-unreadable"),
        (["{ a }"], "graphql-unreadable"),
        ([{"query": "{ a }"}] * 21, "graphql-too-complex"),
        ({"query": "{ a }" + " " * 200_001}, "graphql-too-complex"),
        ({"query": "{ " + "a " * 5_001 + "}"}, "graphql-too-complex"),
        ({"query": "{ a" * 100}, "graphql-too-complex"),
    ],
)
def test_what_cannot_be_checked_has_a_reason(body: Any, reason: str) -> None:
    assert problem("POST", "", post(body), JSON)[0] == reason


def test_one_request_is_read_in_one_way_only() -> None:
    text = post({"query": "{ a }"})
    assert problem("POST", "query=%7Bb%7D", text, JSON) == ("graphql-unreadable", "address")
    assert problem("POST", "", text, "application/x-www-form-urlencoded") == ("graphql-unreadable", "media")
    assert problem("POST", "", text, "multipart/form-data; boundary=x") == ("graphql-unreadable", "media")
    assert problem("POST", "", text, "application/json; charset=utf-16") == ("graphql-unreadable", "charset")
    assert problem("POST", "", b"\xff", "application/graphql") == ("graphql-unreadable", "charset")
    assert problem("GET", "query=%7Ba%7D&query=%7Bb%7D", None, "") == ("graphql-unreadable", "twice")
    assert problem("GET", "query=%7Ba%7D&x=1", None, "") == ("graphql-unreadable", "address")
    assert problem("GET", "query=%7Ba%7D", b"{}", JSON) == ("graphql-unreadable", "body")
    assert problem("GET", urlencode({"query": "mutation { a }"}), None, "") == ("graphql-unreadable", "method")
    assert problem("GET", "", None, "") == ("graphql-unreadable", "text")
    assert problem("GET", "documentId=1", None, "") == ("graphql-persisted", "text")


def test_comments_are_found_outside_strings_only() -> None:
    text = '{ a(b: "# no", c: """# no""") # yes\n # again\n}'
    assert [text[start:end] for start, end in comments(parsed(text, BOUNDS))] == ["# yes", "# again"]
