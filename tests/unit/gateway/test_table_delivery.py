"""A long table on its way out: every group is in the trail before it leaves, and a break is never an end."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from audit.log import AuditUnavailable
from gateway import table_delivery
from gateway.answer import HIGH_WATER_BYTES, Answer, UpstreamCutOff
from gateway.body.csv_rows import GROUP_BYTES, ROW_BYTES, outline_of
from gateway.body.fault import BodyTooLarge
from gateway.delivery import _Head
from gateway.exchange import Exchange
from gateway.exchange import Head as RequestHead
from gateway.origin import Origins
from gateway.passage import Nonsense
from gateway.table_delivery import LONG_BYTES, deliver_table
from gateway.table_stream import TableStream
from kms.provider import KeysUnavailable
from tests.unit.gateway.glue import NOW

TABLE = b"number,what\n" + b"".join(b"%d,something that is said of it\n" % line for line in range(150_000))
assert len(TABLE) > LONG_BYTES


class Way:
    """One exchange whose collaborators do what a test says; happened: what was recorded and what has left, in order."""

    def __init__(self, body: bytes = TABLE, *, length: bool = True, method: str = "GET", **fields: str) -> None:
        self.happened: list[tuple[str, Any]] = []
        self.entries: list[Any] = []
        self.before_group: Callable[[int], None] = lambda number: None
        self.before_entry: Callable[[int], None] = lambda number: None
        self.groups = 0
        self.places = 1
        self.opened: Any = None
        self.left, self.paused, self.aborted = body, False, False
        self.fault: UpstreamCutOff | None = None
        source = SimpleNamespace(total_deadline=0.0, resume_reading=self._resume, abort=self._abort)
        self.answer = Answer(source)  # type: ignore[arg-type]
        self.answer.status, self.answer.length = 200, len(body) if length else None
        given = {"content-type": "text/csv", **{name.replace("_", "-"): value for name, value in fields.items()}}
        self.answer.fields = [(name.encode(), value.encode()) for name, value in given.items()]
        self.exchange = Exchange("x1", NOW, RequestHead(method, "/f", "/f", "", "crm", (), False, None), tenant="acme")
        self.most = 0
        turn = SimpleNamespace(stage="", allowance=0.0, enter=lambda *_: None, rest=lambda *_: None)
        gw = SimpleNamespace(
            limits=SimpleNamespace(collaborator_s=1.0), open_table=self._open, audit=self, new_id=lambda: "e1"
        )
        self.passage: Any = SimpleNamespace(
            gw=gw, exchange=self.exchange, turn=turn, started=False, send=self._send, asset=False, guess=None
        )
        self._pour()

    def _pour(self) -> None:
        """What a connection does: gives until the reader is behind."""
        while self.left and not self.paused:
            chunk, self.left = self.left[:65_536], self.left[65_536:]
            self.paused = self.answer.take(chunk)
            self.most = max(self.most, self.answer.size)
        if not self.left and not self.paused:
            if self.fault is not None:
                self.answer.fail(self.fault)
            else:
                self.answer.finish()

    def _resume(self) -> None:
        if self.paused:
            self.paused = False
            self._pour()

    def _abort(self, fault: object) -> None:
        self.aborted = True

    async def _open(self, exchange: Exchange, fields: Any, head: bytes) -> Any:
        if self.opened is not None:
            return self.opened()
        outline = outline_of(head, "utf-8")
        assert outline is not None
        return fields, TableStream(exchange, SimpleNamespace(mask_char="*"), outline, "utf-8", self, None)  # type: ignore[arg-type]

    async def render_page(self, exchange: Exchange, page: Any, mask_char: str) -> tuple[bytes, bool]:
        self.groups += 1
        self.before_group(self.groups)
        for place in range(self.places):
            exchange.shown["contact", "phone", f"{self.groups}.{place}", "CLEAR"] = 1
        exchange.caught["phone"] = self.groups
        return page._data, True

    async def append(self, entry: Any) -> int:
        self.entries.append(entry)
        self.before_entry(len(self.entries))
        self.happened.append(("entry", entry))
        return 0

    async def _send(self, message: Any) -> None:
        self.happened.append(("sent", message))

    async def deliver(self) -> bytes | None:
        head = _Head(Origins("https://crm", "http://c"), self.answer.fields)
        return await deliver_table(self.passage, self.answer, head)

    @property
    def sent(self) -> list[Any]:
        return [what for kind, what in self.happened if kind == "sent"]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


@pytest.mark.parametrize("length", [True, False])
async def test_every_group_is_in_the_trail_before_it_leaves(length: bool) -> None:
    way = Way(length=length)
    beginning = await way.deliver()
    assert beginning is not None
    assert TABLE.startswith(beginning)
    assert (way.body, way.ended) == (TABLE, True)
    assert way.sent[0]["status"] == 200
    assert b"content-length" not in dict(way.sent[0]["headers"])
    assert [entry.fields["release"] for entry in way.entries] == list(range(1, way.groups + 1))
    recorded = 0
    for kind, what in way.happened:
        if kind == "entry":
            recorded += 1
            assert what.kind == "outcome"
            assert list(what.fields["shown"]["contact.phone"]) == [f"{recorded}.0"]
            assert what.fields["caught"] == {"phone": recorded}
        elif what.get("more_body"):
            left = sum(1 for one in way.sent if one.get("more_body"))
            assert recorded <= left
            assert len(what["body"]) <= GROUP_BYTES + 65_536
    assert way.happened[0][0] == "entry"
    pairs = [kind for kind, what in way.happened if kind == "entry" or what.get("more_body")]
    assert pairs == ["entry", "sent"] * way.groups


async def test_no_more_than_a_few_groups_are_held() -> None:
    way = Way()
    way.before_group = lambda _: None if way.answer.size <= HIGH_WATER_BYTES + 65_536 else pytest.fail("too much held")
    assert await way.deliver() is not None
    assert way.most <= HIGH_WATER_BYTES + 65_536


async def test_an_entry_names_as_many_places_as_fit_and_others_follow() -> None:
    way = Way()
    way.places = 1500
    assert await way.deliver() is not None
    first = [entry for entry in way.entries if entry.fields["release"] == 1]
    named = [record for entry in first for record in entry.fields["shown"]["contact.phone"]]
    assert len(first) == 3
    assert sorted(named) == sorted(f"1.{place}" for place in range(1500))
    assert [entry.fields.get("caught") for entry in first] == [{"phone": 1}, None, None]


async def test_what_cannot_be_recorded_does_not_leave() -> None:
    def down(number: int) -> None:
        if number == at:
            raise AuditUnavailable("down")

    for at in (1, 3):
        way = Way()
        way.before_entry = down
        with pytest.raises(AuditUnavailable):
            await way.deliver()
        assert not way.ended
        assert way.passage.started is (at > 1)
        assert sum(1 for one in way.sent if one.get("more_body")) == at - 1
        assert way.exchange.shown == {}


async def test_what_cannot_be_rendered_breaks_the_answer_off() -> None:
    def down(number: int) -> None:
        if number == at:
            raise KeysUnavailable("acme", "down")

    for at in (1, 2):
        way = Way()
        way.before_group = down
        with pytest.raises(KeysUnavailable):
            await way.deliver()
        assert (way.ended, way.passage.started, len(way.entries)) == (False, at > 1, at - 1)
        assert way.aborted


async def test_a_crm_that_breaks_off_breaks_the_answer_off() -> None:
    way = Way()
    way.fault = UpstreamCutOff("gone")
    with pytest.raises(UpstreamCutOff):
        await way.deliver()
    assert way.passage.started
    assert not way.ended


async def test_a_row_that_never_ends_breaks_the_answer_off() -> None:
    way = Way(TABLE + b'"' + b"x" * (ROW_BYTES + 2 * GROUP_BYTES) + b"\n1,2\n" * 50_000)
    with pytest.raises(BodyTooLarge):
        await way.deliver()
    assert not way.ended


@pytest.mark.parametrize("nonsense", [("x", "y"), ([], b""), 7, ([("a", "b")], None)])
async def test_nonsense_is_refused(nonsense: object) -> None:
    way = Way()
    way.opened = lambda: nonsense
    with pytest.raises(Nonsense):
        await way.deliver()
    assert way.happened == []


@pytest.mark.parametrize("length", [True, False])
async def test_what_is_no_long_table_is_left_alone(length: bool) -> None:
    ways = [
        Way(TABLE[: LONG_BYTES // 2], length=length),
        Way(TABLE, length=length, method="HEAD"),
        Way(TABLE, length=length, content_encoding="gzip"),
        Way(TABLE, length=length, content_type="text/html"),
        Way(b"{" + TABLE, length=length, content_type="application/json"),
        Way(b"%PDF-1.7" + TABLE, length=length),
    ]
    for number in range(3):
        ways.append(Way(TABLE, length=length))
        if number == 0:
            ways[-1].answer.status = 206
        elif number == 1:
            ways[-1].exchange.written.append(("a", "b", "c"))
        else:
            ways[-1].opened = lambda: None
    for way in ways:
        body = TABLE[: LONG_BYTES // 2] if way is ways[0] else None
        assert await way.deliver() is None
        assert way.happened == []
        rest = await way.answer.read(2 * len(TABLE))
        assert body is None or rest == body
        assert rest.endswith(TABLE[: LONG_BYTES // 2][-100:] if way is ways[0] else TABLE[-100:])


def test_the_parts_of_an_entry_fit() -> None:
    assert table_delivery._PLACES * 80 < 65_535
