"""The endpoints of the OpenID provider on a CRM's host: discovery, authorize, token, userinfo, keys.

Who comes to `authorize` has passed both factors here, or is sent to do so and back. Only people whose roles may sign in
to this CRM get a code. Every code, token and refusal is in the trail.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.access.deps import AccessDeps, client_of
from gateway.access.page import current
from gateway.access.pages import message_page, sign_in_address
from gateway.access.tokens import Randomness, digest, new_token, well_formed
from gateway.exchange import Principal
from gateway.identity import oidc
from gateway.identity.asserted import KnownLogins
from gateway.identity.events import OIDC, IdentityTrail
from gateway.identity.oidc import OidcError, Provider, RedirectUnknown, Wanted
from gateway.identity.oidc_store import Grant, OidcStore
from gateway.identity.signing_key import SigningKeys

FORM_LIMIT_BYTES = 16 * 1024
_PRIVATE = {"cache-control": "no-store", "pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class OidcHost:
    """The provider of one tenant. may: whether these roles may sign in to the CRM."""

    provider: Provider
    keys: SigningKeys
    known: KnownLogins
    may: Callable[[tuple[str, ...]], bool]


@dataclass(frozen=True, slots=True)
class OidcDeps:
    """What the endpoints reach; hosts: by tenant."""

    access: AccessDeps
    trail: IdentityTrail
    store: OidcStore
    randomness: Randomness
    hosts: Mapping[str, OidcHost]


class OidcPages:
    """Handlers; a tenant in another mode has no such page."""

    def __init__(self, deps: OidcDeps) -> None:
        self._deps = deps

    async def discovery(self, request: Request) -> Response:
        """What clients have to know."""
        return JSONResponse(dict(self._host(request).provider.document()))

    async def jwks(self, request: Request) -> Response:
        """The keys that tokens are verified with."""
        return JSONResponse(dict(await self._host(request).keys.published()), headers={"cache-control": "max-age=300"})

    async def authorize(self, request: Request) -> Response:
        """Send a person who is signed in here back to the CRM with a code."""
        deps, host = self._deps, self._host(request)
        try:
            wanted, wrong = host.provider.wanted(parse_qsl(request.url.query, keep_blank_values=True))
        except (RedirectUnknown, ValueError):
            self._count(request)
            return message_page(deps.access, request, "oidc-refused", 400)
        if wrong is not None:
            self._count(request)
            return self._back(host, wanted, error=wrong.code)
        principal = await current(deps.access, request)
        if principal is None:
            if wanted.quiet:
                return self._back(host, wanted, error="login_required")
            return RedirectResponse(sign_in_address(f"{oidc.AUTHORIZE}?{request.url.query}"), 303)
        subject = await self._subject(host, wanted, principal)
        client = client_of(request.scope)
        if not subject or not host.may(principal.roles):
            reason = "oidc-refused" if subject else "crm-login-unknown"
            await deps.trail.note(principal, OIDC, reason, status=403, client=client, fields={"target": wanted.client})
            return self._back(host, wanted, error="access_denied")
        code = new_token(deps.randomness)
        grant = Grant(wanted.client, principal.session_id, await self._told(host, wanted, principal, subject))
        told = {"target": wanted.client}
        await deps.trail.note(principal, OIDC, "oidc-code-given", client=client, crm_login=subject, fields=told)
        await deps.store.add(principal.tenant, digest(code), grant, deps.access.clock() + oidc.CODE_LIFE)
        return self._back(host, wanted, code=code)

    async def token(self, request: Request) -> Response:
        """Tokens for a code."""
        host = self._host(request)
        try:
            return await self._token(request, host)
        except OidcError as error:
            self._count(request)
            status = 401 if error.code == "invalid_client" else 400
            headers = _PRIVATE | ({"www-authenticate": 'Basic realm="crmgate"'} if status == 401 else {})
            return JSONResponse({"error": error.code}, status, headers=headers)

    async def userinfo(self, request: Request) -> Response:
        """Who an access token speaks of."""
        deps, host = self._deps, self._host(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        grant = None
        if scheme.lower() == "bearer" and well_formed(token.strip()):
            tenant = deps.access.tenant_of(request.scope)
            grant = await deps.store.by_token(tenant, digest(token.strip()), deps.access.clock())
        if grant is None or grant.client not in host.provider.clients:
            self._count(request)
            headers = _PRIVATE | {"www-authenticate": 'Bearer error="invalid_token"'}
            return JSONResponse({"error": "invalid_token"}, 401, headers=headers)
        return JSONResponse({"sub": grant.told["sub"], **oidc.about(grant.told)}, headers=_PRIVATE)

    async def _token(self, request: Request, host: OidcHost) -> Response:
        deps, tenant = self._deps, self._deps.access.tenant_of(request.scope)
        form = await _form(request)
        client = host.provider.authenticated(request.headers.get("authorization", ""), form)
        if form.get("grant_type") != "authorization_code":
            raise OidcError("unsupported_grant_type")
        code, now = form.get("code", ""), deps.access.clock()
        grant = await deps.store.take(tenant, digest(code), now) if well_formed(code) else None
        if grant is None or grant.client != client.party.id or grant.told["redirect_uri"] != form.get("redirect_uri"):
            raise OidcError("invalid_grant")
        if not oidc.proves(form.get("code_verifier", ""), grant.told["challenge"]):
            raise OidcError("invalid_grant")
        access_token = new_token(deps.randomness)
        claims = host.provider.claims(grant.told, client.party.id, access_token, now)
        id_token = (await host.keys.current()).sign(claims)
        person = Principal(grant.told["user"], grant.told["actor"], (), tenant, grant.session_id)
        told = {"target": client.party.id}
        await deps.trail.note(person, OIDC, "oidc-signed-in", crm_login=grant.told["sub"], fields=told)
        await deps.store.keep_token(tenant, digest(code), digest(access_token), now + host.provider.lifetime)
        return JSONResponse(
            {
                "access_token": access_token,
                "token_type": "Bearer",
                "expires_in": int(host.provider.lifetime.total_seconds()),
                "id_token": id_token,
                "scope": " ".join(grant.told["scope"]),
            },
            headers=_PRIVATE,
        )

    async def _subject(self, host: OidcHost, wanted: Wanted, principal: Principal) -> str:
        if host.provider.clients[wanted.client].party.subject == "id":
            return principal.id
        return await host.known.of(principal)

    async def _told(self, host: OidcHost, wanted: Wanted, principal: Principal, subject: str) -> Mapping[str, object]:
        user = await self._deps.access.users.get(principal.tenant, principal.id)
        return {
            "sub": subject,
            "login": await host.known.of(principal) or principal.login,
            "name": principal.login if user is None else user.name,
            "user": principal.id,
            "actor": principal.login,
            "nonce": wanted.nonce,
            "challenge": wanted.challenge,
            "redirect_uri": wanted.redirect_uri,
            "scope": list(wanted.scope),
        }

    def _back(self, host: OidcHost, wanted: Wanted, **told: str) -> Response:
        return RedirectResponse(wanted.back(**told, iss=host.provider.issuer), 303, headers=_PRIVATE)

    def _host(self, request: Request) -> OidcHost:
        host = self._deps.hosts.get(self._deps.access.tenant_of(request.scope))
        if host is None:
            raise HTTPException(404)
        return host

    def _count(self, request: Request) -> None:
        access = self._deps.access
        if access.count_refusal is not None:
            access.count_refusal(access.tenant_of(request.scope), client_of(request.scope), "oidc-refused", 400)


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a token request, each once; raises OidcError invalid_request."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise OidcError("invalid_request")
    body = await request.body()
    try:
        if len(body) > FORM_LIMIT_BYTES:
            raise ValueError
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise OidcError("invalid_request") from None
    if len(dict(pairs)) != len(pairs):
        raise OidcError("invalid_request")
    return dict(pairs)


def oidc_routes(deps: OidcDeps) -> list[BaseRoute]:
    """The routes of every CRM's host."""
    pages = OidcPages(deps)
    return [
        Route(oidc.DISCOVERY, pages.discovery, methods=["GET"]),
        Route(oidc.JWKS, pages.jwks, methods=["GET"]),
        Route(oidc.AUTHORIZE, pages.authorize, methods=["GET"]),
        Route(oidc.TOKEN, pages.token, methods=["POST"]),
        Route(oidc.USERINFO, pages.userinfo, methods=["GET", "POST"]),
    ]
