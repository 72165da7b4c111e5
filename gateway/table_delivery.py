"""A long table on its way out: rendered group by group, and each group is in the trail before it leaves.

Nothing has left when the first group is refused. Later, whatever errs ends the connection without ending the answer,
so that nobody takes a part for the whole. A reader who is slow slows the CRM, and no more than a few groups are held.
"""

from typing import TYPE_CHECKING

from gateway import headers
from gateway.answer import Answer
from gateway.body.csv_rows import HEAD_BYTES
from gateway.body.media import SNIFF_BYTES, Media, sniff
from gateway.collaborators import Fields
from gateway.passage import Nonsense, Passage, record
from gateway.table_stream import TableStream

if TYPE_CHECKING:
    from gateway.delivery import _Head

LONG_BYTES = 4 * 1024 * 1024  # shorter tables are rendered whole
OK = 200
_METHODS = frozenset({"GET", "POST"})
# An entry of the trail has a limit of its own (audit.entry); so many places fit, however long the ids of records are.
_PLACES = 600


async def deliver_table(passage: Passage, answer: Answer, head: "_Head") -> bytes | None:
    """Render and send a long table, and what the CRM gave as its beginning; None when it is none.

    Then nothing was taken from the answer. Raises Refusal, KeysUnavailable, StoreUnavailable, BodyFault, UpstreamError.
    """
    gw, exchange, turn = passage.gw, passage.exchange, passage.turn
    if not _may_be_long(passage, answer, head):
        return None
    kind = sniff(head.content_type, head.disposition, await answer.peek(SNIFF_BYTES))
    if kind is not Media.CSV or not await answer.outgrows(LONG_BYTES):
        return None
    first = await answer.peek(HEAD_BYTES)
    before = turn.stage, turn.allowance
    turn.enter("render", gw.limits.collaborator_s)
    opened = await gw.open_table(exchange, head.looked.copy(), first)
    if opened is None:
        turn.enter(*before)
        return None
    fields, table = opened if isinstance(opened, tuple) and len(opened) == 2 else ([], None)
    if not isinstance(table, TableStream) or not isinstance(fields, list):
        raise Nonsense("reveal")
    try:
        return await _Delivery(passage, answer, fields, table).run()
    except BaseException:
        answer.abandon()
        exchange.shown, exchange.beside, exchange.caught = {}, set(), {}  # of a group that did not leave
        raise


def _may_be_long(passage: Passage, answer: Answer, head: "_Head") -> bool:
    """Whether this may be a table that is long enough, by all that is known of it without its body."""
    exchange = passage.exchange
    return (
        head.tabular
        and not (head.coding or passage.asset)
        and answer.status == OK
        and (answer.length is None or answer.length > LONG_BYTES)
        and exchange.head.method in _METHODS
        and not (exchange.written or exchange.legs or exchange.links)
        and passage.guess is None
    )


class _Delivery:
    """One table while it leaves."""

    def __init__(self, passage: Passage, answer: Answer, fields: Fields, table: TableStream) -> None:
        self._passage, self._answer, self._fields, self._table = passage, answer, fields, table
        self._number = 0
        self._first = b""
        self._caught: dict[str, int] = {}

    async def run(self) -> bytes:
        """Everything to the last row; the beginning as the CRM gave it."""
        passage, groups = self._passage, self._table.groups
        passage.turn.rest("upstream")
        async for chunk in self._answer.chunks():
            for group in groups.feed(chunk):
                await self._release(group)
            passage.turn.rest("upstream")
        await self._release(groups.finish())
        passage.exchange.caught = self._caught
        await passage.send({"type": "http.response.body", "body": b"", "more_body": False})
        return self._first

    async def _release(self, group: bytes) -> None:
        """Render one group, record what it shows, let it go."""
        passage = self._passage
        passage.turn.enter("render", passage.gw.limits.collaborator_s)
        rendered = await self._table.render(group)
        if not isinstance(rendered, bytes):
            raise Nonsense("reveal")
        self._number += 1
        if self._number == 1:
            self._first, self._caught = group, passage.exchange.caught
        await self._record()
        passage.turn.rest("send")
        if not passage.started:
            passage.started = True
            start = {"type": "http.response.start", "status": OK, "headers": headers.encode(self._fields)}
            await passage.send(start)
        if rendered:
            await passage.send({"type": "http.response.body", "body": rendered, "more_body": True})

    async def _record(self) -> None:
        """One entry of the trail, or several where one is too small to name every place."""
        exchange = self._passage.exchange
        shown = list((dict.fromkeys(exchange.beside, 1) | exchange.shown).items())
        exchange.beside = set()
        for at in range(0, max(1, len(shown)), _PLACES):
            exchange.shown = dict(shown[at : at + _PLACES])
            await record(self._passage, "outcome", "", OK, release=self._number)
            exchange.caught = {}
        exchange.shown = {}
