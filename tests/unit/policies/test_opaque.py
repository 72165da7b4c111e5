"""What a profile says of files that cannot be looked into: by operation, by direction, and what goes without saying."""

from typing import Any

import pytest

from policies.check import explain
from policies.opaque import STANDARD, Opaque, OpaqueRule, compile_opaque
from policies.operation import with_record
from policies.profile import ProfileInvalid, load_profile
from policies.profile_file import compile_profile
from policies.profile_source import read_source, validated

FORM = "application/x-www-form-urlencoded"


def source(operation: Any = None, profile: Any = None, **changed: Any) -> dict[str, Any]:
    """The shipped profile of BottleCRM with policies for its documents."""
    made = read_source("bottle")
    made["opaque"] = profile or made["opaque"]
    for entry in made["operations"]:
        if entry["id"] == "document.create":
            entry.update(changed)
            if operation is not None:
                entry["opaque"] = operation
    return made


@pytest.mark.parametrize(
    ("operation", "profile", "rule"),
    [
        (None, None, STANDARD),
        (None, "strip", OpaqueRule(Opaque.STRIP, Opaque.STRIP)),
        ("refuse", "pass", OpaqueRule(Opaque.REFUSE, Opaque.REFUSE)),
        ({"uploads": "refuse"}, None, OpaqueRule(Opaque.REFUSE, Opaque.DEFAULT)),
        ({"answers": "strip"}, {"uploads": "refuse", "answers": "pass"}, OpaqueRule(Opaque.REFUSE, Opaque.STRIP)),
    ],
)
def test_an_operation_counts_before_the_profile_in_each_direction(operation: Any, profile: Any, rule: Any) -> None:
    made = compile_profile(validated(source(operation, profile)))
    found = made.classify("POST", "/api/documents/", "", b"", "application/json")
    assert found.id == "document.create"
    assert found.opaque == rule
    assert with_record(found, "7").opaque == rule


def test_shipped_profiles_leave_everything_as_it_was() -> None:
    assert load_profile("creme").classify("POST", "/documents/document/add", "", None, FORM).opaque == STANDARD
    assert compile_opaque({}, {}) == STANDARD


@pytest.mark.parametrize("value", ["maybe", {}, {"uploads": "maybe"}, {"both": "pass"}])
def test_other_words_are_told(value: Any) -> None:
    with pytest.raises(ProfileInvalid):
        validated(source(value))


def test_a_policy_where_nothing_is_looked_at_is_told() -> None:
    with pytest.raises(ProfileInvalid) as caught:
        compile_profile(validated(source("strip", left_alone=True)))
    assert any("opaque has no effect" in problem for problem in caught.value.problems)


def test_explain_says_which_policy_applies() -> None:
    made = compile_profile(validated(source({"uploads": "strip", "answers": "refuse"})))
    notes = explain(made, "POST", "/api/documents/").notes
    assert (
        "files that cannot be looked into: uploaded ones are left out of forms, and refused where they stand elsewhere;"
        " answers are refused to everybody"
    ) in notes
