"""A GraphQL CRM that nobody described, under the profile which its schema and two exchanges propose."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import introspection_from_schema

from gateway.demo.browser import Answer, Browser
from gateway.learn.document import read_document
from gateway.learn.profile_text import problems_of, write_profile
from gateway.learn.propose import propose
from gateway.learn.watcher import Seen, Watcher
from tests.hosted.calls import Named
from tests.hosted.staffed import EMAIL, NAME, PHONE, Office, opened, refused
from tests.hosted.twenty import PATH, GraphqlHosted, Twenty, twenty

pytestmark = pytest.mark.real

CREATE = "mutation New($data: PersonInput!) { made: createPerson(data: $data) { key: id } }"
READ = "query One($id: ID!) { person(id: $id) { id name { lastName } emails { primaryEmail } phones { %s } city } }"
NUMBER = "x: primaryPhoneNumber"
PERSON = {
    "name": {"firstName": "伟", "lastName": NAME},
    "emails": {"primaryEmail": EMAIL, "additionalEmails": ["second@example.com"]},
    "phones": {"primaryPhoneNumber": PHONE},
    "idCard": "11010519491231002X",
    "intro": f"call {PHONE}",
    "city": "北京",
    "company": {"create": {"name": "某某商行"}},
}
CLEAR = (NAME, EMAIL, PHONE, "second@example.com", "11010519491231002X", "某某商行")


def ask(hand: Browser, text: str, variables: Any = None) -> Answer:
    return hand.post_json(PATH, {"query": text, "variables": variables or {}})


def first(hand: Browser) -> Answer:
    values = {"name": {"lastName": "赵六"}, "emails": {"primaryEmail": "zhao.liu@example.com"}}
    more = {"phones": {"primaryPhoneNumber": "13011112222"}, "idCard": "11010519491231002X"}
    return ask(hand, CREATE, {"data": {**values, **more}})


def proposed(store: Twenty) -> str:
    """What learning proposes after two exchanges with another installation of the CRM."""
    watcher = Watcher(b"k" * 32, lambda _: None)
    row = store.run(CREATE, {"data": {"name": {"lastName": "王芳"}}}, None)["data"]["made"]["key"]
    for text in (READ % NUMBER, "query Two($id: ID!) { person(id: $id) { id name { firstName } } }"):
        body = json.dumps({"query": text, "variables": {"id": row}}).encode()
        answer = json.dumps(store.run(text, {"id": row}, None)).encode()
        fields = (("content-type", "application/json"),)
        watcher.note(Seen("POST", PATH, "application/json", body, 200, fields, answer))
    schema = json.dumps({"data": introspection_from_schema(store.schema)}).encode()
    source = propose("learnt", watcher.snapshot(), read_document(schema), {}).source
    assert problems_of(source) == []
    return write_profile(source, "2026-11-26")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("learnt")
    profile = folder / "learnt.yaml"
    profile.write_text(proposed(Twenty()), encoding="utf-8")
    with twenty() as server:
        server.crm = Named(str(profile))
        yield from opened(server, folder / "policy.csv", first)


def test_a_restricted_role_sees_nothing_clear_and_the_crm_holds_nothing_clear(office: Office) -> None:
    record = ask(office.manager, CREATE, {"data": PERSON}).expect(200).json()["data"]["made"]["key"]
    shown = ask(office.manager, READ % NUMBER, {"id": record}).expect(200).json()["data"]["person"]
    assert (shown["name"]["lastName"], shown["emails"]["primaryEmail"], shown["phones"]["x"]) == (NAME, EMAIL, PHONE)
    hidden = ask(office.stranger, READ % NUMBER, {"id": record}).expect(200)
    assert hidden.json()["data"]["person"]["id"] == record
    assert hidden.json()["data"]["person"]["city"] == "北京"
    assert [one for one in CLEAR if one in hidden.text] == []
    assert isinstance(office.server, GraphqlHosted)
    held = office.server.seen() + "\n".join(office.server.store.base.iterdump())
    assert [one for one in CLEAR if one in held] == []


def test_what_learning_did_not_map_is_refused_to_a_restricted_role(office: Office) -> None:
    page = "{ edges { node { id } } }"
    for text, reason in (
        (f'{{ people(filter: {{emails: {{primaryEmail: {{eq: "{EMAIL}"}}}}}}) {page} }}', "field-not-searchable"),
        (f'{{ people(filter: {{secretScore: {{gt: "1"}}}}) {page} }}', "field-not-searchable"),
        (f"{{ people(orderBy: [{{idCard: AscNullsFirst}}]) {page} }}", "field-not-ordered"),
        ("{ people { uniqueEmails } }", "graphql-unmapped"),
        ("{ people { edges { node { city: secretScore } } } }", "graphql-unmapped"),
        (f'{{ personByEmail(email: "{EMAIL}") {{ id }} }}', "graphql-unmapped"),
        ('mutation { createWebhook(url: "https://elsewhere.example") }', "write-not-granted"),
    ):
        refused(ask(office.stranger, text), reason)
    found = f'{{ people(filter: {{emails: {{primaryEmail: {{eq: "{EMAIL}"}}}}}}) {page} }}'
    assert len(ask(office.manager, found).expect(200).json()["data"]["people"]["edges"]) == 1
