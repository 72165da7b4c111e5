"""One search that stands for several values, asked of a CRM that takes one: once for each, answered as one.

The decision, the trail and the rendering are those of one request. The CRM is asked a bounded number of times and for a
bounded number of rows; when one answer fails, or does not fit the others (gateway.merging), nothing of any is shown.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence

import orjson

from gateway import merging
from gateway.answer import Answer, AnswerTooLarge
from gateway.body import media
from gateway.body.coding import decode_answer
from gateway.body.leaf import Leaf
from gateway.body.limits import Limits
from gateway.exchange import Exchange, Several
from gateway.merging import Leg, Plan
from gateway.refusal import (
    SEARCH_AMBIGUOUS,
    SEARCH_LEG_FAILED,
    SEARCH_NOT_MERGED,
    SEARCH_TOO_WIDE,
    Refusal,
)
from policies.merge import MergeRule

PLAIN = "="
"""The operator of an operand that stands in no clause: what has the value is found."""
AT_ONCE = 4
"""Questions that the CRM gets at the same time."""
ALL_S = 60.0
"""Seconds that all answers to one search may take."""
Path = tuple[str, ...]
# (target, body) → the answer of the CRM, with everything else as in the request at hand
Ask = Callable[[str, bytes], Awaitable[Answer]]
_OK = 200
_REFUSED = 400
# Of one answer, not of several; its length and coding are of the body that it came with.
_DROPPED = frozenset({b"content-length", b"content-encoding", b"etag", b"last-modified", b"link", b"set-cookie"})


def may_ask_each(exchange: Exchange, operator: str = PLAIN) -> bool:
    """Whether the profile says how the answers to several values become one. operator: of a clause."""
    rule = exchange.operation.merge if exchange.operation is not None else None
    return rule is not None and (operator == PLAIN or operator in rule.operators)


def ask_each(exchange: Exchange, leaf: Leaf, text: str, values: Sequence[str]) -> None:
    """Have the CRM asked for each value instead of `text` in a leaf; raises Refusal SEARCH_TOO_WIDE."""
    rule = _rule(exchange)
    each = tuple(dict.fromkeys(leaf.text.replace(text, one) for one in values))
    if len(each) > rule.most:
        raise Refusal(SEARCH_TOO_WIDE)
    leaf.new = each[0]
    if len(each) > 1:
        exchange.several.append(Several(leaf, each))


def require_one(exchange: Exchange) -> None:
    """Raises Refusal SEARCH_AMBIGUOUS where a request that cannot be asked several times would have to be."""
    if exchange.several:
        raise Refusal(SEARCH_AMBIGUOUS)


def combinations(
    exchange: Exchange, own: Collection[int], written: Callable[[], tuple[str, bytes]]
) -> tuple[tuple[str, bytes], ...]:
    """What the CRM is asked, for each combination of values. own: ids of the leaves that `written` writes again.

    Raises Refusal SEARCH_AMBIGUOUS for an operand inside another leaf, SEARCH_TOO_WIDE.
    """
    if any(id(one.leaf) not in own for one in exchange.several):
        raise Refusal(SEARCH_AMBIGUOUS)
    count = 1
    for one in exchange.several:
        count *= len(one.values)
    if count > _rule(exchange).most:
        raise Refusal(SEARCH_TOO_WIDE)
    legs = []
    for values in itertools.product(*(one.values for one in exchange.several)):
        for one, value in zip(exchange.several, values, strict=True):
            one.leaf.new = value
        legs.append(written())
    return tuple(legs)


async def ask_all(
    exchange: Exchange, legs: Sequence[tuple[str, bytes]], ask: Ask, limits: Limits, limit: int, public: str
) -> Answer:
    """One answer to all legs; the CRM's own, where it turns the first one away.

    limit: bytes of all answers together; public: the origin that people use. Raises Refusal SEARCH_…, UpstreamError,
    TimeoutError, BodyFault.
    """
    head = exchange.head
    plan = merging.plan(_rule(exchange), head.query, legs[0][1])
    asking = _Asking(plan, ask, limits, limit)
    exchange.legs = len(legs)
    async with asyncio.timeout(ALL_S):
        first = await asking.first(*legs[0])
        if isinstance(first, Answer):
            return first
        rest = await asking.others(legs[1:])
    document, links = merging.merge(plan, [first, *rest], f"{public}{head.path}", head.query)
    if document is None:
        return _whole(min(plan.rule.empty, default=_OK), asking.fields, b"")
    for place, link in links.items():
        merging.put(document, place, None if link is None else _stand_in(exchange, link))
    return _whole(_OK, asking.fields, merging.write(document))


def linked(exchange: Exchange, body: bytes) -> bytes:
    """A rendered answer with the addresses that point to its other pages: they hold what the person typed himself."""
    for stand_in, link in exchange.links.items():
        body = body.replace(stand_in.encode(), link)
    return body


def _stand_in(exchange: Exchange, link: str) -> str:
    """A text that nothing in an answer can be mistaken for."""
    stand_in = f"crmgate-link-{secrets.token_hex(16)}"
    exchange.links[stand_in] = orjson.dumps(link)[1:-1]
    return stand_in


def _rule(exchange: Exchange) -> MergeRule:
    assert exchange.operation is not None
    assert exchange.operation.merge is not None
    return exchange.operation.merge


def _whole(status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> Answer:
    """An answer that has been read already."""
    answer = Answer(None)
    answer.status, answer.fields = status, fields
    if body:
        answer.take(body)
    answer.finish()
    return answer


class _Asking:
    """Asks for the legs of one search. fields: of the first answer with rows, without what is true of it alone."""

    def __init__(self, plan: Plan, ask: Ask, limits: Limits, limit: int) -> None:
        self._plan, self._ask, self._limits = plan, ask, limits
        self._left = limit
        self._free = asyncio.Semaphore(AT_ONCE)
        self.fields: list[tuple[bytes, bytes]] = []

    async def first(self, target: str, body: bytes) -> Leg | Answer:
        """The leg, or the answer of a CRM that turns it away: that is then what the search is told."""
        answer = await self._page(target, body, 0)
        if answer.status >= _REFUSED:
            return answer
        return await self._leg(target, body, answer)

    async def others(self, legs: Sequence[tuple[str, bytes]]) -> list[Leg]:
        """The other legs, some of them at the same time; one that fails ends the others."""

        async def one(target: str, body: bytes) -> Leg:
            async with self._free:
                return await self._leg(target, body, await self._page(target, body, 0))

        tasks = [asyncio.ensure_future(one(*leg)) for leg in legs]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _page(self, target: str, body: bytes, offset: int) -> Answer:
        return await self._ask(*merging.page_of(self._plan, target, body, offset))

    async def _leg(self, target: str, body: bytes, answer: Answer) -> Leg:
        leg = Leg(self._plan)
        while True:
            document = await self._document(answer)
            if document is None:
                return leg
            following = leg.take(document)
            if following is None:
                return leg
            answer = await self._page(target, body, following)

    async def _document(self, answer: Answer) -> object | None:
        """The JSON of an answer; None of one that says by its status that there are no rows."""
        given = await answer.read(max(self._left, 0))
        named = dict(answer.fields)
        coding = named.get(b"content-encoding", b"").decode("latin-1")
        if coding and given:
            given = decode_answer(coding, given, self._limits)
        self._left -= len(given)
        if self._left < 0:
            raise AnswerTooLarge("the answers are longer than the limit")
        if answer.status in self._plan.rule.empty and not given:
            return None
        kind = media.essence(named.get(b"content-type", b"").decode("latin-1"))
        if answer.status != _OK:
            raise Refusal(SEARCH_LEG_FAILED, detail=str(answer.status))
        if not (kind == "application/json" or kind.endswith("+json")):
            raise Refusal(SEARCH_NOT_MERGED, detail="media")
        if not self.fields:
            self.fields = [pair for pair in answer.fields if pair[0] not in _DROPPED]
        document: object = merging.read(given)
        return document
