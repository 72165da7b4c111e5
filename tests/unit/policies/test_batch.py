"""JSON batches are taken apart completely or not at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.batch import LIMIT, BatchUnreadable, compile_batch, results, split, under

COMPOSITE = compile_batch(
    {
        "kind": "json",
        "parts": "/requests",
        "method": {"at": "/method"},
        "url": {"at": "/url"},
        "base": "/services/data/",
        "body": "/body",
        "answer": {"parts": "/responses", "status": "/code", "body": "/body"},
    }
)
TREE = compile_batch(
    {"kind": "json", "parts": "/records", "url": "/api/{version}/{/attributes/type}", "nested": "records"}
)


def test_each_part_says_where_it_stands() -> None:
    document = {"requests": [{"method": "patch", "url": "v60/a", "body": {"x": 1}}, {"method": "GET", "url": "/b"}]}
    first, second = split(COMPOSITE, document, {})
    assert (first.method, first.url, first.place, first.value) == (
        "PATCH",
        "/services/data/v60/a",
        ("requests", "0", "body"),
        {"x": 1},
    )
    assert first.url_at == ("requests", "0", "url")
    assert (second.method, second.url, second.place, second.value) == ("GET", "/b", None, None)


def test_records_below_records_are_parts_of_their_own() -> None:
    below = {"records": [{"attributes": {"type": "Contact"}, "name": "b"}]}
    document = {"records": [{"attributes": {"type": "Account"}, "name": "a", "Contacts": below}]}
    top, inner = split(TREE, document, {"version": "v1"})
    assert (top.url, top.place) == ("/api/v1/Account", ("records", "0"))
    assert top.value == {"attributes": {"type": "Account"}, "name": "a"}
    assert (inner.url, inner.place) == ("/api/v1/Contact", ("records", "0", "Contacts", "records", "0"))


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"requests": {}},
        {"requests": []},
        {"requests": ["x"]},
        {"requests": [{"method": "GET"}]},
        {"requests": [{"method": "GET", "url": 5}]},
        {"requests": [{"method": "TRACE", "url": "/a"}]},
        {"requests": [{"url": "/a"}]},
        {"requests": [{"method": "GET", "url": "/a"}] * (LIMIT + 1)},
    ],
)
def test_a_batch_of_another_shape_is_refused(document: Any) -> None:
    with pytest.raises(BatchUnreadable):
        split(COMPOSITE, document, {})


@pytest.mark.parametrize("kind", ["", "a/b", "..%2f", "a b", None, ["x"], True])
def test_only_plain_words_fill_an_address(kind: Any) -> None:
    with pytest.raises(BatchUnreadable):
        split(TREE, {"records": [{"attributes": {"type": kind}}]}, {"version": "v1"})


def test_an_answer_that_does_not_tell_all_parts_tells_none() -> None:
    told = {"responses": [{"code": 201, "body": {"id": 1}}, {"code": "x"}]}
    assert results(COMPOSITE, told, ["", ""]) == [(201, {"id": 1}), (500, None)]
    assert results(COMPOSITE, told, [""] * 3) == []
    assert results(COMPOSITE, None, [""]) == []
    assert results(TREE, {"results": [{"id": 1}]}, [""]) == []


def test_a_truth_value_as_status() -> None:
    rule = compile_batch({"kind": "json", "url": "/a", "answer": {"parts": "", "status": "/success"}})
    assert [status for status, _ in results(rule, [{"success": True}, {"success": False}], ["", ""])] == [200, 400]


SALESFORCE = {
    "batch": {
        "kind": "json", "parts": "/batchRequests", "method": {"at": "/method"}, "url": {"at": "/url"},
        "base": "/services/data/", "body": "/richInput",
        "answer": {"parts": "/results", "status": "/statusCode", "body": "/result"},
    },
    "create": {
        "kind": "json", "parts": "/records", "url": "/services/data/{version}/sobjects/{/attributes/type}",
        "answer": {"parts": "", "status": "/success"},
    },
    "update": {
        "kind": "json", "parts": "/records", "method": "PATCH",
        "url": "/services/data/{version}/sobjects/{/attributes/type}/{/id}",
        "answer": {"parts": "", "status": "/success"},
    },
}  # fmt: skip


def test_the_documented_shapes_of_salesforce() -> None:
    rules = {name: compile_batch(source) for name, source in SALESFORCE.items()}
    requests = [{"method": "PATCH", "url": "v60.0/sobjects/Contact/003", "richInput": {"Email": "a"}}]
    (one,) = split(rules["batch"], {"batchRequests": requests}, {})
    assert (one.url, one.place) == ("/services/data/v60.0/sobjects/Contact/003", ("batchRequests", "0", "richInput"))
    assert results(rules["batch"], {"results": [{"statusCode": 204, "result": None}]}, [""]) == [(204, None)]
    record = {"attributes": {"type": "Contact"}, "id": "003000000000001AAA", "Email": "a"}
    (made,) = split(rules["create"], {"records": [record]}, {"version": "v60.0"})
    assert (made.method, made.url, made.value) == ("POST", "/services/data/v60.0/sobjects/Contact", record)
    (changed,) = split(rules["update"], {"records": [record]}, {"version": "v60.0"})
    assert (changed.method, changed.url) == ("PATCH", "/services/data/v60.0/sobjects/Contact/003000000000001AAA")
    answer = [{"id": "003", "success": True}, {"success": False, "errors": []}]
    assert results(rules["create"], answer, ["", ""]) == [(200, answer[0]), (400, answer[1])]


LABELLED = compile_batch(
    {
        "kind": "json", "parts": "/records", "url": "/api/{/attributes/type}", "nested": "records",
        "label": "/attributes/referenceId", "answer": {"parts": "/results", "label": "/referenceId"},
    }
)  # fmt: skip


def test_labels_tell_which_answer_is_whose_whatever_their_order() -> None:
    told = {"results": [{"referenceId": "b", "id": 2}, {"referenceId": "a", "id": 1}]}
    assert [one["id"] for _, one in results(LABELLED, told, ["a", "b"])] == [1, 2]
    below = {"records": [{"attributes": {"type": "x", "referenceId": "b"}}]}
    document = {"records": [{"attributes": {"type": "x", "referenceId": "a"}, "inner": below}]}
    assert [one.label for one in split(LABELLED, document, {})] == ["a", "b"]
    assert results(LABELLED, told, ["a", "a"]) == []
    assert results(LABELLED, told, ["a", "c"]) == []
    assert results(LABELLED, {"results": [{"referenceId": "a"}, "b"]}, ["a", "b"]) == []


PARAMETERS = compile_batch(
    {
        "kind": "json", "parts": "/list", "method": {"at": "/method"}, "url": {"at": "/uri"}, "params": "/params",
        "body": "/body", "reference": r"@\{[^{}]*\}",
    }
)  # fmt: skip


def test_parameters_of_a_part_are_its_query() -> None:
    given = {"method": "GET", "uri": "/a", "params": {"email": "a@b.example", "page": 2}}
    (one,) = split(PARAMETERS, {"list": [given]}, {})
    assert (one.url, one.params_at) == ("/a?email=a%40b.example&page=2", ("list", "0", "params"))
    (none,) = split(PARAMETERS, {"list": [{**given, "params": {}}]}, {})
    assert (none.url, none.params_at) == ("/a", None)


@pytest.mark.parametrize(
    "more",
    [
        {"params": ["x"]}, {"params": {"x": ["y"]}}, {"params": {"x": True}}, {"params": {"x": None}},
        {"params": {"x": "@{1:$.id}"}}, {"params": {"x": "y"}, "uri": "/a?z=1"},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_that_are_not_plain_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(BatchUnreadable):
        split(PARAMETERS, {"list": [{"method": "GET", "uri": "/a", **more}]}, {})


@pytest.mark.parametrize(
    "part", [{"uri": "/a", "URI": "/b"}, {"uri": "/a", "body": {"id": 1, "Id": 2}}], ids=["part", "member"]
)
def test_a_member_in_two_spellings_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(BatchUnreadable):
        split(PARAMETERS, {"list": [{"method": "GET", **part}]}, {})


def test_places() -> None:
    assert under(("a", "0"), ("a", "0", "b"))
    assert under((), ("a",))
    assert not under(("a", "0"), ("a",))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["requests", "method", "url", "body"]), inner),
    )
)
def test_no_document_makes_taking_apart_fail_otherwise(document: Any) -> None:
    try:
        for part in split(COMPOSITE, document, {}):
            assert part.url.startswith("/") or "://" in part.url
    except BatchUnreadable:
        pass
