import json

import pytest

from policies.graphql.mapping import Compare
from policies.graphql.part import By, Unknown
from policies.operation import Action
from policies.profile import Profile
from tests.hosted.twenty import PATH
from tests.unit.policies.graphql.conftest import Ask

ID = "00000000-0000-4000-8000-000000000001"


def test_each_top_level_field_is_a_part_with_an_operation_of_its_own(ask: Ask) -> None:
    asked = ask(f'mutation {{ a: createPerson(data: {{}}) {{ id }} b: deletePerson(id: "{ID}") {{ id }} }}')
    assert [(one.key, one.operation.id, one.operation.record) for one in asked.parts] == [
        ("a", "person.create", None),
        ("b", "person.delete", ID),
    ]
    assert (asked.operation.id, asked.operation.record, asked.operation.binds) == ("person.create", None, False)
    alone = ask(f'{{ person(filter: {{id: {{eq: "{ID}"}}}}) {{ id }} }}')
    assert (alone.operation.id, alone.operation.action, alone.operation.record) == ("person.read", Action.READ, ID)
    several = ask(f'{{ people(filter: {{id: {{in: ["{ID}", "{ID[:-1]}2"]}}, city: {{eq: "x"}}}}) {{ totalCount }} }}')
    assert several.operation.records == ()  # names them only among others


def test_filters_are_followed_through_variables_lists_and_relations(ask: Ask) -> None:
    text = """query Q($f: PersonFilterInput, $c: String = "d") {
      people(filter: {and: [$f, {company: {name: {eq: $c}}}]}) { totalCount } }"""
    asked = ask(text, {"f": {"or": [{"emails": {"primaryEmail": {"in": ["a", "b"]}}}, {"idCard": {"gt": "1"}}]}})
    found = [(one.column, one.compare, [each.text for each in one.operands]) for one in asked.parts[0].tests]
    assert found == [
        ("primaryEmail", Compare.AMONG, ["a", "b"]),
        ("idCard", Compare.RANGE, ["1"]),
        ("name", Compare.EQUAL, ["d"]),
    ]


def test_values_that_are_no_text_are_no_comparison_of_whole_values(ask: Ask) -> None:
    for operand, compare in (("null", Compare.EMPTY), ("{x: 1}", Compare.RANGE), ("TRUE", Compare.RANGE)):
        asked = ask(f"{{ people(filter: {{idCard: {{eq: {operand}}}}}) {{ totalCount }} }}")
        assert asked.parts[0].tests[0].compare is compare


def test_what_nobody_declared_is_unknown_wherever_it_stands(ask: Ask) -> None:
    for text, where in (
        ("{ people { edges { node { id: secret } } } }", Unknown.FIELD),
        ("{ people { edges { node { ... on Robot { id } } } } }", Unknown.FIELD),
        ("{ people(where: {}) { totalCount } }", Unknown.ARGUMENT),
        ('{ people(filter: {secret: {eq: "x"}}) { totalCount } }', Unknown.FILTER),
        ('{ people(filter: "email = x") { totalCount } }', Unknown.FILTER),
        ("{ people(orderBy: {secret: ASC}) { totalCount } }", Unknown.ORDER),
        ("{ people(orderBy: SECRET_ASC) { totalCount } }", Unknown.ORDER),
        ("mutation { createPerson(data: {company: {connect: {name: {eq: 1}}}}) { id } }", Unknown.INPUT),
        ("mutation { createPerson(data: {secret: [{a: 1}]}) { id } }", Unknown.INPUT),
    ):
        asked = ask(text)
        assert asked.problem == ""
        assert [one for one, _ in asked.parts[0].unknown] == [where] * len(asked.parts[0].unknown) != []


def test_what_a_mutation_may_store_is_never_only_asked_for(ask: Ask) -> None:
    for text in (
        'mutation { createWebhook(url: "x") { id } }',
        'mutation { createPerson(limit: "x") { id } }',
        'mutation { createPerson(data: "x") { id } }',
    ):
        part = ask(text).parts[0]
        assert [one.value.text for one in part.stored] == ["x"]
        assert part.loose == []


def test_the_input_names_the_owner(ask: Ask) -> None:
    part = ask('mutation { createPerson(data: {ownerId: "7", number: 8, company: {create: {a: "b"}}}) { id } }').parts[
        0
    ]
    assert part.named == {"ownerId": "7", "number": "8"}


def test_orders_and_groups_are_known_in_every_spelling(ask: Ask) -> None:
    for order in ("{emails: {primaryEmail: ASC}}", "[{primaryEmail: ASC}]", "PRIMARY_EMAIL_ASC", '"-primaryEmail"'):
        asked = ask(f"{{ people(orderBy: {order}) {{ totalCount }} }}")
        assert [(one.by, one.column) for one in asked.parts[0].used] == [(By.ORDER, "primaryEmail")]
    assert ask("{ people(orderBy: CREATED_AT_DESC) { totalCount } }").parts[0].used == []
    assert ask("{ people { uniqueEmails } }").parts[0].used[0].by is By.AGGREGATE


def test_an_input_says_what_each_value_is(ask: Ask) -> None:
    text = """mutation M($d: PersonInput!) { createPerson(data: $d) { id } }"""
    data = {
        "name": {"firstName": "a", "lastName": "b"},
        "emails": {"primaryEmail": None, "additionalEmails": ["c"]},
        "phones": {"primaryPhoneNumber": 5},
        "intro": "d",
        "other": "e",
        "company": {"create": {"name": "f"}},
    }
    stored = ask(text, {"d": data}).parts[0].stored
    found = {one.path[1:]: (one.spec.name if one.spec else "", one.alone, one.value.text) for one in stored}
    assert found == {
        ("name", "firstName"): ("first_name", True, "a"),
        ("name", "lastName"): ("last_name", True, "b"),
        ("emails", "primaryEmail"): ("email", True, "null"),
        ("emails", "additionalEmails"): ("other_email", False, "c"),
        ("phones", "primaryPhoneNumber"): ("phone", True, "5"),
        ("intro",): ("intro", True, "d"),
        ("other",): ("", False, "e"),
        ("company", "create", "name"): ("name", False, "f"),
    }
    assert stored[0].row == {"firstName": "a", "lastName": "b"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{ people { edges { node { id @defer } } } }", "graphql-unmapped"),
        ("query Q @cached { people { totalCount } }", "graphql-unmapped"),
        ("{ people { totalCount } ...F @x } fragment F on Query { __typename }", "graphql-unmapped"),
        ('{ people { totalCount @include(if: "x") } }', "graphql-unreadable"),
        ("{ people { totalCount @skip(unless: true) } }", "graphql-unreadable"),
        ("query Q($v: Int @x) { people(first: $v) { totalCount } }", "graphql-unreadable"),
        ("query Q($v: Int, $v: Int) { people(first: $v) { totalCount } }", "graphql-unreadable"),
        ("{ people(first: 1, first: 2) { totalCount } }", "graphql-unreadable"),
        ("{ people(first: $v) { totalCount } }", "graphql-unreadable"),
        ("query Q($v: Int) { people { totalCount } }", "graphql-unreadable"),
        ("{ ...F }", "graphql-unreadable"),
        ("{ ...F } fragment F on Query { ...F }", "graphql-unreadable"),
        ("{ people { totalCount } } fragment F on Query { people { totalCount } }", "graphql-unreadable"),
        ("mutation { a: deletePerson(id: 1) { id } a: deletePerson(id: 2) { id } }", "graphql-unreadable"),
        ("{ " + " ".join(f"a{n}: people {{ totalCount }}" for n in range(101)) + " }", "graphql-too-complex"),
        ("{ " + "people { totalCount } " * 1001 + "}", "graphql-too-complex"),
        (
            "{ ...A0 } "
            + " ".join(f"fragment A{n} on Query {{ ...A{n + 1} ...A{n + 1} }}" for n in range(20))
            + " fragment A20 on Query { __typename }",
            "graphql-too-complex",
        ),
    ],
)
def test_what_is_refused_as_it_stands(ask: Ask, text: str, reason: str) -> None:
    asked = ask(text)
    assert asked.problem == reason
    assert (asked.parts, asked.operation.granted_write) == ([], False)


def test_neither_fragments_nor_variables_multiply_what_is_read(ask: Ask) -> None:
    chain = "{ ...A0 } " + " ".join(f"fragment A{n} on Query {{ ...A{n + 1} }}" for n in range(400))
    assert ask(chain + " fragment A400 on Query { __typename }").problem == "graphql-too-complex"
    long = ", ".join(['"x"'] * 2000)
    spread = " ".join(["...F"] * 900)
    text = f"{{ {spread} }} fragment F on Query {{ people(first: [{long}]) {{ totalCount }} }}"
    assert (ask(text).problem, ask(text).what) == ("graphql-too-complex", "values")
    uses = " ".join(f"a{n}: people(first: $v) {{ totalCount }}" for n in range(90))
    wide = ask(f"query Q($v: [String]) {{ {uses} }}", {"v": ["x"] * 20_000})
    assert (wide.problem, wide.what) == ("graphql-too-complex", "values")
    once = ask("query Q($v: [String]) { people(first: $v) { totalCount } }", {"v": ["x"] * 20_000})
    assert once.problem == ""


def test_only_the_operation_that_runs_teaches(ask: Ask) -> None:
    text = "query A { people { totalCount } } mutation B { createPerson(data: {}) { id } }"
    asked = ask(text, operationName="A")
    assert [(one.key, one.executed) for one in asked.parts] == [("people", True), ("createPerson", False)]
    assert asked.operation.id == "person.create"


def test_an_alias_leads_to_the_field_behind_it(ask: Ask) -> None:
    text = """{ x: people { e: edges { n: node { city: idCard ...F ... on Person { jobTitle: intro } } } } }
      fragment F on Person { id: emails { z: primaryEmail } }"""
    node = ask(text).parts[0].shown.members["e"].members["n"]
    assert [one.name for one in node.members["city"].specs] == ["id_card"]
    assert [one.name for one in node.members["id"].members["z"].specs] == ["email"]
    assert node.key_of("emails") == "id"
    assert node.key_of("id") is None
    made = "mutation { createPerson(data: {}) { x: id id: city } }"
    assert ask(made).parts[0].record == ("x",)
    two = "mutation { createPerson(data: {}) { x: id ... on Person { x: city } } }"
    assert ask(two).parts[0].record == ()


def test_the_schema_is_asked_for_or_only_the_name_of_a_type(ask: Ask) -> None:
    assert ask("{ __schema { types { name } } }").introspects
    assert not ask("{ __typename people { __typename } }").introspects
    assert ask("{ __typename }").operation.id == "graphql.schema"


def test_unmatched_fields_are_refused_by_a_closed_profile(ask: Ask, profile: Profile) -> None:
    assert not ask("{ webhooks }").operation.granted_write
    body = json.dumps({"query": "mutation { webhook }"}).encode()
    assert profile.classify("POST", PATH, "", body, "application/json").id == "unmatched.write"
    assert profile.needs_body("POST", PATH)
    assert not profile.is_plain("POST", PATH)
    assert profile.classify("PUT", PATH, "", body, "application/json").id == "unmatched.write"
