"""Odoo behind the real gateway: three interfaces that say the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.demo.browser import Answer, Browser
from tests.hosted import odoo as od
from tests.hosted.office import origins
from tests.hosted.staffed import CLEAR, EMAIL, FIRST, NAME, OTHER_NAME, PHONE, Office, opened, refused, send, trail_text

pytestmark = pytest.mark.real


def first(hand: Browser) -> Answer:
    return web(hand, PARTNER, "create", dict(FIRST))


@pytest.fixture(scope="module")
def odoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with od.odoo() as server:
        yield from opened(server, tmp_path_factory.mktemp("odoo") / "policy.csv", first)


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


@pytest.mark.parametrize(
    ("method", "named", "reason"),
    [
        ("search_count", {"domain": [["email", "=", "a@b.example"]]}, "field-not-searchable"),
        ("search_read", {"domain": [["phone", ">", "1"]]}, "search-whole-only"),
        ("search_read", {"domain": [["child_ids", "any", [["email", "=", "a"]]]]}, "field-not-searchable"),
        ("search_read", {"domain": [["user_id", "any", [["partner_id.email", "!=", False]]]]}, "field-not-searchable"),
        ("web_search_read", {"domain": [], "order": "phone desc"}, "field-not-ordered"),
        ("web_search_read", {"domain": [], "specification": {"child_ids": {"order": "email"}}}, "field-not-ordered"),
        ("web_read_group", {"domain": [], "groupby": ["email"], "aggregates": []}, "field-not-ordered"),
        (
            "read_group",
            {"domain": [], "groupby": ["create_date"], "aggregates": ["id:max(email)"]},
            "field-not-ordered",
        ),
        ("read_group", {"domain": [], "groupby": "phone", "aggregates": ["id"]}, "field-not-ordered"),
        ("formatted_read_group", {"domain": [], "groupby": [], "aggregates": ["phone:min"]}, "field-not-ordered"),
        (
            "formatted_read_group",
            {"domain": [], "groupby": [], "aggregates": [], "having": [["email:max", ">", "m"]]},
            "field-not-searchable",
        ),
    ],
    ids=str,
)
def test_calls_of_odoo_cannot_probe_what_is_hidden(
    odoo: Office, method: str, named: dict[str, Any], reason: str
) -> None:
    before = len(odoo.server.calls)
    refused(web(odoo.clerk, PARTNER, method, **named), reason)
    refused(json2(odoo.clerk, PARTNER, method, **named), reason)
    assert len(odoo.server.calls) == before
