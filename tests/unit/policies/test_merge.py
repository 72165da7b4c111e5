"""Merge rules of a profile: compiled, found on the operation that carries them, refused where they cannot be."""

from typing import Any

import pytest
import yaml

from policies.merge import SortKey, compile_merges
from policies.profile import ProfileInvalid, load_profile
from policies.profile_file import compile_profile
from policies.profile_source import PROFILES, validated

RULE = {
    "paging": {"offset": "offset", "size": "limit", "default": 10},
    "lists": [{"rows": ["results"], "id": ["id"], "totals": [["count"]]}],
    "sort": [{"key": ["made"], "descending": True, "as": "time"}],
}


def profile(**operation: Any) -> dict[str, Any]:
    source = yaml.safe_load((PROFILES / "bottle.yaml").read_text())
    source["merges"] = {"contacts": RULE}
    source["operations"] = [
        {"id": "contact.list", "entity": "contact", "action": "list", "paths": ["/api/contacts"], **operation},
        *[
            {k: v for k, v in one.items() if k != "merge"}
            for one in source["operations"]
            if one["id"] != "contact.list"
        ],
    ]
    return source


def test_a_rule_is_compiled_with_its_defaults() -> None:
    rule = compile_merges({"contacts": RULE})["contacts"]
    assert rule.sort == (SortKey(("made",), True, "time"),)
    assert (rule.paging.ask, rule.paging.first, rule.most) == (100, 1, 40)


def test_the_operation_carries_the_rule_whatever_record_it_names() -> None:
    found = compile_profile(validated(profile(merge="contacts"))).classify("GET", "/api/contacts/", "phone=1", None, "")
    assert found.merge is not None
    assert found.merge.lists[0].rows == ("results",)


@pytest.mark.parametrize(
    "operation", [{"merge": "nobody"}, {"merge": "contacts", "action": "update", "methods": ["POST"]}]
)
def test_an_unknown_rule_and_one_on_a_write_are_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(ProfileInvalid):
        compile_profile(validated(profile(**operation)))


def test_a_list_that_tells_neither_its_total_nor_whether_more_follows_cannot_be_merged() -> None:
    source = profile(merge="contacts")
    source["merges"] = {"contacts": {**RULE, "lists": [{"rows": ["results"], "id": ["id"]}]}}
    with pytest.raises(ProfileInvalid):
        validated(source)


@pytest.mark.parametrize("name", ["bottle", "hubspot", "zoho"])
def test_shipped_profiles_that_take_one_value_say_how_their_lists_are_merged(name: str) -> None:
    profile = load_profile(name)
    merged = [one["id"] for one in profile.source["operations"] if "merge" in one]
    assert merged
