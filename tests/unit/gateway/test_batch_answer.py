"""Whether an answer to a batch says that a value is taken: part by part, and in doubt it does."""

from datetime import UTC, datetime
from itertools import count

import orjson
import pytest

from gateway.batch import Batch, take_apart
from gateway.batch_answer import says_taken
from gateway.exchange import Exchange, Head
from gateway.installation import Installation
from policies.profile import load_profile

BASE = "/services/data/v60.0"
MIXED = "multipart/mixed; boundary=b"
JSON = "application/json"
TAKEN = [{"errorCode": "DUPLICATE_VALUE", "message": "duplicate value found"}]
HEAD = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n"


def batch(profile: str, path: str, body: bytes, content_type: str = JSON) -> Batch:
    installation = Installation(load_profile(profile))
    head = Head("POST", path, path, "", "crm.example", (), True, len(body))
    exchange = Exchange("x1", datetime(2026, 3, 1, tzinfo=UTC), head, "main", "203.0.113.9", "7")
    exchange.operation = installation.classify("POST", path, "", body, content_type)
    ids = count(2)
    return take_apart(exchange, installation, body, content_type, lambda: f"x{next(ids)}")


def composite(*urls: str) -> Batch:
    parts = [
        {"method": "POST", "url": f"{BASE}/sobjects/{url}", "referenceId": f"r{number}", "body": {"LastName": "x"}}
        for number, url in enumerate(urls)
    ]
    return batch("salesforce", f"{BASE}/composite", orjson.dumps({"compositeRequest": parts}))


def told(*parts: tuple[int, object]) -> bytes:
    return orjson.dumps({"compositeResponse": [{"httpStatusCode": status, "body": body} for status, body in parts]})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (told((201, {"id": "a"}), (400, TAKEN)), True),
        (told((400, TAKEN), (201, {"id": "a"})), True),
        (told((201, {"id": "a"}), (400, [{"errorCode": "REQUIRED_FIELD_MISSING"}])), False),
        (told((201, {"id": "a"}), (201, {"id": "b"})), False),
        (told((201, {"id": "a"})), True),  # a part too few: nobody knows what the other one said
        (b"{", True),
        (b"", True),
    ],
)
def test_one_part_that_tells_is_enough_whatever_the_status_of_the_whole(body: bytes, says: bool) -> None:
    assert says_taken(composite("Contact", "Lead"), 200, JSON, body) is says


def test_what_a_part_of_an_object_without_a_rule_says_is_no_matter() -> None:
    assert not says_taken(composite("Contact", "Case"), 200, JSON, told((201, {"id": "a"}), (400, TAKEN)))


@pytest.mark.parametrize(("code", "says"), [("DUPLICATES_DETECTED", True), ("STRING_TOO_LONG", False)])
def test_a_list_of_records_tells_by_the_errors_of_each(code: str, says: bool) -> None:
    records = [{"attributes": {"type": "Contact"}, "LastName": "x"}]
    made = batch("salesforce", f"{BASE}/composite/sobjects", orjson.dumps({"records": records}))
    assert says_taken(made, 200, JSON, orjson.dumps([{"success": False, "errors": [{"statusCode": code}]}])) is says


@pytest.mark.parametrize(("status", "says"), [(201, False), (400, True), (409, True), (207, True)])
def test_where_the_answer_is_one_for_all_its_status_decides(status: int, says: bool) -> None:
    given = orjson.dumps({"inputs": [{"properties": {"email": "a@example.com"}}]})
    made = batch("hubspot", "/crm/v3/objects/contacts/batch/create", given)
    assert says_taken(made, status, JSON, b"{}") is says


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("HTTP/1.1 412 Precondition Failed\r\nContent-Type: application/json\r\n\r\n{}", True),
        ("HTTP/1.1 204 No Content\r\n\r\n", False),
        ('HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n{"error":{"code":"0x0"}}', False),
        ("nonsense", True),
    ],
)
def test_messages_of_a_multipart_answer_are_judged_one_by_one(answer: str, says: bool) -> None:
    line = 'POST /api/data/v9.2/leads HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{"lastname":"x"}'
    made = batch("dynamics", "/api/data/v9.2/$batch", f"{HEAD}{line}\r\n--b--\r\n".encode(), MIXED)
    assert says_taken(made, 200, MIXED, f"{HEAD}{answer}\r\n--b--\r\n".encode()) is says
