"""A person's own account, and taking up an invitation.

The own password is changed with the current one, never without; an invitation sets both factors at once and works once.
Its token leaves the address bar at the first visit: it moves into a short-lived cookie, so that history, referrer and
logs do not keep it.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access import cookies, totp
from gateway.access.cookies import read_cookie
from gateway.access.deps import AccessDeps, Door, client_of
from gateway.access.events import OPERATION_SET_UP, note, note_account
from gateway.access.link_store import Link
from gateway.access.next_path import safe_next
from gateway.access.page import acting, password_limits, read_form, render
from gateway.access.pages import ACCOUNT_PATH, SIGN_IN_PATH, message_page, remembered_language, sign_in_address
from gateway.access.passwords import PasswordRefused, PasswordWrong
from gateway.access.sessions import AUDIENCE_CRM
from gateway.access.throttle import Locked
from gateway.access.totp import CodeWrong
from gateway.access.users import LANGUAGES, InvitationInvalid
from gateway.exchange import Principal

SET_UP_PATH = "/.crmgate/set-up"
INVITATION_COOKIE = "__Host-crmgate-invitation"
INVITATION_COOKIE_S = 3_600


class AccountPages:
    """Handlers over the dependencies of one host."""

    def __init__(self, deps: AccessDeps) -> None:
        self._deps = deps

    async def account(self, request: Request) -> Response:
        """Who I am here, where I am signed in, how to change my password."""
        principal = await acting(self._deps, request)
        if principal is None:
            return RedirectResponse(sign_in_address(ACCOUNT_PATH), 303)
        return await self._account(request, principal, notice=request.query_params.get("notice", ""))

    async def change_password(self, request: Request) -> Response:
        """Change my password."""
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return RedirectResponse(sign_in_address(ACCOUNT_PATH), 303)
        form = await read_form(request)
        new = form.get("new", "")
        problem = ""
        if new != form.get("again", ""):
            problem = "not-the-same"
        else:
            try:
                await deps.sign_in.brake(principal.tenant, principal.login, client_of(request.scope))
                await deps.users.change_password(
                    principal.tenant, principal.id, form.get("current", ""), new, keep_session=principal.session_id
                )
            except Locked:
                problem = "locked"
            except PasswordWrong:
                problem = "current-wrong"
            except PasswordRefused as refused:
                problem = refused.problem
        if problem:
            if problem in ("current-wrong", "locked"):
                reason = "locked" if problem == "locked" else "password-wrong"
                await self._note(request, principal, reason, 422)
            return await self._account(request, principal, problem=problem, status=422)
        await self._note(request, principal, "password-changed", 303)
        return RedirectResponse(f"{ACCOUNT_PATH}?notice=password-changed", 303)

    async def end_others(self, request: Request) -> Response:
        """End my sessions elsewhere."""
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return RedirectResponse(sign_in_address(ACCOUNT_PATH), 303)
        await self._note(request, principal, "other-sessions-ended", 303)
        await deps.sessions.end_all(principal.id, "ended-by-owner", keep=principal.session_id)
        return RedirectResponse(f"{ACCOUNT_PATH}?notice=sessions-ended", 303)

    async def choose_language(self, request: Request) -> Response:
        """Remember my language."""
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return RedirectResponse(sign_in_address(ACCOUNT_PATH), 303)
        wanted = (await read_form(request)).get("language", "")
        if wanted not in LANGUAGES:
            return await self._account(request, principal, status=422)
        await self._note(request, principal, "language-changed", 303)
        await deps.users.choose_language(principal.tenant, principal.id, wanted)
        return RedirectResponse(f"{ACCOUNT_PATH}?lang={wanted}&notice=language-changed", 303)

    async def set_up(self, request: Request) -> Response:
        """Show what an invitation asks for."""
        token = request.query_params.get("token", "")
        if token:
            response: Response = RedirectResponse(SET_UP_PATH, 303)
            cookies.set_cookie(response, INVITATION_COOKIE, token[:64].replace(";", ""), max_age_s=INVITATION_COOKIE_S)
            return response
        return await self._set_up(request, "", 200)

    async def accept(self, request: Request) -> Response:
        """Take up an invitation."""
        deps = self._deps
        form = await read_form(request)
        token = read_cookie(request.scope["headers"], INVITATION_COOKIE)
        if form.get("password", "") != form.get("again", ""):
            return await self._set_up(request, "not-the-same", 422)
        try:
            user = await deps.users.accept(
                deps.tenant_of(request.scope), token, form.get("password", ""), form.get("code", "")
            )
        except PasswordRefused as refused:
            return await self._set_up(request, refused.problem, 422)
        except CodeWrong:
            return await self._set_up(request, "code-wrong", 422)
        except InvitationInvalid:
            return await self._invalid(request)
        await note(
            deps, request.scope, "invitation-used", 303, user=user, operation=OPERATION_SET_UP, path_shape=SET_UP_PATH
        )
        if not user.language:
            await deps.users.choose_language(user.tenant, user.id, remembered_language(deps, request))
        await note(
            deps,
            request.scope,
            "recovery-codes-made",
            200,
            user=user,
            operation=OPERATION_SET_UP,
            path_shape=SET_UP_PATH,
        )
        codes = await deps.recovery.renew(user.tenant, user.id)
        values = {"codes": codes, "onward": f"{SIGN_IN_PATH}?notice=set-up-done", "fresh": True}
        response = render(deps, request, "recovery_codes.html", values)
        cookies.clear_cookie(response, INVITATION_COOKIE)
        return response

    async def _account(
        self, request: Request, principal: Principal, *, notice: str = "", problem: str = "", status: int = 200
    ) -> Response:
        deps = self._deps
        wanted, site = request.query_params.get("next", ""), deps.site(request)
        user = await deps.users.get(principal.tenant, principal.id)
        values: dict[str, Any] = {
            "page": "account",
            "password_url": "" if user is None else deps.password_urls.get(user.directory, ""),
            "home": safe_next(wanted) if wanted else deps.home,
            "recovery": await deps.recovery.state(principal.tenant, principal.id),
            "passkeys": await deps.passkeys.held(principal.tenant, principal.id),
            "here": "" if site is None else site.rp_id,
            "notice": notice,
            "problem": problem,
            "user": user,
            "crm_login": principal.tenant in deps.crm_logins and deps.audience == AUDIENCE_CRM,
            "linked": await linked_doors(deps, principal),
            "reveals": await deps.reveals(principal.tenant, principal.id),
            "devices_on": deps.devices is not None and deps.devices.rules.on,
            "devices_waiting": await _waiting(deps, principal),
            "sessions": await deps.sessions.list(principal.tenant, deps.clock(), principal.id),
            **password_limits(deps),
        }
        return render(deps, request, "account.html", values, principal=principal, status=status)

    async def _set_up(self, request: Request, problem: str, status: int) -> Response:
        deps = self._deps
        token = read_cookie(request.scope["headers"], INVITATION_COOKIE)
        try:
            invitation = await deps.users.invitation(deps.tenant_of(request.scope), token)
        except InvitationInvalid:
            return await self._invalid(request)
        uri = totp.enrolment_uri(invitation.secret, invitation.user.login, deps.users.issuer)
        values: dict[str, Any] = {
            "problem": problem,
            "user": invitation.user,
            "secret": totp.grouped(invitation.secret),
            "qr": totp.qr_data_uri(uri),
            **password_limits(deps),
        }
        return render(deps, request, "set_up.html", values, status=status)

    async def _invalid(self, request: Request) -> Response:
        await note(
            self._deps, request.scope, "invitation-invalid", 404, operation=OPERATION_SET_UP, path_shape=SET_UP_PATH
        )
        response = message_page(self._deps, request, "invitation-invalid", 404)
        cookies.clear_cookie(response, INVITATION_COOKIE)
        return response

    async def _note(self, request: Request, principal: Principal, reason: str, status: int) -> None:
        await note_account(self._deps, request.scope, principal, reason, status, request.url.path)


async def linked_doors(deps: AccessDeps, principal: Principal) -> list[tuple[Door, Link | None]]:
    """Every provider of this host, with this person's link to it."""
    links = {link.issuer: link for link in await deps.linked(principal.tenant, principal.id)}
    return [(door, links.get(door.issuer)) for door in deps.doors(principal.tenant)]


async def _waiting(deps: AccessDeps, principal: Principal) -> bool:
    """Whether a new browser of this person waits to be let in."""
    if deps.devices is None or not deps.devices.rules.on:
        return False
    return any(one.state == "waiting" for one in await deps.devices.held(principal.tenant, principal.id))
