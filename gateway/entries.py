"""The audit entry of an exchange as it stands: who did what, and which fields went out in which form.

Names and counts, never a value: what a request or an answer held stays out of the trail.
"""

from collections.abc import Mapping

from audit.entry import AuditEntry
from gateway.exchange import Exchange


def describe(
    exchange: Exchange, entry_id: str, kind: str, reason: str, status: int, refused: tuple[str, ...] = ()
) -> AuditEntry:
    """The audit entry of an exchange as it stands; names and counts, never a value."""
    principal, operation, decision = exchange.principal, exchange.operation, exchange.decision
    return AuditEntry(
        actor=principal.id if principal is not None else "",
        actor_login=principal.login if principal is not None else "",
        at=exchange.received_at,
        client=exchange.client_address,
        crm_user=(principal.crm_login if principal is not None else "") or exchange.crm_user or "",
        entity=operation.entity if operation is not None else "",
        exchange=exchange.id,
        fields=_details(exchange, refused),
        id=entry_id,
        kind=kind,
        method=exchange.head.method,
        operation=operation.id if operation is not None else "",
        path_shape=operation.id if operation is not None else "",
        policy=decision.view.policy_version if decision is not None else "",
        reason=reason or (decision.reason if decision is not None else ""),
        record=(operation.record or "") if operation is not None else "",
        status=status,
        tenant=exchange.tenant,
    )


def _details(exchange: Exchange, refused: tuple[str, ...]) -> Mapping[str, object]:
    details: dict[str, object] = {}
    if exchange.principal is not None:
        details["roles"] = exchange.principal.roles
        details["session"] = exchange.principal.session_id
    if exchange.shown:
        shown: dict[str, dict[str, dict[str, int]]] = {}
        for (entity, name, record, form), count in exchange.shown.items():
            shown.setdefault(f"{entity}.{name}", {}).setdefault(record, {})[form.lower()] = count
        details["shown"] = shown
    if exchange.caught:
        # Plain text keys: a kind is a StrEnum, which the encoder of the trail refuses.
        details["caught"] = {str(kind): count for kind, count in exchange.caught.items()}
    if exchange.written:
        kinds: dict[str, int] = {}
        for _, _, kind in exchange.written:
            kinds[str(kind)] = kinds.get(str(kind), 0) + 1
        details["tokenised"] = kinds
        details["written"] = sorted({f"{entity}.{name}" for entity, name, _ in exchange.written})
    if exchange.searched:
        details["filters"] = sorted(set(exchange.searched))
    if refused:
        details["refused"] = refused
    return details
