"""Uploads: fields and data files are leaves, big files stream past, and what is split twice is refused."""

import io
import json
import tracemalloc
from collections.abc import AsyncIterator

import openpyxl
import pytest

from gateway.body.fault import BodyFault, BodyMalformed, BodyTooLarge, BodyUnreadable, DecompressionLimit
from gateway.body.limits import MEBIBYTE, Limits
from gateway.body.media import Media
from gateway.body.multipart import boundary_of, read, spool
from gateway.body.spool import Spooled

TYPE = "multipart/form-data; boundary=----XyZ"


def part(name: str, data: bytes, extra: str = "", headers: str = "") -> bytes:
    return (
        f'------XyZ\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n{headers}\r\n'.encode() + data + b"\r\n"
    )


END = b"------XyZ--\r\n"


def sent_on(body: bytes, content_type: str) -> bytes:
    """The same upload under the boundary it is sent on with."""
    return body.replace(b"------XyZ", b"--" + boundary_of(content_type)).replace(b"X-A: b\r\n", b"")


async def pieces(data: bytes, size: int = 100) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def collected(spooled: Spooled) -> bytes:
    data = b"".join([chunk async for chunk in spooled.chunks()])
    assert len(data) == spooled.length
    await spooled.close()
    await spooled.close()
    return data


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
async def test_an_unchanged_upload_keeps_its_bytes(size: int) -> None:
    body = (
        part("last_name", "张伟".encode())
        + part("csv", b"Name,Phone\r\nZhang,1\r\n", '; filename="a.csv"', "Content-Type: text/csv\r\n")
        + part(
            "pic", b"\x89PNG\r\n--\r\n----XyZ\0" * 50_000, '; filename="p.png"', "Content-Type: image/png\r\nX-A: b\r\n"
        )
        + part("empty", b"", '; filename=""', "Content-Type: application/octet-stream\r\n")
        + part("last_name", b"again")
        + END
    )
    if size < 10:
        body = body.replace(b"\x89PNG\r\n--\r\n----XyZ\0" * 50_000, b"\x89PNG\r\n--\r\n----XyZ\0" * 20)
    upload = await read(pieces(body, size), TYPE)
    assert [("/".join(leaf.path), leaf.text) for leaf in upload.fields.leaves] == [
        ("last_name", "张伟"),
        ("last_name", "again"),
        ("csv/filename", "a.csv"),
        ("pic/filename", "p.png"),
    ]
    assert upload.files[0].media is Media.CSV
    assert upload.fields.encode() == b""
    assert await collected(await upload.assemble()) == sent_on(body, upload.content_type)


async def test_changed_fields_names_and_data_files() -> None:
    book = openpyxl.Workbook()
    for row in (["Name"], ["Zhang"]):
        book.active.append(row)  # type: ignore[union-attr]
    out = io.BytesIO()
    book.save(out)
    body = (
        part("n", b"Zhang")
        + part("f", b"Name\nZhang\n", '; filename="Zhang.csv"')
        + part("x", out.getvalue(), '; filename="a.bin"', "Content-Type: application/octet-stream\r\n")
        + part("j", b'{"a": "Zhang"}', '; filename="a.json"')
        + part("v", b"BEGIN:VCARD\r\nFN:Zhang\r\nEND:VCARD\r\n", "; filename*=utf-8''z%20a.vcf")
        + part("t", b"Zhang", '; filename="a.txt"', "Content-Type: text/plain\r\n")
        + END
    )
    upload = await read(pieces(body), TYPE)
    assert [file.media for file in upload.data_parts] == [Media.CSV, Media.XLSX, Media.JSON, Media.VCARD, Media.TEXT]
    for leaf in upload.fields.leaves:
        leaf.new = leaf.text.replace("Zhang", 'Zq"x').replace("z a", "Zq") if leaf.text[0] in "Zz" else None
    for file in upload.data_parts:
        assert file.container is not None
        assert [leaf.text for leaf in file.container.leaves] == ["Zhang"]
        file.container.leaves[0].new = "Zqq"
    again = await read(pieces(await collected(await upload.assemble())), upload.content_type)
    assert [leaf.text for leaf in again.fields.leaves] == ['Zq"x', 'Zq"x.csv', "a.bin", "a.json", "Zq.vcf", "a.txt"]
    assert [file.container.leaves[0].text for file in again.data_parts if file.container] == ["Zqq"] * 5
    await again.close()


async def test_files_that_are_not_what_they_seem_go_as_they_are() -> None:
    body = part("j", b"{'a'", '; filename="a.json"') + part("z", b"PK\x03\x04xl/", '; filename="a.xlsx"') + END
    upload = await read(pieces(body), TYPE)
    assert upload.data_parts == []
    assert await collected(await upload.assemble()) == sent_on(body, upload.content_type)


async def test_what_one_reader_takes_for_a_part_is_none_for_the_next() -> None:
    """Django ends a part at the boundary wherever it stands; the boundary that is sent on cannot be foreseen."""
    inside = b'x------XyZ\r\nContent-Disposition: form-data; name="email"\r\n\r\nzhang@example.com'
    body = part("callback_url", inside) + part("f", b"\x89PNG\r\n" + inside, '; filename="p.png"') + END
    upload = await read(pieces(body), TYPE)
    boundary = boundary_of(upload.content_type)
    assert boundary not in body
    assert [leaf.path for leaf in upload.fields.leaves] == [("callback_url",), ("f", "filename")]
    assert (await collected(await upload.assemble())).count(boundary) == 3
    other = await read(pieces(body), TYPE)
    assert boundary_of(other.content_type) != boundary
    await other.close()


async def test_a_part_has_no_second_name() -> None:
    """RFC 2231 lets `name*` replace `name`; only what was read is sent on."""
    body = part("callback_url", b"1", "; name*=utf-8''email") + END
    upload = await read(pieces(body), TYPE + "; charset=utf-7")
    assert "charset" not in upload.content_type
    sent = await collected(await upload.assemble())
    assert b"email" not in sent
    assert b'form-data; name="callback_url"\r\n' in sent
    with pytest.raises(BodyMalformed):
        await read(pieces(part('a\\"; name=\\"email', b"1") + END), TYPE)


async def test_a_big_upload_takes_bounded_memory() -> None:
    """200 MB of zeros; what is held is far less than the file."""
    size = 200 * MEBIBYTE
    chunk = bytes(MEBIBYTE // 4)

    async def stream() -> AsyncIterator[bytes]:
        yield part("n", b"Zhang") + part("f", b"", '; filename="big.csv"')[:-2]
        for _ in range(size // len(chunk)):
            yield chunk
        yield b"\r\n" + END

    tracemalloc.start()
    try:
        upload = await read(stream(), TYPE, Limits(data_file=4 * MEBIBYTE))
        spooled = await upload.assemble()
        seen = 0
        async for piece in spooled.chunks():
            seen += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    await spooled.close()
    assert seen == spooled.length > size
    assert peak < 32 * MEBIBYTE


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (part("a", b"1"), BodyMalformed),
        (part("a", b"1") + END[:-5], BodyMalformed),
        (b"garbage", BodyMalformed),
        (b"", BodyMalformed),
        (part("a", b"\xff") + END, BodyMalformed),
        (part("a", b"1", '; name="b"') + END, BodyMalformed),
        (part("a", b"1", '; filename="x"; filename="y"') + END, BodyMalformed),
        (part("a", b"1", "; filename*=latin1''x") + END, BodyMalformed),
        (part("a", b"1", "", 'Content-Disposition: form-data; name="b"\r\n') + END, BodyMalformed),
        (part("a", b"1", "", "Content-Transfer-Encoding: base64\r\n") + END, BodyUnreadable),
        (b"------XyZ\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, BodyMalformed),
        (b"------XyZ\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n" + END, BodyMalformed),
        (b"------XyZ\r\nContent-Disposition: form-data; name=a x\r\n\r\nx\r\n" + END, BodyMalformed),
        (b"------XyZ\r\nBroken header\r\n\r\nx\r\n" + END, BodyMalformed),
        (part("a", b"1") * 4 + END, BodyTooLarge),
        (part("a", b"1" * 2000) + END, BodyTooLarge),
        (part("a", b"1", "", "X: " + "y" * 9000 + "\r\n") + END, BodyMalformed),
        (part("a", b"1" * 5000, '; filename="x"') + END, BodyTooLarge),
    ],
)
async def test_broken_and_ambiguous_uploads_are_refused(body: bytes, fault: type[BodyFault]) -> None:
    limits = Limits(parts=3, field=1000, upload=15_000 if b"X: " in body else 5_000)
    with pytest.raises(fault):
        await read(pieces(body), TYPE, limits)


async def test_a_bomb_in_a_data_file_is_refused() -> None:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 20 * MEBIBYTE)
    with pytest.raises(DecompressionLimit):
        await read(pieces(part("f", out.getvalue(), '; filename="a.xlsx"') + END, 65536), TYPE)


async def test_a_new_value_cannot_end_its_part() -> None:
    upload = await read(pieces(part("a", b"1") + END), TYPE, entropy=lambda _: "known")
    upload.fields.leaves[0].new = "x--crmgate-known--"
    with pytest.raises(BodyMalformed):
        await upload.assemble()
    await upload.close()


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=a; boundary=b", 'multipart/form-data; boundary="é"',
     f"multipart/form-data; boundary={'x' * 71}", "multipart/form-data; boundary=a<b"],
)  # fmt: skip
def test_doubtful_boundaries_are_refused(content_type: str) -> None:
    with pytest.raises(BodyMalformed):
        boundary_of(content_type)


def test_other_multipart_kinds_are_unreadable() -> None:
    with pytest.raises(BodyUnreadable):
        boundary_of("multipart/mixed; boundary=x")
    assert boundary_of('multipart/form-data; boundary="a b"; charset=utf-8') == b"a b"


async def test_spooling_a_body_that_nothing_looks_into() -> None:
    data = json.dumps(list(range(200_000))).encode()
    assert await collected(await spool(pieces(data, 30_000))) == data
    assert await collected(await spool(pieces(b""))) == b""
    with pytest.raises(BodyTooLarge):
        await spool(pieces(data), Limits(upload=1000))
