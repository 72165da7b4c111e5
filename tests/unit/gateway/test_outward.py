"""Answers of every container and their header fields, for those who see everything and for those who do not."""

import io
from urllib.parse import unquote

import openpyxl
import orjson
import pytest
import xlwt  # type: ignore[import-untyped]

from gateway.body.fault import BodyFault
from gateway.refusal import ANSWER_NOT_RENDERABLE, Refusal
from tests.unit.gateway.glue import BORIS, PERSON, Glue

PDF = b"%PDF-1.7 \0 13800138000"


async def answered(
    glue: Glue, body: bytes, content_type: str, role: str = "sales", **fields: str
) -> tuple[dict[str, str], bytes]:
    exchange = glue.exchange("GET", "/persons/contacts", role=role)
    return await glue.answer(exchange, body, content_type, 200, **fields)


async def test_an_old_workbook_is_converted_and_rendered(creme: Glue) -> None:
    held = await creme.create("5")
    book = xlwt.Workbook()
    sheet = book.add_sheet("people")
    for column, value in enumerate((held["last_name"], held["phone"], 12.5)):
        sheet.write(0, column, value)
    out = io.BytesIO()
    book.save(out)
    for role, phone in (("sales", "138****8000"), ("manager", PERSON["phone"])):
        fields, data = await answered(
            creme,
            out.getvalue(),
            "application/vnd.ms-excel",
            role,
            content_disposition='attachment; filename="people.xls"',
        )
        assert fields["content-type"].endswith("spreadsheetml.sheet")
        assert fields["content-disposition"] == 'attachment; filename="people.xlsx"'
        rows = openpyxl.load_workbook(io.BytesIO(data)).active
        assert rows is not None
        assert [cell.value for cell in rows[1]] == [PERSON["last_name"], phone, 12.5]


@pytest.mark.parametrize(
    ("body", "media"),
    [(PDF, "application/pdf"), (b"PK\x03\x04zip", "application/zip"), (b"\0\1\2\3", "application/octet-stream")],
)
async def test_what_nobody_can_look_into_is_refused_to_sales(creme: Glue, body: bytes, media: str) -> None:
    with pytest.raises(Refusal) as caught:
        await answered(creme, body, media)
    assert caught.value.reason is ANSWER_NOT_RENDERABLE


async def test_what_nobody_can_look_into_passes_to_a_manager(creme: Glue) -> None:
    assert (await answered(creme, PDF, "application/pdf", "manager"))[1] == PDF


async def test_pictures_pass_to_everybody(creme: Glue) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    assert (await answered(creme, png, "image/png"))[1] == png


async def test_a_container_is_known_by_its_bytes_and_not_by_its_type(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    body = orjson.dumps({"phone": "13912345678", "name": held["last_name"]})
    _, shown = await answered(creme, body, "text/html")
    assert orjson.loads(shown) == {"phone": "••••••", "name": held["last_name"]}
    with pytest.raises(Refusal):
        await answered(creme, PDF, "text/html")


async def test_tables_are_rendered_with_a_guard_against_formulas(creme: Glue) -> None:
    held = await creme.create("5", last_name='=HYPERLINK("http://x")')
    _, shown = await answered(creme, f"name,phone\r\n{held['last_name']},{held['phone']}\r\n".encode(), "text/csv")
    assert shown.decode() == 'name,phone\r\n"\'=HYPERLINK(""http://x"")",138****8000\r\n'


@pytest.mark.parametrize(
    "name", ["张伟", "O'Brien", 'a"; filename=evil.exe', "../../etc/passwd", "a\\b", "x;y", "100%", "a b, c"]
)
async def test_a_file_name_stays_one_file_name(creme: Glue, name: str) -> None:
    held = await creme.create("5", last_name=name)
    for form in ('attachment; filename="{}.vcf"', "attachment; filename={}.vcf"):
        fields, _ = await answered(
            creme, b"BEGIN:VCARD\r\nEND:VCARD\r\n", "text/vcard", content_disposition=form.format(held["last_name"])
        )
        value = fields["content-disposition"]
        assert value.isascii()
        assert value.isprintable()
        plain, _, extended = value.partition("; filename*=UTF-8''")
        inside = plain.removeprefix('attachment; filename="').removesuffix('"')
        assert plain == f'attachment; filename="{inside}"'
        assert not set('"\\/;%') & set(inside)
        assert unquote(extended).endswith(".vcf")
        assert not set('"\\/;% \r\n') & set(unquote(extended).replace(" ", ""))
    if name == "张伟":
        assert unquote(extended) == "张伟.vcf"


async def test_file_names_show_no_more_than_the_page_and_catch_clear_values(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    fields, _ = await answered(creme, b"", "text/vcard", content_disposition=f'a; filename="{held["last_name"]}.vcf"')
    assert "张" not in unquote(fields["content-disposition"])
    clear = 'attachment; filename="13912345678.vcf"'
    fields, _ = await answered(creme, b"", "text/vcard", content_disposition=clear)
    assert "13912345678" not in fields["content-disposition"]
    fields, _ = await answered(creme, b"", "text/vcard", "manager", content_disposition=clear)
    assert fields["content-disposition"] == clear


async def test_addresses_keep_their_surrogates(creme: Glue) -> None:
    held = await creme.create("5")
    location = f"/creme_core/search?research={held['last_name']}"
    for role in ("sales", "manager"):
        assert (await answered(creme, b"", "text/html", role, location=location))[0]["location"] == location


async def test_an_answer_without_a_body_keeps_its_fields(creme: Glue) -> None:
    fields, body = await answered(creme, b"", "text/html", etag='"x"')
    assert (fields["etag"], body) == ('"x"', b"")


async def test_an_answer_that_is_not_what_it_says_is_a_fault(creme: Glue) -> None:
    with pytest.raises((BodyFault, Refusal)):
        await answered(creme, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600, "application/vnd.ms-excel")


async def test_error_pages_are_rendered_like_any_other(creme: Glue) -> None:
    held = await creme.create("5", owner=BORIS)
    exchange = creme.exchange("GET", "/persons/contacts", role="sales")
    _, shown = await creme.answer(exchange, f"<p>{held['phone']} exists, 13912345678</p>".encode(), status=409)
    assert shown.decode() == "<p>•••••• exists, ••••••</p>"
