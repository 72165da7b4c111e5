"""Pages: the right container for every media, other charsets, and bodies that nothing is put into."""

from collections.abc import Callable

import pytest

from gateway.body.charset import codec_of, fitted, from_utf8, to_utf8
from gateway.body.fault import BodyUnreadable
from gateway.body.layer import Net
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.page import open_page

NAME = "Zqabcdefghijklmn"
PHONE = "+88871234567890"
Render = Callable[..., bytes]


@pytest.mark.parametrize("media", [Media.IMAGE, Media.CSS, Media.OPAQUE])
def test_bodies_that_nothing_is_put_into(render: Render, media: Media) -> None:
    assert render(media, f"a {NAME}", {NAME: "x"}).decode() == f"a {NAME}"


@pytest.mark.parametrize("media", [Media.HTML, Media.JSON, Media.SCRIPT, Media.TEXT, Media.CSV, Media.XML, Media.VCARD])
def test_a_body_without_surrogates_is_given_back(render: Render, media: Media) -> None:
    body = b"N:\xff x <p>&amp;</p>\r\n"
    assert render(media, body, {}) == body


def test_plain_text_shows_values_as_they_are(render: Render, hostile: str, mask_phones: Net) -> None:
    assert render(Media.TEXT, f"a {NAME} b", {NAME: hostile}).decode() == f"a {hostile} b"
    out = render(Media.TEXT, f"{NAME} 13800138000", {NAME: "13800138000"}, net=mask_phones)
    assert out == b"13800138000 138****8000"


def test_scripts(render: Render, hostile: str) -> None:
    out = render(
        Media.SCRIPT, f"var a = '{NAME}'; // {NAME}\nvar n = {PHONE[1:]};", {NAME: hostile, PHONE: "+861"}
    ).decode()
    assert out.endswith(f"; // {NAME}\nvar n = 861;")
    assert out.count("'") == 2


@pytest.mark.parametrize("charset", ["utf-16-le", "gb18030", "shift_jis", "windows-1252", "latin-1", "x-nobody-knows"])
def test_charsets_come_back_exactly(charset: str) -> None:
    codec = codec_of(charset)
    body = f"<p>é {NAME}</p>".encode("utf-16-le" if charset == "utf-16-le" else "latin-1", "replace")
    if charset not in ("shift_jis",):
        assert from_utf8(to_utf8(body, codec), codec) == body


@pytest.mark.parametrize("charset", ["utf-7", "iso-2022-jp", "hz", "rot13", "base64"])
def test_charsets_that_change_what_bytes_mean_are_refused(charset: str, limits: Limits) -> None:
    with pytest.raises(BodyUnreadable):
        open_page(Media.HTML, b"<p>", charset, limits)


def test_lossy_bodies_are_refused() -> None:
    with pytest.raises(BodyUnreadable):
        to_utf8(b"\0\xd8\0", "utf-16-le")


def test_fitting() -> None:
    assert fitted("a张ü", "latin-1") == "a?ü"
    assert fitted("张", "gbk") == "张"


def test_gbk_pages_keep_their_charset(render: Render) -> None:
    body = f"<p>客户 {NAME}</p>".encode("gbk")
    assert (
        render(Media.HTML, body, {NAME: "<张𠀀>"}, charset="gb2312").decode("gbk") == "<p>客户 &lt;张&#131072;&gt;</p>"
    )
