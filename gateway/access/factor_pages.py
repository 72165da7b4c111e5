"""A person's own second factors: new recovery codes, passkeys added and removed.

Each change asks for the password and a factor anew, whatever the session says: a browser left open, or a script of the
CRM on the same host, must not be able to add a way in. Failed proofs are counted by the same brakes as sign-ins.
"""

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.deps import AccessDeps, client_of
from gateway.access.events import note_account
from gateway.access.page import acting, read_form, render
from gateway.access.pages import ACCOUNT_PATH, REASONS, details_of, message_page, sign_in_address
from gateway.access.passkeys import CREDENTIAL_LIMIT_CHARS, NAME_LIMIT_CHARS, PasskeyRefused
from gateway.access.recovery import looks_like_code
from gateway.access.sign_in import Attempt
from gateway.exchange import Principal

CODES_SHAPE = f"{ACCOUNT_PATH}/recovery"
NEW_SHAPE = f"{ACCOUNT_PATH}/passkeys/new"
ADD_SHAPE = f"{ACCOUNT_PATH}/passkeys"
REMOVE_SHAPE = f"{ACCOUNT_PATH}/passkeys/{{passkey}}/remove"


class FactorPages:
    """Handlers over the dependencies of one host."""

    def __init__(self, deps: AccessDeps) -> None:
        self._deps = deps

    async def ask_codes(self, request: Request) -> Response:
        """Ask for the proof before new recovery codes."""
        return await self._ask(request, "codes")

    async def make_codes(self, request: Request) -> Response:
        """Make ten new recovery codes and show them this once."""
        principal = await acting(self._deps, request)
        if principal is None:
            return _sign_in()
        problem = await self._prove(request, principal, CODES_SHAPE)
        if problem:
            return self._proof(request, principal, "codes", problem)
        await self._note(request, principal, "recovery-codes-made", 200, CODES_SHAPE)
        codes = await self._deps.recovery.renew(principal.tenant, principal.id)
        values = {"page": "account", "codes": codes, "onward": ACCOUNT_PATH, "fresh": False}
        return render(self._deps, request, "recovery_codes.html", values, principal=principal)

    async def ask_passkey(self, request: Request) -> Response:
        """Ask for the proof before a passkey is added."""
        return await self._ask(request, "passkey")

    async def offer_passkey(self, request: Request) -> Response:
        """After the proof: the page that asks the authenticator for a new passkey of this host."""
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return _sign_in()
        site = deps.site(request)
        if site is None:
            return message_page(deps, request, "not-found", 404)
        problem = await self._prove(request, principal, NEW_SHAPE)
        if problem:
            return self._proof(request, principal, "passkey", problem)
        user = await deps.users.get(principal.tenant, principal.id)
        if user is None:
            return _sign_in()
        options = await deps.passkeys.ask_new(user, principal.session_id, site)
        values = {"page": "account", "options": options, "host": site.rp_id, "name_max": NAME_LIMIT_CHARS}
        return render(deps, request, "passkey_new.html", values, principal=principal)

    async def add_passkey(self, request: Request) -> Response:
        """Store the authenticator's answer."""
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return _sign_in()
        form, site = await read_form(request, limit_chars=CREDENTIAL_LIMIT_CHARS), deps.site(request)
        if site is None:
            return message_page(deps, request, "not-found", 404)
        try:
            checked = await deps.passkeys.check_new(
                principal.tenant,
                principal.id,
                principal.session_id,
                form.get("credential", ""),
                form.get("name", ""),
                site,
            )
            await self._note(request, principal, "passkey-added", 303, ADD_SHAPE, target=checked.id)
            await deps.passkeys.keep(principal.tenant, checked)
        except PasskeyRefused as refused:
            await self._note(request, principal, refused.problem, 422, ADD_SHAPE)
            return self._proof(request, principal, "passkey", refused.problem)
        return _account("passkey-added")

    async def ask_removal(self, request: Request) -> Response:
        """Ask for the proof before a passkey is removed."""
        return await self._ask(request, "remove")

    async def remove_passkey(self, request: Request) -> Response:
        """Remove a passkey; the person's other sessions end, because somebody else may hold it."""
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return _sign_in()
        passkey = await self._passkey(request, principal)
        if passkey is None:
            return message_page(deps, request, "not-found", 404)
        problem = await self._prove(request, principal, REMOVE_SHAPE)
        if problem:
            return self._proof(request, principal, "remove", problem, passkey)
        await self._note(request, principal, "passkey-removed", 303, REMOVE_SHAPE, target=passkey.id)
        if not await deps.passkeys.remove(principal.tenant, principal.id, passkey.id):
            await self._note(request, principal, "passkey-kept", 422, REMOVE_SHAPE, target=passkey.id)
            return self._proof(request, principal, "remove", "passkey-kept", passkey)
        await deps.sessions.end_all(principal.id, "factors-changed", keep=principal.session_id)
        return _account("passkey-removed")

    async def _ask(self, request: Request, action: str) -> Response:
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return _sign_in()
        passkey = await self._passkey(request, principal) if action == "remove" else None
        if (action == "remove" and passkey is None) or (action == "passkey" and deps.site(request) is None):
            return message_page(deps, request, "not-found", 404)
        return self._proof(request, principal, action, "", passkey)

    async def _passkey(self, request: Request, principal: Principal) -> Any:
        held = await self._deps.passkeys.held(principal.tenant, principal.id)
        return next((one for one in held if one.id == request.path_params["passkey"]), None)

    async def _prove(self, request: Request, principal: Principal, shape: str) -> str:
        """Password and a factor of the person who is signed in; "" or what was wrong, which is audited."""
        deps, form = self._deps, await read_form(request)
        typed = form.get("code", "")
        recovery = looks_like_code(typed)
        try:
            await deps.sign_in.prove(
                principal.tenant,
                principal.login,
                form.get("password", ""),
                typed,
                client_of(request.scope),
                other=(lambda user: deps.recovery.use(user, typed)) if recovery else None,
            )
        except Attempt as attempt:
            reason = REASONS[type(attempt.outcome)]
            await self._note(request, principal, reason, 422, shape, **details_of(attempt))
            return reason
        if recovery:
            await self._note(request, principal, "recovery-code-used", 200, shape)
        return ""

    def _proof(
        self, request: Request, principal: Principal, action: str, problem: str, passkey: Any = None
    ) -> Response:
        values = {"page": "account", "action": action, "problem": problem, "passkey": passkey}
        status = 422 if problem else 200
        return render(self._deps, request, "proof.html", values, principal=principal, status=status)

    async def _note(
        self, request: Request, principal: Principal, reason: str, status: int, shape: str, **fields: str
    ) -> None:
        await note_account(self._deps, request.scope, principal, reason, status, shape, fields)


def _sign_in() -> Response:
    return RedirectResponse(sign_in_address(ACCOUNT_PATH), 303)


def _account(notice: str) -> Response:
    return RedirectResponse(f"{ACCOUNT_PATH}?{urlencode({'notice': notice})}", 303)
