"""A value in a path changes in its own segment and in the client's way of escaping."""

import pytest

from gateway.body.fault import BodyMalformed
from gateway.body.path import PathDocument


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/c/a@b.example/profile", "/c/e.x@enc.invalid/profile"),
        ("/c/a%40b.example/profile", "/c/e.x%40enc.invalid/profile"),
    ],
)
def test_the_way_of_escaping_stays(path: str, expected: str) -> None:
    document = PathDocument(path, [("email", "a@b.example")])
    assert document.encode() == path.encode()
    document.leaves[0].new = "e.x@enc.invalid"
    assert document.encode() == expected.encode()


def test_a_value_that_is_no_segment_is_refused() -> None:
    with pytest.raises(BodyMalformed):
        PathDocument("/c/x", [("email", "y")])
