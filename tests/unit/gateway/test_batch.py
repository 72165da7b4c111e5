"""A batch is taken apart into exchanges; what could not come alone is in no batch either."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.batch import Batch, names, take_apart
from gateway.body.fault import BodyFault
from gateway.exchange import Exchange, Head
from gateway.installation import Installation
from gateway.refusal import Refusal
from policies.profile import load_profile

PROFILE = Installation(load_profile(Path(__file__).parents[2] / "hosted" / "batched.yaml"))
JSON, MIXED = "application/json", "multipart/mixed; boundary=b"


def taken(path: str, body: bytes, content_type: str = JSON) -> Batch:
    head = Head("POST", path, path, "", "crm.example", (), True, len(body))
    exchange = Exchange("x1", datetime(2026, 3, 1, tzinfo=UTC), head, "main", "203.0.113.9", "7")
    exchange.operation = PROFILE.classify("POST", path, "", body, content_type)
    ids = count(2)
    return take_apart(exchange, PROFILE, body, content_type, lambda: f"x{next(ids)}")


def composite(*parts: Any) -> Batch:
    return taken("/api/v1/composite", json.dumps({"compositeRequest": parts}).encode())


def part(method: str, url: str, body: Any = None) -> dict[str, Any]:
    return {"method": method, "url": url, "referenceId": "r", "body": body}


def multipart(line: str, fields: str = "", body: str = "") -> Batch:
    head = "--b\r\nContent-Type: application/http\r\n\r\n"
    return taken("/api/v1/$batch", f"{head}{line} HTTP/1.1\r\n{fields}\r\n{body}\r\n--b--\r\n".encode(), MIXED)


def test_each_part_is_an_exchange_of_its_own() -> None:
    batch = composite(
        part("PATCH", "v1/contacts/5", {"name": "x"}), part("GET", "/api/v1/contacts?email=a%40b.example")
    )
    first, second = batch.exchanges
    assert (first.id, second.id) == ("x2", "x3")
    assert (first.tenant, first.crm_user, first.head.path, first.head.host) == (
        "main", "7", "/api/v1/contacts/5", "crm.example",
    )  # fmt: skip
    assert (second.head.query, second.head.has_body) == ("email=a%40b.example", False)
    assert list(names(batch.exchanges)) == ["contact.update:contact.5", "contact.list"]


def test_a_record_with_the_sign_between_records_is_not_named() -> None:
    (one,) = composite(part("PATCH", "v1/contacts/5", {"name": "x"})).exchanges
    assert one.operation is not None
    one.operation = replace(one.operation, record="5:6")
    assert list(names([one])) == ["contact.update:~"]


def test_a_reference_names_no_record() -> None:
    (one,) = composite(part("PATCH", "v1/contacts/@{a.id}", {"name": "x"})).parts
    assert one.exchange.operation is not None
    assert (one.exchange.operation.id, one.exchange.operation.record, one.exchange.operation.records) == (
        "contact.update", None, (),
    )  # fmt: skip
    assert one.path == "/api/v1/contacts/@{a.id}"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (part("GET", "v1/contacts?x=@{a.id}"), "body-unreadable"),
        (part("GET", "https://elsewhere.example/api/v1/contacts"), "ambiguous-framing"),
        (part("GET", "v1/./contacts"), "ambiguous-path"),
        (part("GET", "v1/contacts?_method=DELETE"), "method-refused"),
        (part("POST", "v1/composite", {}), "write-not-granted"),
        (part("OPTIONS", "v1/contacts"), "body-unreadable"),
        ("x", "body-unreadable"),
    ],
)
def test_what_may_not_come_alone_is_in_no_composite(given: Any, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        composite(given)
    assert refused.value.reason.id == reason


def test_numbers_and_texts_that_few_readers_take_come_to_no_fault() -> None:
    for value in (10**30, "\ud800", 1e300):
        (one,) = composite(part("POST", "v1/contacts", {"name": value})).exchanges
        assert one.operation is not None
        assert one.operation.id == "contact.create"


def test_a_document_with_a_key_twice_is_no_batch() -> None:
    body = b'{"compositeRequest":[],"compositeRequest":[{"method":"GET","url":"v1/contacts"}]}'
    with pytest.raises(Refusal):
        taken("/api/v1/composite", body)
    with pytest.raises(Refusal):
        taken("/api/v1/composite", b'{"compositeRequest":[{"method":"GET","url":"v1/contacts"}]}', "text/plain")


def test_parts_of_a_multipart_batch_carry_no_credentials_of_their_own() -> None:
    fields = "Authorization: Bearer other\r\nCookie: a=b\r\nHost: elsewhere\r\n"
    fields += "Prefer: return=minimal\r\nOData-Version: 4.0\r\n"
    (one,) = multipart("GET contacts/5", fields).parts
    assert one.message is not None
    assert one.message.fields == [("prefer", "return=minimal"), ("odata-version", "4.0")]
    assert one.exchange.head.path == "/api/v1/contacts/5"


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("POST contacts", "X-HTTP-Method-Override: DELETE\r\n"),
        ("GET https://elsewhere.example/api/v1/contacts", ""),
        ("POST contacts", "Content-Type: multipart/form-data; boundary=x\r\n"),
        ("GET $1/contacts/../x", ""),
    ],
)
def test_what_may_not_come_alone_is_in_no_multipart_batch(line: str, fields: str) -> None:
    with pytest.raises((Refusal, BodyFault)):
        multipart(line, fields)
