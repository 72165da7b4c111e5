"""Conditions hold only where a request can be read in one way; everything else is no match."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.condition import (
    ALWAYS,
    Asked,
    Condition,
    Unreadable,
    chosen,
    compile_condition,
    compile_places,
    fits,
    joined_at,
    pointer_of,
    read_document,
    values_at,
)

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def asked(body: Any = None, query: str = "", content_type: str = JSON) -> Asked:
    return Asked({}, query, body if isinstance(body, bytes) else json.dumps(body).encode(), content_type)


def holds(source: dict[str, Any], request: Asked) -> bool:
    return compile_condition(source).holds(request)


@pytest.mark.parametrize(
    ("wanted", "body", "expected"),
    [
        ({"/a": "x"}, {"a": "x"}, True),
        ({"/a": "x"}, {"a": "y"}, False),
        ({"/a": ["x", "y"]}, {"a": "y"}, True),
        ({"/a": 200}, {"a": 200}, True),
        ({"/a": 200}, {"a": "200"}, True),
        ({"/a": True}, {"a": True}, True),
        ({"/a": True}, {"a": 1}, False),
        ({"/a": None}, {}, True),
        ({"/a": None}, {"a": None}, True),
        ({"/a": None}, {"a": ""}, False),
        ({"/a": [None, "x"]}, {}, True),
        ({"/a": [None, "x"]}, {"a": "z"}, False),
        ({"/a": "*"}, {"a": 1.5}, True),
        ({"/a": "*"}, {}, False),
        ({"/a": "{}"}, {"a": {"b": 1}}, True),
        ({"/a": "{}"}, {"a": [1]}, False),
        ({"/a": "[]"}, {"a": [1]}, True),
        ({"/a/0/b": "x"}, {"a": [{"b": "x"}]}, True),
        ({"/a~1b/c~0d": "x"}, {"a/b": {"c~d": "x"}}, True),
    ],
)
def test_values_in_a_json_body(wanted: dict[str, Any], body: Any, expected: bool) -> None:
    assert holds({"json": wanted}, asked(body)) is expected


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b'{"a":"x","a":"y"}', JSON),
        (b'{"b":{"a":1,"a":1},"a":"x"}', JSON),
        (b'{"a":NaN}', JSON),
        (b'\xef\xbb\xbf{"a":"x"}', JSON),
        ('{"a":"x"}'.encode("utf-16"), JSON),
        (b'{"a":"\xff"}', JSON),
        (b"[" * 100_000, JSON),
        (b'{"a":"x"}', "text/plain"),
        (b'{"a":"x"}', ""),
        (b'{"a":"x"}', "application/json; charset=utf-16"),
    ],
)
def test_what_two_readers_could_read_differently_is_unreadable(body: bytes, content_type: str) -> None:
    with pytest.raises(Unreadable):
        holds({"json": {"/a": "x"}}, asked(body, content_type=content_type))
    with pytest.raises(Unreadable):
        holds({"json": {"/a": None}}, asked(body, content_type=content_type))


def test_a_parameter_that_says_two_things_is_unreadable_and_others_do_not_matter() -> None:
    assert holds({"query": {"key": "email"}}, asked(query="key=email&key=email"))
    assert holds({"query": {"key": "email"}}, asked(query="x=1&x=2&key=email"))
    with pytest.raises(Unreadable):
        holds({"query": {"key": "email"}}, asked(query="key=email&key=phone"))
    with pytest.raises(Unreadable):
        holds({"query": {"key": "email"}}, asked(query="key=%ff"))


def test_an_empty_body_has_no_form_field() -> None:
    assert not holds({"form": {"action": "export"}}, asked(b"", content_type=FORM))
    assert holds({"form": {"action": None}}, asked(b""))


def test_form_fields_count_only_in_a_form() -> None:
    assert holds({"form": {"action": "delete"}}, asked(b"x=1&action=delete&action=delete", content_type=FORM))
    assert holds({"form": {"xoql": "*"}}, asked(b"xoql=select+1", content_type=FORM))
    for body, kind in ((b"xoql=1&xoql=2", FORM), (b"xoql=1", JSON)):
        with pytest.raises(Unreadable):
            holds({"form": {"xoql": "*"}}, asked(body, content_type=kind))


def test_the_first_choice_that_holds_counts() -> None:
    choices = [(compile_condition({"json": {"/a": "x"}}), "x"), (ALWAYS, "other")]
    assert chosen(choices, asked({"a": "x"})) == "x"
    assert chosen(choices, asked({"a": "y"})) == "other"
    assert chosen(choices[:1], asked({"a": "y"})) is None
    with pytest.raises(Unreadable):
        chosen(choices, asked(b"{"))


def test_places_of_ids_and_credentials() -> None:
    document = {"inputs": [{"id": "1"}, {"id": 2}, {"id": True}], "ids": [3, "4"], "t": "ab", "u": 5}
    assert values_at(document, pointer_of("/inputs/*/id")) == ["1", "2"]
    assert values_at(document, pointer_of("/ids")) == ["3", "4"]
    assert values_at(document, pointer_of("/none/*")) == []
    assert joined_at(document, [("t",), ("u",)]) == "2:ab1:5"
    assert joined_at(document, [("t",), ("none",)]) is None
    assert joined_at({"a": "1:2", "b": "3"}, [("a",), ("b",)]) != joined_at({"a": "1", "b": "2:3"}, [("a",), ("b",)])
    assert fits(compile_places({"/u": 5}), document)
    assert not fits(compile_places({"/u": 5}), None)


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail_otherwise(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        read_document(data)


def test_nothing_wanted_holds_always() -> None:
    assert Condition().holds(asked(b"\xff", content_type="text/plain"))
