"""A path as a body with one value."""

import pytest

from gateway.body.fault import BodyMalformed
from gateway.body.path import open_path

KEYS = [("Contact", "Email__c", "{}"), ("Contact", "Email", "{}")]


def test_an_unchanged_path_is_the_same_byte_for_byte() -> None:
    path = "/v60.0/Contact/Email/a%2bb%40x.com"
    document = open_path(path, KEYS)
    assert [(leaf.path, leaf.text) for leaf in document.leaves] == [(KEYS[1], "a+b@x.com")]
    assert document.encode() == path.encode()


def test_a_changed_value_is_written_in_its_place() -> None:
    document = open_path("/v60.0/Contact/Email__c/a", KEYS)
    document.leaves[0].new = "b@x"
    assert document.encode() == b"/v60.0/Contact/Email__c/b%40x"


@pytest.mark.parametrize("path", ["/v60.0/Contact/Phone/1", "/v60.0/Contact/Email/a%2Fb", "/v60.0/Contact/Email/%ff"])
def test_a_path_without_a_readable_value_is_refused(path: str) -> None:
    with pytest.raises(BodyMalformed):
        open_path(path, KEYS)


def test_a_value_that_cannot_stand_there_is_refused() -> None:
    document = open_path("/v60.0/Contact/Email/a", KEYS)
    document.leaves[0].new = "a/b"
    with pytest.raises(BodyMalformed):
        document.encode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/c/a@b.example/profile", "/c/e.x@enc.invalid/profile"),
        ("/c/a%40b.example/profile", "/c/e.x%40enc.invalid/profile"),
    ],
)
def test_a_named_value_keeps_the_clients_way_of_escaping(path: str, expected: str) -> None:
    document = open_path(path, [], [("email", "a@b.example")])
    assert document.encode() == path.encode()
    document.leaves[0].new = "e.x@enc.invalid"
    assert document.encode() == expected.encode()


def test_a_named_value_that_is_no_segment_is_refused() -> None:
    with pytest.raises(BodyMalformed):
        open_path("/c/x", [], [("email", "y")])
