"""The leak drill's oracle finds a value whatever was done to it, and only then."""

import base64
import gzip
import html
import io
import json
import zipfile
from urllib.parse import quote

import pytest

from tests.drills.seek import Seeker, Sought

PHONE = Sought("13800138000", "phone")
EMAIL = Sought("mei.test@example.org", "e-mail")
NAME = Sought("司马波𠮷", "name")
SEEKER = Seeker([PHONE, EMAIL, NAME])
EVERYTHING = {PHONE, EMAIL, NAME}
TEXT = f"x {NAME.value} {EMAIL.value} {PHONE.value} y"


def _zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", TEXT)
    return out.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        TEXT.encode(),
        TEXT.upper().encode(),
        "".join(f"&#{ord(char)};" for char in TEXT).encode(),
        html.escape("".join(f"&#{ord(char)};" for char in TEXT)).encode(),
        quote(TEXT, safe="").encode(),
        json.dumps(TEXT).encode(),
        json.dumps(TEXT).upper().replace("\\U", "\\u").encode(),
        b'{"data":"' + base64.b64encode(TEXT.encode()) + b'"}',
        b"abc" + base64.b64encode(b"q" + TEXT.encode()),
        gzip.compress(TEXT.encode()),
        _zipped(),
        TEXT.encode("utf-16"),
    ],
)
def test_value_is_found_in_every_reading(body: bytes) -> None:
    assert SEEKER.find(body) == EVERYTHING


@pytest.mark.parametrize("written", ["138 0013 8000", "138-0013-8000", "+86 138&nbsp;0013 8000", "(138)00138000"])
def test_reformatted_phone_is_found(written: str) -> None:
    assert SEEKER.find(f"<td>{written}</td>".encode()) == {PHONE}


def test_value_split_by_tags_is_found() -> None:
    assert SEEKER.find("<b>mei</b>.test<wbr>@example.org 司马<i>波</i>𠮷".encode()) == {EMAIL, NAME}


def test_masked_values_are_not_found() -> None:
    assert SEEKER.find("138****8000 m***@example.org 司马** ••••••".encode()) == set()
