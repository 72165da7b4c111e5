"""Names in other letters: found wherever they stand in a body, and only where they are a declared one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.operation import Action, BodyRule, Operation
from policies.owner import OwnerRule
from policies.spelling import respelled

OPERATION = Operation(
    "contact.create",
    "contact",
    Action.CREATE,
    rules=(BodyRule(("LastName",), None), BodyRule(("**", "sObjects", "#", "Phone", "#"), None)),
    owners=(OwnerRule(("OwnerId",)),),
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("LastName",), None),
        (("lastname",), "LastName"),
        (("records", "0", "LASTNAME"), "LastName"),
        (("Envelope", "Body", "create", "sobjects", "phone"), "sObjects"),
        (("ownerid",), "OwnerId"),
        (("Last_Name",), None),
        (("LastNames",), None),
        (("0",), None),
        ((), None),
    ],
)
def test_a_declared_name_in_other_letters_is_told(path: tuple[str, ...], name: str | None) -> None:
    assert respelled(OPERATION, [("Industry",), path]) == name


@given(st.lists(st.lists(st.text(max_size=12), max_size=4), max_size=6))
def test_no_path_raises(paths: list[list[str]]) -> None:
    assert respelled(OPERATION, paths) in (None, "LastName", "sObjects", "Phone", "OwnerId")
