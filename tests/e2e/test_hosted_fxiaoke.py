"""纷享销客 fxiaoke behind the real gateway: every call has one address, and its body says what it is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.demo.browser import Answer, Browser
from tests.hosted import fxiaoke as fx
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
    trail_text,
)

pytestmark = pytest.mark.real


def first(hand: Browser) -> Answer:
    values = {"name": FIRST["name"], "mobile1": FIRST["phone"], "email": FIRST["email"]}
    return fx_call(hand, "create", {"object_data": {"dataObjectApiName": "ContactObj", **values}})


@pytest.fixture(scope="module")
def fxiaoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with fx.fxiaoke() as server:
        yield from opened(server, tmp_path_factory.mktemp("fxiaoke") / "policy.csv", first)


def fx_call(hand: Browser, verb: str, data: dict[str, Any], user: str = "") -> Answer:
    person = user or f"FSUID_{id(hand)}"
    body = {"corpAccessToken": fx.TOKEN, "corpId": "FSCID", "currentOpenUserId": person, "data": data}
    return hand.post_json(f"{fx.PREFIX}/{verb}", body)


def fx_create(hand: Browser, **values: Any) -> str:
    answer = fx_call(hand, "create", {"object_data": {"dataObjectApiName": "ContactObj", **values}})
    return str(answer.expect(200).json()["dataId"])


def fx_find(hand: Browser, *filters: dict[str, Any], **more: Any) -> Answer:
    info = {"offset": 0, "limit": 10, "filters": list(filters), **more}
    return fx_call(hand, "query", {"dataObjectApiName": "ContactObj", "search_query_info": info})


def clause(name: str, operator: str, *values: str) -> dict[str, Any]:
    return {"field_name": name, "field_values": list(values), "operator": operator}


def test_a_fxiaoke_contact_is_stored_as_surrogates_and_comes_back(fxiaoke: Office) -> None:
    record = fx_create(fxiaoke.manager, name=NAME, mobile1=PHONE, email=EMAIL, remark=f"call {PHONE}")
    data = {"dataObjectApiName": "ContactObj", "objectDataId": record}
    shown = fx_call(fxiaoke.manager, "get", data).expect(200).json()["data"]
    assert (shown["name"], shown["mobile1"], shown["email"], shown["remark"]) == (NAME, PHONE, EMAIL, f"call {PHONE}")
    assert shown["name__r"] == shown["name__l"][0]["name"] == NAME
    clerk = fx_call(fxiaoke.clerk, "get", data).expect(200).json()["data"]
    assert clerk["name"] == NAME
    assert clerk["mobile1"] != PHONE
    assert clerk["email"] != EMAIL
    assert [one for one in CLEAR if one in fx_call(fxiaoke.stranger, "get", data).text] == []
    fxiaoke.require_nothing_clear()


def test_in_fxiaoke_the_body_decides_and_not_the_url(fxiaoke: Office) -> None:
    before = len(fxiaoke.server.calls)
    for hand in (fxiaoke.manager, fxiaoke.stranger):
        refused(fx_call(hand, "create", {"object_data": {"dataObjectApiName": "SecretObj"}}), "write-not-granted")
        refused(fx_call(hand, "get", {"dataObjectApiName": "SecretObj", "objectDataId": "0" * 24}), "write-not-granted")
        both = {"dataObjectApiName": "ContactObj", "object_data": {"dataObjectApiName": "LeadsObj", "name": NAME}}
        refused(fx_call(hand, "create", both), "write-not-granted")
        refused(hand.post(f"{fx.PREFIX}/get", {"data": "{}"}, follow=False), "write-not-granted")
        twice = b'{"data":{"dataObjectApiName":"SecretObj"},"data":{"dataObjectApiName":"ContactObj"}}'
        refused(hand.send("POST", f"{fx.PREFIX}/get", twice, {"content-type": "application/json"}), "body-malformed")
        as_text = {"dataObjectApiName": "ContactObj", "search_query_info": json.dumps({"filters": []})}
        refused(fx_call(hand, "query", as_text), "write-not-granted")
    refused(fx_call(fxiaoke.clerk, "delete", {"dataObjectApiName": "SecretObj"}), "write-not-granted")
    assert len(fxiaoke.server.calls) == before


def test_a_fxiaoke_search_finds_by_clear_value_and_tells_strangers_nothing(fxiaoke: Office) -> None:
    record = fx_create(fxiaoke.manager, name=OTHER_NAME, mobile1=OTHER_PHONE)
    found = [fx_find(fxiaoke.manager, clause("mobile1", how, OTHER_PHONE)) for how in ("EQ", "IN", "LIKE")]
    found.append(fx_find(fxiaoke.manager, clause("name", "EQ", OTHER_NAME)))
    found.append(fx_find(fxiaoke.clerk, clause("mobile1", "EQ", OTHER_PHONE)))
    for answer in found:
        assert [row["_id"] for row in answer.expect(200).json()["data"]["dataList"]] == [record]
    for probe in (
        fx_find(fxiaoke.stranger, clause("mobile1", "EQ", OTHER_PHONE)),
        fx_find(fxiaoke.stranger, clause("mobile1", "ISN")),
        fx_find(fxiaoke.clerk, clause("email", "EQ", EMAIL)),
        fx_find(fxiaoke.clerk, clause("UDSText2__c", "ISN")),
    ):
        refused(probe, "field-not-searchable")
    for hand, name in ((fxiaoke.stranger, "name"), (fxiaoke.clerk, "mobile1")):
        refused(fx_find(hand, orders=[{"fieldName": name, "isAsc": True}]), "field-not-ordered")
    refused(fx_find(fxiaoke.manager, clause("mobile1", "GT", OTHER_PHONE)), "search-whole-only")
    fx_find(fxiaoke.stranger, orders=[{"fieldName": "create_time", "isAsc": True}]).expect(200)
    fxiaoke.require_nothing_clear()


def test_masks_posted_back_to_fxiaoke_keep_what_was_there(fxiaoke: Office) -> None:
    record = fx_create(fxiaoke.manager, name=NAME, mobile1=PHONE, email="kept@example.com")
    data = {"dataObjectApiName": "ContactObj", "objectDataId": record}
    shown = fx_call(fxiaoke.clerk, "get", data).json()["data"]
    posted = {key: shown[key] for key in ("_id", "name", "mobile1", "email")}
    posted |= {"dataObjectApiName": "ContactObj", "name": "张炜"}
    assert fx_call(fxiaoke.clerk, "update", {"object_data": posted}).expect(200).json()["errorCode"] == 0
    now = fx_call(fxiaoke.manager, "get", data).json()["data"]
    assert (now["name"], now["mobile1"], now["email"]) == ("张炜", PHONE, "kept@example.com")
    refused(
        fx_call(fxiaoke.clerk, "update", {"object_data": {**posted, "mobile1": "13700137000"}}),
        "field-not-writable",
    )


def test_an_error_with_status_200_binds_nothing(fxiaoke: Office) -> None:
    fx_create(fxiaoke.manager, name=NAME, email="first@example.com")
    values = {"dataObjectApiName": "ContactObj", "name": "王芳", "email": "first@example.com"}
    answer = fx_call(fxiaoke.manager, "create", {"object_data": values}).expect(200).json()
    assert answer["errorCode"] == 320001
    assert answer["errorMessage"] == "first@example.com exists"
    rows = origins(fxiaoke.stack, answer["dataId"])
    assert ("contact", "name", 1) in rows  # that of the record that was there, and not the refused one as well


def test_credentials_in_a_body_belong_to_one_person_and_reach_no_trail(fxiaoke: Office) -> None:
    data = {"dataObjectApiName": "ContactObj", "search_query_info": {"filters": []}}
    fx_call(fxiaoke.manager, "query", data, "FSUID_77").expect(200)
    refused(fx_call(fxiaoke.clerk, "query", data, "FSUID_77"), "crm-token-ended")
    assert fx.TOKEN not in trail_text(fxiaoke.stack)


@pytest.mark.parametrize(
    ("role", "info", "reason"),
    [
        ("clerk", {"filters": [clause("mobile1", "GT", "1")]}, "search-whole-only"),
        ("clerk", {"filters": [clause("email", "ISN")]}, "field-not-searchable"),
        ("clerk", {"filters": [clause("add", "EQ", "a")]}, "field-not-searchable"),
        ("clerk", {"filters": [clause("UDSText2__c", "EQ", "a")]}, "field-not-searchable"),
        ("clerk", {"wheres": [{"filters": [clause("email", "EQ", "a@b.example")]}]}, "field-not-searchable"),
        ("clerk", {"orders": [{"fieldName": "email", "isAsc": True}]}, "field-not-ordered"),
        ("clerk", {"orders": [{"fieldName": "create_time"}, {"fieldName": "UDSText2__c"}]}, "field-not-ordered"),
        ("stranger", {"filters": [clause("name", "EQ", "a")]}, "field-not-searchable"),
        ("stranger", {"orders": [{"fieldName": "tel1", "isAsc": False}]}, "field-not-ordered"),
    ],
    ids=str,
)
def test_searches_of_fxiaoke_cannot_probe_what_is_hidden(
    fxiaoke: Office, role: str, info: dict[str, Any], reason: str
) -> None:
    before = len(fxiaoke.server.calls)
    asked = {"dataObjectApiName": "ContactObj", "search_query_info": {"offset": 0, "limit": 10, **info}}
    refused(fx_call(getattr(fxiaoke, role), "query", asked), reason)
    assert len(fxiaoke.server.calls) == before
