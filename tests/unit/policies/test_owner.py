"""Owners that a record has from another one."""

from policies.owner import OwnedThrough, read_through
from policies.profile import load_profile


def test_the_form_names_the_record_the_owner_comes_from() -> None:
    through = OwnedThrough("company", "company")
    assert through.key({"company": "12"}) == ("company", "12")
    assert through.key({"company": "twelve"}) is None
    assert through.key({}) is None


def test_what_such_a_form_says_of_an_owner_does_not_count() -> None:
    profile = load_profile("djangocrm")
    contact = profile.classify("POST", "/en/123/crm/contact/add/", "", b"", "")
    company = profile.classify("POST", "/en/123/crm/company/add/", "", b"", "")
    assert profile.owner_from_body(contact, {"owner": "5", "company": "12"}) is None
    assert profile.owner_from_body(company, {"owner": "5"}) == "5"
    assert set(profile.posted_fields) == {"owner", "company"}


def test_a_profile_without_such_records_has_none() -> None:
    assert read_through({"source": "form", "entities": ["contact"]}) == {}
