"""Names of columns are read out of sorts, groups and clauses."""

import pytest

from policies.column import ColumnRule
from policies.operation import Where


def rule(**more: object) -> ColumnRule:
    columns = {"email": None, "parent.phone": None}
    return ColumnRule(Where.JSON, ("x",), columns, ("id", "hs_*"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("email", ["email"]),
        ("-email", ["email"]),
        ("email desc, id", ["email", "id"]),
        ("created:month", ["created"]),
        (" , ", []),
    ],
)
def test_bare_names_of_an_order(text: str, names: list[str]) -> None:
    assert list(rule(order=True).names(text)) == names


def test_a_filter_names_one_column() -> None:
    assert list(rule().names("a,b")) == ["a,b"]


def test_the_longest_known_ending_counts() -> None:
    assert rule().known("partner.email") == "email"
    assert rule().known("x.parent.phone") == "parent.phone"
    assert rule().known("phone") is None


def test_open_columns_are_patterns() -> None:
    assert rule().is_open("hs_object_id")
    assert not rule().is_open("email")
