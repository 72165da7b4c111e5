"""The pages of identity on the CRM's host: a person's own CRM login, and the keys with which a CRM verifies tokens.

What is entered is tried at once, once; the brake of the sign-in stands before it, so that nobody guesses at the CRM's
passwords here.
"""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.access.deps import client_of
from gateway.access.next_path import safe_next
from gateway.access.page import acting, read_form, render
from gateway.access.pages import sign_in_address
from gateway.access.throttle import Locked
from gateway.exchange import Principal
from gateway.identity.carried import CarriedSessions
from gateway.identity.crm_login import SECRET_MAX_CHARS, CrmLoginInvalid
from gateway.identity.deps import IdentityDeps
from gateway.identity.events import CREDENTIAL
from gateway.refusal import CRM_LOGIN_MISSING, CRM_LOGIN_REFUSED
from gateway.respond import CRM_LOGIN_PATH

JWKS_PATH = "/.crmgate/identity/jwks.json"
FORGET_PATH = f"{CRM_LOGIN_PATH}/forget"
JWKS_AGE = "public, max-age=300"
_TOLD = frozenset({CRM_LOGIN_MISSING.id, CRM_LOGIN_REFUSED.id})


class IdentityPages:
    """Handlers; a tenant without the mode they belong to has no such page."""

    def __init__(self, deps: IdentityDeps) -> None:
        self._deps = deps

    async def show(self, request: Request) -> Response:
        """My login at the CRM."""
        carried = self._carried(request)
        principal = await acting(self._deps.access, request)
        if principal is None:
            return RedirectResponse(sign_in_address(CRM_LOGIN_PATH), 303)
        told = request.query_params.get("problem", "")
        return await self._page(
            request,
            principal,
            carried,
            problem=told if told in _TOLD else "",
            onward=request.query_params.get("next", ""),
            notice=request.query_params.get("notice", ""),
        )

    async def keep(self, request: Request) -> Response:
        """Store it, sealed, and try it once."""
        deps, carried = self._deps, self._carried(request)
        principal = await acting(deps.access, request)
        if principal is None:
            return RedirectResponse(sign_in_address(CRM_LOGIN_PATH), 303)
        form, client = await read_form(request), client_of(request.scope)
        onward, login = form.get("next", ""), form.get("crm_login", "")
        try:
            await deps.access.sign_in.brake(principal.tenant, f"crm {principal.id}", client)
            await self._note(principal, "crm-login-stored", client)
            secret = form.get("crm_secret", "")
            await deps.logins.keep(principal.tenant, principal.id, login, secret, principal.id, deps.access.clock())
        except Locked as locked:
            answer = await self._page(request, principal, carried, "locked", onward, status=429, login=login)
            answer.headers["retry-after"] = str(locked.wait_s)
            return answer
        except CrmLoginInvalid as invalid:
            return await self._page(request, principal, carried, invalid.problem, onward, status=422, login=login)
        reason = await carried.try_now(principal, client)
        if reason is not None:
            status = 422 if reason is CRM_LOGIN_REFUSED else reason.status
            return await self._page(request, principal, carried, reason.id, onward, status=status, login=login)
        return RedirectResponse(safe_next(onward), 303)

    async def forget(self, request: Request) -> Response:
        """Delete it, and sign out of the CRM."""
        deps, carried = self._deps, self._carried(request)
        principal = await acting(deps.access, request)
        if principal is None:
            return RedirectResponse(sign_in_address(CRM_LOGIN_PATH), 303)
        client = client_of(request.scope)
        await self._note(principal, "crm-login-forgotten", client)
        await deps.logins.forget(principal.tenant, principal.id)
        await carried.leave(principal, client)
        return RedirectResponse(f"{CRM_LOGIN_PATH}?notice=crm-login-forgotten", 303)

    async def jwks(self, request: Request) -> Response:
        """The public keys of this CRM's tokens (RFC 7517)."""
        keys = self._deps.keys.get(self._deps.access.tenant_of(request.scope))
        if keys is None:
            raise HTTPException(404)
        return JSONResponse(dict(await keys.published()), headers={"cache-control": JWKS_AGE})

    async def _note(self, principal: Principal, reason: str, client: str) -> None:
        await self._deps.trail.note(principal, CREDENTIAL, reason, client=client, fields={"target": principal.id})

    def _carried(self, request: Request) -> CarriedSessions:
        carried = self._deps.stored.get(self._deps.access.tenant_of(request.scope))
        if carried is None:
            raise HTTPException(404)
        return carried

    async def _page(
        self,
        request: Request,
        principal: Principal,
        carried: CarriedSessions,
        problem: str = "",
        onward: str = "",
        *,
        notice: str = "",
        status: int = 200,
        login: str = "",
    ) -> Response:
        row = await self._deps.logins.row(principal.tenant, principal.id)
        values: dict[str, Any] = {
            "page": "account",
            "problem": problem,
            "notice": notice,
            "next": safe_next(onward) if onward else "",
            "stored": row is not None and row.blob is not None,
            "crm_login": login[:200] or ("" if row is None else row.login),
            "token": carried.takes_token,
            "secret_max": SECRET_MAX_CHARS,
        }
        return render(self._deps.access, request, "crm_login.html", values, principal=principal, status=status)


def identity_routes(deps: IdentityDeps) -> list[BaseRoute]:
    """The routes of every CRM's host."""
    pages = IdentityPages(deps)
    return [
        Route(CRM_LOGIN_PATH, pages.show, methods=["GET"]),
        Route(CRM_LOGIN_PATH, pages.keep, methods=["POST"]),
        Route(FORGET_PATH, pages.forget, methods=["POST"]),
        Route(JWKS_PATH, pages.jwks, methods=["GET"]),
    ]
