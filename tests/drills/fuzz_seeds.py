"""Where fuzzing begins: small valid bodies of every format, and changes that keep their structure likely."""

import io
import random
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache

import openpyxl
import xlwt

from tests.drills.fuzz_targets import CLEAR, NAME, PHONE

_JSON = f'{{"a": "{CLEAR}", "b": [1, 2.50, null, "{NAME}"], "c": {{"d": "\\u5f20 \\"x\\"", "e": "<b>{PHONE}</b>"}}}}'
_HTML = (
    f'<!doctype html><html><title>{NAME}</title><body onload="f(\'{NAME}\')"><a href="tel:{PHONE}">{CLEAR}</a>'
    f'<textarea>{NAME}</textarea><script>var a = \'{NAME}\', b = {{"c": "{CLEAR}"}};</script>'
    f"<!-- {NAME} --><td title='&lt;b&gt;{NAME}&lt;/b&gt;'>&#49;{CLEAR}</td></body></html>"
)
_XML = (
    f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    f'<p:create xmlns:p="urn:p"><!--c--><r a="{CLEAR}"><n>{CLEAR}</n><n/><d><![CDATA[{NAME}]]></d></r></p:create>'
    "</s:Body></s:Envelope>"
)
_CSV = f'\ufeffName;Phone;Note\r\n{NAME};{CLEAR};"a;""b"" {PHONE}"\r\n\'=1;;\r\n'
_VCARD = (
    f"BEGIN:VCARD\r\nVERSION:3.0\r\nN:{NAME};X;;;\r\nTEL;TYPE=CELL:{CLEAR}\r\nNOTE;ENCODING=QUOTED-PRINTABLE:a=3D{NAME}=\r\n"
    f" b\r\nEMAIL:x\r\n y\\, z\r\nEND:VCARD\r\n"
)
_PART = 'Content-Disposition: form-data; name="{}"{}\r\n{}\r\n'
_MULTIPART = (
    "--limit\r\n"
    + _PART.format("phone", "", "")
    + f"{CLEAR}\r\n--limit\r\n"
    + _PART.format("f", '; filename="a.csv"', "Content-Type: text/csv\r\n")
    + f"Phone\r\n{CLEAR}\r\n--limit--\r\n"
)
_BATCH = (
    "--limit\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    f'POST /a HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{{"a":"{CLEAR}"}}\r\n--limit--\r\n'
)
_HEAD = "POST /a?b=c HTTP/1.1\r\nHost: crm.localhost\r\nContent-Length: 3\r\nCookie: a=b; c=d\r\n\r\nabc"
_SOQL = (
    f"SELECT Id, Name, (SELECT Id FROM Cases) FROM Contact WHERE Phone = '{CLEAR}' AND (Name LIKE 'a%' OR Id IN ('b'))"
)
_ODATA = f"contains(fullname,'{NAME}') and phone eq '{CLEAR}' or contacts/any(c:c/x gt 1)"


@lru_cache(maxsize=1)
def _workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Name", "Phone"], [NAME, CLEAR], ["x", 13800138000]):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@lru_cache(maxsize=1)
def _old_workbook() -> bytes:
    book = xlwt.Workbook()
    sheet = book.add_sheet("a")
    sheet.write(0, 0, "Phone")
    sheet.write(1, 0, NAME)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return out.getvalue()


@lru_cache(maxsize=1)
def seeds() -> Mapping[str, Sequence[bytes]]:
    """Target → bodies to begin with."""
    lines = f'{{"a":"{CLEAR}"}}\r\n{{"a":"{NAME}"}}\n'.encode()
    address = f"contacts(email='{CLEAR}')/a%20b?c=d&e[f]=%E5%BC%A0"
    zipped = _archive(a_csv=_CSV.encode(), b_json=_JSON.encode(), c_zip=_archive(d_txt=NAME.encode()))
    by_format: dict[str, list[bytes]] = {
        "json": [_JSON.encode(), b"[]", b'{"a":{"a":{"a":[[[1]]]}}}', lines],
        "lines": [lines, b"\x1e" + _JSON.encode() + b"\n\x1e{}\n"],
        "form": [f"a={CLEAR}&b=%7B%22c%22%3A1%7D&a=+x&&d".encode()],
        "xml": [_XML.encode(), b"<a b='&amp;'>x</a>", _XML.replace("UTF-8", "GBK").encode("gbk")],
        "csv": [_CSV.encode(), f"Phone,a\n{CLEAR},b\n".encode(), f"Phone\t姓名\n{CLEAR}\tx".encode("utf-16")],
        "vcard": [_VCARD.encode(), _VCARD.replace("3.0", "2.1").replace("\r\n", "\n").encode()],
        "text": [f"call {CLEAR} or {NAME}".encode()],
        "xlsx": [_workbook()],
        "xls": [_old_workbook()],
        "sheets": [_old_workbook()],
        "multipart": [_MULTIPART.encode()],
        "batch": [_BATCH.encode()],
        "address": [address.encode()],
        "conditions": [_JSON.encode(), _XML.encode(), b"a=1&b=2", lines],
        "queries": [_SOQL.encode(), _ODATA.encode(), f"(Phone:equals:{CLEAR})and(Name:starts_with:a)".encode()],
        "sniffing": [b'text/csv; charset="utf-8"; filename=a.csv\n' + _CSV.encode(), b'data:\n"data:x;base64,QQ=="'],
        "html": [_HTML.encode(), f"<p>{NAME}".encode()],
        "script": [f"var a = '{NAME}' + /x'/ + `{CLEAR}`; // {NAME}".encode()],
        "zip": [zipped],
    }
    found: dict[str, Sequence[bytes]] = {f"request.{name}": bodies for name, bodies in by_format.items()}
    found |= {f"page.{name}": bodies for name, bodies in by_format.items()}
    return {
        **found,
        "codings": [zipped, b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0"],
        "heads": [_HEAD.encode()],
    }


_WORDS = [
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\r",
        b"\n",
        b"\r\n",
        b"\x1e",
        b"'",
        b'"',
        b"\\",
        b"\\u",
        b"\\ud800",
    ),
    *(
        b"<",
        b">",
        b"</",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<!DOCTYPE a [",
        b"<script>",
        b"</script",
        b"&#x0;",
        b"&#9;",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b"(",
        b")",
        b",",
        b";",
        b":",
        b"=",
        b"&",
        b"%",
        b"%00",
        b"%C3",
        b"+",
        b"=\r\n",
        b"--limit",
        b"--",
    ),
    *(
        CLEAR.encode(),
        NAME.encode(),
        PHONE.encode(),
        "张".encode(),
        "张".encode("gbk"),
        b"BEGIN:VCARD",
        b"END:VCARD",
        b"1e999",
    ),
    *(b"Content-Disposition: form-data; name=", b"Content-Length: 9", b"PK\x03\x04", b"null", b"-0", b"\xed\xa0\x80"),
]


def changed(data: bytes, choose: random.Random, others: Sequence[bytes]) -> bytes:
    """A body with one to eight changes: words of its language, bits, stretches cut, doubled or of another body."""
    out = bytearray(data)
    for _ in range(choose.randint(1, 8)):
        at = choose.randint(0, len(out))
        end = min(len(out), at + choose.choice((1, 2, 4, 16, 64)))
        match choose.randrange(8):
            case 0 | 1:
                out[at:at] = choose.choice(_WORDS)
            case 2:
                out[at:end] = choose.choice(_WORDS)
            case 3:
                del out[at:end]
            case 4:
                out[at:at] = out[at:end] * choose.choice((1, 2, 50))
            case 5 if at < len(out):
                out[at] ^= 1 << choose.randrange(8)
            case 6:
                other = choose.choice(others)
                start = choose.randint(0, len(other))
                out[at:at] = other[start : start + choose.choice((4, 32, 200))]
            case _:
                out[at:end] = bytes(reversed(out[at:end]))
    return bytes(out)


def everything() -> list[bytes]:
    """All seeds."""
    return [one for bodies in seeds().values() for one in bodies]
