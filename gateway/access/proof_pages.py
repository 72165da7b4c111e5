"""The lock page and the step-up page of one host: a second factor is proved, and the session goes on under a new token.

Both ask for the app's code or a passkey of this host; unlocking asks for the password too where the installation says
so. Attempts are counted by the same brakes as sign-ins, and audited before their answer leaves.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from gateway.access import cookies
from gateway.access.cookies import SESSION_COOKIES
from gateway.access.deps import AccessDeps, client_of
from gateway.access.events import note_account
from gateway.access.next_path import safe_next
from gateway.access.page import current, read_form, render, session_token
from gateway.access.pages import (
    REASONS,
    SIGN_IN_PATH,
    details_of,
    problem_answer,
    read_json,
    sign_in_address,
    waiting,
)
from gateway.access.passkeys import CREDENTIAL_LIMIT_CHARS
from gateway.access.sessions import NoSession, SessionLocked
from gateway.access.sign_in import Attempt, HalfOpenExpired, OtherFactor
from gateway.access.step_up import LOCK_PATH, STEP_UP_PATH, path_of, proof_address
from gateway.access.throttle import Locked
from gateway.exchange import Principal

_DONE = {LOCK_PATH: "session-unlocked", STEP_UP_PATH: "factor-proved"}


class StepUpNeeded(Exception):  # noqa: N818 - an outcome answered with the step-up page
    """What was asked for needs a fresh proof of a factor first."""

    permanent = True


class ProofPages:
    """Handlers over the dependencies of one host."""

    def __init__(self, deps: AccessDeps) -> None:
        self._deps = deps

    async def lock_page(self, request: Request) -> Response:
        """What opens a locked session, or the button that locks this one."""
        principal, locked = await self._who(request)
        if principal is None:
            return RedirectResponse(sign_in_address(self._next(request.query_params.get("next", ""))), 303)
        return await self._page(request, principal, LOCK_PATH, locked=locked)

    async def lock(self, request: Request) -> Response:
        """Lock this session."""
        principal, locked = await self._who(request)
        if principal is None:
            return RedirectResponse(SIGN_IN_PATH, 303)
        wanted = (await read_form(request)).get("next", "")
        if not locked:
            await self._note(request, principal, "session-locked-by-owner", 303, LOCK_PATH)
            await self._deps.sessions.lock(principal.session_id)
        return RedirectResponse(proof_address(LOCK_PATH, self._next(wanted)), 303)

    async def unlock(self, request: Request) -> Response:
        """Open a locked session with the app's code."""
        return await self._prove(request, LOCK_PATH, passkey=False)

    async def unlock_by_passkey(self, request: Request) -> Response:
        """Open a locked session with a passkey."""
        return await self._prove(request, LOCK_PATH, passkey=True)

    async def step_up_page(self, request: Request) -> Response:
        """Ask for a factor anew."""
        principal = await current(self._deps, request)
        if principal is None:
            return RedirectResponse(sign_in_address(self._next(request.query_params.get("next", ""))), 303)
        return await self._page(request, principal, STEP_UP_PATH)

    async def step_up(self, request: Request) -> Response:
        """Prove a factor with the app's code."""
        return await self._prove(request, STEP_UP_PATH, passkey=False)

    async def step_up_by_passkey(self, request: Request) -> Response:
        """Prove a factor with a passkey."""
        return await self._prove(request, STEP_UP_PATH, passkey=True)

    async def ask_passkey(self, request: Request) -> Response:
        """What the page's script asks the authenticator for, as JSON; one challenge, for this session."""
        principal, _ = await self._who(request)
        if principal is None:
            return problem_answer("sign-in-required", 401)
        site = self._deps.site(request)
        options = await self._deps.passkeys.ask_proof(principal.tenant, principal.id, principal.session_id, site)
        if options is None:
            return problem_answer("not-found", 404)
        return Response(options, media_type="application/json")

    async def unlock_at_once(self, request: Request) -> Response:
        """Open a locked session as JSON: {code, password where it is asked for}."""
        return await self._at_once(request, LOCK_PATH)

    async def step_up_at_once(self, request: Request) -> Response:
        """Prove a factor as JSON: {code} → Set-Cookie and {"proved": time}."""
        return await self._at_once(request, STEP_UP_PATH)

    async def _who(self, request: Request) -> tuple[Principal | None, bool]:
        """Whose session this is, and whether it is locked."""
        try:
            return await current(self._deps, request, active=False), False
        except SessionLocked as locked:
            return locked.principal, True

    async def _prove(self, request: Request, path: str, *, passkey: bool) -> Response:
        principal, locked = await self._who(request)
        if principal is None:
            return RedirectResponse(SIGN_IN_PATH, 303)
        form = await read_form(request, limit_chars=CREDENTIAL_LIMIT_CHARS)
        target = self._next(form.get("next", ""))
        if locked and path == STEP_UP_PATH:
            return RedirectResponse(proof_address(LOCK_PATH, target), 303)
        try:
            token = await self._check(request, principal, path, form, passkey=passkey, locked=locked)
        except (HalfOpenExpired, NoSession):
            return RedirectResponse(sign_in_address(target), 303)
        except Attempt as attempt:
            return await self._failed(request, principal, path, attempt, target, locked=locked)
        response = RedirectResponse(target, 303)
        cookies.set_cookie(response, SESSION_COOKIES[self._deps.audience], token)
        return response

    async def _check(
        self, request: Request, principal: Principal, path: str, form: dict[str, str], *, passkey: bool, locked: bool
    ) -> str:
        """Verify what was typed or signed; the session's new token. Raises Attempt, HalfOpenExpired, NoSession."""
        deps, other = self._deps, None
        if passkey:
            other = self._by_passkey(request, principal, form.get("credential", ""))
        await deps.sign_in.prove_factor(
            principal.tenant,
            principal.id,
            form.get("code", ""),
            client_of(request.scope),
            other=other,
            password=form.get("password", "") if locked and deps.unlock_password else None,
        )
        await self._note(request, principal, _DONE[path], 303, path)
        return await deps.sessions.renew(principal.session_id, session_token(deps, request))

    def _by_passkey(self, request: Request, principal: Principal, credential: str) -> OtherFactor:
        site = self._deps.site(request)
        return lambda user: self._deps.passkeys.use_proof(user, principal.session_id, credential, site)

    async def _failed(
        self, request: Request, principal: Principal, path: str, attempt: Attempt, target: str, *, locked: bool
    ) -> Response:
        reason = REASONS[type(attempt.outcome)]
        status = 429 if isinstance(attempt.outcome, Locked) else 422
        await self._note(request, principal, reason, status, path, attempt)
        response = await self._page(
            request, principal, path, locked=locked, problem=reason, status=status, target=target
        )
        return waiting(response, attempt)

    async def _at_once(self, request: Request, path: str) -> Response:
        deps = self._deps
        typed = await read_json(request, ("code",), ("password",))
        if typed is None:
            return problem_answer("body-malformed", 400)
        principal, locked = await self._who(request)
        if principal is None:
            return problem_answer("sign-in-required", 401)
        if locked and path == STEP_UP_PATH:
            return problem_answer("session-locked", 401)
        try:
            token = await self._check(request, principal, path, typed, passkey=False, locked=locked)
        except (HalfOpenExpired, NoSession):
            return problem_answer("sign-in-required", 401)
        except Attempt as attempt:
            reason = REASONS[type(attempt.outcome)]
            told, status = {"locked": ("locked", 429), "directory-unavailable": (reason, 503)}.get(
                reason, ("sign-in-failed", 401)
            )
            await self._note(request, principal, reason, status, path, attempt)
            return waiting(problem_answer(told, status), attempt)
        response = JSONResponse({"proved": deps.clock().isoformat()})
        cookies.set_cookie(response, SESSION_COOKIES[deps.audience], token)
        return response

    async def _page(
        self,
        request: Request,
        principal: Principal,
        path: str,
        *,
        locked: bool = False,
        problem: str = "",
        status: int = 200,
        target: str = "",
    ) -> Response:
        deps, site = self._deps, self._deps.site(request)
        target, lost = target or self._next(request.query_params.get("next", "")), "lost" in request.query_params
        here = proof_address(path, target, lost=lost)  # also after an attempt, whose own address cannot be asked for
        values = {
            "address": path,
            "locked": locked,
            "next": target,
            "lost": lost,
            "language_links": [(language, f"{here}&lang={name}") for name, language in deps.look.languages.items()],
            "passkey": await deps.passkeys.usable_here(principal.tenant, principal.id, site),
            "password": locked and deps.unlock_password,
            "login": principal.login,
            "problem": problem,
        }
        return render(deps, request, "lock.html" if path == LOCK_PATH else "step_up.html", values, status=status)

    def _next(self, wanted: str) -> str:
        return safe_next(wanted) if wanted else self._deps.home

    async def _note(
        self,
        request: Request,
        principal: Principal,
        reason: str,
        status: int,
        shape: str,
        attempt: Attempt | None = None,
    ) -> None:
        fields = None if attempt is None else details_of(attempt)
        await note_account(self._deps, request.scope, principal, reason, status, shape, fields)


async def answer_proof(deps: AccessDeps, request: Request, path: str) -> Response:
    """Send to the lock or step-up page and back; what was sent to a page of ours meanwhile was not taken."""
    if request.url.path.startswith("/.crmgate/api/"):
        return problem_answer("session-locked" if path == LOCK_PATH else "step-up-needed", 401)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": proof_address(path, deps.home)})
    safe = request.method in ("GET", "HEAD")
    came_from = str(request.url) if safe else request.headers.get("referer", "")
    return RedirectResponse(proof_address(path, safe_next(path_of(came_from)), lost=not safe), 303)
