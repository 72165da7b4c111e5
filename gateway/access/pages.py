"""The sign-in pages of one host: password, code, sign-out, the same for programs as JSON, and static files.

Every outcome is audited before its answer leaves. Nothing here tells whether a login exists: one message for an unknown
login, a wrong password and a closed account. Account and set-up pages are in account_pages.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from gateway.access import cookies
from gateway.access.cookies import SESSION_COOKIES, STEP_COOKIES, read_cookie
from gateway.access.deps import AccessDeps, client_of
from gateway.access.elsewhere import NotLinked
from gateway.access.events import note
from gateway.access.gate import NotAdmitted
from gateway.access.next_path import safe_next
from gateway.access.page import current, language_of, read_form, render, session_token
from gateway.access.passkeys import CREDENTIAL_LIMIT_CHARS, PasskeyCounterBack, PasskeyWrong
from gateway.access.password_check import PasswordCheckUnavailable, PasswordRefusedElsewhere
from gateway.access.passwords import PasswordWrong
from gateway.access.recovery import RecoveryCodeWrong
from gateway.access.sessions import DeviceNeeded, SessionLocked, SessionsFull
from gateway.access.sign_in import (
    HALF_OPEN_LIFETIME,
    RENEWAL_LIFETIME,
    Attempt,
    HalfOpen,
    HalfOpenExpired,
    OtherFactor,
    PasswordExpired,
    ProgramsRefused,
    SecondFactorMissing,
    SignedIn,
)
from gateway.access.throttle import Locked
from gateway.access.totp import CodeReplayed, CodeWrong

SIGN_IN_PATH = "/.crmgate/sign-in"
CODE_PATH = "/.crmgate/sign-in/code"
RECOVERY_PATH = "/.crmgate/sign-in/recovery"
PASSKEY_PATH = "/.crmgate/sign-in/passkey"
RENEWAL_PATH = "/.crmgate/sign-in/password"
ACCOUNT_PATH = "/.crmgate/account"
STATIC_AGE = "public, max-age=31536000, immutable"
API_BODY_LIMIT_BYTES = 16 * 1024
# Outcome of an attempt → reason id in the trail.
REASONS = {
    PasswordWrong: "password-wrong",
    PasswordRefusedElsewhere: "password-wrong",
    PasswordCheckUnavailable: "directory-unavailable",
    NotLinked: "not-linked",
    SecondFactorMissing: "second-factor-missing",
    CodeWrong: "code-wrong",
    CodeReplayed: "code-replayed",
    Locked: "locked",
    PasswordExpired: "password-expired",
    SessionsFull: "sessions-full",
    ProgramsRefused: "device-needed",
    RecoveryCodeWrong: RecoveryCodeWrong.reason,
    PasskeyWrong: PasskeyWrong.reason,
    PasskeyCounterBack: PasskeyCounterBack.reason,
}


def reason_of(attempt: Attempt) -> str:
    """Reason id of a failed attempt."""
    outcome = attempt.outcome
    return outcome.reason.id if isinstance(outcome, NotAdmitted) else REASONS[type(outcome)]


def details_of(attempt: Attempt) -> dict[str, str]:
    """What the trail keeps beside the reason: which directory did not take or check the password, and why."""
    outcome = attempt.outcome
    if isinstance(outcome, PasswordRefusedElsewhere | PasswordCheckUnavailable):
        return {"detail": f"{outcome.directory}:{outcome.reason}"}
    return {}


class SignInPages:
    """Handlers over the dependencies of one host."""

    def __init__(self, deps: AccessDeps) -> None:
        self._deps = deps

    async def sign_in(self, request: Request) -> Response:
        """Ask for login and password."""
        deps = self._deps
        wanted = request.query_params.get("next", "")
        target = safe_next(wanted) if wanted else deps.home
        principal = await current(deps, request)
        if principal is not None and "lang" not in request.query_params:
            return RedirectResponse(target, 303)
        notice = request.query_params.get("notice", "")
        return render(deps, request, "sign_in.html", self._asked(request, target, notice=notice))

    async def check_password(self, request: Request) -> Response:
        """Verify the password and go on to the code."""
        deps = self._deps
        form = await read_form(request)
        target = safe_next(form.get("next", "")) if form.get("next") else deps.home
        tenant, client = deps.tenant_of(request.scope), client_of(request.scope)
        try:
            half = await deps.sign_in.password_step(
                tenant,
                form.get("login", ""),
                form.get("password", ""),
                client,
                next_path=target,
                audience=deps.audience,
            )
        except Attempt as attempt:
            status = await self._failed(request, attempt)
            problem = reason_of(attempt)
            values = self._asked(request, target, problem=problem, login=form.get("login", "")[:200])
            return waiting(render(deps, request, "sign_in.html", values, status=status), attempt)
        return await self._half_open(request, half, "password-accepted", SIGN_IN_PATH)

    async def _half_open(
        self, request: Request, half: HalfOpen, reason: str, shape: str, fields: Mapping[str, Any] | None = None
    ) -> Response:
        """Audit a first step and go on to the second."""
        deps = self._deps
        await note(deps, request.scope, reason, 303, user=half.user, path_shape=shape, fields=fields)
        response = RedirectResponse(CODE_PATH, 303)
        cookies.set_cookie(
            response, STEP_COOKIES[deps.audience], half.token, max_age_s=int(HALF_OPEN_LIFETIME.total_seconds())
        )
        return response

    def _asked(
        self, request: Request, target: str, *, notice: str = "", problem: str = "", login: str = ""
    ) -> dict[str, Any]:
        """What the first page shows."""
        doors = self._deps.doors(self._deps.tenant_of(request.scope))
        return {"next": target, "notice": notice, "problem": problem, "login": login, "doors": doors}

    async def ask_code(self, request: Request) -> Response:
        """Ask for the code of the second factor."""
        deps = self._deps
        if not read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience]):
            return RedirectResponse(SIGN_IN_PATH, 303)
        return await self._code(request)

    async def check_code(self, request: Request) -> Response:
        """Verify the code and open the session."""
        deps = self._deps
        form = await read_form(request)
        half_open = read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience])
        tenant, client = deps.tenant_of(request.scope), client_of(request.scope)
        try:
            done = await deps.sign_in.code_step(tenant, half_open, form.get("code", ""), client, audience=deps.audience)
        except HalfOpenExpired:
            return await self._expired(request)
        except Attempt as attempt:
            status = await self._failed(request, attempt)
            if (stopped := self._stopped(request, attempt, status)) is not None:
                return stopped
            return waiting(await self._code(request, reason_of(attempt), status), attempt)
        return await self._done(request, done)

    async def ask_recovery(self, request: Request) -> Response:
        """Ask for a recovery code instead."""
        deps = self._deps
        if not read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience]):
            return RedirectResponse(SIGN_IN_PATH, 303)
        return render(deps, request, "recovery.html", {"problem": ""})

    async def check_recovery(self, request: Request) -> Response:
        """Use up a recovery code, open the session, and tell the person so on the account page."""
        deps = self._deps
        typed = (await read_form(request)).get("code", "")
        try:
            done = await self._other_step(request, lambda user: deps.recovery.use(user, typed))
        except HalfOpenExpired:
            return await self._expired(request)
        except Attempt as attempt:
            status = await self._failed(request, attempt)
            if (stopped := self._stopped(request, attempt, status)) is not None:
                await note(
                    deps, request.scope, "recovery-code-used", status, user=attempt.user, path_shape=RECOVERY_PATH
                )
                return stopped
            problem = reason_of(attempt)
            return waiting(render(deps, request, "recovery.html", {"problem": problem}, status=status), attempt)
        await note(deps, request.scope, "recovery-code-used", 303, user=done.user, path_shape=RECOVERY_PATH)
        told = urlencode({"notice": "recovery-code-used", "next": done.next_path})
        return await self._done(request, done, f"{ACCOUNT_PATH}?{told}", "recovery-code")

    async def ask_passkey(self, request: Request) -> Response:
        """What the page's script asks the authenticator for, as JSON; one challenge, for this half-open sign-in."""
        deps = self._deps
        half_open = read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience])
        options = await deps.passkeys.ask(deps.tenant_of(request.scope), half_open, deps.audience, deps.site(request))
        return problem_answer("not-found", 404) if options is None else Response(options, media_type="application/json")

    async def check_passkey(self, request: Request) -> Response:
        """Verify the authenticator's answer and open the session."""
        deps = self._deps
        half_open = read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience])
        credential = (await read_form(request, limit_chars=CREDENTIAL_LIMIT_CHARS)).get("credential", "")
        site = deps.site(request)
        try:
            done = await self._other_step(request, lambda user: deps.passkeys.use(user, half_open, credential, site))
        except HalfOpenExpired:
            return await self._expired(request)
        except Attempt as attempt:
            status = await self._failed(request, attempt)
            if (stopped := self._stopped(request, attempt, status)) is not None:
                return stopped
            return waiting(await self._code(request, reason_of(attempt), status), attempt)
        return await self._done(request, done, factor="passkey")

    async def _other_step(self, request: Request, check: OtherFactor) -> SignedIn:
        deps = self._deps
        half_open = read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience])
        tenant, client = deps.tenant_of(request.scope), client_of(request.scope)
        return await deps.sign_in.other_step(tenant, half_open, check, client, audience=deps.audience)

    async def _code(self, request: Request, problem: str = "", status: int = 200) -> Response:
        deps = self._deps
        half_open = read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience])
        offered = await deps.passkeys.offered(
            deps.tenant_of(request.scope), half_open, deps.audience, deps.site(request)
        )
        return render(deps, request, "code.html", {"problem": problem, "passkey": offered}, status=status)

    def _stopped(self, request: Request, attempt: Attempt, status: int) -> Response | None:
        """Both factors were right, but not here, not now, or with an expired password; None for all else."""
        step, outcome = STEP_COOKIES[self._deps.audience], attempt.outcome
        if isinstance(outcome, PasswordExpired):
            onward = RedirectResponse(RENEWAL_PATH, 303)
            cookies.set_cookie(onward, step, outcome.token, max_age_s=int(RENEWAL_LIFETIME.total_seconds()))
            return onward
        if isinstance(outcome, NotAdmitted):  # the half-open sign-in is used up
            refused = message_page(self._deps, request, reason_of(attempt), status)
            cookies.clear_cookie(refused, step)
            return refused
        return None

    async def _expired(self, request: Request) -> Response:
        deps = self._deps
        await note(deps, request.scope, "sign-in-expired", 401, path_shape=request.url.path)
        response = RedirectResponse(f"{SIGN_IN_PATH}?notice=expired", 303)
        cookies.clear_cookie(response, STEP_COOKIES[deps.audience])
        return response

    async def _done(self, request: Request, done: SignedIn, target: str = "", factor: str = "") -> Response:
        """Go on into the session that was opened."""
        response = RedirectResponse(target or done.next_path, 303)
        await self._opened(request, response, done, factor)
        cookies.clear_cookie(response, STEP_COOKIES[self._deps.audience])
        return response

    async def sign_in_at_once(self, request: Request) -> Response:
        """Both factors as JSON, for programs: {login, password, code} → Set-Cookie and {"expires": time}."""
        deps = self._deps
        typed = await read_json(request, ("login", "password", "code"))
        if typed is None:
            return problem_answer("body-malformed", 400)
        tenant, client = deps.tenant_of(request.scope), client_of(request.scope)
        try:
            done = await deps.sign_in.at_once(
                tenant, typed["login"], typed["password"], typed["code"], client, audience=deps.audience
            )
        except HalfOpenExpired:
            return problem_answer("sign-in-failed", 401)
        except Attempt as attempt:
            status = await self._failed(request, attempt)
            # One answer for every failure: a program that tries passwords learns nothing from the second factor.
            return waiting(problem_answer(_told(attempt, status), status), attempt)
        response = JSONResponse({"expires": done.expires_at.isoformat()})
        await self._opened(request, response, done)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session and its CRM tokens, take all cookies back."""
        deps = self._deps
        names = deps.crm_cookies(deps.tenant_of(request.scope))
        try:
            principal = await current(deps, request, anywhere=True)
        except (SessionLocked, DeviceNeeded) as kept:  # leaving is always allowed
            principal = kept.principal
        if principal is not None:
            presented = [read_cookie(request.scope["headers"], name) for name in names]
            tokens = [hashlib.sha256(value.encode("latin-1")).hexdigest() for value in presented if value]
            await note(deps, request.scope, "signed-out", 303, user=principal, path_shape="/.crmgate/sign-out")
            await deps.sessions.end(principal.session_id, "signed-out", tokens)
            await deps.leaving(principal, client_of(request.scope))
        if request.url.path.startswith("/.crmgate/api/"):
            response: Response = Response(status_code=204)
        else:
            response = RedirectResponse(f"{SIGN_IN_PATH}?{urlencode({'notice': 'signed-out'})}", 303)
        cookies.clear_cookie(response, SESSION_COOKIES[deps.audience])
        cookies.clear_cookie(response, STEP_COOKIES[deps.audience])
        cookies.expire_crm_cookies(response, names)
        return response

    async def static(self, request: Request) -> Response:
        """A file of ours, from memory."""
        file = self._deps.look.static.get(request.path_params["name"])
        if file is None:
            return Response("not found\n", 404, media_type="text/plain")
        headers = {"cache-control": STATIC_AGE, "etag": f'"{file.sha256}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(file.body, media_type=file.media_type, headers=headers)

    async def not_found(self, request: Request) -> Response:
        """No such page of ours."""
        return message_page(self._deps, request, "not-found", 404)

    async def _failed(self, request: Request, attempt: Attempt) -> int:
        """Audit a failed attempt; the status of its answer."""
        status = 429 if isinstance(attempt.outcome, Locked) else 401
        if isinstance(attempt.outcome, NotAdmitted):
            status = attempt.outcome.reason.status
        elif isinstance(attempt.outcome, (PasswordExpired, ProgramsRefused)):
            status = 403
        elif isinstance(attempt.outcome, PasswordCheckUnavailable):
            status = 503
        reason, shape = reason_of(attempt), request.url.path
        await note(
            self._deps, request.scope, reason, status, user=attempt.user, path_shape=shape, fields=details_of(attempt)
        )
        return status

    async def _opened(self, request: Request, response: Response, done: SignedIn, factor: str = "") -> None:
        """Audit a finished sign-in and hand out its cookie; the session the browser had before ends."""
        deps = self._deps
        session = await deps.sessions.bearer(done.token, deps.clock(), tenant=done.user.tenant, audience=deps.audience)
        fields = {"session": session.id} | ({"detail": factor} if factor else {})
        await note(deps, request.scope, "signed-in", 200, user=done.user, fields=fields, path_shape=request.url.path)
        await deps.sessions.end_token(session_token(deps, request), "signed-in-again")
        cookies.set_cookie(response, SESSION_COOKIES[deps.audience], done.token)


def message_page(deps: AccessDeps, request: Request, what: str, status: int) -> Response:
    """A page that says one thing (`what`: `not-found`, `unavailable`, `internal-fault`…) and offers the way back."""
    if request.url.path.startswith("/.crmgate/api/"):
        return problem_answer(what, status)
    return render(deps, request, "message.html", {"what": what}, status=status)


def sign_in_address(next_path: str) -> str:
    """Address of the sign-in page that comes back to this path."""
    return SIGN_IN_PATH + "?next=" + quote(safe_next(next_path), safe="/")


def remembered_language(deps: AccessDeps, request: Request) -> str:
    """The language this visitor reads, for an account that has none yet."""
    return language_of(deps, request, None).id


async def read_json(request: Request, names: Sequence[str], maybe: Sequence[str] = ()) -> dict[str, str] | None:
    """The named texts of a JSON body (those of `maybe` may be missing), None when the body is anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return None
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > API_BODY_LIMIT_BYTES:
                return None
        typed = json.loads(body)
    except (ValueError, RecursionError, ClientDisconnect):
        return None
    if not isinstance(typed, dict):
        return None
    values = {name: typed.get(name) for name in names} | {name: typed[name] for name in maybe if name in typed}
    if not all(isinstance(value, str) for value in values.values()):
        return None
    return {name: str(value) for name, value in values.items()}


def _told(attempt: Attempt, status: int) -> str:
    """What a program is told: what shows that both factors were right is told only where they were."""
    if isinstance(attempt.outcome, SessionsFull):
        return "sessions-full"
    return {429: "locked", 403: reason_of(attempt), 503: reason_of(attempt)}.get(status, "sign-in-failed")


def problem_answer(reason: str, status: int) -> Response:
    """RFC 9457 problem with our reason id."""
    body = {"type": f"urn:crmgate:reason:{reason}", "title": reason, "status": status, "reason": reason}
    return JSONResponse(body, status, media_type="application/problem+json")


def waiting(response: Response, attempt: Attempt) -> Response:
    """Say when to come back while a brake is on."""
    if isinstance(attempt.outcome, Locked):
        response.headers["retry-after"] = str(attempt.outcome.wait_s)
    return response
