"""Audit entries about signing in and accounts; appended before the answer leaves.

What was typed as a login is written only when it is somebody's login: people type passwords there. Refusals of nobody
known are handed to the counter where there is one.
"""

from collections.abc import Mapping
from typing import Any

from audit.entry import AuditEntry
from gateway.access.deps import AccessDeps, client_of
from gateway.access.user import AppUser
from gateway.exchange import Principal

OPERATION_SIGN_IN = "access.sign_in"
OPERATION_ACCOUNT = "access.account"
OPERATION_ENTRY = "access.entry"
OPERATION_SET_UP = "access.set_up"


async def note(
    deps: AccessDeps,
    scope: Mapping[str, Any],
    reason: str,
    status: int,
    *,
    user: AppUser | Principal | None = None,
    operation: str = OPERATION_SIGN_IN,
    kind: str = "sign-in",
    fields: Mapping[str, Any] | None = None,
    path_shape: str = "",
) -> None:
    """Append one event; raises AuditUnavailable, and then nothing may be answered but 503."""
    tenant, client = deps.tenant_of(scope), client_of(scope)
    traced = user.trace if isinstance(user, Principal) else {}
    if user is None and status >= 400 and deps.count_refusal is not None:
        deps.count_refusal(tenant, client, reason, status)
        return
    await deps.audit.append(
        AuditEntry(
            actor="" if user is None else user.id,
            actor_login="" if user is None else user.login,
            at=deps.clock(),
            client=client,
            crm_user="" if user is None else user.crm_user or "",
            exchange=str(scope.get("state", {}).get("exchange", "")),
            fields=dict(fields or {}) | traced,
            id=deps.new_id(),
            kind=kind,
            method=str(scope.get("method", "")),
            operation=operation,
            path_shape=path_shape,
            reason=reason,
            status=status,
            tenant=tenant,
        )
    )


async def note_account(
    deps: AccessDeps,
    scope: Mapping[str, Any],
    person: Principal,
    reason: str,
    status: int,
    path_shape: str,
    fields: Mapping[str, Any] | None = None,
) -> None:
    """Append what somebody signed in did to their own account; raises AuditUnavailable."""
    await note(
        deps, scope, reason, status, user=person, operation=OPERATION_ACCOUNT, fields=fields, path_shape=path_shape
    )
