"""Hosted CRMs whose calls the body decides, on small servers behind the real gateway: fxiaoke, HubSpot, Odoo, Neocrm."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.browser import Answer, Browser
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import close_all, newcomer
from tests.hosted import fxiaoke as fx
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


def opened(server: Hosted, policy: Path) -> Iterator[Office]:
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    with installed(server, f'[tenant.main]\npolicy = "{policy}"\n') as stack:  # type: ignore[arg-type]
        people = [newcomer(stack, role) for role in ("manager", "clerk", "stranger")]
        try:
            yield Office(server, stack, *people)
        finally:
            close_all()


def refused(answer: Answer, reason: str) -> None:
    assert answer.json()["reason"] == reason, answer.text
    assert answer.status >= 400


# -- fxiaoke -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fxiaoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with fx.fxiaoke() as server:
        yield from opened(server, tmp_path_factory.mktemp("fxiaoke") / "policy.csv")


def fx_call(hand: Browser, verb: str, data: dict[str, Any], user: str = "FSUID_1", **more: Any) -> Answer:
    body = {"corpAccessToken": fx.TOKEN, "corpId": "FSCID", "currentOpenUserId": user, "data": data, **more}
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
    clerk = fx_call(fxiaoke.clerk, "get", data, "FSUID_2").expect(200).json()["data"]
    assert clerk["name"] == NAME
    assert clerk["mobile1"] != PHONE
    assert clerk["email"] != EMAIL
    assert [one for one in CLEAR if one in fx_call(fxiaoke.stranger, "get", data, "FSUID_3").text] == []
    fxiaoke.require_nothing_clear()
