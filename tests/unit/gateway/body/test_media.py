"""Which container a body is, whatever its type says."""

import pytest

from gateway.body.media import Media, charset_of, essence, sniff, sniff_upload, suffix

XLS = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("content_type", "disposition", "head", "media"),
    [
        ("text/html; charset=utf-8", None, b"<!doctype html>", Media.HTML),
        ("text/html", None, b"", Media.HTML),
        ("text/html", None, b' {"a": 1}', Media.JSON),
        ("text/html", None, b"[Zhang] <b>", Media.HTML),
        ("application/json", None, b"{}", Media.JSON),
        ("application/vnd.api+json", None, b"{}", Media.JSON),
        ("text/plain", None, b'{"a": 1}', Media.JSON),
        ("text/plain", None, b"hello <b>", Media.TEXT),
        ("text/plain", None, b"<html><body>", Media.HTML),
        ("text/plain", 'attachment; filename="a.csv"', b"a,b", Media.CSV),
        ("text/csv", None, b"a,b\n1,2", Media.CSV),
        ("text/csv", None, b"<html><table>", Media.HTML),
        ("application/vnd.ms-excel", "inline; filename=x.xls", b"PK\x03\x04....[Content_Types].xml", Media.XLSX),
        ("application/octet-stream", None, b"PK\x03\x04....xl/workbook.xml", Media.XLSX),
        ("application/zip", None, b"PK\x03\x04a.txt", Media.ZIP),
        ("application/vnd.ms-excel", None, XLS, Media.XLS),
        ("application/vnd.ms-excel", None, b"<html><table>", Media.HTML),
        ("application/vnd.ms-excel", None, b"a\tb\n", Media.CSV),
        ("application/octet-stream", 'attachment; filename="a.csv"', b"a,b", Media.CSV),
        ("application/octet-stream", None, b"\0\1\2", Media.OPAQUE),
        ("application/pdf", None, b"%PDF-1.7", Media.OPAQUE),
        ("image/png", None, b"\x89PNG\r\n", Media.IMAGE),
        ("image/svg+xml", None, b"<svg>", Media.XML),
        ("application/atom+xml", None, b"<feed>", Media.XML),
        ("text/plain", None, b'<?xml version="1.0"?>', Media.XML),
        ("text/x-vcard", None, b"BEGIN:VCARD", Media.VCARD),
        ("application/octet-stream", None, b"BEGIN:VCARD\r\n", Media.VCARD),
        ("text/calendar", None, b"BEGIN:VCALENDAR", Media.VCARD),
        ("application/javascript", None, b"var a", Media.SCRIPT),
        ("text/css", None, b"a{}", Media.CSS),
        ("multipart/form-data; boundary=x", None, b"--x", Media.MULTIPART),
        ("application/x-www-form-urlencoded", None, b'{"a":1}', Media.FORM),
        (None, None, b"<p>x", Media.HTML),
        (None, None, b'[{"a":1}]', Media.JSON),
        (None, None, b"plain", Media.TEXT),
        ("text/plain; charset=utf-16", None, "\ufeffa,b".encode("utf-16-le"), Media.TEXT),
        ("font/woff2", None, b"xyz", Media.IMAGE),
    ],
)
def test_sniffing(content_type: str | None, disposition: str | None, head: bytes, media: Media) -> None:
    assert sniff(content_type, disposition, head) is media


@pytest.mark.parametrize(
    ("content_type", "media", "body", "charset"),
    [
        ("text/html; charset=ISO-8859-1", Media.HTML, b'<meta charset="utf-8">', "iso-8859-1"),
        ('text/html; charset="GBK"', Media.HTML, b"", "gbk"),
        ("text/html", Media.HTML, b'<html><meta charset="GB2312">', "gb2312"),
        ("text/html", Media.HTML, b'<meta http-equiv=x content="text/html; charset=big5">', "big5"),
        ("text/html; charset=latin-1", Media.HTML, b"\xef\xbb\xbf<p>", "utf-8"),
        ("text/csv", Media.CSV, b"\xff\xfea\0", "utf-16-le"),
        ("application/json; charset=latin-1", Media.JSON, b"{}", "utf-8"),
        ("text/xml", Media.XML, b"<?xml version='1.0' encoding='windows-1252'?>", "windows-1252"),
        (None, Media.TEXT, b"x", ""),
    ],
)
def test_charset(content_type: str | None, media: Media, body: bytes, charset: str) -> None:
    assert charset_of(content_type, media, body) == charset


def test_names() -> None:
    assert essence(" Text/HTML ; charset=x") == "text/html"
    assert suffix('attachment; filename="a.b.CSV"') == "csv"
    assert suffix("attachment; filename*=utf-8''x.vcf") == "vcf"
    assert suffix("noname") == suffix(None) == ""


@pytest.mark.parametrize(
    ("content_type", "name", "head", "media"),
    [
        ("text/csv", None, b"name,phone\nAnna\0,13800138000\n", Media.CSV),
        ("application/octet-stream", "people.csv", b"name\0,phone\n", Media.CSV),
        ("text/csv", None, b"BMI,name,phone\n22,Anna,13800138000\n", Media.CSV),
        ("text/vcard", None, b"ID3\n", Media.VCARD),
        ("application/json", None, b"\0{}", Media.JSON),
        ("application/vnd.ms-excel", None, b"\0\1\2", Media.XLS),
        ("image/png", "a.png", b"\x89PNG\r\n\x1a\n", Media.IMAGE),
        ("application/pdf", "a.pdf", b"%PDF-1.7", Media.OPAQUE),
    ],
)
def test_what_comes_in_under_the_name_of_a_table_is_one(
    content_type: str, name: str | None, head: bytes, media: Media
) -> None:
    """Else one NUL, or a label that begins like a picture, takes a whole import past the tokeniser."""
    assert sniff_upload(content_type, name, head) is media
