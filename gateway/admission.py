"""Who asks: a person with a session that passed both factors, or a program with a credential of ours."""

from gateway import headers
from gateway.activity import is_activity
from gateway.entry import require_entry
from gateway.exchange import Exchange, Principal
from gateway.identity.api_client import PREFIX as CLIENT_PREFIX
from gateway.identity.face import Identity
from gateway.network import Tenant, require_same_site
from gateway.passage import Nonsense, Passage
from gateway.refusal import AMBIGUOUS_FRAMING, CLIENT_UNKNOWN, CRM_TOKEN_ENDED, SIGN_IN_REQUIRED, Refusal


async def admit(passage: Passage, tenant: Tenant) -> None:
    """Who asks: a session with both factors, from a page of our own, with CRM credentials that are this person's."""
    gw, exchange, turn = passage.gw, passage.exchange, passage.turn
    require_same_site(exchange.head, tenant)
    passage.cookies = pairs = headers.cookies(exchange.head)
    token = headers.session_token(pairs)
    if tenant.identity is not None and (given := tenant.identity.client_token(exchange.head)):
        await _admit_program(passage, tenant.identity, given, token)
        _require_entry(exchange, tenant)
        return
    if not token:
        raise Refusal(SIGN_IN_REQUIRED)
    active = is_activity(exchange.head, tenant.profile.polling)
    principal = gw.sessions.cached(token, exchange.received_at, tenant=tenant.name, active=active)
    if principal is None:
        turn.enter("access", gw.limits.collaborator_s)
        principal = await gw.sessions.principal(token, exchange.received_at, tenant=tenant.name, active=active)
        turn.rest("access")
    if not isinstance(principal, Principal) or principal.tenant != tenant.name:
        raise Nonsense("sessions")
    turn.session = principal.session_id
    exchange.principal, exchange.crm_user, exchange.language = principal, principal.crm_user, principal.language
    _require_entry(exchange, tenant)
    profile = tenant.profile
    credentials = headers.crm_tokens(profile.session_cookies, exchange.head, pairs, profile.credential_headers)
    if "authorization" in credentials and CLIENT_PREFIX in (exchange.head.first("authorization") or ""):
        raise Refusal(CLIENT_UNKNOWN)  # a credential of ours, which no CRM may see
    if credentials and tenant.identity is not None:
        passage.withheld = tenant.identity.withheld(principal)
        if "authorization" in passage.withheld:
            passage.withheld |= profile.credential_headers
        credentials = {place: one for place, one in credentials.items() if place not in passage.withheld}
    if credentials:
        turn.enter("access", gw.limits.collaborator_s)
        for place, digest in credentials.items():
            allowed = await gw.sessions.crm_token_allowed(digest, principal.session_id)
            if allowed is True:
                continue
            if place == "authorization" or place in profile.credential_headers:
                raise Refusal(CRM_TOKEN_ENDED)
            passage.withheld |= {place}  # a browser keeps sending it: the CRM shall ask for its own sign-in again
        turn.rest("access")


def _require_entry(exchange: Exchange, tenant: Tenant) -> None:
    """Raise Refusal PLACE_NOT_ALLOWED or HOUR_NOT_ALLOWED unless whoever asks may be here now."""
    principal = exchange.principal
    assert principal is not None
    require_entry(tenant.entry, principal, exchange.client_address, exchange.received_at)


async def _admit_program(passage: Passage, identity: Identity, given: str, token: str | None) -> None:
    """A program with a credential of ours; one that holds somebody's session as well is refused."""
    if token:
        raise Refusal(AMBIGUOUS_FRAMING, detail="credential")
    exchange, turn = passage.exchange, passage.turn
    turn.enter("access", passage.gw.limits.collaborator_s)
    principal = await identity.client(given, exchange, passage.scope.get(headers.CERTIFICATE, ""))
    turn.rest("access")
    if not isinstance(principal, Principal) or principal.tenant != exchange.tenant:
        raise Nonsense("identity")
    exchange.principal = principal
    passage.withheld = identity.withheld(principal)


async def require_own(passage: Passage, credentials: tuple[str, ...]) -> None:
    """CRM credentials in a body have to be this person's, as those in a header; raises Refusal CRM_TOKEN_ENDED."""
    gw, principal = passage.gw, passage.exchange.principal
    assert principal is not None
    passage.turn.enter("access", gw.limits.collaborator_s)
    for one in credentials:
        if await gw.sessions.crm_token_allowed(headers.token_digest(one), principal.session_id) is not True:
            raise Refusal(CRM_TOKEN_ENDED)
    passage.turn.rest("access")
