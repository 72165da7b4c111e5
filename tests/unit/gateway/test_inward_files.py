"""Files that are uploaded: what can be read in them is protected, in archives, too; what cannot be opened stays out."""

import io
import zipfile
from base64 import b64decode, b64encode

import openpyxl
import orjson
import pytest

from gateway.body.fault import BodyFault
from gateway.body.limits import MEBIBYTE
from gateway.body.limits import Limits as BodyLimits
from gateway.collaborators import Limits
from gateway.refusal import ANSWER_NOT_RENDERABLE, ARCHIVE_UNREADABLE, BODY_UNREADABLE, Refusal
from tests.unit.gateway.glue import Glue
from tests.unit.gateway.test_inward import CSV, MULTIPART, UPLOAD, sent, upload

PHONE, MAIL, NAME = "13800138000", "z@example.com", "张伟明"
CLEAR = (PHONE, MAIL, NAME)
CARD = f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{NAME}\r\nTEL:{PHONE}\r\nEMAIL:{MAIL}\r\nEND:VCARD\r\n"
XML = f"<people><contact><name>{NAME}</name><phone>{PHONE}</phone><size>12</size></contact></people>"
ROWS = [{"name": NAME, "phone": int(PHONE), "size": 12}, {"name": "李娜娜", "email": {"value": MAIL}}]
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 5
DOCUMENT = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><w:document xmlns:w="urn:w"><w:body><w:p w:id="139">'
    "<w:r><w:t>Call {}</w:t></w:r><w:r><w:t>{}</w:t></w:r></w:p></w:body></w:document>"
)


def archive(*entries: tuple[str, bytes | str], comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)
        file.comment = comment
    return out.getvalue()


def workbook() -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["Last name", "Phone", "Size"], [NAME, PHONE, 12]):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def word(*texts: str) -> bytes:
    return archive(("[Content_Types].xml", "<Types/>"), ("word/document.xml", DOCUMENT.format(*texts)))


async def file_sent(glue: Glue, name: str, data: bytes | str, media: str = "application/octet-stream") -> bytes:
    """The file as the CRM gets it from a form."""
    given = data.encode() if isinstance(data, str) else data
    got = await sent(glue, UPLOAD, upload(name, given, media), MULTIPART)
    return got.partition(media.encode() + b"\r\n\r\n")[2].rpartition(b"\r\n--crmgate-")[0]


async def inside(glue: Glue, *entries: tuple[str, bytes | str], comment: bytes = b"") -> dict[str, bytes]:
    got = await file_sent(glue, "all.zip", archive(*entries, comment=comment), "application/zip")
    return unpacked(got)


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def holds(data: bytes) -> list[str]:
    return [one for one in CLEAR if one.encode() in data]


async def test_every_file_of_an_archive_is_protected_as_if_it_came_alone(creme: Glue) -> None:
    members: dict[str, bytes | str] = {
        "leads.csv": CSV,
        "cards/a.vcf": CARD,
        "rows.json": orjson.dumps(ROWS),
        "rows.jsonl": b"\n".join(orjson.dumps(row) for row in ROWS),
        "people.xml": XML,
        "note.txt": f"Call {PHONE}",
        "page.html": f"<html><body><p>{PHONE}</p></body></html>",
        "logo.png": PICTURE,
    }
    got = await inside(creme, *members.items())
    assert list(got) == list(members)
    assert got["logo.png"] == PICTURE
    for name, data in got.items():
        assert holds(data) == [], name
    assert b"red" in got["leads.csv"]
    assert orjson.loads(got["rows.json"])[0]["size"] == 12
    assert orjson.loads(got["rows.json"])[0]["name"].startswith("Zq")
    assert b"<name>Zq" in got["people.xml"]
    assert b"<size>12</size>" in got["people.xml"]
    assert got["page.html"].startswith(b"<html><body><p>+888")


async def test_workbooks_and_archives_in_archives_are_opened(creme: Glue) -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as file:
        file.writestr("leads.xlsx", workbook())
    got = unpacked(unpacked(await file_sent(creme, "a.zip", archive(("in.zip", stored.getvalue()))))["in.zip"])
    sheet = openpyxl.load_workbook(io.BytesIO(got["leads.xlsx"])).active
    assert sheet is not None
    name, phone, size = list(sheet.values)[1]
    assert (str(name)[:2], str(phone)[:4], size) == ("Zq", "+888", 12)


async def test_an_archive_with_an_office_mark_and_no_sheet_is_an_archive_all_the_same(creme: Glue) -> None:
    got = await inside(creme, ("[Content_Types].xml", "<Types/>"), ("leads.csv", CSV))
    assert holds(got["leads.csv"]) == []


async def test_an_archive_as_a_whole_body_and_one_in_json_are_opened(creme: Glue, tryton: Glue) -> None:
    data = archive(("leads.csv", CSV))
    got = unpacked(await sent(creme, UPLOAD, data, "application/zip"))
    assert holds(got["leads.csv"]) == []
    given = {"name": "all.zip", "data": {"__class__": "bytes", "base64": b64encode(data).decode()}}
    _, params = await tryton.call("model.party.party.write", [5], {"extra": given})
    got = unpacked(b64decode(params[1]["extra"]["data"]["base64"]))
    assert holds(got["leads.csv"]) == []


async def test_names_and_comments_in_archives_are_not_sent_in_clear(creme: Glue) -> None:
    data = archive((f"{PHONE}/{PHONE}.png", PICTURE), ("合同.png", PICTURE), comment=PHONE.encode())
    got = await file_sent(creme, "all.zip", data)
    assert PHONE.encode() not in got
    names = list(unpacked(got))
    assert names[0].startswith("+888")
    assert names[1] == "合同.png"


async def test_chinese_names_of_old_programs_survive(creme: Glue) -> None:
    data = bytearray(archive(("AAAA.png", PICTURE)))
    while (at := data.find(b"AAAA")) >= 0:
        data[at : at + 4] = "合同".encode("gb18030")
    assert list(unpacked(await file_sent(creme, "all.zip", bytes(data)))) == ["合同.png"]


@pytest.mark.parametrize(
    "members",
    [
        [("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))],
        [("broken.json", "{'a'")],
        [("doctype.xml", f"<!DOCTYPE a><a>{PHONE}</a>")],
        [("table.html", f"<table><tr><td>{NAME}</td></tr></table>")],
        [("xl/workbook.bin", b"\0" + PHONE.encode())],
        [("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", f"<a><p>{NAME}</p></a>")],
        [("bomb.txt", b" " * 20 * MEBIBYTE)],
        [("a.zip", archive(("b.zip", archive(("c.zip", archive(("d.zip", archive(("e.txt", PHONE)))))))))],
        [(f"{number}.txt", "x") for number in range(2001)],
    ],
    ids=["xls", "json", "doctype", "table", "xlsb", "ods", "bomb", "nested", "entries"],
)
async def test_an_archive_that_cannot_be_opened_as_a_whole_is_refused(
    creme: Glue, members: list[tuple[str, bytes | str]]
) -> None:
    with pytest.raises(Refusal) as caught:
        await file_sent(creme, "all.zip", archive(*members), "application/zip")
    assert (caught.value.reason, caught.value.fields) == (ARCHIVE_UNREADABLE, ("filedata",))
    with pytest.raises((Refusal, BodyFault)):
        await sent(creme, UPLOAD, archive(*members), "application/zip")


async def test_archives_inside_share_one_allowance(creme: Glue) -> None:
    creme.inward._limits = Limits(bodies=BodyLimits(inflated=3 * MEBIBYTE))
    one = archive(("a.txt", b" " * MEBIBYTE))
    assert await file_sent(creme, "all.zip", archive(("1.zip", one), ("2.zip", one)))
    with pytest.raises(Refusal):
        await file_sent(creme, "all.zip", archive(*((f"{number}.zip", one) for number in range(4))))


async def test_a_locked_archive_is_refused(creme: Glue) -> None:
    data = bytearray(archive(("a.txt", PHONE)))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + at] |= 1
    with pytest.raises(Refusal) as caught:
        await file_sent(creme, "all.zip", bytes(data))
    assert caught.value.reason is ARCHIVE_UNREADABLE


async def test_an_archive_too_large_to_open_is_refused(creme: Glue) -> None:
    creme.inward._limits = Limits(bodies=BodyLimits(data_file=5000))
    with pytest.raises(Refusal) as caught:
        await file_sent(
            creme, "all.zip", archive(*((f"{number}.png", PICTURE + bytes([number])) for number in range(99)))
        )
    assert caught.value.reason is ARCHIVE_UNREADABLE


@pytest.mark.parametrize(
    ("name", "data", "media"),
    [
        ("a.xml", XML, "text/xml"),
        ("a.xml", XML.encode("utf-16"), "application/xml"),
        ("a.bin", '<?xml version="1.0" encoding="UTF-8"?>' + XML, "application/octet-stream"),
        ("a.jsonl", b"\n".join(orjson.dumps(row) for row in ROWS), "application/x-ndjson"),
        ("a.json", orjson.dumps(ROWS), "application/json"),
        ("a.txt", f"打给 {PHONE} 或 {MAIL}", "text/plain"),
        ("a.html", f"<html><p>{PHONE}</p><a href='mailto:{MAIL}'>x</a></html>", "text/html"),
        ("a.js", f"call('{PHONE}')", "text/javascript"),
        ("a.css", f"/* {PHONE} */", "text/css"),
        ("a.eml", f"To: {MAIL}\r\n\r\n{PHONE}", "message/rfc822"),
        ("a.mht", f"--x\r\n\r\n{PHONE}\r\n--x--", "multipart/mixed; boundary=x"),
        ("a", f"phone={PHONE}&x=1", "application/x-www-form-urlencoded"),
        ("a.svg", f"<svg xmlns='urn:s'><text>{PHONE}</text></svg>", "image/svg+xml"),
        ("a.svg", f"<!DOCTYPE svg><svg xmlns='urn:s'><text>{PHONE}</text></svg>", "image/svg+xml"),
        ("BM.txt", f"BMI {PHONE}", "text/plain"),
        ("a.docx", word(NAME, PHONE), "application/octet-stream"),
        (
            "a.ics",
            f"BEGIN:VCALENDAR\nATTENDEE;CN={NAME}:mailto:{MAIL}\nDESCRIPTION:{PHONE}\nEND:VCALENDAR\n",
            "text/calendar",
        ),
        ("a.vcf", f"BEGIN:VCARD\nFN:{NAME}\nTEL;VALUE=uri:tel:{PHONE}\nEND:VCARD\n{NAME},{PHONE}\n", "text/vcard"),
    ],
)
async def test_files_that_can_be_read_are_protected(creme: Glue, name: str, data: bytes | str, media: str) -> None:
    got = await file_sent(creme, name, data, media)
    assert got
    inner = b"".join(unpacked(got).values()) if name.endswith("docx") else got
    text = inner.decode("utf-16") if isinstance(data, bytes) and data[:2] == b"\xff\xfe" else inner.decode()
    assert PHONE not in text
    assert MAIL not in text
    assert "+888" in text
    if name.endswith(("xml", "json", "jsonl", "ics")):
        assert NAME not in text


@pytest.mark.parametrize(
    ("name", "data", "media"),
    [
        ("a.html", f"<html><table><tr><td>{NAME}</td></tr></table></html>", "text/html"),
        ("leads.xls", f"<html><table><tr><td>{NAME}</td></tr></table></html>", "application/vnd.ms-excel"),
        ("a.html", "<html><p>138<b>0013</b>8000</p></html>", "text/html"),
        ("a.html", "<html><p>1380013800&#48;</p></html>", "text/html"),
        ("a.svg", "<!DOCTYPE svg><svg><text>1380013800&#48;</text></svg>", "image/svg+xml"),
        ("a.xml", f"<!DOCTYPE a><a>{NAME}</a>", "text/xml"),
        ("a.xml", XML.encode("utf-16-le"), "text/xml"),
        ("a.json", "{'a': 1}", "application/json"),
        ("a.json", orjson.dumps([["name", "phone"], [NAME, PHONE]]), "application/json"),
        ("a.json", orjson.dumps({PHONE: {"size": 1}}), "application/json"),
        ("a.txt", PHONE.encode("utf-16-le"), "text/plain"),
        ("a.docx", word("x 138001", "38000"), "application/octet-stream"),
    ],
)
async def test_what_cannot_be_protected_is_refused(creme: Glue, name: str, data: bytes | str, media: str) -> None:
    with pytest.raises(Refusal) as caught:
        await file_sent(creme, name, data, media)
    assert caught.value.reason in (BODY_UNREADABLE, ARCHIVE_UNREADABLE)


async def test_a_long_text_is_refused_when_it_is_too_large_to_be_read(creme: Glue) -> None:
    creme.inward._limits = Limits(bodies=BodyLimits(data_file=5000))
    with pytest.raises(Refusal) as caught:
        await file_sent(creme, "a.txt", f"{PHONE} " * 1000, "text/plain")
    assert (caught.value.reason, caught.value.detail) == (BODY_UNREADABLE, "text")


async def test_json_without_personal_values_keeps_its_bytes(creme: Glue) -> None:
    data = b'{ "type": "Polygon", "at": [[1.50, 2], [3e1, 4]], "tags": ["a", "b"], "none": null }'
    assert await file_sent(creme, "a.json", data, "application/json") == data


async def test_documents_keep_what_is_no_value(creme: Glue) -> None:
    data = word("nobody", "any time")
    got = unpacked(await file_sent(creme, "a.docx", data))
    assert got == unpacked(data)


@pytest.mark.parametrize("data", [PICTURE, b"%PDF-1.7 " + PHONE.encode(), b"\xff\xd8\xff" + bytes(9), b""])
async def test_pictures_and_binaries_pass_as_before(creme: Glue, data: bytes) -> None:
    assert await file_sent(creme, "a.bin", data) == data


async def test_an_archive_comes_back_clear_for_who_sees_everything_and_stays_closed_to_others(creme: Glue) -> None:
    kept = await file_sent(creme, "all.zip", archive(("note.txt", f"Call {PHONE}"), ("logo.png", PICTURE)))
    exchange = creme.exchange("GET", "/download_file/9", role="manager")
    _, shown = await creme.answer(exchange, kept, "application/zip")
    assert unpacked(shown) == {"note.txt": f"Call {PHONE}".encode(), "logo.png": PICTURE}
    broken = kept[:-30]
    assert (await creme.answer(exchange, broken, "application/zip"))[1] == broken
    with pytest.raises(Refusal) as caught:
        await creme.answer(creme.exchange("GET", "/download_file/9", role="sales"), kept, "application/zip")
    assert caught.value.reason is ANSWER_NOT_RENDERABLE
