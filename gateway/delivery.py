"""The last stretch of an exchange: the CRM's answer is mapped, rendered, recorded, and let go.

Nothing leaves before the trail has it. A body nobody has to look into goes on as it comes; when it breaks off, so does
ours.
"""

from collections.abc import Iterable
from functools import lru_cache

from gateway import headers, opaque, stream
from gateway.answer import Answer
from gateway.body.coding import decode_answer
from gateway.body.media import may_be_table
from gateway.collaborators import Fields
from gateway.cycle import write_lines
from gateway.download import deliver_file
from gateway.merged import linked
from gateway.network import Tenant
from gateway.origin import Origins, is_rewritten
from gateway.passage import Nonsense, Passage, record
from gateway.table_delivery import deliver_table
from policies.operation import UNMATCHED_READ

_BODILESS_STATUS = frozenset({204, 304})
_DROPPED = (b"date", b"content-length")  # never handed on (gateway.headers), and new with every answer
# Of one person or one answer: a head with one of them is not kept.
_FLEETING = frozenset(
    {b"set-cookie", b"location", b"content-disposition", b"etag", b"last-modified", b"expires", b"www-authenticate"}
)
_KEPT_HEADS = 128


class _Head:
    """The fields of an answer and what follows from them alone; nothing changes it.

    fields: with public URLs; looked: those of a body the gateway has read; block: the same as lines.
    """

    __slots__ = (
        "block", "coding", "content_type", "disposition", "fields", "looked", "opened", "rewritten", "tabular",
    )  # fmt: skip

    def __init__(self, origins: Origins, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self.fields = origins.answer_fields(headers.answer_fields(raw))
        named = dict(self.fields)
        self.content_type, self.coding = named.get("content-type", ""), named.get("content-encoding", "")
        self.disposition = named.get("content-disposition", "")
        self.opened = stream.is_always_opened(self.content_type)
        self.rewritten = is_rewritten(self.content_type)
        self.tabular = not self.rewritten and may_be_table(self.content_type)
        self.looked = headers.looked_into(self.fields, secure=origins.secure)
        self.block: bytes | None = None


def _read_head(origins: Origins, raw: list[tuple[bytes, bytes]]) -> _Head:
    """The head of an answer; most of a CRM's answers have one of a few."""
    named = dict(raw)
    if len(named) != len(raw) or not _FLEETING.isdisjoint(named):
        return _Head(origins, raw)
    for name in _DROPPED:
        named.pop(name, None)
    return _usual_head(origins, tuple(named.items()))


@lru_cache(maxsize=_KEPT_HEADS)
def _usual_head(origins: Origins, raw: tuple[tuple[bytes, bytes], ...]) -> _Head:
    head = _Head(origins, raw)
    head.block = write_lines(head.looked)
    return head


async def deliver(passage: Passage, tenant: Tenant, answer: Answer) -> None:
    """Render the answer for the person who asked, record what goes out, let it go."""
    gw, exchange, turn = passage.gw, passage.exchange, passage.turn
    origins, decision = tenant.origins, exchange.decision
    assert decision is not None
    asset = passage.asset
    try:
        head = _read_head(origins, answer.fields)
        coding = head.coding
        if (
            not (asset or coding)
            and (head.disposition or not head.opened)
            and await deliver_file(passage, answer, head)
        ):
            return
        past = (asset or not head.opened) and await stream.flows_past(
            answer,
            exchange.head.method,
            head.content_type,
            coding,
            head.disposition,
            asset=asset,
            view=decision.view,
            most=gw.limits.answer,
            opaque=opaque.rule_of(exchange).answers,
        )
        if past:
            turn.rest("upstream")
            await _flow(passage, answer, headers.streamed_past(head.fields, secure=origins.secure))
            return
        beginning = await deliver_table(passage, answer, head) if head.tabular else None
        if beginning is not None:
            _tell(passage, answer.status, head.looked, beginning)
            return
        body = await answer.read(gw.limits.answer)
        if coding and body:
            body = decode_answer(coding, body, gw.limits.bodies)
        if body and head.rewritten:
            body = origins.to_public(body)
        given = body
        guessed = exchange.written or passage.guess is not None
        if guessed and not decision.view.sees_everything and tenant.guesses is not None:
            turn.enter("audit", gw.limits.collaborator_s)
            guess, passage.guess = passage.guess, None
            await tenant.guesses.told(exchange, guess, answer.status, body, head.content_type)
        turn.enter("render", gw.limits.collaborator_s)
        rendered = await gw.render_answer(exchange, answer.status, head.looked.copy(), body)
        fields, body = _require_rendered(rendered)
        if exchange.links:
            body = linked(exchange, body)
        await record(passage, "outcome", "", answer.status)
    except BaseException:
        answer.abandon()
        raise
    await _send_whole(passage, answer.status, fields, body, head.block if fields == head.looked else None)
    _tell(passage, answer.status, head.looked, given)


def _tell(passage: Passage, status: int, fields: Fields, given: bytes) -> None:
    """Hand an exchange that has ended to learning, if it is to know, as the CRM saw it and answered."""
    learner, exchange, outgoing = passage.gw.learner, passage.exchange, passage.outgoing
    if not (exchange.tenant in learner.watched or exchange.caught or exchange.operation is UNMATCHED_READ):
        return
    if outgoing is not None:
        sent = outgoing.body if isinstance(outgoing.body, bytes) else None
        content_type = outgoing.content_type or exchange.head.named.get("content-type", "")
        learner.note(exchange, outgoing.target, content_type, sent, status, fields, given)
    if exchange.caught:
        learner.caught(exchange, status, fields, given)


def _require_rendered(rendered: object) -> tuple[Fields, bytes]:
    if not isinstance(rendered, tuple) or len(rendered) != 2:
        raise Nonsense("reveal")
    fields, body = rendered
    if not isinstance(fields, list) or not isinstance(body, bytes):
        raise Nonsense("reveal")
    return fields, body


async def _send_whole(passage: Passage, status: int, fields: Fields, body: bytes, block: bytes | None) -> None:
    passage.turn.rest("send")
    respond = passage.scope.get(headers.RESPOND)
    if respond is not None and respond(status, fields, body, block):
        passage.started = True
        return
    out = headers.encode(fields)
    if passage.exchange.head.method != "HEAD" and status not in _BODILESS_STATUS:
        out.append((b"content-length", b"%d" % len(body)))
    passage.started = True
    await passage.send({"type": "http.response.start", "status": status, "headers": out})
    await passage.send({"type": "http.response.body", "body": body, "more_body": False})


async def _flow(passage: Passage, answer: Answer, fields: Fields) -> None:
    """Hand an answer on as it comes; when it breaks off, so does ours."""
    out = headers.encode(fields)
    if answer.length is not None:
        out.append((b"content-length", b"%d" % answer.length))
    if not (passage.asset and passage.exchange.head.method in headers.SAFE_METHODS):
        await record(passage, "outcome", "", answer.status)
    passage.turn.rest("send")
    passage.started = True
    await passage.send({"type": "http.response.start", "status": answer.status, "headers": out})
    async for chunk in answer.chunks():
        await passage.send({"type": "http.response.body", "body": chunk, "more_body": True})
    await passage.send({"type": "http.response.body", "body": b"", "more_body": False})
