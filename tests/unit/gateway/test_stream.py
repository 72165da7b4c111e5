"""What flows past without being looked into is decided by the bytes first."""

import asyncio
from typing import Any

import pytest

from gateway import stream
from gateway.answer import Answer
from gateway.body.fault import BodyMalformed, BodyUnreadable, DecompressionLimit
from gateway.collaborators import Limits
from gateway.refusal import Refusal
from gateway.watch import Watch
from policies.decision import FieldView

ALL = FieldView("v1", {}, {}, sees_everything=True)
SOME = FieldView("v1", {}, {})
MOST = 100
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 50


def answer(body: bytes, status: int = 200) -> Answer:
    made = Answer(None)
    made.status, made.length = status, len(body)
    for at in range(0, len(body), 7):
        made.take(body[at : at + 7])
    made.finish()
    return made


@pytest.mark.parametrize(
    ("kind", "body", "asset", "view", "past"),
    [
        ("image/png", PNG, False, SOME, True),
        ("application/octet-stream", PNG, False, SOME, True),
        ("image/png", b'{"a":1}', False, ALL, False),
        ("image/svg+xml", b"<svg>x</svg>", False, SOME, False),
        ("image/svg+xml", b"<svg>x</svg>", True, SOME, True),
        ("text/css", b"a{}", False, ALL, False),
        ("text/css", b"a{}", True, SOME, True),
        ("text/javascript", b"var a", False, ALL, False),
        ("text/javascript", b"var a", True, SOME, True),
        ("text/html", b"<p>", True, ALL, False),
        ("application/json", b"{}", True, ALL, False),
        ("application/pdf", b"%PDF-1.7", False, SOME, False),
        ("application/pdf", b"%PDF-1.7", False, ALL, True),
        ("application/octet-stream", b"PK\x03\x04" + b"x" * 26 + b"xl/workbook.xml", False, ALL, False),
        ("application/zip", b"PK\x03\x04" + b"x" * 26 + b"a.pdf", False, ALL, False),
        ("application/zip", b"PK\x03\x04" + b"x" * MOST, False, ALL, True),
        ("application/zip", b"PK\x03\x04" + b"x" * MOST, False, SOME, False),
        ("application/vnd.ms-excel", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", False, ALL, False),
        ("", b"name;phone", False, ALL, False),
        ("", b"", False, ALL, False),
    ],
)
async def test_what_flows_past(kind: str, body: bytes, asset: bool, view: FieldView, past: bool) -> None:
    made = answer(body)
    assert await stream.flows_past(made, "GET", kind, "", "", asset=asset, view=view, most=MOST) is past
    assert await made.read(1000) == body  # looking takes nothing away


async def test_coded_bodies_are_opened_unless_they_are_assets() -> None:
    for asset in (False, True):
        past = await stream.flows_past(answer(PNG), "GET", "image/png", "gzip", "", asset=asset, view=ALL, most=MOST)
        assert past is asset


async def test_answers_without_a_body() -> None:
    assert await stream.flows_past(answer(b"", 304), "GET", "", "", "", asset=True, view=SOME, most=MOST)
    assert not await stream.flows_past(answer(b"", 304), "GET", "", "", "", asset=False, view=SOME, most=MOST)
    assert await stream.flows_past(answer(b""), "HEAD", "text/css", "", "", asset=True, view=SOME, most=MOST)
    assert not await stream.flows_past(answer(b""), "HEAD", "image/png", "", "", asset=False, view=SOME, most=MOST)


async def test_a_body_is_read_under_limits_and_the_stage_goes_on_after_it() -> None:
    parts: list[dict[str, Any]] = [{"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.request"}]

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    watch = Watch()
    turn = watch.begin()
    turn.enter("protect", 3)
    assert await stream.read(receive, turn, 10, 1) == b"ab"
    assert (turn.stage, turn.allowance) == ("protect", 3)
    with pytest.raises(Refusal):
        await stream.read(receive, turn, 10, 1)
    turn.end()
    watch.stop()
    await asyncio.sleep(0)


def test_codings_of_requests() -> None:
    assert stream.unpack(None, b"a", Limits()) == b"a"
    with pytest.raises(BodyUnreadable):
        stream.unpack("xz", b"a", Limits())
    import gzip

    with pytest.raises(DecompressionLimit):
        stream.unpack("gzip", gzip.compress(b"x" * 5000), Limits(body=4096))


def test_opaque_needs_bytes_that_say_so() -> None:
    assert stream.is_opaque("application/octet-stream", PNG)
    assert stream.is_opaque("application/pdf", b"%PDF-1.7")
    assert not stream.is_opaque("image/png", b"name=13800138000")
    assert not stream.is_opaque("application/octet-stream", b"PK\x03\x04xl/")


@pytest.mark.parametrize("body", [b"", b"{", b"name=Mia", b'{"a":1,"a":2}', b'{"a":"\\ud800"}'])
def test_json_that_is_none_is_said_to_be_damaged(body: bytes) -> None:
    with pytest.raises(BodyMalformed):
        stream.require_whole("application/json; charset=utf-8", body, Limits())


@pytest.mark.parametrize(("kind", "body"), [("application/json", b'{"a":1}'), ("text/plain", b"{"), ("", None)])
def test_what_is_whole_or_no_json_is_left_to_the_policy(kind: str, body: bytes | None) -> None:
    stream.require_whole(kind, body, Limits())
