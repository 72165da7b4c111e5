"""A sealed file on its way out: nothing leaves before key, rights and trail are settled, and a break is no end."""

from types import SimpleNamespace
from typing import Any

import pytest

from audit.log import AuditUnavailable
from gateway.answer import Answer, UpstreamCutOff
from gateway.delivery import _Head
from gateway.download import OK, PARTIAL, UNSATISFIABLE, _window, deliver_file
from gateway.exchange import Exchange
from gateway.exchange import Head as RequestHead
from gateway.origin import Origins
from gateway.passage import Nonsense
from gateway.refusal import ANSWER_NOT_RENDERABLE, Refusal
from kms.envelope import Context, FieldKey
from kms.provider import KeysUnavailable
from kms.stream import HEAD_BYTES, Head, StreamInvalid, StreamOpener, StreamSealer
from kms.stream_flow import seal_pieces
from tests.unit.gateway.glue import NOW

KEY = FieldKey(b"\x01\x02\x03\x04", bytes(range(32)))
PLACE = Context("acme", "file", "document", "filedata", cell=b"12345678")
PLAIN = bytes(number % 251 for number in range(1000))
BLOB = b"".join(seal_pieces(StreamSealer(KEY, PLACE, bytes(range(32)), chunk=64), [PLAIN]))


class Way:
    """One exchange whose collaborators do what a test says, and what has left."""

    def __init__(self, blob: bytes = BLOB, method: str = "GET", status: int = 200, **headers: str) -> None:
        self.sent: list[Any] = []
        self.recorded: list[int] = []
        self.opening: Any = lambda head: StreamOpener(KEY, PLACE, Head.parse(head))
        self.trail: Exception | None = None
        self.answer = Answer(SimpleNamespace(total_deadline=0.0, resume_reading=lambda: None, abort=lambda fault: None))  # type: ignore[arg-type]
        self.answer.status, self.answer.length = status, len(blob)
        self.answer.fields = [(b"content-type", b"application/pdf"), (b"content-disposition", b"attachment")]
        for at in range(0, len(blob), 100):
            self.answer.take(blob[at : at + 100])
        self.answer.finish()
        given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        exchange = Exchange("x1", NOW, RequestHead(method, "/f", "/f", "", "crm", given, False, None), tenant="acme")
        turn = SimpleNamespace(stage="", allowance=0.0, enter=lambda *_: None, rest=lambda *_: None)
        limits = SimpleNamespace(collaborator_s=1.0)
        gw = SimpleNamespace(limits=limits, open_file=self._open, render_answer=self._render, audit=self, new_id=str)
        self.passage: Any = SimpleNamespace(gw=gw, exchange=exchange, turn=turn, started=False, send=self._send)

    async def _open(self, exchange: Exchange, head: bytes) -> Any:
        return self.opening(head)

    async def _render(self, exchange: Exchange, status: int, fields: Any, body: bytes) -> Any:
        return fields, body

    async def append(self, entry: Any) -> int:
        if self.trail is not None:
            raise self.trail
        assert not self.sent
        self.recorded.append(entry.status)
        return 0

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def deliver(self) -> bool:
        return await deliver_file(
            self.passage, self.answer, _Head(Origins("https://crm", "http://c"), self.answer.fields)
        )

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


async def test_a_file_leaves_clear_after_the_trail_has_it() -> None:
    way = Way()
    assert await way.deliver()
    assert (way.body, way.ended, way.recorded) == (PLAIN, True, [200])
    names = dict(way.sent[0]["headers"])
    assert (names[b"content-length"], names[b"accept-ranges"]) == (b"1000", b"bytes")


async def test_an_empty_file_leaves_as_an_empty_file() -> None:
    way = Way(b"".join(seal_pieces(StreamSealer(KEY, PLACE, bytes(range(32))), [])))
    assert await way.deliver()
    assert (way.body, way.ended, way.recorded) == (b"", True, [200])


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [("bytes=0-9", 0, 10), ("bytes=60-70", 60, 71), ("bytes=-1", 999, 1000)]
)
async def test_a_range_leaves_alone(asked: str, start: int, stop: int) -> None:
    way = Way(range=asked)
    assert await way.deliver()
    assert (way.body, way.ended, way.recorded) == (PLAIN[start:stop], True, [206])
    assert dict(way.sent[0]["headers"])[b"content-range"] == b"bytes %d-%d/1000" % (start, stop - 1)


@pytest.mark.parametrize(
    "way",
    [Way(b"%PDF" + bytes(200)), Way(b"G1S"), Way(b""), Way(method="HEAD"), Way(status=206), Way(status=404)],
    ids=["other", "short", "empty", "head", "partial", "missing"],
)
async def test_what_is_no_sealed_file_is_left_alone(way: Way) -> None:
    size = way.answer.size
    assert not await way.deliver()
    assert (way.sent, way.recorded, way.answer.size) == ([], [], size)


async def test_a_file_nobody_here_sealed_is_left_alone() -> None:
    way = Way()
    way.opening = lambda head: None
    assert not await way.deliver()
    assert (way.sent, way.answer.size) == ([], len(BLOB))


@pytest.mark.parametrize("fault", [KeysUnavailable("x", "x"), StreamInvalid(), Refusal(ANSWER_NOT_RENDERABLE)])
async def test_without_right_or_key_nothing_leaves(fault: Exception) -> None:
    def refuse(head: bytes) -> object:
        raise fault

    way = Way()
    way.opening = refuse
    with pytest.raises(type(fault)):
        await way.deliver()
    assert (way.sent, way.recorded) == ([], [])


@pytest.mark.parametrize("nonsense", ["yes", True, b"key", object()])
async def test_nonsense_opens_nothing(nonsense: object) -> None:
    way = Way()
    way.opening = lambda head: nonsense
    with pytest.raises(Nonsense):
        await way.deliver()
    assert way.sent == []


async def test_without_a_trail_nothing_leaves() -> None:
    way = Way()
    way.trail = AuditUnavailable("x")
    with pytest.raises(AuditUnavailable):
        await way.deliver()
    assert way.sent == []


async def test_a_first_chunk_that_does_not_open_is_refused_before_anything_leaves() -> None:
    way = Way(BLOB[:HEAD_BYTES] + b"\0" + BLOB[HEAD_BYTES + 1 :])
    with pytest.raises(StreamInvalid):
        await way.deliver()
    assert (way.sent, way.recorded) == ([], [])


@pytest.mark.parametrize("blob", [BLOB[:-1] + b"\0", BLOB[:-80], BLOB[:-20]], ids=["changed", "a chunk less", "cut"])
@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=-999"])
async def test_a_file_that_breaks_later_is_never_ended(blob: bytes, asked: str) -> None:
    for headers in ({}, {"range": asked}):
        way = Way(blob, **headers)
        with pytest.raises(StreamInvalid):
            await way.deliver()
        assert not way.ended
        assert way.body in PLAIN  # what has left is authentic


async def test_a_crm_that_breaks_off_leaves_no_end() -> None:
    way = Way()
    way.answer.done = False
    way.answer.fail(UpstreamCutOff("x"))
    with pytest.raises(UpstreamCutOff):
        await way.deliver()
    assert not way.ended


@pytest.mark.parametrize(
    ("asked", "condition", "size", "status", "window"),
    [
        (None, None, 10, OK, None),
        ("bytes=0-0", None, 10, PARTIAL, (0, 1)),
        ("bytes=3-", None, 10, PARTIAL, (3, 10)),
        ("bytes=-3", None, 10, PARTIAL, (7, 10)),
        ("bytes=-30", None, 10, PARTIAL, (0, 10)),
        ("bytes=3-99", None, 10, PARTIAL, (3, 10)),
        ("bytes=10-", None, 10, UNSATISFIABLE, (0, 0)),
        ("bytes=-0", None, 10, UNSATISFIABLE, (0, 0)),
        ("bytes=-1", None, 0, UNSATISFIABLE, (0, 0)),
        ("bytes=-", None, 10, OK, None),
        ("bytes=5-4", None, 10, OK, None),
        ("bytes=0-1,3-4", None, 10, OK, None),
        ("bytes=0-1\n", None, 10, OK, None),
        ("lines=0-1", None, 10, OK, None),
        ("bytes=0-0", '"etag"', 10, OK, None),
        ("bytes=0-0", None, None, OK, None),
        ("bytes=" + "9" * 18 + "-", None, 10, UNSATISFIABLE, (0, 0)),
        ("bytes=" + "9" * 30 + "-", None, 10, OK, None),
    ],
)
def test_ranges_are_read_as_the_rfc_says(
    asked: str | None, condition: str | None, size: int | None, status: int, window: tuple[int, int] | None
) -> None:
    found, (start, stop) = _window(asked, condition, size)
    assert found == status
    if window is None:
        assert start == 0
        assert stop > 10
    else:
        assert (start, stop) == window
