"""A GraphQL schema becomes a section of a profile that lints; what nothing explains is mapped nowhere."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from graphql import build_schema, introspection_from_schema
from hypothesis import given
from hypothesis import strategies as st

from gateway.learn.document import Document, read_document
from gateway.learn.evidence import Evidence
from gateway.learn.profile_text import problems_of
from gateway.learn.proposal import Proposal
from gateway.learn.propose import propose
from gateway.learn.schema import Schema, read_schema
from gateway.learn.watcher import Seen, Watcher

SDL = """
type Name { first: String firstName: String lastName: String }
type Contact {
  id: ID! name: Name email: String phones: [String!] bornOn: Date birthday: Date faxNumber: Int rank: Int city: String
  opaqueThing: String seenThing: String password: String payload: JSON firm: Firm owner: User createdAt: DateTime
}
type Firm { id: ID! companyName: String note: String contacts(where: ContactWhere, first: Int, q: String): [Contact!] }
type User { id: ID! email: String lastName: String }
type Page { items: [Contact!] endCursor: String total: Int emails: Int topEmail: String }
type Payload { contact: Contact userErrors: [Oops!] }
type Oops { message: String }
scalar Date
scalar DateTime
scalar JSON
enum Way { ASC DESC }
enum Column { EMAIL CITY }
input Texts { _eq: String _in: [String!] _gt: String _is_null: Boolean }
input NameWhere { lastName: Texts }
input ContactWhere {
  _and: [ContactWhere!] _or: [ContactWhere!] name: NameWhere email: Texts city: Texts opaqueThing: Texts
}
input ContactOrder { email: Way city: Way }
input NameInput { firstName: String lastName: String }
input ContactInput { name: NameInput email: String city: String opaqueThing: String rank: Int firm: FirmLink }
input FirmLink { create: FirmInput connect: FirmWhere }
input FirmWhere { companyName: String }
input FirmInput { companyName: String }
type Query {
  contacts(where: ContactWhere, orderBy: ContactOrder, first: Int, sortBy: Column): Page
  contact(id: ID!): Contact
  contactByMail(email: String!): Contact
  users: [User!]
  version: String
}
type Mutation {
  contactCreate(input: ContactInput!): Payload
  contactUpdate(id: ID!, input: ContactInput!): Payload
  renameContacts(input: ContactInput!): Payload
  updateEveryContact(input: ContactInput!): Payload
  contactDelete(id: ID!): Payload
  contactMerge(id: ID!): Payload
  createContactFrom(name: String!): Contact
  userCreate(email: String!): User
}
"""


def told(sdl: str = SDL) -> Document:
    """The document as it is kept with a run."""
    result = {"data": introspection_from_schema(build_schema(sdl))}
    return Document.of(json.loads(json.dumps(read_document(json.dumps(result).encode()).plain())))


def watched(answer: object = None) -> Evidence:
    """What one query of the endpoint leaves."""
    watcher = Watcher(b"k" * 32, lambda _: None)
    body = json.dumps({"query": "query A { contact { id } }", "variables": {}}).encode()
    fields = (("content-type", "application/json"),)
    sent = answer or {"data": {"contact": {"id": "6a1f4b1e-0000-4000-8000-000000000001", "seenThing": "王小明 called"}}}
    for _ in range(2):
        watcher.note(Seen("POST", "/api/graphql", "application/json", body, 200, fields, json.dumps(sent).encode()))
    return watcher.snapshot()


def proposed(sdl: str = SDL, evidence: Evidence | None = None) -> Proposal:
    return propose("imagined", watched() if evidence is None else evidence, told(sdl), {})


@pytest.fixture(scope="module")
def section() -> Mapping[str, Any]:
    made = proposed()
    assert problems_of(made.source) == []
    assert (made.source["record_ids"], made.source["unmatched_reads"]) == ("uuid", "deny")
    assert made.refused == []
    found: Mapping[str, Any] = made.source["graphql"]
    assert found["paths"] == ["/api/graphql"]
    return found


def test_records_and_their_parts_have_fields_by_name(section: Mapping[str, Any]) -> None:
    types = section["types"]
    assert types["Contact"]["fields"]["name"] == {"type": "Name"}
    assert types["Name"]["fields"]["lastName"] == "contact.last_name"
    assert types["Contact"]["fields"]["email"] == "contact.email"
    assert types["Contact"]["fields"]["phones"] == "contact.phone"
    assert types["Firm"]["fields"]["companyName"] == "firm.company_name"
    assert types["Firm"]["fields"]["note"] == "text"
    assert types["Firm"]["fields"]["contacts"]["arguments"] == {"where": {"filter": "ContactWhere"}, "first": "plain"}


def test_what_nothing_explains_is_mapped_nowhere(section: Mapping[str, Any]) -> None:
    contact = section["types"]["Contact"]
    mapped = {*contact["plain"], *contact["fields"]}
    assert not mapped & {"opaqueThing", "password", "payload", "birthday", "faxNumber", "owner"}
    assert {"city", "rank", "createdAt"} <= set(contact["plain"])
    assert "seenThing" in contact["fields"]  # words were seen in it
    page = section["types"]["Page"]
    assert not {*page["plain"], *page["fields"]} & {"emails", "topEmail"}
    assert "User" not in section["types"]
    assert "opaqueThing" not in section["types"]["ContactWhere"].get("plain", []) + list(
        section["types"]["ContactWhere"]["fields"]
    )


def test_top_level_fields_have_actions_records_and_arguments(section: Mapping[str, Any]) -> None:
    queries, mutations = section["queries"], section["mutations"]
    assert set(queries) == {"contacts", "contact", "contactByMail"}
    assert queries["contacts"]["arguments"] == {
        "where": {"filter": "ContactWhere"}, "orderBy": {"order": "ContactOrder"}, "first": "plain",
        "sortBy": {"order": "Contact"},
    }  # fmt: skip
    assert (queries["contact"]["action"], queries["contact"]["arguments"]) == ("read", {"id": "record"})
    assert "arguments" not in queries["contactByMail"]
    assert set(mutations) == {"contactCreate", "contactUpdate", "contactDelete"}
    create = mutations["contactCreate"]
    assert (create["action"], create["record"], create["failed"]) == ("create", ["contact", "id"], ["userErrors"])
    assert mutations["contactUpdate"]["arguments"] == {"id": "record", "input": {"input": "ContactInput"}}
    assert len({one["id"] for one in (*queries.values(), *mutations.values())}) == 6


def test_inputs_name_the_fields_of_records_and_unknown_texts_are_looked_into(section: Mapping[str, Any]) -> None:
    types = section["types"]
    assert types["ContactInput"]["fields"]["email"] == "contact.email"
    assert types["ContactInput"]["fields"]["opaqueThing"] == "text"
    assert types["NameInput"]["fields"] == {"firstName": "contact.first_name", "lastName": "contact.last_name"}
    assert section["nested"] == ["create"]
    assert types["FirmLink"]["fields"] == {"companyName": "firm.company_name"}
    assert section["connectives"] == ["_and", "_or"]
    assert section["operators"] == {"among": ["_in"], "empty": ["_is_null"], "equal": ["_eq"]}


def test_an_input_that_two_kinds_of_records_take_is_mapped_nowhere() -> None:
    sdl = """
    type Person { id: ID! email: String } type Firm { id: ID! email: String } input Common { email: String }
    type Query { person(id: ID!): Person }
    type Mutation { createPerson(data: Common!): Person createFirm(data: Common!): Firm }
    """
    assert proposed(sdl).source["graphql"]["mutations"] == {}


def test_values_that_were_seen_count_as_they_do_elsewhere() -> None:
    mail = {"data": {"contact": {"opaqueThing": "zhang.wei@example.com", "city": "li.na@example.com"}}}
    made = proposed(evidence=watched(mail))
    fields = made.source["graphql"]["types"]["Contact"]["fields"]
    assert fields["opaqueThing"] == "contact.opaque_thing"
    assert "city" in fields
    assert made.source["fields"]["contact"]["opaque_thing"]["kind"] == "email"
    assert problems_of(made.source) == []


def test_without_traffic_or_without_a_schema_there_is_no_section() -> None:
    assert "graphql" not in propose("imagined", watched(), Document(), {}).source
    assert "graphql" not in propose("imagined", Evidence(), told(), {}).source


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["OBJECT", "LIST", "String"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["types", "name", "kind", "fields", "args", "type", "ofType", "enumValues", "queryType"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=30,
    )
)
def test_whatever_a_schema_holds_it_is_read_or_left_out(source: object) -> None:
    found = read_schema(source if isinstance(source, dict) else {"types": source})
    assert Schema.of(json.loads(json.dumps(found.plain()))) == found
