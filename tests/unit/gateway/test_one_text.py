"""A CRM whose boxes take one text and no lists: one surrogate goes where the text stood, several are refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from gateway.database import Pool
from gateway.refusal import Refusal
from tests.unit.gateway.glue import JSON, Glue, open_glue

WEI = "552836ee-05be-45c2-9941-b5e46120255f"
MEI = "6f46fe3b-414f-4950-b7f2-1f035c4297a1"


@pytest.fixture
async def bottle(pool: Pool, keyring_path: Path) -> AsyncIterator[Glue]:
    async with open_glue(pool, keyring_path, "bottle") as made:
        yield made


async def made(bottle: Glue, record: str, path: str = "/api/contacts/", **values: str) -> dict[str, str]:
    """A new record as a manager enters it; what BottleCRM holds of it."""
    body = orjson.dumps(values)
    exchange = bottle.exchange("POST", path, body=body, content_type=JSON, role="manager")
    outgoing = await bottle.protect(exchange, body, JSON)
    assert isinstance(outgoing.body, bytes)
    await bottle.answer(exchange, orjson.dumps({"error": False, "id": record}), JSON)
    held: dict[str, str] = orjson.loads(outgoing.body)
    return held


async def asked(bottle: Glue, query: str, role: str = "manager", path: str = "/api/contacts/") -> dict[str, str]:
    """What BottleCRM is asked for instead."""
    exchange = bottle.exchange("GET", f"{path}?{query}", role=role)
    outgoing = await bottle.protect(exchange, b"", "")
    return {name: values[0] for name, values in parse_qs(urlsplit(outgoing.target).query).items()}


async def test_a_part_of_one_value_becomes_its_surrogate(bottle: Glue) -> None:
    held = await made(bottle, WEI, first_name="Wei", last_name="Zhangsan", phone="13800138000")
    await made(bottle, MEI, first_name="Mei", last_name="Li", phone="13912345678")
    assert await asked(bottle, "name=hangs&limit=10") == {"name": held["last_name"], "limit": "10"}
    assert await asked(bottle, "search=0138") == {"search": held["phone"]}
    assert await asked(bottle, "phone=0138000") == {"phone": held["phone"]}


async def test_a_name_in_other_records_and_in_notes_is_not_what_the_box_is_about(bottle: Glue) -> None:
    held = await made(bottle, WEI, first_name="Wei", last_name="Zhangsan", description="Zhangsan rang 138-0013-8000")
    lead = await made(bottle, MEI, "/api/leads/", title="x", last_name="Zhangsan", phone="13800138000")
    assert held["last_name"] != lead["last_name"]
    assert await asked(bottle, "search=Zhangsan") == {"search": held["last_name"]}


async def test_several_values_are_asked_for_one_by_one(bottle: Glue) -> None:
    wei = await made(bottle, WEI, first_name="Wei", last_name="Zhangsan", phone="13800138000")
    mei = await made(bottle, MEI, first_name="Mei", last_name="Zhangsan", phone="13900138000")
    exchange = bottle.exchange("GET", "/api/contacts/?name=Zhang&phone=0138000&limit=5", role="manager")
    outgoing = await bottle.protect(exchange, b"", "")
    legs = [parse_qs(urlsplit(target).query) for target, _ in outgoing.legs]
    assert {(one["name"][0], one["phone"][0]) for one in legs} == {
        (name, phone) for name in (wei["last_name"], mei["last_name"]) for phone in (wei["phone"], mei["phone"])
    }
    assert not any("Zhang" in target or "0138000" in target for target, _ in outgoing.legs)


async def test_several_values_are_refused_where_answers_cannot_be_merged(bottle: Glue) -> None:
    await made(bottle, WEI, first_name="Wei", last_name="Zhangsan")
    await made(bottle, MEI, first_name="Mei", last_name="Zhangsan")
    with pytest.raises(Refusal) as refusal:
        await asked(bottle, "search=Zhangsan", path="/api/contacts/export/")
    assert refusal.value.reason.id == "search-ambiguous"


async def test_nobodys_name_is_asked_for_as_typed_and_a_hidden_one_never(bottle: Glue) -> None:
    await made(bottle, WEI, first_name="Wei", last_name="Zhangsan")
    assert await asked(bottle, "search=Acme") == {"search": "Acme"}
    told = await asked(bottle, "search=Zhangsan", role="sales")
    assert "Zhangsan" not in told["search"]
