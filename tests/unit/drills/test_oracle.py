"""What the oracle drill takes for a difference, and what for chance."""

import json
from typing import Any

import pytest

from gateway.demo.browser import Answer
from tests.drills.oracle import normalise
from tests.drills.oracle_probe import by_chance


def answer(value: Any) -> Answer:
    """A JSON answer of a CRM."""
    return Answer(
        "GET", "https://crm.localhost/", 200, (("content-type", "application/json"),), json.dumps(value).encode()
    )


ONE = {"results": [{"name": "a"}, {"name": "b"}], "accounts_list": [{"n": 1}, {"n": 2}], "offset": 3}
OTHER = {"results": [{"name": "b"}, {"name": "a"}], "accounts_list": [{"n": 2}, {"n": 1}], "offset": None}


def test_the_order_of_rows_counts_unless_the_probe_says_that_ids_decide_it() -> None:
    told = [normalise(answer(one), ("offset",)) for one in (ONE, OTHER)]
    assert told[0] != told[1]
    told = [normalise(answer(one), ("offset",), any_order=True) for one in (ONE, OTHER)]
    assert told[0] == told[1]


def test_lists_that_come_in_the_order_of_random_ids_are_alike_in_any() -> None:
    moved = {**ONE, "accounts_list": OTHER["accounts_list"]}
    assert normalise(answer(ONE), ("offset",)) == normalise(answer(moved), ("offset",))


def test_what_one_side_has_more_is_a_difference_in_any_order() -> None:
    more = {**ONE, "results": [*ONE["results"], {"name": "a"}]}
    told = [normalise(answer(one), ("offset",), any_order=True) for one in (ONE, more)]
    assert told[0] != told[1]


@pytest.mark.parametrize(
    ("text", "chance"),
    [("z", True), ("139", True), ("13907731", False), ("zhang", False), ("张", False), ("abc", True)],
)
def test_a_few_letters_or_digits_may_be_part_of_surrogates(text: str, chance: bool) -> None:
    assert by_chance(text) is chance
