"""Compiling a profile file: every problem is told, nothing half-valid is used."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.profile import ProfileInvalid, load_profile
from policies.profile_file import compile_profile
from policies.profile_source import read_source

MINIMAL: dict[str, Any] = {
    "profile": "own",
    "title": "Own CRM",
    "version": "1",
    "protocol": "html-forms",
    "fields": {"contact": {"phone": {"kind": "phone", "max": 50}, "note": {"kind": "text"}}},
    "rule_sets": {"contact": [{"select": "phone", "field": ".phone"}]},
    "operations": [
        {"id": "contact.create", "entity": "contact", "action": "create", "paths": ["/add"], "rules": ["contact"]}
    ],
}


def _write(folder: Path, source: object) -> Path:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(source), encoding="utf-8")
    return path


def test_own_profile_is_loaded_by_path(tmp_path: Path) -> None:
    profile = load_profile(_write(tmp_path, MINIMAL))
    assert profile.classify("POST", "/add/", "", None, "").rules[0].field == profile.field_specs[("contact", "phone")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"colour": "red"}, "colour"),
        ({"protocol": "smoke-signals"}, "protocol"),
        ({"fields": []}, "fields"),
        ({"operations": [{"id": "Bad Id", "action": "read", "paths": ["/x"]}]}, "operations.0.id"),
        ({"fields": {"contact": {"phone": {"kind": "shoe-size"}}}}, "kind"),
    ],
)
def test_schema_problem_names_the_place(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        read_source(_write(tmp_path, {**MINIMAL, **change}))
    assert any(told in problem for problem in caught.value.problems)


def test_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(ProfileInvalid):
        read_source(path)


def test_all_unresolved_names_are_told_at_once() -> None:
    source = {
        **MINIMAL,
        "rule_sets": {"contact": [{"select": "x", "field": ".nothing"}]},
        "operations": [
            {
                "id": "contact.create",
                "entity": "contact",
                "action": "create",
                "paths": ["/a"],
                "rules": ["contact", "missing"],
                "searches": ["absent"],
            },
            {"id": "contact.other", "entity": "contact", "action": "create", "paths": ["/a", "/b/{x:odd}"]},
        ],
        "record_pages": {"/p/{record:odd}": "contact"},
    }
    with pytest.raises(ProfileInvalid) as caught:
        compile_profile(source)
    told = " ".join(caught.value.problems)
    for part in (".nothing", "missing", "absent", "/a", "/b/{x:odd}", "/p/{record:odd}"):
        assert part in told


def test_one_id_cannot_expect_two_kinds_of_answers() -> None:
    entry = {"id": "contact.create", "entity": "contact", "action": "create"}
    operations = [{**entry, "paths": ["/a"], "answer": {"location": True}}, {**entry, "paths": ["/b"]}]
    with pytest.raises(ProfileInvalid, match="different answers"):
        compile_profile({**MINIMAL, "operations": operations})


def test_label_cannot_stand_for_two_kinds() -> None:
    fields = {
        "contact": {"phone": {"kind": "phone", "labels": ["No"]}, "card": {"kind": "bank_card", "labels": ["no"]}}
    }
    with pytest.raises(ProfileInvalid, match="two kinds"):
        compile_profile({**MINIMAL, "fields": fields})


def test_form_pages_of_writes_are_reads() -> None:
    operations = [{**MINIMAL["operations"][0], "form": True}]
    profile = compile_profile({**MINIMAL, "operations": operations})
    page = profile.classify("GET", "/add", "", None, "")
    assert (page.id, page.action.value, page.rules) == ("contact.create_form", "read", ())
