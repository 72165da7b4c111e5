"""Batches of every kind behind the real gateway: each part is decided, and one that is refused refuses all."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.demo.browser import Answer, Browser
from tests.hosted import batched as several
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
    send,
    trail_parts,
    written,
)

pytestmark = pytest.mark.real


def first(hand: Browser) -> Answer:
    return send(hand, "POST", "/api/v1/contacts", FIRST)


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with several.batched() as server:
        yield from opened(server, tmp_path_factory.mktemp("batched") / "policy.csv", first)


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
