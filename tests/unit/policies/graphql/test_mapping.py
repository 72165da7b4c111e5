"""What a profile may say of a GraphQL schema."""

import json
from typing import Any

import pytest
import yaml

from policies.graphql.mapping import Compare, Introspection, Means
from policies.operation import Action
from policies.profile import Profile, ProfileInvalid
from policies.profile_file import compile_profile
from policies.profile_source import validated
from tests.hosted.twenty import PROFILE


def compiled(change: Any) -> Profile:
    source = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    change(source)
    return compile_profile(validated(source))


def test_the_profile_of_the_tests_compiles(profile: Profile) -> None:
    mapping = profile.graphql
    assert mapping is not None
    assert mapping.introspection is Introspection.EVERYTHING
    assert (mapping.operator(Compare.EQUAL), mapping.operator(Compare.SUFFIX)) == ("eq", "")
    assert mapping.queries["people"].arguments["filter"].means is Means.FILTER
    assert mapping.mutations["deletePerson"].operation.action is Action.DELETE
    assert {"graphql.schema", "person.list", "person.create"} <= set(profile.operation_ids)
    assert mapping.closed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda at: at["types"]["Person"]["fields"].update(x="person.none"), "'person.none' is not declared"),
        (lambda at: at["types"]["Person"]["fields"].update(x={"type": "None"}), "type 'None' is not declared"),
        (lambda at: at["queries"]["people"].update(type="None"), "type 'None' is not declared"),
        (lambda at: at["queries"]["people"]["arguments"].update(x={"filter": "None"}), "type 'None' is not declared"),
        (lambda at: at.update(operators={"like": ["ilike"]}), "neither `equal` nor `among`"),
        (lambda at: at["queries"]["people"].update(action="login"), "is not one of"),
        (lambda at: at.update(introspection="some"), "is not one of"),
        (lambda at: at.update(paths=["/"]), "path template given twice"),
        (lambda at: at["queries"]["people"]["arguments"].update(x={"filter": "Person", "order": "Person"}), "valid"),
    ],
)
def test_mistakes_are_told(change: Any, said: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        compiled(lambda source: change(source["graphql"]))
    assert said in str(caught.value)


def test_fields_in_another_form_than_surrogates_cannot_be_mapped() -> None:
    def change(source: Any) -> None:
        source["fields"]["person"]["intro"] = {"kind": "text", "max": 4000, "form": "cell"}

    with pytest.raises(ProfileInvalid) as caught:
        compiled(change)
    assert "GraphQL takes surrogates only" in str(caught.value)


def test_names_with_an_operator_in_them() -> None:
    def change(source: Any) -> None:
        source["graphql"] |= {"joined": "__", "introspection": "none"}

    profile = compiled(change)
    assert profile.graphql is not None
    text = '{ people(filter: {idCard__eq: "1", city__gt: "a"}, orderBy: idCard__asc) { totalCount } }'
    body = json.dumps({"query": text}).encode()
    asked = profile.classify("POST", "/graphql", "", body, "application/json").graphql
    assert asked is not None
    assert [(one.column, one.compare) for one in asked.parts[0].tests] == [("idCard", Compare.EQUAL)]
    assert [one.column for one in asked.parts[0].used] == ["idCard"]
    assert asked.parts[0].unknown == []
    asked = profile.classify("POST", "/graphql", "", b'{"query": "{ __schema { x } }"}', "application/json").graphql
    assert asked is not None
    assert asked.problem == "graphql-introspection"
