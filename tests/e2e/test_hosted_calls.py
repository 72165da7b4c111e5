"""Hosted CRMs where the body decides, on small servers behind the real gateway: fxiaoke, HubSpot, Odoo, Neocrm."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from gateway.demo.browser import Answer, Browser
from gateway.opening import open_database
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Stack, installed
from tests.hosted import batched as several
from tests.hosted import fxiaoke as fx
from tests.hosted import hubspot as hs
from tests.hosted import neocrm as neo
from tests.hosted import odoo as od
from tests.hosted.calls import Hosted

pytestmark = pytest.mark.real

# A clerk sees masks and may search by phone; a stranger sees nothing, may do everything and search by nothing.
POLICY = """
p, clerk, *, field:*.*#name, clear, any
p, clerk, *, field:*.*#phone, masked, any
p, clerk, *, field:*.*#email, masked, any
p, clerk, *, kind:phone, search, any
p, clerk, *, kind:name, write, any
p, clerk, *, op:*, *, any
p, stranger, *, op:*, *, any
"""
NAME, PHONE, EMAIL = "张伟", "13800138000", "zhang.wei@example.com"
OTHER_NAME, OTHER_PHONE = "李娜", "13912345678"
CLEAR = (NAME, PHONE, EMAIL, OTHER_NAME, OTHER_PHONE)


@dataclass
class Office:
    """crmgate in front of one hosted CRM, and people at work."""

    server: Hosted
    stack: Stack
    manager: Browser
    clerk: Browser
    stranger: Browser

    def require_nothing_clear(self) -> None:
        """No value of a customer has ever reached the CRM."""
        seen = self.server.seen()
        assert [one for one in CLEAR if one in seen] == []


def opened(server: Hosted, policy: Path, more: str = "") -> Iterator[Office]:
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    extra = f'[tenant.main]\npolicy = "{policy}"\n{more}'
    staff = {role: f"{role}.hosted" for role in ("manager", "clerk", "stranger")}
    with installed(server, extra, staff) as stack:  # type: ignore[arg-type]
        people = [stack.signed_in(who) for who in staff]
        try:
            yield Office(server, stack, *people)
        finally:
            for one in people:
                one.close()


def refused(answer: Answer, reason: str) -> None:
    assert answer.json()["reason"] == reason, answer.text
    assert answer.status >= 400


# -- fxiaoke -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fxiaoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with fx.fxiaoke() as server:
        yield from opened(server, tmp_path_factory.mktemp("fxiaoke") / "policy.csv")


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


# -- HubSpot -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hubspot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with hs.hubspot() as server:
        yield from opened(server, tmp_path_factory.mktemp("hubspot") / "policy.csv")


def send(hand: Browser, method: str, path: str, value: Any = None) -> Answer:
    body = None if value is None else json.dumps(value).encode()
    return hand.send(method, path, body, {"content-type": "application/json"} if body else {})


def written(office: Office) -> int:
    """How many calls reached the CRM that could change something; the gateway itself may look before a write."""
    return sum(call.method != "GET" for call in office.server.calls)


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
    parts = trail_parts(hubspot.stack)
    assert [f"contact.update:{first}", f"contact.update:{second}"] in parts
    made = send(hubspot.manager, "POST", f"{hs.CONTACTS}/batch/create", {"inputs": [{"properties": {"email": EMAIL}}]})
    assert made.expect(201).json()["results"][0]["properties"]["email"] == EMAIL
    read = {"inputs": [{"id": EMAIL}], "idProperty": "email", "properties": ["email"]}
    assert send(hubspot.manager, "POST", f"{hs.CONTACTS}/batch/read", read).expect(200).json()["results"]
    refused(send(hubspot.stranger, "POST", f"{hs.CONTACTS}/batch/read", read), "field-not-searchable")
    hubspot.require_nothing_clear()


def test_what_would_leave_hubspot_past_the_gateway_is_refused(hubspot: Office) -> None:
    asked_for = {"exportType": "LIST", "objectType": "CONTACT", "objectProperties": ["email"]}
    refused(send(hubspot.manager, "POST", "/crm/v3/exports/export/async", asked_for), "write-not-granted")
    assert send(hubspot.manager, "GET", "/crm/v3/exports/export/async/tasks/7/status").status == 403


# -- batches -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with several.batched() as server:
        yield from opened(server, tmp_path_factory.mktemp("batched") / "policy.csv")


def part(method: str, url: str, name: str, body: Any = None) -> dict[str, Any]:
    out = {"method": method, "url": url, "referenceId": name}
    return out if body is None else {**out, "body": body}


def composite(hand: Browser, *parts: dict[str, Any]) -> Answer:
    return send(hand, "POST", "/api/v1/composite", {"allOrNone": True, "compositeRequest": list(parts)})


def multipart(hand: Browser, *parts: tuple[str, str, Any], group: int = 0) -> Answer:
    """A $batch, whose last `group` parts stand in a change set."""
    texts = []
    for method, url, value in parts:
        body = "" if value is None else json.dumps(value)
        kind = "Content-Type: application/json\r\n" if body else ""
        texts.append(
            "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n"
            f"{method} {url} HTTP/1.1\r\n{kind}\r\n{body}\r\n"
        )
    alone, together = texts[: len(texts) - group], texts[len(texts) - group :]
    out = "".join(f"--b1\r\n{one}" for one in alone)
    if together:
        out += "--b1\r\nContent-Type: multipart/mixed; boundary=c1\r\n\r\n"
        out += "".join(f"--c1\r\n{one}" for one in together) + "--c1--\r\n\r\n"
    kind = {"content-type": "multipart/mixed; boundary=b1"}
    return hand.send("POST", "/api/v1/$batch", f"{out}--b1--\r\n".encode(), kind)


def test_each_part_of_a_composite_is_bound_to_the_record_that_its_own_answer_names(batched: Office) -> None:
    answer = composite(
        batched.manager,
        part("POST", "v1/contacts", "one", {"name": NAME, "phone": PHONE}),
        part("POST", "/api/v1/contacts", "two", {"name": OTHER_NAME, "note": "@{one.id}", "email": EMAIL}),
        part("PATCH", "v1/contacts/@{one.id}", "three", {"note": f"see {OTHER_PHONE}"}),
        part("GET", f"v1/contacts?email={EMAIL}", "four"),
        part("GET", "v1/contacts/@{one.id}", "five"),
    )
    told = [one["body"] for one in answer.expect(200).json()["compositeResponse"]]
    first, second = told[0]["id"], told[1]["id"]
    assert told[3]["value"] == [{"id": second, "name": OTHER_NAME, "note": first, "email": EMAIL}]
    assert told[4] == {"id": first, "name": NAME, "phone": PHONE, "note": f"see {OTHER_PHONE}"}
    assert origins(batched.stack, first) == [("contact", "name", 1), ("contact", "phone", 1)]
    assert sorted(origins(batched.stack, second)) == [("contact", "email", 1), ("contact", "name", 1)]
    wanted = ["contact.create", "contact.create", "contact.update", "contact.list", "contact.read"]
    assert wanted in trail_parts(batched.stack)
    hidden = composite(batched.stranger, part("GET", f"v1/contacts/{first}", "one")).expect(200).text
    assert [one for one in CLEAR if one in hidden] == []
    batched.require_nothing_clear()


def test_one_refused_part_refuses_the_whole_composite(batched: Office) -> None:
    good = part("POST", "v1/contacts", "one", {"name": NAME})
    before = written(batched)
    for hand, bad, reason in (
        (batched.manager, part("GET", "v1/secrets", "two"), "write-not-granted"),
        (batched.manager, part("POST", "v1/unknown", "two", {}), "write-not-granted"),
        (batched.manager, part("POST", "v1/composite", "two", {"compositeRequest": []}), "write-not-granted"),
        (batched.manager, part("GET", "v1/contacts/../secrets", "two"), "ambiguous-path"),
        (batched.manager, part("GET", "v1/contacts?email=@{one.id}", "two"), "body-unreadable"),
        (batched.manager, part("SEARCH", "v1/contacts", "two"), "body-unreadable"),
        (batched.manager, {"url": "v1/contacts"}, "body-unreadable"),
        (batched.clerk, part("POST", "v1/contacts", "two", {"phone": PHONE}), "field-not-writable"),
        (batched.clerk, part("POST", "v1/contacts", "two", {"phone": "@{one.id}"}), "field-not-writable"),
    ):
        refused(composite(hand, good, bad), reason)
    asked_for = [part("GET", url, "one") for url in ("v1/contacts", f"v1/contacts?email={EMAIL}")]
    refused(composite(batched.stranger, *asked_for), "field-not-searchable")
    refused(send(batched.manager, "POST", "/api/v1/composite", {"compositeRequest": []}), "body-unreadable")
    assert written(batched) == before


def test_a_multipart_batch_is_answered_in_kind(batched: Office) -> None:
    record = str(send(batched.manager, "POST", "/api/v1/contacts", {"name": NAME, "phone": PHONE}).json()["id"])
    answer = multipart(
        batched.manager,
        ("GET", f"contacts/{record}", None),
        ("GET", f"/api/v1/contacts?email={EMAIL}", None),
        ("PATCH", f"contacts/{record}", {"name": OTHER_NAME}),
        ("POST", "/api/v1/contacts", {"name": NAME, "email": "new@example.com"}),
        group=2,
    ).expect(200)
    assert answer.header("content-type").startswith("multipart/mixed; boundary=")
    bodies = [json.loads(line) for line in answer.text.splitlines() if line.startswith("{")]
    assert (bodies[0]["name"], bodies[0]["phone"]) == (NAME, PHONE)
    assert answer.text.count("HTTP/1.1 ") == 4
    assert origins(batched.stack, bodies[-1]["id"]) == [("contact", "email", 1), ("contact", "name", 1)]
    assert send(batched.manager, "GET", f"/api/v1/contacts/{record}").json()["name"] == OTHER_NAME
    for hand in (batched.clerk, batched.stranger):
        text = multipart(hand, ("GET", f"contacts/{record}", None)).expect(200).text
        assert PHONE not in text
    batched.require_nothing_clear()


def test_one_refused_part_refuses_the_whole_multipart_batch(batched: Office) -> None:
    before = written(batched)
    good = ("POST", "/api/v1/contacts", {"name": NAME})
    for hand, bad, reason in (
        (batched.manager, ("GET", "secrets", None), "write-not-granted"),
        (batched.manager, ("POST", "https://elsewhere.example/api/v1/contacts", {"name": NAME}), "ambiguous-framing"),
        (batched.clerk, ("POST", "/api/v1/contacts", {"phone": PHONE}), "field-not-writable"),
    ):
        refused(multipart(hand, good, bad, group=1), reason)
    kind = {"content-type": "multipart/mixed; boundary=b1"}
    cut = b"--b1\r\nContent-Type: application/http\r\n\r\nGET /api/v1/contacts HTTP/1.1\r\n\r\n"
    refused(batched.manager.send("POST", "/api/v1/$batch", cut, kind), "body-malformed")
    assert written(batched) == before


def test_records_inside_records_and_arrays_of_calls_are_parts_as_well(batched: Office) -> None:
    def record(label: str, **values: Any) -> dict[str, Any]:
        return {"attributes": {"type": "contacts", "referenceId": label}, **values}

    below = {"records": [record("below", name=OTHER_NAME, phone=OTHER_PHONE)]}
    made = send(batched.manager, "POST", "/api/v1/tree", {"records": [record("top", name=NAME, people=below)]})
    assert len(made.expect(201).json()["results"]) == 2
    below["records"][0]["attributes"]["type"] = "secrets"
    refused(
        send(batched.manager, "POST", "/api/v1/tree", {"records": [record("top", name=NAME, people=below)]}),
        "write-not-granted",
    )
    one = {"id": 1, "method": "create", "params": {"name": NAME, "phone": PHONE}}
    answer = send(batched.manager, "POST", "/calls", [one, {**one, "id": 2}]).expect(200).json()
    assert origins(batched.stack, str(answer[1]["result"]["id"])) == [("contact", "name", 1), ("contact", "phone", 1)]
    refused(send(batched.manager, "POST", "/calls", [one, {"id": 2, "method": "erase"}]), "write-not-granted")
    batched.require_nothing_clear()


# -- Odoo --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with od.odoo() as server:
        yield from opened(server, tmp_path_factory.mktemp("odoo") / "policy.csv")


def web(hand: Browser, model: str, method: str, *args: Any, **named: Any) -> Answer:
    """A call of the web client; the model in its path says nothing."""
    params = {"model": model, "method": method, "args": list(args), "kwargs": named}
    return send(hand, "POST", "/web/dataset/call_kw/x/y", {"jsonrpc": "2.0", "method": "call", "params": params})


def json2(hand: Browser, model: str, method: str, **named: Any) -> Answer:
    headers = {"content-type": "application/json", "authorization": f"bearer key-{id(hand)}"}
    return hand.send("POST", f"/json/2/{model}/{method}", json.dumps(named).encode(), headers)


def old(hand: Browser, model: str, method: str, *args: Any, **named: Any) -> Answer:
    given = [od.DATABASE, od.USER, od.PASSWORD, model, method, list(args), named]
    params = {"service": "object", "method": "execute_kw", "args": given}
    return send(hand, "POST", "/jsonrpc", {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params})


PARTNER = "res.partner"


def test_odoo_says_the_same_in_three_ways_and_each_is_protected(odoo: Office) -> None:
    hand = odoo.manager
    person = {"name": NAME, "email": EMAIL, "phone": PHONE}
    records = [
        web(hand, PARTNER, "create", [person]).expect(200).json()["result"][0],
        json2(hand, PARTNER, "create", vals=person).expect(200).json(),
        old(hand, PARTNER, "create", person).expect(200).json()["result"],
        web(hand, PARTNER, "web_save", [], person, specification={}).expect(200).json()["result"][0]["id"],
    ]
    for record in records:
        bound = [("partner", "email", 1), ("partner", "name", 1), ("partner", "phone", 1)]
        assert sorted(origins(odoo.stack, str(record))) == bound
        for told in (
            web(hand, PARTNER, "read", [record]).expect(200).json()["result"][0],
            json2(hand, PARTNER, "read", ids=[record]).expect(200).json()[0],
            old(hand, PARTNER, "read", [record]).expect(200).json()["result"][0],
        ):
            assert {key: told[key] for key in person} == person
        text = web(odoo.stranger, PARTNER, "read", [record]).expect(200).text
        assert [one for one in CLEAR if one in text] == []
    below = web(hand, PARTNER, "create", {"name": OTHER_NAME, "parent_id": records[0]}).json()["result"]
    assert web(hand, PARTNER, "read", [below]).json()["result"][0]["parent_id"] == [records[0], NAME]
    assert NAME not in web(odoo.stranger, PARTNER, "read", [below]).text
    odoo.require_nothing_clear()


def test_odoo_domains_become_surrogates_and_tell_strangers_nothing(odoo: Office) -> None:
    record = web(odoo.manager, PARTNER, "create", {"name": "周敏", "phone": "13500135000"}).json()["result"]
    for answer in (
        web(odoo.manager, PARTNER, "search_read", [["phone", "=", "13500135000"]]).json()["result"],
        web(odoo.manager, PARTNER, "search_read", domain=[["name", "ilike", "%周敏%"]]).json()["result"],
        json2(odoo.manager, PARTNER, "search_read", domain=[["phone", "in", ["13500135000"]]]).json(),
        old(odoo.manager, PARTNER, "search_read", [["phone", "=", "13500135000"]]).json()["result"],
        json2(odoo.clerk, PARTNER, "search_read", domain=[["phone", "=", "13500135000"]]).json(),
    ):
        assert [one["id"] for one in answer] == [record]
    assert web(odoo.manager, PARTNER, "name_search", "周敏").json()["result"] == [[record, "周敏"]]
    for answer in (
        web(odoo.stranger, PARTNER, "search_read", [["phone", "!=", False]]),
        web(
            odoo.stranger,
            PARTNER,
            "search_read",
            ["&", "|", ["active", "=", True], ["phone", "=", "1"], ["id", ">", 0]],
        ),
        web(odoo.clerk, PARTNER, "search_read", [["parent_id.email", "=", EMAIL]]),
        web(odoo.clerk, PARTNER, "search_read", [["x_custom", "!=", False]]),
        web(odoo.clerk, PARTNER, "name_search", "", args=[["email", "!=", False]]),
    ):
        refused(answer, "field-not-searchable")
    for answer in (
        web(odoo.clerk, PARTNER, "search_read", [], order="create_date desc, phone"),
        web(odoo.clerk, PARTNER, "read_group", [], ["id"], ["email"]),
        web(odoo.clerk, PARTNER, "read_group", [], ["email:count_distinct"], ["create_date:month"]),
        web(odoo.clerk, PARTNER, "web_read", [record], {"child_ids": {"order": "email desc"}}),
        json2(odoo.clerk, PARTNER, "search_read", order="email"),
    ):
        refused(answer, "field-not-ordered")
    seen = odoo.server.seen()
    assert "周敏" not in seen
    assert "13500135000" not in seen


def test_masks_posted_back_to_odoo_keep_what_was_there(odoo: Office) -> None:
    record = web(odoo.manager, PARTNER, "create", {"name": NAME, "phone": PHONE}).json()["result"]
    shown = web(odoo.clerk, PARTNER, "read", [record]).json()["result"][0]
    assert shown["phone"] != PHONE
    web(odoo.clerk, PARTNER, "write", [record], {"name": "张炜", "phone": shown["phone"]}).expect(200)
    now = web(odoo.manager, PARTNER, "read", [record]).json()["result"][0]
    assert (now["name"], now["phone"]) == ("张炜", PHONE)
    refused(json2(odoo.clerk, PARTNER, "write", ids=[record], vals={"phone": "13700137000"}), "field-not-writable")
    refused(web(odoo.clerk, PARTNER, "write", [record], {"phone": False}), "field-not-writable")


def test_in_odoo_the_body_decides_and_its_password_stays_out_of_the_trail(odoo: Office) -> None:
    before = len(odoo.server.calls)
    for answer in (
        web(odoo.manager, PARTNER, "_write", [1], {"name": NAME}),
        web(odoo.manager, "ir.config_parameter", "search_read", []),
        old(odoo.manager, PARTNER, "eval_everything"),
        send(odoo.manager, "POST", "/jsonrpc", {"params": {"service": "db", "method": "dump", "args": []}}),
        send(odoo.manager, "POST", "/jsonrpc", {"params": {"service": "object", "method": "execute", "args": []}}),
        send(odoo.manager, "POST", "/xmlrpc/2/object", {"params": []}),
        send(odoo.manager, "POST", "/jsonrpc", [{"params": {"service": "common", "method": "version"}}]),
    ):
        refused(answer, "write-not-granted")
    assert len(odoo.server.calls) == before
    old(odoo.manager, PARTNER, "search_read", []).expect(200)
    refused(old(odoo.clerk, PARTNER, "search_read", []), "crm-token-ended")
    assert od.PASSWORD not in trail_text(odoo.stack)
    failed = web(odoo.manager, PARTNER, "write", [987654], {"name": "no such"}).expect(200)
    assert "error" in failed.json()


# -- Neocrm ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def neocrm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with neo.neocrm() as server:
        yield from opened(server, tmp_path_factory.mktemp("neocrm") / "policy.csv")


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


def test_queries_in_texts_and_bulk_jobs_of_neocrm_are_refused(neocrm: Office) -> None:
    before = len(neocrm.server.calls)
    query = f"select id from contact where mobile = '{PHONE}'"
    for answer in (
        send(neocrm.manager, "GET", "/rest/data/v2/query?q=select%20id%20from%20contact"),
        neocrm.manager.post("/rest/data/v2.0/query/xoql", {"xoql": query}, follow=False),
        send(neocrm.manager, "POST", "/rest/bulk/v2/job", {"data": {"operation": "insert", "object": "contact"}}),
    ):
        assert answer.status == 403
    assert len(neocrm.server.calls) == before


def origins(stack: Stack, record: str) -> list[tuple[str, str, int]]:
    """(entity, field, number of values) that are known to be of a record."""
    return asked(
        stack,
        "SELECT entity, field, count(*)::int FROM vault_origin WHERE record = %s GROUP BY 1, 2 ORDER BY 1, 2",
        record,
    )


def trail_text(stack: Stack) -> str:
    """The whole audit trail, and what the gateway logged."""
    rows = asked(stack, "SELECT * FROM audit_entry")
    return repr(rows) + stack.gateway.log.read_text()


def asked(stack: Stack, query: LiteralString, *values: str) -> list[Any]:
    """Rows of crmgate's own database."""
    database = open_database(stack.settings)
    try:
        with psycopg.connect(database.dsn) as connection:
            return connection.execute(query, values).fetchall()
    finally:
        database.close()


def trail_parts(stack: Stack) -> list[list[str]]:
    """What the entries of batches name as their parts."""
    rows = asked(stack, "SELECT body FROM audit_entry")
    found = [json.loads(bytes(row[0]))["fields"].get("parts") for row in rows]
    return [one for one in found if one]
