"""People at work in front of a hosted CRM where the body of a call decides what it does."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.demo.browser import Answer, Browser
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Stack, installed
from tests.hosted.calls import Hosted
from tests.hosted.office import asked, patient

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
FIRST = {"name": "赵六", "phone": "13011112222", "email": "zhao.liu@example.com"}
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


def opened(server: Hosted, policy: Path, first: Callable[[Browser], Answer], more: str = "") -> Iterator[Office]:
    """An installation with three people at work. first: a write that needs keys of every kind."""
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    extra = f'[tenant.main]\npolicy = "{policy}"\n{more}'
    staff = {role: f"{role}.hosted" for role in ("manager", "clerk", "stranger")}
    with installed(server, extra, staff) as stack:  # type: ignore[arg-type]
        people = [stack.signed_in(who) for who in staff]
        try:
            patient(lambda: first(people[0])).expect(200, 201)
            yield Office(server, stack, *people)
        finally:
            for one in people:
                one.close()


def refused(answer: Answer, reason: str) -> None:
    assert answer.json()["reason"] == reason, answer.text
    assert answer.status >= 400


def send(hand: Browser, method: str, path: str, value: Any = None) -> Answer:
    body = None if value is None else json.dumps(value).encode()
    return hand.send(method, path, body, {"content-type": "application/json"} if body else {})


def written(office: Office) -> int:
    """How many calls reached the CRM that could change something; the gateway itself may look before a write."""
    return sum(call.method != "GET" for call in office.server.calls)


def trail_text(stack: Stack) -> str:
    """The whole audit trail, and what the gateway logged."""
    rows = asked(stack, "SELECT * FROM audit_entry")
    return repr(rows) + stack.gateway.log.read_text()


def trail_parts(stack: Stack) -> list[list[str]]:
    """What the entries of batches name as their parts."""
    rows = asked(stack, "SELECT body FROM audit_entry")
    found = [json.loads(bytes(row[0]))["fields"].get("parts") for row in rows]
    return [one for one in found if one]
