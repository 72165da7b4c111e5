"""The entry of an exchange: the id of an emergency role stands in it as long as the person acts with one."""

from datetime import UTC, datetime
from typing import Any

import pytest

from audit.catalogue import tag_of
from audit.entry import decode, encode
from gateway.entries import describe
from gateway.exchange import Exchange, Head, Principal
from policies.operation import UNMATCHED_WRITE, Action, Operation

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("emergency", ["", "e-1"])
def test_what_is_done_with_an_emergency_role_is_marked(emergency: str) -> None:
    exchange = Exchange("x-1", AT, Head("GET", "/", "/", "", "crm", (), False, None), "t1")
    exchange.principal = Principal("u-1", "li.wei", ("sales",), "t1", "s-1", emergency=emergency)
    for kind in ("decision", "outcome", "refusal"):
        fields = decode(encode(describe(exchange, "a-1", kind, "allowed", 200)))["fields"]
        assert fields.get("emergency", "") == emergency
        assert ("emergency" in fields) == bool(emergency)


def told(operation: Operation, method: str = "POST", *, signed_in: bool | None = None) -> dict[str, Any]:
    exchange = Exchange("x-1", AT, Head(method, "/", "/", "", "crm", (), False, None), "t1", operation=operation)
    exchange.principal = Principal("u-1", "li.wei", ("sales",), "t1", "s-1", device="d-1")
    exchange.crm_signed_in = signed_in
    return decode(encode(describe(exchange, "a-1", "outcome", "", 200)))


@pytest.mark.parametrize(
    ("operation", "method", "tag"),
    [
        (Operation("contact.card", "contact", Action.READ), "GET", "crm:record:read"),
        (Operation("contact.csv", "contact", Action.EXPORT), "GET", "crm:data:export"),
        (Operation("contact.upload", "contact", Action.IMPORT), "POST", "crm:data:import"),
        (Operation("auth.login", "auth", Action.LOGIN), "POST", "crm:session:sign-in"),
        (Operation("auth.page", "auth", Action.LOGIN), "GET", "crm:session:ask"),
        (Operation("staff.read", "staff", Action.READ), "POST", "crm:account:read"),
        (Operation("staff.change", "staff", Action.OTHER), "POST", "crm:account:change"),
        (Operation("setup.staff", "setup", Action.OTHER, extra={"accounts": "yes"}), "GET", "crm:account:read"),
        (Operation("setup.staff", "setup", Action.OTHER, extra={"accounts": "yes"}), "POST", "crm:account:change"),
        (UNMATCHED_WRITE, "POST", "crm:page:use"),
    ],
)
def test_the_entry_says_what_the_operation_does(operation: Operation, method: str, tag: str) -> None:
    assert tag_of(told(operation, method)) == tag


@pytest.mark.parametrize(("signed_in", "tag"), [(True, "crm:session:sign-in"), (False, "crm:session:sign-in-failed")])
def test_a_sign_in_that_the_crm_answers_with_200_and_refuses_is_a_failure(signed_in: bool, tag: str) -> None:
    assert tag_of(told(Operation("auth.login", "auth", Action.LOGIN), signed_in=signed_in)) == tag


def test_session_and_browser_of_whoever_is_signed_in_stand_in_the_entry() -> None:
    fields = told(Operation("contact.card", "contact", Action.READ))["fields"]
    assert (fields["session"], fields["device"]) == ("s-1", "d-1")


def test_a_value_that_stands_in_several_fields_of_a_record_was_shown_in_all_of_them() -> None:
    exchange = Exchange("x-1", AT, Head("GET", "/", "/", "", "crm", (), False, None), "t1")
    exchange.shown = {("contact", "notes", "7", "CLEAR"): 2, ("contact", "email", "7", "MASKED"): 1}
    exchange.beside = {("contact", "mobile", "7", "CLEAR"), ("contact", "email", "7", "MASKED")}
    shown = decode(encode(describe(exchange, "a-1", "outcome", "", 200)))["fields"]["shown"]
    assert shown == {
        "contact.email": {"7": {"masked": 1}},
        "contact.mobile": {"7": {"clear": 1}},
        "contact.notes": {"7": {"clear": 2}},
    }
