"""Credentials of the CRM that a body carries, such as a refresh token: the deny list counts for them as well.

Asked only for the operations whose profile says so. A body that might hold one in a form that is not understood here is
refused, because the CRM might understand it.
"""

from gateway.access.tokens import digest
from gateway.collaborators import Outgoing
from gateway.network import Tenant
from gateway.passage import Passage
from gateway.refusal import BODY_UNREADABLE, CRM_TOKEN_ENDED, Refusal
from policies.credential import CredentialUnreadable, in_body


async def require_live(passage: Passage, tenant: Tenant, outgoing: Outgoing) -> None:
    """Refuse what was ended or is somebody else's; raises Refusal, StoreUnavailable."""
    exchange = passage.exchange
    operation, principal = exchange.operation, exchange.principal
    names = tenant.profile.credential_bodies.get(operation.id, ()) if operation is not None else ()
    if not names or principal is None:
        return
    if not isinstance(outgoing.body, bytes):  # a stream, or the parts of a form
        if outgoing.body is not None:
            await outgoing.body.close()
        raise Refusal(BODY_UNREADABLE, detail="credential")
    try:
        told = in_body(names, exchange.head.named.get("content-type", ""), outgoing.body)
    except CredentialUnreadable:
        raise Refusal(BODY_UNREADABLE, detail="credential") from None
    passage.turn.enter("access", passage.gw.limits.collaborator_s)
    for credential in told:
        if await passage.gw.sessions.crm_token_allowed(digest(credential).hex(), principal.session_id) is not True:
            raise Refusal(CRM_TOKEN_ENDED)
    passage.turn.rest("access")
