"""SOAP calls told by the body, and actions that have to say the same."""

import pytest

from policies.condition import Asked, Unreadable, compile_condition
from policies.soap import agrees

SPACE = "http://schemas.xmlsoap.org/soap/envelope/"
CONDITION = compile_condition({"soap": {"call": "create", "namespace": "urn:p", "at": {"rows/type": "Contact"}}})


def envelope(inside: str, outer: str = "") -> bytes:
    return f'<s:Envelope xmlns:s="{SPACE}" xmlns:p="urn:p">{outer}<s:Body>{inside}</s:Body></s:Envelope>'.encode()


def holds(body: bytes, content_type: str = "text/xml") -> bool:
    return CONDITION.holds(Asked({}, "", body, content_type))


def test_the_first_element_of_the_body_is_the_call() -> None:
    assert holds(envelope("<p:create><p:rows><type>Contact</type></p:rows></p:create>"))
    assert not holds(envelope("<p:update><p:rows><type>Contact</type></p:rows></p:update>"))
    assert not holds(envelope("<create><rows><type>Contact</type></rows></create>"))


def test_every_row_has_to_be_of_the_object() -> None:
    contact, other = "<p:rows><type>Contact</type></p:rows>", "<p:rows><type>Lead</type></p:rows>"
    assert holds(envelope(f"<p:create>{contact}{contact}</p:create>"))
    assert not holds(envelope(f"<p:create>{contact}{other}</p:create>"))
    assert not holds(envelope("<p:create/>"))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (envelope("<p:create/><p:update/>"), "text/xml"),
        (envelope(""), "text/xml"),
        (envelope("<p:create/>", '<x:Body xmlns:x="urn:x"><p:update/></x:Body>'), "text/xml"),
        (envelope("<p:create/>").replace(SPACE.encode(), b"urn:none"), "text/xml"),
        (b"<p:create xmlns:p='urn:p'/>", "text/xml"),
        (b"{}", "text/xml"),
        (envelope("<p:create/>"), "application/json"),
        (envelope("<p:create/>").decode().encode("utf-16"), "text/xml"),
    ],
)
def test_what_is_no_single_call_is_read_by_nobody(body: bytes, content_type: str) -> None:
    with pytest.raises(Unreadable):
        holds(body, content_type)


@pytest.mark.parametrize("action", ['""', "", "create", '"urn:p/create"', '"urn:p#create"', '"Soap"'])
def test_an_action_that_names_the_call_or_nothing(action: str) -> None:
    assert agrees({"soap": "create", "soap_action": "Soap"}, "text/xml", [action])


@pytest.mark.parametrize("actions", [['"urn:p/update"'], ["update"], ['"create"', '"update"'], ['"urn:p/create/"']])
def test_an_action_that_names_another_call(actions: list[str]) -> None:
    assert not agrees({"soap": "create", "soap_action": ""}, "text/xml", actions)


def test_the_action_of_soap_1_2_stands_in_the_content_type() -> None:
    extra = {"soap": "create", "soap_action": ""}
    assert agrees(extra, 'application/soap+xml; action="urn:p/create"', [])
    assert not agrees(extra, "application/soap+xml; charset=utf-8; action=urn:p/update", [])
    assert agrees({}, 'application/soap+xml; action="anything"', ["x"])
