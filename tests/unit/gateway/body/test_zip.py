"""ZIP: entries are rendered one level deep under limits; names, order and untouched archives stay."""

import io
import zipfile
from collections.abc import Callable

import pytest

from gateway.body.fault import BodyFault, BodyMalformed, BodyUnreadable, DecompressionLimit
from gateway.body.limits import MEBIBYTE, Limits
from gateway.body.media import Media
from gateway.body.page import open_page
from gateway.body.zip import read_entries

NAME = "Zqabcdefghijklmn"
Render = Callable[..., bytes]


def archive(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)
    return out.getvalue()


def test_entries_are_rendered_by_what_they_are(render: Render) -> None:
    name = NAME.encode()
    inner = archive(("a.csv", b"n\n" + name + b"\n"))
    body = archive(
        ("b/a.csv", b"n\n" + name + b"\n"),
        ("x.json", b'{"a":"' + name + b'"}'),
        ("i.zip", inner),
        ("e.bin", b"\0" + name),
    )
    with zipfile.ZipFile(io.BytesIO(render(Media.ZIP, body, {NAME: "=1+1"}))) as file:
        assert file.namelist() == ["b/a.csv", "x.json", "i.zip", "e.bin"]
        assert file.read("b/a.csv") == b"n\n'=1+1\n"
        assert file.read("x.json") == b'{"a":"=1+1"}'
        assert file.read("i.zip") == inner
        assert file.read("e.bin") == b"\0" + name
    assert render(Media.ZIP, inner, {}) == inner


@pytest.mark.parametrize(
    ("body", "limits", "fault"),
    [
        (archive(("a", bytes(20 * MEBIBYTE))), Limits(), DecompressionLimit),
        (archive(("a", bytes(2 * MEBIBYTE))), Limits(inflated=MEBIBYTE), DecompressionLimit),
        (archive(("a", bytes(600_000)), ("b", bytes(600_000))), Limits(inflated=1_000_000), DecompressionLimit),
        (archive(("a", b""), ("b", b"")), Limits(entries=1), DecompressionLimit),
        (b"PK\x03\x04" + bytes(100), Limits(), BodyMalformed),
        (archive(("a", b"x" * 100))[:-30], Limits(), BodyMalformed),
    ],
)
def test_bombs_and_broken_archives_are_refused(body: bytes, limits: Limits, fault: type[BodyFault]) -> None:
    with pytest.raises(fault):
        open_page(Media.ZIP, body, "", limits)


def test_encrypted_and_ambiguous_archives_are_refused(limits: Limits) -> None:
    body = bytearray(archive(("a", b"x")))
    for at in (6, body.index(b"PK\x01\x02") + 8):
        body[at] |= 1
    with pytest.raises(BodyUnreadable):
        read_entries(bytes(body), limits)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive(("a", b"x"), ("a", b"y"))
    with pytest.raises(BodyMalformed):
        read_entries(twice, limits)
