"""The path of one request, from the first byte of its head to the last of its answer (DESIGN, section 3).

`handle` is the whole of it: plain calls in order, one `Exchange` travelling. A stage returns or raises `Refusal`;
whatever else is raised, hangs or is not what it should be becomes a refusal too. Nothing leaves, in either direction,
before the audit trail has it: a read is recorded once before its first byte, a write before it is forwarded and again
before it is answered.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from gateway import graphql, headers, stream
from gateway.access.step_up import AGAIN_PATH, may_send_again
from gateway.admission import admit, require_own
from gateway.answer import Answer
from gateway.batch import take_apart
from gateway.body.coding import decode_stream
from gateway.body.media import essence
from gateway.carried import require_live
from gateway.collaborators import Gateway, Message, Outgoing, Receive, Scope, Send
from gateway.delivery import deliver
from gateway.exchange import Exchange, Head
from gateway.faults import reason_for
from gateway.guesses import Guesses
from gateway.identity.face import Identity
from gateway.merged import ask_all
from gateway.network import Tenant, locate, require_same_site
from gateway.newest import Newest
from gateway.origin import is_rewritten
from gateway.passage import AnswerAborted, Nonsense, Passage, record
from gateway.refusal import (
    AUDIT_UNAVAILABLE,
    BODY_TOO_LARGE,
    DEVICE_NEEDED,
    UPGRADE_REFUSED,
    Refusal,
)
from gateway.respond import OWN_PREFIX, send_refusal, send_signed_out
from gateway.ruling import decide, require_device
from gateway.showing import Showing
from policies import soap
from policies.operation import WRITES
from policies.profile import UNMATCHED_WRITE, Action, Operation

__all__ = ["AnswerAborted", "handle"]

NO_HEAD = Head("", "", "", "", "", (), False, None)  # until the head is parsed
_READS = frozenset({Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT, Action.ASSET})


async def handle(gw: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request of the data plane (ASGI)."""
    if scope["type"] != "http":
        raise Refusal(UPGRADE_REFUSED)
    exchange = Exchange(gw.new_id(), gw.clock(), NO_HEAD)
    turn = gw.watch.begin()
    passage = Passage(gw, scope, receive, send, exchange, turn)
    try:
        exchange.head = head = headers.parse(scope)
        passage.tenant, exchange.client_address = locate(gw.tenants, gw.network, scope, head)
        exchange.tenant = passage.tenant.name
        if head.path.startswith(OWN_PREFIX):
            await _own_pages(passage, passage.tenant)
            return
        await admit(passage, passage.tenant)
        body = await _classify(passage, passage.tenant)
        exchange.decision = decide(passage, body)
        await require_device(passage)
        if passage.tenant.identity is not None and await _stands_in(passage, passage.tenant.identity):
            return
        if not exchange.decision.view.sees_everything and _is_write(exchange):
            for one in exchange.batch.exchanges if exchange.batch is not None else (exchange,):
                one.showing = _showing(passage, passage.tenant, one)
        if exchange.operation is not None and "newest" in exchange.operation.extra:
            exchange.newest = Newest(passage.tenant, exchange, passage.cookies, passage.withheld)
        outgoing, rest = await _protect(passage, body)
        if passage.tenant.profile.credential_bodies:
            await require_live(passage, passage.tenant, outgoing)
        passage.outgoing = outgoing
        if not exchange.decision.view.sees_everything and passage.tenant.guesses is not None:
            await _count(passage, passage.tenant.guesses)
        if _is_write(exchange):
            await _record_decision(passage, outgoing)
        if outgoing.legs:
            answer = await _forward_each(passage, passage.tenant, outgoing)
        else:
            answer = await _forward(passage, passage.tenant, outgoing, rest)
        await deliver(passage, passage.tenant, answer)
    except asyncio.CancelledError as fault:
        if not turn.absorb():
            raise
        await _refuse(passage, fault)
    except Exception as fault:
        await _refuse(passage, fault)
    finally:
        turn.end()


async def _own_pages(passage: Passage, tenant: Tenant) -> None:
    """Sign-in and its like: served here, on the CRM's host, before any session exists."""
    gw, exchange, scope = passage.gw, passage.exchange, passage.scope
    require_same_site(exchange.head, tenant)
    left = gw.limits.own_body

    async def bounded() -> Message:
        nonlocal left
        message = await passage.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise Refusal(BODY_TOO_LARGE)
        return message

    async def noted(message: Message) -> None:
        passage.started = True
        await passage.send(message)

    scope["client"] = (exchange.client_address, scope["client"][1])
    scope["state"] = {**scope.get("state", {}), "tenant": tenant.name, "exchange": exchange.id}
    await gw.sign_in_app(scope, bounded, noted)


async def _stands_in(passage: Passage, identity: Identity) -> bool:
    """Give the exchange what it bears towards the CRM; True when it was a sign-out, which is done with that."""
    exchange, turn = passage.exchange, passage.turn
    turn.enter("identity", passage.gw.limits.upstream_s)
    if not identity.leaves(exchange):
        await identity.bear(exchange)
        turn.rest("identity")
        return False
    await record(passage, "decision", "", 0)
    await identity.leave(exchange)
    turn.rest("send")
    passage.started = True
    await send_signed_out(passage.scope, passage.send, secure=passage.tenant is None or passage.tenant.origins.secure)
    return True


async def _classify(passage: Passage, tenant: Tenant) -> bytes | None:
    """What is asked for; the body comes along when the profile had to read it."""
    exchange, gw = passage.exchange, passage.gw
    head, profile, body = exchange.head, tenant.profile, None
    if profile.needs_body(head.method, head.path):
        body = b""
        if head.has_body:
            _require_length(head, gw.limits.body)
            body = await stream.read(passage.receive, passage.turn, gw.limits.body, gw.limits.body_pause_s)
            body = stream.unpack(head.first("content-encoding"), body, gw.limits)
    operation = profile.classify(head.method, head.path, head.query, body, head.named.get("content-type", ""))
    if not isinstance(operation, Operation):
        raise Nonsense("profile")
    if "soap" in operation.extra and not soap.agrees(
        operation.extra, head.named.get("content-type", ""), head.all("soapaction")
    ):
        operation = UNMATCHED_WRITE
    exchange.operation = operation
    if body and (credentials := profile.body_credentials(head.named.get("content-type", ""), body)):
        await require_own(passage, credentials)
    if operation.graphql is not None:
        exchange.batch = graphql.take_apart(exchange, operation.graphql, gw.new_id)
    elif operation.batch is not None:
        content_type = head.named.get("content-type", "")
        exchange.batch = take_apart(exchange, profile, body or b"", content_type, gw.new_id)
    passage.asset = operation.action is Action.ASSET
    return body


def _showing(passage: Passage, tenant: Tenant, exchange: Exchange) -> Showing:
    """What tells the way in, if it has to know, what the CRM shows this person of the record now."""
    principal = passage.exchange.principal
    assert principal is not None
    decide = partial(passage.gw.enforcer.decide, tenant.name, principal.roles)
    return Showing(tenant, exchange, passage.cookies, passage.withheld, decide)


async def _protect(passage: Passage, body: bytes | None) -> tuple[Outgoing, AsyncIterator[bytes] | None]:
    """What goes to the CRM instead of what came; a body that nothing looks into is handed on as a stream."""
    gw, head, turn = passage.gw, passage.exchange.head, passage.turn
    limits, content_type = gw.limits, head.named.get("content-type", "")
    if body is None and not head.has_body:
        return await _protected(passage, content_type, b"", None)
    coding = head.first("content-encoding")
    rest: AsyncIterator[bytes] | None = None
    given: bytes | AsyncIterator[bytes] | None = body
    if body is None:
        incoming = stream.chunks(passage.receive, turn, limits.upload, limits.body_pause_s)
        if essence(content_type).startswith("multipart/"):
            _require_length(head, limits.upload)
            given = decode_stream(coding, incoming, limits.bodies) if coding else incoming
        else:
            first = await anext(incoming, b"")
            if not coding and stream.is_opaque(content_type, first):
                _require_length(head, limits.upload)
                rest = stream.prepend(first, incoming)
            else:
                _require_length(head, limits.body)
                given = stream.unpack(coding, await stream.gather(first, incoming, limits.body), limits)
    return await _protected(passage, content_type, given, rest)


async def _protected(
    passage: Passage, content_type: str, given: bytes | AsyncIterator[bytes] | None, rest: AsyncIterator[bytes] | None
) -> tuple[Outgoing, AsyncIterator[bytes] | None]:
    gw = passage.gw
    passage.turn.enter("protect", gw.limits.collaborator_s)
    outgoing = await gw.protect_request(passage.exchange, content_type, given)
    if not isinstance(outgoing, Outgoing) or (outgoing.body is None) != (rest is not None):
        raise Nonsense("tokenise")
    return outgoing, rest


def _require_length(head: Head, limit: int) -> None:
    if head.content_length is not None and head.content_length > limit:
        raise Refusal(BODY_TOO_LARGE)


def _is_write(exchange: Exchange) -> bool:
    """Whether the CRM may change something: by what the profile knows of the operation, else by the method."""
    if exchange.batch is not None and any(map(_is_write, exchange.batch.exchanges)):
        return True
    action = exchange.operation.action if exchange.operation is not None else Action.OTHER
    return action in WRITES or (action not in _READS and exchange.head.method not in headers.SAFE_METHODS)


async def _record_decision(passage: Passage, outgoing: Outgoing) -> None:
    """A write is in the trail before it is forwarded, so that none can happen unseen."""
    try:
        await record(passage, "decision", "", 0)
    except BaseException:
        if outgoing.body is not None and not isinstance(outgoing.body, bytes):
            await outgoing.body.close()
        raise
    passage.decided = True
    passage.turn.session = ""  # the CRM does it or does not: its answer is awaited, whatever becomes of the session


async def _forward(passage: Passage, tenant: Tenant, outgoing: Outgoing, rest: AsyncIterator[bytes] | None) -> Answer:
    """Ask the CRM."""
    exchange, origins, body = passage.exchange, tenant.origins, outgoing.body
    head = exchange.head
    chunks: bytes | AsyncIterator[bytes]
    length: int | None
    if isinstance(body, bytes):
        if body:
            content_type = outgoing.content_type if outgoing.content_type is not None else head.first("content-type")
            if is_rewritten(content_type or ""):
                body = origins.to_upstream(body)
        chunks, length = body, len(body)
    elif body is None:
        assert rest is not None
        chunks, length = rest, head.content_length
    else:
        chunks, length = body.chunks(), body.length

    async def ask() -> Answer:
        request = headers.upstream_headers(
            head,
            exchange,
            tenant,
            target=origins.target_to_upstream(outgoing.target),
            length=length,
            pairs=passage.cookies,
            content_type=outgoing.content_type,
            referer=outgoing.referer,
            asset=passage.asset,
            withheld=passage.withheld,
        )
        answer = await tenant.pool.request(head.method.encode("ascii"), request, chunks, length)
        if not isinstance(answer, Answer):
            raise Nonsense("upstream")
        return answer

    if isinstance(chunks, bytes):
        passage.turn.enter("upstream", passage.gw.limits.upstream_s)
    else:
        passage.turn.rest("upstream")  # the client and the pool have limits of their own
    try:
        answer = await ask()
        if tenant.identity is not None:
            answer = await tenant.identity.settle(exchange, answer, ask if isinstance(chunks, bytes) else None)
        return answer
    finally:
        if body is not None and not isinstance(body, bytes):
            await body.close()


async def _count(passage: Passage, guesses: Guesses) -> None:
    """Hold what somebody of a restricted role asks about values he does not see against his budgets."""
    exchange = passage.exchange
    if exchange.searched:
        guesses.search(exchange)
    unique = exchange.operation is not None and exchange.operation.unique is not None
    if unique or (exchange.batch is not None and exchange.written):
        passage.turn.enter("audit", passage.gw.limits.collaborator_s)
        passage.guess = await guesses.reserve(exchange)


async def _forward_each(passage: Passage, tenant: Tenant, outgoing: Outgoing) -> Answer:
    """Ask the CRM once for each value that a search stands for."""
    limits = passage.gw.limits

    async def ask(target: str, body: bytes) -> Answer:
        return await _forward(passage, tenant, replace(outgoing, target=target, body=body, legs=()), None)

    return await ask_all(passage.exchange, outgoing.legs, ask, limits.bodies, limits.answer, tenant.origins.public)


async def _refuse(passage: Passage, fault: BaseException) -> None:
    """End an exchange: say why, in the trail and to the person; nothing of the CRM's answer leaves."""
    gw, exchange, turn = passage.gw, passage.exchange, passage.turn
    refusal = reason_for(fault, turn.expired or turn.stage)
    if refusal.fault:
        gw.note_fault(exchange.id, turn.expired or turn.stage, refusal.fault)
    turn.rest("refuse")
    ended = refusal.refusal
    if passage.guess is not None:
        await _give_back(passage)
    if exchange.operation is UNMATCHED_WRITE:
        gw.learner.refused(exchange)
    if passage.started:
        # Part of the answer is out. The trail gets the break as well, but cannot hold anything back any more.
        await _try_append(passage, ended)
        raise AnswerAborted(ended.reason.id)
    if exchange.principal is None:
        gw.count_refusal(exchange.tenant, exchange.client_address, ended.reason.id, ended.reason.status)
    elif not await _try_append(passage, ended):
        ended = Refusal(AUDIT_UNAVAILABLE)
    if ended.reason is DEVICE_NEEDED and await _keep_form(passage):
        return
    secure = passage.tenant is None or passage.tenant.origins.secure
    await send_refusal(passage.scope, passage.send, ended, exchange.id, secure=secure)


async def _keep_form(passage: Passage) -> bool:
    """A form that came before its browser proved itself is handed back to it, to be sent again; whether it was."""
    head, tenant = passage.exchange.head, passage.tenant
    if tenant is None or not may_send_again(head, passage.gw.limits.own_body):
        return False
    query = f"next={quote(head.target, safe='')}".encode("ascii")
    scope = passage.scope
    scope["path"], scope["raw_path"], scope["query_string"] = AGAIN_PATH, AGAIN_PATH.encode("ascii"), query
    try:
        await _own_pages(passage, tenant)
    except Exception as fault:
        passage.gw.note_fault(passage.exchange.id, "refuse", type(fault).__name__)
        if passage.started:
            raise AnswerAborted(DEVICE_NEEDED.id) from fault
        return False
    return True


async def _give_back(passage: Passage) -> None:
    """Tries of a write that got no answer; where that fails they stay counted."""
    assert passage.tenant is not None
    assert passage.guess is not None
    given, passage.guess = passage.guess, None
    try:
        if passage.tenant.guesses is not None:
            async with asyncio.timeout(passage.gw.limits.collaborator_s):
                await passage.tenant.guesses.give_back(given)
    except Exception as fault:
        passage.gw.note_fault(passage.exchange.id, "guesses", type(fault).__name__)


async def _try_append(passage: Passage, refusal: Refusal) -> bool:
    """Record a refusal of somebody known; False when the trail does not take it."""
    if passage.exchange.principal is None:
        return True
    try:
        async with asyncio.timeout(passage.gw.limits.collaborator_s):
            kind = "outcome" if passage.decided else "refusal"
            await record(passage, kind, refusal.reason.id, refusal.reason.status, refusal.fields)
    except Exception as fault:
        passage.gw.note_fault(passage.exchange.id, "audit", type(fault).__name__)
        return False
    return True
