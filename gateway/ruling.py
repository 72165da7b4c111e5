"""What the policy says of an exchange and of each of its parts, and the proofs that it asks for."""

from datetime import timedelta

from gateway import headers, stream
from gateway.access.step_up import needs_proof
from gateway.batch import Batch
from gateway.exchange import Principal
from gateway.passage import Nonsense, Passage
from gateway.refusal import BY_DECISION, DEVICE_PROOF_NEEDED, NOT_ALLOWED, STEP_UP_NEEDED, Refusal
from policies.decision import Decision


def decide(passage: Passage, body: bytes | None) -> Decision:
    """What the policy says; raises Refusal NOT_ALLOWED or one of BY_DECISION, BodyFault when nothing can be asked."""
    exchange = passage.exchange
    principal, operation = exchange.principal, exchange.operation
    assert principal is not None
    assert operation is not None
    decision = passage.gw.enforcer.decide(exchange.tenant, principal.roles, operation)
    if not isinstance(decision, Decision):
        raise Nonsense("enforcer")
    if decision.allowed is not True:
        exchange.decision = decision
        stream.require_whole(exchange.head.first("content-type") or "", body, passage.gw.limits)
        raise Refusal(BY_DECISION.get(decision.reason, NOT_ALLOWED))
    _require_proof(passage, principal, decision)
    if exchange.batch is not None:
        _decide_parts(passage, exchange.batch)
    return decision


def _decide_parts(passage: Passage, batch: Batch) -> None:
    """What the policy says of each part; raises Refusal for all of them where one is refused."""
    exchange = passage.exchange
    for inner in batch.exchanges:
        assert inner.principal is not None
        assert inner.operation is not None
        decision = passage.gw.enforcer.decide(exchange.tenant, inner.principal.roles, inner.operation)
        if not isinstance(decision, Decision):
            raise Nonsense("enforcer")
        inner.decision = decision
        if decision.allowed is not True:
            exchange.decision = decision
            raise Refusal(BY_DECISION.get(decision.reason, NOT_ALLOWED))
        _require_proof(passage, inner.principal, decision)


def _require_proof(passage: Passage, principal: Principal, decision: Decision) -> None:
    """Where the policy asks for one, a second factor was proved in this session lately; raises STEP_UP_NEEDED."""
    if decision.proof:
        exchange = passage.exchange
        if needs_proof(principal, timedelta(seconds=passage.gw.limits.proof_s), exchange.received_at):
            exchange.decision = decision
            raise Refusal(STEP_UP_NEEDED)


async def require_device(passage: Passage) -> None:
    """Where the policy asks for a proof, one of the person's device is used up as well; raises DEVICE_PROOF_NEEDED."""
    exchange, gw = passage.exchange, passage.gw
    inner = () if exchange.batch is None else exchange.batch.exchanges
    if not any(one.decision is not None and one.decision.proof for one in (exchange, *inner)):
        return
    passage.turn.enter("access", gw.limits.collaborator_s)
    used = await gw.sessions.use_device_proof(headers.session_token(passage.cookies) or "")
    passage.turn.rest("access")
    if used is not True:
        raise Refusal(DEVICE_PROOF_NEEDED)
