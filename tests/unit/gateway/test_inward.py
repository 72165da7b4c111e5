"""Requests of every container: what is protected, what is refused, and what arrives byte for byte."""

import io
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from urllib.parse import quote

import openpyxl
import orjson
import pytest

from gateway.body.fault import BodyFault, BodyMalformed
from gateway.body.limits import Limits as BodyLimits
from gateway.collaborators import Limits, Outgoing
from gateway.exchange import Exchange
from gateway.refusal import ANSWER_NOT_RENDERABLE, BODY_UNREADABLE, Refusal
from tests.unit.gateway.glue import FORM, JSON, TENANT, Glue

ADD, EDIT = "/persons/contact/add", "/persons/contact/edit/5"
UPLOAD = "/documents/document/add"
MULTIPART = "multipart/form-data; boundary=limit"
READ_FILE = b'{"id":1,"method":"model.ir.attachment.read","params":[[1],["data"],{}]}'
CSV = '\ufeff姓名,手机,Email,备注,Colour\r\n张伟,13800138000,z@example.com,"打给 13912345678, 张伟",red\r\n'


async def chunks(data: bytes, size: int = 100) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def upload(name: str, data: bytes, media: str, **fields: str) -> bytes:
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    disposition = f'form-data; name="filedata"; filename="{name}"'
    head = f"--limit\r\nContent-Disposition: {disposition}\r\nContent-Type: {media}\r\n\r\n"
    return b"".join(parts) + head.encode() + data + b"\r\n--limit--\r\n"


async def sent(glue: Glue, target: str, body: bytes, content_type: str, role: str = "sales") -> bytes:
    exchange = glue.exchange("POST", target, role=role, body=body, content_type=content_type)
    given = chunks(body) if content_type.startswith("multipart/") else body
    outgoing = await glue.inward.protect_request(exchange, glue.profile, content_type, given)
    return await whole(outgoing)


async def whole(outgoing: Outgoing) -> bytes:
    if outgoing.body is None or isinstance(outgoing.body, bytes):
        return outgoing.body or b""
    data = b"".join([chunk async for chunk in outgoing.body.chunks()])
    assert len(data) == outgoing.body.length
    await outgoing.body.close()
    return data


async def test_a_form_without_anything_personal_arrives_byte_for_byte(creme: Glue) -> None:
    body = b"b=%e5%bc%a0+x&a=1&&c&csrfmiddlewaretoken=Zz09&b=again%20"
    assert await sent(creme, EDIT, body, FORM) == body


async def test_json_inside_a_form_field_is_opened_and_the_rest_of_it_kept(creme: Glue) -> None:
    _, held = await creme.send_form(EDIT, {"extra": '{ "a": "13800138000", "n": 1.50, "b": "\\u5f20" }'})
    assert held["extra"].startswith('{ "a": "+888')
    assert held["extra"].endswith('", "n": 1.50, "b": "\\u5f20" }')


async def test_brackets_around_a_declared_value_change_nothing(creme: Glue) -> None:
    await creme.create("9", last_name="张三丰")
    _, held = await creme.send_form(EDIT, {"last_name": '["李四"]', "description": '["张三丰 called"]'})
    assert held["last_name"].startswith("Zq")
    assert "张三丰" not in held["description"]


async def test_a_filter_in_a_form_field_is_searched(creme: Glue) -> None:
    held = await creme.create("5")
    value = '[{"field":{"name":"phone"},"operator":{"id":"1"},"value":["13800138000"]}]'
    _, got = await creme.send_form("/creme_core/entity_filter/add/98", {"regularfieldcondition": value})
    assert held["phone"] in got["regularfieldcondition"]


@pytest.mark.parametrize("start", [b"BM=1", b"GIF89a=1", b"%25PDF-=1", b"II*%00=1", b"PK%03%04=1", b"ID3=1"])
async def test_a_form_stays_a_form_whatever_its_first_bytes_look_like(creme: Glue, start: bytes) -> None:
    got = await sent(creme, EDIT, start + b"&phone=13800138000", FORM)
    assert got.startswith(start)
    assert b"13800138000" not in got


@pytest.mark.parametrize("body", [b"{", b'{"a":1,"a":2}', b'{"a":"\xff"}', b"[1,]", b"a=%ff"])
async def test_broken_structure_is_refused(tryton: Glue, body: bytes) -> None:
    exchange = tryton.exchange(
        "POST", "/demo/rpc/", body=b'{"method":"model.party.party.write","params":[[5],{}]}', content_type=JSON
    )
    with pytest.raises(BodyFault):
        await tryton.protect(exchange, body, FORM if body.startswith(b"a=") else JSON)


async def test_json_calls_are_protected_where_the_profile_says(tryton: Glue) -> None:
    party = {"name": "张伟明", "code": "13800138000", "lang": 1, "x": None, "note": "张伟明 13800138000"}
    _, got = await tryton.call("model.party.party.create", [party])
    row = got[0][0]
    assert row["name"].startswith("Zq")
    assert row["code"].startswith("+888")
    assert (row["lang"], row["x"]) == (1, None)
    assert "张伟明" not in row["note"]
    assert "13800138000" not in row["note"]


async def test_imports_by_rpc_follow_their_header_row(tryton: Glue) -> None:
    header = ["name", "contact_mechanisms/value", "code"]
    _, got = await tryton.call("model.party.party.import_data", header, [["张伟明", "13800138000", "A-17"]])
    assert got[0] == header
    assert got[1][0][0].startswith("Zq")
    assert got[1][0][1].startswith("+888")
    assert got[1][0][2] == "A-17"


async def test_tables_are_protected_by_their_labels_in_any_language(creme: Glue) -> None:
    for label in ("姓名", "Full name", "NOM COMPLET", " Last name* "):
        data = CSV.replace("姓名", label).encode()
        got = (await sent(creme, UPLOAD, data, "text/csv")).decode()
        head, _, row = got.partition("\r\n")
        assert head == CSV.replace("姓名", label).partition("\r\n")[0]
        assert row.startswith("Zq")
        assert row.endswith(",red\r\n")
        for value in ("张伟", "13800138000", "z@example.com", "13912345678"):
            assert value not in row


async def test_a_table_in_an_upload_is_protected_and_the_fields_beside_it(creme: Glue) -> None:
    body = upload("leads.csv", CSV.encode(), "text/csv", description="call 13800138000", title="13800138000")
    got = (await sent(creme, UPLOAD, body, MULTIPART)).decode()
    for value in ("13800138000", "z@example.com", "13912345678", "张伟"):
        assert value not in got
    assert 'filename="leads.csv"' in got
    assert "姓名,手机,Email,备注,Colour" in got


async def test_a_workbook_is_protected_by_its_labels(creme: Glue) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["Last name", "Phone", "Amount"], ["张伟", 13800138000, 12.5], ["李娜", "139 1234 5678", 3]):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    media = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    got = await sent(creme, UPLOAD, upload("leads.xlsx", out.getvalue(), media), MULTIPART)
    data = got.partition(b"sheet\r\n\r\n")[2].removesuffix(b"\r\n--limit--\r\n")
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    assert sheet is not None
    rows = list(sheet.values)
    assert rows[0] == ("Last name", "Phone", "Amount")
    assert [values[2] for values in rows[1:]] == [12.5, 3]
    for values in rows[1:]:
        assert str(values[0]).startswith("Zq")
        assert str(values[1]).startswith("+888")


async def test_a_card_is_protected_by_its_properties(creme: Glue) -> None:
    lines = [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "N:张;伟明;;;",
        "FN:张伟明",
        "TEL:13800138000",
        "EMAIL:z@a.example",
        "END:VCARD",
    ]
    card = "\r\n".join([*lines, ""])
    got = (await sent(creme, UPLOAD, upload("a.vcf", card.encode(), "text/vcard"), MULTIPART)).decode()
    for value in ("张", "伟明", "13800138000", "z@a.example"):
        assert value not in got
    assert "VERSION:3.0" in got


async def test_a_table_without_labels_is_refused_because_its_first_person_would_stay_clear(creme: Glue) -> None:
    data = b"Zhang,13800138000\r\nLi,13912345678\r\n"
    for body, media in ((data, "text/csv"), (upload("a.csv", data, "text/csv"), MULTIPART)):
        with pytest.raises(Refusal) as caught:
            await sent(creme, UPLOAD, body, media)
        assert (caught.value.reason, caught.value.detail) == (BODY_UNREADABLE, "header-row")


async def test_an_old_workbook_is_refused_because_nobody_can_write_it(creme: Glue) -> None:
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2000
    with pytest.raises(Refusal) as caught:
        await sent(creme, UPLOAD, upload("a.xls", old, "application/vnd.ms-excel"), MULTIPART)
    assert (caught.value.reason, caught.value.fields) == (BODY_UNREADABLE, ("filedata",))


async def test_a_table_too_large_to_open_is_refused(creme: Glue) -> None:
    creme.inward._limits = Limits(bodies=BodyLimits(data_file=5000))
    with pytest.raises(Refusal) as caught:
        await sent(creme, UPLOAD, upload("a.csv", CSV.encode() * 100, "text/csv"), MULTIPART)
    assert (caught.value.reason, caught.value.detail) == (BODY_UNREADABLE, "csv")


async def test_pictures_pass_unchanged(creme: Glue) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50
    body = upload("a.png", picture, "image/png", title="logo")
    assert picture in await sent(creme, UPLOAD, body, MULTIPART)


async def test_values_in_file_names_are_protected(creme: Glue) -> None:
    body = upload("13800138000 contract.png", b"\x89PNG\r\n\x1a\n", "image/png")
    assert b"13800138000" not in await sent(creme, UPLOAD, body, MULTIPART)


async def test_plain_text_bodies_are_looked_into(creme: Glue) -> None:
    got = await sent(creme, EDIT, "打给 13800138000 吧".encode(), "text/plain; charset=utf-8")
    assert "13800138000" not in got.decode()
    assert got.decode().startswith("打给 +888")


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/creme_login", b"username=z%40example.com&password=13800138000&next=/"),
        ("/creme_core/auth/password/own/change", b"old_password=13800138000&new_password1=z%40example.com"),
    ],
)
async def test_sign_in_and_accounts_of_staff_are_left_alone(creme: Glue, target: str, body: bytes) -> None:
    exchange = creme.exchange("POST", target + "?next=13800138000", role="sales", body=body)
    outgoing = await creme.protect(exchange, body)
    assert (outgoing.body, outgoing.target) == (body, target + "?next=13800138000")


async def test_accounts_of_staff_in_tryton_are_left_alone(tryton: Glue) -> None:
    _, got = await tryton.call("model.res.user.read", [3], ["13800138000"])
    assert got[1] == ["13800138000"]


async def test_a_left_alone_upload_is_handed_on_whole(creme: Glue) -> None:
    body = upload("a.csv", CSV.encode(), "text/csv")
    assert await sent(creme, "/creme_login", body, MULTIPART) == body


async def test_an_unclassified_request_is_never_passed_on(creme: Glue) -> None:
    exchange = Exchange("x", creme.clock(), creme.exchange("GET", "/").head, tenant=TENANT)
    with pytest.raises(RuntimeError):
        await creme.protect(exchange, b"phone=13800138000")


async def test_the_owner_is_read_from_the_last_field_of_that_name(creme: Glue) -> None:
    exchange = creme.exchange("POST", ADD, role="sales", body=b"")
    await creme.protect(exchange, b"user=8&last_name=x&user=7")
    assert exchange.owner == "7"
    assert exchange.posted == {"user": "7"}


async def test_nothing_of_a_body_stays_in_the_exchange(creme: Glue) -> None:
    exchange, _ = await creme.send_form(ADD, {"phone": "13800138000", "description": "z@example.com"})
    kept = repr((exchange.body, exchange.written, exchange.searched, exchange.posted, exchange.owner))
    assert "13800138000" not in kept
    assert "z@example.com" not in kept


async def test_numbers_in_json_keep_their_spelling(tryton: Glue) -> None:
    body = b'{"id":1,"method":"model.party.party.write","params":[[5],{"n":1.50,"m":1e3,"phone":"1380013 8000"},{}]}'
    exchange = tryton.exchange("POST", "/demo/rpc/", body=body, content_type=JSON)
    outgoing = await tryton.protect(exchange, body, JSON)
    assert isinstance(outgoing.body, bytes)
    assert b'"n":1.50,"m":1e3,' in outgoing.body
    assert orjson.loads(outgoing.body)["params"][1]["phone"].startswith("+888")


async def test_a_file_inside_a_call_is_protected_as_an_upload_is(tryton: Glue) -> None:
    table = "Name,Phone\n李雷,13800138000\n".encode()
    values = {"name": "people.csv", "data": {"__class__": "bytes", "base64": b64encode(table).decode()}}
    exchange, params = await tryton.call("model.ir.attachment.create", [values], role="sales")
    kept = b64decode(params[0][0]["data"]["base64"])
    assert kept.startswith(b"Name,Phone\nZq")
    assert b"13800138000" not in kept
    assert "李雷".encode() not in kept
    answer = orjson.dumps({"result": [{"data": {"__class__": "bytes", "base64": b64encode(kept).decode()}}]})
    for role, expected in (("manager", table), ("sales", None)):
        reading = tryton.exchange("POST", "/demo/rpc/", role=role, body=READ_FILE, content_type=JSON)
        _, shown = await tryton.answer(reading, answer, JSON)
        read = b64decode(orjson.loads(shown)["result"][0]["data"]["base64"])
        assert read == expected if expected is not None else b"13800138000" not in read
    assert not exchange.decision.view.sees_everything  # type: ignore[union-attr]


async def test_a_closed_file_inside_an_answer_is_refused_to_sales(tryton: Glue) -> None:
    answer = orjson.dumps({"result": [{"data": {"__class__": "bytes", "base64": b64encode(b"%PDF-1.7 x").decode()}}]})
    reading = tryton.exchange("POST", "/demo/rpc/", role="sales", body=READ_FILE, content_type=JSON)
    with pytest.raises(Refusal) as caught:
        await tryton.answer(reading, answer, JSON)
    assert caught.value.reason == ANSWER_NOT_RENDERABLE
    manager = tryton.exchange("POST", "/demo/rpc/", role="manager", body=READ_FILE, content_type=JSON)
    assert (await tryton.answer(manager, answer, JSON))[1] == answer


@pytest.mark.parametrize("text", ['[{"value":"a","value":"13800138000"}]', '[NaN,"13800138000"]'])
async def test_json_that_only_a_lenient_reader_takes_is_refused(creme: Glue, text: str) -> None:
    with pytest.raises(BodyMalformed):
        await creme.send_form("/creme_core/entity_filter/add/5", {"regularfieldcondition": text})


@pytest.mark.parametrize(
    "data", [b"Last name,Phone\nAnna\0,13800138000\n", b"\xff\xd8\xffLast name,Phone\nAnna,13800138000\n"]
)
async def test_a_table_that_does_not_look_like_one_never_goes_past_unread(creme: Glue, data: bytes) -> None:
    """Found by the edit drill: one NUL in a cell, and the whole import was stored in clear."""
    for name, kind in (("leads.csv", "text/csv"), ("leads.csv", "application/octet-stream"), ("x", "text/csv")):
        try:
            got = await sent(creme, UPLOAD, upload(name, data, kind), MULTIPART)
        except (Refusal, BodyFault):
            continue
        assert b"13800138000" not in got


async def test_an_e_mail_address_or_phone_in_the_path_of_an_unknown_read_becomes_its_surrogate(creme: Glue) -> None:
    held = await creme.create("5", email="zhang.wei@example.com", mobile="+33612345678")

    async def asked(path: str, role: str = "manager") -> str:
        exchange = creme.exchange("GET", path, role=role)
        return (await creme.inward.protect_request(exchange, creme.profile, "", b"")).target

    known = await asked("/plugin/people/zhang.wei%40example.com/card")
    assert known == f"/plugin/people/{held['email'].replace('@', '%40')}/card"
    assert await asked("/plugin/people/%2B33612345678?x=1") == f"/plugin/people/{quote(held['mobile'], safe='')}?x=1"
    nobody = await asked("/plugin/people/nobody@example.net")
    assert "nobody" not in nobody
    assert "@enc.invalid" in nobody
    assert await asked("/plugin/people/13800138000") == "/plugin/people/13800138000"  # as likely the id of a record
    assert await asked("/static/a+b@2x.png") == "/static/a+b@2x.png"
