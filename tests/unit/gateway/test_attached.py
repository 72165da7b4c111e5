"""Files in a JSON-RPC: sealed in their string, bound by the answer, opened by right; what is no file is refused."""

import secrets
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.binding import Binding
from gateway.body.limits import Limits as BodyLimits
from gateway.database import Pool
from gateway.exchange import Exchange
from gateway.files import Files
from gateway.inward import Inward
from gateway.outward import Outward
from gateway.refusal import ANSWER_NOT_RENDERABLE, BODY_UNREADABLE, Refusal
from kms.cell_store import CellStore
from kms.envelope import DEFAULT
from kms.keyring import Keyring
from kms.store import Store
from kms.stream import StreamInvalid
from policies.enforcer import DEFAULT_POLICY
from tests.unit.gateway.glue import ANNA, BORIS, JSON, SECRET, FastProvider, Glue, open_glue

PDF = b"%PDF-1.7 \x00\x01 the contract of somebody" * 3000
TEXT = "Frau Zoé ruft wieder an\n".encode()
TABLE = "Name,Phone\n李雷,13800138000\n".encode()
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
READ = b'{"id":1,"method":"model.ir.attachment.read","params":[[7],["data"],{}]}'
POLICY = """
p, clerk, *, field:attachment.data, clear, any
p, clerk, *, op:*, *, any
p, owner, *, field:attachment.data, clear, own
p, owner, *, op:*, *, any
p, some, *, field:attachment.data#name, clear, any
p, some, *, op:*, *, any
"""


class Desk:
    """The stages of a gateway in front of Tryton, with somebody to seal files."""

    def __init__(self, glue: Glue) -> None:
        self.glue = glue

    async def kept(self, data: bytes, verb: str = "create", role: str = "manager", **given: Any) -> bytes:
        """The file as Tryton keeps it, bound by its answer."""
        values = {"name": "contract.pdf", "data": enclosed(data), **given}
        params: list[Any] = [[values], {}] if verb == "create" else [[7], values, {}]
        exchange, sent = await self.sent(verb, params, role)
        answer = {"id": 1, "result": [7] if verb == "create" else None}
        await self.glue.answer(exchange, orjson.dumps(answer), JSON)
        inside = sent[0][0] if verb == "create" else sent[1]
        return b64decode(inside["data"]["base64"])

    async def sent(
        self, verb: str, params: list[Any], role: str = "manager", model: str = "ir.attachment"
    ) -> tuple[Exchange, list[Any]]:
        """What Tryton gets of a call."""
        body = orjson.dumps({"id": 1, "method": f"model.{model}.{verb}", "params": params})
        exchange = self.glue.exchange("POST", "/demo/rpc/", role=role, body=body, content_type=JSON)
        outgoing = await self.glue.protect(exchange, body, JSON)
        assert isinstance(outgoing.body, bytes)
        return exchange, orjson.loads(outgoing.body)["params"]

    async def read(self, kept: bytes, role: str, user: str = ANNA) -> bytes:
        """The file as somebody gets it."""
        exchange = self.glue.exchange("POST", "/demo/rpc/", role=role, user=user, body=READ, content_type=JSON)
        answer = orjson.dumps({"id": 1, "result": [{"id": 7, "data": enclosed(kept)}]})
        _, shown = await self.glue.answer(exchange, answer, JSON)
        return b64decode(orjson.loads(shown)["result"][0]["data"]["base64"])


def enclosed(data: bytes) -> dict[str, str]:
    return {"__class__": "bytes", "base64": b64encode(data).decode()}


@pytest.fixture
async def desk(pool: Pool, keyring_path: Path, tmp_path: Path) -> AsyncIterator[Desk]:
    policy = tmp_path / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    keyring = Keyring(FastProvider(keyring_path, SECRET), Store(pool), clock=lambda: 0.0)
    async with open_glue(pool, keyring_path, "tryton", policy) as glue:
        files = Files(CellStore(pool), keyring, lambda _: DEFAULT, glue.records, glue.clock, secrets.token_bytes)
        glue.binding = Binding(glue.vault, glue.records, glue.sessions, glue.clock, None, files)
        scanner = glue.scanner
        glue.inward = Inward(glue.tokeniser, glue.search, lambda _: scanner, glue.limits, files)
        glue.outward = Outward(glue.reveal, glue.binding, BodyLimits(), files=files)
        yield Desk(glue)
    await keyring.close()


@pytest.mark.parametrize("verb", ["create", "write"])
@pytest.mark.parametrize("data", [PDF, TEXT])
async def test_an_attached_file_is_sealed_and_opens_for_who_sees_every_kind(desk: Desk, verb: str, data: bytes) -> None:
    kept = await desk.kept(data, verb)
    assert kept.startswith(b"G1S1")
    assert data[:20] not in kept
    assert await desk.read(kept, "manager") == data
    assert await desk.read(kept, "clerk") == data
    for role in ("sales", "some"):
        with pytest.raises(Refusal) as refused:
            await desk.read(kept, role)
        assert refused.value.reason is ANSWER_NOT_RENDERABLE


async def test_what_was_read_and_written_again_unchanged_is_the_same_file(desk: Desk) -> None:
    kept = await desk.kept(PDF)
    again = await desk.kept(await desk.read(kept, "manager"), "write")
    assert again.startswith(b"G1S1")
    assert again != kept
    assert await desk.read(again, "clerk") == PDF


async def test_a_file_of_ones_own_opens_for_its_owner_only(desk: Desk) -> None:
    kept = await desk.kept(PDF)
    await desk.glue.records.note("acme", [("attachment", "7")], BORIS, desk.glue.clock())
    assert await desk.read(kept, "owner", BORIS) == PDF
    with pytest.raises(Refusal):
        await desk.read(kept, "owner", ANNA)


async def test_of_several_files_in_one_call_nobody_knows_the_record(desk: Desk) -> None:
    several = [{"name": name, "data": enclosed(PDF)} for name in ("a.pdf", "b.pdf")]
    exchange, (sent, _) = await desk.sent("create", [several, {}])
    await desk.glue.answer(exchange, orjson.dumps({"id": 1, "result": [7, 8]}), JSON)
    kept = [b64decode(one["data"]["base64"]) for one in sent]
    assert kept[0] != kept[1]
    assert await desk.read(kept[1], "manager") == PDF
    with pytest.raises(Refusal):
        await desk.read(kept[1], "clerk")


async def test_tables_stay_tables_and_pictures_stay_pictures(desk: Desk) -> None:
    assert (await desk.kept(TABLE, name="people.csv")).startswith(b"Name,Phone\nZq")
    assert await desk.kept(PNG, name="face.png") == PNG


@pytest.mark.parametrize(
    "data",
    [
        "the whole text",
        [37, 80, 68, 70],
        {"__class__": "bytes", "base64": "===="},
        {"__class__": "Decimal", "base64": "JVBERg=="},
        {"__class__": "bytes", "text": "JVBERg=="},
    ],
)
async def test_a_marked_part_that_is_no_file_is_refused(desk: Desk, data: object) -> None:
    for verb, params in (("create", [[{"name": "x", "data": data}], {}]), ("write", [[7], {"data": data}, {}])):
        with pytest.raises(Refusal) as refused:
            await desk.sent(verb, params)  # type: ignore[arg-type]
        assert refused.value.reason is BODY_UNREADABLE


async def test_an_emptied_file_and_other_fields_pass(desk: Desk) -> None:
    for values in ({"data": None}, {"data": enclosed(b"")}, {"name": "other name"}):
        _, sent = await desk.sent("write", [[7], values, {"ir.attachment.data": "size"}])
        assert sent[1].keys() == values.keys()


async def test_a_table_cannot_bring_files(desk: Desk) -> None:
    for model, column in (("ir.attachment", "data"), ("sale.opportunity", "attachments/data")):
        with pytest.raises(Refusal) as refused:
            await desk.sent("import_data", [["name", column], [["data", "JVBERg=="]], {}], model=model)
        assert refused.value.reason is BODY_UNREADABLE
    _, sent = await desk.sent("import_data", [["name", "link"], [["data", "x"]], {}])
    assert sent[0] == ["name", "link"]


async def test_a_file_that_comes_with_its_document_is_sealed_and_bound_to_no_record(desk: Desk) -> None:
    given = {"description": "call", "attachments": [["create", [{"name": "a.pdf", "data": enclosed(PDF)}]]]}
    exchange, (_, sent, _) = await desk.sent("write", [[7], given, {}], model="sale.opportunity")
    await desk.glue.answer(exchange, orjson.dumps({"id": 1, "result": None}), JSON)
    kept = b64decode(sent["attachments"][0][1][0]["data"]["base64"])
    assert kept.startswith(b"G1S1")
    assert await desk.read(kept, "manager") == PDF
    with pytest.raises(Refusal):
        await desk.read(kept, "clerk")
    given["attachments"] = [["create", [{"name": "a.pdf", "data": "text"}]]]
    with pytest.raises(Refusal):
        await desk.sent("write", [[7], given, {}], model="sale.opportunity")


async def test_a_changed_file_opens_nowhere_and_a_strange_one_is_no_file_of_ours(desk: Desk) -> None:
    kept = await desk.kept(PDF)
    with pytest.raises(StreamInvalid):
        await desk.read(kept[:-1] + bytes((kept[-1] ^ 1,)), "manager")
    strange = kept[:12] + secrets.token_bytes(8) + kept[20:]
    assert await desk.read(strange, "manager") == strange
    with pytest.raises(Refusal):
        await desk.read(strange, "sales")


async def test_a_marked_file_never_passes_when_nobody_can_seal_it(desk: Desk) -> None:
    glue = desk.glue
    glue.inward = Inward(glue.tokeniser, glue.search, lambda _: glue.scanner, glue.limits)
    with pytest.raises(RuntimeError, match="nobody"):
        await desk.kept(PDF)
