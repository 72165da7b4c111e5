"""The audit entry of an exchange as it stands: who did what, and which fields went out in which form.

Names and counts, never a value: what a request or an answer held stays out of the trail.
"""

from collections.abc import Mapping

from audit.entry import AuditEntry
from audit.passage import ACCOUNT_CHANGE, ACCOUNT_READ, SIGN_IN_FAILED
from gateway.batch import names
from gateway.exchange import Exchange
from policies.operation import Action, Operation

_READS = frozenset({Action.READ, Action.LIST, Action.SEARCH})
_STAFF = "staff"  # what every profile calls accounts of the CRM's own users


def describe(
    exchange: Exchange,
    entry_id: str,
    kind: str,
    reason: str,
    status: int,
    refused: tuple[str, ...] = (),
    release: int = 0,
) -> AuditEntry:
    """The audit entry of an exchange as it stands; names and counts, never a value."""
    principal, operation, decision = exchange.principal, exchange.operation, exchange.decision
    actor = login = crm_user = entity = name = record = policy = ""
    if principal is not None:
        actor, login, crm_user = principal.id, principal.login, principal.crm_login
    if operation is not None:
        entity, name, record = operation.entity, operation.id, operation.record or ""
    signs_in = operation is not None and operation.action is Action.LOGIN
    if kind == "outcome" and signs_in and exchange.crm_signed_in is False:
        reason = reason or SIGN_IN_FAILED
    if decision is not None:
        policy, reason = decision.view.policy_version, reason or decision.reason
    return AuditEntry(
        actor=actor,
        actor_login=login,
        at=exchange.received_at,
        client=exchange.client_address,
        crm_user=crm_user or exchange.crm_user or "",
        entity=entity,
        exchange=exchange.id,
        fields=_details(exchange, refused, release),
        id=entry_id,
        kind=kind,
        method=exchange.head.method,
        operation=name,
        path_shape=name,
        policy=policy,
        reason=reason,
        record=record,
        status=status,
        tenant=exchange.tenant,
    )


def action_of(operation: Operation, method: str) -> str:
    """What an operation does, as the catalogue of events names it (audit.passage)."""
    if operation.entity == _STAFF or "accounts" in operation.extra:
        looks = operation.action in _READS or method in ("GET", "HEAD")
        return ACCOUNT_READ if looks else ACCOUNT_CHANGE
    return operation.action.value


def _details(exchange: Exchange, refused: tuple[str, ...], release: int) -> Mapping[str, object]:
    principal = exchange.principal
    details: dict[str, object] = {} if principal is None else {"roles": principal.roles, **principal.trace}
    if exchange.operation is not None:
        details["detail"] = action_of(exchange.operation, exchange.head.method)
    if exchange.shown:
        shown: dict[str, dict[str, dict[str, int]]] = {}
        told = dict.fromkeys(exchange.beside, 1) | exchange.shown if exchange.beside else exchange.shown
        for (entity, name, record, form), count in told.items():
            label = f"{entity}.{name}"
            if label in shown:
                shown[label].setdefault(record, {})[form.lower()] = count
            else:
                shown[label] = {record: {form.lower(): count}}  # nearly always: one form of one record
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
    if exchange.batch is not None:
        details["parts"] = list(names(exchange.batch.exchanges))
    if exchange.legs:
        details["legs"] = exchange.legs
    if exchange.searched:
        details["filters"] = sorted(set(exchange.searched))
    if refused:
        details["refused"] = refused
    if release:
        details["release"] = release
    return details
