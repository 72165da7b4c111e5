"""Files that cannot be looked into, in both directions, under every policy of a profile."""

from base64 import b64encode
from dataclasses import replace

import pytest

from gateway import stream
from gateway.exchange import Exchange
from gateway.refusal import ANSWER_NOT_RENDERABLE, FILE_NOT_PASSED, Refusal
from policies.opaque import Opaque, OpaqueRule
from tests.unit.gateway.glue import JSON, Glue
from tests.unit.gateway.test_inward import CSV, MULTIPART, UPLOAD, chunks, upload, whole
from tests.unit.gateway.test_inward_files import PICTURE, archive, word
from tests.unit.gateway.test_stream import ALL, MOST, SOME, answer

PDF = b"%PDF-1.7 \x00 13800138000"
CLOSING = [Opaque.REFUSE, Opaque.STRIP]


def ruled(exchange: Exchange, policy: Opaque) -> Exchange:
    assert exchange.operation is not None
    exchange.operation = replace(exchange.operation, opaque=OpaqueRule(policy, policy))
    return exchange


async def sent(glue: Glue, body: bytes, policy: Opaque, content_type: str = MULTIPART) -> bytes:
    exchange = ruled(glue.exchange("POST", UPLOAD, role="sales", body=body, content_type=content_type), policy)
    given = chunks(body) if content_type == MULTIPART else None
    return await whole(await glue.inward.protect_request(exchange, glue.profile, content_type, given))


async def shown(
    glue: Glue, body: bytes, policy: Opaque, role: str = "sales", status: int = 200, **fields: str
) -> bytes:
    exchange = ruled(glue.exchange("GET", "/download_file/9", role=role), policy)
    got, data = await glue.answer(exchange, body, "application/pdf", status, **fields)
    assert data == body or got == {"content-type": "text/plain; charset=utf-8"}
    return data


@pytest.mark.parametrize("data", [PDF, PICTURE])
async def test_uploads_pass_are_refused_or_left_out_of_the_form(creme: Glue, data: bytes) -> None:
    body = upload("a.bin", data, "application/octet-stream", title="x")
    for policy in (Opaque.DEFAULT, Opaque.PASS):
        assert data in await sent(creme, body, policy)
    with pytest.raises(Refusal) as caught:
        await sent(creme, body, Opaque.REFUSE)
    assert (caught.value.reason, caught.value.fields) == (FILE_NOT_PASSED, ("filedata",))
    got = await sent(creme, body, Opaque.STRIP)
    assert data not in got
    assert b"filedata" not in got
    assert got.count(b'name="title"\r\n\r\nx\r\n') == 1


@pytest.mark.parametrize("policy", CLOSING)
async def test_what_can_be_looked_into_and_empty_fields_are_no_matter_of_the_policy(
    creme: Glue, policy: Opaque
) -> None:
    for name, data in (("a.csv", CSV.encode()), ("", b""), ("a.docx", word("one", "two"))):
        assert b'name="filedata"' in await sent(creme, upload(name, data, "application/octet-stream"), policy)


@pytest.mark.parametrize("policy", CLOSING)
async def test_where_a_file_cannot_be_left_out_it_is_refused(creme: Glue, tryton: Glue, policy: Opaque) -> None:
    inside = upload("a.zip", archive(("a.txt", "x"), ("b.zip", archive(("scan.pdf", PDF)))), "application/zip")
    for body, content_type in ((inside, MULTIPART), (PDF, "application/pdf")):
        with pytest.raises(Refusal) as caught:
            await sent(creme, body, policy, content_type)
        assert caught.value.reason is FILE_NOT_PASSED
    call = b'{"id":1,"method":"model.party.party.write","params":[[5],{"x":{"__class__":"bytes","base64":"%s"}},{}]}'
    body = call % b64encode(PDF)
    exchange = ruled(tryton.exchange("POST", "/demo/rpc/", body=body, content_type=JSON), policy)
    with pytest.raises(Refusal) as caught:
        await tryton.protect(exchange, body, JSON)
    assert caught.value.reason is FILE_NOT_PASSED


async def test_answers_go_to_those_the_policy_names(creme: Glue) -> None:
    with pytest.raises(Refusal) as caught:
        await shown(creme, PDF, Opaque.DEFAULT)
    assert caught.value.reason is ANSWER_NOT_RENDERABLE
    assert await shown(creme, PDF, Opaque.DEFAULT, "manager") == PDF
    assert await shown(creme, PDF, Opaque.PASS) == PDF
    for role in ("sales", "manager"):
        with pytest.raises(Refusal) as caught:
            await shown(creme, PDF, Opaque.REFUSE, role)
        assert caught.value.reason is FILE_NOT_PASSED


@pytest.mark.parametrize("data", [PDF, PICTURE, archive(("a.pdf", PDF))])
async def test_a_stripped_answer_says_so_and_keeps_nothing_of_the_file(creme: Glue, data: bytes) -> None:
    got = await shown(
        creme, data, Opaque.STRIP, "manager", content_disposition='attachment; filename="a.pdf"', etag='"1"'
    )
    assert got.decode().startswith("This file is not let through\n")


async def test_a_part_of_a_file_is_refused_because_it_looks_like_anything(creme: Glue) -> None:
    for policy in CLOSING:
        with pytest.raises(Refusal) as caught:
            await shown(creme, b"13800138000", policy, "manager", status=206)
        assert caught.value.reason is FILE_NOT_PASSED


async def test_files_in_json_answers_follow_the_policy(tryton: Glue) -> None:
    call = b'{"id":1,"method":"model.party.party.read","params":[[5],["x"],{}]}'
    body = b'{"id":1,"result":[{"x":{"__class__":"bytes","base64":"%s"}}]}' % b64encode(PDF)
    for policy, left in ((Opaque.PASS, body), (Opaque.STRIP, body.replace(b64encode(PDF), b""))):
        exchange = ruled(tryton.exchange("POST", "/demo/rpc/", role="sales", body=call, content_type=JSON), policy)
        assert (await tryton.answer(exchange, body, JSON))[1] == left
    with pytest.raises(Refusal) as caught:
        await tryton.answer(ruled(exchange, Opaque.REFUSE), body, JSON)
    assert caught.value.reason is FILE_NOT_PASSED


async def test_files_stream_past_only_where_the_policy_lets_them() -> None:
    for policy, view, past in (
        (Opaque.PASS, SOME, True),
        (Opaque.DEFAULT, SOME, False),
        (Opaque.REFUSE, ALL, False),
        (Opaque.STRIP, ALL, False),
    ):
        made = stream.flows_past(
            answer(PDF), "GET", "application/pdf", "", "", asset=False, view=view, most=MOST, opaque=policy
        )
        assert await made is past
