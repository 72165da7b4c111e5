"""What a profile says about walking through a CRM."""

import copy

import pytest

from policies.profile import ProfileInvalid, load_profile
from policies.profile_file import compile_profile
from policies.profile_source import PROFILES, read_source
from policies.walk import Walk


def walk_of(name: str) -> Walk:
    walk = load_profile(name).walk
    assert walk is not None
    return walk


def test_the_first_pattern_that_fits_says_what_a_field_is() -> None:
    contact = walk_of("creme").entity("contact")
    mobile = contact.spec_of("mobile", {})
    assert mobile is not None
    assert (mobile.entity, mobile.name, mobile.kind) == ("contact", "mobile", "phone")
    custom = contact.spec_of("custom_field-7", {})
    assert custom is not None
    assert custom.kind is None
    assert contact.spec_of("sector", {}) is None


@pytest.mark.parametrize(
    ("kind", "field"), [("email", "email"), ("mobile", "mobile"), ("sip", "contact"), ("", "contact")]
)
def test_another_column_may_decide_what_a_column_holds(kind: str, field: str) -> None:
    mechanism = walk_of("tryton").entity("mechanism")
    spec = mechanism.spec_of("value", {"type": kind})
    assert spec is not None
    assert (spec.entity, spec.name) == ("party", field)
    assert mechanism.deciding == {"type"}
    assert mechanism.parent == ("party", "party")


def test_the_name_of_a_database_in_the_path_has_to_be_asked_for() -> None:
    assert walk_of("tryton").asks == ("db",)
    assert walk_of("creme").asks == ()
    assert load_profile("generic").walk is None


def test_fields_that_do_not_exist_are_told() -> None:
    source = copy.deepcopy(read_source("creme"))
    source["walk"]["entities"][0]["fields"]["last_name"] = ".surname"
    with pytest.raises(ProfileInvalid, match=r"walk contact: field '\.surname' is not declared"):
        compile_profile(source)


def test_a_list_without_a_page_is_refused(tmp_path: object) -> None:
    text = (PROFILES / "creme.yaml").read_text(encoding="utf-8").replace("rows=100&page={page}", "rows=100")
    file = tmp_path / "crm.yaml"  # type: ignore[operator]
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileInvalid, match=r"walk.entities.0.list.path"):
        read_source(file)
