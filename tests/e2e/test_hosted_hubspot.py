"""HubSpot behind the real gateway: two forms of paths, filters as objects, batches of inputs."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.demo.browser import Answer, Browser
from kms.pseudonym import is_pseudonym
from tests.hosted import hubspot as hs
from tests.hosted.office import origins
from tests.hosted.staffed import (
    EMAIL,
    FIRST,
    NAME,
    OTHER_NAME,
    OTHER_PHONE,
    PHONE,
    Office,
    opened,
    refused,
    send,
    trail_parts,
    written,
)

pytestmark = pytest.mark.real


def first(hand: Browser) -> Answer:
    values = {"lastname": FIRST["name"], "phone": FIRST["phone"], "email": FIRST["email"]}
    return send(hand, "POST", hs.CONTACTS, {"properties": values})


@pytest.fixture(scope="module")
def hubspot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with hs.hubspot() as server:
        yield from opened(server, tmp_path_factory.mktemp("hubspot") / "policy.csv", first)


def hs_create(hand: Browser, **properties: str) -> str:
    return str(send(hand, "POST", hs.CONTACTS, {"properties": properties}).expect(201).json()["id"])


def hs_filter(hand: Browser, name: str, operator: str, **operand: Any) -> Answer:
    clauses = [{"propertyName": name, "operator": operator, **operand}]
    return send(hand, "POST", f"{hs.CONTACTS}/search", {"filterGroups": [{"filters": clauses}], "limit": 10})


def test_a_hubspot_contact_is_found_by_its_address_in_every_form_of_path(hubspot: Office) -> None:
    record = hs_create(hubspot.manager, firstname="伟", lastname=NAME, email=EMAIL, phone=PHONE)
    for path in (
        f"{hs.CONTACTS}/{record}",
        f"/crm/objects/2026-03/contacts/{record}",
        f"{hs.CONTACTS}/{EMAIL}?idProperty=email",
        f"{hs.CONTACTS}/zhang.wei%40example.com?idProperty=email&propertiesWithHistory=email",
        f"/crm/objects/2026-03/contacts/{EMAIL}?idProperty=email",
    ):
        answer = send(hubspot.manager, "GET", path).expect(200)
        assert answer.json()["id"] == record
        assert answer.json()["properties"]["phone"] == PHONE
    old = send(hubspot.manager, "GET", f"/contacts/v1/contact/email/{EMAIL}/profile").expect(200).json()
    assert (old["vid"], old["properties"]["email"]["value"]) == (int(record), EMAIL)
    for hand, path in (
        (hubspot.stranger, f"{hs.CONTACTS}/{EMAIL}?idProperty=email"),
        (hubspot.stranger, f"/contacts/v1/contact/email/{EMAIL}/profile"),
    ):
        refused(send(hand, "GET", path), "field-not-searchable")
    for path in (f"{hs.CONTACTS}/{PHONE}?idProperty=phone", f"{hs.CONTACTS}/{EMAIL}?idProperty=email&idProperty=x"):
        assert send(hubspot.manager, "GET", path).status == 403
    hubspot.require_nothing_clear()


def test_old_values_in_a_hubspot_history_are_as_hidden_as_new_ones(hubspot: Office) -> None:
    record = hs_create(hubspot.manager, lastname=NAME, phone=PHONE)
    send(hubspot.manager, "PATCH", f"{hs.CONTACTS}/{record}", {"properties": {"phone": OTHER_PHONE}}).expect(200)
    path = f"{hs.CONTACTS}/{record}?propertiesWithHistory=phone"
    told = send(hubspot.manager, "GET", path).expect(200).json()["propertiesWithHistory"]["phone"]
    assert [one["value"] for one in told] == [OTHER_PHONE, PHONE]
    for hand in (hubspot.clerk, hubspot.stranger):
        text = send(hand, "GET", path).expect(200).text
        assert PHONE not in text
        assert OTHER_PHONE not in text


def test_hubspot_filters_become_surrogates_and_hidden_ones_are_refused(hubspot: Office) -> None:
    record = hs_create(hubspot.manager, lastname="陈静", email="chen.jing@example.com", phone="13600136000")
    for answer in (
        hs_filter(hubspot.manager, "email", "EQ", value="chen.jing@example.com"),
        hs_filter(hubspot.manager, "phone", "IN", values=["13600136000"]),
        hs_filter(hubspot.manager, "lastname", "CONTAINS_TOKEN", value="陈静*"),
        hs_filter(hubspot.clerk, "phone", "EQ", value="13600136000"),
    ):
        assert [one["id"] for one in answer.expect(200).json()["results"]] == [record]
    for answer in (
        hs_filter(hubspot.stranger, "phone", "HAS_PROPERTY"),
        hs_filter(hubspot.clerk, "email", "EQ", value="chen.jing@example.com"),
        hs_filter(hubspot.clerk, "hs_searchable_calculated_phone_number", "HAS_PROPERTY"),
    ):
        refused(answer, "field-not-searchable")
    for sorts in ([{"propertyName": "phone"}], ["-email"]):
        refused(send(hubspot.clerk, "POST", f"{hs.CONTACTS}/search", {"sorts": sorts}), "field-not-ordered")
    assert "13600136000" not in hubspot.server.seen()
    assert "陈静" not in hubspot.server.seen()


def test_a_hubspot_name_of_several_people_is_answered_page_by_page(hubspot: Office) -> None:
    name = "欧阳修"
    made = [hs_create(hubspot.manager, lastname=name) for _ in range(5)]

    def search(asked: dict[str, Any]) -> Answer:
        return send(hubspot.manager, "POST", f"{hs.CONTACTS}/search", asked)

    def walked(asked: dict[str, Any]) -> list[str]:
        shown: list[str] = []
        while True:
            page = search(asked).expect(200).json()
            assert page["total"] == 5
            assert {one["properties"]["lastname"] for one in page["results"]} == {name}
            shown += [one["id"] for one in page["results"]]
            if "paging" not in page:
                return shown
            asked = {**asked, "after": page["paging"]["next"]["after"]}

    def filtered(operator: str, value: str) -> dict[str, Any]:
        return {"filterGroups": [{"filters": [{"propertyName": "lastname", "operator": operator, "value": value}]}]}

    newest = [{"propertyName": "createdate", "direction": "DESCENDING"}]
    for asked in (filtered("EQ", name), filtered("CONTAINS_TOKEN", f"{name}*"), {"query": name}):
        for size in (1, 2, 5, 200):
            assert walked({**asked, "limit": size}) == made
            assert walked({**asked, "limit": size, "sorts": newest}) == made[::-1]
        refused(search({**asked, "sorts": [{"propertyName": "lifecyclestage"}]}), "search-not-merged")
    # What none of the values finds is not what one of them does not find.
    refused(search(filtered("NEQ", name)), "search-ambiguous")
    assert name not in hubspot.server.seen()


def test_a_hubspot_batch_is_split_and_refused_as_a_whole(hubspot: Office) -> None:
    first, second = (hs_create(hubspot.manager, lastname=NAME, phone=PHONE) for _ in range(2))
    inputs = [
        {"id": first, "properties": {"lastname": OTHER_NAME}},
        {"id": second, "properties": {"phone": OTHER_PHONE}},
    ]
    before = written(hubspot)
    refused(send(hubspot.clerk, "POST", f"{hs.CONTACTS}/batch/update", {"inputs": inputs}), "field-not-writable")
    odd = [*inputs, {"id": "no-number", "properties": {"phone": PHONE}}]
    refused(send(hubspot.manager, "POST", f"{hs.CONTACTS}/batch/update", {"inputs": odd}), "write-not-granted")
    other_key = [{**inputs[0], "idProperty": "some_key"}]
    refused(send(hubspot.manager, "POST", f"{hs.CONTACTS}/batch/update", {"inputs": other_key}), "write-not-granted")
    assert written(hubspot) == before
    answer = send(hubspot.manager, "POST", f"{hs.CONTACTS}/batch/update", {"inputs": inputs}).expect(200)
    shown = {one["id"]: one["properties"] for one in answer.json()["results"]}
    assert (shown[first]["lastname"], shown[second]["phone"]) == (OTHER_NAME, OTHER_PHONE)
    assert ("contact", "phone", 2) in origins(hubspot.stack, second)
    updates = [parts for parts in trail_parts(hubspot.stack) if len(parts) == 2 and "contact.update" in parts[0]]
    people = {part.removeprefix("contact.update:contact.") for part in updates[-1]}
    assert len(people) == 2
    assert all(is_pseudonym(one) for one in people)
    made = send(hubspot.manager, "POST", f"{hs.CONTACTS}/batch/create", {"inputs": [{"properties": {"email": EMAIL}}]})
    assert made.expect(201).json()["results"][0]["properties"]["email"] == EMAIL
    read = {"inputs": [{"id": EMAIL}], "idProperty": "email", "properties": ["email"]}
    assert send(hubspot.manager, "POST", f"{hs.CONTACTS}/batch/read", read).expect(200).json()["results"]
    refused(send(hubspot.stranger, "POST", f"{hs.CONTACTS}/batch/read", read), "field-not-searchable")
    hubspot.require_nothing_clear()


def test_what_would_leave_hubspot_past_the_gateway_is_refused(hubspot: Office) -> None:
    asked_for = {"exportType": "LIST", "objectType": "CONTACT", "objectProperties": ["email"]}
    refused(send(hubspot.manager, "POST", "/crm/v3/exports/export/async", asked_for), "export-in-background")
    refused(send(hubspot.manager, "GET", "/crm/v3/exports/export/async/tasks/7/status"), "export-in-background")


@pytest.mark.parametrize(
    ("role", "asked", "reason"),
    [
        ("clerk", {"filters": [{"propertyName": "phone", "operator": "GT", "value": "1"}]}, "search-whole-only"),
        (
            "clerk",
            {"filters": [{"propertyName": "phone", "operator": "BETWEEN", "value": "1", "highValue": "2"}]},
            "search-whole-only",
        ),
        ("clerk", {"filters": [{"propertyName": "email", "operator": "HAS_PROPERTY"}]}, "field-not-searchable"),
        (
            "clerk",
            {"filters": [{"propertyName": "work_email", "operator": "IN", "values": ["a@b.example"]}]},
            "field-not-searchable",
        ),
        (
            "clerk",
            {"filters": [{"propertyName": "favourite_tea", "operator": "EQ", "value": "a"}]},
            "field-not-searchable",
        ),
        (
            "clerk",
            {"filterGroups": [{"filters": [{"propertyName": "address", "operator": "EQ", "value": "a"}]}]},
            "field-not-searchable",
        ),
        ("clerk", {"sorts": [{"propertyName": "email", "direction": "DESCENDING"}]}, "field-not-ordered"),
        ("clerk", {"sorts": ["phone"]}, "field-not-ordered"),
        ("clerk", {"sorts": ["createdate", "favourite_tea"]}, "field-not-ordered"),
        ("stranger", {"sorts": ["lastname"]}, "field-not-ordered"),
        (
            "stranger",
            {"filters": [{"propertyName": "firstname", "operator": "EQ", "value": "a"}]},
            "field-not-searchable",
        ),
    ],
    ids=str,
)
def test_searches_of_hubspot_cannot_probe_what_is_hidden(
    hubspot: Office, role: str, asked: dict[str, Any], reason: str
) -> None:
    before = len(hubspot.server.calls)
    refused(send(getattr(hubspot, role), "POST", f"{hs.CONTACTS}/search", asked), reason)
    refused(send(getattr(hubspot, role), "POST", "/crm/objects/2026-03/contacts/search", asked), reason)
    assert len(hubspot.server.calls) == before


def test_a_value_that_is_hidden_is_answered_by_hubspot_like_one_that_nobody_has(hubspot: Office) -> None:
    hs_create(hubspot.manager, firstname="静", phone="13100131000")
    told = [hs_filter(hubspot.stranger, "phone", "EQ", value=one) for one in ("13100131000", "13100139999")]
    assert [one.status for one in told] == [403, 403]
    boxes = [{"query": one} for one in ("静", "没有人")]
    for one in boxes:
        refused(send(hubspot.stranger, "POST", f"{hs.CONTACTS}/search", one), "field-not-searchable")
    seen = hubspot.server.seen()
    assert "13100131000" not in seen
