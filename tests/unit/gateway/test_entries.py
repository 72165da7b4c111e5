"""The entry of an exchange: the id of an emergency role stands in it as long as the person acts with one."""

from datetime import UTC, datetime

import pytest

from audit.entry import decode, encode
from gateway.entries import describe
from gateway.exchange import Exchange, Head, Principal

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("emergency", ["", "e-1"])
def test_what_is_done_with_an_emergency_role_is_marked(emergency: str) -> None:
    exchange = Exchange("x-1", AT, Head("GET", "/", "/", "", "crm", (), False, None), "t1")
    exchange.principal = Principal("u-1", "li.wei", ("sales",), "t1", "s-1", emergency=emergency)
    for kind in ("decision", "outcome", "refusal"):
        fields = decode(encode(describe(exchange, "a-1", kind, "allowed", 200)))["fields"]
        assert fields.get("emergency", "") == emergency
        assert ("emergency" in fields) == bool(emergency)
