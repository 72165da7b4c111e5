"""The last stretch of an exchange: the CRM's answer is mapped, rendered, recorded, and let go.

Nothing leaves before the trail has it. A body nobody has to look into goes on as it comes; when it breaks off, so does
ours.
"""

from gateway import headers, stream
from gateway.answer import Answer
from gateway.body.coding import decode_answer
from gateway.collaborators import Fields
from gateway.network import Tenant
from gateway.origin import is_rewritten
from gateway.passage import Nonsense, Passage, record

_BODILESS_STATUS = frozenset({204, 304})


async def deliver(passage: Passage, tenant: Tenant, answer: Answer) -> None:
    """Render the answer for the person who asked, record what goes out, let it go."""
    gw, exchange, turn = passage.gw, passage.exchange, passage.turn
    origins, decision = tenant.origins, exchange.decision
    assert decision is not None
    fields = origins.answer_fields(headers.answer_fields(answer.fields))
    named = dict(fields)
    content_type, coding = named.get("content-type", ""), named.get("content-encoding", "")
    asset = passage.asset
    try:
        past = (asset or not stream.is_always_opened(content_type)) and await stream.flows_past(
            answer,
            exchange.head.method,
            content_type,
            coding,
            named.get("content-disposition", ""),
            asset=asset,
            view=decision.view,
        )
        if past:
            turn.rest("upstream")
            await _flow(passage, answer, headers.streamed_past(fields, secure=origins.secure))
            return
        body = await answer.read(gw.limits.answer)
        if coding and body:
            body = decode_answer(coding, body, gw.limits.bodies)
        if body and is_rewritten(content_type):
            body = origins.to_public(body)
        fields = headers.looked_into(fields, secure=origins.secure)
        turn.enter("render", gw.limits.collaborator_s)
        rendered = await gw.render_answer(exchange, answer.status, fields, body)
        fields, body = _require_rendered(rendered)
        await record(passage, "outcome", "", answer.status)
    except BaseException:
        answer.abandon()
        raise
    await _send_whole(passage, answer.status, fields, body)


def _require_rendered(rendered: object) -> tuple[Fields, bytes]:
    if not isinstance(rendered, tuple) or len(rendered) != 2:
        raise Nonsense("reveal")
    fields, body = rendered
    if not isinstance(fields, list) or not isinstance(body, bytes):
        raise Nonsense("reveal")
    return fields, body


async def _send_whole(passage: Passage, status: int, fields: Fields, body: bytes) -> None:
    passage.turn.rest("send")
    respond = passage.scope.get(headers.RESPOND)
    if respond is not None and respond(status, fields, body):
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
