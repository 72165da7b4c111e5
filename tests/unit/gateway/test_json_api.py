"""JSON:API and JSON lines: nested attributes, included records, and no oracle in filters, orders and fieldsets."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from gateway.body.fault import BodyFault
from gateway.body.limits import Limits as BodyLimits
from gateway.database import Pool
from gateway.refusal import Refusal
from gateway.unprotected import Unprotected
from tests.unit.gateway.glue import TENANT, Glue, open_glue

API, LINES = "application/vnd.api+json", "application/x-ndjson"
NAME, PHONE = "欧阳震华", "13800138000"


@pytest.fixture
async def api(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, str(Path(__file__).with_name("json_api.yaml"))) as made:
        yield made


async def sent(glue: Glue, method: str, target: str, body: bytes, content_type: str, role: str = "manager") -> bytes:
    exchange = glue.exchange(method, target, role=role, body=body, content_type=content_type)
    outgoing = await glue.protect(exchange, body, content_type)
    assert isinstance(outgoing.body, bytes)
    return outgoing.body


def contact(**attributes: str) -> bytes:
    return orjson.dumps({"data": {"type": "contacts", "attributes": attributes}})


async def asked(glue: Glue, query: str, role: str = "sales") -> str:
    exchange = glue.exchange("GET", f"/api/contacts?{query}", role=role)
    return (await glue.protect(exchange, b"")).target


async def test_attributes_become_surrogates(api: Glue) -> None:
    body = contact(name=NAME, phone=PHONE, note=f"call {PHONE}", status="new")
    held = orjson.loads(await sent(api, "POST", "/api/contacts", body, API))["data"]["attributes"]
    assert held["status"] == "new"
    assert await api.clear({key: held[key] for key in ("name", "phone")}) == {"name": NAME, "phone": PHONE}
    assert PHONE not in held["note"]


async def test_included_records_are_rendered_by_right(api: Glue) -> None:
    held = orjson.loads(await sent(api, "POST", "/api/contacts", contact(name=NAME, phone=PHONE), API))["data"]
    answer = orjson.dumps({"data": [], "included": [held]})
    for role, shown in (("manager", True), ("sales", False)):
        exchange = api.exchange("GET", "/api/contacts?include=partner&fields%5Bcontacts%5D=phone", role=role, user="9")
        _, seen = await api.answer(exchange, answer, API)
        assert (PHONE in seen.decode()) is shown
        assert (NAME in seen.decode()) is shown


async def test_a_filter_by_a_whole_value_asks_for_its_surrogate(api: Glue) -> None:
    held = orjson.loads(await sent(api, "POST", "/api/contacts", contact(phone=PHONE), API))
    target = await asked(api, f"filter%5Bphone%5D={PHONE}&filter[status]=new", "manager")
    assert held["data"]["attributes"]["phone"].removeprefix("+") in target
    assert target.endswith("&filter[status]=new")


@pytest.mark.parametrize(
    "query",
    [
        "filter[phone][like]=138",
        "filter[phone][gt]=1",
        "filter%5Bphone%5D%5Bstarts%5D=138",
        "filter[secret]=1",
        "filter[contacts.phone][like]=1",
        "filter[phone=1",
        "filter[][phone]=1",
        "sort=-phone",
        "sort=status,phone",
        "sort=secret",
        "sort=contacts.phone",
        "sort=phone&sort=status",
        "filter[note]=x&sort=-note",
    ],
)
async def test_a_hidden_field_is_no_oracle(api: Glue, query: str) -> None:
    with pytest.raises(Refusal):
        await asked(api, query)


@pytest.mark.parametrize("query", ["sort=-createdAt,status", "filter[status]=new", "include=owner", "page[size]=2"])
async def test_open_columns_stay_open(api: Glue, query: str) -> None:
    assert await asked(api, query) == f"/api/contacts?{query}"


async def test_each_line_is_a_document(api: Glue) -> None:
    body = f'{{"id": 5, "name": "{NAME}" }}\n\r\n{{"id":6,"phone":"{PHONE}","x":1.50}}\r\n'.encode()
    exchange = api.exchange("POST", "/api/contacts/bulk", body=body, content_type=LINES)
    assert exchange.operation is not None
    assert exchange.operation.records == ("5", "6")
    held = (await api.protect(exchange, body, LINES)).body
    assert isinstance(held, bytes)
    first, blank, second, end = held.split(b"\n")
    assert first.startswith(b'{"id": 5, "name": "Z')
    assert first.endswith(b'" }')
    assert blank == b"\r"
    assert second.endswith(b',"x":1.50}\r')
    assert end == b""
    assert await api.clear(orjson.loads(second) | {"id": "", "x": ""}) == {"id": "", "x": "", "phone": PHONE}


@pytest.mark.parametrize("content_type", [LINES, "application/jsonl", "application/json-seq"])
async def test_lines_without_anything_personal_arrive_byte_for_byte(api: Glue, content_type: str) -> None:
    mark = b"\x1e" if content_type.endswith("seq") else b""
    body = mark + b'{ "id":5 , "a":"x" }\n' + mark + b"[]\n" + mark + b'"y"\n'
    assert await sent(api, "POST", "/api/contacts/bulk", body, content_type) == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}\n',
        b'{"a":1}{"b":2}\n',
        b'{"a":1}\r{"b":2}\n',
        b'{"a":"\n"}',
        b'x\x1e{"a":1}',
        b"\xff\xfe{\0}\0",
        b"[" * 70 + b"]" * 70,
    ],
)
async def test_lines_that_can_be_read_in_two_ways_are_refused(api: Glue, body: bytes) -> None:
    with pytest.raises((BodyFault, AssertionError)):  # the profile already refuses what it cannot read
        await sent(api, "POST", "/api/contacts/bulk", body, LINES)


async def test_lines_where_a_single_document_is_described_are_refused(api: Glue) -> None:
    with pytest.raises(Refusal, match="body-unreadable"):
        await sent(api, "PATCH", "/api/contacts/5", contact(name=NAME) + b"\n", LINES)


@pytest.mark.parametrize("before", [b"", b" \n", b"\xef\xbb\xbf"])
async def test_an_array_where_a_single_object_is_described_is_refused(api: Glue, before: bytes) -> None:
    with pytest.raises((Refusal, BodyFault), match=r"body-unreadable|json"):
        await sent(api, "PATCH", "/api/contacts/5", before + b"[" + contact(name=NAME) + b"]", API)


async def test_an_api_type_in_another_charset_is_no_binary(api: Glue) -> None:
    with pytest.raises(BodyFault):
        await sent(api, "PATCH", "/api/contacts/5", contact(name=NAME).decode().encode("utf-16-le"), API)


@pytest.mark.parametrize("separator", ["\n", "\n\x1e"])
async def test_clear_values_in_lines_are_hidden_while_nothing_is_protected(api: Glue, separator: str) -> None:
    lines = separator.join(orjson.dumps({"attributes": {"name": NAME}, "n": n}).decode() for n in range(3))
    exchange = api.exchange("GET", "/api/contacts", role="sales", user="9")
    outward = api.outward
    outward._unprotected = Unprotected(lambda _: api.scanner, lambda _: False, BodyLimits())
    assert exchange.tenant == TENANT
    _, shown = await api.answer(exchange, lines.encode(), LINES)
    assert NAME not in shown.decode()
    assert shown.count(b'"n":') == 3
