"""Answers name what they show as queries do: columns of tables are places, too."""

import pytest

from policies.profile import load_profile
from policies.taxonomy import Kind


@pytest.mark.parametrize(
    ("profile", "key", "field"),
    [
        ("dynamics", ("", "fullname"), ("contact", "full_name")),
        ("dynamics", ("lead", "emailaddress1"), ("lead", "email")),
        ("salesforce", ("", "LastName"), ("contact", "last_name")),
        ("zoho", ("contact", "Mobile"), ("contact", "mobile")),
    ],
)
def test_columns_of_queries_are_places_of_answers(profile: str, key: tuple[str, str], field: tuple[str, str]) -> None:
    spec = load_profile(profile).places.keys[key]
    assert (spec.entity, spec.name) == field


def test_a_company_name_that_is_nobodys_secret_stays_one_in_answers_about_companies() -> None:
    keys = load_profile("dynamics").places.keys
    assert keys["account", "name"].kind is None
    assert ("", "name") not in keys


def test_what_a_profile_says_itself_comes_first() -> None:
    keys = load_profile("bottle").places.keys
    assert keys["", "last_name"].kind is Kind.NAME
