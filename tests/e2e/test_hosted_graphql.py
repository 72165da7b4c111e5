"""A CRM whose whole API is GraphQL, executed by graphql-core over SQLite, behind the real gateway."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.demo.browser import Answer, Browser
from tests.hosted.office import origins
from tests.hosted.staffed import (
    CLEAR,
    EMAIL,
    FIRST,
    NAME,
    OTHER_NAME,
    OTHER_PHONE,
    PHONE,
    Office,
    opened,
    refused,
    trail_parts,
    trail_text,
)
from tests.hosted.twenty import PATH, GraphqlHosted, Twenty, twenty

pytestmark = pytest.mark.real

ID_CARD = "11010519491231002X"
NOBODY = "00000000-0000-4000-8000-ffffffffffff"


def first(hand: Browser) -> Answer:
    """A person of every kind of value, who goes again: tests count people."""
    values = {"name": {"lastName": FIRST["name"]}, "phones": {"primaryPhoneNumber": FIRST["phone"]}, "idCard": "X-1"}
    text = "mutation New($data: PersonInput!) { made: createPerson(data: $data) { key: id } }"
    emails = {"emails": {"primaryEmail": FIRST["email"]}}
    answer = ask(hand, text, {"data": {**values, **emails}})
    if answer.status == 200:
        gone = "mutation Gone($id: ID!) { deletePerson(id: $id) { id } }"
        data(ask(hand, gone, {"id": answer.json()["data"]["made"]["key"]}))
    return answer


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with twenty() as server:
        yield from opened(server, tmp_path_factory.mktemp("twenty") / "policy.csv", first)


@pytest.fixture(scope="module")
def store(office: Office) -> Twenty:
    assert isinstance(office.server, GraphqlHosted)
    return office.server.store


def ask(hand: Browser, text: str, variables: Any = None, **more: Any) -> Answer:
    body = {"query": text, **({"variables": variables} if variables is not None else {}), **more}
    return hand.post_json(PATH, body)


def data(answer: Answer) -> Any:
    told = answer.expect(200).json()
    assert "errors" not in told, told
    return told["data"]


def create(hand: Browser, **values: Any) -> str:
    text = "mutation New($data: PersonInput!) { made: createPerson(data: $data) { key: id } }"
    return str(data(ask(hand, text, {"data": values}))["made"]["key"])


def nodes(answer: Answer, key: str = "people") -> list[Any]:
    return [edge["node"] for edge in data(answer)[key]["edges"]]


@pytest.fixture(scope="module")
def zhang(office: Office) -> str:
    return create(
        office.manager,
        name={"firstName": "伟", "lastName": NAME},
        emails={"primaryEmail": EMAIL, "additionalEmails": ["second@example.com"]},
        phones={"primaryPhoneNumber": PHONE},
        idCard=ID_CARD,
        intro=f"call {PHONE}",
        city="北京",
        company={"create": {"name": "某某商行"}},
    )


READ = """query One($id: ID!) { person(id: $id) {
  id name { firstName lastName } emails { primaryEmail additionalEmails } phones { primaryPhoneNumber }
  idCard intro city
} }"""
ALL = (*CLEAR, ID_CARD, "second@example.com", "某某商行")


def require_nothing_clear(office: Office, store: Twenty) -> None:
    seen = office.server.seen()
    held = "\n".join(store.base.iterdump())
    assert [one for one in ALL if one in seen or one in held] == []


def test_a_person_is_stored_as_surrogates_and_comes_back(office: Office, store: Twenty, zhang: str) -> None:
    shown = data(ask(office.manager, READ, {"id": zhang}))["person"]
    assert shown["name"] == {"firstName": "伟", "lastName": NAME}
    assert shown["emails"] == {"primaryEmail": EMAIL, "additionalEmails": ["second@example.com"]}
    assert (shown["idCard"], shown["intro"], shown["city"]) == (ID_CARD, f"call {PHONE}", "北京")
    told = {(entity, name) for entity, name, _ in origins(office.stack, zhang)}
    assert told >= {("person", one) for one in ("first_name", "last_name", "email", "other_email", "phone", "id_card")}
    clerk = ask(office.clerk, READ, {"id": zhang})
    assert data(clerk)["person"]["name"]["lastName"] == NAME
    assert [one for one in (PHONE, EMAIL, ID_CARD) if one in clerk.text] == []
    assert [one for one in ALL if one in ask(office.stranger, READ, {"id": zhang}).text] == []
    require_nothing_clear(office, store)


def test_aliases_fragments_and_nested_relations_show_nothing_more(office: Office, zhang: str) -> None:
    text = """query Q($id: ID!, $yes: Boolean = true) {
      first: person(id: $id) { city: idCard jobTitle: intro ...Names createdAt: emails { city: primaryEmail } }
      node(id: $id) { ... on Node { id }
        ... on Person { a: phones { b: primaryPhoneNumber } ... @include(if: $yes) { idCard } } }
      companies { edges { node { name people { edges { node { x: idCard y: name { z: lastName } } } } } } }
    }
    fragment Names on Person { employees: name { firstName position: lastName } }"""
    manager = data(ask(office.manager, text, {"id": zhang}))
    assert manager["first"]["city"] == ID_CARD
    assert manager["node"]["a"]["b"] == PHONE
    assert manager["companies"]["edges"][0]["node"]["people"]["edges"][0]["node"]["y"]["z"] == NAME
    for hand, values in ((office.stranger, ALL), (office.clerk, (PHONE, EMAIL, ID_CARD))):
        answer = ask(hand, text, {"id": zhang})
        assert data(answer)["first"]["city"] != ID_CARD
        assert [one for one in values if one in answer.text] == []
    assert ["person.read", "node.read", "company.list"] in trail_names(office)


def trail_names(office: Office) -> list[list[str]]:
    return [[name.partition(":")[0] for name in parts] for parts in trail_parts(office.stack)]


def test_filters_find_by_clear_value_however_they_are_sent(office: Office, store: Twenty, zhang: str) -> None:
    page = "{ edges { node { id } } }"
    variable = f"query Q($v: String!) {{ people(filter: {{emails: {{primaryEmail: {{eq: $v}}}}}}) {page} }}"
    whole = f"query Q($f: PersonFilterInput) {{ people(filter: $f) {page} }}"
    default = variable.replace("String!", f'String = "{EMAIL}"')
    literal = f'{{ people(filter: {{emails: {{primaryEmail: {{in: ["{EMAIL}", "no@example.com"]}}}}}}) {page} }}'
    block = f'{{ people(filter: {{not: {{not: {{emails: {{primaryEmail: {{eq: """{EMAIL}"""}}}}}}}}}}) {page} }}'
    fragment = """query Q($v: String!) { ...F } fragment F on Query {
      people(filter: {or: [{emails: {primaryEmail: {eq: $v}}}]}) { edges { node { id } } } }"""
    part = "query Q($v: String) { people(filter: {name: {lastName: {ilike: $v}}}) { edges { node { id } } } }"
    for answer in (
        ask(office.manager, variable, {"v": EMAIL}),
        ask(office.manager, whole, {"f": {"emails": {"primaryEmail": {"eq": EMAIL}}}}),
        ask(office.manager, whole, {"f": {"emails": {"primaryEmail": {"in": [EMAIL]}}}}),
        ask(office.manager, whole, {"f": {"and": [{"emails": {"primaryEmail": {"startsWith": "zhang.w"}}}]}}),
        ask(office.manager, default),
        ask(office.manager, literal),
        ask(office.manager, block),
        ask(office.manager, fragment, {"v": EMAIL}),
        ask(office.manager, part, {"v": f"%{NAME}%"}),
        ask(office.manager, part, {"v": f"{NAME[0]}%"}),
        ask(office.clerk, variable.replace("emails: {primaryEmail", "phones: {primaryPhoneNumber"), {"v": PHONE}),
        office.manager.get(f"{PATH}?" + urlencode({"query": variable, "variables": json.dumps({"v": EMAIL})})),
        office.manager.send("POST", PATH, literal.encode(), {"content-type": "application/graphql"}),
    ):
        assert [one["id"] for one in nodes(answer)] == [zhang], answer.text
    both = """query Q($v: String!) { a: people(filter: {emails: {primaryEmail: {eq: $v}}}) { totalCount }
      b: people(filter: {city: {eq: $v}}) { totalCount }
      c: people(filter: {name: {lastName: {ilike: $v}}}) { totalCount } }"""
    create(office.manager, name={"lastName": "钱多多"})
    told = data(ask(office.manager, both, {"v": "钱多多"}))
    assert [told[key]["totalCount"] for key in "abc"] == [0, 0, 1]
    assert data(ask(office.manager, f'{{ personByEmail(email: "{EMAIL}") {{ id }} }}'))["personByEmail"]["id"] == zhang
    assert data(ask(office.manager, f'{{ searchPeople(term: "{NAME}") {{ id }} }}'))["searchPeople"] == [{"id": zhang}]
    assert nodes(ask(office.stranger, '{ people(filter: {city: {eq: "北京"}}) { edges { node { id } } } }')) == [
        {"id": zhang}
    ]
    assert EMAIL not in office.server.seen()


def test_nobody_filters_orders_groups_or_computes_by_what_he_does_not_see(office: Office, zhang: str) -> None:
    before = len(office.server.calls)
    page = "{ edges { node { id } } }"
    for hand in (office.stranger, office.clerk):
        for text, reason in (
            (f'{{ people(filter: {{emails: {{primaryEmail: {{eq: "{EMAIL}"}}}}}}) {page} }}', "field-not-searchable"),
            (f'{{ x: people(filter: {{not: {{idCard: {{eq: "{ID_CARD}"}}}}}}) {page} }}', "field-not-searchable"),
            (f"{{ people(filter: {{idCard: {{is: NOT_NULL}}}}) {page} }}", "field-not-searchable"),
            (f'{{ people(filter: {{idCard: {{gt: "1"}}}}) {page} }}', "field-not-searchable"),
            (f'{{ people(filter: {{secretScore: {{gt: "1"}}}}) {page} }}', "field-not-searchable"),
            (f'{{ companies(filter: {{name: {{eq: "某某商行"}}}}) {page} }}', "field-not-searchable"),
            (
                f'{{ companies {{ edges {{ node {{ people(filter: {{idCard: {{eq: "1"}}}}) {page} }} }} }} }}',
                "field-not-searchable",
            ),
            (f"{{ people(orderBy: [{{idCard: AscNullsFirst}}]) {page} }}", "field-not-ordered"),
            (
                f"{{ people(orderBy: [{{city: AscNullsFirst}}, {{emails: {{primaryEmail: DescNullsLast}}}}]) {page} }}",
                "field-not-ordered",
            ),
            ("{ peopleGroupBy(groupBy: [PRIMARY_EMAIL]) { count } }", "field-not-searchable"),
            ("{ people { uniqueEmails } }", "field-not-searchable"),
            ("{ people { edges { node { city: secretScore } } } }", "graphql-unmapped"),
            ('{ people(havingClause: "x") { totalCount } }', "graphql-unmapped"),
        ):
            refused(ask(hand, text), reason)
        variables = {"f": {"or": [{"city": {"eq": "x"}}, {"idCard": {"startsWith": "1"}}]}}
        refused(
            ask(hand, f"query Q($f: PersonFilterInput) {{ people(filter: $f) {page} }}", variables),
            "field-not-searchable",
        )
        linked = {"data": {"company": {"connect": {"name": {"eq": "某某商行"}}}}}
        refused(
            ask(hand, "mutation M($data: PersonInput!) { createPerson(data: $data) { id } }", linked),
            "graphql-unmapped",
        )
    refused(ask(office.manager, f'{{ people(filter: {{idCard: {{gt: "1"}}}}) {page} }}'), "field-not-ordered")
    refused(ask(office.manager, "{ people { uniqueEmails } }"), "field-not-ordered")
    assert len(office.server.calls) == before
    data(ask(office.stranger, "{ people(orderBy: [{city: AscNullsFirst}]) { totalCount } }"))
    groups = data(ask(office.manager, "{ peopleGroupBy(groupBy: [PRIMARY_EMAIL]) { key count } }"))["peopleGroupBy"]
    assert EMAIL in [one["key"] for one in groups]


def test_what_cannot_be_checked_is_refused_with_a_reason(office: Office, zhang: str) -> None:
    before = len(office.server.calls)
    deep = "{ people { edges { node { " + "company { people { edges { node { " * 8 + "id" + " } } } }" * 8 + " } } } }"
    bomb = (
        "query { ...A0 } "
        + " ".join(f"fragment A{n} on Query {{ ...A{n + 1} ...A{n + 1} }}" for n in range(14))
        + " fragment A14 on Query { people { totalCount } }"
    )
    many = "{ " + " ".join(f"a{n}: people {{ totalCount }}" for n in range(150)) + " }"
    for text, reason in (
        ("{ people {", "graphql-unreadable"),
        ("subscription { onPerson { id } }", "graphql-subscription"),
        ("{ people { edges { node { id @client } } } }", "graphql-unmapped"),
        (
            "{ people { ...A } } fragment A on PersonConnection { ...B } fragment B on PersonConnection { ...A }",
            "graphql-unreadable",
        ),
        ("query A { people { totalCount } } query B { people { totalCount } }", "graphql-unreadable"),
        ("{ people { totalCount } } fragment Z on Person { id }", "graphql-unreadable"),
        ("query Q { people(first: $n) { totalCount } }", "graphql-unreadable"),
        ("{ " * 3000, "graphql-too-complex"),
        ("{ people(filter: " + "[" * 3000, "graphql-too-complex"),
        (deep, "graphql-too-complex"),
        (bomb, "graphql-too-complex"),
        (many, "graphql-too-complex"),
        ('mutation { createWebhook(url: "https://elsewhere.example") }', "write-not-granted"),
        ("{ webhooks }", "write-not-granted"),
    ):
        refused(ask(office.manager, text), reason)
    hashed = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}
    refused(office.manager.post_json(PATH, {"extensions": hashed, "variables": {}}), "graphql-persisted")
    refused(office.manager.post_json(PATH, {"id": "abc"}), "graphql-persisted")
    refused(office.manager.get(f"{PATH}?" + urlencode({"extensions": json.dumps(hashed)})), "graphql-persisted")
    refused(office.manager.post_json(PATH, []), "graphql-unreadable")
    refused(office.manager.post(PATH, {"query": "{ people { totalCount } }"}, follow=False), "graphql-unreadable")
    changing = 'mutation { deletePerson(id: "' + zhang + '") { id } }'
    refused(office.manager.get(f"{PATH}?" + urlencode({"query": changing})), "graphql-unreadable")
    twice = b'{"query": "{ people { totalCount } }", "query": "mutation { deletePerson(id: 1) { id } }"}'
    refused(office.manager.send("POST", PATH, twice, {"content-type": "application/json"}), "graphql-unreadable")
    refused(
        office.manager.post_json(f"{PATH}?query=%7Bpeople%7BtotalCount%7D%7D", {"query": "{ people { totalCount } }"}),
        "graphql-unreadable",
    )
    assert len(office.server.calls) == before
    text = "{ people { totalCount } }"
    data(office.manager.post_json(PATH, {"query": text, "extensions": hashed}))
    assert office.server.calls[-1].json()["extensions"] == {}


def test_the_schema_is_for_those_who_see_everything(office: Office) -> None:
    for text in ("{ __schema { types { name } } }", '{ __type(name: "Person") { fields { name } } }'):
        for hand in (office.clerk, office.stranger):
            refused(ask(hand, text), "graphql-introspection")
        data(ask(office.manager, text))
    told = data(ask(office.stranger, "{ __typename people { __typename edges { __typename node { __typename } } } }"))
    assert told["people"]["edges"][0]["node"]["__typename"] == "Person"


def test_masks_posted_back_keep_what_is_there(office: Office, store: Twenty) -> None:
    record = create(
        office.manager,
        name={"firstName": "娜", "lastName": OTHER_NAME},
        emails={"primaryEmail": "kept@example.com"},
        phones={"primaryPhoneNumber": OTHER_PHONE},
    )
    shown = data(ask(office.clerk, READ, {"id": record}))["person"]
    assert shown["phones"]["primaryPhoneNumber"] != OTHER_PHONE
    save = "mutation S($id: ID!, $data: PersonInput!) { updatePerson(id: $id, data: $data) { id name { lastName } } }"
    back = {"name": {**shown["name"], "lastName": "李那"}, "phones": shown["phones"]}
    back["emails"] = {"primaryEmail": shown["emails"]["primaryEmail"]}
    assert data(ask(office.clerk, save, {"id": record, "data": back}))["updatePerson"]["name"]["lastName"] == "李那"
    now = data(ask(office.manager, READ, {"id": record}))["person"]
    assert (now["phones"]["primaryPhoneNumber"], now["emails"]["primaryEmail"]) == (OTHER_PHONE, "kept@example.com")
    changed = {"id": record, "data": {"phones": {"primaryPhoneNumber": "13700137000"}}}
    refused(ask(office.clerk, save, changed), "field-not-writable")
    refused(ask(office.clerk, save, {"id": record, "data": {"emails": {"primaryEmail": None}}}), "field-not-writable")
    inline = (
        f'mutation {{ updatePerson(id: "{record}", data: {{phones: {{primaryPhoneNumber: "13700137000"}}}}) {{ id }} }}'
    )
    refused(ask(office.clerk, inline), "field-not-writable")
    require_nothing_clear(office, store)


def test_one_refused_call_refuses_the_whole_batch(office: Office, zhang: str) -> None:
    good = {"query": "query A($id: ID!) { person(id: $id) { name { lastName } } }", "variables": {"id": zhang}}
    bad = {"query": f'{{ people(filter: {{idCard: {{eq: "{ID_CARD}"}}}}) {{ totalCount }} }}'}
    told = office.manager.post_json(PATH, [good, bad, good]).expect(200).json()
    assert [one["data"].get("person", {}).get("name", {}).get("lastName") for one in told] == [NAME, None, NAME]
    assert told[1]["data"]["people"]["totalCount"] == 1
    before = len(office.server.calls)
    refused(office.clerk.post_json(PATH, [good, bad]), "field-not-searchable")
    refused(
        office.manager.post_json(PATH, [good, {"query": 'mutation { createWebhook(url: "x") }'}]), "write-not-granted"
    )
    assert len(office.server.calls) == before
    new = "mutation N($e: String) { createPerson(data: {emails: {primaryEmail: $e}}) { id } }"
    calls = [{"query": new, "variables": {"e": f"batch{n}@example.com"}} for n in range(2)]
    made = office.manager.post_json(PATH, calls).expect(200).json()
    for one in made:
        assert origins(office.stack, one["data"]["createPerson"]["id"]) == [("person", "email", 1)]


def test_errors_with_status_200_bind_nothing_and_tell_nothing(office: Office, zhang: str) -> None:
    text = "mutation N($data: PersonInput!) { createPerson(data: $data) { id name { lastName } } }"
    again = {"data": {"name": {"firstName": "芳", "lastName": "王芳"}, "emails": {"primaryEmail": EMAIL}}}
    before = origins(office.stack, zhang)
    told = ask(office.manager, text, again).expect(200).json()
    assert told["errors"][0]["message"] == f"A duplicate entry was detected: {EMAIL}"
    hidden = ask(office.stranger, 'query { person(id: "' + zhang + '") { name { lastNam } } }')
    refused(hidden, "graphql-unmapped")
    gone = 'mutation { updatePerson(id: "' + NOBODY + '", data: {city: "x"}) { id } }'
    quiet = ask(office.stranger, gone).expect(200).json()
    assert quiet["errors"] == [
        {
            "message": "The CRM refused this part of the request.",
            "path": ["updatePerson"],
            "extensions": {"code": "NOT_FOUND"},
        }
    ]
    guessed = ask(office.stranger, "{ people { edges { node { id updatedAt } } } }").expect(200, 400)
    assert [one["message"] for one in guessed.json()["errors"]] == ["The CRM refused this part of the request."]
    assert "createdAt" in ask(office.manager, "{ people { edges { node { id updatedAt } } } }").text
    assert origins(office.stack, zhang) == before


def test_nothing_clear_stands_in_trail_or_log(office: Office, store: Twenty, zhang: str) -> None:
    text = f'query Q($z: String = "{PHONE}") {{ people(filter: {{city: {{eq: $z}}}}) {{ totalCount }} }} # {PHONE}'
    data(ask(office.manager, text, {"z": "x", "spare": PHONE}, operationName="Q"))
    require_nothing_clear(office, store)
    seen = trail_text(office.stack)
    assert [one for one in ALL if one in seen] == []
    assert base64.b64encode(PHONE.encode()).decode() not in seen


# -- before everything is protected ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A CRM that holds clear values still."""
    with twenty() as server:
        policy = tmp_path_factory.mktemp("early") / "policy.csv"
        yield from opened(server, policy, first, "migrated = false\n")


def test_clear_values_are_hidden_behind_every_alias(early: Office) -> None:
    assert isinstance(early.server, GraphqlHosted)
    made = early.server.store.create(
        "person",
        {
            "name": {"firstName": "建国", "lastName": "欧阳"},
            "emails": {"primaryEmail": "ouyang@example.com"},
            "phones": {"primaryPhoneNumber": "13911112222"},
            "idCard": "X-4711-B",
            "city": "上海",
        },
    )
    text = """query Q($id: ID!) { a: person(id: $id) { jobTitle: name { city: firstName intro: lastName } id: idCard
      city createdAt: emails { x: primaryEmail } } people { edges { node { ...F } } } }
      fragment F on Person { city: name { city: lastName } ... on Person { createdAt: idCard } }"""
    clear = ("建国", "欧阳", "ouyang@example.com", "X-4711-B")
    assert [one for one in clear if one not in ask(early.manager, text, {"id": made["id"]}).text] == []
    hidden = ask(early.stranger, text, {"id": made["id"]})
    assert data(hidden)["a"]["city"] == "上海"
    assert [one for one in clear if one in hidden.text] == []
    batch = early.stranger.post_json(
        PATH, [{"query": "{ people { totalCount } }"}, {"query": text, "variables": {"id": made["id"]}}]
    )
    assert batch.expect(200).json()[0]["data"]["people"]["totalCount"] == 1
    assert [one for one in clear if one in batch.text] == []
    page = "{ edges { node { id } } }"
    refused(ask(early.clerk, f"{{ people(orderBy: [{{idCard: AscNullsFirst}}]) {page} }}"), "field-not-ordered")
    refused(ask(early.stranger, f'{{ people(filter: {{intro: {{like: "%a%"}}}}) {page} }}'), "field-not-searchable")
    refused(ask(early.clerk, '{ searchPeople(term: "欧") { id } }'), "search-while-clear")
    for how, operand in (("eq", "欧阳"), ("ilike", "%欧阳%")):
        found = f'{{ people(filter: {{name: {{lastName: {{{how}: "{operand}"}}}}}}) {page} }}'
        assert [one["id"] for one in nodes(ask(early.manager, found))] == [made["id"]]
    mine = data(ask(early.clerk, READ, {"id": made["id"]}))["person"]["phones"]
    assert mine["primaryPhoneNumber"] != "13911112222"
    save = "mutation S($id: ID!, $data: PersonInput!) { updatePerson(id: $id, data: $data) { id } }"
    assert ask(early.clerk, save, {"id": made["id"], "data": {"phones": mine}}).status in (403, 409)
    assert early.server.store.one("person", made["id"])["phones"]["primaryPhoneNumber"] == "13911112222"
