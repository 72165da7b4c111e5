"""销售易 Neocrm behind the real gateway: errors with status 200, queries in a form field."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.demo.browser import Answer, Browser
from tests.hosted import neocrm as neo
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
    send,
)

pytestmark = pytest.mark.real


def first(hand: Browser) -> Answer:
    values = {"contactName": FIRST["name"], "mobile": FIRST["phone"], "email": FIRST["email"]}
    return send(hand, "POST", f"{neo.OBJECTS}/contact", {"data": values})


@pytest.fixture(scope="module")
def neocrm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with neo.neocrm() as server:
        yield from opened(server, tmp_path_factory.mktemp("neocrm") / "policy.csv", first)


def neo_create(hand: Browser, **values: Any) -> Any:
    return send(hand, "POST", f"{neo.OBJECTS}/contact", {"data": values}).expect(200).json()


def test_a_neocrm_contact_is_stored_as_surrogates_and_comes_back(neocrm: Office) -> None:
    note = f"custom {OTHER_PHONE}"
    made = neo_create(neocrm.manager, contactName=NAME, mobile=PHONE, email=EMAIL, customItem201__c=note)
    path = f"{neo.OBJECTS}/contact/{made['data']['id']}"
    told = send(neocrm.manager, "GET", path).expect(200).json()["data"]
    values = (told["contactName"], told["mobile"], told["email"], told["customItem201__c"])
    assert values == (NAME, PHONE, EMAIL, note)
    text = send(neocrm.stranger, "GET", path).expect(200).text
    assert [one for one in CLEAR if one in text] == []
    shown = send(neocrm.clerk, "GET", path).expect(200).json()["data"]
    posted = {"contactName": "张炜", "mobile": shown["mobile"], "email": shown["email"]}
    assert send(neocrm.clerk, "PATCH", path, {"data": posted}).expect(200).json()["code"] == 200
    told = send(neocrm.manager, "GET", path).json()["data"]
    assert (told["contactName"], told["mobile"], told["email"]) == ("张炜", PHONE, EMAIL)
    neocrm.require_nothing_clear()


def test_a_neocrm_error_binds_nothing_to_the_record_it_names(neocrm: Office) -> None:
    first = neo_create(neocrm.manager, contactName=NAME, mobile="13300133000")
    second = neo_create(neocrm.manager, contactName=OTHER_NAME, mobile="13300133000")
    assert (second["code"], second["data"]["id"]) == (300003, first["data"]["id"])
    bound = origins(neocrm.stack, str(first["data"]["id"]))
    assert sorted(bound) == [("contact", "mobile", 1), ("contact", "name", 1)]


def xoql(hand: Browser, text: str) -> Answer:
    return hand.post("/rest/data/v2.0/query/xoql", {"xoql": text}, follow=False)


def rows(answer: Answer) -> list[Any]:
    return list(answer.expect(200).json()["data"]["records"])


def test_queries_of_neocrm_find_what_they_would_find_in_clear(neocrm: Office) -> None:
    phone, email = "13200132000", "wu.jing@example.com"
    record = neo_create(neocrm.manager, contactName="吴静", mobile=phone, email=email)["data"]["id"]
    for condition in (
        f"mobile = '{phone}'",
        f"mobile in ('{phone}', '13200132999') and contactName = '吴静'",
        "contactName like '%吴静%'",
        "email like 'wu.j%'",
    ):
        (row,) = rows(xoql(neocrm.manager, f"select id, contactName, mobile, email from contact where {condition}"))
        assert (row["id"], row["contactName"], row["mobile"], row["email"]) == (record, "吴静", phone, email)
    text = quote(f"select id from contact where mobile = '{phone}'")
    assert rows(send(neocrm.manager, "GET", f"/rest/data/v2/query?q={text}")) == [{"id": record}]
    assert rows(xoql(neocrm.clerk, f"select id from contact where mobile = '{phone}'")) == [{"id": record}]
    shown = xoql(neocrm.stranger, "select id, contactName, mobile, email from contact").expect(200).text
    assert [one for one in (phone, email, "吴静", *CLEAR) if one in shown] == []
    seen = neocrm.server.seen()
    assert [one for one in (phone, email, "吴静", *CLEAR) if one in seen] == []


@pytest.mark.parametrize(
    ("role", "text", "reason"),
    [
        ("stranger", "select id from contact where mobile = '13200132000'", "field-not-searchable"),
        ("stranger", "select id from contact where mobile is not null", "field-not-searchable"),
        ("clerk", "select id from contact where mobile like '132%'", "search-whole-only"),
        ("clerk", "select id from contact where email = 'a@example.com'", "field-not-searchable"),
        ("clerk", "select id from contact where mobile > '1'", "field-not-ordered"),
        ("clerk", "select id from contact order by mobile", "field-not-ordered"),
        ("clerk", "select mobile, count(id) from contact group by mobile", "field-not-ordered"),
        ("clerk", "select max(email) from contact", "field-not-ordered"),
        ("clerk", "select mobile comment from contact", "query-renames"),
        ("clerk", "select id from contact where customItem201__c = 'tea'", "field-not-searchable"),
        ("clerk", "select id from secret order by label", "field-not-searchable"),
        ("manager", "select id from contact order by mobile", "field-not-ordered"),
        ("manager", "select id from contact where contactName = 'a\\' or 1=1'", "query-unreadable"),
    ],
)
def test_queries_of_neocrm_cannot_probe_what_is_hidden(neocrm: Office, role: str, text: str, reason: str) -> None:
    before = len(neocrm.server.calls)
    refused(xoql(getattr(neocrm, role), text), reason)
    assert len(neocrm.server.calls) == before


def test_a_query_of_neocrm_in_another_place_and_bulk_jobs_are_refused(neocrm: Office) -> None:
    before = len(neocrm.server.calls)
    query = f"select id from contact where mobile = '{PHONE}'"
    for answer in (
        send(neocrm.manager, "POST", "/rest/data/v2.0/query/xoql", {"xoql": query}),
        neocrm.manager.post(f"/rest/data/v2.0/query/xoql?xoql={quote(query)}", {"xoql": "select id from contact"}),
        neocrm.manager.post("/rest/data/v2.0/query/xoql", [("xoql", "select id from contact"), ("xoql", query)]),
        send(neocrm.manager, "GET", f"/rest/data/v2.0/query/xoql?xoql={quote(query)}"),
        send(neocrm.manager, "GET", "/Rest/data/v2/query?q=select"),
        send(neocrm.manager, "POST", "/rest/bulk/v2/job", {"data": {"operation": "insert", "object": "contact"}}),
    ):
        assert answer.status == 403
    assert len(neocrm.server.calls) == before
