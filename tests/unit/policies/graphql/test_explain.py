"""What people at a command line learn of a GraphQL request."""

import json

import pytest

from policies.case import cases_path, differences, read_cases
from policies.check import explain
from policies.enforcer import Enforcer
from policies.profile import Profile
from tests.hosted.twenty import PATH, PROFILE

CASES = read_cases(cases_path(PROFILE)).cases


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_recorded_requests_mean_what_is_written_down(profile: Profile, case: object) -> None:
    assert differences(profile, case) == []  # type: ignore[arg-type]


def test_a_case_that_expects_something_else_says_what_is_different(profile: Profile) -> None:
    first = CASES[0]
    wrong = type(first)(**{**{name: getattr(first, name) for name in first.__dataclass_fields__}, "searched": {}})
    assert any("search in x/filter/or/0" in one for one in differences(profile, wrong))


def test_explain_says_what_would_happen_to_whom(profile: Profile) -> None:
    bundle = Enforcer(profile.field_specs, profile.operation_ids).load()

    def told(text: str, role: str) -> str:
        body = json.dumps({"query": text}).encode()
        return explain(profile, "POST", PATH, body, "application/json", bundle=bundle, roles=[role]).outcome

    by_card = '{ people(filter: {idCard: {eq: "1"}}) { totalCount } }'
    assert told(by_card, "manager") == "would be forwarded"
    assert told(by_card, "sales") == "would be refused: field-not-searchable"
    assert told("{ people(orderBy: {idCard: A}) { totalCount } }", "sales") == "would be refused: field-not-ordered"
    assert told("{ people { odd } }", "sales") == "would be refused: graphql-unmapped"
    assert told("{ __schema { x } }", "sales") == "would be refused: graphql-introspection"
    assert told("subscription { x }", "manager") == "would be refused: graphql-subscription"
    assert told("mutation { deletePerson(id: 1) { id } }", "sales") == "would be refused: not-allowed"
    assert told("{ people { totalCount } }", "sales") == "would be forwarded"
    given = {"query": 'mutation { createPerson(data: {intro: "Wang", idCard: "1"}) { id } }'}
    whole = explain(profile, "POST", PATH, json.dumps(given).encode(), "application/json")
    assert [(one.path, one.treatment, one.field) for one in whole.leaves] == [
        ("createPerson/data/intro", "text", "person.intro"),
        ("createPerson/data/idCard", "field", "person.id_card"),
    ]
    assert "Wang" not in repr(whole)
