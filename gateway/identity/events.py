"""Audit entries about identity towards a CRM: sign-ins on somebody's behalf, their ends, what was refused."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from audit.entry import AuditEntry
from gateway.access.deps import Trail
from gateway.exchange import Exchange, Principal

KIND = "identity"
SIGN_IN = "identity.sign_in"
SIGN_OUT = "identity.sign_out"
CREDENTIAL = "identity.credential"
OIDC = "identity.oidc"


class IdentityTrail:
    """The writing side; every method raises AuditUnavailable, and then what it is about must not happen."""

    def __init__(self, audit: Trail, clock: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._audit = audit
        self._clock = clock
        self._new_id = new_id

    async def note(
        self,
        principal: Principal,
        operation: str,
        reason: str,
        *,
        status: int = 0,
        crm_login: str = "",
        exchange: Exchange | None = None,
        client: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one event about a principal."""
        await self._audit.append(
            AuditEntry(
                id=self._new_id(),
                at=self._clock(),
                tenant=principal.tenant,
                kind=KIND,
                actor=principal.id,
                actor_login=principal.login,
                crm_user=crm_login,
                client=exchange.client_address if exchange is not None else client,
                method="",
                path_shape="",
                operation=operation,
                entity="",
                record="",
                reason=reason,
                status=status,
                policy="",
                fields={**(fields or {}), **principal.trace},
                exchange=exchange.id if exchange is not None else "",
            )
        )
