"""Answers that a value is taken: each declared shape is known, and what is no such answer is not."""

import pytest

from policies.profile import load_profile
from policies.unique import compile_unique, tells

FIELDS = [("contact", "email")]


def rule(**answer: object) -> object:
    return compile_unique({"fields": ["contact.email"], "answers": [answer]}, FIELDS)


@pytest.mark.parametrize(
    ("answer", "status", "body", "told"),
    [
        ({"status": [409]}, 409, b"", True),
        ({"status": [409]}, 400, b"", False),
        ({"json": ["errors", "email"], "text": "already"}, 400, b'{"errors":{"email":["It is ALREADY here"]}}', True),
        ({"json": ["errors", "email"], "text": "already"}, 400, b'{"errors":{"email":["No address"]}}', False),
        ({"json": ["errors", "email"], "text": "already"}, 400, b'{"errors":{"phone":["already"]}}', False),
        ({"json": ["errors", "email"]}, 400, b'{"errors":{"email":[]}}', False),
        ({"json": ["data", "*", "code"], "text": "^DUP$"}, 200, b'{"data":[{"code":"OK"},{"code":"DUP"}]}', True),
        ({"json": ["data", "*", "code"], "text": "^DUP$"}, 200, b'{"data":{"code":"DUP"}}', False),
        ({"json": ["a"]}, 200, b"{", False),
        ({"css": "ul.errorlist li", "text": "exist"}, 200, b"<ul class=errorlist><li>exists</li></ul>", True),
        ({"css": "ul.errorlist li", "text": "exist"}, 200, b"<p>exists</p>", False),
        ({"text": "duplicate"}, 500, b"DUPLICATE key", True),
        ({"text": "duplicate"}, 500, b"\xff", False),
    ],
)
def test_an_answer_tells_what_its_rule_says(answer: dict[str, object], status: int, body: bytes, told: bool) -> None:
    assert tells(rule(**answer), status, body) is told  # type: ignore[arg-type]


def test_without_a_rule_a_conflict_tells() -> None:
    assert tells(None, 409, b"")
    assert not tells(None, 400, b"")


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to repeat"):
        rule(text="*")


@pytest.mark.parametrize("name", ["bottle", "hubspot", "zoho"])
def test_shipped_profiles_say_which_fields_are_unique(name: str) -> None:
    profile = load_profile(name)
    unique = [one for one in profile.source["operations"] if "unique" in one]
    assert {"create", "update"} <= {one["action"] for one in unique}


def test_the_operation_of_a_record_carries_the_rule() -> None:
    path = "/api/contacts/552836ee-05be-45c2-9941-b5e46120255f/"
    found = load_profile("bottle").classify("PATCH", path, "", None, "")
    assert found.record is not None
    assert found.unique is not None
    assert found.unique.fields == {("contact", "email")}
    body = b'{"error":true,"errors":{"email":["Contact already exists with this email"]}}'
    assert tells(found.unique, 400, body)
    assert not tells(found.unique, 400, b'{"error":true,"errors":{"email":["Enter a valid email address."]}}')
